//! One test binary; each module is one subject.

/// The built command line: exit codes, messages, JSON, Ctrl-C.
mod cli;
mod common;
/// The same cases against the embedded server and, with feature `minio-tests`, against a real MinIO.
mod conformance;
/// More than one address for one server.
mod endpoints;
