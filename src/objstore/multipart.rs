//! The S3 operations of multipart uploads.

use std::time::{Duration, Instant};

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumType, CompletedMultipartUpload, CompletedPart, ObjectAttributes};
use bytes::Bytes;

use super::checksum::{Crc64, bare_etag};
use super::client::{ObjectInfo, SentPart, Store, WireCheck, len_i64, path, seconds};
use super::download::PartSpan;
use super::proof::resend;
use super::sdk_error;
use crate::error::{Error, Found, Kind, Result};

/// One attempt at completing an upload gets this share of `operation_timeout`.
const COMPLETE_SHARES: u32 = 3;

/// The first wait for a cluster that lists parts and does not find them; doubles.
const SETTLE_FIRST: Duration = Duration::from_millis(500);

/// An upload that was begun and neither completed nor aborted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedUpload {
    pub key: String,
    pub id: String,
    /// Seconds since 1970 by the server's clock.
    pub initiated: u64,
}

/// Where the next page of uploads begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadMarker {
    key: String,
    id: Option<String>,
}

#[derive(Debug)]
pub struct UploadPage {
    pub uploads: Vec<ListedUpload>,
    pub next: Option<UploadMarker>,
}

/// What UploadPart is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartAnswer {
    pub etag: String,
    /// As base64, where the server tells it.
    pub crc64: Option<String>,
}

/// A part as the server tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredPart {
    pub number: u32,
    pub size: u64,
    /// Empty where the call does not tell.
    pub etag: String,
    pub crc64: Option<Crc64>,
}

impl Store {
    /// CreateMultipartUpload; gives the upload id.
    pub async fn begin_upload(
        &self,
        bucket: &str,
        key: &str,
        metadata: &[(String, String)],
        crc64: bool,
    ) -> Result<String> {
        let mut request = self.shared.client.create_multipart_upload().bucket(bucket).key(key);
        for (name, value) in metadata {
            request = request.metadata(name, value);
        }
        if crc64 {
            request = request.checksum_algorithm(ChecksumAlgorithm::Crc64Nvme).checksum_type(ChecksumType::FullObject);
        }
        let sent = request.customize().config_override(self.patience(0)).send().await;
        let reply = sent.map_err(|e| sdk_error::convert("begin upload of", &path(bucket, key), &e))?;
        let id = reply.upload_id().unwrap_or_default();
        if id.is_empty() {
            return Err(Error::new(
                Kind::Unavailable,
                format!("begin upload of {}: no upload id came back", path(bucket, key)),
            ));
        }
        Ok(id.to_owned())
    }

    /// UploadPart; gives what the store tells of the part.
    pub async fn upload_part(
        &self,
        bucket: &str,
        key: &str,
        upload: &str,
        number: u32,
        body: Bytes,
        check: WireCheck,
    ) -> Result<PartAnswer> {
        let (hedges, size) = (&self.shared.hedges, body.len() as u64);
        let send = || self.try_upload_part(bucket, key, upload, number, body.clone(), check);
        let race = || hedges.race("UploadPart", size, send);
        let sent = self.send_until_clear(bucket, check, |part: &PartAnswer| &part.etag, race).await;
        sent.inspect(|_| hedges.earn(size))
    }

    /// [`Store::upload_part`] that takes no for an answer.
    pub(super) async fn try_upload_part(
        &self,
        bucket: &str,
        key: &str,
        upload: &str,
        number: u32,
        body: Bytes,
        check: WireCheck,
    ) -> Result<PartAnswer> {
        let size = body.len() as u64;
        let request = self.shared.client.upload_part().bucket(bucket).key(key).upload_id(upload);
        let request = request.part_number(number_i32(number)).content_length(len_i64(size));
        let request = match check {
            WireCheck::None => request,
            WireCheck::Crc64(crc) => request.checksum_crc64_nvme(crc.to_base64()),
            WireCheck::Md5(md5) => request.content_md5(md5.to_base64()),
        };
        let sent = request.body(ByteStream::from(body)).customize().disable_payload_signing();
        let sent = sent.config_override(self.patience(size)).send().await;
        let what = format!("send part {number} of");
        let reply = sent.map_err(|e| sdk_error::convert(&what, &path(bucket, key), &e))?;
        let etag = etag_of(reply.e_tag(), &what, bucket, key)?;
        Ok(PartAnswer { etag, crc64: reply.checksum_crc64_nvme().map(ToOwned::to_owned) })
    }

    /// UploadPartCopy of one part of object `from` of the same bucket, under its own number; gives the part's ETag.
    pub async fn copy_part(&self, bucket: &str, key: &str, upload: &str, from: &str, span: PartSpan) -> Result<String> {
        let PartSpan { number, offset, size: len, .. } = span;
        let request = self.shared.client.upload_part_copy().bucket(bucket).key(key).upload_id(upload);
        let request = request.part_number(number_i32(number)).copy_source(format!("{bucket}/{}", escape_path(from)));
        let request = request.copy_source_range(format!("bytes={offset}-{}", offset + len.saturating_sub(1)));
        let sent = request.customize().config_override(self.patience(len)).send().await;
        let what = format!("copy part {number} of");
        let reply = sent.map_err(|e| sdk_error::convert(&what, &path(bucket, key), &e))?;
        etag_of(reply.copy_part_result().and_then(|r| r.e_tag()), &what, bucket, key)
    }

