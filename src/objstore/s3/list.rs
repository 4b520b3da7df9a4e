//! ListObjectsV2, page by page: what a page says is checked before anybody believes it.
//!
//! S3 lists keys in rising order of their bytes, under the prefix that was asked for, and a page that is not the last
//! one names the next. A page that breaks one of these rules was mixed up or cut by somebody on the way, or the server
//! lists in another order; either way the objects that it does not show may be there. Such a page is asked for again,
//! then it is an error. [`Course`] holds a whole listing to the same rules, and to an end: pages without keys are
//! allowed (servers send them while they skip over removed objects), but not for ever.
//!
//! Keys come percent-encoded (`encoding-type=url`) where the server knows that, since XML has no place for control
//! characters; a server that does not says nothing of an encoding, and its keys are taken as they are.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;
use aws_sdk_s3::types::EncodingType;
use futures::FutureExt;

use super::sdk_error;
use super::store::{Store, path};
use crate::clean::words;
use crate::config::Bucket;
use crate::engine::checksum::bare_etag;
use crate::error::{Error, Kind, Result};
use crate::objstore::s3::types::{ListedObject, Page, seconds};

/// How often a page that contradicts itself is asked for.
const PAGE_ASKS: u32 = 3;
/// Pages without a key that may follow each other.
const EMPTY_PAGES_MAX: u32 = 1_000;

/// One listing under way: what its pages have in common.
#[derive(Debug)]
pub struct Course {
    what: String,
    last: Option<Vec<u8>>,
    token: Option<String>,
    empty: u32,
    /// When a page last brought a key.
    brought: Instant,
    silence_max: Duration,
}

impl Course {
    /// Of a listing behind `start_after`; `store` says how long it may go on without a key.
    pub fn new(store: &Store, bucket: &Bucket, prefix: &str, start_after: Option<&str>) -> Self {
        let what = path(bucket, prefix);
        let last = start_after.map(|key| key.as_bytes().to_vec());
        let silence_max = store.retry().operation_timeout;
        Self {
            what,
            last,
            token: None,
            empty: 0,
            brought: Instant::now(),
            silence_max,
        }
    }

    /// Takes a page in, or says why the listing cannot go on with it.
    pub fn take(&mut self, page: &Page) -> Result<()> {
        if let (Some((first, _)), Some(last)) = (&page.bounds, &self.last)
            && first <= last
        {
            let first = shown(first);
            let last = shown(last);
            return Err(self.refuse(&format!(
                "a page begins with key {first}, the one before ended with {last}"
            )));
        }

        if page.next.is_some() && page.next == self.token {
            return Err(self.refuse("the server repeats a continuation token"));
        }

        match &page.bounds {
            Some((_, last)) => {
                self.last = Some(last.clone());
                self.empty = 0;
                self.brought = Instant::now();
            }
            None if page.prefixes.is_empty() => self.empty += 1,
            None => self.empty = 0,
        }

        let endless = self.empty > EMPTY_PAGES_MAX || (self.empty > 1 && self.brought.elapsed() > self.silence_max);
        if page.next.is_some() && endless {
            let what = format!(
                "{} pages in {:?} had no key, and the server has more",
                self.empty,
                self.brought.elapsed()
            );
            return Err(self.refuse(&what));
        }

        self.token.clone_from(&page.next);
        Ok(())
    }

    fn refuse(&self, why: &str) -> Error {
        Error::new(Kind::Unavailable, format!("list {}: {why}", self.what))
    }
}

impl Store {
    /// One page of ListObjectsV2, at most 1,000 keys.
    pub async fn list(
        &self,
        bucket: &Bucket,
        prefix: &str,
        delimiter: bool,
        start_after: Option<&str>,
        token: Option<String>,
    ) -> Result<Page> {
        let ask = || async {
            let mut request = self.shared.client.list_objects_v2().bucket(bucket).prefix(prefix);
            if delimiter {
                request = request.delimiter("/");
            }
            let request = request
                .encoding_type(EncodingType::Url)
                .set_continuation_token(token.clone());
            let sent = request
                .set_start_after(start_after.map(ToOwned::to_owned))
                .send()
                .boxed()
                .await;
            sent.map_err(|e| sdk_error::convert("list", &path(bucket, prefix), &e))
        };

        // Behind a token nothing is known of the first key but what the whole listing knows.
        let after = start_after.filter(|after| token.is_none() && !after.contains(char::REPLACEMENT_CHARACTER));
        let what = format!("list {}", path(bucket, prefix));

        self.ask_page("ListObjectsV2", &what, ask, |reply| {
            page_of(reply, (bucket, prefix), after)
        })
        .await
    }

