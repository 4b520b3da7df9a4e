//! GETs: small objects as a whole, ranges of large ones.
//!
//! The SDK's attempts end with the answer's head, so the bodies are minded here. One rule for all: a body that brings no
//! byte for `stall_timeout`, or fewer than `floor_rate` over that time, is as good as broken; what broke is asked for
//! again until `attempts` in a row bring nothing or the operation's time is over. A body must have exactly the length that
//! was asked for or announced.

use std::time::{Duration, Instant};

use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::operation::get_object::builders::GetObjectFluentBuilder;
use bytes::Bytes;

use super::checksum::{Md5Sum, bare_etag};
use super::client::{Store, path};
use super::hedge::{LEAST, TICK};
use super::landing::{Landed, Landing};
use super::sdk_error;
use crate::config::{QUERY_ATTEMPTS_MAX, Retry};
use crate::error::{Error, Kind, Result};

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
    fn room(&mut self, done: u64) -> &mut [u8] {
        let rest = match self {
            Self::Keep(memory) => memory.get_mut(usize::try_from(done).unwrap_or(usize::MAX)..).unwrap_or_default(),
            Self::Pass(memory) => memory,
        };
        let piece = rest.len().min(PIECE);
        rest.get_mut(..piece).unwrap_or_default()
    }
}

/// What one try at a small object brought.
struct Small {
    bytes: Bytes,
    /// False when nothing tells yet that no byte flipped on the way.
    is_proven: bool,
}

impl Store {
    /// A small object as a whole, refused above `size_max` bytes.
    pub async fn get_small(&self, bucket: &str, key: &str, size_max: u64) -> Result<Bytes> {
        let retry = &self.shared.retry;
        let deadline = Instant::now() + retry.operation_timeout.max(floor_time(retry, size_max));
        let mut left = retry.attempts.min(QUERY_ATTEMPTS_MAX);
        let mut unproven: Option<Bytes> = None;
        loop {
            left = left.saturating_sub(1);
            let asked = self.shared.hedges.ask("GetObject", || self.try_get_small(bucket, key, size_max)).await;
            let error = match asked {
                Ok(small) if small.is_proven => return Ok(small.bytes),
                Ok(Small { bytes, .. }) => {
                    // Not every ETag is an MD5. What comes twice alike, and in two pieces, did not change on the way.
                    if unproven.as_ref() == Some(&bytes)
                        && (self.has_other_etags(bucket) || self.is_same_in_pieces(bucket, key, &bytes).await?)
                    {
                        self.note_other_etags(bucket);
                        return Ok(bytes);
                    }
                    unproven = Some(bytes);
                    let what = format!("get {}: the bytes do not have the ETag for MD5", path(bucket, key));
                    Error::new(Kind::Corrupt, what)
                }
                Err(error) if matches!(error.kind(), Kind::Network | Kind::Timeout) => error,
                Err(error) => return Err(error),
            };
            if left == 0 || Instant::now() > deadline {
                return Err(error);
            }
            tracing::debug!("try again: {error}");
            pause(retry).await;
        }
    }

    async fn try_get_small(&self, bucket: &str, key: &str, size_max: u64) -> Result<Small> {
        let request = self.shared.client.get_object().bucket(bucket).key(key);
        let (reply, body) = ask(request, None, bucket, key).await?;
        let len = length(&reply, bucket, key)?;
        if len > size_max {
            let what = format!("get {}: {len} bytes; at most {size_max} are read here", path(bucket, key));
            return Err(Error::new(Kind::Corrupt, what));
        }
        let etag = bare_etag(reply.e_tag().unwrap_or_default()).to_owned();
        let mut bytes = vec![0; usize::try_from(len).unwrap_or_default()];
        let drained = drain(self, body, len, &mut 0, &mut Target::Keep(&mut bytes), &mut |_| {}).await;
        drained.map_err(|broken| broken.into_error().context(format!("get {}", path(bucket, key))))?;
        // Over plain http nothing but the ETag tells whether a byte of a record flipped on the way.
        let is_proven = self.is_authenticated() || Md5Sum::from_etag(&etag) == Some(Md5Sum::of(&bytes));
        Ok(Small { bytes: bytes.into(), is_proven })
    }

