//! The reports of an audit's shards as one.
//!
//! Only what belongs together is joined: one server, one level, one selection, every shard once. A shard that is missing
//! makes the joined report an interrupted one, and each LSU's notes say which. One of another day than the others leaves its
//! images unverified. Findings that several shards make, such as of a bucket that none can list, are kept once.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::report::{Count, Foreign, LsuSummary, REPORT_SCHEMA, Report, Selection, States, Summary};
use super::shard::Shard;
use crate::error::{Error, Kind, Result};

/// What ended so long before the next shard began was left from an earlier audit.
const APART_MAX: SignedDuration = SignedDuration::from_hours(24);

/// Joins reports, each with the name of the file that it came from. One report without a shard is taken as it is.
pub fn merge(reports: Vec<(String, Report)>) -> Result<Report> {
    for (file, report) in &reports {
        if report.schema != REPORT_SCHEMA {
            let what = format!(
                "{file} has schema {}, this version reads {REPORT_SCHEMA}",
                report.schema
            );
            return Err(Error::new(Kind::Unsupported, what));
        }
    }

    let missing = match reports.as_slice() {
        [(_, report)] if report.summary.selection.shard.is_none() => Vec::new(),
        all => {
            check(all)?;
            missing(all)?
        }
    };

    let stale = stale(&reports);
    let mut reports = reports.into_iter().map(|(_, report)| report);
    let Some(mut joined) = reports.next() else {
        return Err(refuse("no reports to join"));
    };
    for report in reports {
        add(&mut joined, report);
    }
    joined.summary.selection.shard = None;
    joined.summary.lsus.values_mut().for_each(|lsu| lsu.elsewhere = false);
    joined.summary.unverified.extend(stale);
    if !missing.is_empty() {
        note_missing(&mut joined.summary, &missing);
    }
    joined.seal();
    joined.findings.dedup();
    // Counted again without what was found twice.
    joined.seal();
    Ok(joined)
}

/// Refuses reports that are not of one audit.
fn check(reports: &[(String, Report)]) -> Result<()> {
    let Some((first_file, first)) = reports.first() else {
        return Ok(());
    };
    for (file, report) in reports {
        let here = &report.summary;
        let there = &first.summary;
        let differs = [
            ("servers", here.server != there.server),
            ("endpoints", here.endpoint != there.endpoint),
            ("levels", here.level != there.level),
            (
                "selections of images",
                whole(&here.selection) != whole(&there.selection),
            ),
            ("LSUs", !same_lsus(here, there)),
        ];
        if let Some((what, _)) = differs.iter().find(|(_, differs)| *differs) {
            return Err(refuse(&format!(
                "{file} and {first_file} are not of one audit: their {what} differ"
            )));
        }
    }

    Ok(())
}

/// The selection apart from the shard.
fn whole(selection: &Selection) -> Selection {
    Selection {
        shard: None,
        ..selection.clone()
    }
}

/// An audit that was interrupted may not have come to all of its LSUs.
fn same_lsus(a: &Summary, b: &Summary) -> bool {
    let places = |summary: &Summary| -> BTreeMap<String, (String, String)> {
        let place = |lsu: &LsuSummary| (lsu.bucket.clone(), lsu.prefix.clone());
        summary
            .lsus
            .iter()
            .map(|(name, lsu)| (name.clone(), place(lsu)))
            .collect()
    };
    let a_places = places(a);
    let b_places = places(b);
    if a.interrupted || b.interrupted {
        return a_places
            .iter()
            .all(|(name, place)| b_places.get(name).is_none_or(|other| other == place));
    }
    a_places == b_places
}

/// The shards that no report is of; refuses one that two are of.
fn missing(reports: &[(String, Report)]) -> Result<Vec<Shard>> {
    let mut found: BTreeMap<u32, &str> = BTreeMap::new();
    let mut of: Option<(u32, &str)> = None;
    for (file, report) in reports {
        let Some(text) = &report.summary.selection.shard else {
            return Err(refuse(&format!(
                "{file} is not of a shard: it is a whole report, which nothing can be added to"
            )));
        };
        let shard =
            Shard::parse(text).ok_or_else(|| refuse(&format!("{file} has shard {text:?}, K/N was expected")))?;
        let (count, first_file) = *of.get_or_insert((shard.of, file));
        if count != shard.of {
            return Err(refuse(&format!(
                "{file} is one of {} shards, {first_file} one of {count}",
                shard.of
            )));
        }
        if let Some(other) = found.insert(shard.number, file) {
            return Err(refuse(&format!("{file} and {other} are both of shard {text}")));
        }
    }

    let count = of.map_or(0, |(count, _)| count);
    let absent = (1..=count).filter(|number| !found.contains_key(number));
    Ok(absent.map(|number| Shard { number, of: count }).collect())
}

