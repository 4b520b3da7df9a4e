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
//! there, [`objstore`] for how bytes move, [`engine`] for what one process shares, [`net`] for connections, [`config`] for
//! every limit. [`metrics`] is what is counted, [`log`] the plug-in's own log. Below all of them: [`error`], the one error
//! type; [`clean`], foreign text made fit for people; [`files`], what lies on this host's disks; [`thread`], threads that no
//! signal reaches. `docs/developer/architecture.md` follows a write, a read, a list and a delete through all of them, and
//! `tests/layers.rs` holds the order.

pub mod error;

pub mod clean;
pub mod files;
pub mod thread;

pub mod config;

pub mod log;
pub mod metrics;
pub mod net;

pub mod engine;

pub mod objstore;

pub mod catalog;

pub mod ost;
