//! The bytes from one place of an object to another, resumed where a body breaks.
//!
//! For instance 16 MiB are asked for and the body breaks after 6 MiB: the next request asks for the other 10 MiB, of
//! the same object by its ETag. How it fails: with what went wrong last, once tries or time are used up.

use std::time::{Duration, Instant};

use aws_sdk_s3::operation::get_object::GetObjectOutput;

use super::Source;
use super::drain::{Broken, Target, drain, floor_time, pause};
use super::request::ask;
use crate::clean::words;
use crate::config::{Bucket, QUERY_ATTEMPTS_MAX};
use crate::engine::checksum::bare_etag;
use crate::error::{Error, Kind, Result};
use crate::objstore::s3::store::{Store, path};
use crate::objstore::transport::answer::{ContentRange, Ranged, evaluate_range};
use crate::objstore::transport::body::{BodySlot, ResponseBody};

/// Reads `len` bytes from `offset` on into the target and shows each piece to `seen`, in order and each byte once. A
/// body that breaks, stalls or crawls is resumed where it broke; an answer that is not the one to the request is asked
/// for again. All of it shares one count of tries and one deadline.
pub async fn read_range(
    store: &Store,
    source: Source<'_>,
    (offset, len): (u64, u64),
    mut target: Target<'_>,
    mut seen: impl FnMut(&[u8]),
) -> Result<()> {
    let retry = store.retry();
    let Source { bucket, key, .. } = source;
    let time = retry.operation_timeout.max(floor_time(retry, len));
    let deadline = Instant::now() + time;
    let effort = store.effort(time);
    let mut done = 0;
    let mut wrong = 0;

    loop {
        let before = done;
        let hedges = &store.shared.hedges;
        let ask = || {
            let left = deadline.saturating_duration_since(Instant::now());
            let deadlines = store.deadlines_within(Duration::ZERO, left, &effort);
            store.get_range(source, (offset + before, len - before), deadlines)
        };

        let error = match hedges.race("GetObject", len - before, ask).await {
            Ok(body) => match drain(store, body, len, &mut done, &mut target, &mut seen).await {
                Ok(()) => {
                    hedges.earn(len);
                    return Ok(());
                }
                Err(Broken::Straggles) => {
                    tracing::info!("{bucket}/{key}: {} bytes are asked for again elsewhere", len - done);
                    continue;
                }
                Err(Broken::By(error)) => error,
            },
            // The object itself may be another than it should be: then every answer is.
            Err(error) if matches!(error.kind(), Kind::Corrupt | Kind::Unavailable) && wrong < QUERY_ATTEMPTS_MAX => {
                wrong += 1;
                error
            }
            Err(error) => return Err(error),
        };

        if done > before {
            effort.achieved(retry.attempts);
        }

        if (done == before && effort.refused()) || Instant::now() > deadline {
            return Err(error.context(format!("read {bucket}/{key} at offset {}", offset + done)));
        }

        pause(retry).await;
    }
}

impl Store {
    /// The size of an object whose HEAD does not tell it, as behind a proxy that takes Content-Length away. A range
    /// tells it in a header of its own.
    pub(in crate::objstore) async fn size_by_range(
        &self,
        bucket: &Bucket,
        key: &str,
        etag: Option<&str>,
    ) -> Result<u64> {
        let none = |why: &str| {
            let what = format!(
                "head {}: the answer has no Content-Length, and a range of it {why}",
                path(bucket, key)
            );
            Error::new(
                Kind::Unavailable,
                format!("{what}: a proxy before the store changes its answers"),
            )
        };

        let request = self
            .shared
            .client
            .get_object()
            .bucket(bucket)
            .key(key)
            .range("bytes=0-0");

        let (reply, _body) = match ask(request, self.deadlines(0), BodySlot::default(), bucket, key).await {
            // There is no first byte of an empty object.
            Err(error) if error.kind() == Kind::Corrupt => return Ok(0),
            other => other?,
        };

        if bare_etag(reply.e_tag().unwrap_or_default()) != bare_etag(etag.unwrap_or_default()) {
            return Err(none("is of another object"));
        }

        let range = reply.content_range().and_then(ContentRange::parse);

        range
            .and_then(|range| range.total)
            .ok_or_else(|| none("does not tell the size either"))
    }

    /// The body of `[offset, offset + len)`; the caller reads it and minds its progress.
    async fn get_range(
        &self,
        source: Source<'_>,
        (offset, len): (u64, u64),
        deadlines: aws_sdk_s3::config::Builder,
    ) -> Result<ResponseBody> {
        let Source { bucket, key, .. } = source;
        let range = format!("bytes={offset}-{}", offset + len.saturating_sub(1));
        let request = self.shared.client.get_object().bucket(bucket).key(key).range(range);
        let request = request.set_version_id(source.version.map(ToOwned::to_owned));
        let (reply, body) = ask(request, deadlines, BodySlot::default(), bucket, key).await?;

        let refuse = |wrong: Wrong| Error::new(wrong.kind, format!("get {}: {}", path(bucket, key), wrong.why));
        check_range(source, (offset, len), &reply, &body).map_err(refuse)?;
        check_etag(source, &reply).map_err(refuse)?;
        Ok(body)
    }
}

/// What is wrong with an answer to a range.
struct Wrong {
    kind: Kind,
    why: String,
}

/// The head of the answer must say that it is the range, of an object of the right size.
fn check_range(
    source: Source<'_>,
    (offset, len): (u64, u64),
    reply: &GetObjectOutput,
    body: &ResponseBody,
) -> std::result::Result<(), Wrong> {
    // What a CRC proves may come out of an object that is longer or shorter than it should be.
    let strict = source.size.filter(|_| source.etag.is_some());
    let judged = evaluate_range(body.status(), reply.content_range(), body.left(), (offset, len), strict);
    let range = reply.content_range().and_then(ContentRange::parse);
    let total = range.and_then(|range| range.total);

    let why = match (judged, source.size) {
        (Ranged::Right, _) => return Ok(()),
        (Ranged::OtherSize(total), Some(size)) => return Err(other_size(total, size)),
        (Ranged::Wrong(_), Some(size)) if total.is_some_and(|total| total != size) => {
            return Err(other_size(total.unwrap_or_default(), size));
        }
        (Ranged::Wrong(why), _) => why,
        (Ranged::OtherSize(_), None) => "the object has another size",
    };

    let came = reply.content_range().map_or_else(|| "no Content-Range".into(), words);
    let last = offset + len.saturating_sub(1);
    let status = body.status();

    Err(Wrong {
        kind: Kind::Unavailable,
        why: format!("HTTP {status}, {came}, is no answer to bytes {offset}-{last}: {why}"),
    })
}

/// Ranges of two objects do not make up one: every answer must have the ETag of the first.
fn check_etag(source: Source<'_>, reply: &GetObjectOutput) -> std::result::Result<(), Wrong> {
    let came = bare_etag(reply.e_tag().unwrap_or_default());

    match source.etag.map(|etag| etag.0.get_or_init(|| came.to_owned())) {
        Some(first) if first != came => Err(Wrong {
            kind: Kind::Unavailable,
            why: format!(
                "ETag {} came, {} before: the object was changed while it was read",
                words(came),
                words(first)
            ),
        }),
        _ => Ok(()),
    }
}

fn other_size(total: u64, size: u64) -> Wrong {
    Wrong {
        kind: Kind::Corrupt,
        why: format!("the object has {total} bytes on the store; it should have {size}"),
    }
}
