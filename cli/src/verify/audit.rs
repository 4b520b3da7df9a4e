//! `verify [LSU...]`: the audit itself, with its progress, its checkpoint file and what NetBackup expects.

use std::collections::BTreeSet;
use std::error::Error;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use vastost::catalog::audit::Options;
use vastost::catalog::audit::bpimagelist::Expected;
use vastost::catalog::audit::compare::Comparison;
use vastost::catalog::audit::report::{Class, Level, REPORT_SCHEMA, Report, Selection};
use vastost::catalog::audit::run::{Checkpoint, Event, run};
use vastost::catalog::format::image_id::DATE_MAX;
use vastost::catalog::format::record::now_text;
use vastost::catalog::list::Filter;
use vastost::catalog::lsu::Lsu;

use super::coverage::{NOTHING_EXPECTED, unverified};
use super::resume::{ResumeFile, State};
use crate::args::{Global, VerifyAudit};
use crate::interrupt;
use crate::name::to_name;
use crate::output::{complain, counted, hint};
use crate::progress::Progress;
use crate::site::{Catalog, Site};
use crate::wait::wait_for;

/// The result of an audit, and its resume file, which is needed until the report has been delivered.
pub struct Ended {
    pub report: Report,
    pub resume: Option<ResumeFile>,
}

/// Runs the audit; an error only when it could not begin.
pub fn audit(global: &Global, args: &VerifyAudit) -> Result<Ended, Box<dyn Error>> {
    let began = Instant::now();
    let catalog = Site::open(global)?.catalog()?;
    let lsus = catalog.lsus(&args.lsus)?;
    let expected = args.against.as_deref().map(|file| expected(file, args)).transpose()?;
    let (comparison, uncompared) = expected.unzip();
    // Reported at once, since the audit may take hours, and again in the report.
    let uncompared: Option<String> = uncompared.flatten().inspect(|why| complain(why));
    let options = options(args);
    let mut file = args.resume.as_deref().map(ResumeFile::open).transpose()?;
    let fresh = fresh(&catalog, args, &lsus, options.level);
    let mut state = match &mut file {
        Some(file) => file.load(&fresh)?.unwrap_or(fresh),
        None => fresh,
    };
    interrupt::watch()?;
    let cancel = Arc::new(AtomicBool::new(false));
    let from = std::mem::take(&mut state.checkpoint);
    let earlier_seconds = from.report.summary.seconds;
    let mut watcher = Watcher {
        progress: progress(global, args, &lsus),
        comparison,
        file,
        state,
    };

    let mut tell = |event: Event<'_>| {
        watcher.take(event);
        if interrupt::check().is_err() {
            cancel.store(true, Ordering::Relaxed);
        }
    };

    let mut audited = wait_for(catalog.cluster(), run(&lsus, &options, from, &cancel, &mut tell))?;
    let Watcher {
        comparison,
        file,
        state,
        ..
    } = watcher;
    let report = &mut audited.report;
    report.summary.unverified.clear();

    if let Some(comparison) = comparison {
        let complete = !report.summary.interrupted;
        let nothing = || (!comparison.has_any(&options.filter)).then(|| NOTHING_EXPECTED.to_owned());
        report.summary.unverified.extend(uncompared.or_else(nothing));
        for finding in comparison.finish(&options.filter, args.shard, complete) {
            report.push(finding);
        }
    }

    report.summary.finished = now_text();
    report.summary.seconds = earlier_seconds + began.elapsed().as_secs_f64();
    report.seal();
    if !report.summary.interrupted {
        let unverified = unverified(report, &lsus, args.allow_empty);
        report.summary.unverified.extend(unverified);
    }
    end(&lsus, audited.report, file, state)
}

