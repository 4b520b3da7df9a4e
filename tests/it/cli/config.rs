//! `config check` and `config show`.

use std::os::unix::fs::PermissionsExt;

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
fn check_warns_of_keys_that_no_server_can_be_opened_with() {
    let site = site();
    let keys = site.folder.path().join("keys.toml");
    let text = std::fs::read_to_string(&site.config).unwrap();
    assert!(text.contains("keys.toml"), "{text}");
    std::fs::set_permissions(&keys, std::fs::Permissions::from_mode(0o644)).unwrap();
    let open = run(&site, &["config", "check"]).expect(0);
    assert!(open.stderr.contains("keys.toml has mode 0644; make it 0600"), "{}", open.stderr);
    std::fs::remove_file(&keys).unwrap();
    let json = run(&site, &["--json", "config", "check"]).expect(0).json();
    assert!(json["warnings"][0].as_str().unwrap().contains("read credentials file"), "{json}");
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
