//! The S3 operations of buckets that keep versions, and what the store says of locks on an object.
//!
//! Locks are the store's own truth: retention (GOVERNANCE or COMPLIANCE, both respected) and legal hold, of each version.

use std::time::Instant;

use aws_sdk_s3::operation::list_object_versions::ListObjectVersionsOutput;
use aws_sdk_s3::primitives::DateTime;
use aws_sdk_s3::types::{BucketVersioningStatus, ChecksumMode, EncodingType};
use futures::FutureExt;

use super::list::{is_of, url_decode};
use super::multipart::send::{escape_path, etag_of};
use super::sdk_error;
use super::store::{Store, path};
use crate::clean::words;
use crate::engine::checksum::bare_etag;
use crate::error::{Error, Kind, Result};
use crate::objstore::s3::types::{ObjectInfo, PartSpan, seconds};

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
            let sent = self
                .shared
                .client
                .get_bucket_versioning()
                .bucket(bucket)
                .send()
                .boxed()
                .await;
            sent.map_err(|e| sdk_error::convert("get versioning of", bucket, &e))
        };
        match self.shared.hedges.ask("GetBucketVersioning", ask).await {
            Ok(reply) => Ok(match reply.status() {
                Some(BucketVersioningStatus::Enabled | BucketVersioningStatus::Suspended) => Versioning::On,
                Some(_) => Versioning::Unknown,
                None => Versioning::Off,
            }),
            // An answer that is none is no "no": whoever deletes asks for the versions themselves.
            Err(error) if does_not_tell(&error) || error.kind() == Kind::Unsupported => Ok(Versioning::Unknown),
            Err(error) => Err(error),
        }
    }

    /// Every version and marker of exactly this key, the latest last.
    pub async fn list_versions(&self, bucket: &str, key: &str) -> Result<Vec<ObjectVersion>> {
        // Longer keys that begin with this one come behind it.
        let found = self.versions_below(bucket, key, |next| next > key).await?;
        Ok(oldest_first(
            found
                .into_iter()
                .filter(|(of, _)| of == key)
                .map(|(_, version)| version)
                .collect(),
        ))
    }

    /// The keys below `prefix` that have a version, though a marker may hide it, in order.
    pub async fn list_versioned_keys(&self, bucket: &str, prefix: &str) -> Result<Vec<String>> {
        let found = self.versions_below(bucket, prefix, |_| false).await?;
        let mut keys: Vec<_> = found
            .into_iter()
            .filter(|(_, version)| !version.is_marker)
            .map(|(key, _)| key)
            .collect();
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
        let (mut found, mut marker) = (Vec::new(), None);
        let deadline = Instant::now() + self.shared.retry.operation_timeout;
        for _ in 0..PAGES_MAX {
            let page = self.version_page(bucket, prefix, marker.as_ref()).await?;
            found.extend(page.entries);
            match page.next {
                Some(next) if !is_past(&next.key) => {
                    if marker.as_ref() == Some(&next) || Instant::now() > deadline {
                        break;
                    }
                    marker = Some(next);
                }
                _ => return Ok(found),
            }
        }
        let what = format!("list versions of {}: the list does not end", path(bucket, prefix));
        Err(Error::new(Kind::Unavailable, what))
    }

    /// One page of ListObjectVersions, held to the rules of [`super::list`].
    async fn version_page(&self, bucket: &str, prefix: &str, marker: Option<&VersionMarker>) -> Result<VersionPage> {
        let ask = || async {
            let request = self.shared.client.list_object_versions().bucket(bucket).prefix(prefix);
            let mut request = request.encoding_type(EncodingType::Url);
            if let Some(VersionMarker { key, id }) = marker.cloned() {
                request = request.key_marker(key).set_version_id_marker(id);
            }
            request
                .send()
                .boxed()
                .await
                .map_err(|e| sdk_error::convert("list versions of", &path(bucket, prefix), &e))
        };
        let (what, after) = (
            format!("list versions of {}", path(bucket, prefix)),
            marker.map(|m| m.key.as_str()),
        );
        self.ask_page("ListObjectVersions", &what, ask, |reply| {
            page_of(reply, (bucket, prefix), after)
        })
        .await
    }

    /// HEAD of one version.
    pub async fn head_version(&self, bucket: &str, key: &str, version: &str) -> Result<ObjectInfo> {
        let ask = || async {
            let request = self
                .shared
                .client
                .head_object()
                .bucket(bucket)
                .key(key)
                .version_id(version);
            let request = request.checksum_mode(ChecksumMode::Enabled);
            let sent = request
                .customize()
                .config_override(self.patience(0))
                .send()
                .boxed()
                .await;
            let reply = sent.map_err(|e| sdk_error::convert("head a version of", &path(bucket, key), &e))?;
            Ok(ObjectInfo::of_head(&reply))
        };
        self.shared.hedges.ask("HeadObject", ask).await
    }

    /// CopyObject of one version onto the key itself, which makes it the latest; at most 5 GiB by S3's rules.
    pub async fn copy_version(&self, bucket: &str, key: &str, version: &str, size: u64) -> Result<()> {
        let request = self.shared.client.copy_object().bucket(bucket).key(key);
        let request = request.copy_source(version_source(bucket, key, version));
        let sent = request
            .customize()
            .config_override(self.patience(size))
            .send()
            .boxed()
            .await;
        let what = format!("bring back version {version} of");
        sent.map(drop)
            .map_err(|e| sdk_error::convert(&what, &path(bucket, key), &e))
    }

    /// UploadPartCopy of a range of one version; gives the part's ETag.
    pub async fn copy_version_part(
        &self,
        (bucket, key, upload): (&str, &str, &str),
        version: &str,
        span: PartSpan,
    ) -> Result<String> {
        let number = i32::try_from(span.number).unwrap_or(i32::MAX);
        let request = self
            .shared
            .client
            .upload_part_copy()
            .bucket(bucket)
            .key(key)
            .upload_id(upload);
        let request = request
            .part_number(number)
            .copy_source(version_source(bucket, key, version));
        let last = span.offset + span.size.saturating_sub(1);
        let request = request.copy_source_range(format!("bytes={}-{last}", span.offset));
        let sent = request
            .customize()
            .config_override(self.patience(span.size))
            .send()
            .boxed()
            .await;
        let what = format!("bring back part {} of version {version} of", span.number);
        let reply = sent.map_err(|e| sdk_error::convert(&what, &path(bucket, key), &e))?;
        etag_of(
            reply.copy_part_result().and_then(|result| result.e_tag()),
            &what,
            bucket,
            key,
        )
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

/// True for the refusals of stores without the call and of keys without the right. An answer of success that cannot be
/// read is none: it tells nothing of either.
pub fn does_not_tell(error: &Error) -> bool {
    let refused = error.status().is_some_and(|status| status >= 400);
    refused
        && matches!(
            error.kind(),
            Kind::AccessDenied | Kind::Unsupported | Kind::InvalidArgument
        )
}

fn version_source(bucket: &str, key: &str, version: &str) -> String {
    let version = percent_encoding::utf8_percent_encode(version, percent_encoding::NON_ALPHANUMERIC);
    format!("{bucket}/{}?versionId={version}", escape_path(key))
}

/// Where the next page of versions begins.
#[derive(Clone, Debug, PartialEq, Eq)]
struct VersionMarker {
    key: String,
    id: Option<String>,
}

#[derive(Debug)]
struct VersionPage {
    /// In the server's order, the versions before the markers.
    entries: Vec<(String, ObjectVersion)>,
    next: Option<VersionMarker>,
}

/// The page, or what is wrong with it. Of one key there may be many versions, so keys need not rise, but never fall.
fn page_of(
    reply: &ListObjectVersionsOutput,
    (bucket, prefix): (&str, &str),
    after: Option<&str>,
) -> std::result::Result<VersionPage, String> {
    let encoded = reply.encoding_type() == Some(&EncodingType::Url);
    let decoded = |text: &str| {
        if encoded {
            url_decode(text)
        } else {
            text.as_bytes().to_vec()
        }
    };
    let readable = |key: &[u8]| String::from_utf8_lossy(key).into_owned();
    if let Some(of) = reply
        .prefix()
        .filter(|of| !of.is_empty() && *of != prefix && decoded(of) != prefix.as_bytes())
    {
        return Err(format!("it is of prefix {}", words(of)));
    }
    is_of(bucket, reply.name())?;
    // What a name that is no UTF-8 was turned into is not where the server goes on from.
    let after = after
        .filter(|after| !after.contains(char::REPLACEMENT_CHARACTER))
        .map(str::as_bytes);
    let versions = reply.versions().iter().map(|one| (one.key(), version(one)));
    let markers = reply.delete_markers().iter().map(|one| (one.key(), delete_marker(one)));
    let mut entries = Vec::with_capacity(reply.versions().len() + reply.delete_markers().len());
    for list in [versions.collect::<Vec<_>>(), markers.collect()] {
        let mut last = after.map(<[u8]>::to_vec);
        for (key, entry) in list {
            let key = decoded(key.ok_or("an entry has no key")?);
            let shown = words(&readable(&key));
            let entry = entry.map_err(|why| format!("an entry of key {shown} has no {why}"))?;
            if !key.starts_with(prefix.as_bytes()) {
                return Err(format!("key {shown} was not asked for"));
            }
            if let Some(last) = last.replace(key.clone()).filter(|last| *last > key) {
                return Err(format!("keys fall: {} comes before {shown}", words(&readable(&last))));
            }
            entries.push((readable(&key), entry));
        }
    }
    let id = reply
        .next_version_id_marker()
        .filter(|id| !id.is_empty())
        .map(ToOwned::to_owned);
    let marker = reply.next_key_marker().filter(|key| !key.is_empty());
    let marker = marker.map(|key| VersionMarker {
        key: readable(&decoded(key)),
        id,
    });
    let next = match (reply.is_truncated(), marker) {
        (Some(true), None) => return Err("it is truncated and names no next page".into()),
        (Some(false), _) => None,
        (None, None) => return Err("it does not say whether it is whole".into()),
        (_, marker) => marker,
    };
    if let (Some(next), Some(after)) = (&next, after)
        && next.key.as_bytes() < after
    {
        return Err(format!("it goes back to key {}", words(&next.key)));
    }
    Ok(VersionPage { entries, next })
}

/// The versions of one key from the newest on, as lists have them, turned round. Times are told in seconds: of two
/// versions with the same time the order of the list decides, and a marker counts as the later one, since the lists of
/// versions and of markers come apart.
fn oldest_first(found: Vec<ObjectVersion>) -> Vec<ObjectVersion> {
    let (mut markers, mut versions): (Vec<_>, Vec<_>) = found.into_iter().partition(|version| version.is_marker);
    versions.reverse();
    markers.reverse();
    versions.append(&mut markers);
    versions.sort_by_key(|version| (version.is_latest, version.modified));
    versions
}

/// The version, or what it lacks.
fn version(version: &aws_sdk_s3::types::ObjectVersion) -> std::result::Result<ObjectVersion, &'static str> {
    Ok(ObjectVersion {
        id: version
            .version_id()
            .filter(|id| !id.is_empty())
            .ok_or("VersionId")?
            .to_owned(),
        is_marker: false,
        is_latest: version.is_latest().unwrap_or_default(),
        size: version.size().and_then(|size| u64::try_from(size).ok()).ok_or("size")?,
        etag: bare_etag(version.e_tag().unwrap_or_default()).to_owned(),
        modified: told(version.last_modified())?,
    })
}

fn delete_marker(marker: &aws_sdk_s3::types::DeleteMarkerEntry) -> std::result::Result<ObjectVersion, &'static str> {
    Ok(ObjectVersion {
        id: marker
            .version_id()
            .filter(|id| !id.is_empty())
            .ok_or("VersionId")?
            .to_owned(),
        is_marker: true,
        is_latest: marker.is_latest().unwrap_or_default(),
        size: 0,
        etag: String::new(),
        modified: told(marker.last_modified())?,
    })
}

fn told(modified: Option<&DateTime>) -> std::result::Result<u64, &'static str> {
    Some(seconds(modified))
        .filter(|seconds| *seconds > 0)
        .ok_or("LastModified")
}

#[cfg(test)]
#[path = "versions_tests.rs"]
mod tests;
