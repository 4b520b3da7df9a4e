//! Questions on a terminal; an error that names the option instead when there is none.

use std::error::Error;
use std::io::{self, BufRead, Write};

use super::is_interactive;

/// Asks until the answer is not empty and `valid` accepts it.
pub fn until_valid(
    question: &str,
    option: &str,
    valid: impl Fn(&str) -> Result<(), String>,
) -> Result<String, Box<dyn Error>> {
    need_terminal(question, option)?;
    loop {
        let answer = ask(question)?;
        let objection = if answer.is_empty() {
            Err("something".to_owned())
        } else {
            valid(&answer)
        };
        match objection {
            Ok(()) => return Ok(answer),
            Err(needed) => crate::output::hint(&format!("It must be {needed}.")),
        }
    }
}

/// Asks without echo.
pub fn secret(question: &str, variable: &str) -> Result<String, Box<dyn Error>> {
    need_terminal(question, variable)?;
    let secret =
        rpassword::prompt_password(format!("{question}: ")).map_err(|error| format!("read the secret: {error}"))?;
    let secret = secret.trim().to_owned();
    if secret.is_empty() {
        Err("the secret access key is empty; nothing was written".into())
    } else {
        Ok(secret)
    }
}

/// The words of an answer, however they are separated.
pub fn words(text: &str) -> Vec<String> {
    text.split([' ', ',', '\t'])
        .filter(|word| !word.is_empty())
        .map(ToOwned::to_owned)
        .collect()
}

fn ask(question: &str) -> Result<String, Box<dyn Error>> {
    let mut stderr = io::stderr().lock();
    write!(stderr, "{question}: ")
        .and_then(|()| stderr.flush())
        .map_err(|error| format!("ask: {error}"))?;
    drop(stderr);
    let mut answer = String::new();
    match io::stdin().lock().read_line(&mut answer) {
        Ok(0) => Err("the terminal was closed; nothing was written".into()),
        Ok(_) => Ok(answer.trim().to_owned()),
        Err(error) => Err(format!("read the answer: {error}").into()),
    }
}

fn need_terminal(question: &str, option: &str) -> Result<(), Box<dyn Error>> {
    if is_interactive() {
        return Ok(());
    }
    let question = question.split([',', '(']).next().unwrap_or(question).trim();
    Err(format!("{question}: not given, and there is no terminal to ask at; use {option}").into())
}
