//! `verify [LSU...]`: the audit itself, with its progress, its checkpoint file and what NetBackup expects.

use std::collections::BTreeSet;
use std::error::Error;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use serde::{Deserialize, Serialize};
use vastost::catalog::audit::Options;
use vastost::catalog::audit::against::Expected;
use vastost::catalog::audit::compare::Comparison;
use vastost::catalog::audit::report::{Class, Level, REPORT_SCHEMA, Report, Selection};
use vastost::catalog::audit::run::{Audited, Checkpoint, Event, run};
use vastost::catalog::escape::escape;
use vastost::catalog::image_id::DATE_MAX;
use vastost::catalog::list::Filter;
use vastost::catalog::lsu::Lsu;
use vastost::catalog::record::now_text;

use crate::args::{Global, VerifyAudit};
use crate::interrupt;
use crate::name::to_name;
use crate::output::{complain, hint};
use crate::progress::Progress;
use crate::site::{Catalog, Site};

/// The file of `--resume`: which audit it is of, and how far that is.
#[derive(Serialize, Deserialize)]
struct ResumeFile {
    schema: u32,
    server: String,
    level: Level,
    selection: Selection,
    lsus: Vec<String>,
    checkpoint: Checkpoint,
}

/// Runs the audit; an error only when it could not begin.
pub fn audit(global: &Global, args: &VerifyAudit) -> Result<Report, Box<dyn Error>> {
    let began = Instant::now();
    let catalog = Site::open(global)?.catalog()?;
    let lsus = catalog.lsus(&args.lsus)?;
    let comparison = args.against.as_deref().map(|file| expected(file, args)).transpose()?;
    let options = options(args);
    let mut resume = start(&catalog, args, &lsus, options.level)?;
    interrupt::watch()?;
    let cancel = Arc::new(AtomicBool::new(false));
    let from = std::mem::take(&mut resume.checkpoint);
    let earlier_seconds = from.report.summary.seconds;
    let mut watcher = Watcher { progress: progress(global, args, &lsus), comparison, args, resume };
    let mut audited = run(&lsus, &options, from, &cancel, &mut |event| {
        watcher.take(event);
        if interrupt::check().is_err() {
            cancel.store(true, Ordering::Relaxed);
        }
    })?;
    let Watcher { comparison, .. } = watcher;
    let summary = &mut audited.report.summary;
    if let Some(comparison) = comparison {
        let complete = !summary.interrupted;
        audited.report.findings.extend(comparison.finish(&options.filter, args.shard, complete));
    }
    let summary = &mut audited.report.summary;
    summary.finished = now_text();
    summary.seconds = earlier_seconds + began.elapsed().as_secs_f64();
    audited.report.seal();
    end(args, &lsus, audited)
}

fn end(args: &VerifyAudit, lsus: &[Lsu], audited: Audited) -> Result<Report, Box<dyn Error>> {
    let report = audited.report;
    if report.summary.interrupted
        && let Some(file) = &args.resume
        && file.exists()
    {
        hint(&format!("the same command goes on from {}", file.display()));
    } else if let Some(file) = args.resume.as_deref().filter(|file| file.exists()) {
        std::fs::remove_file(file).map_err(|error| format!("remove {}: {error}", file.display()))?;
    }
    let dead = report.findings.iter().filter(|f| f.class == Class::Unreadable && f.image.is_none());
    let dead: Vec<_> = dead.map(|finding| format!("{}: {}", finding.lsu, finding.found)).collect();
    if dead.len() == lsus.len() && report.summary.lsus.values().all(|lsu| lsu.list_requests == 0) {
        return Err(format!("no LSU could be listed: {}", dead.join("; ")).into());
    }
    Ok(report)
}

fn options(args: &VerifyAudit) -> Options {
    let level = match (args.quick, args.deep) {
        (true, _) => Level::Quick,
        (_, true) => Level::Deep,
        _ => Level::Default,
    };
    let filter = Filter {
        client: args.client.as_ref().map(to_name),
        basename_prefix: args.image.as_ref().map(to_name).unwrap_or_default(),
        date_from: args.since.unwrap_or(0),
        date_to: args.until.unwrap_or(DATE_MAX),
        ..Filter::default()
    };
    Options {
        level,
        leftovers: level > Level::Quick,
        filter,
        shard: args.shard,
        grace_seconds: args.older_than.as_secs(),
        jobs: args.jobs,
        limit_rate: args.limit_rate,
    }
}

