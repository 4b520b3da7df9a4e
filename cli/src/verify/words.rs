//! What an audit's outcome is called, in text and on the page.

use vastost::catalog::audit::report::{Class, Count, Level, LsuSummary, Report, Selection, Severity, States};

use crate::output::{counted, grouped, human_size, utc};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    Fine,
    Warning,
    Error,
}

/// The verdict in one line.
#[derive(Debug, PartialEq, Eq)]
pub struct Verdict {
    pub mood: Mood,
    pub line: String,
    /// Its scope and meaning.
    pub more: String,
}

pub fn verdict(report: &Report) -> Verdict {
    let summary = &report.summary;
    let errors = summary.errors;
    let warnings = summary.warnings;
    let is_unverified = !summary.unverified.is_empty();
    let nothing = is_unverified && all(&total(report)).images == 0;
    let (mood, mut line) = match (errors, warnings) {
        (0, _) if nothing => (Mood::Warning, "Nothing was verified".to_owned()),
        (0, 0) if is_unverified => (Mood::Warning, "Not everything was verified".to_owned()),
        (0, 0) if summary.interrupted => (Mood::Warning, "Nothing wrong in what was checked".to_owned()),
        (0, 0) => (Mood::Fine, "Nothing wrong".to_owned()),
        (0, _) => (Mood::Warning, format!("No error, {}", counted(warnings, "warning"))),
        (_, 0) => (Mood::Error, counted(errors, "error")),
        _ => (
            Mood::Error,
            format!("{}, {}", counted(errors, "error"), counted(warnings, "warning")),
        ),
    };

    if summary.interrupted {
        line.push_str("; the audit is incomplete");
    } else if is_unverified && errors + warnings > 0 && !(nothing && errors == 0) {
        line.push_str("; not everything was verified");
    }
    let total = total(report);
    let damaged = total.damaged.images;
    let all = all(&total);
    let images = if all.images == 0 {
        "no image".into()
    } else {
        counted_size(all)
    };
    let checked = format!("Checked {images} in {}", counted(summary.lsus.len() as u64, "LSU"));
    let unlisted = unlisted(report);
    let more = match (damaged, errors) {
        (0, 0) => format!("{checked}."),
        (0, _) if all.images == 0 => format!("{checked}."),
        (0, _) if !unlisted.is_empty() => format!(
            "{checked}. {} could not be listed: nothing is known of the images there.",
            unlisted.join(", ")
        ),
        (0, _) => format!("{checked}. No complete image is damaged; the errors are about other things."),
        _ => format!(
            "{checked}. {} cannot be trusted: see the findings.",
            counted(damaged, "image")
        ),
    };

    Verdict { mood, line, more }
}

/// The LSUs, or parts of them, whose listing failed.
fn unlisted(report: &Report) -> Vec<String> {
    let failed = report
        .findings
        .iter()
        .filter(|finding| finding.class == Class::Unreadable && finding.image.is_none());
    let mut names: Vec<_> = failed.map(|finding| format!("LSU {}", finding.lsu)).collect();
    names.dedup();
    names
}

/// The states of all LSUs together.
pub fn total(report: &Report) -> States {
    let mut total = States::default();
    for lsu in report.summary.lsus.values() {
        add(&mut total, &lsu.states);
    }
    total
}

pub fn add(into: &mut States, from: &States) {
    let add = |into: &mut Count, from: Count| {
        into.images = into.images.saturating_add(from.images);
        into.bytes = into.bytes.saturating_add(from.bytes);
    };
    add(&mut into.good, from.good);
    add(&mut into.damaged, from.damaged);
    add(&mut into.pending, from.pending);
    add(&mut into.deleting, from.deleting);
}

/// Images in any state.
pub fn all(states: &States) -> Count {
    let counts = [states.good, states.damaged, states.pending, states.deleting];
    counts.iter().fold(Count::default(), |sum, count| Count {
        images: sum.images.saturating_add(count.images),
        bytes: sum.bytes.saturating_add(count.bytes),
    })
}

/// What was chosen, as label and value; empty when everything was.
pub fn chosen(selection: &Selection) -> Vec<(&'static str, String)> {
    let chosen = [
        ("Client", selection.client.clone()),
        ("Image", selection.image.as_ref().map(|prefix| format!("{prefix}…"))),
        ("Since", selection.since.map(utc)),
        ("Until", selection.until.map(utc)),
        ("Shard", selection.shard.clone()),
        ("Against", selection.against.clone()),
    ];
    chosen
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
}

pub fn level(level: Level) -> &'static str {
    match level {
        Level::Quick => "quick: listings against sidecars",
        Level::Default => "default: records, part lists, metadata, orphans",
        Level::Deep => "deep: every byte",
    }
}

pub fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

/// A class in half a sentence; docs/user/verify.md has a section for each.
pub fn meaning(class: Class) -> &'static str {
    match class {
        Class::DataMissing => "the image's data are not on the store",
        Class::DataSize => "the data have another size than the sidecar says",
        Class::DataEtag => "the data are not the object that was written",
        Class::DataChecksum => "bytes differ from what was written",
        Class::SidecarInvalid => "the sidecar cannot be read as one",
        Class::SidecarMismatch => "the sidecar contradicts its key or its object",
        Class::OrphanData => "data that no record names",
        Class::OrphanUpload => "an upload that no record names",
        Class::PendingStale => "an image that was never finished",
        Class::DeleteUnfinished => "a delete that was not finished",
        Class::MetaMissing => "the image metadata are lost or differ",
        Class::Unreadable => "the store did not answer or refused",
        Class::NetbackupOnly => "NetBackup knows the image, the store does not",
        Class::StoreOnly => "the store has the image, NetBackup does not know it",
        Class::NetbackupSize => "NetBackup knows the image with another size",
    }
}

