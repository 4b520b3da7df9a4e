//! Shared by `gc` and `repair`: an audit finds what can be done, the command lists it, and with `--yes` does it.

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde_json::{Value, json};
use vastost::catalog::audit::report::{Class, Level, Report, States};
use vastost::catalog::audit::run::{Audited, Checkpoint, Event, run};
use vastost::catalog::audit::{Found, Options};
use vastost::catalog::list::Filter;
use vastost::catalog::lsu::Lsu;

use crate::args::{Global, Maintenance};
use crate::output;
use crate::output::{complain, hint, line};
use crate::site::Site;
use crate::wait::wait_for;
use crate::{FOUND_PROBLEMS, Outcome, interrupt};

/// What became of one action.
pub enum Done {
    Yes(String),
    NotNeeded,
    /// It was kept, for this reason.
    Kept(String),
    Failed(String),
}

/// How a command acts on a finding.
pub struct Acts<'a> {
    /// What would be done, in words; None for findings that are not its own.
    pub plan: &'a dyn Fn(&Found) -> Option<&'static str>,
    pub act: &'a dyn Fn(&Lsu, &Found) -> Done,
    /// The message when there is nothing to do.
    pub nothing: &'a str,
}

/// Finds what can be done in the LSUs, lists it, and does it when `--yes` is given.
pub fn run_all(global: &Global, args: &Maintenance, acts: &Acts<'_>) -> Outcome {
    let catalog = Site::open(global)?.catalog()?;
    let lsus = catalog.lsus(&args.lsus)?;
    let options = Options {
        level: Level::Quick,
        leftovers: true,
        filter: Filter {
            client: args.client.as_ref().map(crate::name::to_name),
            ..Filter::default()
        },
        shard: None,
        grace_seconds: args.older_than.as_secs(),
        jobs: args.jobs,
        limit_rate: None,
    };

    interrupt::watch()?;
    let cancel = Arc::new(AtomicBool::new(false));
    let mut tell = |event: Event<'_>| {
        if matches!(event, Event::Progress(_)) && interrupt::check().is_err() {
            cancel.store(true, std::sync::atomic::Ordering::Relaxed);
        }
    };
    let audit = run(&lsus, &options, Checkpoint::default(), &cancel, &mut tell);
    let audited = wait_for(catalog.cluster(), audit)?;
    interrupt::check()?;
    let unlisted = unlisted(&audited.report)?;
    unlisted.iter().for_each(|what| complain(what));
    let mut rows = Vec::new();
    let mut deaf = false;

    for (lsu, found) in &audited.found {
        let Some(plan) = (acts.plan)(found) else { continue };
        if interrupt::check().is_err() {
            break;
        }
        let done = if args.yes { Some((acts.act)(lsu, found)) } else { None };
        if !global.json && !deaf {
            match print(found, plan, done.as_ref()) {
                // The remaining actions run even if nobody reads the output.
                Err(error) if args.yes && error.is::<output::StdoutClosed>() => deaf = true,
                other => other?,
            }
        }
        rows.push((found, plan, done));
    }

    let is_empty = rows.is_empty() && unlisted.is_empty() && saw_nothing(&audited.report);
    let unknown_client = args.client.as_ref().filter(|_| is_empty);
    if global.json {
        let actions: Vec<_> = rows
            .iter()
            .map(|(found, plan, done)| to_json(found, plan, done.as_ref()))
            .collect();
        let mut errors = unlisted.clone();
        errors.extend(interrupt::check().err().map(|error| error.to_string()));
        let document = json!({ "schema": 1, "dry_run": !args.yes, "actions": actions });
        let printed = output::json(&output::with_error(document, &errors));
        output::unread_is_fine(printed)?;
    } else if !global.quiet && unknown_client.is_none() {
        match (rows.len(), args.yes) {
            (0, _) => hint(acts.nothing),
            (count, false) => hint(&format!("{count} to do; nothing was changed: --yes does it")),
            _ => {}
        }
        let young = young(&audited);
        if young > 0 {
            let objects = output::counted(young as u64, "data object");
            hint(&format!(
                "left alone, without a record but younger than --older-than: {objects}"
            ));
        }
    }

    // The actions up to here have been reported.
    interrupt::check()?;
    if let Some(client) = unknown_client {
        return Err(nobody(&client.to_string_lossy(), &audited.report).into());
    }
    let failed = rows.iter().any(|(_, _, done)| matches!(done, Some(Done::Failed(_))));
    Ok(if failed || !unlisted.is_empty() {
        ExitCode::from(FOUND_PROBLEMS)
    } else {
        ExitCode::SUCCESS
    })
}

