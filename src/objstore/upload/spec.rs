//! Where an upload goes.

use crate::config::Bucket;
use crate::objstore::s3::capabilities::WireMode;
use crate::objstore::s3::multipart::UploadRef;

/// Where an upload goes and how it is proven.
#[derive(Clone, Debug)]
pub struct UploadSpec {
    pub bucket: Bucket,
    pub key: String,
    /// `x-amz-meta-*`, at most 2 KB in all.
    pub metadata: Vec<(String, String)>,
    pub wire: WireMode,
    /// Where the bucket is probed again when the store refuses our checksums, which may then be left out; None where the
    /// mode was asked for.
    pub probe_prefix: Option<String>,
}

impl UploadSpec {
    /// The upload that was begun there.
    pub fn upload<'a>(&'a self, id: &'a str) -> UploadRef<'a> {
        UploadRef {
            bucket: &self.bucket,
            key: &self.key,
            id,
        }
    }
}
