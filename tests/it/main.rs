//! One test binary; each module is one subject.

// clippy.toml lets tests fail by panicking, but does not see the helpers that tests share.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::print_stdout)]

/// The built command line: exit codes, messages, JSON, Ctrl-C.
mod cli;
mod common;
/// The same cases against the embedded server and, with feature `minio-tests`, against a real MinIO.
mod conformance;
/// More than one address for one server.
mod endpoints;