/// What to say of reports that are older than the others: those before the last gap of more than [`APART_MAX`] in which no shard
/// was under way. Shards may run one after the other. Nothing of times that cannot be read.
fn stale(reports: &[(String, Report)]) -> Vec<String> {
    let time = |text: &str| text.parse::<Timestamp>().ok();
    let span = |summary: &Summary| time(&summary.started).zip(time(&summary.finished));
    let mut spans: Vec<_> = reports.iter().filter_map(|(_, report)| span(&report.summary)).collect();
    spans.sort_unstable();
    let mut ended = None;
    let mut gap = None;

    for (started, finished) in spans {
        if ended.is_some_and(|ended| started.duration_since(ended) > APART_MAX) {
            gap = Some(started);
        }
        ended = ended.max(Some(finished));
    }

    let is_stale = |report: &Report| {
        span(&report.summary)
            .zip(gap)
            .is_some_and(|((started, _), gap)| started < gap)
    };
    let sentence = |(file, report): &(String, Report)| {
        let finished = &report.summary.finished;
        let shard = report.summary.selection.shard.as_deref().unwrap_or("?");
        format!("shard {shard} ({file}) is of {finished}, a day and more before the others: audit its images again")
    };
    reports
        .iter()
        .filter(|(_, report)| is_stale(report))
        .map(sentence)
        .collect()
}

fn add(joined: &mut Report, report: Report) {
    let into = &mut joined.summary;
    let from = report.summary;
    into.seconds = into.seconds.max(from.seconds);
    into.started = std::mem::take(&mut into.started).min(from.started);
    into.finished = std::mem::take(&mut into.finished).max(from.finished);
    into.seconds = span(&into.started, &into.finished).unwrap_or(into.seconds);
    into.interrupted |= from.interrupted;
    for (class, number) in from.left_out {
        let count = into.left_out.entry(class).or_default();
        *count = count.saturating_add(number);
    }
    for sentence in from.unverified {
        if !into.unverified.contains(&sentence) {
            into.unverified.push(sentence);
        }
    }
    for (name, lsu) in from.lsus {
        match into.lsus.get_mut(&name) {
            Some(known) => add_lsu(known, lsu),
            None => drop(into.lsus.insert(name, lsu)),
        }
    }

    joined.findings.extend(report.findings);
}

/// From the first shard's start to the last one's end: shards may have run one after the other.
fn span(started: &str, finished: &str) -> Option<f64> {
    let started = started.parse::<jiff::Timestamp>().ok()?;
    let finished = finished.parse::<jiff::Timestamp>().ok()?;
    Some(finished.duration_since(started).as_secs_f64())
}

fn add_lsu(into: &mut LsuSummary, from: LsuSummary) {
    add_states(&mut into.states, &from.states);
    into.rebuilt += from.rebuilt;
    into.add_foreign(Foreign {
        count: from.foreign_keys,
        named: from.foreign_named,
    });
    into.unrecorded = into.unrecorded.saturating_add(from.unrecorded);
    into.list_requests = into.list_requests.saturating_add(from.list_requests);
    into.bytes_read = into.bytes_read.saturating_add(from.bytes_read);
    for (day, states) in &from.days {
        add_states(into.days.entry(day.clone()).or_default(), states);
    }
    for note in from.notes {
        if !into.notes.contains(&note) {
            into.notes.push(note);
        }
    }
}

fn add_states(into: &mut States, from: &States) {
    add_count(&mut into.good, from.good);
    add_count(&mut into.damaged, from.damaged);
    add_count(&mut into.pending, from.pending);
    add_count(&mut into.deleting, from.deleting);
}

fn add_count(into: &mut Count, from: Count) {
    into.images = into.images.saturating_add(from.images);
    into.bytes = into.bytes.saturating_add(from.bytes);
}

fn note_missing(summary: &mut Summary, missing: &[Shard]) {
    let few: Vec<_> = missing.iter().take(10).map(|shard| shard.number.to_string()).collect();
    let more = missing.len() - few.len();
    let more = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    let of = missing.first().map_or(0, |shard| shard.of);
    summary.interrupted = true;
    let few = few.join(", ");
    let missing = if missing.len() == 1 {
        format!("shard {few} of {of} is missing: its")
    } else {
        format!("shards {few}{more} of {of} are missing: their")
    };
    let note = format!("{missing} images were not audited here");
    for lsu in summary.lsus.values_mut() {
        lsu.notes.push(note.clone());
    }
}

fn refuse(what: &str) -> Error {
    Error::new(Kind::InvalidArgument, what)
}

#[cfg(test)]
#[path = "merge_tests.rs"]
mod tests;
