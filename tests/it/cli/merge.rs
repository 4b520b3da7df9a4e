//! `verify merge`: what it joins, refuses, writes and exits with.

use std::path::PathBuf;

use tempfile::TempDir;
use vastost::catalog::audit::report::{Class, Finding, LsuSummary, Report};

use super::{Run, bare, finish};

/// A folder with one report for each shard of two.
struct Shards {
    folder: TempDir,
    reports: Vec<Report>,
}

impl Shards {
    fn new(classes: &[Class]) -> Self {
        let report = |number: usize| {
            let mut report = Report::default();
            report.summary.selection.shard = Some(format!("{number}/2"));
            report.summary.started = "2026-11-22T00:00:00Z".into();
            report.summary.finished = "2026-11-22T00:00:09Z".into();
            report.summary.lsus.insert("nightly".into(), LsuSummary::default());
            report.findings = classes.iter().map(|class| finding(*class, number)).collect();
            report.seal();
            report
        };
        Self {
            folder: TempDir::new().unwrap(),
            reports: vec![report(1), report(2)],
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs with the first `count` reports.
    fn merge(&self, count: usize, options: &[&str]) -> Run {
        let mut command = bare();
        command
            .current_dir(self.folder.path())
            .args(["verify", "merge"])
            .args(options);
        for (index, report) in self.reports.iter().take(count).enumerate() {
            let name = format!("{}.json", index + 1);
            std::fs::write(self.path(&name), serde_json::to_vec(report).unwrap()).unwrap();
            command.arg(name);
        }
        finish(&mut command)
    }
}

fn finding(class: Class, number: usize) -> Finding {
    let severity = class.severity();
    let lsu = "nightly".into();
    let key = Some(format!("backups/{number}"));
    Finding {
        class,
        severity,
        lsu,
        image: None,
        key,
        expected: "9 bytes".into(),
        found: "8 bytes".into(),
        advice: "look".into(),
    }
}

#[test]
fn the_exit_code_says_what_was_found() {
    Shards::new(&[]).merge(2, &[]).expect(0);
    Shards::new(&[Class::DataSize]).merge(2, &[]).expect(1);
    Shards::new(&[Class::OrphanData]).merge(2, &[]).expect(0);
    Shards::new(&[Class::OrphanData]).merge(2, &["--strict"]).expect(1);
}

#[test]
fn a_missing_shard_is_no_good_result() {
    let run = Shards::new(&[]).merge(1, &[]).expect(2);
    assert!(run.text().contains("the audit is incomplete"), "{}", run.text());
    assert!(
        run.text()
            .contains("shard 2 of 2 is missing: its images were not audited here"),
        "{}",
        run.text()
    );
}

#[test]
fn the_joined_report_is_what_its_schema_describes() {
    let run = Shards::new(&Class::ALL).merge(2, &["--json"]).expect(1);
    let json = run.json();
    let path = vastost_testkit::repository("docs/user/verify-report.schema.json");
    let schema = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let errors: Vec<_> = jsonschema::validator_for(&schema)
        .unwrap()
        .iter_errors(&json)
        .map(|e| e.to_string())
        .collect();
    assert!(errors.is_empty(), "{errors:?}");
    assert_eq!(json["findings"].as_array().unwrap().len(), 2 * Class::ALL.len());
}

#[test]
fn text_and_page_come_from_one_run() {
    let shards = Shards::new(&[Class::DataMissing]);
    let run = shards.merge(2, &["--html", "audit.html"]).expect(1);
    assert!(run.text().starts_with("2 errors: "), "{}", run.text());
    let page = std::fs::read_to_string(shards.path("audit.html")).unwrap();
    assert!(page.contains("2 errors</h2>") && page.contains("data-missing"));
}

#[test]
fn what_cannot_be_joined_is_named_with_its_file() {
    let mut shards = Shards::new(&[]);
    shards.reports[1].summary.selection.shard = Some("1/2".into());
    let run = shards.merge(2, &[]).expect(2);
    assert!(
        run.stderr.contains("2.json and 1.json are both of shard 1/2"),
        "{}",
        run.stderr
    );
    std::fs::write(shards.path("odd.json"), "{}").unwrap();
    let run = shards.merge(0, &["odd.json"]).expect(2);
    assert!(
        run.stderr.contains("odd.json is no report of `verify --json`"),
        "{}",
        run.stderr
    );
    let run = shards.merge(0, &["none.json"]).expect(2);
    assert!(run.stderr.contains("read none.json: "), "{}", run.stderr);
}
