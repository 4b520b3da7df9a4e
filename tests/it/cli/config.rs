//! `config check` and `config show`.

use std::os::unix::fs::PermissionsExt;

use super::{bare, command, finish, run, site};

#[test]
fn check_says_ok_with_counts_or_refuses_with_the_place() {
    let site = site();
    let ok = run(&site, &["config", "check"]).expect(0).text();
    assert!(ok.contains("ok, 1 server, 3 LSUs"), "{ok}");
    let other = site.folder.path().join("other.toml");
    std::fs::write(&other, "[server.t]\nendpoints = [\"ftp://x\"]\n").unwrap();
    let refused = run(&site, &["config", "check", other.to_str().unwrap()]).expect(1);
    assert!(refused.stderr.contains("other.toml, line 2"), "{}", refused.stderr);
    let json = run(&site, &["--json", "config", "check", other.to_str().unwrap()])
        .expect(1)
        .json();
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
    assert!(
        open.stderr.contains("keys.toml has mode 0644; make it 0600"),
        "{}",
        open.stderr
    );
    std::fs::remove_file(&keys).unwrap();
    let json = run(&site, &["--json", "config", "check"]).expect(0).json();
    assert!(
        json["warnings"][0].as_str().unwrap().contains("read credentials file"),
        "{json}"
    );
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

#[test]
fn a_check_of_a_file_that_cannot_be_read_has_not_run() {
    let site = site();
    let none = site.folder.path().join("none.toml");
    let check = |config: &mut std::process::Command| finish(config.args(["config", "check"])).expect(2).stderr;
    let hint = "; `vastost-s3 init` writes one\n";
    let told = check(&mut command(&none));
    assert!(
        told.contains("none.toml") && told.ends_with(&format!(" (from --config){hint}")),
        "{told}"
    );
    let told = check(bare().env("VASTOST_CONFIG", &none));
    assert!(told.ends_with(&format!(" (from $VASTOST_CONFIG){hint}")), "{told}");
    let told = finish(bare().args(["config", "check"]).arg(&none)).expect(2).stderr;
    assert!(told.ends_with(&format!(" (from the command line){hint}")), "{told}");
    let json = finish(command(site.folder.path()).args(["--json", "config", "check"]))
        .expect(2)
        .json();
    assert!(
        json["error"].as_str().unwrap().contains("a folder") && json["valid"].is_null(),
        "{json}"
    );
}

#[test]
fn check_warns_of_folders_that_cannot_be_written() {
    let site = site();
    let text = std::fs::read_to_string(&site.config).unwrap();
    // Root may write everywhere, but for below a file.
    std::fs::write(
        &site.config,
        format!("{text}[metrics]\ndir = \"keys.toml/metrics\"\n[log]\nfile = \"log\"\n"),
    )
    .unwrap();
    let json = run(&site, &["--json", "config", "check"]).expect(0).json();
    let warnings = json["warnings"].as_array().unwrap();
    assert_eq!(warnings.len(), 1, "{json}");
    let warning = warnings[0].as_str().unwrap();
    assert!(warning.starts_with("the metrics folder ") && warning.contains("keys.toml/metrics cannot be written: "));
    assert!(!site.folder.path().join("log").exists());
}
