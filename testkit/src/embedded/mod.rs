//! An S3 server inside the process, for the demo and the tests: buckets of files in a folder, on a loopback port.
//!
//! It does what S3 does of what the plug-in and its tests need, and refuses the rest with `NotImplemented`: objects with
//! Content-MD5 and CRC64NVME, conditional puts, multipart uploads, versions, Object Lock, listings in order and in pages. The
//! crate `s3s` speaks the protocol and checks signatures. The conformance cases run on it and on real servers, so that it
//! stays honest.
//!
//! | file | what it is |
//! |---|---|
//! | `server` | [`EmbeddedServer`]: starts, stops, and what a test may set |
//! | `service` | one request: its id, the fault that was asked for |
//! | `access` | access keys, and what each of them may not do |
//! | `faults` | what goes wrong on request |
//! | `operations` | which function answers which operation |
//! | `write`, `read`, `copy`, `delete` | objects |
//! | `multipart`, `complete`, `parts` | uploads: begin and send; complete and abort; lists of them |
//! | `list`, `versions` | ListObjects and ListObjectVersions |
//! | `bucket`, `lock` | buckets; Object Lock |
//! | `ingest`, `outgest` | a body into a file, and out of it |
//! | `store`, `index`, `record`, `disk` | the folder: buckets, what is in them, the JSON of each, files |
//! | `errors` | S3's own words for what is wrong |
//!
//! **On disk** each bucket is a folder: `objects/<id>.json` for each version, `data/<id>` for its bytes (one file for each part),
//! `uploads/<id>/` for what is not complete, `bucket.json` where something was set. Every JSON file is written beside its
//! place and renamed, data first, so that a killed process leaves no half object; data that nothing names are removed at the next
//! start. All records are in memory while a server runs, and one process at a time may serve a folder. Nothing is synced:
//! a power failure may lose what was written last.
//!
//! **Limits**: MD5 of bodies beyond 32 MiB is computed alone, at 0.6 GiB/s; below, several are hashed side by side.
//! CRC64NVME is told of what was sent with it, as by MinIO; AWS computes it of everything. SHA-1 and SHA-256 checksums, part numbers in GetObject, encryption, tags, ACLs, policies and lifecycle rules are refused.

mod server;

mod access;
mod faults;
mod service;

mod operations;

mod copy;
mod delete;
mod read;
mod write;

mod complete;
mod multipart;
mod parts;

mod list;
mod versions;

mod bucket;
mod lock;

mod ingest;
mod outgest;

mod disk;
mod index;
mod record;
mod store;

mod errors;

pub use faults::{Fault, Trouble};
pub use server::EmbeddedServer;
