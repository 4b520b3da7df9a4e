//! One GetObject whose body goes past the SDK, straight into the caller's memory: see
//! [`crate::objstore::transport::body`].
//!
//! An answer that has neither a length nor chunks is refused: cut, it would look whole.

use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::operation::get_object::builders::GetObjectFluentBuilder;
use futures::FutureExt;

use crate::config::Bucket;
use crate::error::{Error, Kind, Result};
use crate::objstore::s3::sdk_error;
use crate::objstore::s3::store::path;
use crate::objstore::transport::body::{BodySlot, ResponseBody};

/// Sends a GetObject whose body goes past the SDK.
pub(super) async fn ask(
    request: GetObjectFluentBuilder,
    deadlines: aws_sdk_s3::config::Builder,
    landing: BodySlot,
    bucket: &Bucket,
    key: &str,
) -> Result<(GetObjectOutput, ResponseBody)> {
    let place = landing.clone();
    let request = request
        .customize()
        .mutate_request(move |request| request.add_extension(place.clone()));
    let sent = request.config_override(deadlines).send().boxed().await;
    let reply = sent.map_err(|e| sdk_error::convert("get", &path(bucket, key), &e))?;
    let body = landing.take().ok_or_else(|| no_length(bucket, key))?;
    Ok((reply, body))
}

fn no_length(bucket: &Bucket, key: &str) -> Error {
    let what = format!(
        "get {}: the answer has neither a length nor chunks, so that a cut one looks whole",
        path(bucket, key)
    );
    Error::new(
        Kind::Unavailable,
        format!("{what}: a proxy before the store changes its answers"),
    )
}
