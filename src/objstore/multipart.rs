//! The S3 operations of multipart uploads.

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumType, CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;

use super::checksum::{Crc64, bare_etag};
use super::client::{ObjectInfo, SentPart, Store, WireCheck, len_i64, path};
use super::download::PartSpan;
use super::sdk_error;
use crate::error::{Error, Kind, Result};

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

    /// UploadPart; gives the part's ETag.
    pub async fn upload_part(
        &self,
        bucket: &str,
        key: &str,
        upload: &str,
        number: u32,
        body: Bytes,
        check: WireCheck,
    ) -> Result<String> {
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
        etag_of(reply.e_tag(), &what, bucket, key)
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

    /// CompleteMultipartUpload; an answer lost on the way is settled by HEAD.
    pub async fn complete_upload(
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
        let size: u64 = parts.iter().map(|part| part.size).sum();
        // Servers may put the object together before they answer; how long is not a matter of our line.
        let patience = self.patience_of(self.shared.retry.operation_timeout);
        let sent = request.multipart_upload(list).customize().config_override(patience).send().await;
        match sent.map_err(|e| sdk_error::convert("complete upload of", &path(bucket, key), &e)) {
            Ok(reply) => Ok(ObjectInfo {
                size,
                etag: bare_etag(reply.e_tag().unwrap_or_default()).to_owned(),
                version_id: reply.version_id().map(ToOwned::to_owned),
                crc64: reply.checksum_crc64_nvme().map(ToOwned::to_owned),
            }),
            // A retry after a lost answer finds the upload gone; the object itself tells what became of it.
            Err(error) if error.kind() == Kind::NotFound => match self.head(bucket, key).await {
                Ok(found) if found.size == size => Ok(found),
                _ => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    /// AbortMultipartUpload; aborting what is not there is no error.
    pub async fn abort_upload(&self, bucket: &str, key: &str, upload: &str) -> Result<()> {
        let request = self.shared.client.abort_multipart_upload().bucket(bucket).key(key).upload_id(upload);
        let sent = request.customize().config_override(self.patience(0)).send().await;
        match sent.map_err(|e| sdk_error::convert("abort upload of", &path(bucket, key), &e)) {
            Err(error) if error.kind() == Kind::NotFound => Ok(()),
            other => other.map(drop),
        }
    }

    /// Keys of the bucket's unfinished uploads, first page; with their upload ids.
    pub async fn list_uploads(&self, bucket: &str) -> Result<Vec<(String, String)>> {
        let sent = self.shared.client.list_multipart_uploads().bucket(bucket).send().await;
        let reply = sent.map_err(|e| sdk_error::convert("list uploads of", bucket, &e))?;
        let pair = |u: &aws_sdk_s3::types::MultipartUpload| Some((u.key()?.to_owned(), u.upload_id()?.to_owned()));
        Ok(reply.uploads().iter().filter_map(pair).collect())
    }
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
