//! GETs: small objects as a whole, ranges of large ones.
//!
//! The SDK's attempts end with the answer's head, so the bodies are minded here. One rule for all: a body that brings no
//! byte for `stall_timeout`, or fewer than `floor_rate` over that time, is as good as broken; what broke is asked for
//! again until `attempts` in a row bring nothing or the operation's time is over ([`crate::objstore::transport::effort`] counts). A body must
//! have exactly the length that was asked for or announced, and the head of an answer to a range must say that it is that
//! range, of an object of the right size ([`crate::objstore::transport::answer`]).

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::operation::get_object::builders::GetObjectFluentBuilder;
use bytes::Bytes;
use futures::FutureExt;

use super::hedge::{LEAST, TICK};
use super::sdk_error;
use super::store::{Store, path};
use crate::clean::words;
use crate::config::{QUERY_ATTEMPTS_MAX, Retry};
use crate::engine::checksum::{Md5Sum, bare_etag};
use crate::engine::memory;
use crate::engine::piece::{piece, piece_mut};
use crate::error::{Error, Kind, Result};
use crate::objstore::transport::answer::{ContentRange, Ranged, judge_range};
use crate::objstore::transport::body::{Landed, Landing};
use crate::objstore::transport::effort::{Effort, is_patient};

/// Longest wait before a body that broke is asked for again.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// A body is received and hashed in pieces of this length, so that what is hashed is still in the second-level cache.
pub const PIECE: usize = 256 << 10;

/// The memory that a range is read into.
pub enum Target<'a> {
    /// Each byte gets its own place: as long as the range.
    Keep(&'a mut [u8]),
    /// Each piece takes the place of the one before.
    Pass(&'a mut [u8]),
}

impl Target<'_> {
    /// Where the piece from byte `done` of the range on goes.
    fn room(&mut self, done: u64) -> Result<&mut [u8]> {
        let (memory, from) = match self {
            Self::Keep(memory) => (&mut **memory, done),
            Self::Pass(memory) => (&mut **memory, 0),
        };
        let end = (memory.len() as u64).min(from.saturating_add(PIECE as u64));
        piece_mut(memory, from..end, "read a range into memory")
    }
}

/// What one try at a small object brought.
enum Small {
    Whole {
        bytes: Bytes,
        /// False when nothing tells yet that no byte flipped on the way.
        is_proven: bool,
    },
    /// The answer came, its body did not.
    Broken(Error),
    /// More bytes than may come; none was read.
    TooLong(u64),
}

/// The ETag that the first answer to one reader had. Ranges of two objects do not make up one, and small ranges have no
/// checksum that would notice.
#[derive(Debug, Default)]
pub struct FirstEtag(OnceLock<String>);

impl FirstEtag {
    /// None before the first answer.
    pub fn get(&self) -> Option<&str> {
        self.0.get().map(String::as_str)
    }
}

/// One object, and what is known of it while it is read.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    pub bucket: &'a str,
    pub key: &'a str,
    /// None for the latest.
    pub version: Option<&'a str>,
    /// None where it is not known.
    pub size: Option<u64>,
    /// None where every byte is checked otherwise.
    pub etag: Option<&'a FirstEtag>,
}

impl Store {
    /// A small object as a whole, refused above `size_max` bytes. Its requests are counted together, those for an answer and
    /// those for a body that broke.
    pub async fn get_small(&self, bucket: &str, key: &str, size_max: u64) -> Result<Bytes> {
        let read = self.get_small_or_size(bucket, key, size_max).await?;
        read.map_err(|len| too_long(bucket, key, len, size_max))
    }

    /// The same for a caller who has room for `size_max` bytes and can make more: of a larger object the size comes back,
    /// and none of its bytes was read.
    pub async fn get_small_or_size(
        &self,
        bucket: &str,
        key: &str,
        size_max: u64,
    ) -> Result<std::result::Result<Bytes, u64>> {
        let retry = &self.shared.retry;
        let patient = is_patient();
        let attempts = if patient {
            retry.attempts
        } else {
            retry.attempts.min(QUERY_ATTEMPTS_MAX)
        };
        let deadline = Instant::now() + retry.operation_timeout;
        let effort = Effort::new(retry, attempts, retry.operation_timeout);
        let mut unproven: Option<Bytes> = None;
        loop {
            let left = attempts.saturating_sub(effort.tries()).max(1);
            let time = deadline.saturating_duration_since(Instant::now());
            let patience = || match patient {
                true => self.patience_within(Duration::ZERO, time, &effort),
                false => self.tries_within(Duration::ZERO, time, left, &effort),
            };
            let ask = || self.try_get_small(bucket, key, None, size_max, patience());
            let error = match self.shared.hedges.ask("GetObject", ask).await? {
                Small::Whole { bytes, is_proven: true } => return Ok(Ok(bytes)),
                Small::TooLong(len) => return Ok(Err(len)),
                Small::Whole {
                    bytes,
                    is_proven: false,
                } => {
                    // Not every ETag is an MD5. What comes twice alike, and in two pieces, did not change on the way.
                    if unproven.as_ref() == Some(&bytes)
                        && (self.shared.buckets.has_other_etags(bucket)
                            || self.is_same_in_pieces(bucket, key, &bytes).await?)
                    {
                        self.shared.buckets.note_other_etags(bucket);
                        return Ok(Ok(bytes));
                    }
                    unproven = Some(bytes);
                    let what = format!("get {}: the bytes do not have the ETag for MD5", path(bucket, key));
                    Error::new(Kind::Corrupt, what)
                }
                Small::Broken(error) => error,
            };
            if effort.refused() || (!patient && effort.tries() >= attempts) {
                return Err(error);
            }
            tracing::debug!("try again: {error}");
            pause(retry).await;
        }
    }

