//! S3's own words for what is wrong. `s3s` knows the codes and their status.

use std::fmt::Display;

use http::{HeaderMap, HeaderValue, StatusCode};
use s3s::{S3Error, S3ErrorCode, S3Result};

/// Multipart parts below this size are refused, but for the last.
pub const PART_BYTES_MIN: u64 = 5 << 20;
pub const PARTS_MAX: u16 = 10_000;

pub fn no_such_bucket() -> S3Error {
    S3Error::with_message(S3ErrorCode::NoSuchBucket, "The specified bucket does not exist")
}

pub fn no_such_key() -> S3Error {
    S3Error::with_message(S3ErrorCode::NoSuchKey, "The specified key does not exist.")
}

pub fn no_such_version() -> S3Error {
    S3Error::with_message(S3ErrorCode::NoSuchVersion, "The specified version does not exist.")
}

pub fn no_such_upload() -> S3Error {
    let text = "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or \
                completed.";
    S3Error::with_message(S3ErrorCode::NoSuchUpload, text)
}

pub fn access_denied() -> S3Error {
    S3Error::with_message(S3ErrorCode::AccessDenied, "Access Denied.")
}

/// A version that Object Lock protects.
pub fn locked() -> S3Error {
    S3Error::with_message(
        S3ErrorCode::AccessDenied,
        "Access Denied because object protected by object lock.",
    )
}

pub fn precondition_failed() -> S3Error {
    let text = "At least one of the pre-conditions you specified did not hold";
    S3Error::with_message(S3ErrorCode::PreconditionFailed, text)
}

pub fn invalid_argument(text: impl Into<String>) -> S3Error {
    S3Error::with_message(S3ErrorCode::InvalidArgument, text.into())
}

pub fn invalid_request(text: impl Into<String>) -> S3Error {
    S3Error::with_message(S3ErrorCode::InvalidRequest, text.into())
}

pub fn not_implemented(what: &str) -> S3Error {
    let text = format!("A header or query you provided requests a function that is not implemented: {what}.");
    S3Error::with_message(S3ErrorCode::NotImplemented, text)
}

pub fn bad_digest(what: &str) -> S3Error {
    let text = match what {
        "Content-MD5" => "The Content-MD5 you specified did not match what we received.".to_owned(),
        other => format!("The {other} you specified did not match the calculated checksum."),
    };
    S3Error::with_message(S3ErrorCode::BadDigest, text)
}

pub fn invalid_part() -> S3Error {
    let text = "One or more of the specified parts could not be found.  The part may not have been uploaded, or the \
                specified entity tag may not match the part's entity tag.";
    S3Error::with_message(S3ErrorCode::InvalidPart, text)
}

/// A bucket that is full: MinIO's code, as AWS has no quotas.
pub fn quota_exceeded() -> S3Error {
    let code = S3ErrorCode::Custom("XMinioAdminBucketQuotaExceeded".into());
    let mut error = S3Error::with_message(code, "Bucket quota exceeded");
    error.set_status_code(StatusCode::BAD_REQUEST);
    error
}

/// A read that meets a delete marker: 404 when it is the current version, 405 when it was asked for by its id.
pub fn delete_marker(id: &str, by_id: bool) -> S3Error {
    let mut error = match by_id {
        true => S3Error::with_message(
            S3ErrorCode::MethodNotAllowed,
            "The specified method is not allowed against this resource.",
        ),
        false => no_such_key(),
    };
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("application/xml"));
    headers.insert("x-amz-delete-marker", HeaderValue::from_static("true"));
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert("x-amz-version-id", id);
    }
    error.set_headers(headers);
    error
}

/// Trouble of the server's own: files.
pub trait OrInternal<T> {
    fn or_internal(self, what: &str) -> S3Result<T>;
}

impl<T, E: Display> OrInternal<T> for Result<T, E> {
    fn or_internal(self, what: &str) -> S3Result<T> {
        self.map_err(|error| S3Error::with_message(S3ErrorCode::InternalError, format!("{what}: {error}")))
    }
}
