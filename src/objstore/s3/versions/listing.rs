//! Whether a bucket keeps versions, and which it has of a key or below a prefix.
//!
//! Limits: [`PAGES_MAX`] pages, and the time of one operation for all of them; a list that does not end in that is an
//! error.

use std::time::Instant;

use aws_sdk_s3::types::{BucketVersioningStatus, EncodingType};
use futures::FutureExt;

use super::page::{VersionMarker, VersionPage, oldest_first, page_of};
use super::{ObjectVersion, Versioning, does_not_tell};
use crate::config::Bucket;
use crate::error::{Error, Kind, Result};
use crate::objstore::s3::sdk_error;
use crate::objstore::s3::store::{Store, path};

/// Pages of versions of one key; each has up to 1,000.
const PAGES_MAX: usize = 1_000;

impl Store {
    /// GetBucketVersioning.
    pub async fn versioning(&self, bucket: &Bucket) -> Result<Versioning> {
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
    pub async fn list_versions(&self, bucket: &Bucket, key: &str) -> Result<Vec<ObjectVersion>> {
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
    pub async fn list_versioned_keys(&self, bucket: &Bucket, prefix: &str) -> Result<Vec<String>> {
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
        bucket: &Bucket,
        prefix: &str,
        is_past: impl Fn(&str) -> bool,
    ) -> Result<Vec<(String, ObjectVersion)>> {
        let mut found = Vec::new();
        let mut marker = None;
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
    async fn version_page(&self, bucket: &Bucket, prefix: &str, marker: Option<&VersionMarker>) -> Result<VersionPage> {
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

        let what = format!("list versions of {}", path(bucket, prefix));
        let after = marker.map(|m| m.key.as_str());

        self.ask_page("ListObjectVersions", &what, ask, |reply| {
            page_of(reply, (bucket, prefix), after)
        })
        .await
    }
}
