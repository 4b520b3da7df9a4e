//! `stats`: what the files say, as a table and as JSON.

use std::io::{BufRead, BufReader};

use serde_json::Value;

use super::files::{put, site};
use crate::cli::{command, run};
use vastost_testkit::proxy::{Action, Proxy};
use vastost_testkit::test_store::PART;

#[test]
fn the_table_has_a_row_for_each_process_address_and_operation() {
    let site = site();
    put(&site, "one", 2 * PART + 7);
    put(&site, "two", 100);
    let table = run(&site, &["stats"]).expect(0).text();
    let rows: Vec<_> = table.lines().filter(|line| line.contains("UploadPart")).collect();
    let [row] = &rows[..] else {
        panic!("one process has sent parts: {table}")
    };
    let cells: Vec<_> = row.split_whitespace().collect();
    assert_eq!(
        &cells[1..7],
        [
            "t/main",
            site.url.trim_start_matches("http://"),
            "UploadPart",
            "3",
            "0",
            "0"
        ],
        "{row}"
    );
    assert!(
        row.contains("10.0 MiB") && row.contains("MiB/s") && row.trim_end().ends_with("ms"),
        "{row}"
    );
    let processes: std::collections::BTreeSet<_> = table
        .lines()
        .filter(|line| line.contains("PutObject"))
        .filter_map(|line| line.split(' ').next())
        .collect();
    assert_eq!(processes.len(), 2, "{table}");
}

#[test]
fn json_has_every_field_of_its_schema() {
    let site = site();
    put(&site, "one", 2 * PART);
    let json = run(&site, &["--json", "stats"]).expect(0).json();
    assert_eq!(json["schema"], 1);
    let process = &json["processes"][0];
    assert!(
        process["started"].as_str().unwrap() <= process["written"].as_str().unwrap(),
        "{process}"
    );
    let operations = json["operations"].as_array().unwrap();
    let parts = operations
        .iter()
        .find(|operation| operation["operation"] == "UploadPart")
        .unwrap();
    assert_eq!(
        (&parts["process"], &parts["server"], &parts["lsu"]),
        (&process["process"], &"t".into(), &"main".into())
    );
    assert_eq!(
        (
            parts["requests"].as_u64(),
            parts["errors"].as_u64(),
            parts["retries"].as_u64()
        ),
        (Some(2), Some(0), Some(0))
    );
    assert_eq!(parts["sent_bytes"].as_u64(), Some(2 * PART as u64));
    assert!(
        parts["p50_ms"].as_f64() > Some(0.0) && parts["p50_ms"].as_f64() <= parts["p99_ms"].as_f64(),
        "{parts}"
    );
    assert_eq!(json["images"][0]["outcome"], "written complete");
    assert!(json["stalls"].is_array() && json["quarantines"].is_array() && json["hedges"].is_array());
}

#[test]
fn second_tries_are_counted_by_operation_with_those_that_won() {
    let site = site();
    let proxies = [0; 2].map(|_| Proxy::start(&site.url));
    site.point_at(&proxies.each_ref().map(Proxy::url));
    // Which node the last part comes to is chance: the images are sent until it is this one.
    proxies[0].script(|request| match (request.is("UploadPart", "backups"), request.length) {
        (true, Some(1)) => Action::Hold,
        _ => Action::Forward,
    });
    for number in 0..8 {
        put(&site, &format!("hedged{number}"), 2 * PART + 1);
        if proxies[0].faults() > 0 {
            break;
        }
    }
    let json = run(&site, &["--json", "stats"]).expect(0).json();
    let hedges: Vec<_> = json["hedges"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|it| it["operation"] == "UploadPart")
        .collect();
    let [hedges] = &hedges[..] else {
        panic!("one process was hedged: {json:#}")
    };
    assert_eq!(
        (&hedges["server"], &hedges["count"], &hedges["won"]),
        (&"t".into(), &1.into(), &1.into()),
        "{json:#}"
    );
    let table = run(&site, &["stats"]).expect(0).text();
    assert!(table.lines().any(|line| line.ends_with("SECOND TRIES  WON")), "{table}");
    assert!(
        !json["operations"]
            .as_array()
            .unwrap()
            .iter()
            .any(|it| it["address"] == ""),
        "{json:#}"
    );
}

#[test]
fn watch_shows_it_again_and_again() {
    let site = site();
    put(&site, "one", 100);
    let mut child = command(&site.config)
        .args(["--json", "stats", "--watch", "1"])
        .spawn()
        .unwrap();
    let lines: Vec<_> = BufReader::new(child.stdout.take().unwrap()).lines().take(2).collect();
    child.kill().unwrap();
    child.wait().unwrap();
    for line in lines {
        assert!(serde_json::from_str::<Value>(&line.unwrap()).unwrap()["operations"].is_array());
    }
}

#[test]
fn without_a_folder_it_says_which_key_is_missing() {
    let site = vastost_testkit::test_store::Site::new(&vastost_testkit::test_store::Wish::default());
    let refused = run(&site, &["stats"]).expect(2);
    assert!(refused.stderr.contains("sets no [metrics] dir"), "{}", refused.stderr);
    let empty = site.folder.path().join("nowhere");
    let refused = run(&site, &["stats".as_ref(), "--dir".as_ref(), empty.as_os_str()]).expect(2);
    assert!(refused.stderr.contains("nowhere"), "{}", refused.stderr);
}
