//! The audit's page as a person uses it: sorted, filtered, dark, on paper, and without a single request.

mod driver;

use std::collections::BTreeMap;
use std::path::PathBuf;

use driver::Browser;
use serde_json::json;
use tempfile::TempDir;
use vastost::catalog::audit::report::{Class, Count, Finding, LsuSummary, Report, States};

const FINDINGS: usize = 3000;
/// As many rows as the page draws at once.
const ROWS: usize = 100;

/// The page of a report, made by the command line.
struct Page {
    folder: TempDir,
}

impl Page {
    fn new(report: &Report) -> Self {
        let folder = TempDir::new().unwrap();
        let json = folder.path().join("report.json");
        std::fs::write(&json, serde_json::to_vec(report).unwrap()).unwrap();
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_vastost-s3"));
        let html = folder.path().join("audit.html");
        let output = command
            .args(["-q", "verify", "merge"])
            .arg(json)
            .arg("--html")
            .arg(&html)
            .output()
            .unwrap();
        assert!(html.exists(), "{}", String::from_utf8_lossy(&output.stderr));
        Self { folder }
    }

    fn url(&self) -> String {
        format!("file://{}", self.path().display())
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("audit.html")
    }
}

/// Every class, many times, in two LSUs over 1,500 days; one finding cannot be mistaken for another.
fn full() -> Report {
    let finding = |index: usize| {
        let class = Class::ALL[index % Class::ALL.len()];
        Finding {
            class,
            severity: class.severity(),
            lsu: ["nightly", "weekly"][index % 2].into(),
            image: Some(format!("db{index}_1795305600_C1_F1:1795305600")),
            key: Some(format!("backups/db{index}/</script>.nbk")),
            expected: format!("{index} bytes"),
            found: "nothing".into(),
            advice: format!("advice for {}", class.name()),
        }
    };
    let count = |images: u64| Count {
        images,
        bytes: images << 30,
    };
    let states = States {
        good: count(90),
        damaged: count(1),
        pending: count(1),
        deleting: count(1),
    };
    let first: jiff::civil::Date = "2022-10-14".parse().unwrap();
    let days: BTreeMap<_, _> = first
        .series(jiff::ToSpan::days(1))
        .take(1500)
        .map(|day| (day.strftime("%Y%m%d").to_string(), states))
        .collect();
    let mut report = Report {
        findings: (0..FINDINGS).map(finding).collect(),
        ..empty()
    };
    for lsu in ["nightly", "weekly"] {
        let summary = LsuSummary {
            bucket: lsu.into(),
            states,
            days: days.clone(),
            ..LsuSummary::default()
        };
        report.summary.lsus.insert(lsu.into(), summary);
    }
    report.seal();
    report
}

fn empty() -> Report {
    let mut report = Report::default();
    report.summary.server = "vast1".into();
    report.seal();
    report
}

fn open(report: &Report) -> (Page, Browser) {
    let page = Page::new(report);
    let browser = Browser::start();
    browser.go(&page.url());
    (page, browser)
}

/// The text of one column of the rows that are drawn.
fn column(browser: &Browser, number: usize) -> Vec<String> {
    let script =
        format!("return [...document.querySelectorAll('#rows tbody tr')].map(row => row.cells[{number}].innerText)");
    serde_json::from_value(browser.run(&script)).unwrap()
}

fn set(browser: &Browser, id: &str, value: &str) {
    let script = format!(
        "const input = document.getElementById('{id}'); input.value = '{value}'; input.dispatchEvent(new Event('input'))"
    );
    browser.run(&script);
}

fn text(browser: &Browser, selector: &str) -> String {
    browser
        .run(&format!("return document.querySelector('{selector}').innerText"))
        .as_str()
        .unwrap()
        .to_owned()
}

#[test]
fn findings_are_sorted_by_the_column_that_is_clicked() {
    let (_page, browser) = open(&full());
    assert_eq!(column(&browser, 0).len(), ROWS);
    assert_eq!(text(&browser, "#shown"), "1–100 of 3,000 findings");
    browser.click("th[data-column=expected] button");
    assert_eq!(
        column(&browser, 4)[..3],
        ["0 bytes", "1 bytes", "2 bytes"],
        "numbers sort as numbers"
    );
    browser.click("th[data-column=expected] button");
    assert_eq!(column(&browser, 4)[0], "2999 bytes");
    let sorts = browser.run("return [...document.querySelectorAll('#rows th')].map(head => head.ariaSort)");
    assert_eq!(
        sorts,
        json!(["none", "none", "none", "none", "descending", "none", "none"])
    );
    for (number, name) in ["severity", "class", "lsu"].into_iter().enumerate() {
        browser.click(&format!("th[data-column={name}] button"));
        assert!(column(&browser, number).is_sorted(), "{name}");
    }
    browser.click("#next");
    assert_eq!(text(&browser, "#shown"), "101–200 of 3,000 findings");
}

