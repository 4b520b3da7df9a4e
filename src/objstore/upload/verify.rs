//! What proves that the store has what was sent: a checksum on the way out, the ETag or CRC on the way back, HEAD, and
//! where these prove nothing or contradict each other, the bytes themselves.
//!
//! An ETag that is not what was expected is a question and never a verdict: buckets are encrypted, gateways put in
//! between, objects written by other means. The question is answered by reading the bytes back and comparing their
//! CRC64NVME with ours. Only that, or a size that is another one, makes an object bad.

use bytes::Bytes;

use super::in_flight::Sent;
use crate::engine::checksum::{Crc64, composite_etag};
use crate::engine::md5_lanes::Priority;
use crate::error::{Error, Kind, Result};
use crate::objstore::s3::capabilities::{Capabilities, WireMode};
use crate::objstore::s3::read_back::read_back;
use crate::objstore::s3::resend::is_proven;
use crate::objstore::s3::store::Store;
use crate::objstore::s3::types::{ObjectInfo, SentPart, WireCheck};
use crate::objstore::upload::spec::UploadSpec;

pub async fn wire_check(
    store: &Store,
    spec: &UploadSpec,
    body: &Bytes,
    crc64: Crc64,
    priority: Priority,
) -> Result<WireCheck> {
    Ok(match spec.wire {
        WireMode::None => WireCheck::None,
        WireMode::Crc64 => WireCheck::Crc64(crc64),
        WireMode::Md5 => WireCheck::Md5(store.md5().hash(body.clone(), priority).await?),
    })
}

/// What a part's answer makes of it.
pub fn evaluate_part(store: &Store, spec: &UploadSpec, check: WireCheck, part: SentPart) -> Sent {
    let proven = is_proven(store.known(&spec.bucket), check, &part.etag);
    Sent { part, proven }
}

/// An object as the answer to its last request tells of it.
pub struct Finished {
    pub object: ObjectInfo,
    /// It is an upload of parts, and was not put in one piece.
    pub is_upload: bool,
}

/// What a finished object is, proven: of the right size, and made of the parts that were sent. `unproven` parts, and all
/// of them where what the store tells contradicts what is known of it, are read back.
pub async fn prove(
    store: &Store,
    spec: &UploadSpec,
    finished: Finished,
    parts: &[SentPart],
    unproven: &[u32],
) -> Result<ObjectInfo> {
    let bucket = &spec.bucket;
    let key = spec.key.as_str();
    let seen = store.head_fresh(bucket, key).await?;
    let size: u64 = parts.iter().map(|part| part.size).sum();

    if seen.size != size {
        let what = format!(
            "confirm {bucket}/{key}: {} bytes are on the store, {size} were sent",
            seen.size
        );
        return Err(Error::new(Kind::Corrupt, what));
    }

    let doubt = match evaluate(store.known(bucket), spec.wire, &finished, &seen, parts) {
        Verdict::Proven => return Ok(merged(finished.object, seen)),
        Verdict::Open => None,
        Verdict::Doubt(why) => Some(why),
    };
    if let Some(why) = &doubt {
        tracing::warn!("{bucket}/{key}: {why}; every part is read back and compared");
    }
    read_back(store, bucket, key, parts, |number| {
        doubt.is_some() || unproven.contains(&number)
    })
    .await?;

    if doubt.is_some() {
        // The bytes are right, so what was known is not.
        store.contradicted(
            bucket,
            "an object has another ETag or CRC64NVME than it should have",
            |known| {
                known.crc64nvme &= spec.wire != WireMode::Crc64;
                known.composite_etag = false;
                known.etag_is_md5 &= finished.is_upload;
            },
        );
    }

    Ok(merged(finished.object, seen))
}

enum Verdict {
    /// By the CRC of the whole, as the store has computed it.
    Proven,
    /// Nothing contradicts.
    Open,
    Doubt(String),
}

fn evaluate(
    known: Capabilities,
    wire: WireMode,
    finished: &Finished,
    seen: &ObjectInfo,
    parts: &[SentPart],
) -> Verdict {
    let ours = parts
        .iter()
        .fold(Crc64(0), |crc, part| crc.then(part.crc64, part.size))
        .to_base64();
    let told: Vec<_> = [&finished.object.crc64, &seen.crc64].into_iter().flatten().collect();
    if let (WireMode::Crc64, Some(other)) = (wire, told.iter().find(|told| ***told != ours)) {
        return Verdict::Doubt(format!("CRC64NVME {other} came back, {ours} was expected"));
    }
    if known.crc64nvme && !told.is_empty() && told.iter().all(|told| **told == ours) {
        return Verdict::Proven;
    }
    let expected = match finished.is_upload {
        true => composite_etag(parts.iter().map(|part| part.etag.as_str())).filter(|_| known.composite_etag),
        false => Some(finished.object.etag.clone()).filter(|_| known.etag_is_md5),
    };
    match expected {
        Some(expected) if seen.etag != expected => {
            Verdict::Doubt(format!("ETag {:?} came back, {expected} was expected", seen.etag))
        }
        _ => Verdict::Open,
    }
}

/// The ETag that everybody sees from now on; the version that the completion made.
fn merged(object: ObjectInfo, seen: ObjectInfo) -> ObjectInfo {
    let etag = if seen.etag.is_empty() { object.etag } else { seen.etag };
    let version_id = object.version_id.or(seen.version_id);
    let crc64 = object.crc64.or(seen.crc64);
    ObjectInfo {
        size: seen.size,
        etag,
        version_id,
        crc64,
        ..ObjectInfo::default()
    }
}
