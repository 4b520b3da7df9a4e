//! The built plug-in from the outside: its header, its exports, C hosts that use and misuse it, its installer.

#![allow(
    unsafe_code,
    reason = "offsets are taken and signals sent here; the plug-in's own fences are in src/ost"
)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

/// The fuzz target of the C boundary, which is the only one that needs unsafe code.
#[path = "../fuzz/cases/c_structs.rs"]
mod c_structs;
/// A client that is killed at every request of every operation, on a real MinIO.
#[cfg(feature = "minio-tests")]
#[path = "plugin/crash.rs"]
mod crash;
/// What `nm` and `readelf` show of the shared object.
#[path = "plugin/exports.rs"]
mod exports;
/// The first version of the header, and a C host compiled with it.
#[path = "plugin/frozen.rs"]
mod frozen;
/// `include/stsp.h`: up to date, valid C and C++, the same layout as the Rust side.
#[path = "plugin/header.rs"]
mod header;
/// C programs of tests/plugin/*.c, each case in a process of its own.
#[path = "plugin/hosts.rs"]
mod hosts;
/// packaging/install.sh into a temporary root.
#[path = "plugin/install.rs"]
mod install;
/// Hosts that are short of threads, memory or stack, and what they find in their folders.
#[path = "plugin/limits.rs"]
mod limits;
/// Two C hosts at work on one image.
#[cfg(feature = "minio-tests")]
#[path = "plugin/rivals.rs"]
mod rivals;

use std::path::PathBuf;
use std::process::Command;

use vastost_testkit::repository;

/// The plug-in that `VASTOST_PLUGIN` names, such as the one that ships, else the one that cargo built for this very test run.
fn plugin() -> PathBuf {
    let test = std::env::current_exe().expect("the path of the test");
    let so = std::env::var_os("VASTOST_PLUGIN").map_or_else(|| test.with_file_name("libvastost.so"), PathBuf::from);
    assert!(so.exists(), "{}: no such file", so.display());
    so
}

/// Runs a command, shows its output, and gives the standard output when it succeeds.
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{command:?}: {}\n{stdout}\n{stderr}",
        output.status
    );
    stdout.into_owned()
}

#[test]
fn kept_fuzz_inputs_of_the_c_boundary() {
    let folder = repository("fuzz/corpus/c_structs");
    let inputs: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| std::fs::read(entry.unwrap().path()))
        .collect();
    assert!(!inputs.is_empty());
    inputs.into_iter().for_each(|input| c_structs::run(&input.unwrap()));
}
