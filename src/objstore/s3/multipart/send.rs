//! An upload is begun, its parts are sent or copied, and what is not wanted any more is aborted.
//!
//! A part may be sent twice at a time ([`super::super::hedge`]) where the same bytes have the same ETag twice. Left
//! out: completion, see `complete`. How it fails: with the store's refusal, or that no upload id or ETag came back.

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumType};
use bytes::Bytes;
use futures::FutureExt;

use super::UploadRef;
use crate::config::Bucket;
use crate::engine::checksum::bare_etag;
use crate::error::{Error, Found, Kind, Result};
use crate::objstore::s3::sdk_error;
use crate::objstore::s3::store::{Store, len_i64, path};
use crate::objstore::s3::types::{PartSpan, WireCheck};

/// What UploadPart is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartAnswer {
    pub etag: String,
    /// As base64, where the server tells it.
    pub crc64: Option<String>,
}

impl Store {
    /// CreateMultipartUpload; gives the upload id.
    pub async fn begin_upload(
        &self,
        bucket: &Bucket,
        key: &str,
        metadata: &[(String, String)],
        crc64: bool,
    ) -> Result<String> {
        let mut request = self.shared.client.create_multipart_upload().bucket(bucket).key(key);
        for (name, value) in metadata {
            request = request.metadata(name, value);
        }

        if crc64 {
            request = request
                .checksum_algorithm(ChecksumAlgorithm::Crc64Nvme)
                .checksum_type(ChecksumType::FullObject);
        }

        let sent = request
            .customize()
            .config_override(self.deadlines(0))
            .send()
            .boxed()
            .await;
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
        upload: UploadRef<'_>,
        number: u32,
        body: Bytes,
        check: WireCheck,
    ) -> Result<PartAnswer> {
        let hedges = &self.shared.hedges;
        let size = body.len() as u64;
        let send = || self.try_upload_part(upload, number, body.clone(), check);

        // Where an ETag is no MD5 each try may have its own: the loser that lands last would make ours wrong.
        let is_same_twice = self.known(upload.bucket).etag_is_md5;
        let race = || async {
            if is_same_twice {
                hedges.race("UploadPart", size, send).await
            } else {
                send().await
            }
        };

        let sent = self
            .send_until_clear(upload.bucket, check, |part: &PartAnswer| &part.etag, race)
            .await;

        sent.inspect(|_| hedges.earn(size))
    }

    /// [`Store::upload_part`] that takes no for an answer.
    pub(in crate::objstore) async fn try_upload_part(
        &self,
        upload: UploadRef<'_>,
        number: u32,
        body: Bytes,
        check: WireCheck,
    ) -> Result<PartAnswer> {
        let UploadRef { bucket, key, id } = upload;
        let size = body.len() as u64;
        let request = self.shared.client.upload_part().bucket(bucket).key(key).upload_id(id);
        let request = request.part_number(number_i32(number)).content_length(len_i64(size));
        let request = match check {
            WireCheck::None => request,
            WireCheck::Crc64(crc) => request.checksum_crc64_nvme(crc.to_base64()),
            WireCheck::Md5(md5) => request.content_md5(md5.to_base64()),
        };

        let sent = request
            .body(ByteStream::from(body))
            .customize()
            .disable_payload_signing();
        let sent = sent.config_override(self.deadlines(size)).send().boxed().await;
        let what = format!("send part {number} of");
        let reply = sent.map_err(|e| sdk_error::convert(&what, &path(bucket, key), &e))?;
        let etag = etag_of(reply.e_tag(), &what, bucket, key)?;

        Ok(PartAnswer {
            etag,
            crc64: reply.checksum_crc64_nvme().map(ToOwned::to_owned),
        })
    }

    /// UploadPartCopy of one part of object `from` of the same bucket, under its own number; gives the part's ETag.
    pub async fn copy_part(&self, upload: UploadRef<'_>, from: &str, span: PartSpan) -> Result<String> {
        let UploadRef { bucket, key, id } = upload;
        let PartSpan {
            number,
            offset,
            size: len,
            ..
        } = span;
        let request = self
            .shared
            .client
            .upload_part_copy()
            .bucket(bucket)
            .key(key)
            .upload_id(id);
        let request = request
            .part_number(number_i32(number))
            .copy_source(format!("{bucket}/{}", escape_path(from)));
        let request = request.copy_source_range(format!("bytes={offset}-{}", offset + len.saturating_sub(1)));
        let sent = request
            .customize()
            .config_override(self.deadlines(len))
            .send()
            .boxed()
            .await;
        let what = format!("copy part {number} of");
        let reply = sent.map_err(|e| sdk_error::convert(&what, &path(bucket, key), &e))?;

        etag_of(reply.copy_part_result().and_then(|r| r.e_tag()), &what, bucket, key)
    }

    /// AbortMultipartUpload; aborting what is not there is no error.
    pub async fn abort_upload(&self, upload: UploadRef<'_>) -> Result<()> {
        let UploadRef { bucket, key, id } = upload;
        let request = self
            .shared
            .client
            .abort_multipart_upload()
            .bucket(bucket)
            .key(key)
            .upload_id(id);
        let sent = request
            .customize()
            .config_override(self.deadlines(0))
            .send()
            .boxed()
            .await;
        sent.map_err(|e| sdk_error::convert("abort upload of", &path(bucket, key), &e))
            .if_found()
            .map(drop)
    }
}

pub(in crate::objstore) fn etag_of(etag: Option<&str>, what: &str, bucket: &Bucket, key: &str) -> Result<String> {
    let etag = bare_etag(etag.unwrap_or_default());
    if etag.is_empty() {
        return Err(Error::new(
            Kind::Unavailable,
            format!("{what} {}: no ETag came back", path(bucket, key)),
        ));
    }
    Ok(etag.to_owned())
}

/// Keys use a portable alphabet; only `=` needs care in a copy-source header.
pub(in crate::objstore) fn escape_path(key: &str) -> String {
    key.replace('%', "%25").replace('=', "%3D").replace('+', "%2B")
}

pub(super) fn number_i32(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