    /// CompleteMultipartUpload; an answer lost on the way is settled by HEAD. The caller compares ETag and CRC, which may
    /// be those of HEAD.
    pub async fn complete_upload(
        &self,
        bucket: &str,
        key: &str,
        upload: &str,
        parts: &[SentPart],
        crc64: Option<Crc64>,
    ) -> Result<ObjectInfo> {
        let size: u64 = parts.iter().map(|part| part.size).sum();
        let (began, mut wait) = (Instant::now(), SETTLE_FIRST);
        loop {
            let error = match resend(|| self.try_complete_upload(bucket, key, upload, parts, crc64)).await {
                Ok(object) => return Ok(object),
                Err(error) => error,
            };
            // The answer may have been lost; then the upload is gone, which each server says in its own way. Nothing but
            // its completion makes an object of this key, so the object itself tells.
            if let Ok(found) = self.head(bucket, key).await
                && found.size == size
            {
                return Ok(found);
            }
            let in_time = began.elapsed() + wait < self.shared.retry.operation_timeout / COMPLETE_SHARES;
            if error.kind() != Kind::Corrupt || !in_time || !self.has_parts(bucket, key, upload, parts).await {
                return Err(error);
            }
            tracing::warn!("the parts are there; again in {wait:?}: {error}");
            tokio::time::sleep(wait).await;
            wait *= 2;
        }
    }

    /// True when the server itself lists every part as it was sent: a node that is back from an outage refuses a
    /// completion until it has caught up.
    async fn has_parts(&self, bucket: &str, key: &str, upload: &str, parts: &[SentPart]) -> bool {
        let Ok(Some(stored)) = self.list_parts(bucket, key, upload).await else { return false };
        let same = |part: &SentPart| {
            stored.iter().any(|is| (is.number, is.size, &is.etag) == (part.number, part.size, &part.etag))
        };
        parts.iter().all(same)
    }

    /// One request to complete an upload; the answer may have no ETag.
    pub(super) async fn try_complete_upload(
        &self,
        bucket: &str,
        key: &str,
        upload: &str,
        parts: &[SentPart],
        crc64: Option<Crc64>,
    ) -> Result<ObjectInfo> {
        let listed = parts.iter().map(|part| {
            let own = crc64.is_some().then(|| part.crc64.to_base64());
            let built = CompletedPart::builder().part_number(number_i32(part.number)).e_tag(&part.etag);
            built.set_checksum_crc64_nvme(own).build()
        });
        let list = CompletedMultipartUpload::builder().set_parts(Some(listed.collect())).build();
        let mut request = self.shared.client.complete_multipart_upload().bucket(bucket).key(key).upload_id(upload);
        if let Some(crc64) = crc64 {
            request = request.checksum_type(ChecksumType::FullObject).checksum_crc64_nvme(crc64.to_base64());
        }
        // Servers may put the object together before they answer; how long is not a matter of our line. A part of the
        // time is kept for those that were never asked: their address died with the request.
        let patience = self.patience_of(self.shared.retry.operation_timeout / COMPLETE_SHARES);
        let sent = request.multipart_upload(list).customize().config_override(patience).send().await;
        let reply = sent.map_err(|e| sdk_error::convert("complete upload of", &path(bucket, key), &e))?;
        Ok(ObjectInfo {
            size: parts.iter().map(|part| part.size).sum(),
            etag: bare_etag(reply.e_tag().unwrap_or_default()).to_owned(),
            version_id: reply.version_id().map(ToOwned::to_owned),
            crc64: reply.checksum_crc64_nvme().map(ToOwned::to_owned),
            ..ObjectInfo::default()
        })
    }

    /// AbortMultipartUpload; aborting what is not there is no error.
    pub async fn abort_upload(&self, bucket: &str, key: &str, upload: &str) -> Result<()> {
        let request = self.shared.client.abort_multipart_upload().bucket(bucket).key(key).upload_id(upload);
        let sent = request.customize().config_override(self.patience(0)).send().await;
        sent.map_err(|e| sdk_error::convert("abort upload of", &path(bucket, key), &e)).if_found().map(drop)
    }