    /// Asks for a page until `read` finds nothing wrong with it, [`PAGE_ASKS`] times at most.
    pub(in crate::objstore) async fn ask_page<Reply, Page, F: Future<Output = Result<Reply>>>(
        &self,
        operation: &'static str,
        what: &str,
        ask: impl Fn() -> F,
        read: impl Fn(&Reply) -> std::result::Result<Page, String>,
    ) -> Result<Page> {
        let mut asks = 1;
        loop {
            match read(&self.shared.hedges.ask(operation, &ask).await?) {
                Ok(page) => return Ok(page),
                Err(why) if asks < PAGE_ASKS => {
                    tracing::warn!("{what}: ask again: {why}");
                    asks += 1;
                    tokio::time::sleep(self.shared.retry.backoff_initial).await;
                }
                Err(why) => {
                    let what = format!("{what}: the answer contradicts itself: {why}");
                    return Err(Error::new(Kind::Unavailable, what));
                }
            }
        }
    }

    /// The object of this very key as listings have it.
    pub async fn find(&self, bucket: &Bucket, key: &str) -> Result<Option<ListedObject>> {
        let mut course = Course::new(self, bucket, key, None);
        let mut token = None;
        loop {
            let page = self.list(bucket, key, false, None, token).await?;
            course.take(&page)?;
            // It is the first of all keys that begin so.
            if let Some(first) = page.objects.into_iter().next() {
                return Ok(Some(first).filter(|object| object.key == key));
            }
            token = page.next;
            if token.is_none() {
                return Ok(None);
            }
        }
    }
}

/// Refuses an answer that says itself to be of another bucket: each has the same folders, and a gateway may mix them
/// up.
pub(in crate::objstore) fn is_of(bucket: &Bucket, told: Option<&str>) -> std::result::Result<(), String> {
    match told.filter(|told| !told.is_empty() && **told != **bucket) {
        Some(other) => Err(format!("it is of bucket {}", words(other))),
        None => Ok(()),
    }
}

/// The page, or what is wrong with it.
fn page_of(
    reply: &ListObjectsV2Output,
    (bucket, prefix): (&Bucket, &str),
    after: Option<&str>,
) -> std::result::Result<Page, String> {
    let is_prefix = |of: &str| of == prefix || decoded(reply, of) == prefix.as_bytes();
    if let Some(of) = reply.prefix().filter(|of| !of.is_empty() && !is_prefix(of)) {
        return Err(format!("it is of prefix {}", words(of)));
    }
    is_of(bucket, reply.name())?;

    let Keyed { keys, objects } = objects_of(reply)?;
    let after = after.map(str::as_bytes);
    check_keys(prefix.as_bytes(), after, keys.iter().map(Vec::as_slice))?;

    let prefixes = reply.common_prefixes().iter();
    let prefixes = prefixes.map(|common| common.prefix().map(|name| decoded(reply, name)));
    let prefixes: Option<Vec<_>> = prefixes.collect();
    let prefixes = prefixes.ok_or("a common prefix has no name")?;
    check_keys(prefix.as_bytes(), None, prefixes.iter().map(Vec::as_slice))?;

    let came = objects.len() + prefixes.len();
    let lacks = |count: &i32| usize::try_from(*count).is_ok_and(|count| count > came);
    if let Some(count) = reply.key_count().filter(lacks) {
        return Err(format!("it counts {count} keys and has {came}"));
    }

    let readable = |prefix: &Vec<u8>| String::from_utf8_lossy(prefix).into_owned();
    Ok(Page {
        objects,
        prefixes: prefixes.iter().map(readable).collect(),
        next: token_of(reply)?,
        bounds: keys.first().cloned().zip(keys.last().cloned()),
    })
}

