//! One test binary; each module is one subject.

// clippy.toml lets tests fail by panicking, but does not see the helpers that tests share.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

/// `verify`, `gc`, `repair`, `usage` in stores that somebody else has changed.
mod audit;
/// `bench`.
mod bench;
/// The audit's HTML page in Chromium, with feature `browser-tests`.
#[cfg(feature = "browser-tests")]
mod browser;
/// The built command line: exit codes, messages, JSON, Ctrl-C.
mod cli;
/// A real cluster of four MinIO nodes that loses one of them and then the way to another, with feature `cluster-tests`.
#[cfg(feature = "cluster-tests")]
mod cluster;
/// The same cases against the embedded server and, with feature `minio-tests`, against a real MinIO.
mod conformance;
/// The kept inputs of the fuzz targets.
mod corpora;
/// More than one address for one server.
mod endpoints;
/// What a network and a server in trouble do, scripted: nothing good is lost, nothing bad is taken for good.
mod faults;
/// An S3 client that is not ours.
mod foreign;
/// Access keys that change.
mod keys;
/// Random sequences against a model of what must not be lost.
mod model;
/// Counters, the line about each image, the log.
mod monitoring;
/// The SDK, for what the plug-in never asks of a store.
mod sdk;
/// Stores of earlier versions.
mod stores;
/// The store over https.
mod tls;
/// Two hosts at work on one image, and a clean-up beside writers of other hosts.
mod two_hosts;
mod writer;
