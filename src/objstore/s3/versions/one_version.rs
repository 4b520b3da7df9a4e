//! HEAD of one version of an object, and copies of it that bring it back.

use aws_sdk_s3::types::ChecksumMode;
use futures::FutureExt;

use super::ObjectVersion;
use crate::config::Bucket;
use crate::error::Result;
use crate::objstore::s3::multipart::UploadRef;
use crate::objstore::s3::multipart::send::{escape_path, etag_of};
use crate::objstore::s3::sdk_error;
use crate::objstore::s3::store::{Store, path};
use crate::objstore::s3::types::{ObjectInfo, PartSpan};

impl Store {
    /// HEAD of one version.
    pub async fn head_version(&self, bucket: &Bucket, key: &str, version: &ObjectVersion) -> Result<ObjectInfo> {
        let ask = || async {
            let request = self
                .shared
                .client
                .head_object()
                .bucket(bucket)
                .key(key)
                .version_id(&version.id);
            let request = request.checksum_mode(ChecksumMode::Enabled);
            let sent = request
                .customize()
                .config_override(self.deadlines(0))
                .send()
                .boxed()
                .await;
            let reply = sent.map_err(|e| sdk_error::convert("head a version of", &path(bucket, key), &e))?;
            Ok(ObjectInfo::of_head(&reply))
        };

        self.shared.hedges.ask("HeadObject", ask).await
    }

    /// CopyObject of one version onto the key itself, which makes it the latest; at most 5 GiB by S3's rules.
    pub async fn copy_version(&self, bucket: &Bucket, key: &str, version: &ObjectVersion) -> Result<()> {
        let request = self.shared.client.copy_object().bucket(bucket).key(key);
        let request = request.copy_source(version_source(bucket, key, version));
        let sent = request
            .customize()
            .config_override(self.deadlines(version.size))
            .send()
            .boxed()
            .await;
        let what = format!("bring back version {} of", version.id);
        sent.map(drop)
            .map_err(|e| sdk_error::convert(&what, &path(bucket, key), &e))
    }

    /// UploadPartCopy of a range of one version; gives the part's ETag.
    pub async fn copy_version_part(
        &self,
        upload: UploadRef<'_>,
        version: &ObjectVersion,
        span: PartSpan,
    ) -> Result<String> {
        let UploadRef { bucket, key, id } = upload;
        let number = i32::try_from(span.number).unwrap_or(i32::MAX);
        let request = self
            .shared
            .client
            .upload_part_copy()
            .bucket(bucket)
            .key(key)
            .upload_id(id);
        let request = request
            .part_number(number)
            .copy_source(version_source(bucket, key, version));
        let last = span.offset + span.size.saturating_sub(1);
        let request = request.copy_source_range(format!("bytes={}-{last}", span.offset));
        let sent = request
            .customize()
            .config_override(self.deadlines(span.size))
            .send()
            .boxed()
            .await;
        let what = format!("bring back part {} of version {} of", span.number, version.id);
        let reply = sent.map_err(|e| sdk_error::convert(&what, &path(bucket, key), &e))?;

        etag_of(
            reply.copy_part_result().and_then(|result| result.e_tag()),
            &what,
            bucket,
            key,
        )
    }
}

fn version_source(bucket: &Bucket, key: &str, version: &ObjectVersion) -> String {
    let version = percent_encoding::utf8_percent_encode(&version.id, percent_encoding::NON_ALPHANUMERIC);
    format!("{bucket}/{}?versionId={version}", escape_path(key))
}
