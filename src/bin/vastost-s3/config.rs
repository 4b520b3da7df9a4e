//! `config check` and `config show`.

use std::path::Path;
use std::process::ExitCode;

use serde_json::json;
use vastost::config::warnings::warnings;
use vastost::config::{Config, show};

use crate::args::{self, ConfigAction, Global};
use crate::output::{self, complain, line, raw};
use crate::{FOUND_PROBLEMS, Outcome, chain};

pub fn run(global: &Global, args: &args::Config) -> Outcome {
    match &args.action {
        ConfigAction::Check { file } => check(global, file.as_deref().or(global.config.as_deref())),
        ConfigAction::Show => {
            raw(show(&Config::find(global.config.as_deref())?).as_bytes())?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn check(global: &Global, file: Option<&Path>) -> Outcome {
    let found = Config::find(file);
    let warnings = found.as_ref().map(warnings).unwrap_or_default();
    if global.json {
        let error = found.as_ref().err().map(|error| chain(error));
        output::json(&json!({ "schema": 1, "valid": error.is_none(), "error": error, "warnings": warnings }))?;
    } else {
        warnings.iter().for_each(|warning| complain(&format!("warning: {warning}")));
        match &found {
            Ok(config) => line(&describe(config))?,
            Err(error) => complain(&chain(error)),
        }
    }
    Ok(if found.is_ok() { ExitCode::SUCCESS } else { ExitCode::from(FOUND_PROBLEMS) })
}

fn describe(config: &Config) -> String {
    let (servers, lsus) =
        (config.servers.len(), config.servers.values().map(|server| server.lsus.len()).sum::<usize>());
    let plural = |count: usize| if count == 1 { "" } else { "s" };
    format!("{}: ok, {servers} server{}, {lsus} LSU{}", config.path.display(), plural(servers), plural(lsus))
}
