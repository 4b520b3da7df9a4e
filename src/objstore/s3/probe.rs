//! What a bucket is proven to do, tried with what a backup sends.
//!
//! A server that ignores a header it does not know answers 200, so a capability counts only when the server *refuses*
//! what it must refuse: a wrong checksum, a second conditional put. And only when it gets right what it says: an upload of
//! two parts is completed, since some stores check each part and get the checksum or the ETag of several wrong. What is
//! found is kept by [`super::capabilities`]. A refusal counts for one only where no busy store and no firewall gives it: a
//! checksum is called wrong by status 400, a condition by 412. What met 401, 403, 409 or 5xx is not kept for long: they may
//! have nothing to do with what was tried. The probe's objects lie under `probe/` and are removed again. Each put has
//! Content-MD5 or a checksum, since buckets with Object Lock insist on one.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

use super::capabilities::Capabilities;
use super::store::Store;
use crate::config::PART_SIZE_MIN;
use crate::engine::checksum::{Crc64, Md5Sum, composite_etag};
use crate::error::{Error, Kind, Result};
use crate::objstore::s3::resend::{is_refusal, resend};
use crate::objstore::s3::types::{ObjectInfo, SentPart, WireCheck};

/// A clean-up of another host may take the probe's object away, so one put that is not refused proves nothing yet; it
/// has put the object again.
const CONDITIONAL_PUTS: usize = 3;
/// User metadata of the probe's objects, as images have them.
const METADATA: (&str, &str) = ("vastost-schema", "probe");

/// What a probe has found.
#[derive(Clone, Copy, Debug)]
pub struct Probed {
    pub capabilities: Capabilities,
    /// False when an answer on the way may be one of a busy store or a firewall: another probe may find more.
    pub is_settled: bool,
}

/// Tries every capability against the server. Fails where plain requests do.
pub async fn probe(store: &Store, bucket: &str, prefix: &str) -> Result<Probed> {
    let stem = format!("{prefix}probe/{}", uuid::Uuid::new_v4().simple());
    let metadata = vec![(METADATA.0.to_owned(), METADATA.1.to_owned())];
    let probe = Probe {
        store,
        bucket,
        metadata,
        versions: Mutex::default(),
        is_unsettled: AtomicBool::new(false),
    };
    let found = probe.all(&stem).await;
    // Clean up whatever the outcome, and let the first error speak.
    for suffix in ["put", "crc", "upload"] {
        if let Err(error) = probe.remove(&format!("{stem}-{suffix}")).await {
            tracing::warn!("remove probe object: {error}");
        }
    }
    let is_settled = !probe.is_unsettled.load(Ordering::Relaxed);
    found.map(|capabilities| Probed {
        capabilities,
        is_settled,
    })
}

struct Probe<'a> {
    store: &'a Store,
    bucket: &'a str,
    metadata: Vec<(String, String)>,
    /// Keys and versions that puts have made: in a bucket that keeps versions each is removed by itself.
    versions: Mutex<Vec<(String, String)>>,
    /// An answer came that may not be about what was tried.
    is_unsettled: AtomicBool,
}

/// What an upload of two parts showed.
#[derive(Clone, Copy)]
struct Upload {
    part_etags_are_md5: bool,
    composite_etag: bool,
}

