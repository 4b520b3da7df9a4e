//! `doctor` finds what is wrong, says what to do, and leaves nothing behind.

use serde_json::Value;

use super::{Run, command, finish, keys, run, site};
use vastost_testkit::test_store::{Site, write_private};

pub fn check<'a>(report: &'a Value, name: &str) -> &'a Value {
    let checks = report["checks"].as_array().expect("checks");
    checks
        .iter()
        .find(|check| check["check"] == name)
        .unwrap_or_else(|| panic!("no check {name} in {report}"))
}

/// The site without the LSU whose bucket is missing.
pub fn healthy() -> Site {
    let site = site();
    let text = std::fs::read_to_string(&site.config).unwrap();
    let missing = format!(
        "[[server.t.lsu]]\nname = \"missing\"\nbucket = \"{}-missing\"\n",
        site.bucket
    );
    std::fs::write(&site.config, text.replace(&missing, "")).unwrap();
    site
}

fn json(run: Run) -> Value {
    let report = run.json();
    assert_eq!(report["schema"], 1);
    for check in report["checks"].as_array().unwrap() {
        assert!(check["seen"].is_string(), "{check}");
        assert_eq!(check["advice"].is_null(), check["status"] == "pass", "{check}");
    }
    report
}

#[test]
fn a_good_site_passes_and_nothing_stays_in_the_bucket() {
    let site = healthy();
    let report = json(run(&site, &["--json", "doctor"]).expect(0));
    for name in [
        "config",
        "credentials",
        "tcp",
        "clock",
        "signature",
        "main put",
        "main multipart",
        "side ranged get",
        "main re-open",
        "main delete",
        "main abort",
        "main default retention",
    ] {
        assert_eq!(check(&report, name)["status"], "pass", "{report}");
    }
    assert_eq!(keys(&site), Vec::<String>::new());
    let text = run(&site, &["doctor"]).expect(0).text();
    assert!(text.contains("0 failed"), "{text}");
}

#[test]
fn a_missing_bucket_fails_with_advice_and_the_others_are_checked() {
    let site = site();
    let report = json(run(&site, &["--json", "doctor"]).expect(1));
    let failed = check(&report, "missing list");
    assert_eq!(failed["status"], "fail");
    assert!(failed["advice"].as_str().unwrap().contains("create bucket"), "{failed}");
    assert_eq!(check(&report, "main delete")["status"], "pass");
}

#[test]
fn a_wrong_secret_fails_the_signature_alone() {
    let site = healthy();
    let wrong = "access_key_id = \"vastost-test\"\nsecret_access_key = \"HUSH-wrong\"\n";
    write_private(&site.folder.path().join("keys.toml"), wrong);
    let run = run(&site, &["--json", "doctor"]).expect(1);
    assert!(!run.text().contains("HUSH"));
    let report = json(run);
    assert_eq!(check(&report, "signature")["status"], "fail");
    assert_eq!(check(&report, "clock")["status"], "pass");
}

#[test]
fn a_closed_port_and_an_unknown_name_fail_by_name() {
    let site = healthy();
    let text = std::fs::read_to_string(&site.config).unwrap();
    let urls = "http://127.0.0.1:1\", \"http://no-such-host.invalid";
    std::fs::write(&site.config, text.replace(&site.url, urls)).unwrap();
    let report = json(run(&site, &["--json", "doctor"]).expect(1));
    assert!(check(&report, "tcp")["seen"].as_str().unwrap().contains("127.0.0.1:1"));
    let names: Vec<_> = report["checks"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|c| c["check"] == "name")
        .collect();
    assert!(
        names
            .iter()
            .any(|c| c["status"] == "fail" && c["seen"].as_str().unwrap().contains("no-such-host"))
    );
}

#[test]
fn a_configuration_that_is_not_valid_fails_the_first_check() {
    let site = healthy();
    std::fs::write(&site.config, "servers = 1").unwrap();
    let report = json(finish(command(&site.config).args(["--json", "doctor"])).expect(1));
    assert_eq!(check(&report, "config")["status"], "fail");
}

#[test]
fn folders_for_counters_and_log_are_tried() {
    let site = healthy();
    let text = std::fs::read_to_string(&site.config).unwrap();
    let with = |dir: &str| {
        std::fs::write(
            &site.config,
            format!("{text}[metrics]\ndir = \"{dir}\"\n[log]\nfile = \"log\"\n"),
        )
        .unwrap();
    };
    with("some/metrics");
    let report = json(run(&site, &["--json", "doctor"]).expect(0));
    assert_eq!(check(&report, "log folder")["status"], "pass");
    assert!(
        check(&report, "metrics folder")["seen"]
            .as_str()
            .unwrap()
            .ends_with("some/metrics can be made")
    );
    // Root may write everywhere, but for below a file.
    with("keys.toml/metrics");
    let report = json(run(&site, &["--json", "doctor"]).expect(1));
    let failed = check(&report, "metrics folder");
    assert_eq!(failed["status"], "fail");
    assert!(failed["advice"].as_str().unwrap().contains("[metrics] dir"), "{failed}");
}

#[test]
fn the_advice_about_a_missing_file_is_to_provide_it() {
    let site = healthy();
    let text = std::fs::read_to_string(&site.config).unwrap();
    let text = text.replace("[server.t]\n", "[server.t]\ntls.ca_file = \"none.pem\"\n");
    std::fs::write(&site.config, format!("{text}[log]\nfile = \"none/log\"\n")).unwrap();
    let report = run(&site, &["--json", "doctor"]).json();
    let checks = report["checks"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|check| check["check"] == "files");
    let advice: Vec<_> = checks.map(|check| check["advice"].as_str().unwrap()).collect();
    assert_eq!(advice.len(), 2, "{report}");
    assert!(
        advice[0].starts_with("correct tls.ca_file") && advice[1].starts_with("make the folder"),
        "{report}"
    );
}
