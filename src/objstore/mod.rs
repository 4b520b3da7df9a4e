//! S3: buckets, keys, parts, ranges. Nothing here knows of OST, images or sidecars.
//!
//! What we require of a store: read-after-write consistency of objects and listings; atomic PutObject and
//! CompleteMultipartUpload; ranged GET; UploadPartCopy. What we use when a probe proves it, bucket by bucket:
//! conditional PutObject, CRC64NVME checksums, Content-MD5, MD5 ETags ([`probe`], `knowledge.rs`). What none of these
//! proves is read back (`proof.rs`). Left out: bucket policies, encryption settings.
//!
//! The way of a part: [`upload`] copies the caller's bytes into a buffer of the [`pool`], hashing them on the way;
//! a full buffer is sent by [`client`] over [`transport`]. The way back: [`download`] fetches whole parts ahead into
//! pool buffers, checks each part's CRC, and copies out. [`part_plan`] says how long parts are.
//!
//! How it fails: an operation is retried inside the SDK up to `[retry] attempts`; what comes out is final and names
//! bucket, key, HTTP status, S3 code, request id and address. Limits are in [`crate::config`].
//!
//! The SDK's futures are boxed where they are awaited: their types are so deep that rustc refuses ours around them.

mod addresses;
#[doc(hidden)]
pub mod answer;
mod asked;
pub mod bucket_rules;
pub mod checksum;
pub mod client;
mod concurrency;
mod copy;
mod crc_combine;
mod dial;
pub mod digest;
pub mod download;
mod effort;
pub mod engine;
mod get;
mod hedge;
mod identity;
pub mod in_flight;
mod knowledge;
mod landing;
mod lease;
mod line;
#[doc(hidden)]
pub mod list;
pub mod md5_lanes;
pub mod multipart;
mod names;
pub mod part_plan;
pub mod pool;
pub mod probe;
pub mod proof;
mod random;
mod retry;
pub mod scan;
mod sdk_error;
mod sequential;
mod server_clock;
pub mod tls;
mod transport;
mod tries;
pub mod upload;
pub mod versions;
mod whole_parts;