    /// Asks for an object's halves one by one: a fault that turns the same place of each answer over shows by that.
    async fn is_same_in_pieces(&self, bucket: &str, key: &str, bytes: &[u8]) -> Result<bool> {
        let (first, second) = bytes.split_at(bytes.len() / 2);
        for (offset, half) in [(0, first), (first.len(), second)] {
            let mut again = vec![0; half.len()];
            if !again.is_empty() {
                let range = (offset as u64, half.len() as u64);
                read_range(self, bucket, key, range, Target::Keep(&mut again), |_| {}).await?;
            }
            if again != half {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The body of `[offset, offset + len)`; the caller reads it and minds its progress.
    async fn get_range(&self, bucket: &str, key: &str, offset: u64, len: u64) -> Result<Landed> {
        let range = format!("bytes={offset}-{}", offset + len.saturating_sub(1));
        let request = self.shared.client.get_object().bucket(bucket).key(key).range(range);
        let (reply, body) = ask(request, Some(self.patience(0)), bucket, key).await?;
        let got = length(&reply, bucket, key)?;
        if got != len {
            let what = format!("get {}: {got} bytes came for the {len} at offset {offset}", path(bucket, key));
            return Err(Error::new(Kind::Corrupt, what));
        }
        Ok(body)
    }
}

/// Sends a GetObject whose body goes past the SDK.
async fn ask(
    request: GetObjectFluentBuilder,
    patience: Option<aws_sdk_s3::config::Builder>,
    bucket: &str,
    key: &str,
) -> Result<(GetObjectOutput, Landed)> {
    let landing = Landing::default();
    let place = landing.clone();
    let mut request = request.customize().mutate_request(move |request| request.add_extension(place.clone()));
    if let Some(patience) = patience {
        request = request.config_override(patience);
    }
    let reply = request.send().await.map_err(|e| sdk_error::convert("get", &path(bucket, key), &e))?;
    let body = landing.take().ok_or_else(|| no_length(bucket, key))?;
    Ok((reply, body))
}

/// Reads `len` bytes from `offset` on into the target and shows each piece to `seen`, in order and each byte once. A body
/// that breaks, stalls or crawls is resumed where it broke; one of the wrong length is asked for again.
pub async fn read_range(
    store: &Store,
    bucket: &str,
    key: &str,
    (offset, len): (u64, u64),
    mut target: Target<'_>,
    mut seen: impl FnMut(&[u8]),
) -> Result<()> {
    let retry = store.retry();
    let deadline = Instant::now() + retry.operation_timeout.max(floor_time(retry, len));
    let mut done = 0;
    let mut attempts = retry.attempts;
    loop {
        let before = done;
        let hedges = &store.shared.hedges;
        let error = match hedges
            .race("GetObject", len - before, || store.get_range(bucket, key, offset + before, len - before))
            .await
        {
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
            // The object itself may be shorter than it should be: then every answer is.
            Err(error) if error.kind() == Kind::Corrupt => {
                attempts = attempts.min(QUERY_ATTEMPTS_MAX);
                error
            }
            Err(error) => return Err(error),
        };
        attempts = if done > before { retry.attempts } else { attempts.saturating_sub(1) };
        if attempts == 0 || Instant::now() > deadline {
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

fn length(reply: &GetObjectOutput, bucket: &str, key: &str) -> Result<u64> {
    reply.content_length().and_then(|n| u64::try_from(n).ok()).ok_or_else(|| no_length(bucket, key))
}

fn no_length(bucket: &str, key: &str) -> Error {
    Error::new(Kind::Network, format!("get {}: the answer has no length", path(bucket, key)))
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
        let room = target.room(*done);
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
            Ok(Ok(0)) => return Err(Error::new(Kind::Internal, "read a range into memory that is too small").into()),
            Ok(Ok(got)) => got,
        };
        stalls = Instant::now() + retry.stall_timeout;
        seen(room.get(..got).unwrap_or_default());
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
            let what = format!("{} bytes came in {:?}, below floor_rate", self.bytes, self.start.elapsed());
            return Err(Error::new(Kind::Timeout, what));
        }
        *self = Self { start: Instant::now(), bytes: 0 };
        Ok(())
    }
}
