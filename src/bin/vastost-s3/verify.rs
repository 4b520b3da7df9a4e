//! `verify`: the image audit. `verify merge` joins the reports of an audit's shards.

mod audit;
mod bins;
mod chart;
mod html;
mod table;
mod words;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use vastost::catalog::audit::merge;
use vastost::catalog::audit::report::Report;

use crate::args::{Global, Verify, VerifyAction, VerifyOutput};
use crate::{COULD_NOT_RUN, FOUND_PROBLEMS, Outcome, output};

pub fn run(global: &Global, args: &Verify) -> Outcome {
    match &args.action {
        Some(VerifyAction::Merge { reports, output }) => join(global, reports, output),
        None => end(global, &audit::audit(global, &args.audit)?, &args.output),
    }
}

fn join(global: &Global, files: &[PathBuf], output: &VerifyOutput) -> Outcome {
    let mut reports = Vec::with_capacity(files.len());
    for file in files {
        reports.push((file.display().to_string(), read(file)?));
    }
    end(global, &merge::merge(reports)?, output)
}

fn read(file: &Path) -> Result<Report, Box<dyn std::error::Error>> {
    let name = file.display();
    let text = std::fs::read(file).map_err(|error| format!("read {name}: {error}"))?;
    Ok(serde_json::from_slice(&text).map_err(|error| format!("{name} is no report of `verify --json`: {error}"))?)
}

/// Shows a finished report in every form that was asked for, and says by the exit code what it comes to.
fn end(global: &Global, report: &Report, output: &VerifyOutput) -> Outcome {
    if let Some(file) = &output.html {
        std::fs::write(file, html::page(report)).map_err(|error| format!("write {}: {error}", file.display()))?;
    }
    if global.json {
        output::json(report)?;
    } else {
        table::print(global, report)?;
    }
    let summary = &report.summary;
    let problems = summary.errors > 0 || (output.strict && summary.warnings > 0);
    Ok(match (problems, summary.interrupted) {
        (true, _) => ExitCode::from(FOUND_PROBLEMS),
        // Nothing found says nothing about what was not looked at.
        (false, true) => ExitCode::from(COULD_NOT_RUN),
        (false, false) => ExitCode::SUCCESS,
    })
}
