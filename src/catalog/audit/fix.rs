//! What can be done about a finding, by `gc` and `repair`.

use crate::catalog::format::image_id::ImageId;
use crate::catalog::format::keys::Attempt;
use crate::catalog::format::record::Closing;

/// What can be done about a finding.
#[derive(Clone, Debug)]
pub enum Fix {
    /// A data object that no record names.
    OrphanData {
        id: ImageId,
        key: String,
    },
    /// An image metadata object, or a probe's leftover, that nothing names.
    OrphanObject {
        key: String,
    },
    OrphanUpload {
        key: String,
        upload: String,
    },
    /// An attempt without a living writer.
    Pending(JudgedPending),
    /// A pending record that cannot be read: its attempt is known by its key.
    BadPending {
        id: ImageId,
        attempt: Attempt,
        key: String,
        /// Its text has the words of a record whose image was about to be complete.
        may_be_whole: bool,
    },
    FinishDelete(ImageId),
    /// A sidecar that is no record.
    Rebuild(ImageId),
    /// An object of the right size whose ETag is another one: copied perhaps, with other part sizes.
    NewEtag(ImageId),
}

/// A pending record as it was judged; with another ETag it is another one.
#[derive(Clone, Debug)]
pub struct JudgedPending {
    pub id: ImageId,
    pub key: String,
    pub etag: String,
    pub closing: Option<Closing>,
    /// It was about to be complete, and something of it is on the store, all of it or not.
    pub is_there: bool,
}
