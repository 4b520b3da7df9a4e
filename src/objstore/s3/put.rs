//! PutObject, until it is clear what the store has.

use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use futures::FutureExt;

use super::read_back::compare;
use super::resend::{RESENDS, is_doubtful, is_proven, resend};
use super::sdk_error;
use super::store::{Store, len_i64, path};
use super::types::{ObjectInfo, SentPart, WireCheck};
use crate::config::Bucket;
use crate::engine::checksum::{Crc64, Md5Sum, bare_etag};
use crate::error::{Error, Kind, Result};

impl Store {
    /// PutObject of a body in memory. `metadata` becomes `x-amz-meta-*`; `only_new` sends `If-None-Match: *`.
    pub async fn put(
        &self,
        bucket: &Bucket,
        key: &str,
        body: Bytes,
        check: WireCheck,
        metadata: &[(String, String)],
        only_new: bool,
    ) -> Result<ObjectInfo> {
        let object = resend(|| self.try_put(bucket, key, body.clone(), check, metadata, only_new)).await?;
        let object = if is_doubtful(self.known(bucket), check, &object.etag) {
            // What is there now is our own and may be damaged: it is put over, whatever was asked for.
            let put = || self.try_put(bucket, key, body.clone(), check, metadata, false);
            self.send_until_clear(bucket, check, |object: &ObjectInfo| &object.etag, put)
                .await?
        } else {
            object
        };
        self.settle_put(bucket, key, &body, check, &object).await?;
        Ok(object)
    }

    /// [`Store::put`] that takes no for an answer.
    pub(in crate::objstore) async fn try_put(
        &self,
        bucket: &Bucket,
        key: &str,
        body: Bytes,
        check: WireCheck,
        metadata: &[(String, String)],
        only_new: bool,
    ) -> Result<ObjectInfo> {
        let size = body.len() as u64;
        let mut request = self
            .shared
            .client
            .put_object()
            .bucket(bucket)
            .key(key)
            .content_length(len_i64(size));
        for (name, value) in metadata {
            request = request.metadata(name, value);
        }
        request = match check {
            WireCheck::None => request,
            WireCheck::Crc64(crc) => request.checksum_crc64_nvme(crc.to_base64()),
            WireCheck::Md5(md5) => request.content_md5(md5.to_base64()),
        };
        if only_new {
            request = request.if_none_match("*");
        }
        let sent = request
            .body(ByteStream::from(body))
            .customize()
            .disable_payload_signing();
        let sent = sent.config_override(self.deadlines(size)).send().boxed().await;
        let reply = sent.map_err(|e| sdk_error::convert("put", &path(bucket, key), &e))?;
        Ok(ObjectInfo {
            size,
            etag: bare_etag(reply.e_tag().unwrap_or_default()).to_owned(),
            version_id: reply.version_id().map(ToOwned::to_owned),
            crc64: reply.checksum_crc64_nvme().map(ToOwned::to_owned),
            ..ObjectInfo::default()
        })
    }

    /// Sends until the ETag leaves no doubt, three times at most; then the bucket's ETags are no MD5s any more.
    pub(in crate::objstore) async fn send_until_clear<T, F: Future<Output = Result<T>>>(
        &self,
        bucket: &Bucket,
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

    fn etags_are_no_md5s(&self, bucket: &Bucket) {
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
        bucket: &Bucket,
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
