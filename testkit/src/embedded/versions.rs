//! ListObjectVersions: keys in order, of each key the newest version first.

use std::sync::Arc;

use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result};

use super::errors::invalid_argument;
use super::index::{State, Stored};
use super::list::{encoder, page_size, rolled};
use super::operations::Backend;

enum Line {
    Version { stored: Arc<Stored>, latest: bool },
    Folder(String),
}

/// What is asked for.
struct Query<'a> {
    prefix: &'a str,
    delimiter: Option<&'a str>,
    key_marker: &'a str,
    version_marker: Option<&'a str>,
    most: usize,
}

impl Query<'_> {
    /// One line more than the page has, when there is more.
    fn lines(&self, state: &State) -> Vec<Line> {
        let mut lines = Vec::new();
        for (key, versions) in &state.keys {
            if key.as_str() < self.key_marker || !key.starts_with(self.prefix) {
                continue;
            }
            let of_marker = key == self.key_marker;
            if of_marker && self.version_marker.is_none() {
                continue;
            }
            match self.delimiter.and_then(|delimiter| rolled(key, self.prefix, delimiter)) {
                Some(folder) if folder == self.key_marker => {}
                Some(folder) if matches!(lines.last(), Some(Line::Folder(last)) if last == folder) => {}
                Some(folder) => lines.push(Line::Folder(folder.to_owned())),
                None => lines.extend(self.versions(versions, of_marker)),
            }
            if lines.len() > self.most {
                break;
            }
        }

        lines
    }

    fn versions<'a>(&'a self, versions: &'a [Arc<Stored>], of_marker: bool) -> impl Iterator<Item = Line> + 'a {
        let newest_first = versions.iter().rev().enumerate();
        let at = |marker: &str| {
            versions
                .iter()
                .rev()
                .position(|stored| stored.version.shown_id() == marker)
        };

        // A marker that has gone meanwhile: S3 goes on behind where it was, which the order of ids tells.
        let skip = self.version_marker.filter(|_| of_marker).map_or(0, |marker| {
            let later = || {
                versions
                    .iter()
                    .filter(|stored| stored.version.id.as_str() >= marker)
                    .count()
            };
            at(marker).map_or_else(later, |at| at + 1)
        });
        newest_first.skip(skip).map(|(nth, stored)| Line::Version {
            stored: Arc::clone(stored),
            latest: nth == 0,
        })
    }
}

pub async fn list(
    backend: &Backend,
    request: S3Request<ListObjectVersionsInput>,
) -> S3Result<S3Response<ListObjectVersionsOutput>> {
    let input = request.input;
    let bucket = backend.bucket(&input.bucket)?;
    let most = page_size("max-keys", input.max_keys)?;
    let encode = encoder(input.encoding_type.as_ref())?;
    let prefix = input.prefix.unwrap_or_default();
    let key_marker = input.key_marker.unwrap_or_default();

    if input
        .version_id_marker
        .as_ref()
        .is_some_and(|marker| !marker.is_empty())
        && key_marker.is_empty()
    {
        return Err(invalid_argument(
            "A version-id marker cannot be specified without a key marker.",
        ));
    }
    let query = Query {
        prefix: &prefix,
        delimiter: input.delimiter.as_deref().filter(|delimiter| !delimiter.is_empty()),
        key_marker: &key_marker,
        version_marker: input.version_id_marker.as_deref().filter(|marker| !marker.is_empty()),
        most,
    };

    let mut lines = query.lines(&bucket.lock());
    let is_truncated = lines.len() > most && most > 0;
    lines.truncate(most);
    let (next_key, next_version) = match lines.last().filter(|_| is_truncated) {
        Some(Line::Version { stored, .. }) => (
            Some(encode(&stored.version.key)),
            Some(stored.version.shown_id().to_owned()),
        ),
        Some(Line::Folder(folder)) => (Some(encode(folder)), None),
        None => (None, None),
    };

    let mut output = ListObjectVersionsOutput {
        delimiter: input.delimiter.as_deref().map(&encode),
        encoding_type: input.encoding_type.clone(),
        is_truncated: Some(is_truncated),
        key_marker: Some(encode(&key_marker)),
        max_keys: i32::try_from(most).ok(),
        name: Some(input.bucket.clone()),
        next_key_marker: next_key,
        next_version_id_marker: next_version,
        prefix: Some(encode(&prefix)),
        version_id_marker: input.version_id_marker.clone(),
        ..ListObjectVersionsOutput::default()
    };

    for line in lines {
        match line {
            Line::Folder(folder) => {
                output.common_prefixes.get_or_insert_default().push(CommonPrefix {
                    prefix: Some(encode(&folder)),
                });
            }
            Line::Version { stored, latest } if stored.version.marker => {
                output.delete_markers.get_or_insert_default().push(DeleteMarkerEntry {
                    is_latest: Some(latest),
                    key: Some(encode(&stored.version.key)),
                    last_modified: Some(stored.version.modified.clone()),
                    version_id: Some(stored.version.shown_id().to_owned()),
                    ..DeleteMarkerEntry::default()
                });
            }
            Line::Version { stored, latest } => {
                output
                    .versions
                    .get_or_insert_default()
                    .push(shown(&stored, latest, &encode));
            }
        }
    }

    Ok(S3Response::new(output))
}

fn shown(stored: &Stored, latest: bool, encode: &impl Fn(&str) -> String) -> ObjectVersion {
    let version = &stored.version;
    ObjectVersion {
        e_tag: Some(ETag::Strong(version.etag.clone())),
        is_latest: Some(latest),
        key: Some(encode(&version.key)),
        last_modified: Some(version.modified.clone()),
        size: i64::try_from(version.size).ok(),
        storage_class: Some(ObjectVersionStorageClass::from_static(
            ObjectVersionStorageClass::STANDARD,
        )),
        version_id: Some(version.shown_id().to_owned()),
        ..ObjectVersion::default()
    }
}
