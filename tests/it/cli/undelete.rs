//! `undelete` of images that no list shows: somebody has deleted data and sidecar past the plug-in.

use super::{run, run_with, site};
use crate::foreign::Foreign;
use crate::sdk::Sdk;
use vastost_testkit::test_store::Site;

/// Deletes all of the images past the plug-in, in a bucket that keeps versions.
fn deleted(names: &[&str]) -> Site {
    let site = site();
    Sdk::with_versions(&site);
    for &name in names {
        run_with(&site, &["put", "-", name], name.as_bytes()).expect(0);
    }
    let foreign = Foreign::new(&site);
    site.keys_under("").iter().for_each(|key| foreign.delete(key));
    assert_eq!(run(&site, &["-q", "ls", "main"]).expect(0).text(), "");
    site
}

#[test]
fn its_date_is_found_in_the_versions() {
    let site = deleted(&["main/db01_1795305600_C1_F1", "main/db01_1795305601_C1_F1"]);
    let told = run(&site, &["undelete", "main/db01_1795305600_C1_F1"]).expect(0).text();
    assert!(told.contains("the sidecar is back"), "{told}");
    assert_eq!(
        run(&site, &["-q", "ls", "main"]).expect(0).text(),
        "main/db01_1795305600_C1_F1:1795305600\n"
    );
    let back = run(&site, &["get", "main/db01_1795305600_C1_F1", "-"]).expect(0);
    assert_eq!(back.stdout(), b"main/db01_1795305600_C1_F1");
}

#[test]
fn of_several_dates_one_is_to_be_chosen() {
    let site = deleted(&["main/dump:100", "main/dump:200", "main/dump2:300"]);
    let told = run(&site, &["undelete", "main/dump"]).expect(2).stderr;
    assert!(
        told.contains("main/dump:100, main/dump:200") && !told.contains("300"),
        "{told}"
    );
    run(&site, &["undelete", "main/dump:100"]).expect(0);
    assert_eq!(run(&site, &["-q", "ls", "main"]).expect(0).text(), "main/dump:100\n");
}

#[test]
fn a_name_of_which_nothing_is_left_is_told_how_to_go_on() {
    let site = deleted(&["main/dump:100"]);
    let told = run(&site, &["undelete", "main/nothing"]).expect(2).stderr;
    let way_out = "named with its date, main/nothing:DATE, from NetBackup's catalog";
    assert!(
        told.contains("no image main/nothing") && told.contains(way_out),
        "{told}"
    );
}
