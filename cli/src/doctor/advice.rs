//! What to do about a request that failed: the name of the missing right, or what is in the way.

use vastost::error::{Error, Kind};

/// What requests are called in messages, and the right that each needs; the first that a message has counts.
const RIGHTS: [(&str, &str); 16] = [
    ("list uploads of ", "s3:ListBucketMultipartUploads"),
    ("list parts of ", "s3:ListMultipartUploadParts"),
    ("list versions of ", "s3:ListBucketVersions"),
    ("abort upload of ", "s3:AbortMultipartUpload"),
    ("get the lock configuration of ", "s3:GetBucketObjectLockConfiguration"),
    ("get retention of ", "s3:GetObjectRetention"),
    ("get legal hold of ", "s3:GetObjectLegalHold"),
    ("get versioning of ", "s3:GetBucketVersioning"),
    ("delete a version of ", "s3:DeleteObjectVersion"),
    (
        "delete ",
        "s3:DeleteObject, and s3:DeleteObjectVersion where the bucket keeps versions",
    ),
    ("copy part ", "s3:GetObject and s3:PutObject"),
    ("complete upload of ", "s3:PutObject"),
    ("begin upload of ", "s3:PutObject"),
    ("send part ", "s3:PutObject"),
    ("put ", "s3:PutObject"),
    ("head bucket ", "s3:ListBucket"),
];

/// What to do about `error` in `bucket`.
pub fn advice(error: &Error, bucket: &str) -> String {
    let text = error.to_string();
    match error.kind() {
        Kind::AccessDenied | Kind::Unauthorized => {
            format!("give the key the right {} in bucket {bucket}", right(&text))
        }
        Kind::NoSpace => "make room: the bucket's quota or the cluster's capacity is used up".into(),
        _ if text.contains("HTTP 413") => {
            "let the gateway before the store take bodies of part_size (nginx: client_max_body_size)".into()
        }
        Kind::Network | Kind::Timeout | Kind::Unavailable => {
            "look at the cluster, at what stands before it, and at the network: the request gets no usable answer"
                .into()
        }
        _ => "the store does not do what backups need; ask its administrator with this message".into(),
    }
}

fn right(text: &str) -> &'static str {
    let named = RIGHTS
        .iter()
        .find(|(request, _)| text.contains(request))
        .map(|(_, right)| *right);
    let read = || {
        if text.contains("list ") {
            "s3:ListBucket"
        } else {
            "s3:GetObject"
        }
    };
    named.unwrap_or_else(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_missing_right_is_named() {
        let said = |text: &str| advice(&Error::new(Kind::AccessDenied, text), "b");
        for (text, right) in [
            (
                "list parts of b/k: HTTP 403, AccessDenied",
                "s3:ListMultipartUploadParts",
            ),
            ("abort upload of b/k: HTTP 403", "s3:AbortMultipartUpload"),
            ("take over image x: get b/k: HTTP 403", "s3:GetObject"),
            ("list b/probe/: HTTP 403", "s3:ListBucket"),
            ("send part 2 of b/k: HTTP 403", "s3:PutObject"),
        ] {
            assert!(
                said(text).contains(&format!("right {right} in bucket b")),
                "{}",
                said(text)
            );
        }
    }
}
