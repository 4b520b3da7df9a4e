//! Small objects: what their ETag is, whether metadata stay, whether a wrong checksum and a second put under the
//! condition that there be no object yet are refused.

use bytes::Bytes;

use super::run::{METADATA, Probe, is_right};
use crate::engine::checksum::{Crc64, Md5Sum};
use crate::error::{Error, Kind, Result};
use crate::objstore::s3::capabilities::Capabilities;
use crate::objstore::s3::resend::resend;
use crate::objstore::s3::types::{ObjectInfo, WireCheck};

/// A clean-up of another host may take the probe's object away, so one put that is not refused proves nothing yet; it
/// has put the object again.
const CONDITIONAL_PUTS: usize = 3;

impl Probe<'_> {
    /// A small object: its ETag, its metadata, what a wrong Content-MD5 and a second conditional put are answered.
    pub(super) async fn put(&self, key: &str) -> Result<Capabilities> {
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

    pub(super) async fn crc_put(&self, key: &str) -> Result<bool> {
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
}
