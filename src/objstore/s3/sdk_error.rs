//! From SDK errors to ours: one sentence with HTTP status, S3 code, request id and the address that answered.

use std::error::Error as StdError;

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use crate::clean::words;
use crate::error::{Error, Kind, chain};
use crate::objstore::transport::answer::Form;
use crate::objstore::transport::context::ADDRESS_HEADER;

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
        return unanswered(operation, target, error);
    };

    let header = |name: &str| response.headers().get(name).unwrap_or_default();
    let reply = Reply {
        status: response.status().as_u16(),
        code: error.code().unwrap_or_default(),
        message: error.message().unwrap_or_default(),
        request_id: header("x-amz-request-id"),
        address: header(ADDRESS_HEADER),
    };

    let body = response.body().bytes().unwrap_or_default();
    if response.status().is_success() && reply.code.is_empty() {
        let what = format!(
            "{operation} {target}: {}, {}",
            describe(&reply),
            unreadable(body, &chain(error))
        );
        return Error::new(Kind::Unsupported, what);
    }

    // A refusal without a code is none of an S3 server; what it says instead may tell whose it is.
    let page = if reply.code.is_empty() {
        words(&String::from_utf8_lossy(body))
    } else {
        String::new()
    };

    let page = if page.trim().is_empty() {
        page
    } else {
        format!(", which says: {}", page.trim())
    };

    let hint = hint(&reply).map(|hint| format!(" ({hint})")).unwrap_or_default();
    let what = format!("{operation} {target}: {}{page}{hint}", describe(&reply));

    Error::new(kind_of(&reply), what).with_status(reply.status)
}

/// No answer came, or none that the connector believed; it has said why.
fn unanswered<E>(operation: &str, target: &str, error: &SdkError<E, HttpResponse>) -> Error
where
    E: std::error::Error + Send + Sync + 'static,
{
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(inner) = cause {
        if let Some(own) = inner.downcast_ref::<Error>() {
            return own.repeat().context(format!("{operation} {target}"));
        }
        cause = inner.source();
    }

    let kind = match error {
        SdkError::TimeoutError(_) => Kind::Timeout,
        SdkError::DispatchFailure(failure) if failure.is_timeout() => Kind::Timeout,
        SdkError::DispatchFailure(failure) if failure.is_io() => Kind::Network,
        SdkError::DispatchFailure(_) if chain(error).contains("credentials") => Kind::Unauthorized,
        SdkError::ConstructionFailure(_) => Kind::InvalidArgument,
        _ => Kind::Network,
    };

    // The outermost words are the SDK's own and say nothing that the kind does not.
    let why = error.source().map_or_else(|| error.to_string(), chain);

    Error::new(kind, format!("{operation} {target}: {why}"))
}

/// A success whose document is not the one that belongs here, or cannot be parsed.
fn unreadable(body: &[u8], cause: &str) -> String {
    let expected = cause
        .split_once("expected ")
        .and_then(|(_, rest)| rest.split_once(" but got"))
        .map(|(name, _)| name);
    let came = match Form::of(body) {
        Form::Whole(root) => format!("<{}> came", words(root)),
        Form::Broken(_) => "a broken document came".into(),
        Form::Foreign if body.is_empty() => "nothing came".into(),
        Form::Foreign => format!("no XML came: {}", words(&String::from_utf8_lossy(body))),
    };

    match expected {
        Some(expected) => format!("but the answer is not S3's: <{}> was expected, {came}", words(expected)),
        None => format!("but the answer cannot be read ({came}): {}", words(cause)),
    }
}

fn describe(reply: &Reply<'_>) -> String {
    let mut text = format!("HTTP {}", reply.status);
    for (label, value) in [
        ("", reply.code),
        ("", reply.message),
        ("request ", reply.request_id),
        ("from ", reply.address),
    ] {
        if !value.is_empty() {
            text = format!("{text}, {label}{}", words(value));
        }
    }

    text
}

