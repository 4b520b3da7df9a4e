//! What proves that the store has what was sent: a checksum on the way out, the ETag or CRC on the way back, HEAD.

use bytes::Bytes;

use super::checksum::{Crc64, Md5Sum, composite_etag};
use super::client::{ObjectInfo, SentPart, Store, WireCheck};
use super::md5_lanes::Patience;
use super::probe::WireMode;
use super::upload::UploadSpec;
use crate::error::{Error, Kind, Result};

const RESENDS: u32 = 2;

pub async fn wire_check(
    store: &Store,
    spec: &UploadSpec,
    body: &Bytes,
    crc64: Crc64,
    patience: Patience,
) -> Result<(WireCheck, Option<Md5Sum>)> {
    Ok(match spec.wire {
        WireMode::None => (WireCheck::None, None),
        WireMode::Crc64 => (WireCheck::Crc64(crc64), None),
        WireMode::Md5 => {
            let md5 = store.md5().hash(body.clone(), patience).await?;
            (WireCheck::Md5(md5), Some(md5))
        }
    })
}

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

/// Where ETags are MD5s, the one that came back must be ours.
pub fn check_etag(spec: &UploadSpec, etag: &str, md5: Option<Md5Sum>) -> Result<()> {
    match md5 {
        Some(md5) if spec.etag_is_md5 && Md5Sum::from_etag(etag) != Some(md5) => {
            let what = format!("{}/{}: ETag {etag} came back, MD5 {} was sent", spec.bucket, spec.key, md5.to_hex());
            Err(Error::new(Kind::Corrupt, what))
        }
        _ => Ok(()),
    }
}

pub fn check_complete(spec: &UploadSpec, object: &ObjectInfo, parts: &[SentPart], crc64: Crc64) -> Result<()> {
    let wrong = |name: &str, seen: &str, expected: &str| {
        let what = format!("complete {}/{}: {name} {seen} came back, {expected} was expected", spec.bucket, spec.key);
        Err(Error::new(Kind::Corrupt, what))
    };
    let expected = composite_etag(parts.iter().map(|part| part.etag.as_str()));
    if let Some(expected) = expected
        && spec.etag_is_md5
        && object.etag != expected
    {
        return wrong("ETag", &object.etag, &expected);
    }
    if let Some(seen) = &object.crc64
        && spec.wire == WireMode::Crc64
        && *seen != crc64.to_base64()
    {
        return wrong("CRC64NVME", seen, &crc64.to_base64());
    }
    Ok(())
}

pub async fn confirm(store: &Store, spec: &UploadSpec, expected: &ObjectInfo) -> Result<()> {
    let seen = store.head_fresh(&spec.bucket, &spec.key).await?;
    if seen.size != expected.size || seen.etag != expected.etag {
        let (bucket, key) = (&spec.bucket, &spec.key);
        let what = format!(
            "confirm {bucket}/{key}: {} bytes with ETag {} are on the store, {} with {} were sent",
            seen.size, seen.etag, expected.size, expected.etag
        );
        return Err(Error::new(Kind::Corrupt, what));
    }
    Ok(())
}
