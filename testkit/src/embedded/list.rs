//! ListObjectsV2 and its elder: keys in the order of their bytes, folders rolled up, in pages.

use std::ops::Bound;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result};

use super::errors::invalid_argument;
use super::index::{State, Stored};
use super::operations::Backend;

/// S3 gives this many at once at most.
const PAGE_MAX: i32 = 1_000;

/// What S3 leaves alone with `encoding-type=url`; spaces become `+`.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'*')
    .remove(b'-')
    .remove(b'_')
    .remove(b'.');

pub fn page_size(name: &str, asked: Option<i32>) -> S3Result<usize> {
    let most = usize::try_from(asked.unwrap_or(PAGE_MAX).min(PAGE_MAX)).ok();
    most.ok_or_else(|| invalid_argument(format!("Argument {name} must be an integer between 0 and 2147483647")))
}

/// How keys are written in the answer.
pub fn encoder(encoding: Option<&EncodingType>) -> S3Result<impl Fn(&str) -> String + use<>> {
    let url = match encoding.map(EncodingType::as_str) {
        None => false,
        Some(EncodingType::URL) => true,
        Some(_) => return Err(invalid_argument("Invalid Encoding Method specified in Request")),
    };
    Ok(move |text: &str| match url {
        true => utf8_percent_encode(text, ENCODED).to_string().replace("%20", "+"),
        false => text.to_owned(),
    })
}

/// The folder that `key` is rolled up into: up to the first delimiter behind the prefix.
pub fn rolled<'a>(key: &'a str, prefix: &str, delimiter: &str) -> Option<&'a str> {
    let rest = key.get(prefix.len()..)?;
    let end = prefix.len() + rest.find(delimiter)? + delimiter.len();
    key.get(..end)
}

/// What is asked for.
struct Query<'a> {
    prefix: &'a str,
    delimiter: Option<&'a str>,
    after: After<'a>,
    most: usize,
}

/// Where a page begins.
enum After<'a> {
    Key(&'a str),
    /// A folder that the page before ended with: with everything in it.
    Folder(&'a str),
}

#[derive(Default)]
struct Page {
    objects: Vec<Arc<Stored>>,
    folders: Vec<String>,
    /// Set when there is more: what the page ended with.
    last: Option<(bool, String)>,
}

impl Query<'_> {
    fn page(&self, state: &State) -> Page {
        let mut page = Page::default();
        let mut from = self.begin();
        let mut last = None;
        loop {
            let mut rest = state
                .keys
                .range::<str, _>((from.as_ref().map(String::as_str), Bound::Unbounded));
            let next = rest.find(|(_, versions)| versions.last().is_some_and(|newest| !newest.version.marker));
            let Some((key, versions)) = next.filter(|(key, _)| key.starts_with(self.prefix)) else {
                return page;
            };
            if page.objects.len() + page.folders.len() == self.most {
                page.last = last;
                return page;
            }
            match self.delimiter.and_then(|delimiter| rolled(key, self.prefix, delimiter)) {
                Some(folder) => {
                    page.folders.push(folder.to_owned());
                    last = Some((true, folder.to_owned()));
                    from = behind(folder);
                }
                None => {
                    page.objects.extend(versions.last().cloned());
                    last = Some((false, key.clone()));
                    from = Bound::Excluded(key.clone());
                }
            }
        }
    }

    fn begin(&self) -> Bound<String> {
        match self.after {
            After::Folder(folder) => behind(folder),
            After::Key(key) if key >= self.prefix => Bound::Excluded(key.to_owned()),
            After::Key(_) => Bound::Included(self.prefix.to_owned()),
        }
    }
}

/// The first place behind everything that begins with `folder`. The order of UTF-8's bytes is that of its characters.
fn behind(folder: &str) -> Bound<String> {
    let mut place = folder.to_owned();
    while let Some(last) = place.pop() {
        if let Some(next) = (last..=char::MAX).nth(1) {
            place.push(next);
            return Bound::Included(place);
        }
    }
    Bound::Excluded(folder.to_owned())
}

fn shown(stored: &Stored, encode: &impl Fn(&str) -> String) -> Object {
    let version = &stored.version;
    Object {
        checksum_algorithm: version
            .crc64
            .map(|_| vec![ChecksumAlgorithm::from_static(ChecksumAlgorithm::CRC64NVME)]),
        checksum_type: version.crc64.map(|_| super::read::full_object()),
        e_tag: Some(ETag::Strong(version.etag.clone())),
        key: Some(encode(&version.key)),
        last_modified: Some(version.modified.clone()),
        size: i64::try_from(version.size).ok(),
        storage_class: Some(ObjectStorageClass::from_static(ObjectStorageClass::STANDARD)),
        ..Object::default()
    }
}

