//! What one process does, in numbers: for Prometheus, for `vastost-s3 stats`, and in one line at the end of each image.
//!
//! [`registry`] holds the counters and histograms of a process; [`request`] counts each request by server, LSU, address
//! and operation; [`current`] is the image that a task works for; [`image`] adds up what one open image waited for; [`export`] writes the text file that Prometheus's
//! textfile collector reads, and [`exposition`] reads it back. They belong to the process's engine: a child of a fork,
//! and an engine that is started after terminate, begin at zero under a `process` label of their own.
//!
//! What it costs: some label look-ups per request and per part, two readings of the clock per call on an image, and an
//! addition per frame of a body. Nothing waits for a file: those are written by a thread that moves no bytes.
//!
//! How it fails: a file that cannot be written is a warning in the log, once, and costs no image anything.

pub mod export;
pub mod exposition;
mod current;
pub mod image;
pub mod registry;
pub mod request;
