//! The two walks of docs/developer/walks.md against the code: `tests/walks.sh` counts and compares.

use std::process::{Command, Output};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/developer/walks.md");

/// The script's result for a page with this text.
fn walk(text: &str) -> Output {
    let folder = tempfile::tempdir().expect("a folder");
    let page = folder.path().join("walks.md");
    std::fs::write(&page, text).expect("write the page");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/walks.sh");
    Command::new(script).arg(&page).output().expect("run the script")
}

fn complaints(text: &str) -> String {
    let output = walk(text);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn the_walks_name_functions_that_are_there() {
    let output = walk(&std::fs::read_to_string(PAGE).expect("read the page"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_lost_function_and_a_wrong_count_are_seen() {
    let page = std::fs::read_to_string(PAGE).expect("read the page");
    let row = "| `guard` | `ost/guard.rs` |";
    assert!(page.contains(row));

    let lost = complaints(&page.replace(row, "| `gone` | `ost/guard.rs` |"));
    assert!(lost.contains("A write: no function gone in src/ost/guard.rs"), "{lost}");
    let moved = complaints(&page.replace(row, "| `guard` | `ost/gone.rs` |"));
    assert!(moved.contains("no function guard in src/ost/gone.rs"), "{moved}");
    let wrong = complaints(&page.replace(" files, ", " files, 9"));
    assert!(
        wrong.contains("A write: counted are") && wrong.contains("A read: counted are"),
        "{wrong}"
    );
}
