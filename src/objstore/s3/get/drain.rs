//! A body is taken in to its end, piece by piece, into the memory of whoever reads.
//!
//! It counts as broken when no byte comes for `stall_timeout`, when fewer than `floor_rate` come over that time, and,
//! where there is credit for that ([`crate::objstore::s3::hedge`]), when it comes far slower than is usual. For
//! instance with 20 s and 250 kB/s: 5 MB must have come after 20 s. Left out: asking again, see [`super::range`].

use std::time::{Duration, Instant};

use crate::config::Retry;
use crate::engine::piece::{piece, piece_mut};
use crate::error::{Error, Kind, Result};
use crate::objstore::s3::hedge::{LEAST, TICK};
use crate::objstore::s3::store::Store;
use crate::objstore::transport::body::ResponseBody;

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

/// Why a body was not taken in to its end.
pub(super) enum Broken {
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
    pub(super) fn into_error(self) -> Error {
        match self {
            Self::By(error) => error,
            Self::Straggles => Error::new(Kind::Timeout, "it comes far slower than usual"),
        }
    }
}

/// Takes a body in up to `len` bytes; `done` counts them, whatever the end.
pub(super) async fn drain(
    store: &Store,
    mut body: ResponseBody,
    len: u64,
    done: &mut u64,
    target: &mut Target<'_>,
    seen: &mut impl FnMut(&[u8]),
) -> std::result::Result<(), Broken> {
    let retry = store.retry();
    let began = Instant::now();
    let wanted = len - *done;

    if body.left() != wanted {
        let what = format!("{} bytes come for the {wanted} that were asked for", body.left());
        return Err(Error::new(Kind::Network, what).into());
    }

    let mut window = Window { start: began, bytes: 0 };
    let mut look = began + LEAST;
    let mut stalls = began + retry.stall_timeout;

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

/// How long `bytes` may take.
pub fn floor_time(retry: &Retry, bytes: u64) -> Duration {
    Duration::from_secs_f64(bytes as f64 / retry.floor_rate_bytes.max(1) as f64)
}

pub(super) async fn pause(retry: &Retry) {
    tokio::time::sleep(retry.backoff_initial.min(PAUSE_MAX)).await;
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
