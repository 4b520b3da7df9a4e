//! Whole parts, fetched ahead of a sequential reader and checked before they are read.
//!
//! The window starts at one part, doubles whenever the reader has to wait, up to `read_ahead_parts`, and is refilled
//! when half of it is used. The part that the reader waits for has the stream's reserved buffer; parts ahead take only
//! what the pool has free. A seek out of the window drops it, which also stops what is under way.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use futures::future::FutureExt;
use tokio::task::{JoinError, JoinHandle};

use crate::engine::checksum::{Crc64, Crc64Hasher};
use crate::engine::piece::piece_mut;
use crate::engine::pool::{Buffer, Reservation};
use crate::error::{Error, Kind, Result};
use crate::metrics::image::{ImageStats, Stall};
use crate::objstore::download::spec::ReadSpec;
use crate::objstore::s3::get::drain::Target;
use crate::objstore::s3::get::range::read_range;
use crate::objstore::s3::get::{FirstEtag, Source};
use crate::objstore::s3::store::Store;
use crate::objstore::s3::types::PartSpan;

/// The read-ahead window of one reader.
pub struct ReadAhead {
    store: Store,
    spec: Arc<ReadSpec>,
    stats: Arc<ImageStats>,
    parts: VecDeque<Fetch>,
    window: usize,
}

struct Fetch {
    index: usize,
    state: FetchState,
}

enum FetchState {
    UnderWay(JoinHandle<Result<Buffer>>),
    Ready(Buffer),
    Taken,
}

impl Drop for Fetch {
    fn drop(&mut self) {
        if let FetchState::UnderWay(task) = &self.state {
            task.abort();
        }
    }
}

impl ReadAhead {
    pub fn new(store: Store, spec: Arc<ReadSpec>, stats: Arc<ImageStats>) -> Self {
        Self {
            store,
            spec,
            stats,
            parts: VecDeque::new(),
            window: 1,
        }
    }

    /// Lets every part go.
    pub fn clear(&mut self) {
        self.parts.clear();
        self.window = 1;
    }

    /// True when the part is read or being read.
    pub fn holds(&self, index: usize) -> bool {
        self.parts.iter().any(|fetch| fetch.index == index)
    }

    /// The checked bytes of a part that has arrived; earlier parts are let go, later ones are on their way.
    pub fn arrived(&mut self, reservation: &Reservation, index: usize) -> Result<Option<&Buffer>> {
        if !self.holds(index) || self.is_awaited(index) {
            return Ok(None);
        }
        if self.parts.len() <= self.window / 2 {
            self.refill(reservation);
        }
        if let Some(fetch) = self.parts.front_mut()
            && let FetchState::UnderWay(task) = &mut fetch.state
        {
            let Some(joined) = task.now_or_never() else {
                return Ok(None);
            };
            self.keep(joined)?;
        }
        self.front().map(Some)
    }

    /// Waits for a part that [`ReadAhead::arrived`] did not have, and has then.
    pub async fn fetch(&mut self, reservation: &Reservation, index: usize) -> Result<()> {
        // The reader was too early, also when the part has come since.
        let is_late = self.holds(index);
        self.wait_for(reservation, index, is_late).await
    }

    /// `is_late` when a reader has waited for the part already.
    async fn wait_for(&mut self, reservation: &Reservation, index: usize, is_late: bool) -> Result<()> {
        if !self.holds(index) {
            self.clear();
            let since = Instant::now();
            let size = self.spec.parts.get(index).map_or(1, |part| part.size);
            let deadline = since + self.store.retry().operation_timeout;
            let buffer = reservation.acquire(size, deadline).await;
            self.stats.waited(Stall::Buffer, since);
            self.start(index, buffer?);
        }

        let is_awaited = self.is_awaited(index) || is_late;
        if is_awaited {
            self.window = (self.window * 2).min(self.store.transfer().read_ahead_parts + 1);
        }
        if is_awaited || self.parts.len() <= self.window / 2 {
            self.refill(reservation);
        }

        if let Some(fetch) = self.parts.front_mut()
            && let FetchState::UnderWay(task) = &mut fetch.state
        {
            let since = Instant::now();
            let joined = task.await;
            self.stats.waited(Stall::Data, since);
            self.keep(joined)?;
        }
        self.front().map(drop)
    }

    /// The part as checked bytes, to keep; the next ones are on their way.
    pub async fn take(&mut self, reservation: &Reservation, index: usize) -> Result<Buffer> {
        self.wait_for(reservation, index, false).await?;
        let taken = self
            .parts
            .front_mut()
            .map(|fetch| std::mem::replace(&mut fetch.state, FetchState::Taken));
        self.parts.pop_front();
        // The window would be empty, and the next part seem a seek.
        self.refill(reservation);
        match taken {
            Some(FetchState::Ready(buffer)) => Ok(buffer),
            _ => Err(Error::new(Kind::Internal, "take a part that is not there")),
        }
    }

