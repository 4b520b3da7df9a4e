//! What is said when there is nothing: one sentence, and the right one.

use super::{run, run_with, site};
use crate::foreign::Foreign;

#[test]
fn an_empty_lsu_is_called_empty() {
    let site = site();
    assert_eq!(run(&site, &["ls", "main"]).expect(0).stderr, "LSU main is empty\n");
    for filter in [
        &["main/a"][..],
        &["main", "--client", "a"],
        &["main", "--pending"],
        &["main", "--since", "2026-01-01"],
    ] {
        let told = run(&site, &[&["ls"], filter].concat()).expect(0).stderr;
        assert_eq!(told, "no image in LSU main matches\n", "{filter:?}");
    }
}

#[test]
fn a_list_of_nothing_but_a_damaged_record_is_not_empty() {
    let site = site();
    run_with(&site, &["put", "-", "main/a:1"], b"x").expect(0);
    Foreign::new(&site).put("catalog/other/19700101/a.1.json", b"{", &[]);
    let told = run(&site, &["ls", "main"]).expect(2).stderr;
    assert!(
        told.contains("cannot be listed") && !told.contains("empty") && !told.contains("no image"),
        "{told}"
    );
}

#[test]
fn a_client_of_which_there_is_nothing_is_told_alone() {
    let site = site();
    run_with(&site, &["put", "-", "main/a:1"], b"x").expect(0);
    for command in ["gc", "repair"] {
        let told = run(&site, &[command, "main", "--client", "nope"]).expect(2).stderr;
        let sentence = "vastost-s3: no image of client nope is in LSU main, so nothing was checked\n";
        assert!(told.ends_with(sentence) && !told.contains("nothing to"), "{told}");
    }
}

#[test]
fn a_folder_without_counters_is_told() {
    let site = site();
    let folder = site.folder.path().join("counters");
    std::fs::create_dir(&folder).unwrap();
    let empty = run(&site, &["stats", "--dir", folder.to_str().unwrap()]).expect(0);
    assert_eq!(empty.text(), "");
    assert_eq!(
        empty.stderr,
        format!("no process has left counters in {}\n", folder.display())
    );
}
