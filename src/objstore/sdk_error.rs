//! From SDK errors to ours: one sentence with HTTP status, S3 code, request id and the address that answered.

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use super::transport::{ADDRESS_HEADER, chain};
use crate::error::{Error, Kind};

/// What the store said, for [`kind_of`] and for the message.
#[derive(Default)]
struct Reply<'a> {
    status: u16,
    code: &'a str,
    message: &'a str,
    request_id: &'a str,
    address: &'a str,
}

/// Turns a failed `operation` on `target` (bucket, or bucket/key) into an [`Error`].
pub fn convert<E>(operation: &str, target: &str, error: &SdkError<E, HttpResponse>) -> Error
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let Some(response) = error.raw_response() else {
        let kind = match error {
            SdkError::TimeoutError(_) => Kind::Timeout,
            SdkError::DispatchFailure(failure) if failure.is_timeout() => Kind::Timeout,
            SdkError::DispatchFailure(failure) if failure.is_io() => Kind::Network,
            SdkError::DispatchFailure(_) if chain(error).contains("credentials") => Kind::Unauthorized,
            SdkError::ConstructionFailure(_) => Kind::InvalidArgument,
            _ => Kind::Network,
        };
        return Error::new(kind, format!("{operation} {target}: {}", chain(error)));
    };
    let header = |name: &str| response.headers().get(name).unwrap_or_default();
    let reply = Reply {
        status: response.status().as_u16(),
        code: error.code().unwrap_or_default(),
        message: error.message().unwrap_or_default(),
        request_id: header("x-amz-request-id"),
        address: header(ADDRESS_HEADER),
    };
    let detail =
        if reply.code.is_empty() && !matches!(error, SdkError::ServiceError(_)) { chain(error) } else { String::new() };
    Error::new(kind_of(&reply), format!("{operation} {target}: {}{detail}", describe(&reply)))
}

fn describe(reply: &Reply<'_>) -> String {
    let mut text = format!("HTTP {}", reply.status);
    for (label, value) in
        [("", reply.code), ("", reply.message), ("request ", reply.request_id), ("from ", reply.address)]
    {
        if !value.is_empty() {
            text = format!("{text}, {label}{value}");
        }
    }
    text
}

/// The S3 code in the body decides first, the HTTP status second.
fn kind_of(reply: &Reply<'_>) -> Kind {
    match reply.code {
        "NoSuchBucket" => Kind::LsuNotFound,
        "NoSuchKey" | "NoSuchUpload" | "NoSuchVersion" | "NotFound" => Kind::NotFound,
        "InvalidAccessKeyId"
        | "SignatureDoesNotMatch"
        | "ExpiredToken"
        | "InvalidToken"
        | "RequestTimeTooSkewed"
        | "AuthorizationHeaderMalformed" => Kind::Unauthorized,
        "AccessDenied" | "AllAccessDisabled" | "ObjectLocked" => Kind::AccessDenied,
        "PreconditionFailed" | "ConditionalRequestConflict" => Kind::PreconditionFailed,
        "BucketAlreadyExists" | "BucketAlreadyOwnedByYou" => Kind::AlreadyExists,
        "InvalidRange"
        | "BadDigest"
        | "InvalidDigest"
        | "XAmzContentChecksumMismatch"
        | "XAmzContentSHA256Mismatch"
        | "IncompleteBody"
        | "MalformedXML"
        | "InvalidPart" => Kind::Corrupt,
        // MinIO: XMinioStorageFull; quota codes of MinIO and of S3 clones.
        "XMinioStorageFull"
        | "XMinioAdminBucketQuotaExceeded"
        | "QuotaExceeded"
        | "InsufficientStorage"
        | "StorageFull" => Kind::NoSpace,
        "NotImplemented" | "MethodNotAllowed" => Kind::Unsupported,
        "RequestTimeout" => Kind::Timeout,
        "SlowDown" | "ServiceUnavailable" | "InternalError" => Kind::Unavailable,
        _ => match reply.status {
            401 => Kind::Unauthorized,
            403 => Kind::AccessDenied,
            404 => Kind::NotFound,
            408 => Kind::Timeout,
            409 | 412 => Kind::PreconditionFailed,
            501 | 405 => Kind::Unsupported,
            507 => Kind::NoSpace,
            400..=499 => Kind::InvalidArgument,
            _ => Kind::Unavailable,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(status: u16, code: &str) -> Kind {
        kind_of(&Reply { status, code, ..Reply::default() })
    }

    #[test]
    fn the_body_code_decides_before_the_status() {
        assert_eq!(kind(404, "NoSuchBucket"), Kind::LsuNotFound);
        assert_eq!(kind(404, "NoSuchKey"), Kind::NotFound);
        assert_eq!(kind(403, "SignatureDoesNotMatch"), Kind::Unauthorized);
        assert_eq!(kind(403, ""), Kind::AccessDenied);
        assert_eq!(kind(507, "XMinioStorageFull"), Kind::NoSpace);
        assert_eq!(kind(500, ""), Kind::Unavailable);
        assert_eq!(kind(418, ""), Kind::InvalidArgument);
    }
}
