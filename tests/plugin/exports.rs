//! The dynamic symbols of the shared object.

use std::collections::BTreeSet;
use std::process::Command;

use vastost_testkit::repository;

use crate::{plugin, run};

/// The functions that include/stsp.h declares.
pub fn declared() -> BTreeSet<String> {
    let text = std::fs::read_to_string(repository("include/stsp.h")).expect("include/stsp.h");
    let lines = text.lines().filter(|line| line.starts_with("int32_t stsp_"));
    let name = |line: &str| line["int32_t ".len()..].split('(').next().unwrap().to_owned();
    lines.map(name).collect()
}

#[test]
fn exports_are_exactly_the_functions_of_the_header() {
    let output = run(Command::new("nm").args(["-D", "--defined-only"]).arg(plugin()));
    let exported: BTreeSet<_> = output
        .lines()
        .filter_map(|l| l.split_whitespace().nth(2))
        .map(str::to_owned)
        .collect();
    assert!(declared().len() > 20, "{:?}", declared());
    assert_eq!(exported, declared());
}

#[test]
fn nothing_in_it_gathers_entropy_by_timing_the_cpu() {
    // It takes 50 ms of each process, and aborts it where it does not trust the clock: see .cargo/config.toml.
    let output = run(Command::new("nm").arg(plugin()));
    assert!(
        output.contains("aws_lc"),
        "the symbols of the library that would have it are there"
    );
    assert!(
        !output.contains("jent_"),
        "aws-lc was built without the settings of .cargo/config.toml"
    );
}

#[test]
fn the_library_stays_loaded_and_needs_only_the_c_library() {
    let output = run(Command::new("readelf").args(["-d", "-W"]).arg(plugin()));
    assert!(output.contains("NODELETE"), "{output}");
    for line in output.lines().filter(|line| line.contains("(NEEDED)")) {
        let known = [
            "libc.so.6",
            "libm.so.6",
            "libgcc_s.so.1",
            "libdl.so.2",
            "libpthread.so.0",
            "librt.so.1",
            "ld-linux",
        ];
        assert!(known.iter().any(|name| line.contains(name)), "{line}");
    }
}
