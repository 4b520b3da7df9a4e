//! Images on the store: keys, sidecars, and the order of steps that makes a backup complete.
//!
//! Only this layer knows OST's images and S3's objects.
//!
//! | folder, file | what it is |
//! |---|---|
//! | [`format`](self::format) | names, keys and records as text: pure |
//! | `room` | memory for records that are being read and parsed |
//! | [`lsu`] | one LSU: what its bucket does, its label |
//! | [`records`] | the records of its images |
//! | `contents` | what it has of one image, by listing |
//! | [`cluster`] | an open server: its buckets, its LSUs |
//! | [`data`] | an image's bytes on their way, by S3 |
//! | `pages` | a folder of the bucket, page by page |
//! | [`meta`] | NetBackup's own bytes beside an image |
//! | [`list`] | images, page by page |
//! | `remove` | the only place that removes objects |
//! | `history` | the sidecars that an image had before |
//! | [`write`](self::write) | images being written: backup, lease, re-open, take-over |
//! | [`restore`] | an image being read |
//! | [`delete`] | an image being removed, in steps that can be taken again |
//! | [`audit`] | what is on the store against what the records say; changes nothing |
//! | [`maintain`] | gc, repair, undelete, usage |
//! | [`trial`] | objects and an image of our own, to try a bucket with |
//!
//! Per LSU, below the LSU's prefix:
//!
//! ```text
//! backups/<client>/<yyyymmdd>/<basename>.<date>.<attempt>.nbk   the image's bytes, one object
//! catalog/<client>/<yyyymmdd>/<basename>.<date>.json            the sidecar: its presence makes the image complete
//! pending/<client>/<yyyymmdd>/<basename>.<date>.<attempt>.json  an image being written, or closed incomplete
//! meta/<client>/<yyyymmdd>/<basename>.<date>.<attempt>.bin      image metadata too large for the sidecar
//! lsu.json                                                      the LSU's label
//! probe/...                                                     short-lived objects of the capability probe
//! replaced/<client>/<yyyymmdd>/<basename>.<date>.<attempt>.json sidecars that `repair` has replaced
//! ```
//!
//! # Commit order
//!
//! | step | backup ([`write::backup`]) | after a crash here |
//! |---|---|---|
//! | 1 | pending record (attempt, key, writer), renewed from now on (`lease.rs`) | pending, no data |
//! | 2 | CreateMultipartUpload, pending record with the upload id | pending, an upload without parts |
//! | 3 | parts | pending, an upload with parts: resumable at the last of them |
//! | 4 | large image metadata, as its own object; pending record with all parts and what the close is to become | pending, resumable with all its bytes |
//! | 5 | CompleteMultipartUpload or PutObject, HEAD, and what else proves the bytes; HEAD of the pending record: still ours | pending, data object: resumable, and `repair` can complete it |
//! | 6 | **sidecar PUT: the image is complete** | complete, pending record left over |
//! | 7 | HEAD: its data are still there | the same |
//! | 8 | pending record removed | complete |
//!
//! An image of one part has no upload: its step 5 is one PutObject, and steps 2 to 4 send nothing but metadata.
//!
//! A close that fails from step 5 on removes nothing but what is provably another writer's to replace: the record keeps all
//! parts and what the close was to become, for `repair` or a delete.
//!
//! An incomplete close does 4 and 5, then writes the pending record again with the object's parts. Re-opening starts a
//! new attempt that copies those parts on the server; the old attempt is removed only when the new one is on the store.
//! What a dead writer left is first made an image that was closed incomplete (`recover.rs`).
//!
//! | step | delete ([`delete`]) | after a crash here |
//! |---|---|---|
//! | 1 | locks are asked for: locked, nothing changes | complete |
//! | 2 | sidecar marked `deleting`: **the image is gone**; without space or right for that it is removed here | finished by the next delete, `gc` or `repair`; removed: `repair` brings the image back |
//! | 3 | data, metadata object; refused: the mark is taken back | the same |
//! | 4 | sidecar, its latest version last | nothing is left |
//!
//! # What may run beside what
//!
//! | | writer | reader | delete | metadata write |
//! |---|---|---|---|---|
//! | writer | each attempt has keys of its own; the first sidecar wins and the other writer removes what it wrote; where the store does not honour `If-None-Match`, two that come within one request both end well: the last one is the image, whole, the other one's data are debris | reads another attempt's object | after its sidecar the writer looks for its data, after the data the delete looks for a sidecar: one of the two sees the other, and the image is gone | only complete images |
//! | reader | | yes | reads fail with not found once the data is gone; refused in one process | yes |
//! | delete | refused while the writer's lease lasts | | both end in nothing | as for a writer: no sidecar stays without data |
//! | `gc`, take-over | only once the writer is known to be dead, or silent for its lease by the server's clock; it notices at its next request | touches no complete image | idempotent, both ways | `gc` spares objects younger than its grace period |
//!
//! A listing reads keys only, so an image whose delete was interrupted is listed until the delete is finished.
//!
//! Around these: [`audit`] proves what is on the store, [`maintain::gc`] removes orphans, [`maintain::repair`] repairs
//! records, [`maintain::recount`] counts. Limits: a basename of at most [`format::keys::SEGMENT_MAX`] bytes with its
//! suffixes after escaping; sidecars up to [`format::record::RECORD_SIZE_MAX`].

pub mod format;

mod room;
pub mod lsu;
pub mod records;
mod contents;
pub mod cluster;
pub mod data;
mod pages;
pub mod meta;
pub mod list;

mod remove;
mod history;
pub mod write;
pub mod restore;
pub mod delete;

pub mod audit;
pub mod maintain;
pub mod trial;
