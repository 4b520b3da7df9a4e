//! vastost: a NetBackup OpenStorage (OST) storage-server plug-in for VAST Data clusters, over S3.
//!
//! ```text
//!   NetBackup (bptm, bpdm, ...)
//!        │ stsp_* (C)                         vastost-s3 (command line)
//!        ▼                                        │
//!   ost      C boundary, handles, handlers        │
//!        ▼                                        ▼
//!   catalog  images: keys, sidecars, commit order, lists
//!        ▼
//!   objstore S3: part buffers, uploads, ranged reads, connections
//!        ▼
//!   VAST cluster, any of its addresses
//! ```
//!
//! Words: a *server* is one cluster, an *LSU* a bucket (or a folder of one), an *image* one object. An image is
//! *complete* when its *sidecar* is on the store, *pending* before.
//!
//! Reading order: [`ost`] for what the host sees, [`catalog`] for what lies on the store and in which order it is put
//! there, [`objstore`] for how bytes move, [`config`] for every limit. [`runtime`] owns the threads, [`files`] opens
//! what lies on this host's disks, [`memory`] knows what the host has left, [`error`] is the one error type, [`metrics`]
//! what is counted. `docs/architecture.md` follows a write, a read, a list and a delete through all of them.

pub mod catalog;
pub mod clean;
pub mod config;
#[cfg(feature = "embedded")]
pub mod embedded;
pub mod error;
pub mod files;
pub mod log;
pub mod memory;
pub mod metrics;
pub mod objstore;
pub mod ost;
pub mod runtime;