/// The objects of a page with their keys as bytes, in the server's order.
struct Keyed {
    keys: Vec<Vec<u8>>,
    objects: Vec<ListedObject>,
}

fn objects_of(reply: &ListObjectsV2Output) -> std::result::Result<Keyed, String> {
    let mut keys = Vec::with_capacity(reply.contents().len());
    let mut objects = Vec::with_capacity(reply.contents().len());

    for object in reply.contents() {
        let raw = decoded(reply, object.key().ok_or("an object has no key")?);
        let key = String::from_utf8_lossy(&raw).into_owned();
        let size = object.size().and_then(|size| u64::try_from(size).ok());
        let size = size.ok_or_else(|| format!("key {} has no size", words(&key)))?;
        let modified = seconds(object.last_modified());
        if modified == 0 {
            // An age is counted from it: what has none would seem to be as old as can be.
            return Err(format!("key {} has no LastModified", words(&key)));
        }

        let etag = bare_etag(object.e_tag().unwrap_or_default()).to_owned();
        objects.push(ListedObject {
            key,
            size,
            etag,
            modified,
        });
        keys.push(raw);
    }

    Ok(Keyed { keys, objects })
}

/// What the next page is asked for by; None behind the last one.
fn token_of(reply: &ListObjectsV2Output) -> std::result::Result<Option<String>, String> {
    let token = reply.next_continuation_token().filter(|token| !token.is_empty());
    match (reply.is_truncated(), token) {
        (Some(true), None) => Err("it is truncated and names no next page".into()),
        (None, None) => Err("it does not say whether it is whole".into()),
        (Some(false), _) => Ok(None),
        (_, Some(token)) => Ok(Some(token.to_owned())),
    }
}

fn decoded(reply: &ListObjectsV2Output, text: &str) -> Vec<u8> {
    match reply.encoding_type() {
        Some(EncodingType::Url) => url_decode(text),
        _ => text.as_bytes().to_vec(),
    }
}

/// Keys rise strictly, from behind `after` on, and begin with `prefix`.
fn check_keys<'a>(
    prefix: &[u8],
    after: Option<&'a [u8]>,
    keys: impl Iterator<Item = &'a [u8]>,
) -> std::result::Result<(), String> {
    let mut last = after;
    for key in keys {
        if !key.starts_with(prefix) {
            return Err(format!("key {} was not asked for", shown(key)));
        }
        if let Some(last) = last.filter(|last| *last >= key) {
            return Err(format!("keys do not rise: {} comes before {}", shown(last), shown(key)));
        }
        last = Some(key);
    }
    Ok(())
}

fn shown(key: &[u8]) -> String {
    words(&String::from_utf8_lossy(key))
}

/// Percent-encoded text as S3 writes it, where a plus is a blank; what is no code stays as it is.
pub(in crate::objstore) fn url_decode(text: &str) -> Vec<u8> {
    let text = if text.contains('+') {
        Cow::from(text.replace('+', " "))
    } else {
        Cow::from(text)
    };
    percent_encoding::percent_decode_str(&text).collect()
}

/// What the fuzzer and the replay of its corpus hold the checks of keys to: the first line is the prefix.
#[doc(hidden)]
pub fn hold_to_rules(text: &str) {
    let mut lines = text.lines().map(url_decode);
    let prefix = lines.next().unwrap_or_default();
    let keys: Vec<_> = lines.collect();
    let checked = check_keys(&prefix, None, keys.iter().map(Vec::as_slice));
    let rises = keys.is_sorted_by(|a, b| a < b) && keys.iter().all(|key| key.starts_with(&prefix));
    assert_eq!(checked.is_ok(), rises, "{checked:?}");
    assert!(checked.err().is_none_or(|why| !why.contains(['\n', '\r', '\u{1b}'])));
}

#[cfg(test)]
#[path = "list_tests.rs"]
mod tests;
