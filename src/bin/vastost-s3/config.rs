//! `config check` and `config show`.

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use serde_json::json;
use vastost::config::credentials::{KeyPair, Source};
use vastost::config::warnings::warnings;
use vastost::config::{Config, show};

use crate::args::{self, ConfigAction, Global};
use crate::output::{self, complain, line, raw};
use crate::{FOUND_PROBLEMS, Outcome, chain};

pub fn run(global: &Global, args: &args::Config) -> Outcome {
    match &args.action {
        ConfigAction::Check { file } => check(global, file.as_deref().or(global.config.as_deref())),
        ConfigAction::Show => {
            show_all(global)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn show_all(global: &Global) -> Result<(), Box<dyn Error>> {
    let config = Config::find(global.config.as_deref())?;
    let text = show(&config);
    if !global.json {
        return raw(text.as_bytes());
    }
    let settings: toml::Table = toml::from_str(&text)?;
    output::json(&json!({ "schema": 1, "file": config.path.display().to_string(), "settings": settings }))
}

fn check(global: &Global, file: Option<&Path>) -> Outcome {
    let found = Config::find(file);
    let mut warnings = found.as_ref().map(warnings).unwrap_or_default();
    warnings.extend(found.iter().flat_map(unusable_keys));
    if global.json {
        let error = found.as_ref().err().map(|error| chain(error));
        let document = json!({ "schema": 1, "valid": error.is_none(), "error": error, "warnings": warnings });
        output::unread_is_fine(output::json(&document))?;
    } else {
        warnings.iter().for_each(|warning| complain(&format!("warning: {warning}")));
        match &found {
            Ok(config) => output::unread_is_fine(line(&describe(config)))?,
            Err(error) => complain(&chain(error)),
        }
    }
    Ok(if found.is_ok() { ExitCode::SUCCESS } else { ExitCode::from(FOUND_PROBLEMS) })
}

/// Credentials files that no server could be opened with.
fn unusable_keys(config: &Config) -> Vec<String> {
    let files = config.servers.values().filter_map(|server| match &server.credentials {
        Source::File(path) => Some(path),
        _ => None,
    });
    files.filter_map(|path| KeyPair::load(path).err().map(|error| chain(&error))).collect()
}

fn describe(config: &Config) -> String {
    let (servers, lsus) =
        (config.servers.len(), config.servers.values().map(|server| server.lsus.len()).sum::<usize>());
    let plural = |count: usize| if count == 1 { "" } else { "s" };
    format!("{}: ok, {servers} server{}, {lsus} LSU{}", config.path.display(), plural(servers), plural(lsus))
}