/// How many data objects without a record are too young to be touched.
fn young(audited: &Audited) -> usize {
    let is_orphan = |class: Class| class == Class::OrphanData;
    let named = audited
        .report
        .findings
        .iter()
        .filter(|finding| is_orphan(finding.class))
        .count();
    let old = audited
        .found
        .iter()
        .filter(|(_, found)| is_orphan(found.finding.class))
        .count();
    named.saturating_sub(old)
}

fn nobody(client: &str, report: &Report) -> String {
    let lsus: Vec<_> = report.summary.lsus.keys().map(String::as_str).collect();
    format!(
        "no image of client {client} is in LSU {}, so nothing was checked",
        lsus.join(", ")
    )
}

/// What could not be checked. It is an error when no LSU could be listed.
fn unlisted(report: &Report) -> Result<Vec<String>, Box<dyn Error>> {
    let unreadable: Vec<_> = report
        .findings
        .iter()
        .filter(|f| f.class == Class::Unreadable)
        .collect();
    let lsus = report.summary.lsus.len();
    let not_listed = unreadable.iter().filter(|finding| finding.image.is_none()).count();
    let reasons: Vec<_> = unreadable
        .iter()
        .map(|finding| format!("{}: {}", finding.lsu, finding.found))
        .collect();
    if not_listed > 0 && not_listed == lsus {
        return Err(format!("no LSU could be listed: {}", reasons.join("; ")).into());
    }
    for (name, lsu) in &report.summary.lsus {
        lsu.notes.iter().for_each(|note| complain(&format!("{name}: {note}")));
    }
    Ok(reasons)
}

/// True when nothing matches the selection, not even an orphan: the name may be wrong.
fn saw_nothing(report: &Report) -> bool {
    let is_empty = |states: &States| {
        [states.good, states.damaged, states.pending, states.deleting]
            .iter()
            .all(|count| count.images == 0)
    };
    report.findings.is_empty() && report.summary.lsus.values().all(|lsu| is_empty(&lsu.states))
}

fn print(found: &Found, plan: &str, done: Option<&Done>) -> Result<(), Box<dyn Error>> {
    let finding = &found.finding;
    let key = finding.key.as_deref().unwrap_or_default();
    line(format!("{} {key}", finding.lsu).trim_end())?;
    line(&format!("  {}: {}", finding.class.name(), finding.found))?;
    match done {
        None => line(&format!("  would {plan}")),
        Some(Done::Yes(what)) if what.is_empty() => line(&format!("  done: {plan}")),
        Some(Done::Yes(what)) => line(&format!("  done: {what}")),
        Some(Done::NotNeeded) => line("  not changed: by now it is gone, or something uses it"),
        Some(Done::Kept(why)) => line(&format!("  kept: {why}")),
        Some(Done::Failed(why)) => line(&format!("  failed: {why}")),
    }
}

fn to_json(found: &Found, plan: &str, done: Option<&Done>) -> Value {
    let finding = &found.finding;
    let (outcome, detail) = match done {
        None => ("planned", String::new()),
        Some(Done::Yes(what)) => ("done", what.clone()),
        Some(Done::NotNeeded) => ("not-needed", String::new()),
        Some(Done::Kept(why)) => ("kept", why.clone()),
        Some(Done::Failed(why)) => ("failed", why.clone()),
    };
    json!({
        "class": finding.class,
        "lsu": finding.lsu,
        "image": finding.image,
        "key": finding.key,
        "reason": finding.found,
        "action": plan,
        "outcome": outcome,
        "detail": detail,
    })
}