fn end(lsus: &[Lsu], report: Report, mut file: Option<ResumeFile>, mut state: State) -> Result<Ended, Box<dyn Error>> {
    if let Some(file) = file.as_mut().filter(|_| !report.summary.interrupted) {
        // If the report is lost now, the same command makes it again without checking anything twice.
        state.checkpoint = Checkpoint {
            report: report.clone(),
            ..Checkpoint::default()
        };
        if let Err(error) = file.save(&state) {
            complain(&error.to_string());
        }
    }

    if report.summary.interrupted
        && let Some(name) = file.as_ref().and_then(ResumeFile::noted)
    {
        hint(&format!("the same command resumes the audit from {name}"));
    }
    let dead = report
        .findings
        .iter()
        .filter(|f| f.class == Class::Unreadable && f.image.is_none());
    let dead: Vec<_> = dead
        .map(|finding| format!("{}: {}", finding.lsu, finding.found))
        .collect();
    if dead.len() == lsus.len() && report.summary.lsus.values().all(|lsu| lsu.list_requests == 0) {
        return Err(format!("no LSU could be listed: {}", dead.join("; ")).into());
    }
    Ok(Ended { report, resume: file })
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

/// What NetBackup expects, and why that cannot be compared: a list without images, or without a requested volume.
fn expected(file: &Path, args: &VerifyAudit) -> Result<(Comparison, Option<String>), Box<dyn Error>> {
    let volumes: BTreeSet<_> = args.volumes.iter().map(|volume| volume.as_bytes().to_vec()).collect();
    let expected = Expected::open(file, &volumes)?;
    let name = file.display();
    let text = |id: &[u8]| String::from_utf8_lossy(id).into_owned();
    let unknown: Vec<_> = volumes
        .iter()
        .filter(|id| !expected.has_volume(id))
        .map(|id| text(id))
        .collect();
    let why = if !unknown.is_empty() {
        let known: Vec<_> = expected.volumes().map(text).collect();
        let known = if known.is_empty() {
            "none".to_owned()
        } else {
            known.join(", ")
        };
        let plural = if unknown.len() == 1 { "" } else { "s" };
        Some(format!(
            "{name} has no fragment on volume{plural} {}; the volumes in it: {known}",
            unknown.join(", ")
        ))
    } else if expected.is_empty() {
        let skipped = expected.skipped();
        Some(format!(
            "{name} names no image on a disk pool, so there is nothing to compare with (passed over: {} not on disk, {} on \
             other volumes, {} without data)",
            skipped.not_disk, skipped.other_volume, skipped.not_data
        ))
    } else {
        None
    };

    Ok((Comparison::new(expected), why))
}

/// The state of an audit that has not begun.
fn fresh(catalog: &Catalog, args: &VerifyAudit, lsus: &[Lsu], level: Level) -> State {
    let text = |name: &OsString| to_name(name).to_string();
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
    State {
        schema: 1,
        server: catalog.server().name.clone(),
        level,
        selection,
        lsus,
        checkpoint,
    }
}

fn progress(global: &Global, args: &VerifyAudit, lsus: &[Lsu]) -> Progress {
    let selects = args.client.is_some() || args.image.is_some() || args.since.is_some() || args.until.is_some();
    // The cached usage figure: good enough for the remaining time, and free.
    let known: Option<u64> = lsus.iter().map(|lsu| lsu.usage().map(|usage| usage.bytes)).sum();
    let total = known
        .filter(|_| !selects)
        .map(|bytes| bytes / args.shard.map_or(1, |shard| u64::from(shard.of)));
    Progress::new(global, "verify", total)
}

/// Work during the audit.
struct Watcher {
    progress: Progress,
    comparison: Option<Comparison>,
    file: Option<ResumeFile>,
    state: State,
}

impl Watcher {
    fn take(&mut self, event: Event<'_>) {
        match event {
            Event::Progress(tally) => {
                self.progress.set(tally.bytes);
                self.progress.say(&format!(
                    "{}, {}",
                    counted(tally.images, "image"),
                    counted(tally.findings, "finding")
                ));
            }
            Event::Image { lsu, id, bytes } => {
                if let Some(comparison) = &mut self.comparison {
                    comparison.image(lsu, id, bytes);
                }
            }
            Event::Checkpoint(checkpoint) => {
                let Some(file) = &mut self.file else { return };
                // The last one before the end is always needed.
                if !file.is_due() && interrupt::check().is_ok() {
                    return;
                }
                self.state.checkpoint = checkpoint.clone();
                if let Err(error) = file.save(&self.state) {
                    complain(&error.to_string());
                }
            }
        }
    }
}