impl Probe<'_> {
    /// Remembers the version that a put has made.
    fn keep(&self, key: &str, object: &ObjectInfo) {
        if let Some(version) = &object.version_id {
            let mut versions = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
            versions.push((key.to_owned(), version.clone()));
        }
    }

    async fn remove(&self, key: &str) -> Result<()> {
        let made = self.versions.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let versions: Vec<_> = made.into_iter().filter(|(of, _)| of == key).collect();
        for (_, version) in &versions {
            match self.store.delete(self.bucket, key, Some(version)).await {
                // Then a marker must do.
                Err(error) if error.kind() == Kind::AccessDenied => {
                    return self.store.delete(self.bucket, key, None).await;
                }
                other => other?,
            }
        }
        if versions.is_empty() {
            self.store.delete(self.bucket, key, None).await
        } else {
            Ok(())
        }
    }

    async fn all(&self, stem: &str) -> Result<Capabilities> {
        let mut found = self.put(&format!("{stem}-put")).await?;
        let (crc, upload) = (format!("{stem}-crc"), format!("{stem}-upload"));
        let with_crc = if self.crc_put(&crc).await? {
            self.upload(&upload, true).await?
        } else {
            None
        };
        found.crc64nvme = with_crc.is_some();
        let seen = match with_crc {
            Some(seen) => Some(seen),
            None => self.upload(&upload, false).await?,
        };
        // A store that refuses an upload by its MD5s refuses every backup; the backup says so itself.
        let seen = seen.unwrap_or(Upload {
            part_etags_are_md5: false,
            composite_etag: false,
        });
        found.etag_is_md5 &= seen.part_etags_are_md5;
        found.composite_etag = seen.composite_etag;
        Ok(found)
    }

    /// A small object: its ETag, its metadata, what a wrong Content-MD5 and a second conditional put are answered.
    async fn put(&self, key: &str) -> Result<Capabilities> {
        let bodies = [
            Bytes::from_static(b"vastost probe"),
            Bytes::from_static(b"vastost probe, again"),
        ];
        let mut etags = Vec::new();
        for body in &bodies {
            etags.push(self.put_once(key, body, Md5Sum::of(body), false).await?.etag);
        }
        let [first, second] = &bodies;
        let seen = self.store.head_fresh(self.bucket, key).await?;
        if seen.size != second.len() as u64 {
            let what = format!(
                "probe {}/{key}: {} bytes were put, {} are on the store",
                self.bucket,
                second.len(),
                seen.size
            );
            return Err(Error::new(Kind::Corrupt, what));
        }
        let is_md5 = |etag: &str, body: &Bytes| Md5Sum::from_etag(etag) == Some(Md5Sum::of(body));
        let etags_are_md5 = etags.iter().zip(&bodies).all(|(etag, body)| is_md5(etag, body));
        let mut wrong = Md5Sum::of(first);
        wrong.0.iter_mut().for_each(|byte| *byte = !*byte);
        let damaged = self
            .store
            .try_put(self.bucket, key, first.clone(), WireCheck::Md5(wrong), &[], false)
            .await;
        let damaged = damaged.inspect(|object| self.keep(key, object));
        Ok(Capabilities {
            content_md5: self.is_called_wrong(damaged)?,
            etag_is_md5: etags_are_md5 && is_md5(&seen.etag, second),
            // PUT and HEAD must agree on what an object is called, too.
            etag_changes: !seen.etag.is_empty() && etags.first() != etags.last() && etags.last() == Some(&seen.etag),
            conditional_put: self.conditional_put(key, second).await?,
            user_metadata: seen.metadata.get(METADATA.0).is_some_and(|value| value == METADATA.1),
            ..Capabilities::default()
        })
    }

    async fn put_once(&self, key: &str, body: &Bytes, md5: Md5Sum, only_new: bool) -> Result<ObjectInfo> {
        let put = || {
            self.store.try_put(
                self.bucket,
                key,
                body.clone(),
                WireCheck::Md5(md5),
                &self.metadata,
                only_new,
            )
        };
        resend(put).await.inspect(|object| self.keep(key, object))
    }

    async fn conditional_put(&self, key: &str, body: &Bytes) -> Result<bool> {
        for _ in 0..CONDITIONAL_PUTS {
            match self.put_once(key, body, Md5Sum::of(body), true).await {
                Ok(_) => {}
                Err(error) if error.status() == Some(412) => return Ok(true),
                Err(error) => {
                    self.note(&error);
                    tracing::debug!("conditional put is not supported: {error}");
                    break;
                }
            }
        }
        Ok(false)
    }

    async fn crc_put(&self, key: &str) -> Result<bool> {
        let body = Bytes::from_static(b"vastost probe");
        let right = Crc64::of(&body);
        let put = |crc: Crc64| {
            self.store.try_put(
                self.bucket,
                key,
                body.clone(),
                WireCheck::Crc64(crc),
                &self.metadata,
                false,
            )
        };
        let kept = |object: &ObjectInfo| self.keep(key, object);
        if !self.is_called_wrong(put(Crc64(!right.0)).await.inspect(kept))? {
            return Ok(false);
        }
        let stored = self.accepted(resend(|| put(right)).await.inspect(kept))?;
        Ok(stored.is_some_and(|object| is_right(object.crc64.as_deref(), right)))
    }

    /// Two parts, proven by CRC64NVME or by MD5; None when the server does not do that, or gets it wrong.
    async fn upload(&self, key: &str, crc: bool) -> Result<Option<Upload>> {
        let begun = self.store.begin_upload(self.bucket, key, &self.metadata, crc).await;
        let Some(upload) = self.accepted(begun)? else {
            return Ok(None);
        };
        let seen = self.upload_parts(key, &upload, crc).await;
        if !matches!(seen, Ok(Some(_))) {
            // An upload that was completed is none any more: no error.
            let aborted = self.store.abort_upload(self.bucket, key, &upload).await;
            // Let the first error speak.
            return seen.and_then(|seen| aborted.map(|()| seen));
        }
        seen
    }

    async fn upload_parts(&self, key: &str, upload: &str, crc: bool) -> Result<Option<Upload>> {
        let bodies = [
            pattern(usize::try_from(PART_SIZE_MIN).unwrap_or(usize::MAX))?,
            Bytes::from_static(b"v"),
        ];
        let (mut parts, mut etags_are_md5) = (Vec::new(), true);
        if crc && !self.refuses_wrong_part(key, upload, &bodies[1]).await? {
            return Ok(None);
        }
        for (number, body) in (1..).zip(bodies) {
            let (md5, crc64, size) = (Md5Sum::of(&body), Crc64::of(&body), body.len() as u64);
            let check = if crc {
                WireCheck::Crc64(crc64)
            } else {
                WireCheck::Md5(md5)
            };
            let send = || {
                self.store
                    .try_upload_part(self.bucket, key, upload, number, body.clone(), check)
            };
            let Some(sent) = self.accepted(resend(send).await)? else {
                return Ok(None);
            };
            if crc && !is_right(sent.crc64.as_deref(), crc64) {
                return Ok(None);
            }
            etags_are_md5 &= Md5Sum::from_etag(&sent.etag) == Some(md5);
            parts.push(SentPart {
                number,
                size,
                etag: sent.etag,
                crc64,
            });
        }
        let whole = parts.iter().fold(Crc64(0), |crc, part| crc.then(part.crc64, part.size));
        let Some((done, seen)) = self.complete(key, upload, &parts, crc.then_some(whole)).await? else {
            return Ok(None);
        };
        let told = [done.crc64.as_deref(), seen.crc64.as_deref()];
        if crc && !told.iter().all(|told| is_right(*told, whole)) {
            return Ok(None);
        }
        // Some stores tell no ETag when they complete; HEAD's is what everybody sees later.
        let expected = composite_etag(parts.iter().map(|part| part.etag.as_str()));
        let usual = expected.is_some_and(|etag| seen.etag == etag && (done.etag.is_empty() || done.etag == etag));
        Ok(Some(Upload {
            part_etags_are_md5: etags_are_md5,
            composite_etag: usual && etags_are_md5,
        }))
    }

    /// True when what was sent with a wrong checksum was refused for that, false when it was taken, or refused for
    /// anything else: then nothing is proven.
    fn is_called_wrong<T>(&self, answer: Result<T>) -> Result<bool> {
        match answer {
            Err(error) if calls_wrong(&error) => Ok(true),
            other => self.accepted(other).map(|_| false),
        }
    }

    /// None when it was refused, or met a conflict that lasts: what was tried is left out then.
    fn accepted<T>(&self, answer: Result<T>) -> Result<Option<T>> {
        match answer {
            Err(error) if is_refusal(&error) || error.status() == Some(409) => {
                self.note(&error);
                Ok(None)
            }
            other => other.map(Some),
        }
    }

    fn note(&self, error: &Error) {
        if error.status().is_none_or(is_beside_the_point) {
            tracing::warn!("probe bucket {}: what it does is not settled: {error}", self.bucket);
            self.is_unsettled.store(true, Ordering::Relaxed);
        }
    }

    async fn refuses_wrong_part(&self, key: &str, upload: &str, body: &Bytes) -> Result<bool> {
        let wrong = WireCheck::Crc64(Crc64(!Crc64::of(body).0));
        self.is_called_wrong(
            self.store
                .try_upload_part(self.bucket, key, upload, 2, body.clone(), wrong)
                .await,
        )
    }

    /// The object as its completion and as HEAD tell of it.
    async fn complete(
        &self,
        key: &str,
        upload: &str,
        parts: &[SentPart],
        whole: Option<Crc64>,
    ) -> Result<Option<(ObjectInfo, ObjectInfo)>> {
        let effort = self.store.effort(self.store.retry().operation_timeout);
        let once = self
            .store
            .try_complete_upload(self.bucket, key, upload, parts, whole, &effort)
            .await;
        let done = match self.accepted(once) {
            Ok(None) => return Ok(None),
            Ok(Some(done)) => done,
            // The answer may have been lost, which this settles.
            Err(_) => {
                self.store
                    .complete_upload(self.bucket, key, upload, parts, whole)
                    .await?
            }
        };
        self.keep(key, &done);
        let seen = self.store.head_fresh(self.bucket, key).await?;
        let size: u64 = parts.iter().map(|part| part.size).sum();
        if seen.size != size {
            let what = format!(
                "probe {}/{key}: {size} bytes were sent, {} are on the store",
                self.bucket, seen.size
            );
            return Err(Error::new(Kind::Corrupt, what));
        }
        Ok(Some((done, seen)))
    }
}

