//! S3 operations, typed: what is sent, how often, and what its answer means.
//!
//! | file | what it is |
//! |---|---|
//! | [`store`] | [`store::Store`]: objects and buckets |
//! | [`multipart`] | uploads: create, parts, complete, abort, lists |
//! | [`get`] | small objects as a whole, ranges of large ones |
//! | [`list`] | ListObjectsV2, page by page, each page checked |
//! | [`versions`] | object versions, delete markers, locks |
//! | [`bucket_rules`] | what a bucket does to objects by itself |
//! | [`credentials`] | access keys for the SDK, from each source that the configuration can name |
//! | [`retry`] | what the SDK's own retry rules leave out |
//! | [`hedge`] | a second try for stragglers |
//! | [`probe`] | what a bucket is proven to do |
//! | [`capabilities`] | what is known of each bucket, since when, and what has contradicted it |
//! | [`sdk_error`] | from the SDK's errors to ours |

pub mod bucket_rules;
pub(crate) mod capabilities;
pub(crate) mod credentials;
pub(crate) mod get;
pub(crate) mod hedge;
pub mod list;
pub mod multipart;
pub mod probe;
pub(crate) mod retry;
pub(crate) mod sdk_error;
pub mod store;
pub mod versions;
