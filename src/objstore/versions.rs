//! The S3 operations of buckets that keep versions, and what the store says of locks on an object.
//!
//! Locks are the store's own truth: retention (GOVERNANCE or COMPLIANCE, both respected) and legal hold, of each version.

use std::time::Instant;

use aws_sdk_s3::types::{BucketVersioningStatus, ChecksumMode};

use super::checksum::bare_etag;
use super::client::{ObjectInfo, Store, path, seconds};
use super::download::PartSpan;
use super::sdk_error;
use crate::error::{Error, Kind, Result};

/// Pages of versions of one key; each has up to 1,000.
const PAGES_MAX: usize = 1_000;

/// Whether a bucket keeps what is overwritten or deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Versioning {
    /// It never did.
    Off,
    /// It does, or did: there may be older versions.
    On,
    /// The store does not tell, or these keys may not ask.
    Unknown,
}

/// One version of an object, or the marker that a delete without a version leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectVersion {
    pub id: String,
    pub is_marker: bool,
    /// What a request without a version gets.
    pub is_latest: bool,
    pub size: u64,
    pub etag: String,
    /// Seconds since 1970 by the server's clock.
    pub modified: u64,
}

/// Why a version cannot be deleted now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lock {
    /// Seconds since 1970.
    RetainedUntil(u64),
    LegalHold,
}

impl Store {
    /// GetBucketVersioning.
    pub async fn versioning(&self, bucket: &str) -> Result<Versioning> {
        let ask = || async {
            let sent = self.shared.client.get_bucket_versioning().bucket(bucket).send().await;
            sent.map_err(|e| sdk_error::convert("get versioning of", bucket, &e))
        };
        match self.shared.hedges.ask("GetBucketVersioning", ask).await {
            Ok(reply) => Ok(match reply.status() {
                Some(BucketVersioningStatus::Enabled | BucketVersioningStatus::Suspended) => Versioning::On,
                Some(_) => Versioning::Unknown,
                None => Versioning::Off,
            }),
            Err(error) if does_not_tell(&error) => Ok(Versioning::Unknown),
            Err(error) => Err(error),
        }
    }

    /// Every version and marker of exactly this key, the latest last.
    pub async fn list_versions(&self, bucket: &str, key: &str) -> Result<Vec<ObjectVersion>> {
        // Longer keys that begin with this one come behind it.
        let found = self.versions_below(bucket, key, |next| next > key).await?;
        let mut found: Vec<_> = found.into_iter().filter(|(of, _)| of == key).map(|(_, version)| version).collect();
        found.sort_by_key(|version: &ObjectVersion| (version.is_latest, version.modified));
        Ok(found)
    }

    /// The keys below `prefix` that have a version, though a marker may hide it, in order.
    pub async fn list_versioned_keys(&self, bucket: &str, prefix: &str) -> Result<Vec<String>> {
        let found = self.versions_below(bucket, prefix, |_| false).await?;
        let mut keys: Vec<_> =
            found.into_iter().filter(|(_, version)| !version.is_marker).map(|(key, _)| key).collect();
        keys.sort();
        keys.dedup();
        Ok(keys)
    }

    /// Versions and markers below a prefix with their keys, up to the page after which `is_past` the next key.
    async fn versions_below(
        &self,
        bucket: &str,
        prefix: &str,
        is_past: impl Fn(&str) -> bool,
    ) -> Result<Vec<(String, ObjectVersion)>> {
        let (mut found, mut marker) = (Vec::new(), None::<(String, Option<String>)>);
        let deadline = Instant::now() + self.shared.retry.operation_timeout;
        let keyed = |key: Option<&str>, version: Option<ObjectVersion>| Some((key?.to_owned(), version?));
        for _ in 0..PAGES_MAX {
            let page = || async {
                let mut request = self.shared.client.list_object_versions().bucket(bucket).prefix(prefix);
                if let Some((key, version)) = marker.clone() {
                    request = request.key_marker(key).set_version_id_marker(version);
                }
                request.send().await.map_err(|e| sdk_error::convert("list versions of", &path(bucket, prefix), &e))
            };
            let reply = self.shared.hedges.ask("ListObjectVersions", page).await?;
            found.extend(reply.versions().iter().filter_map(|v| keyed(v.key(), version(v))));
            found.extend(reply.delete_markers().iter().filter_map(|m| keyed(m.key(), delete_marker(m))));
            let next =
                reply.next_key_marker().map(|key| (key.to_owned(), reply.next_version_id_marker().map(Into::into)));
            let past = next.as_ref().is_none_or(|(next, _)| is_past(next));
            if past || !reply.is_truncated().unwrap_or_default() {
                return Ok(found);
            }
            if next == marker || Instant::now() > deadline {
                break;
            }
            marker = next;
        }
        let what = format!("list versions of {}: the list does not end", path(bucket, prefix));
        Err(Error::new(Kind::Unavailable, what))
    }