/// What an operator can do about refusals whose own words lead astray.
fn hint(reply: &Reply<'_>) -> Option<&'static str> {
    match (reply.status, reply.code) {
        (_, "SignatureDoesNotMatch") => Some(
            "the secret key does not belong to the access key, or a proxy before the store changes the Host header or the path of requests",
        ),
        (413, _) => {
            Some("a proxy before the store limits the length of a request's body: raise its limit above part_size")
        }
        (411, _) => Some("the store, or a proxy before it, insists on Content-Length"),
        (429, _) => Some("the store, or a proxy before it, limits the rate of requests"),
        (301 | 302 | 307 | 308, _) => {
            Some("the store redirects: the bucket is at another endpoint or in another region")
        }
        _ => None,
    }
}

/// The S3 code in the body decides first, the HTTP status second. No refusal of a store is the host's invalid argument:
/// what we do not know is the store's own affair, in its own words.
fn kind_of(reply: &Reply<'_>) -> Kind {
    if is_locked(reply) {
        return Kind::Locked;
    }

    match reply.code {
        "NoSuchBucket" => Kind::LsuNotFound,
        "NoSuchKey" | "NoSuchUpload" | "NoSuchVersion" | "NotFound" => Kind::NotFound,
        "InvalidAccessKeyId"
        | "SignatureDoesNotMatch"
        | "ExpiredToken"
        | "InvalidToken"
        | "RequestTimeTooSkewed"
        | "AuthorizationHeaderMalformed" => Kind::Unauthorized,
        "AccessDenied" | "AllAccessDisabled" => Kind::AccessDenied,
        "PreconditionFailed" => Kind::PreconditionFailed,
        // Another request was under way: no condition was looked at.
        "ConditionalRequestConflict" | "OperationAborted" => Kind::Unavailable,
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
        // Understood, and not taken from anybody.
        "NotImplemented"
        | "XNotImplemented"
        | "MethodNotAllowed"
        | "InvalidArgument"
        | "InvalidRequest"
        | "BadRequest"
        | "InvalidURI"
        | "MissingContentLength"
        | "EntityTooLarge"
        | "EntityTooSmall"
        | "KeyTooLongError"
        | "MetadataTooLarge"
        | "InvalidStorageClass" => Kind::Unsupported,
        "RequestTimeout" => Kind::Timeout,
        _ => match reply.status {
            401 => Kind::Unauthorized,
            403 => Kind::AccessDenied,
            404 => Kind::NotFound,
            408 => Kind::Timeout,
            409 | 412 => Kind::PreconditionFailed,
            405 | 411 | 413 | 501 => Kind::Unsupported,
            507 => Kind::NoSpace,
            _ => Kind::Unavailable,
        },
    }
}

/// A lock of the store keeps the object. Some servers have a code of their own for it, most say AccessDenied and tell
/// in the message: AWS "because object protected by object lock", MinIO "is WORM protected and cannot be overwritten".
fn is_locked(reply: &Reply<'_>) -> bool {
    let own = [
        "ObjectLocked",
        "ObjectUnderRetention",
        "ObjectImmutable",
        "ObjectIsImmutable",
        "FileImmutable",
    ];

    if own.contains(&reply.code) {
        return true;
    }

    let message = reply.message.to_ascii_lowercase();
    let says = [
        "object lock",
        "object-lock",
        "objectlock",
        "worm",
        "retention",
        "legal hold",
        "immutab",
    ];

    let refuses = reply.status == 403 || reply.status == 409 || reply.code == "InvalidRetentionPeriod";

    refuses && !reply.code.contains("Config") && says.iter().any(|word| message.contains(word))
        || reply.code == "InvalidRequest" && message.contains("worm protected")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(status: u16, code: &str) -> Kind {
        kind_of(&Reply {
            status,
            code,
            ..Reply::default()
        })
    }

    #[test]
    fn the_body_code_decides_before_the_status() {
        assert_eq!(kind(404, "NoSuchBucket"), Kind::LsuNotFound);
        assert_eq!(kind(404, "NoSuchKey"), Kind::NotFound);
        assert_eq!(kind(403, "SignatureDoesNotMatch"), Kind::Unauthorized);
        assert_eq!(kind(403, ""), Kind::AccessDenied);
        assert_eq!(kind(507, "XMinioStorageFull"), Kind::NoSpace);
        assert_eq!(kind(500, ""), Kind::Unavailable);
        assert_eq!(kind(412, ""), Kind::PreconditionFailed);
        assert_eq!(
            [kind(409, "ConditionalRequestConflict"), kind(409, "OperationAborted")],
            [Kind::Unavailable; 2]
        );
    }

    #[test]
    fn no_refusal_is_an_invalid_argument_of_the_host() {
        for status in 300..600 {
            for code in [
                "",
                "InvalidArgument",
                "InvalidRequest",
                "SomethingNew",
                "EntityTooLarge",
            ] {
                assert_ne!(kind(status, code), Kind::InvalidArgument, "{status} {code}");
            }
        }

        assert_eq!(
            [kind(418, ""), kind(400, "SomethingNew"), kind(429, "")],
            [Kind::Unavailable; 3]
        );
        assert_eq!(
            [kind(413, ""), kind(411, ""), kind(400, "InvalidArgument")],
            [Kind::Unsupported; 3]
        );
    }

    #[test]
    fn a_lock_is_known_by_its_code_or_its_words() {
        let of = |status, code, message| {
            kind_of(&Reply {
                status,
                code,
                message,
                ..Reply::default()
            })
        };

        for (status, code, message) in [
            (
                403,
                "AccessDenied",
                "Access Denied because object protected by object lock.",
            ),
            (
                400,
                "ObjectLocked",
                "Object is WORM protected and cannot be overwritten",
            ),
            (
                400,
                "InvalidRequest",
                "Object is WORM protected and cannot be overwritten",
            ),
            (403, "AccessDenied", "forbidden by object lock"),
            (409, "ObjectUnderRetention", ""),
        ] {
            assert_eq!(of(status, code, message), Kind::Locked, "{code} {message}");
        }

        assert_eq!(of(403, "AccessDenied", "Access Denied."), Kind::AccessDenied);

        assert_eq!(
            of(
                404,
                "ObjectLockConfigurationNotFoundError",
                "Object Lock configuration does not exist"
            ),
            Kind::NotFound
        );
    }

    #[test]
    fn an_answer_of_another_kind_says_what_was_expected_and_what_came() {
        let cause = "unhandled: encountered invalid XML root: expected ListBucketResult but got StartEl { name: \"x\" }. \
                     This is likely a bug in the SDK.";
        let what = unreadable(b"<Foo></Foo>", cause);
        assert_eq!(
            what,
            "but the answer is not S3's: <ListBucketResult> was expected, <Foo> came"
        );
        assert!(unreadable(b"", "no root element").contains("nothing came"));
    }
}
