//! What an audit was asked to verify and did not: no findings mean nothing for images that were not checked.

use vastost::catalog::audit::report::{Class, LsuSummary, Report, Selection};
use vastost::catalog::lsu::Lsu;

use crate::output::counted;

/// One sentence per gap; empty when there was something to verify everywhere. With `allow_empty` an LSU without images
/// is right.
pub fn unverified(report: &Report, lsus: &[Lsu], allow_empty: bool) -> Vec<String> {
    let summary = &report.summary;
    let listed = summary
        .lsus
        .iter()
        .filter(|(name, _)| !could_not_be_listed(report, name));
    let mut sentences: Vec<_> = listed
        .clone()
        .filter_map(|(name, lsu)| lost_records(name, lsu))
        .collect();

    if selects(&summary.selection) {
        if listed.clone().all(|(name, lsu)| !has_any(report, name, lsu)) && listed.clone().next().is_some() {
            let names: Vec<_> = listed.map(|(name, _)| name.as_str()).collect();
            let plural = if names.len() == 1 { "" } else { "s" };
            sentences.push(format!(
                "no image in LSU{plural} {} matches the selection",
                names.join(", ")
            ));
        }
        return sentences;
    }

    for (name, lsu) in listed.filter(|(_, lsu)| complete(lsu) == 0 && lsu.unrecorded == 0 && !lsu.elsewhere) {
        let counted_before = lsus.iter().find(|lsu| lsu.config().name == *name).and_then(Lsu::usage);
        match counted_before.map_or(0, |usage| usage.images) {
            0 if allow_empty || has_any(report, name, lsu) => {}
            0 => sentences.push(format!("no image is in LSU {name}; --allow-empty accepts that")),
            images => sentences.push(format!(
                "no complete image is in LSU {name}, and this host has counted {} there; `vastost-s3 usage {name}` counts again",
                counted(images, "image")
            )),
        }
    }

    sentences
}

/// The same for a list of NetBackup's without an image of the selection.
pub const NOTHING_EXPECTED: &str = "NetBackup's list names no image of the selection, so nothing was compared with it";

fn lost_records(name: &str, lsu: &LsuSummary) -> Option<String> {
    (lsu.unrecorded > complete(lsu)).then(|| {
        let lost = match complete(lsu) {
            0 => "data of images and not one sidecar".to_owned(),
            sidecars => format!("data of {} without a sidecar and {}", counted(lsu.unrecorded, "image"), counted(sidecars, "sidecar")),
        };
        format!(
            "LSU {name} has {lost}, so nothing says what the data should be; \
             `vastost-s3 repair {name} --older-than 0s` rebuilds sidecars, with --deep where the server knows no CRC64NVME"
        )
    })
}

fn selects(selection: &Selection) -> bool {
    let Selection {
        client,
        image,
        since,
        until,
        ..
    } = selection;
    client.is_some() || image.is_some() || since.is_some() || until.is_some()
}

/// Images with a sidecar.
fn complete(lsu: &LsuSummary) -> u64 {
    let states = &lsu.states;
    states
        .good
        .images
        .saturating_add(states.damaged.images)
        .saturating_add(states.deleting.images)
}

/// True when anything of the selection was seen, even only an orphan of an image.
fn has_any(report: &Report, name: &str, lsu: &LsuSummary) -> bool {
    let found = || {
        report
            .findings
            .iter()
            .any(|finding| finding.lsu == name && finding.class != Class::StoreOnly)
    };
    complete(lsu) > 0 || lsu.states.pending.images > 0 || lsu.unrecorded > 0 || lsu.elsewhere || found()
}

fn could_not_be_listed(report: &Report, name: &str) -> bool {
    report
        .findings
        .iter()
        .any(|f| f.class == Class::Unreadable && f.image.is_none() && f.lsu == name)
}

#[cfg(test)]
mod tests {
    use vastost::catalog::audit::report::Finding;

    use super::*;

    fn report(change: impl FnOnce(&mut LsuSummary, &mut Selection)) -> Report {
        let mut report = Report::default();
        let mut lsu = LsuSummary::default();
        change(&mut lsu, &mut report.summary.selection);
        report.summary.lsus.insert("nightly".into(), lsu);
        report
    }

    fn said(report: &Report, allow_empty: bool) -> String {
        unverified(report, &[], allow_empty).join("; ")
    }

    #[test]
    fn an_empty_lsu_is_no_good_news_unless_it_is_meant_to_be_empty() {
        let empty = report(|_, _| {});
        assert!(said(&empty, false).contains("no image is in LSU nightly; --allow-empty"));
        assert_eq!(said(&empty, true), "");
        let fill: [fn(&mut LsuSummary); 3] = [
            |lsu| lsu.states.good.images = 1,
            |lsu| lsu.states.pending.images = 1,
            |lsu| lsu.elsewhere = true,
        ];
        for fill in fill {
            assert_eq!(said(&report(|lsu, _| fill(lsu)), false), "");
        }
    }

    #[test]
    fn more_lost_sidecars_than_kept_ones_are_never_good_news() {
        let lost = report(|lsu, _| lsu.unrecorded = 3);
        assert!(said(&lost, true).contains("data of images and not one sidecar"));
        let most = report(|lsu, _| (lsu.unrecorded, lsu.states.good.images) = (3, 1));
        assert!(said(&most, false).contains("data of 3 images without a sidecar and 1 sidecar"));
        // One finding each.
        let some = report(|lsu, _| (lsu.unrecorded, lsu.states.good.images) = (3, 3));
        assert_eq!(said(&some, false), "");
    }

    #[test]
    fn a_selection_without_images_is_told() {
        let typo = |lsu: &mut LsuSummary, selection: &mut Selection| {
            (lsu.states.good.images, selection.client) = (0, Some("db0".into()));
        };
        assert!(said(&report(typo), true).contains("no image in LSU nightly matches the selection"));
        let other_shard = report(|lsu, selection| (lsu.elsewhere, selection.client) = (true, Some("db01".into())));
        assert_eq!(said(&other_shard, false), "");
    }

    #[test]
    fn an_lsu_that_could_not_be_listed_is_a_finding_and_not_said_again() {
        let mut unlisted = report(|_, _| {});
        unlisted.findings.push(Finding {
            class: Class::Unreadable,
            severity: Class::Unreadable.severity(),
            lsu: "nightly".into(),
            image: None,
            key: None,
            expected: String::new(),
            found: String::new(),
            advice: String::new(),
        });
        assert_eq!(said(&unlisted, false), "");
    }
}
