//! What the demo, the tests and the measurements of vastost run against.
//!
//! | module | what it is |
//! |---|---|
//! | [`host`] | the plug-in's C functions, called as NetBackup calls them, behind safe methods |
//! | [`embedded`] | an S3 server inside the process |
//! | `test_store` | a bucket for one test, on the embedded or a real server, and a configuration that names it |
//! | `proxy` | a scripted HTTP proxy between the plug-in and a server |
//!
//! The last two come with feature `test-store`; a test fails by panicking, and so do they.

use std::path::{Path, PathBuf};

pub mod host;

pub mod embedded;

#[cfg(feature = "test-store")]
#[allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
pub mod test_store;

#[cfg(feature = "test-store")]
#[allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
pub mod proxy;

/// A path below the repository's top.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}
