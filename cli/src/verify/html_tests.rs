use vastost::catalog::audit::report::{Finding, Severity, States};

use super::*;

const NASTY: &str = "</script><script>alert('1')</script>{{js}}&\"\u{2028}";

fn finding(class: Class, lsu: &str, text: &str) -> Finding {
    let text = || text.to_owned();
    let severity = class.severity();
    let lsu = lsu.to_owned();
    Finding {
        class,
        severity,
        lsu,
        image: Some(text()),
        key: None,
        expected: text(),
        found: text(),
        advice: text(),
    }
}

fn report(findings: Vec<Finding>) -> Report {
    let mut report = Report {
        findings,
        ..Report::default()
    };
    report.seal();
    report
}

/// The findings that the page's script reads.
fn embedded(page: &str) -> serde_json::Value {
    let (_, after) = page.split_once("id=\"data\">").unwrap();
    serde_json::from_str(after.split_once("</script>").unwrap().0).unwrap()
}

#[test]
fn findings_reach_the_page_with_their_words() {
    let report = report(vec![
        finding(Class::StoreOnly, "b", "x"),
        finding(Class::DataSize, "a", "y"),
    ]);
    let data = embedded(&page(&report));
    assert_eq!(data["lsus"], json!(["a", "b"]));
    assert_eq!(data["rows"][0], json!([1, 0, "y", null, "y", "y", 0]));
    assert_eq!(data["classes"][1], json!(["data-size", "error"]));
    assert_eq!(data["advice"], json!(["y", "x"]));
}

#[test]
fn text_of_the_report_never_becomes_markup() {
    let mut report = report(vec![finding(Class::DataMissing, NASTY, NASTY)]);
    let summary = &mut report.summary;
    for text in [
        &mut summary.tool,
        &mut summary.server,
        &mut summary.endpoint,
        &mut summary.started,
        &mut summary.finished,
    ] {
        *text = NASTY.into();
    }

    summary.selection.client = Some(NASTY.into());
    let bucket = NASTY.to_owned();
    let notes = vec![NASTY.to_owned()];
    summary.lsus.insert(
        NASTY.into(),
        LsuSummary {
            bucket,
            notes,
            ..LsuSummary::default()
        },
    );
    let page = page(&report);
    assert_eq!(page.matches("<script").count(), 2);
    assert_eq!(page.matches("</script>").count(), 2);
    assert_eq!(
        page.matches("\"use strict\"").count(),
        1,
        "what is put in is not filled in again"
    );
    assert_eq!(embedded(&page)["rows"][0][2], NASTY);
}

#[test]
fn a_report_without_findings_says_that_nothing_is_wrong() {
    let page = page(&Report::default());
    assert!(page.contains("<h2 id=\"verdict\">Nothing wrong</h2>"));
    assert!(page.contains("class=\"verdict fine\""));
    assert!(!page.contains("id=\"rows\""));
    assert!(!page.contains("{{"));
}

#[test]
fn the_page_names_nothing_that_lies_elsewhere() {
    let mut report = report(Class::ALL.map(|class| finding(class, "a", "x")).to_vec());
    let states = States {
        good: Count { images: 1, bytes: 1 },
        ..States::default()
    };
    let days = BTreeMap::from([("20261122".to_owned(), states)]);
    report.summary.lsus.insert(
        "a".into(),
        LsuSummary {
            states,
            days,
            ..LsuSummary::default()
        },
    );
    let page = page(&report);

    for elsewhere in [
        "http:",
        "https:",
        "src=",
        "url(",
        "@import",
        "fetch(",
        "XMLHttpRequest",
        "innerHTML",
    ] {
        assert!(!page.contains(elsewhere), "{elsewhere}");
    }

    assert!(page.contains("default-src 'none'"));
}

#[test]
fn counts_by_class_come_with_errors_first() {
    let report = report(vec![
        finding(Class::OrphanData, "a", "x"),
        finding(Class::NetbackupOnly, "a", "x"),
    ]);
    let page = page(&report);
    let at = |class: &str| page.find(&format!("data-class=\"{class}\"")).unwrap();
    assert!(at("netbackup-only") < at("orphan-data"));
    assert_eq!((report.summary.errors, report.summary.warnings), (1, 1));
    assert_eq!(Class::OrphanData.severity(), Severity::Warning);
}