/// Right, or not told.
fn is_right(told: Option<&str>, crc64: Crc64) -> bool {
    told.is_none_or(|told| told == crc64.to_base64())
}

/// True for answers that a busy store, or something before it, gives whatever was asked. 501 is no such answer: it says
/// that the store does not know what was tried.
fn is_beside_the_point(status: u16) -> bool {
    matches!(status, 401 | 403 | 409 | 500 | 502..)
}

/// True when the store says that the bytes are not those of the checksum.
fn calls_wrong(error: &Error) -> bool {
    error.status() == Some(400) || (error.kind() == Kind::Corrupt && !error.status().is_some_and(is_beside_the_point))
}

fn pattern(len: usize) -> Result<Bytes> {
    let mut body = Vec::new();
    let fits = body.try_reserve_exact(len);
    fits.map_err(|_| Error::new(Kind::NoMemory, format!("allocate {len} bytes to probe with")))?;
    body.extend((0..len).map(|at| (at % 251) as u8));
    Ok(body.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_is_called_wrong_by_400_or_its_code_alone() {
        let error = |kind, status| Error::new(kind, "put b/k").with_status(status);
        for yes in [
            error(Kind::Corrupt, 400),
            error(Kind::Unavailable, 400),
            error(Kind::Corrupt, 422),
        ] {
            assert!(calls_wrong(&yes), "{yes:?}");
        }
        for no in [
            error(Kind::PreconditionFailed, 409),
            error(Kind::AccessDenied, 403),
            error(Kind::Unsupported, 501),
            error(Kind::Unavailable, 503),
            Error::new(Kind::Unsupported, "a success that cannot be read"),
        ] {
            assert!(!calls_wrong(&no), "{no:?}");
        }
    }
}
