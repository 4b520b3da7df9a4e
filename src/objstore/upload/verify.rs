//! What proves that the store has what was sent: a checksum on the way out, the ETag or CRC on the way back, HEAD, and
//! where these prove nothing or contradict each other, the bytes themselves.
//!
//! An ETag that is not what was expected is a question and never a verdict: buckets are encrypted, gateways put in
//! between, objects written by other means. The question is answered by reading the bytes back and comparing their
//! CRC64NVME with ours. Only that, or a size that is another one, makes an object bad.

use bytes::Bytes;
use futures::stream::{StreamExt, TryStreamExt};

use super::in_flight::Sent;
use super::object::UploadSpec;
use crate::engine::checksum::{Crc64, Md5Sum, composite_etag};
use crate::engine::md5_lanes::Patience;
use crate::error::{Error, Kind, Result};
use crate::objstore::download::digest::crc_of_range;
use crate::objstore::s3::probe::{Capabilities, WireMode};
use crate::objstore::s3::store::{ObjectInfo, SentPart, Store, WireCheck};

const RESENDS: u32 = 2;
/// Readings of bytes that are not what was sent: one may have changed on its way here.
const READINGS: u32 = 3;
/// Parts that are read back at once; each takes a piece of memory and no buffer of the pool.
const READ_BACK_IN_FLIGHT: usize = 8;

pub async fn wire_check(
    store: &Store,
    spec: &UploadSpec,
    body: &Bytes,
    crc64: Crc64,
    patience: Patience,
) -> Result<WireCheck> {
    Ok(match spec.wire {
        WireMode::None => WireCheck::None,
        WireMode::Crc64 => WireCheck::Crc64(crc64),
        WireMode::Md5 => WireCheck::Md5(store.md5().hash(body.clone(), patience).await?),
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

impl Store {
    /// Sends until the ETag leaves no doubt, three times at most; then the bucket's ETags are no MD5s any more.
    pub(in crate::objstore) async fn send_until_clear<T, F: Future<Output = Result<T>>>(
        &self,
        bucket: &str,
        check: WireCheck,
        etag: impl Fn(&T) -> &str,
        mut send: impl FnMut() -> F,
    ) -> Result<T> {
        let mut sent = resend(&mut send).await?;
        for _ in 0..RESENDS {
            if !is_doubtful(self.known(bucket), check, etag(&sent)) {
                return Ok(sent);
            }
            tracing::warn!(
                "send again to bucket {bucket}: ETag {} came back for {check:?}",
                etag(&sent)
            );
            sent = resend(&mut send).await?;
        }
        if is_doubtful(self.known(bucket), check, etag(&sent)) {
            self.etags_are_no_md5s(bucket);
        }
        Ok(sent)
    }

    fn etags_are_no_md5s(&self, bucket: &str) {
        self.contradicted(bucket, "its ETags are no MD5s any more", |known| {
            known.etag_is_md5 = false;
            known.composite_etag = false;
            known.etag_changes = false;
        });
    }

    /// Looks at an object that was put in one piece where the answer itself does not prove it. What stands between us and
    /// the store may say 200 of its own accord; only the store can tell the body's MD5 or CRC.
    pub(in crate::objstore) async fn settle_put(
        &self,
        bucket: &str,
        key: &str,
        body: &Bytes,
        check: WireCheck,
        answer: &ObjectInfo,
    ) -> Result<()> {
        let proven = is_proven(self.known(bucket), check, &answer.etag);
        if proven && tells(check, answer) {
            return Ok(());
        }
        // No refusal of the put, whatever it is: neither its kind nor its status is handed on.
        let seen = self.head_fresh(bucket, key).await.map_err(|error| {
            let kind = if error.kind() == Kind::Timeout {
                Kind::Timeout
            } else {
                Kind::Unavailable
            };
            Error::new(kind, format!("a put was answered with success, and then: {error}")).with_unknown_outcome()
        })?;
        let size = body.len() as u64;
        if seen.size != size {
            let what = format!(
                "put {bucket}/{key}: {} bytes are on the store, {size} were sent",
                seen.size
            );
            return Err(Error::new(Kind::Corrupt, what));
        }
        // Another CRC than was sent is a contradiction, none is silence.
        let is_silent = !matches!(check, WireCheck::Crc64(_)) || answer.crc64.is_none();
        if proven && is_silent && !answer.etag.is_empty() && seen.etag == answer.etag {
            return Ok(());
        }
        let part = SentPart {
            number: 1,
            size,
            etag: String::new(),
            crc64: Crc64::of(body),
        };
        compare(self, bucket, key, &part, 0).await
    }
}

/// True when the answer to a put tells what the body is, as the sender of `check` knows it.
fn tells(check: WireCheck, answer: &ObjectInfo) -> bool {
    match check {
        WireCheck::None => true,
        WireCheck::Crc64(crc) => answer.crc64.as_deref() == Some(crc.to_base64().as_str()),
        WireCheck::Md5(md5) => Md5Sum::from_etag(&answer.etag) == Some(md5),
    }
}

/// What a part's answer makes of it.
pub fn judge_part(store: &Store, spec: &UploadSpec, check: WireCheck, part: SentPart) -> Sent {
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
    let (bucket, key) = (spec.bucket.as_str(), spec.key.as_str());
    let seen = store.head_fresh(bucket, key).await?;
    let size: u64 = parts.iter().map(|part| part.size).sum();
    if seen.size != size {
        let what = format!(
            "confirm {bucket}/{key}: {} bytes are on the store, {size} were sent",
            seen.size
        );
        return Err(Error::new(Kind::Corrupt, what));
    }
    let doubt = match judge(store.known(bucket), spec.wire, &finished, &seen, parts) {
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

fn judge(known: Capabilities, wire: WireMode, finished: &Finished, seen: &ObjectInfo, parts: &[SentPart]) -> Verdict {
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
    let (version_id, crc64) = (object.version_id.or(seen.version_id), object.crc64.or(seen.crc64));
    ObjectInfo {
        size: seen.size,
        etag,
        version_id,
        crc64,
        ..ObjectInfo::default()
    }
}

/// Reads the parts that `wanted` names and compares their CRC64NVME.
pub async fn read_back(
    store: &Store,
    bucket: &str,
    key: &str,
    parts: &[SentPart],
    wanted: impl Fn(u32) -> bool,
) -> Result<()> {
    let mut offset = 0;
    let mut jobs = Vec::new();
    for part in parts {
        if wanted(part.number) {
            jobs.push((part.clone(), offset));
        }
        offset += part.size;
    }
    let compared = jobs
        .into_iter()
        .map(|(part, offset)| async move { compare(store, bucket, key, &part, offset).await });
    futures::stream::iter(compared)
        .buffer_unordered(READ_BACK_IN_FLIGHT)
        .try_collect::<Vec<()>>()
        .await
        .map(drop)
}

async fn compare(store: &Store, bucket: &str, key: &str, part: &SentPart, offset: u64) -> Result<()> {
    let mut seen = Crc64(0);
    for _ in 0..READINGS {
        seen = crc_of_range(store, bucket, key, offset, part.size).await?;
        if seen == part.crc64 {
            return Ok(());
        }
        tracing::warn!(
            "read part {} of {bucket}/{key} again: its CRC64NVME is {:016x}",
            part.number,
            seen.0
        );
    }
    let what = format!(
        "read back {bucket}/{key}: part {} at offset {offset} has other bytes than were sent: CRC64NVME {:016x} in place of {:016x}",
        part.number, seen.0, part.crc64.0
    );
    Err(Error::new(Kind::Corrupt, what))
}
