//! One test binary; each module is one subject.

mod common;
/// The same cases against the embedded server and, with feature `minio-tests`, against a real MinIO.
mod conformance;
