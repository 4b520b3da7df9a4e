//! The table of docs/user/exit-codes.md, row by row. What a row's own test has elsewhere is not repeated here:
//! interruptions (`interrupt.rs`), sources that are not whole (`sources.rs`), what `verify` calls nothing
//! (`verify.rs`).

use std::path::{Path, PathBuf};

use super::{bare, command, finish, run, run_with, site};
use vastost_testkit::test_store::Site;

/// Runs each command line with a configuration and compares exit codes.
fn try_all(config: &Path, expected: &[(&str, i32)]) {
    for (line, code) in expected {
        let run = finish(command(config).args(line.split(' ')));
        assert_eq!(run.code, *code, "{line}: {}{}", run.text(), run.stderr);
    }
}

/// The site's configuration with one text replaced.
fn changed(site: &Site, from: &str, to: &str) -> PathBuf {
    let text = std::fs::read_to_string(&site.config).unwrap();
    assert!(text.contains(from), "{from} is not in {text}");
    let path = site.folder.path().join("changed.toml");
    std::fs::write(&path, text.replace(from, to)).unwrap();
    path
}

#[test]
fn a_dead_server_is_2_and_1_for_doctor() {
    let site = site();
    let dead = changed(&site, &site.url, "http://127.0.0.1:1");
    try_all(
        &dead,
        &[
            ("ls", 2),
            ("ls main", 2),
            ("info main/a:1", 2),
            ("get main/a:1 -", 2),
            ("put /dev/null main/a:1", 2),
            ("rm --yes main/a:1", 2),
            ("undelete main/a:1", 2),
            ("gc", 2),
            ("repair", 2),
            ("usage", 2),
            ("bench main --yes", 2),
            ("verify", 2),
            ("doctor", 1),
            ("config check", 0),
            ("config show", 0),
        ],
    );
}

#[test]
fn a_missing_configuration_is_2_and_1_for_doctor() {
    let site = site();
    let none = site.folder.path().join("none.toml");
    try_all(
        &none,
        &[
            ("doctor", 1),
            ("config check", 2),
            ("config show", 2),
            ("ls", 2),
            ("verify", 2),
            ("stats", 2),
        ],
    );
    let invalid = changed(&site, "state_dir =", "state_dri =");
    try_all(
        &invalid,
        &[("doctor", 1), ("config check", 1), ("config show", 2), ("ls", 2)],
    );
}

#[test]
fn one_missing_bucket_of_several_shows_in_the_code() {
    let site = site();
    // One of the site's three LSUs has no bucket.
    try_all(
        &site.config,
        &[
            ("ls", 1),
            ("ls missing", 2),
            ("doctor", 1),
            ("gc", 1),
            ("repair", 1),
            ("usage", 2),
            ("usage main", 0),
            ("verify", 1),
            ("verify missing", 2),
            ("verify main", 2),
            ("verify main --allow-empty", 0),
            ("ls main", 0),
            ("gc main", 0),
            ("repair main", 0),
        ],
    );
}

#[test]
fn an_image_that_is_not_there_is_2() {
    let site = site();
    run_with(&site, &["put", "-", "main/a:1"], b"x").expect(0);
    run_with(&site, &["put", "-", "main/a:2"], b"x").expect(0);
    try_all(
        &site.config,
        &[
            ("info main/none", 2),
            ("info main/a", 2),
            ("info main/a --newest", 0),
            ("undelete main/none", 2),
            ("undelete main/a:1", 0),
            ("put --command main/c:1 -- false", 1),
            ("put /dev/null main/a:1", 2),
            ("gc main --client nope", 2),
            ("verify main --client nope", 2),
            ("verify main", 0),
            ("rm main/a:1", 2),
            ("rm --yes main/none main/a:1", 2),
            ("rm --yes main/a:2", 0),
            ("--server x ls", 2),
            ("--server x doctor", 2),
            ("stats", 2),
            ("init --endpoint http://127.0.0.1:1", 2),
        ],
    );
    let counters = site.folder.path().join("none");
    run(&site, &["stats", "--dir", counters.to_str().unwrap()]).expect(2);
}

#[test]
fn help_is_0_and_nonsense_is_2() {
    for (line, code) in [
        ("help", 0),
        ("help ls", 0),
        ("--version", 0),
        ("nonsense", 2),
        ("ls --nonsense", 2),
    ] {
        finish(bare().args(line.split(' '))).expect(code);
    }
}
