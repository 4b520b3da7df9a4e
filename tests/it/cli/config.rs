//! `config check` and `config show`.

use super::{command, finish, run, site};

#[test]
fn check_says_ok_with_counts_or_refuses_with_the_place() {
    let site = site();
    let ok = run(&site, &["config", "check"]).expect(0).text();
    assert!(ok.contains("ok, 1 server, 3 LSUs"), "{ok}");
    let other = site.folder.path().join("other.toml");
    std::fs::write(&other, "[server.t]\nendpoints = [\"ftp://x\"]\n").unwrap();
    let refused = run(&site, &["config", "check", other.to_str().unwrap()]).expect(1);
    assert!(refused.stderr.contains("other.toml, line 2"), "{}", refused.stderr);
    let json = run(&site, &["--json", "config", "check", other.to_str().unwrap()]).expect(1).json();
    assert_eq!(json["valid"], false);
}

#[test]
fn show_prints_a_valid_file_without_the_secret() {
    let site = site();
    let shown = run(&site, &["config", "show"]).expect(0).text();
    assert!(!shown.contains(&site.keys.secret_access_key), "{shown}");
    let copy = site.folder.path().join("copy.toml");
    std::fs::write(&copy, &shown).unwrap();
    assert_eq!(finish(command(&copy).args(["config", "show"])).expect(0).text(), shown);
}