pub fn counted_size(count: Count) -> String {
    format!("{}, {}", counted(count.images, "image"), human_size(count.bytes))
}

/// What could not be verified, and keys that are not ours, by LSU: sentences below the figures.
pub fn notes(report: &Report) -> Vec<String> {
    let summary = &report.summary;
    let mut notes: Vec<_> = summary
        .unverified
        .iter()
        .map(|sentence| format!("not verified: {sentence}"))
        .collect();

    for (name, lsu) in &summary.lsus {
        notes.extend(lsu.notes.iter().map(|note| format!("{name}: {note}")));
        notes.extend(unrecorded(lsu).map(|note| format!("{name}: {note}")));
        notes.extend(rebuilt(lsu).map(|note| format!("{name}: {note}")));
        notes.extend(foreign(lsu).map(|note| format!("{name}: {note}")));
    }

    let left_out: u64 = summary
        .left_out
        .values()
        .fold(0, |sum, number| sum.saturating_add(*number));

    if left_out > 0 {
        notes.push(format!(
            "{} are counted and not listed: there are too many of them",
            counted(left_out, "finding")
        ));
    }

    notes
}

/// A warning each at the default level, and at the quick one nothing else.
fn unrecorded(lsu: &LsuSummary) -> Option<String> {
    let images = counted(lsu.unrecorded, "image");
    (lsu.unrecorded > 0)
        .then(|| format!("data and no record, perhaps a sidecar that was lost: {images}, not counted above"))
}

/// A sidecar that `repair` rebuilt agrees with the bytes; it does not prove what was originally written.
fn rebuilt(lsu: &LsuSummary) -> Option<String> {
    let images = counted(lsu.rebuilt, "image");
    (lsu.rebuilt > 0)
        .then(|| format!("the sidecars of {images} were rebuilt by `vastost-s3 repair`; `vastost-s3 info` says which"))
}

/// Keys in our folders that name no image, such as sidecars in a wrong folder: no image there can be found.
fn foreign(lsu: &LsuSummary) -> Option<String> {
    if lsu.foreign_keys == 0 {
        return None;
    }
    let named = lsu.foreign_named.join(", ");
    let more = lsu.foreign_keys.saturating_sub(lsu.foreign_named.len() as u64);
    let more = if more > 0 && !named.is_empty() {
        format!(" and {} more", grouped(more))
    } else {
        String::new()
    };
    let keys = counted(lsu.foreign_keys, "key");
    Some(format!(
        "{keys} not at the place of any image, and not checked: {named}{more}"
    ))
}

/// A time span for people.
pub fn duration(seconds: f64) -> String {
    if seconds < 60.0 {
        return format!("{seconds:.1} s");
    }
    let minutes = (seconds / 60.0).floor();
    if minutes < 60.0 {
        return format!("{minutes:.0} min {:.0} s", (seconds % 60.0).floor());
    }
    format!("{:.0} h {:.0} min", (minutes / 60.0).floor(), minutes % 60.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use vastost::catalog::audit::report::Finding;

    fn report(errors: u64, warnings: u64, interrupted: bool) -> Report {
        let mut report = Report::default();
        let summary = &mut report.summary;
        (summary.errors, summary.warnings, summary.interrupted) = (errors, warnings, interrupted);
        report
    }

    #[test]
    fn the_verdict_says_the_worst_first() {
        for (errors, warnings, interrupted, mood, line) in [
            (0, 0, false, Mood::Fine, "Nothing wrong"),
            (0, 1, false, Mood::Warning, "No error, 1 warning"),
            (1200, 0, false, Mood::Error, "1,200 errors"),
            (1, 2, true, Mood::Error, "1 error, 2 warnings; the audit is incomplete"),
            (
                0,
                0,
                true,
                Mood::Warning,
                "Nothing wrong in what was checked; the audit is incomplete",
            ),
        ] {
            let verdict = verdict(&report(errors, warnings, interrupted));
            assert_eq!((verdict.mood, verdict.line.as_str()), (mood, line));
        }
    }

    #[test]
    fn an_lsu_that_could_not_be_listed_is_not_called_undamaged() {
        let mut report = report(1, 0, true);
        let mut good = LsuSummary::default();
        good.states.good.images = 4;
        report.summary.lsus.insert("nightly".into(), good);
        report.findings.push(Finding {
            class: Class::Unreadable,
            severity: Severity::Error,
            lsu: "weekly".into(),
            image: None,
            key: None,
            expected: String::new(),
            found: String::new(),
            advice: String::new(),
        });
        let more = verdict(&report).more;
        assert!(
            more.ends_with("LSU weekly could not be listed: nothing is known of the images there."),
            "{more}"
        );
    }

    #[test]
    fn times_read_as_people_write_them() {
        assert_eq!(
            [0.04, 59.0, 61.9, 7325.0].map(duration),
            ["0.0 s", "59.0 s", "1 min 1 s", "2 h 2 min"]
        );
    }
}
