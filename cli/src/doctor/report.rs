//! What the checks found: a line each as they come, or one JSON document at the end.

use std::io::IsTerminal;

use serde::Serialize;

use super::Done;
use crate::args::Global;
use crate::interrupt;
use crate::output;
use crate::output::{line, painted, printable, unread_is_fine};

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Pass,
    Warn,
    Fail,
}

#[derive(Serialize)]
struct Check {
    check: String,
    status: Status,
    seen: String,
    advice: Option<String>,
}

#[derive(Serialize)]
struct Document<'a> {
    schema: u32,
    checks: &'a [Check],
}

pub struct Report {
    json: bool,
    quiet: bool,
    colour: bool,
    scope: String,
    checks: Vec<Check>,
}

impl Report {
    pub fn new(global: &Global) -> Self {
        let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self {
            json: global.json,
            quiet: global.quiet,
            colour,
            scope: String::new(),
            checks: Vec::new(),
        }
    }

    /// The server that the next checks are about, when there are several.
    pub fn scope(&mut self, server: &str) {
        self.scope = if server.is_empty() {
            String::new()
        } else {
            format!("{server} ")
        };
    }

    pub fn pass(&mut self, check: &str, seen: String) -> Done {
        self.add(check, Status::Pass, seen, None)
    }

    pub fn warn(&mut self, check: &str, seen: String, advice: &str) -> Done {
        self.add(check, Status::Warn, seen, Some(advice))
    }

    pub fn fail(&mut self, check: &str, seen: String, advice: &str) -> Done {
        self.add(check, Status::Fail, seen, Some(advice))
    }

    fn add(&mut self, check: &str, status: Status, seen: String, advice: Option<&str>) -> Done {
        let check = Check {
            check: format!("{}{check}", self.scope),
            status,
            seen,
            advice: advice.map(ToOwned::to_owned),
        };
        if !self.json && (!self.quiet || status != Status::Pass) {
            // A closed stdout does not change the verdict.
            unread_is_fine(self.show(&check))?;
        }
        self.checks.push(check);
        interrupt::check()
    }

    fn show(&self, check: &Check) -> Done {
        let (word, colour) = match check.status {
            Status::Pass => ("pass", "32"),
            Status::Warn => ("warn", "33"),
            Status::Fail => ("FAIL", "31"),
        };
        let word = if self.colour {
            format!("\x1b[{colour}m{word}\x1b[0m")
        } else {
            word.to_owned()
        };
        let name = printable(&check.check);
        let seen = printable(&check.seen);
        painted(&format!("{word}  {name:<28}  {seen}"))?;
        check
            .advice
            .as_ref()
            .map_or(Ok(()), |advice| line(&format!("      → {advice}")))?;
        output::flush()
    }

    /// Prints the rest; true when any check failed.
    pub fn end(self) -> Result<bool, Box<dyn std::error::Error>> {
        let count = |status| self.checks.iter().filter(|check| check.status == status).count();
        let passed = count(Status::Pass);
        let warned = count(Status::Warn);
        let failed = count(Status::Fail);
        if self.json {
            unread_is_fine(output::json(&Document {
                schema: 1,
                checks: &self.checks,
            }))?;
        } else if !self.quiet {
            unread_is_fine(
                line("").and_then(|()| line(&format!("{passed} passed, {warned} warned, {failed} failed"))),
            )?;
        }
        Ok(failed > 0)
    }
}