fn expected(file: &Path, args: &VerifyAudit) -> Result<Comparison, Box<dyn Error>> {
    let volumes: BTreeSet<_> = args.volumes.iter().map(|volume| volume.as_bytes().to_vec()).collect();
    let expected = Expected::open(file, &volumes)?;
    if expected.is_empty() {
        let skipped = expected.skipped();
        complain(&format!(
            "{} names no image on a disk pool (passed over: {} not on disk, {} on other volumes, {} without data)",
            file.display(),
            skipped.not_disk,
            skipped.other_volume,
            skipped.not_data
        ));
    }
    Ok(Comparison::new(expected))
}

/// The state to begin with: that of the resume file when there is one, else a fresh one.
fn start(catalog: &Catalog, args: &VerifyAudit, lsus: &[Lsu], level: Level) -> Result<ResumeFile, Box<dyn Error>> {
    let text = |name: &std::ffi::OsString| escape(name.as_bytes());
    let selection = Selection {
        client: args.client.as_ref().map(text),
        image: args.image.as_ref().map(text),
        since: args.since,
        until: args.until,
        shard: args.shard.map(|shard| format!("{}/{}", shard.number, shard.of)),
        against: args.against.as_ref().map(|file| file.display().to_string()),
    };
    let mut checkpoint = Checkpoint::default();
    let summary = &mut checkpoint.report.summary;
    summary.tool = format!("vastost-s3 {}", env!("CARGO_PKG_VERSION"));
    summary.server = catalog.server().name.clone();
    summary.endpoint = catalog.endpoint().to_owned();
    summary.level = level;
    summary.selection = selection.clone();
    summary.started = now_text();
    checkpoint.report.schema = REPORT_SCHEMA;
    let lsus = lsus.iter().map(|lsu| lsu.config().name.clone()).collect();
    let server = catalog.server().name.clone();
    let fresh = ResumeFile { schema: 1, server, level, selection, lsus, checkpoint };
    match args.resume.as_deref().filter(|file| file.exists()) {
        None => Ok(fresh),
        Some(file) => load(file, &fresh),
    }
}

fn load(file: &Path, wanted: &ResumeFile) -> Result<ResumeFile, Box<dyn Error>> {
    let name = file.display();
    let text = std::fs::read(file).map_err(|error| format!("read {name}: {error}"))?;
    let saved: ResumeFile =
        serde_json::from_slice(&text).map_err(|error| format!("{name} is no file of `verify --resume`: {error}"))?;
    let same = saved.schema == wanted.schema
        && saved.server == wanted.server
        && saved.level == wanted.level
        && saved.selection == wanted.selection
        && saved.lsus == wanted.lsus;
    if !same {
        return Err(format!("{name} is of another audit: of other LSUs, another level or another selection").into());
    }
    Ok(saved)
}

fn save(file: &Path, resume: &ResumeFile) -> Result<(), Box<dyn Error>> {
    // Whole files only: the machine may stop at any moment.
    let draft = file.with_extension("tmp");
    let written = serde_json::to_vec(resume).map_err(Into::into).and_then(|text| std::fs::write(&draft, text));
    written
        .and_then(|()| std::fs::rename(&draft, file))
        .map_err(|error| format!("write {}: {error}", file.display()).into())
}

fn progress(global: &Global, args: &VerifyAudit, lsus: &[Lsu]) -> Progress {
    let selects = args.client.is_some() || args.image.is_some() || args.since.is_some() || args.until.is_some();
    // The figure that polls are answered from: good enough for the time left, and free.
    let known: Option<u64> = lsus.iter().map(|lsu| lsu.usage().map(|usage| usage.bytes)).sum();
    let total = known.filter(|_| !selects).map(|bytes| bytes / args.shard.map_or(1, |shard| u64::from(shard.of)));
    Progress::new(global, "verify", total)
}

/// What happens beside the audit.
struct Watcher<'a> {
    progress: Progress,
    comparison: Option<Comparison>,
    args: &'a VerifyAudit,
    resume: ResumeFile,
}

impl Watcher<'_> {
    fn take(&mut self, event: Event<'_>) {
        match event {
            Event::Progress(tally) => {
                self.progress.set(tally.bytes);
                self.progress.say(&format!("{} images, {} findings", tally.images, tally.findings));
            }
            Event::Image { lsu, id, bytes } => {
                if let Some(comparison) = &mut self.comparison {
                    comparison.image(lsu, id, bytes);
                }
            }
            Event::Checkpoint(checkpoint) => {
                let Some(file) = &self.args.resume else { return };
                self.resume.checkpoint = checkpoint.clone();
                if let Err(error) = save(file, &self.resume) {
                    complain(&error.to_string());
                }
            }
        }
    }
}
