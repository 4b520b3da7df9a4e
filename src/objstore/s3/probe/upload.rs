//! An upload of two parts, completed: some stores check each part and get the checksum or the ETag of several wrong.

use bytes::Bytes;

use super::run::{Probe, is_right};
use crate::config::PART_SIZE_MIN;
use crate::engine::checksum::{Crc64, Md5Sum, composite_etag};
use crate::error::{Error, Kind, Result};
use crate::objstore::s3::multipart::UploadRef;
use crate::objstore::s3::resend::resend;
use crate::objstore::s3::types::{ObjectInfo, SentPart, WireCheck};

/// What an upload of two parts showed.
#[derive(Clone, Copy)]
pub(super) struct Seen {
    pub part_etags_are_md5: bool,
    pub composite_etag: bool,
}

/// The two parts, and what their ETags are.
struct SentParts {
    parts: Vec<SentPart>,
    etags_are_md5: bool,
}

impl Probe<'_> {
    /// Two parts, proven by CRC64NVME or by MD5; None when the server does not do that, or gets it wrong.
    pub(super) async fn upload(&self, key: &str, crc: bool) -> Result<Option<Seen>> {
        let begun = self.store.begin_upload(self.bucket, key, &self.metadata, crc).await;
        let Some(id) = self.accepted(begun)? else {
            return Ok(None);
        };
        let upload = UploadRef {
            bucket: self.bucket,
            key,
            id: &id,
        };

        let seen = self.upload_parts(upload, crc).await;
        if !matches!(seen, Ok(Some(_))) {
            // An upload that was completed is none any more: no error.
            let aborted = self.store.abort_upload(upload).await;
            // Let the first error speak.
            return seen.and_then(|seen| aborted.map(|()| seen));
        }

        seen
    }

    async fn upload_parts(&self, upload: UploadRef<'_>, crc: bool) -> Result<Option<Seen>> {
        let Some(SentParts { parts, etags_are_md5 }) = self.send_parts(upload, crc).await? else {
            return Ok(None);
        };
        let whole = parts.iter().fold(Crc64(0), |crc, part| crc.then(part.crc64, part.size));
        let Some((done, seen)) = self.complete(upload, &parts, crc.then_some(whole)).await? else {
            return Ok(None);
        };

        let told = [done.crc64.as_deref(), seen.crc64.as_deref()];
        if crc && !told.iter().all(|told| is_right(*told, whole)) {
            return Ok(None);
        }

        // Some stores tell no ETag when they complete; HEAD's is what everybody sees later.
        let expected = composite_etag(parts.iter().map(|part| part.etag.as_str()));
        let usual = expected.is_some_and(|etag| seen.etag == etag && (done.etag.is_empty() || done.etag == etag));

        Ok(Some(Seen {
            part_etags_are_md5: etags_are_md5,
            composite_etag: usual && etags_are_md5,
        }))
    }

    async fn send_parts(&self, upload: UploadRef<'_>, crc: bool) -> Result<Option<SentParts>> {
        let bodies = [
            pattern(usize::try_from(PART_SIZE_MIN).unwrap_or(usize::MAX))?,
            Bytes::from_static(b"v"),
        ];
        if crc && !self.refuses_wrong_part(upload, &bodies[1]).await? {
            return Ok(None);
        }

        let mut parts = Vec::new();
        let mut etags_are_md5 = true;
        for (number, body) in (1..).zip(bodies) {
            let md5 = Md5Sum::of(&body);
            let crc64 = Crc64::of(&body);
            let size = body.len() as u64;
            let check = if crc {
                WireCheck::Crc64(crc64)
            } else {
                WireCheck::Md5(md5)
            };

            let send = || self.store.try_upload_part(upload, number, body.clone(), check);
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

        Ok(Some(SentParts { parts, etags_are_md5 }))
    }

    async fn refuses_wrong_part(&self, upload: UploadRef<'_>, body: &Bytes) -> Result<bool> {
        let wrong = WireCheck::Crc64(Crc64(!Crc64::of(body).0));
        self.is_called_wrong(self.store.try_upload_part(upload, 2, body.clone(), wrong).await)
    }

    /// The object as its completion and as HEAD tell of it.
    async fn complete(
        &self,
        upload: UploadRef<'_>,
        parts: &[SentPart],
        whole: Option<Crc64>,
    ) -> Result<Option<(ObjectInfo, ObjectInfo)>> {
        let effort = self.store.effort(self.store.retry().operation_timeout);
        let once = self.store.try_complete_upload(upload, parts, whole, &effort).await;
        let done = match self.accepted(once) {
            Ok(None) => return Ok(None),
            Ok(Some(done)) => done,
            // The answer may have been lost, which this settles.
            Err(_) => self.store.complete_upload(upload, parts, whole).await?,
        };

        self.keep(upload.key, &done);
        let seen = self.store.head_fresh(self.bucket, upload.key).await?;
        let size: u64 = parts.iter().map(|part| part.size).sum();
        if seen.size != size {
            let what = format!(
                "probe {}/{}: {size} bytes were sent, {} are on the store",
                self.bucket, upload.key, seen.size
            );
            return Err(Error::new(Kind::Corrupt, what));
        }

        Ok(Some((done, seen)))
    }
}

fn pattern(len: usize) -> Result<Bytes> {
    let mut body = Vec::new();
    let fits = body.try_reserve_exact(len);
    fits.map_err(|_| Error::new(Kind::NoMemory, format!("allocate {len} bytes to probe with")))?;
    body.extend((0..len).map(|at| (at % 251) as u8));
    Ok(body.into())
}
