//! What is sent again because it may have been damaged on the way, and what an answer says of what was sent.

use super::capabilities::Capabilities;
use super::types::WireCheck;
use crate::engine::checksum::Md5Sum;
use crate::error::{Error, Kind, Result};

pub(super) const RESENDS: u32 = 2;

/// A request that was damaged on the way is refused by the server, which says nothing about what we hold: it is sent
/// again, twice at most.
pub async fn resend<T, F: Future<Output = Result<T>>>(mut send: impl FnMut() -> F) -> Result<T> {
    for _ in 0..RESENDS {
        match send().await {
            Err(error) if error.kind() == Kind::Corrupt => tracing::warn!("send again: {error}"),
            other => return other,
        }
    }
    send().await
}

/// The server understood and said no, as against being out of reach. A gateway that takes a header away breaks the
/// signature, so that counts too; whoever asks this has had plain requests accepted.
pub fn is_refusal(error: &Error) -> bool {
    let refusals = [
        Kind::Corrupt,
        Kind::InvalidArgument,
        Kind::Unsupported,
        Kind::PreconditionFailed,
        Kind::AccessDenied,
        Kind::Unauthorized,
    ];
    // 408, 409 and 429 say nothing of the request itself, whatever their codes.
    if error.status().is_some_and(|status| [408, 409, 429].contains(&status)) {
        return false;
    }
    // A gateway's 400 has no code that says more.
    let by_status = error.status().is_some_and(|status| (400..500).contains(&status));
    refusals.contains(&error.kind()) || (error.kind() == Kind::Unavailable && by_status)
}

/// True when what was sent with `check` and answered with `etag` is what the store has, as far as the bucket is known.
pub fn is_proven(known: Capabilities, check: WireCheck, etag: &str) -> bool {
    match check {
        // Asked for without proof.
        WireCheck::None => true,
        WireCheck::Crc64(_) => known.crc64nvme,
        WireCheck::Md5(md5) => {
            Md5Sum::from_etag(etag) == Some(md5) || (known.content_md5 && !is_doubtful(known, check, etag))
        }
    }
}

/// True when this bucket's ETags are MD5s and this one is another: the body, or the bucket, has changed.
pub fn is_doubtful(known: Capabilities, check: WireCheck, etag: &str) -> bool {
    matches!(check, WireCheck::Md5(md5) if known.etag_is_md5 && Md5Sum::from_etag(etag) != Some(md5))
}