#[test]
fn filters_leave_what_they_ask_for() {
    let (_page, browser) = open(&full());
    set(&browser, "f-text", "DB2999_ orphan netbackup");
    assert_eq!(text(&browser, "#shown"), "None of 3,000 findings selected");
    set(&browser, "f-text", "DB2999_");
    assert_eq!(column(&browser, 4), ["2999 bytes"]);
    browser.click("#clear");
    set(&browser, "f-class", "store-only");
    assert!(column(&browser, 1).iter().all(|class| class == "store-only"));
    assert_eq!(text(&browser, "#shown"), "1–100 of 200 selected of 3,000 findings");
    set(&browser, "f-lsu", "1");
    assert!(column(&browser, 2).iter().all(|lsu| lsu == "weekly"));
    browser.click("#clear");
    set(&browser, "f-severity", "warning");
    assert_eq!(text(&browser, "#shown"), "1–100 of 1,200 selected of 3,000 findings");
    browser.click("button[data-class=data-etag]");
    assert!(column(&browser, 1).iter().all(|class| class == "data-etag"));
}

#[test]
fn paper_gets_every_finding() {
    let (_page, browser) = open(&full());
    set(&browser, "f-class", "store-only");
    browser.run("window.dispatchEvent(new Event('beforeprint'))");
    assert_eq!(column(&browser, 0).len(), FINDINGS);
    browser.run("window.dispatchEvent(new Event('afterprint'))");
    assert_eq!(column(&browser, 0).len(), ROWS);
}

#[test]
fn the_page_turns_dark_and_back() {
    let (_page, browser) = open(&full());
    let paper = || browser.run("return getComputedStyle(document.documentElement).backgroundColor");
    let before = paper();
    let pressed = browser.run("return document.getElementById('theme').ariaPressed");
    browser.click("#theme");
    assert_ne!(paper(), before);
    assert_ne!(
        browser.run("return document.getElementById('theme').ariaPressed"),
        pressed
    );
    browser.click("#theme");
    assert_eq!(paper(), before);
}

#[test]
fn no_request_leaves_the_page_and_nothing_goes_wrong_in_it() {
    for report in [full(), empty()] {
        let (page, browser) = open(&report);
        browser.click("#theme");
        let url = page.url();
        let left: Vec<_> = browser
            .requests_of(&url)
            .into_iter()
            .filter(|request| *request != url)
            .collect();
        assert!(left.is_empty(), "{left:?}");
        assert_eq!(browser.console(), Vec::<String>::new());
    }
}

#[test]
fn every_page_is_a_picture_of_something() {
    for report in [full(), empty()] {
        let (_page, browser) = open(&report);
        let picture = browser.screenshot();
        assert!(
            picture.width >= 1200 && picture.height >= 700,
            "{}x{}",
            picture.width,
            picture.height
        );
        assert!(picture.colours > 20, "{} colours", picture.colours);
    }
}

#[test]
fn a_good_report_says_so_and_offers_no_empty_table() {
    let (_page, browser) = open(&empty());
    assert_eq!(text(&browser, "#verdict"), "Nothing wrong");
    assert_eq!(browser.run("return document.querySelector('#rows')"), json!(null));
}

#[test]
fn every_control_has_a_name_and_every_text_enough_contrast() {
    let (_page, browser) = open(&full());
    let unnamed = browser.run(
        "return [...document.querySelectorAll('button, input, select')]
            .filter(control => !(control.innerText || control.ariaLabel || (control.labels && control.labels.length)).toString().trim())
            .map(control => control.outerHTML)",
    );
    assert_eq!(unnamed, json!([]));
    for _ in 0..2 {
        let faint = browser.run(include_str!("browser/contrast.js"));
        assert_eq!(faint, json!([]));
        browser.click("#theme");
    }
}
