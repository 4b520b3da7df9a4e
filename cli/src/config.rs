//! `config check` and `config show`.

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use serde_json::json;
use vastost::config::credentials::{KeyPair, Source};
use vastost::config::warnings::warnings;
use vastost::config::{Config, show};

use crate::args;
use crate::args::{ConfigAction, Global};
use crate::configuration::{Unreadable, find, find_at};
use crate::folder_trial::{folder_of_log, try_folder};
use crate::output;
use crate::output::{complain, line, raw};
use crate::{FOUND_PROBLEMS, Outcome, chain};

pub fn run(global: &Global, args: &args::Config) -> Outcome {
    match &args.action {
        ConfigAction::Check { file: Some(file) } => check(global, find_at(Some(file), "the command line")),
        ConfigAction::Check { file: None } => check(global, find(global)),
        ConfigAction::Show => {
            show_all(global)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn show_all(global: &Global) -> Result<(), Box<dyn Error>> {
    let config = find(global)?;
    let text = show(&config);
    if !global.json {
        return raw(text.as_bytes());
    }
    let settings: toml::Table = toml::from_str(&text)?;
    output::json(&json!({ "schema": 1, "file": config.path.display().to_string(), "settings": settings }))
}

fn check(global: &Global, found: Result<Config, Box<dyn Error>>) -> Outcome {
    let found = match found {
        // Nothing was checked.
        Err(error) if error.is::<Unreadable>() => return Err(error),
        other => other,
    };
    let mut warnings: Vec<_> = found.iter().flat_map(warnings).map(|warning| warning.what).collect();
    warnings.extend(found.iter().flat_map(unusable_keys));
    warnings.extend(found.iter().flat_map(unwritable_folders));
    if global.json {
        let error = found.as_ref().err().map(|error| chain(error.as_ref()));
        let document = json!({ "schema": 1, "valid": error.is_none(), "error": error, "warnings": warnings });
        output::unread_is_fine(output::json(&document))?;
    } else {
        warnings
            .iter()
            .for_each(|warning| complain(&format!("warning: {warning}")));
        match &found {
            Ok(config) => output::unread_is_fine(line(&describe(config)))?,
            Err(error) => complain(&chain(error.as_ref())),
        }
    }

    Ok(if found.is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(FOUND_PROBLEMS)
    })
}

/// Credentials files that no server could be opened with.
fn unusable_keys(config: &Config) -> Vec<String> {
    let files = config.servers.values().filter_map(|server| match &server.credentials {
        Source::File(path) => Some(path),
        _ => None,
    });
    files
        .filter_map(|path| KeyPair::load(path).err().map(|error| chain(&error)))
        .collect()
}

/// Folders for counters or log that the plug-in cannot write.
fn unwritable_folders(config: &Config) -> Vec<String> {
    let metrics = config.metrics.dir.as_deref().map(|folder| ("metrics", folder));
    let log = folder_of_log(config).map(|folder| ("log", folder));
    let folders = metrics.into_iter().chain(log);
    let wrong = |what: &str, folder: &Path| {
        let error = try_folder(folder).err()?;
        Some(format!(
            "the {what} folder {} cannot be written: {error}",
            folder.display()
        ))
    };
    folders.filter_map(|(what, folder)| wrong(what, folder)).collect()
}

fn describe(config: &Config) -> String {
    let (servers, lsus) = (
        config.servers.len(),
        config.servers.values().map(|server| server.lsus.len()).sum::<usize>(),
    );
    let plural = |count: usize| if count == 1 { "" } else { "s" };
    format!(
        "{}: ok, {servers} server{}, {lsus} LSU{}",
        config.path.display(),
        plural(servers),
        plural(lsus)
    )
}
