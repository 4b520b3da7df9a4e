//! One page of ListObjectVersions: checked before anybody believes it.
//!
//! Versions and delete markers come as two lists. Of one key there may be many, so keys need not rise, but never fall.

use aws_sdk_s3::operation::list_object_versions::ListObjectVersionsOutput;
use aws_sdk_s3::primitives::DateTime;
use aws_sdk_s3::types::EncodingType;

use super::ObjectVersion;
use crate::clean::words;
use crate::config::Bucket;
use crate::engine::checksum::bare_etag;
use crate::objstore::s3::list::{is_of, url_decode};
use crate::objstore::s3::types::seconds;

/// Where the next page of versions begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct VersionMarker {
    pub key: String,
    pub id: Option<String>,
}

#[derive(Debug)]
pub(super) struct VersionPage {
    /// In the server's order, the versions before the markers.
    pub entries: Vec<(String, ObjectVersion)>,
    pub next: Option<VersionMarker>,
}

/// The page, or what is wrong with it. Of one key there may be many versions, so keys need not rise, but never fall.
pub(super) fn page_of(
    reply: &ListObjectVersionsOutput,
    (bucket, prefix): (&Bucket, &str),
    after: Option<&str>,
) -> std::result::Result<VersionPage, String> {
    let is_prefix = |of: &str| of == prefix || decoded(reply, of) == prefix.as_bytes();
    if let Some(of) = reply.prefix().filter(|of| !of.is_empty() && !is_prefix(of)) {
        return Err(format!("it is of prefix {}", words(of)));
    }

    is_of(bucket, reply.name())?;

    // What a name that is no UTF-8 was turned into is not where the server goes on from.
    let after = after
        .filter(|after| !after.contains(char::REPLACEMENT_CHARACTER))
        .map(str::as_bytes);
    let entries = entries_of(reply, prefix.as_bytes(), after)?;
    let next = next_of(reply, after)?;

    Ok(VersionPage { entries, next })
}

/// The versions, then the markers. Each list begins behind `after`.
fn entries_of(
    reply: &ListObjectVersionsOutput,
    prefix: &[u8],
    after: Option<&[u8]>,
) -> std::result::Result<Vec<(String, ObjectVersion)>, String> {
    let versions = reply.versions().iter().map(|one| (one.key(), version(one)));
    let markers = reply.delete_markers().iter().map(|one| (one.key(), delete_marker(one)));
    let mut entries = Vec::with_capacity(reply.versions().len() + reply.delete_markers().len());

    for list in [versions.collect::<Vec<_>>(), markers.collect()] {
        let mut last = after.map(<[u8]>::to_vec);
        for (key, entry) in list {
            let key = decoded(reply, key.ok_or("an entry has no key")?);
            let shown = words(&readable(&key));
            let entry = entry.map_err(|why| format!("an entry of key {shown} has no {why}"))?;

            if !key.starts_with(prefix) {
                return Err(format!("key {shown} was not asked for"));
            }
            if let Some(last) = last.replace(key.clone()).filter(|last| *last > key) {
                return Err(format!("keys fall: {} comes before {shown}", words(&readable(&last))));
            }
            entries.push((readable(&key), entry));
        }
    }

    Ok(entries)
}

/// Where the next page begins; None behind the last one.
fn next_of(
    reply: &ListObjectVersionsOutput,
    after: Option<&[u8]>,
) -> std::result::Result<Option<VersionMarker>, String> {
    let id = reply.next_version_id_marker().filter(|id| !id.is_empty());
    let marker = reply.next_key_marker().filter(|key| !key.is_empty());
    let marker = marker.map(|key| VersionMarker {
        key: readable(&decoded(reply, key)),
        id: id.map(ToOwned::to_owned),
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

    Ok(next)
}

fn decoded(reply: &ListObjectVersionsOutput, text: &str) -> Vec<u8> {
    match reply.encoding_type() {
        Some(EncodingType::Url) => url_decode(text),
        _ => text.as_bytes().to_vec(),
    }
}

fn readable(key: &[u8]) -> String {
    String::from_utf8_lossy(key).into_owned()
}

/// The versions of one key from the newest on, as lists have them, turned round. Times are told in seconds: of two
/// versions with the same time the order of the list decides, and a marker counts as the later one, since the lists of
/// versions and of markers come apart.
pub(super) fn oldest_first(found: Vec<ObjectVersion>) -> Vec<ObjectVersion> {
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
#[path = "page_tests.rs"]
mod tests;
