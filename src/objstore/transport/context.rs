//! What travels through the SDK beside the request, since the SDK hands on nothing of ours.
//!
//! | what | from, to | how |
//! |---|---|---|
//! | where a body goes | [`crate::objstore::s3::get`] to the connector | request extension [`super::body::BodySlot`] |
//! | what the operation may still cost | [`super::effort`] to the connector | request extension [`super::effort::Effort`] |
//! | which address answered | the connector to [`crate::objstore::s3::sdk_error`] | response header [`ADDRESS_HEADER`] |
//! | a refusal because of the signature's time | the connector to [`crate::objstore::s3::retry`] | response header [`SKEWED_HEADER`] |
//! | the last refusal that is taken | the connector to [`crate::objstore::s3::retry`] | response header [`LAST_HEADER`] |
//! | where a hedged request's tries are | [`crate::objstore::s3::hedge`] to [`super::balancer`] | task-local in [`super::hedge_state`] |
//! | which image a request is for | the catalog to [`crate::metrics::request`] | task-local in [`crate::metrics::image`] |
//! | which attempt it is | the SDK to [`crate::metrics::request`] | the SDK's own request header `amz-sdk-request` |

/// The response header in which the connector tells the error path which address answered.
pub const ADDRESS_HEADER: &str = "x-vastost-address";

/// The response header that tells the retry rules that a refused request was signed far from the server's time.
pub const SKEWED_HEADER: &str = "x-vastost-skewed";

/// The response header that tells the retry rules that this refusal was the last that its operation takes.
pub const LAST_HEADER: &str = "x-vastost-last";
