//! S3: buckets, keys, parts, ranges. Nothing here knows of OST, images or sidecars.
//!
//! | folder | what it is |
//! |---|---|
//! | [`transport`] | the connector under the SDK: which address, which connection, how a body is taken in |
//! | [`s3`] | [`s3::store::Store`]: one method for each S3 operation; retries, hedges, errors, keys, what buckets can do |
//! | [`upload`] | one object going up, part by part |
//! | [`download`] | one object coming down, by ranges |
//!
//! What we require of a store: read-after-write consistency of objects and listings; atomic PutObject and
//! CompleteMultipartUpload; ranged GET; UploadPartCopy. What we use when a probe proves it, bucket by bucket:
//! conditional PutObject, CRC64NVME checksums, Content-MD5, MD5 ETags ([`s3::probe`], [`s3::capabilities`]). What none of
//! these proves is read back ([`upload::verify`]). Left out: bucket policies, encryption settings.
//!
//! The way of a part: [`upload::object`] copies the caller's bytes into a buffer of [`crate::engine::pool`], hashing them on
//! the way; a full buffer is sent by [`s3::multipart`] over [`transport::connector`]. The way back: [`download::reader`]
//! fetches whole parts ahead into pool buffers, checks each part's CRC, and copies out. [`crate::config::part_plan`] says
//! how long parts are.
//!
//! How it fails: an operation is retried inside the SDK up to `[retry] attempts`; what comes out is final and names
//! bucket, key, HTTP status, S3 code, request id and address. Limits are in [`crate::config`].
//!
//! The SDK's futures are boxed where they are awaited: their types are so deep that rustc refuses ours around them.

pub mod transport;
pub mod s3;
pub mod upload;
pub mod download;
