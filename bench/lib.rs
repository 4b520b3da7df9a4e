//! Where the measurements find what they measure.

use std::path::PathBuf;

use vastost_testkit::repository;

/// Cargo's folder of what it builds.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| repository("target"), PathBuf::from)
}

/// What `variable` names, else what `cargo build --release` makes by the name of `file`.
///
/// # Errors
/// The text for people when there is no such file.
pub fn built(variable: &str, file: &str) -> Result<PathBuf, String> {
    let path = std::env::var_os(variable).map_or_else(|| target().join("release").join(file), PathBuf::from);
    if path.is_file() {
        return Ok(path);
    }
    Err(format!(
        "{}: not there. Run cargo build --release, or name it by {variable}",
        path.display()
    ))
}
