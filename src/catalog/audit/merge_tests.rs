use super::*;
use crate::catalog::audit::report::{Class, Finding, Level};

fn shard(number: u32, of: u32) -> (String, Report) {
    let count = Count {
        images: u64::from(number),
        bytes: 100,
    };
    let states = States {
        good: count,
        ..States::default()
    };
    let lsu = LsuSummary {
        bucket: "nightly".into(),
        states,
        list_requests: 2,
        days: BTreeMap::from([("20261122".into(), states), (format!("2026120{number}"), states)]),
        notes: vec!["uploads may not be listed".into()],
        ..LsuSummary::default()
    };

    let summary = Summary {
        tool: "vastost-s3 0.1.0".into(),
        server: "vast1".into(),
        selection: Selection {
            shard: Some(format!("{number}/{of}")),
            ..Selection::default()
        },
        started: format!("2026-12-01T0{number}:00:00Z"),
        finished: format!("2026-12-01T0{number}:30:00Z"),
        seconds: 1800.0,
        lsus: BTreeMap::from([("nightly".into(), lsu)]),
        ..Summary::default()
    };

    let mut report = Report {
        summary,
        findings: vec![finding(Class::OrphanData, &format!("backups/{number}"))],
        schema: 0,
    };
    report.seal();
    (format!("{number}.json"), report)
}

fn finding(class: Class, key: &str) -> Finding {
    let text = String::new;
    Finding {
        class,
        severity: class.severity(),
        lsu: "nightly".into(),
        image: None,
        key: Some(key.into()),
        expected: text(),
        found: text(),
        advice: text(),
    }
}

fn refused(reports: Vec<(String, Report)>) -> String {
    merge(reports).unwrap_err().to_string()
}

#[test]
fn figures_are_summed_and_findings_come_together() {
    let joined = merge(vec![shard(2, 2), shard(1, 2)]).unwrap();
    let (summary, lsu) = (&joined.summary, &joined.summary.lsus["nightly"]);
    assert_eq!(lsu.states.good, Count { images: 3, bytes: 200 });
    assert_eq!(lsu.days["20261122"].good, Count { images: 3, bytes: 200 });
    assert_eq!(lsu.days.len(), 3);
    assert_eq!((lsu.list_requests, lsu.notes.len()), (4, 1));
    assert_eq!(
        (summary.warnings, summary.interrupted, &summary.selection.shard),
        (2, false, &None)
    );
    assert_eq!(
        (summary.started.as_str(), summary.finished.as_str()),
        ("2026-12-01T01:00:00Z", "2026-12-01T02:30:00Z")
    );
    assert!((summary.seconds - 5400.0).abs() < 0.001);
    assert_eq!(
        joined.findings[0].key.as_deref(),
        Some("backups/1"),
        "findings are in order again"
    );
}

#[test]
fn what_every_shard_finds_is_kept_once() {
    let mut shards = vec![shard(1, 2), shard(2, 2)];
    for (_, report) in &mut shards {
        report.findings.push(finding(Class::Unreadable, "the bucket"));
    }
    let joined = merge(shards).unwrap();
    assert_eq!((joined.summary.errors, joined.findings.len()), (1, 3));
}

#[test]
fn a_missing_shard_makes_the_report_an_interrupted_one_that_says_so() {
    let joined = merge(vec![shard(1, 3), shard(3, 3)]).unwrap();
    assert!(joined.summary.interrupted);
    let notes = joined.summary.lsus["nightly"].notes.join("\n");
    assert!(notes.contains("shard 2 of 3 is missing: its images"), "{notes}");
    let notes = merge(vec![shard(2, 3)]).unwrap().summary.lsus["nightly"]
        .notes
        .join("\n");
    assert!(notes.contains("shards 1, 3 of 3 are missing: their images"), "{notes}");
}

#[test]
fn one_report_without_a_shard_is_taken_as_it_is() {
    let (file, mut report) = shard(1, 1);
    report.summary.selection.shard = None;
    assert_eq!(merge(vec![(file, report.clone())]).unwrap(), report);
}

#[test]
fn what_does_not_belong_together_is_refused_by_the_name_of_the_file() {
    type Change = fn(&mut Report);
    let cases: [(Change, &str); 8] = [
        (
            |r| r.summary.server = "other".into(),
            "2.json and 1.json are not of one audit: their servers differ",
        ),
        (|r| r.summary.level = Level::Deep, "their levels differ"),
        (
            |r| r.summary.selection.client = Some("db".into()),
            "their selections of images differ",
        ),
        (|r| r.summary.lsus.clear(), "their LSUs differ"),
        (
            |r| r.summary.selection.shard = Some("1/2".into()),
            "2.json and 1.json are both of shard 1/2",
        ),
        (
            |r| r.summary.selection.shard = Some("2/3".into()),
            "2.json is one of 3 shards, 1.json one of 2",
        ),
        (|r| r.summary.selection.shard = None, "2.json is not of a shard"),
        (|r| r.schema = 2, "2.json has schema 2, this version reads 1"),
    ];

    for (change, message) in cases {
        let (file, mut other) = shard(2, 2);
        change(&mut other);
        let found = refused(vec![shard(1, 2), (file, other)]);
        assert!(found.contains(message), "{found}");
    }

    assert_eq!(refused(Vec::new()), "no reports to join");
}

#[test]
fn an_interrupted_shard_may_lack_lsus() {
    let (file, mut other) = shard(2, 2);
    other.summary.interrupted = true;
    other.summary.lsus.clear();
    assert!(merge(vec![shard(1, 2), (file, other)]).unwrap().summary.interrupted);
}

#[test]
fn shards_are_written_k_of_n() {
    assert_eq!(Shard::parse("3/8"), Some(Shard { number: 3, of: 8 }));
    for odd in ["", "3", "0/8", "9/8", "-1/8", "+1/8", "1/", "1/8/9", "a/b"] {
        assert_eq!(Shard::parse(odd), None, "{odd}");
    }
}

/// The host of a shard was down, and its report is that of the audit before.
#[test]
fn a_shard_of_another_day_leaves_its_images_unverified() {
    let mut old = shard(2, 2);
    old.1.summary.started = "2026-11-01T02:00:00Z".into();
    old.1.summary.finished = "2026-11-01T02:30:00Z".into();
    let joined = merge(vec![shard(1, 2), old]).unwrap();
    assert_eq!(joined.summary.unverified.len(), 1, "{:?}", joined.summary.unverified);
    assert!(joined.summary.unverified[0].contains("shard 2/2 (2.json) is of 2026-11-01"));
    assert!(
        merge(vec![shard(1, 2), shard(2, 2)])
            .unwrap()
            .summary
            .unverified
            .is_empty()
    );
    // One machine, one shard after the other.
    let times = [
        ("01T00", "01T15"),
        ("01T16", "02T07"),
        ("02T08", "02T23"),
        ("03T00", "03T15"),
    ];
    let shards = (1..).zip(times).map(|(number, (started, finished))| {
        let mut shard = shard(number, 4);
        shard.1.summary.started = format!("2026-12-{started}:00:00Z");
        shard.1.summary.finished = format!("2026-12-{finished}:00:00Z");
        shard
    });
    assert!(merge(shards.collect()).unwrap().summary.unverified.is_empty());
}