pub async fn second_version(
    backend: &Backend,
    request: S3Request<ListObjectsV2Input>,
) -> S3Result<S3Response<ListObjectsV2Output>> {
    let input = request.input;
    let bucket = backend.bucket(&input.bucket)?;
    let most = page_size("max-keys", input.max_keys)?;
    let encode = encoder(input.encoding_type.as_ref())?;
    let token = input
        .continuation_token
        .as_deref()
        .map(|token| from_token(token).ok_or_else(|| invalid_argument("The continuation token provided is incorrect")));
    let token = token.transpose()?;
    let after = match &token {
        Some((true, folder)) => After::Folder(folder),
        Some((false, key)) => After::Key(key),
        None => After::Key(input.start_after.as_deref().unwrap_or_default()),
    };
    let prefix = input.prefix.as_deref().unwrap_or_default();
    let delimiter = input.delimiter.as_deref().filter(|delimiter| !delimiter.is_empty());
    let page = Query {
        prefix,
        delimiter,
        after,
        most,
    }
    .page(&bucket.lock());
    let next = page.last.map(|(folder, key)| to_token(folder, &key));
    let folders = page.folders.iter().map(|folder| CommonPrefix {
        prefix: Some(encode(folder)),
    });
    Ok(S3Response::new(ListObjectsV2Output {
        name: Some(input.bucket.clone()),
        prefix: Some(encode(prefix)),
        max_keys: i32::try_from(most).ok(),
        key_count: i32::try_from(page.objects.len() + page.folders.len()).ok(),
        continuation_token: input.continuation_token.clone(),
        is_truncated: Some(next.is_some()),
        next_continuation_token: next,
        contents: Some(page.objects.iter().map(|stored| shown(stored, &encode)).collect()),
        common_prefixes: Some(folders.collect()),
        delimiter: input.delimiter.as_deref().map(&encode),
        encoding_type: input.encoding_type.clone(),
        start_after: input.start_after.as_deref().map(&encode),
        ..ListObjectsV2Output::default()
    }))
}

pub async fn first_version(
    backend: &Backend,
    request: S3Request<ListObjectsInput>,
) -> S3Result<S3Response<ListObjectsOutput>> {
    let input = request.input;
    let bucket = backend.bucket(&input.bucket)?;
    let most = page_size("max-keys", input.max_keys)?;
    let encode = encoder(input.encoding_type.as_ref())?;
    let prefix = input.prefix.as_deref().unwrap_or_default();
    let delimiter = input.delimiter.as_deref().filter(|delimiter| !delimiter.is_empty());
    let marker = input.marker.as_deref().unwrap_or_default();
    // A marker that is a folder was the end of a page.
    let is_folder = delimiter.is_some_and(|delimiter| rolled(marker, prefix, delimiter) == Some(marker));
    let after = if is_folder {
        After::Folder(marker)
    } else {
        After::Key(marker)
    };
    let page = Query {
        prefix,
        delimiter,
        after,
        most,
    }
    .page(&bucket.lock());
    let folders = page.folders.iter().map(|folder| CommonPrefix {
        prefix: Some(encode(folder)),
    });
    Ok(S3Response::new(ListObjectsOutput {
        name: Some(input.bucket.clone()),
        prefix: Some(encode(prefix)),
        marker: Some(encode(marker)),
        max_keys: i32::try_from(most).ok(),
        is_truncated: Some(page.last.is_some()),
        // Without a delimiter the last key is the marker, and S3 does not repeat it.
        next_marker: page.last.filter(|_| delimiter.is_some()).map(|(_, key)| encode(&key)),
        contents: Some(page.objects.iter().map(|stored| shown(stored, &encode)).collect()),
        common_prefixes: Some(folders.collect()),
        delimiter: input.delimiter.as_deref().map(&encode),
        encoding_type: input.encoding_type.clone(),
        ..ListObjectsOutput::default()
    }))
}

/// Opaque to the client.
fn to_token(folder: bool, key: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!("{}{key}", if folder { 'f' } else { 'k' }))
}

fn from_token(token: &str) -> Option<(bool, String)> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
    let folder = text.starts_with('f');
    Some((folder, text.strip_prefix(['f', 'k'])?.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_in_a_folder_lies_before_what_is_behind_it() {
        for (folder, place) in [("a/", "a0"), ("a\u{d7ff}", "a\u{e000}"), ("a\u{10ffff}", "b")] {
            assert_eq!(behind(folder), Bound::Included(place.to_owned()));
            let inside = format!("{folder}\u{10ffff}");
            assert!(inside.as_bytes() < place.as_bytes());
        }
    }

    #[test]
    fn keys_are_encoded_as_s3_does() {
        let encode = encoder(Some(&EncodingType::from_static(EncodingType::URL))).unwrap();
        assert_eq!(encode("a b/c+d=\u{1}é~*"), "a+b/c%2Bd%3D%01%C3%A9%7E*");
    }
}