    /// One version of a small object. A body that breaks is asked for again, and so is one of which nothing tells that no
    /// byte flipped on the way, until it comes twice alike.
    pub async fn get_version(&self, bucket: &str, key: &str, version: &str, size_max: u64) -> Result<Bytes> {
        let mut left = QUERY_ATTEMPTS_MAX;
        let mut unproven: Option<Bytes> = None;
        loop {
            left -= 1;
            let error = match self
                .try_get_small(bucket, key, Some(version), size_max, self.patience(size_max))
                .await?
            {
                Small::Whole { bytes, is_proven } if is_proven || unproven.as_ref() == Some(&bytes) => {
                    return Ok(bytes);
                }
                Small::Whole { bytes, .. } => {
                    unproven = Some(bytes);
                    let what = format!("get {}: the bytes do not have the ETag for MD5", path(bucket, key));
                    Error::new(Kind::Corrupt, what)
                }
                Small::Broken(error) => error,
                Small::TooLong(len) => return Err(too_long(bucket, key, len, size_max)),
            };
            if left == 0 {
                return Err(error);
            }
            tracing::debug!("try again: {error}");
            pause(&self.shared.retry).await;
        }
    }

    async fn try_get_small(
        &self,
        bucket: &str,
        key: &str,
        version: Option<&str>,
        size_max: u64,
        patience: aws_sdk_s3::config::Builder,
    ) -> Result<Small> {
        let request = self.shared.client.get_object().bucket(bucket).key(key);
        let request = request.set_version_id(version.map(ToOwned::to_owned));
        let asked = ask(request, patience, Landing::of_at_most(size_max), bucket, key).await;
        // No range was asked for: whatever has gone wrong, it says nothing of the object.
        let asked = asked.map_err(|error| match error.status() {
            Some(416) => error.with_kind(Kind::Unavailable),
            _ => error,
        });
        let (reply, body) = asked?;
        let (len, status) = (body.left(), body.status());
        if status != 200 {
            let what = format!(
                "get {}: HTTP {status} answers a request for the whole object",
                path(bucket, key)
            );
            return Err(Error::new(Kind::Unavailable, what));
        }
        if len > size_max {
            return Ok(Small::TooLong(len));
        }
        let etag = bare_etag(reply.e_tag().unwrap_or_default()).to_owned();
        let mut bytes = memory::zeroed(usize::try_from(len).unwrap_or_default(), || {
            format!("get {}", path(bucket, key))
        })?;
        let drained = drain(self, body, len, &mut 0, &mut Target::Keep(&mut bytes), &mut |_| {}).await;
        if let Err(broken) = drained {
            return Ok(Small::Broken(
                broken.into_error().context(format!("get {}", path(bucket, key))),
            ));
        }
        // Over plain http nothing but the ETag tells whether a byte of a record flipped on the way.
        let is_proven = self.is_authenticated() || Md5Sum::from_etag(&etag) == Some(Md5Sum::of(&bytes));
        Ok(Small::Whole {
            bytes: bytes.into(),
            is_proven,
        })
    }

