//! Images on the store: keys, sidecars, and the order of steps that makes a backup complete.
//!
//! Only this layer knows OST's images and S3's objects. Per LSU, below the LSU's prefix:
//!
//! ```text
//! backups/<client>/<yyyymmdd>/<basename>.<date>.<attempt>.nbk   the image's bytes, one object
//! catalog/<client>/<yyyymmdd>/<basename>.<date>.json            the sidecar: its presence makes the image complete
//! pending/<client>/<yyyymmdd>/<basename>.<date>.<attempt>.json  an image being written, or closed incomplete
//! meta/<client>/<yyyymmdd>/<basename>.<date>.<attempt>.bin      image metadata too large for the sidecar
//! lsu.json                                                      the LSU's label
//! probe/...                                                     short-lived objects of the capability probe
//! ```
//!
//! # Commit order
//!
//! | step | backup ([`backup`]) | after a crash here |
//! |---|---|---|
//! | 1 | pending record (attempt, key) | pending, no data |
//! | 2 | CreateMultipartUpload, pending record with the upload id | pending, an upload without parts |
//! | 3 | parts | pending, an upload with parts |
//! | 4 | CompleteMultipartUpload or PutObject, HEAD: size and ETag | pending, data object |
//! | 5 | large image metadata, as its own object | the same, and the metadata object |
//! | 6 | **sidecar PUT: the image is complete**, HEAD: its data are still there | complete, pending record left over |
//! | 7 | pending record removed | complete |
//!
//! An incomplete close does 4, then writes the pending record again with the object's parts. Re-opening starts a new
//! attempt that copies those parts on the server; the old attempt is removed only when the new one is on the store.
//!
//! | step | delete ([`delete`]) | after a crash here |
//! |---|---|---|
//! | 1 | sidecar marked `deleting`: **the image is gone** | finished by the next delete |
//! | 2 | data, metadata object | finished by the next delete |
//! | 3 | sidecar | nothing is left |
//!
//! # What may run beside what
//!
//! | | writer | reader | delete | metadata write |
//! |---|---|---|---|---|
//! | writer | each attempt has keys of its own; the first sidecar wins where the store honours `If-None-Match`, else the last one does and each is whole | reads another attempt's object | after its sidecar the writer looks for its data, after the data the delete looks for a sidecar: one of the two sees the other, and the image is gone | only complete images |
//! | reader | | yes | reads fail with not found once the data is gone; refused in one process | yes |
//! | delete | | | both end in nothing | as for a writer: no sidecar stays without data |
//!
//! A listing reads keys only, so an image whose delete was interrupted is listed until the delete is finished.
//!
//! Left out here: adopting the upload of a crashed writer, `gc`, `repair` and the audit. Limits: a basename of at most
//! [`keys::SEGMENT_MAX`] bytes with its suffixes after escaping; sidecars up to [`record::RECORD_SIZE_MAX`].

pub mod backup;
pub mod delete;
pub mod escape;
pub mod image_id;
pub mod keys;
pub mod list;
pub mod lsu;
pub mod meta;
pub mod record;
mod reopen;
pub mod restore;
pub mod usage;
