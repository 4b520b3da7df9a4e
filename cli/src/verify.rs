//! `verify`: the image audit. `verify merge` joins the reports of an audit's shards.

mod audit;
mod bins;
mod chart;
mod coverage;
mod html;
mod page_file;
mod resume;
mod table;
mod words;

use std::error::Error;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use vastost::catalog::audit::merge;
use vastost::catalog::audit::report::Report;

use crate::args::{Global, Verify, VerifyAction, VerifyOutput};
use crate::output;
use crate::output::complain;
use crate::{COULD_NOT_RUN, FOUND_PROBLEMS, Outcome};
use page_file::PageFile;

pub fn run(global: &Global, args: &Verify) -> Outcome {
    match &args.action {
        Some(VerifyAction::Merge { reports, output }) => join(global, reports, output),
        None => audit(global, args),
    }
}

fn audit(global: &Global, args: &Verify) -> Outcome {
    let inputs: Vec<_> = args.audit.against.iter().map(PathBuf::as_path).collect();
    let page = page(&args.output, &inputs)?;
    let ended = audit::audit(global, &args.audit)?;
    let (code, is_delivered) = end(global, &ended.report, &args.output, page)?;
    if is_delivered
        && !ended.report.summary.interrupted
        && let Some(file) = ended.resume
    {
        file.remove()?;
    }
    Ok(code)
}

fn join(global: &Global, files: &[PathBuf], output: &VerifyOutput) -> Outcome {
    let inputs: Vec<_> = files.iter().map(PathBuf::as_path).collect();
    let page = page(output, &inputs)?;
    let mut reports = Vec::with_capacity(files.len());
    for file in files {
        reports.push((file.display().to_string(), read(file)?));
    }
    end(global, &merge::merge(reports)?, output, page).map(|(code, _)| code)
}

fn page(output: &VerifyOutput, inputs: &[&Path]) -> Result<Option<PageFile>, Box<dyn Error>> {
    output
        .html
        .as_deref()
        .map(|file| PageFile::create(file, inputs))
        .transpose()
}

fn read(file: &Path) -> Result<Report, Box<dyn Error>> {
    let name = file.display();
    let mut text = Vec::new();
    let opened = File::open(file).and_then(|file| file.take(resume::SIZE_MAX + 1).read_to_end(&mut text));
    opened.map_err(|error| format!("read {name}: {error}"))?;
    if text.len() as u64 > resume::SIZE_MAX {
        return Err(format!("{name} has more than {} bytes, so it is no report", resume::SIZE_MAX).into());
    }
    Ok(serde_json::from_slice(&text).map_err(|error| format!("{name} is no report of `verify --json`: {error}"))?)
}

/// Shows a finished report in every requested form. Returns the exit code, and whether the report was delivered.
fn end(
    global: &Global,
    report: &Report,
    output: &VerifyOutput,
    page: Option<PageFile>,
) -> Result<(ExitCode, bool), Box<dyn Error>> {
    let mut is_delivered = true;
    if let Some(Err(error)) = page.map(|page| page.write(&html::page(report))) {
        // Without the page the report still goes to stdout.
        complain(&error.to_string());
        is_delivered = false;
    }
    let printed = if global.json {
        output::json(report)
    } else {
        table::print(global, report)
    };
    output::unread_is_fine(printed)?;
    let summary = &report.summary;
    let problems = summary.errors > 0 || (output.strict && summary.warnings > 0);
    // No findings mean nothing for what was not checked.
    let is_complete = !summary.interrupted && summary.unverified.is_empty();
    let code = match (problems, is_complete && is_delivered) {
        (true, _) => ExitCode::from(FOUND_PROBLEMS),
        (false, false) => ExitCode::from(COULD_NOT_RUN),
        (false, true) => ExitCode::SUCCESS,
    };
    Ok((code, is_delivered))
}
