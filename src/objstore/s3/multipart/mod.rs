//! The S3 operations of multipart uploads.
//!
//! | file | what it is |
//! |---|---|
//! | `send` | an upload begun, its parts sent or copied, the upload aborted |
//! | `complete` | an upload made an object, and what became of one whose answer was lost |
//! | `list_uploads` | the uploads of a bucket that were begun and neither completed nor aborted |
//! | `list_parts` | the parts of an upload, and those that a finished object was made of |
//!
//! Left out: which parts there are to be, how many are in flight, and whether their bytes are right, see
//! [`crate::objstore::upload`]. Limits: [`crate::config::PARTS_MAX`] parts in one upload. How it fails: with the
//! store's own refusal; a list that contradicts itself is [`Kind::Unavailable`](crate::error::Kind::Unavailable), and a
//! completion of which nobody knows the end says so ([`crate::error::Error::outcome_is_unknown`]).

pub(in crate::objstore::s3) mod send;
mod list_parts;
mod list_uploads;
mod complete;

use crate::config::Bucket;
use crate::engine::checksum::Crc64;

/// One upload, as every request about it names it.
#[derive(Clone, Copy, Debug)]
pub struct UploadRef<'a> {
    pub bucket: &'a Bucket,
    pub key: &'a str,
    pub id: &'a str,
}

/// An upload that was begun and neither completed nor aborted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedUpload {
    pub key: String,
    pub id: String,
    /// Seconds since 1970 by the server's clock.
    pub initiated: u64,
}

impl ListedUpload {
    pub fn in_bucket<'a>(&'a self, bucket: &'a Bucket) -> UploadRef<'a> {
        UploadRef {
            bucket,
            key: &self.key,
            id: &self.id,
        }
    }
}

/// A part as the server tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredPart {
    pub number: u32,
    pub size: u64,
    /// Empty where the call does not tell.
    pub etag: String,
    pub crc64: Option<Crc64>,
}