    /// One page of ListMultipartUploads of the whole bucket, at most 1,000. No prefix is sent: MinIO takes one for a key.
    pub async fn list_uploads(&self, bucket: &str, after: Option<UploadMarker>) -> Result<UploadPage> {
        let page = || async {
            let mut request = self.shared.client.list_multipart_uploads().bucket(bucket);
            if let Some(UploadMarker { key, id }) = after.clone() {
                request = request.key_marker(key).set_upload_id_marker(id);
            }
            request.send().await.map_err(|e| sdk_error::convert("list uploads of", bucket, &e))
        };
        let reply = self.shared.hedges.ask("ListMultipartUploads", page).await?;
        let upload = |u: &aws_sdk_s3::types::MultipartUpload| {
            let (key, id) = (u.key()?.to_owned(), u.upload_id()?.to_owned());
            Some(ListedUpload { key, id, initiated: seconds(u.initiated()) })
        };
        let marker = || {
            let (key, id) = (reply.next_key_marker()?.to_owned(), reply.next_upload_id_marker().map(ToOwned::to_owned));
            Some(UploadMarker { key, id })
        };
        let next = if reply.is_truncated().unwrap_or_default() { marker() } else { None };
        if next.is_some() && next == after {
            let what = format!("list uploads of {bucket}: the server repeats a marker");
            return Err(Error::new(Kind::Unavailable, what));
        }
        Ok(UploadPage { uploads: reply.uploads().iter().filter_map(upload).collect(), next })
    }

    /// ListParts: all parts of an upload, in order; None when there is no such upload.
    pub async fn list_parts(&self, bucket: &str, key: &str, upload: &str) -> Result<Option<Vec<StoredPart>>> {
        let (mut parts, mut marker) = (Vec::new(), None);
        loop {
            let page = || async {
                let request = self.shared.client.list_parts().bucket(bucket).key(key).upload_id(upload);
                let sent = request.set_part_number_marker(marker.clone()).send().await;
                sent.map_err(|e| sdk_error::convert("list parts of", &path(bucket, key), &e))
            };
            let asked = self.shared.hedges.ask("ListParts", page).await;
            let Some(reply) = asked.if_found()? else { return Ok(None) };
            parts.extend(reply.parts().iter().filter_map(StoredPart::of));
            let next = reply.next_part_number_marker().filter(|_| reply.is_truncated().unwrap_or_default());
            if next.is_none() || next == marker.as_deref() {
                // S3 orders them; a server that does not must not make us see gaps.
                parts.sort_by_key(|part: &StoredPart| part.number);
                return Ok(Some(parts));
            }
            marker = next.map(ToOwned::to_owned);
        }
    }

    /// GetObjectAttributes: the parts that a finished object was made of. None where the server does not tell: VAST
    /// does not document the call, and of an object put in one piece there are none.
    pub async fn object_parts(&self, bucket: &str, key: &str) -> Result<Option<Vec<StoredPart>>> {
        let (mut parts, mut marker) = (Vec::new(), None);
        loop {
            let page = || async {
                let request = self.shared.client.get_object_attributes().bucket(bucket).key(key);
                let request = request.object_attributes(ObjectAttributes::ObjectParts).max_parts(1_000);
                let sent = request.set_part_number_marker(marker.clone()).send().await;
                sent.map_err(|e| sdk_error::convert("get attributes of", &path(bucket, key), &e))
            };
            let reply = match self.shared.hedges.ask("GetObjectAttributes", page).await {
                Err(error) if matches!(error.kind(), Kind::Unsupported | Kind::InvalidArgument) => return Ok(None),
                other => other?,
            };
            let Some(page) = reply.object_parts() else { return Ok(None) };
            parts.extend(page.parts().iter().filter_map(StoredPart::of_object));
            let next = page.next_part_number_marker().filter(|_| page.is_truncated().unwrap_or_default());
            if next.is_none() || next == marker.as_deref() {
                return Ok(Some(parts).filter(|parts: &Vec<_>| !parts.is_empty()));
            }
            marker = next.map(ToOwned::to_owned);
        }
    }
}

impl StoredPart {
    fn of(part: &aws_sdk_s3::types::Part) -> Option<Self> {
        let etag = bare_etag(part.e_tag().unwrap_or_default()).to_owned();
        let (number, size) = (number_u32(part.part_number())?, u64::try_from(part.size()?).ok()?);
        Some(Self { number, size, etag, crc64: part.checksum_crc64_nvme().and_then(Crc64::from_base64) })
    }

    fn of_object(part: &aws_sdk_s3::types::ObjectPart) -> Option<Self> {
        let (number, size) = (number_u32(part.part_number())?, u64::try_from(part.size()?).ok()?);
        let crc64 = part.checksum_crc64_nvme().and_then(Crc64::from_base64);
        Some(Self { number, size, etag: String::new(), crc64 })
    }
}

fn number_u32(number: Option<i32>) -> Option<u32> {
    number.and_then(|number| u32::try_from(number).ok())
}

fn etag_of(etag: Option<&str>, what: &str, bucket: &str, key: &str) -> Result<String> {
    let etag = bare_etag(etag.unwrap_or_default());
    if etag.is_empty() {
        return Err(Error::new(Kind::Unavailable, format!("{what} {}: no ETag came back", path(bucket, key))));
    }
    Ok(etag.to_owned())
}

/// Keys use a portable alphabet; only `=` needs care in a copy-source header.
fn escape_path(key: &str) -> String {
    key.replace('%', "%25").replace('=', "%3D").replace('+', "%2B")
}

fn number_i32(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