    /// HEAD of one version.
    pub async fn head_version(&self, bucket: &str, key: &str, version: &str) -> Result<ObjectInfo> {
        let ask = || async {
            let request = self.shared.client.head_object().bucket(bucket).key(key).version_id(version);
            let request = request.checksum_mode(ChecksumMode::Enabled);
            let sent = request.customize().config_override(self.patience(0)).send().await;
            let reply = sent.map_err(|e| sdk_error::convert("head a version of", &path(bucket, key), &e))?;
            Ok(ObjectInfo::of_head(&reply))
        };
        self.shared.hedges.ask("HeadObject", ask).await
    }

    /// CopyObject of one version onto the key itself, which makes it the latest; at most 5 GiB by S3's rules.
    pub async fn copy_version(&self, bucket: &str, key: &str, version: &str, size: u64) -> Result<()> {
        let request = self.shared.client.copy_object().bucket(bucket).key(key);
        let request = request.copy_source(version_source(bucket, key, version));
        let sent = request.customize().config_override(self.patience(size)).send().await;
        let what = format!("bring back version {version} of");
        sent.map(drop).map_err(|e| sdk_error::convert(&what, &path(bucket, key), &e))
    }

    /// UploadPartCopy of a range of one version; gives the part's ETag.
    pub async fn copy_version_part(
        &self,
        (bucket, key, upload): (&str, &str, &str),
        version: &str,
        span: PartSpan,
    ) -> Result<String> {
        let number = i32::try_from(span.number).unwrap_or(i32::MAX);
        let request = self.shared.client.upload_part_copy().bucket(bucket).key(key).upload_id(upload);
        let request = request.part_number(number).copy_source(version_source(bucket, key, version));
        let last = span.offset + span.size.saturating_sub(1);
        let request = request.copy_source_range(format!("bytes={}-{last}", span.offset));
        let sent = request.customize().config_override(self.patience(span.size)).send().await;
        let what = format!("bring back part {} of version {version} of", span.number);
        let reply = sent.map_err(|e| sdk_error::convert(&what, &path(bucket, key), &e))?;
        let etag = reply.copy_part_result().and_then(|result| result.e_tag()).unwrap_or_default();
        Ok(bare_etag(etag).to_owned())
    }
}

impl ObjectInfo {
    /// The lock that keeps this version from being deleted at `now`, seconds since 1970. A retention whose end nobody can
    /// tell, since the store tells no time, has not ended.
    pub fn lock(&self, now: Option<u64>) -> Option<Lock> {
        if self.legal_hold {
            return Some(Lock::LegalHold);
        }
        let retained = self.retained_until > now.unwrap_or_default();
        retained.then_some(Lock::RetainedUntil(self.retained_until))
    }
}

/// True for the answers of stores without the call and of keys without the right.
pub fn does_not_tell(error: &Error) -> bool {
    matches!(error.kind(), Kind::AccessDenied | Kind::Unsupported | Kind::InvalidArgument)
}

fn version_source(bucket: &str, key: &str, version: &str) -> String {
    let version = percent_encoding::utf8_percent_encode(version, percent_encoding::NON_ALPHANUMERIC);
    format!("{bucket}/{}?versionId={version}", super::multipart::escape_path(key))
}

fn version(version: &aws_sdk_s3::types::ObjectVersion) -> Option<ObjectVersion> {
    Some(ObjectVersion {
        id: version.version_id()?.to_owned(),
        is_marker: false,
        is_latest: version.is_latest().unwrap_or_default(),
        size: version.size().and_then(|size| u64::try_from(size).ok()).unwrap_or_default(),
        etag: bare_etag(version.e_tag().unwrap_or_default()).to_owned(),
        modified: seconds(version.last_modified()),
    })
}

fn delete_marker(marker: &aws_sdk_s3::types::DeleteMarkerEntry) -> Option<ObjectVersion> {
    Some(ObjectVersion {
        id: marker.version_id()?.to_owned(),
        is_marker: true,
        is_latest: marker.is_latest().unwrap_or_default(),
        size: 0,
        etag: String::new(),
        modified: seconds(marker.last_modified()),
    })
}
