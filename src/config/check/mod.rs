//! From the text of `vastost.toml` to a checked [`Config`].
//!
//! | file | what it is |
//! |---|---|
//! | `raw` | the file as serde reads it: every key that there is, none of them checked |
//! | `file` | what each check needs: bounds, and a refusal that names file, line, key and value |
//! | `server` | `[server.<name>]` with its credentials and LSUs |
//! | `sections` | the other tables |
//!
//! Every refusal names file, line, key, value and what would be valid; the first one ends the check.

mod raw;
mod file;
mod server;
mod sections;

use std::collections::BTreeMap;
use std::path::Path;

use self::file::File;
use self::raw::RawFile;
use super::value::line_of;
use super::{Config, STATE_DIR_DEFAULT};
use crate::error::{Error, Kind, Result};

/// Parses and checks; every refusal names file, line, key, value and what would be valid.
pub fn parse(text: &str, path: &Path) -> Result<Config> {
    let raw: RawFile = toml::from_str(text).map_err(|error| refuse_syntax(text, path, &error))?;
    let at = File { text, path };
    if raw.server.is_empty() || raw.server.len() > 64 {
        return Err(at.refuse(
            0,
            "server",
            &raw.server.len().to_string(),
            "1 to 64 tables [server.<name>]",
        ));
    }

    let mut servers = BTreeMap::new();
    for (name, server) in raw.server {
        let key = format!("server.{name}");
        at.word(&key, &name, server.span().start)?;
        servers.insert(name.clone(), at.server(&key, name, server.into_inner())?);
    }

    let transfer = at.transfer(&raw.transfer)?;
    let pool = at.pool(&raw.pool, &transfer)?;

    Ok(Config {
        path: path.to_path_buf(),
        state_dir: at.path_or(raw.state_dir.as_ref(), STATE_DIR_DEFAULT),
        servers,
        transfer,
        pool,
        integrity: at.integrity(&raw.integrity)?,
        retry: at.retry(&raw.retry)?,
        metrics: at.metrics(&raw.metrics)?,
        log: at.log(&raw.log)?,
    })
}

fn refuse_syntax(text: &str, path: &Path, error: &toml::de::Error) -> Error {
    let line = error.span().map_or(1, |span| line_of(text, span.start));
    let content = text.lines().nth(line - 1).unwrap_or_default().to_ascii_lowercase();
    let secret = ["secret", "password", "credentials", "key_id"]
        .iter()
        .any(|word| content.contains(word));

    // Whoever pastes a secret here by mistake must not read it again in a log: the parser quotes values, not keys.
    let unknown = error.message().starts_with("unknown field");
    let message = if secret && !unknown {
        "the value is not valid here"
    } else {
        error.message()
    };

    let key = content.split('=').next().unwrap_or_default().trim().to_owned();
    let key = if content.contains('=') && !message.contains(&key) {
        format!(", key {key}")
    } else {
        String::new()
    };

    Error::new(Kind::Config, format!("{}, line {line}{key}: {message}", path.display()))
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
