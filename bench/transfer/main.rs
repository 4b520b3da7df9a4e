//! What moving images costs: the shipped plug-in beside the raw sockets' limit, the plain SDK, and other S3 clients.
//!
//! `cargo bench -p vastost-bench --bench transfer -- [--gib 4] [--runs 5] [--only vastost,crt] [--tls]`;
//! docs/developer/performance.md explains the figures. Every client is a process of its own that moves the same bytes in parts of 16 MiB, eight at once, to and from
//! one discard/zero server in another process. Runs are interleaved, so that what else the machine does hits all alike.
//! Then come many streams, small reads, listings, and with `--minio` a real server. `-- nodes` is another measurement: four
//! nodes, of which one is lost. Nothing here is a test: a slow machine fails nothing.
//!
//! This program plays several roles, each in a process of its own: the harness, and by hidden subcommands the server,
//! the stop watch around a client, the nodes, and the two clients that are written in Rust.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "its report is its output")]

/// The command line.
mod args;
/// Plain and TLS connections of the server.
mod channel;
/// The SVG chart.
mod chart;
/// Which clients there are and how each is started.
mod client;
/// Four nodes that can be broken.
mod cluster;
/// Many streams and many processes at once.
mod fairness;
/// The order of things.
mod harness;
/// The client of raw sockets: what no client can beat.
mod limit;
/// Listings of many images.
mod listing;
/// The stop watch around one client process.
mod measure;
/// The same transfers on a real MinIO.
mod minio;
/// One node: a relay of limited pace.
mod node;
/// What streams feel when a node is away.
mod nodes;
/// The other projects' clients, from PyPI.
mod peers;
/// Small reads all over an image, and the first bytes of a restore.
mod reads;
/// Medians, table, JSON.
mod report;
/// HTTP requests as the server reads them.
mod request;
/// One client process, measured.
mod runner;
/// S3 operations as the server answers them.
mod s3;
/// Fairness, small reads, listing: what many streams, blocks and images cost.
mod scale;
/// The client that is aws-sdk-s3 and nothing else.
mod sdk;
/// The discard/zero S3 server.
mod server;
/// Scratch folder, server process, configuration.
mod site;
/// What the server remembers.
mod store;
/// The figures that this project wants to reach.
mod targets;
/// What the nodes moved, over time.
mod timeline;

use clap::Parser;

use args::{Args, Role};

fn main() {
    // Cargo runs it in bench/; what arguments and variables name is below the top.
    std::env::set_current_dir(vastost_testkit::repository("")).expect("the repository");
    let args = Args::parse();
    match args.role {
        Some(Role::Serve { certificate }) => server::serve(&certificate),
        Some(Role::Measure { out, command }) => measure::measure(&out, &command),
        Some(Role::Nodes(args)) => nodes::run(&args),
        Some(Role::Node { address, store, board }) => node::run(&address, &store, &board),
        Some(Role::Limit(work)) => limit::run(&work),
        Some(Role::Sdk(work)) => sdk::run(&work),
        None => harness::run(&args),
    }
}
