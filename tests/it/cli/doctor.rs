//! `doctor` finds what is wrong, says what to do, and leaves nothing behind.

use serde_json::Value;

use super::{Run, command, finish, keys, run, site};
use crate::common::{Site, write_private};

pub fn check<'a>(report: &'a Value, name: &str) -> &'a Value {
    let checks = report["checks"].as_array().expect("checks");
    checks.iter().find(|check| check["check"] == name).unwrap_or_else(|| panic!("no check {name} in {report}"))
}

/// The site without the LSU whose bucket is missing.
pub fn healthy() -> Site {
    let site = site();
    let text = std::fs::read_to_string(&site.config).unwrap();
    let missing = format!("[[server.t.lsu]]\nname = \"missing\"\nbucket = \"{}-missing\"\n", site.bucket);
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
    let names: Vec<_> = report["checks"].as_array().unwrap().iter().filter(|c| c["check"] == "name").collect();
    assert!(names.iter().any(|c| c["status"] == "fail" && c["seen"].as_str().unwrap().contains("no-such-host")));
}

#[test]
fn a_configuration_that_is_not_valid_fails_the_first_check() {
    let site = healthy();
    std::fs::write(&site.config, "servers = 1").unwrap();
    let report = json(finish(command(&site.config).args(["--json", "doctor"])).expect(1));
    assert_eq!(check(&report, "config")["status"], "fail");
}