    /// Lets the parts before `index` go; true when that part, which is held, is not here yet.
    fn is_awaited(&mut self, index: usize) -> bool {
        while self.parts.front().is_some_and(|fetch| fetch.index < index) {
            self.parts.pop_front();
        }
        matches!(self.parts.front(), Some(Fetch { state: FetchState::UnderWay(task), .. }) if !task.is_finished())
    }

    fn refill(&mut self, reservation: &Reservation) {
        while self.parts.len() < self.window {
            let next = self.parts.back().map_or(0, |fetch| fetch.index + 1);
            let Some(span) = self.spec.parts.get(next) else { break };
            let Some(buffer) = reservation.try_acquire(span.size) else {
                break;
            };
            self.start(next, buffer);
        }
    }

    fn start(&mut self, index: usize, buffer: Buffer) {
        let Some(span) = self.spec.parts.get(index).copied() else {
            return;
        };
        let store = self.store.clone();
        let spec = Arc::clone(&self.spec);
        let stats = Arc::clone(&self.stats);
        let task = self
            .store
            .runtime()
            .spawn(async move { fetch_counted(&store, &spec, &stats, span, buffer).await });
        self.parts.push_back(Fetch {
            index,
            state: FetchState::UnderWay(task),
        });
    }

    /// Keeps the first part of the window, which has ended; a failed one is dropped, so that a further read tries again.
    fn keep(&mut self, joined: std::result::Result<Result<Buffer>, JoinError>) -> Result<()> {
        let joined = joined.map_err(|_| Error::new(Kind::Aborted, "read a part: the plug-in was terminated"));
        let kept = joined.flatten().map(FetchState::Ready);
        match (kept, self.parts.front_mut()) {
            (Ok(ready), Some(fetch)) => fetch.state = ready,
            (Ok(_), None) => {}
            (Err(error), _) => {
                self.parts.clear();
                return Err(error);
            }
        }
        Ok(())
    }

    fn front(&self) -> Result<&Buffer> {
        match self.parts.front() {
            Some(Fetch {
                state: FetchState::Ready(buffer),
                ..
            }) => Ok(buffer),
            _ => Err(Error::new(Kind::Internal, "read a part that was never asked for")),
        }
    }
}

/// [`fetch_part`] for an image whose parts and retries are counted.
pub async fn fetch_counted(
    store: &Store,
    spec: &ReadSpec,
    stats: &Arc<ImageStats>,
    span: PartSpan,
    buffer: Buffer,
) -> Result<Buffer> {
    let since = Instant::now();
    let fetched = stats.scope(fetch_part(store, spec, span, buffer)).await;
    fetched.inspect(|_| stats.part(since))
}

/// Fetches one part and checks its CRC; a part that arrives damaged is fetched once more.
pub async fn fetch_part(store: &Store, spec: &ReadSpec, span: PartSpan, mut buffer: Buffer) -> Result<Buffer> {
    let mut seen = Crc64(0);
    for _ in 0..2 {
        let to = piece_mut(buffer.as_mut_slice(), 0..span.size, "read a part into a buffer")?;
        // The CRC proves the bytes, whatever ETag a copy of the object has got meanwhile.
        seen = fetch_range(store, spec, span.offset, to, None).await?;
        if seen == span.crc64 {
            return Ok(buffer);
        }
        tracing::warn!(key = spec.key, part = span.number, "a part arrived damaged");
    }
    let what = format!(
        "read part {} of {}/{} (offset {}, {} bytes): CRC64NVME is {:016x}, the catalog has {:016x}",
        span.number, spec.bucket, spec.key, span.offset, span.size, seen.0, span.crc64.0
    );
    Err(Error::new(Kind::Corrupt, what))
}

/// Fills `to` from `offset` on. Gives the CRC of the range; where nothing compares it, `etag` holds the ranges together.
pub async fn fetch_range(
    store: &Store,
    spec: &ReadSpec,
    offset: u64,
    to: &mut [u8],
    etag: Option<&FirstEtag>,
) -> Result<Crc64> {
    let mut hasher = Crc64Hasher::default();
    let range = (offset, to.len() as u64);
    let source = Source {
        bucket: &spec.bucket,
        key: &spec.key,
        version: None,
        size: Some(spec.size),
        etag,
    };
    read_range(store, source, range, Target::Keep(to), |bytes| hasher.update(bytes)).await?;
    Ok(hasher.value())
}
