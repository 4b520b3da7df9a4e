//! S3 operations, typed: what is sent, how often, and what its answer means.
//!
//! | file | what it is |
//! |---|---|
//! | [`types`] | what requests say and answers tell, as values |
//! | [`capabilities`] | what is known of each bucket, since when, and what has contradicted it |
//! | [`store`] | [`store::Store`]: HEAD, DELETE, buckets, and how patient a request is |
//! | [`resend`] | what is sent again because it may have been damaged |
//! | [`digest`], [`read_back`] | CRC64NVME and MD5 of what lies on the store; compared with ours |
//! | [`put`] | PutObject, until it is clear what the store has |
//! | [`multipart`] | uploads: create, parts, complete, abort, lists |
//! | [`get`] | small objects as a whole, ranges of large ones |
//! | [`list`] | ListObjectsV2, page by page, each page checked |
//! | [`versions`] | object versions, delete markers, locks |
//! | [`bucket_rules`] | what a bucket does to objects by itself |
//! | [`credentials`] | access keys for the SDK, from each source that the configuration can name |
//! | [`retry`] | what the SDK's own retry rules leave out |
//! | [`hedge`] | a second try for stragglers |
//! | [`probe`] | what a bucket is proven to do |
//! | [`probing`] | probes one at a time, and what comes of them |
//! | [`sdk_error`] | from the SDK's errors to ours |

pub mod types;
pub mod capabilities;
pub mod store;
pub mod resend;
pub mod multipart;
pub(crate) mod get;
pub mod digest;
pub mod read_back;
mod put;
pub mod list;
pub mod versions;
pub mod bucket_rules;
pub(crate) mod credentials;
pub(crate) mod retry;
pub(crate) mod hedge;
pub mod probe;
mod probing;
pub(crate) mod sdk_error;
