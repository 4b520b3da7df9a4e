//! What one process shares, however many servers and images it has open: threads, part buffers, hash lanes, checksums.
//!
//! | file | what it is |
//! |---|---|
//! | [`process`] | [`process::Engine`]: started by the first server that is opened, stopped by terminate |
//! | [`runtime`] | the Tokio runtime: the only file that builds, enters and stops it |
//! | [`pool`] | part buffers under one byte budget |
//! | [`memory`] | how much memory the host has left |
//! | [`memcpy`], [`piece`] | copies between the caller's memory and ours; pieces of memory by position, checked |
//! | [`checksum`], [`crc_combine`] | CRC64NVME and MD5: running, combined, as text |
//! | [`md5_lanes`] | MD5 of several parts side by side |
//!
//! Knows no S3 and no OST. How it fails: what cannot be had (threads, memory) is an error before anything has changed.
//! After a fork the child forgets the engine of its parent ([`process::Engine::forget`]) and starts one of its own.

pub mod process;
pub mod runtime;
pub mod pool;
pub mod memory;
pub(crate) mod memcpy;
pub(crate) mod piece;
pub mod checksum;
pub(crate) mod crc_combine;
pub mod md5_lanes;