    /// Asks for an object's halves one by one: a fault that turns the same place of each answer over shows by that.
    async fn is_same_in_pieces(&self, bucket: &str, key: &str, bytes: &[u8]) -> Result<bool> {
        let (first, second) = bytes.split_at(bytes.len() / 2);
        for (offset, half) in [(0, first), (first.len(), second)] {
            let mut again = memory::zeroed(half.len(), || format!("get {}", path(bucket, key)))?;
            if !again.is_empty() {
                let range = (offset as u64, half.len() as u64);
                let source = Source {
                    bucket,
                    key,
                    version: None,
                    size: Some(bytes.len() as u64),
                    etag: None,
                };
                read_range(self, source, range, Target::Keep(&mut again), |_| {}).await?;
            }
            if again != half {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The size of an object whose HEAD does not tell it, as behind a proxy that takes Content-Length away. A range tells
    /// it in a header of its own.
    pub(in crate::objstore) async fn size_by_range(&self, bucket: &str, key: &str, etag: &str) -> Result<u64> {
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
        let (reply, _body) = match ask(request, self.patience(0), Landing::default(), bucket, key).await {
            // There is no first byte of an empty object.
            Err(error) if error.kind() == Kind::Corrupt => return Ok(0),
            other => other?,
        };
        if bare_etag(reply.e_tag().unwrap_or_default()) != etag {
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
        patience: aws_sdk_s3::config::Builder,
    ) -> Result<Landed> {
        let Source {
            bucket,
            key,
            version,
            size,
            etag,
        } = source;
        let range = format!("bytes={offset}-{}", offset + len.saturating_sub(1));
        let request = self.shared.client.get_object().bucket(bucket).key(key).range(range);
        let request = request.set_version_id(version.map(ToOwned::to_owned));
        let (reply, body) = ask(request, patience, Landing::default(), bucket, key).await?;
        let wrong = |kind, why: String| Error::new(kind, format!("get {}: {why}", path(bucket, key)));
        // What a CRC proves may come out of an object that is longer or shorter than it should be.
        let strict = size.filter(|_| etag.is_some());
        let range = reply.content_range().and_then(ContentRange::parse);
        let total = range.and_then(|range| range.total);
        match (
            judge_range(body.status(), reply.content_range(), body.left(), (offset, len), strict),
            size,
        ) {
            (Ranged::Right, _) => {}
            (Ranged::OtherSize(total), Some(size)) => return Err(wrong(Kind::Corrupt, other_size(total, size))),
            (Ranged::Wrong(_), Some(size)) if total.is_some_and(|total| total != size) => {
                return Err(wrong(Kind::Corrupt, other_size(total.unwrap_or_default(), size)));
            }
            (judged, _) => {
                let why = if let Ranged::Wrong(why) = judged {
                    why
                } else {
                    "the object has another size"
                };
                let came = reply.content_range().map_or_else(|| "no Content-Range".into(), words);
                let last = offset + len.saturating_sub(1);
                let why = format!(
                    "HTTP {}, {came}, is no answer to bytes {offset}-{last}: {why}",
                    body.status()
                );
                return Err(wrong(Kind::Unavailable, why));
            }
        }
        let came = bare_etag(reply.e_tag().unwrap_or_default());
        match etag.map(|etag| etag.0.get_or_init(|| came.to_owned())) {
            Some(first) if first != came => {
                let why = format!(
                    "ETag {} came, {} before: the object was changed while it was read",
                    words(came),
                    words(first)
                );
                Err(wrong(Kind::Unavailable, why))
            }
            _ => Ok(body),
        }
    }
}

fn too_long(bucket: &str, key: &str, len: u64, size_max: u64) -> Error {
    let what = format!(
        "get {}: {len} bytes; at most {size_max} are read here",
        path(bucket, key)
    );
    Error::new(Kind::Corrupt, what)
}

fn other_size(total: u64, size: u64) -> String {
    format!("the object has {total} bytes on the store; it should have {size}")
}

/// Sends a GetObject whose body goes past the SDK.
async fn ask(
    request: GetObjectFluentBuilder,
    patience: aws_sdk_s3::config::Builder,
    landing: Landing,
    bucket: &str,
    key: &str,
) -> Result<(GetObjectOutput, Landed)> {
    let place = landing.clone();
    let request = request
        .customize()
        .mutate_request(move |request| request.add_extension(place.clone()));
    let sent = request.config_override(patience).send().boxed().await;
    let reply = sent.map_err(|e| sdk_error::convert("get", &path(bucket, key), &e))?;
    let body = landing.take().ok_or_else(|| no_length(bucket, key))?;
    Ok((reply, body))
}

/// Reads `len` bytes from `offset` on into the target and shows each piece to `seen`, in order and each byte once. A body
/// that breaks, stalls or crawls is resumed where it broke; an answer that is not the one to the request is asked for
/// again. All of it shares one count of tries and one deadline.
pub async fn read_range(
    store: &Store,
    source: Source<'_>,
    (offset, len): (u64, u64),
    mut target: Target<'_>,
    mut seen: impl FnMut(&[u8]),
) -> Result<()> {
    let (retry, Source { bucket, key, .. }) = (store.retry(), source);
    let time = retry.operation_timeout.max(floor_time(retry, len));
    let (deadline, effort) = (Instant::now() + time, store.effort(time));
    let (mut done, mut wrong) = (0, 0);
    loop {
        let before = done;
        let hedges = &store.shared.hedges;
        let ask = || {
            let left = deadline.saturating_duration_since(Instant::now());
            let patience = store.patience_within(Duration::ZERO, left, &effort);
            store.get_range(source, (offset + before, len - before), patience)
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

/// How long `bytes` may take.
pub fn floor_time(retry: &Retry, bytes: u64) -> Duration {
    Duration::from_secs_f64(bytes as f64 / retry.floor_rate_bytes.max(1) as f64)
}

async fn pause(retry: &Retry) {
    tokio::time::sleep(retry.backoff_initial.min(PAUSE_MAX)).await;
}

fn no_length(bucket: &str, key: &str) -> Error {
    let what = format!(
        "get {}: the answer has neither a length nor chunks, so that a cut one looks whole",
        path(bucket, key)
    );
    Error::new(
        Kind::Unavailable,
        format!("{what}: a proxy before the store changes its answers"),
    )
}

/// Why a body was not taken in to its end.
enum Broken {
    By(Error),
    /// It comes far slower than usual, and there is credit to ask for the rest elsewhere.
    Straggles,
}

impl From<Error> for Broken {
    fn from(error: Error) -> Self {
        Self::By(error)
    }
}

impl Broken {
    fn into_error(self) -> Error {
        match self {
            Self::By(error) => error,
            Self::Straggles => Error::new(Kind::Timeout, "it comes far slower than usual"),
        }
    }
}

/// Takes a body in up to `len` bytes; `done` counts them, whatever the end.
async fn drain(
    store: &Store,
    mut body: Landed,
    len: u64,
    done: &mut u64,
    target: &mut Target<'_>,
    seen: &mut impl FnMut(&[u8]),
) -> std::result::Result<(), Broken> {
    let retry = store.retry();
    let (began, wanted) = (Instant::now(), len - *done);
    if body.left() != wanted {
        let what = format!("{} bytes come for the {wanted} that were asked for", body.left());
        return Err(Error::new(Kind::Network, what).into());
    }
    let mut window = Window { start: began, bytes: 0 };
    let (mut look, mut stalls) = (began + LEAST, began + retry.stall_timeout);
    while *done < len {
        let room = target.room(*done)?;
        let got = match tokio::time::timeout_at(look.min(stalls).into(), body.read(room)).await {
            Err(_) if look < stalls => {
                look = Instant::now() + TICK;
                if store.shared.hedges.may_ask_again(wanted, began.elapsed(), len - *done) {
                    return Err(Broken::Straggles);
                }
                continue;
            }
            Err(_) => {
                return Err(Error::new(Kind::Timeout, format!("no byte came for {:?}", retry.stall_timeout)).into());
            }
            Ok(Err(error)) => return Err(Error::with_source(Kind::Network, "body broke off", error).into()),
            Ok(Ok(got)) => got,
        };
        stalls = Instant::now() + retry.stall_timeout;
        seen(piece(room, 0..got as u64, "take in a body")?);
        *done += got as u64;
        window.check(retry, got as u64)?;
    }
    body.finish().await;
    Ok(())
}

/// Bytes of the last while: a body that brings a few now and then is as good as silent.
struct Window {
    start: Instant,
    bytes: u64,
}

impl Window {
    fn check(&mut self, retry: &Retry, bytes: u64) -> Result<()> {
        self.bytes += bytes;
        if self.start.elapsed() < retry.stall_timeout {
            return Ok(());
        }
        if floor_time(retry, self.bytes) < self.start.elapsed() {
            let what = format!(
                "{} bytes came in {:?}, below floor_rate",
                self.bytes,
                self.start.elapsed()
            );
            return Err(Error::new(Kind::Timeout, what));
        }
        *self = Self {
            start: Instant::now(),
            bytes: 0,
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_without_room_for_what_comes_is_an_error() {
        let mut memory = vec![0; PIECE + 10];
        assert_eq!(Target::Keep(&mut memory).room(0).unwrap().len(), PIECE);
        assert_eq!(Target::Keep(&mut memory).room(PIECE as u64).unwrap().len(), 10);
        assert_eq!(Target::Pass(&mut memory).room(u64::MAX).unwrap().len(), PIECE);
        for done in [PIECE as u64 + 10, u64::MAX] {
            let error = Target::Keep(&mut memory).room(done).unwrap_err();
            assert_eq!(error.kind(), Kind::Internal);
        }
        assert_eq!(Target::Pass(&mut []).room(0).unwrap_err().kind(), Kind::Internal);
    }
}
