//! The buffer pool: page-aligned part buffers, reused, under one byte budget for the process.
//!
//! Every open stream holds a *reservation* of one part, taken when it is opened, so that a stream can always fill one part
//! whatever the others do: no set of idle streams can starve it. Buffers beyond a stream's reservation come from what is
//! left of the budget; a stream that finds nothing waits until a buffer returns. Memory is mapped when first used and
//! kept for reuse; returned buffers of a size that nobody asks for are unmapped when another size needs the room.
//!
//! Parts grow with the image, and a budget that is reserved for many streams has no room for reservations that grow with
//! them. What streams leave unused of their reservations is lent then: at least one buffer, more up to a quarter of the
//! budget. Who has lent is not kept waiting for it, so while buffers are lent the pool may hold that much more than the
//! budget. An image that could not reach its end with smaller parts gets one such buffer even when all are in use.
//!
//! 64 streams with a budget of 1 GiB are reserved 16 MiB each. One of them writes its part 1,001, of 32 MiB, and the
//! others pause: it is lent 32 MiB. All of them write: it goes on with 16 MiB until that would not do any more, then it
//! waits for the one buffer that is lent, and the pool holds up to 1 GiB and 128 MiB.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use memmap2::MmapMut;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::piece::piece;
use crate::config::size_text;
use crate::error::{Error, Kind, Result, ResultExt};

const PAGE: usize = 4096;
/// How long a stream waits for a buffer of the planned size before it takes one of the reserved size, unless its own
/// lent one must come back.
const PATIENCE: Duration = Duration::from_secs(2);

/// The part of the budget that may be lent in more than one buffer.
const LENT_PART: usize = 4;
/// How long a new stream waits for one that is just being closed, before it is refused.
const CLOSING: Duration = Duration::from_secs(2);

/// The one pool of a process.
pub struct BufferPool {
    state: Mutex<State>,
    /// A buffer or a reservation has come back, or the budget is another one.
    returned: Notify,
}

#[derive(Default)]
struct State {
    budget_bytes: usize,
    /// The sum of all reservations, used or not, and their number.
    reserved_bytes: usize,
    reservations: usize,
    /// Buffers in use that no reservation covers, without those that are lent.
    shared_bytes: usize,
    /// Buffers in use that unused reservations have lent.
    lent_bytes: usize,
    /// Mapped buffers that wait for reuse, by size.
    idle: BTreeMap<usize, Vec<MmapMut>>,
    /// Mapped bytes, idle and in use.
    mapped_bytes: usize,
}

/// One stream's guarantee of one buffer; dropped when the stream is closed.
pub struct Reservation {
    pool: Arc<BufferPool>,
    cover: Arc<Cover>,
}

/// What a reservation and the buffer that lives on it know of each other; read and written under the pool's lock only.
struct Cover {
    reserved_bytes: AtomicUsize,
    /// True while a buffer of this stream lives on the reservation.
    taken: AtomicBool,
    /// The stream is gone: a buffer that is still out was handed over to the shared budget.
    orphaned: AtomicBool,
    /// Buffers that are lent to this stream.
    loans: AtomicUsize,
}

/// One buffer, exclusively owned until it is frozen. Dropping it returns memory and budget.
pub struct Buffer {
    memory: Option<MmapMut>,
    pool: Arc<BufferPool>,
    source: Source,
}

/// What a buffer lives on.
enum Source {
    Reservation(Arc<Cover>),
    Shared,
    /// Unused reservations of others; the stream's own one is free.
    Lent(Arc<Cover>),
}

impl BufferPool {
    pub fn new(budget_bytes: u64) -> Arc<Self> {
        let pool = Arc::new(Self {
            state: Mutex::default(),
            returned: Notify::new(),
        });
        pool.set_budget(budget_bytes);
        pool
    }

    /// The configuration opened last decides; buffers in use are not taken away.
    pub fn set_budget(&self, budget_bytes: u64) {
        self.lock().budget_bytes = usize::try_from(budget_bytes).unwrap_or(usize::MAX);
        self.returned.notify_waiters();
    }

    /// Takes a reservation of one buffer of `bytes` for a stream that is being opened. While the budget is reserved, waits a
    /// moment for a stream that is being closed: hosts open the next image when they have asked for the last one's end.
    /// Fails as [`Kind::NoMemory`] where others have the room, and as [`Kind::Config`] where no waiting would help: the
    /// whole budget is smaller.
    pub async fn reserve(self: &Arc<Self>, bytes: u64) -> Result<Reservation> {
        let deadline = Instant::now() + CLOSING;
        loop {
            // Enabled before the look, so that nothing that comes back in between is missed.
            let mut returned = pin!(self.returned.notified());
            returned.as_mut().enable();
            let refused = match self.try_reserve(bytes) {
                Err(error) if error.kind() == Kind::NoMemory => error,
                other => return other,
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if timeout(left, returned).await.is_err() {
                return Err(refused);
            }
        }
    }

    /// The same without waiting.
    pub fn try_reserve(self: &Arc<Self>, bytes: u64) -> Result<Reservation> {
        let bytes = page_aligned(bytes)?;
        let mut state = self.lock();
        if bytes > state.budget_bytes {
            return Err(state.too_small_for(bytes));
        }
        if state.reserved_bytes.saturating_add(bytes) > state.budget_bytes {
            return Err(state.reserved_for_others(bytes));
        }

        state.reserved_bytes += bytes;
        state.reservations += 1;
        let cover = Cover {
            reserved_bytes: AtomicUsize::new(bytes),
            taken: AtomicBool::new(false),
            orphaned: AtomicBool::new(false),
            loans: AtomicUsize::new(0),
        };
        Ok(Reservation {
            pool: Arc::clone(self),
            cover: Arc::new(cover),
        })
    }

    /// Unmaps the buffers that wait for reuse.
    pub fn release_idle(&self) {
        let mut state = self.lock();
        let idle = std::mem::take(&mut state.idle);
        let bytes: usize = idle.values().flatten().map(|memory| memory.len()).sum();
        state.mapped_bytes = state.mapped_bytes.saturating_sub(bytes);
        drop(state);
        drop(idle);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    fn mapped_bytes(&self) -> usize {
        self.lock().mapped_bytes
    }
}

impl Reservation {
    /// A buffer of at least `bytes` for this stream; waits for one to return, up to `deadline`.
    pub async fn acquire(&self, bytes: u64, deadline: Instant) -> Result<Buffer> {
        self.acquire_up_to(bytes, deadline, |_| false, || ()).await
    }

    /// Like [`Reservation::acquire`], but after a while one of the reserved size will do, if `will_do` says so of that: parts
    /// have grown, and the budget has no room for reservations that grow with them. What `while_waiting` gives lives while it waits.
    pub async fn acquire_up_to<G>(
        &self,
        bytes: u64,
        deadline: Instant,
        will_do: impl Fn(u64) -> bool,
        while_waiting: impl FnOnce() -> G,
    ) -> Result<Buffer> {
        let settle = Instant::now() + PATIENCE;
        let bytes = page_aligned(bytes)?;
        let mut while_waiting = Some(while_waiting);
        let mut _held_while_waiting = None;
        loop {
            // Enabled before the look, so that nothing that comes back in between is missed.
            let mut returned = pin!(self.pool.returned.notified());
            returned.as_mut().enable();
            let may_be_small = will_do(self.cover.reserved_bytes.load(Relaxed) as u64);
            let patient = Instant::now() < settle;
            if let Some(buffer) = self.take_up_to(bytes, may_be_small, patient)? {
                return Ok(buffer);
            }

            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let what = format!(
                    "wait for a buffer of {}: none came back in time",
                    size_text(bytes as u64)
                );
                return Err(Error::new(Kind::Timeout, what));
            }
            if let Some(while_waiting) = while_waiting.take() {
                _held_while_waiting = Some(while_waiting());
            }
            let wait = if may_be_small { left.min(PATIENCE) } else { left };
            let _ = timeout(wait, returned).await;
        }
    }

    /// [`Reservation::acquire_up_to`] without waiting.
    pub fn try_acquire_up_to(&self, bytes: u64, will_do: impl Fn(u64) -> bool) -> Result<Option<Buffer>> {
        let may_be_small = will_do(self.cover.reserved_bytes.load(Relaxed) as u64);
        self.take_up_to(page_aligned(bytes)?, may_be_small, true)
    }

    /// What there is now; a smaller buffer only when the stream is `patient` no more.
    fn take_up_to(&self, bytes: usize, may_be_small: bool, patient: bool) -> Result<Option<Buffer>> {
        let mut state = self.pool.lock();
        self.grow(&mut state, bytes);
        if let Some(buffer) = self.take(&mut state, bytes)? {
            return Ok(Some(buffer));
        }
        let reserved = self.cover.reserved_bytes.load(Relaxed);
        if reserved >= bytes {
            return Ok(None);
        }
        if let Some(buffer) = self.borrow(&mut state, bytes, may_be_small)? {
            return Ok(Some(buffer));
        }
        // What was lent to this stream comes back when its part is sent.
        if may_be_small && !patient && self.cover.loans.load(Relaxed) == 0 {
            return self.take(&mut state, reserved);
        }
        Ok(None)
    }

    /// A buffer beside the reservation, if one is free now, for work that may as well be left: read-ahead, caches.
    pub fn try_acquire(&self, bytes: u64) -> Option<Buffer> {
        let bytes = page_aligned(bytes).ok()?;
        let mut state = self.pool.lock();
        self.take_shared(&mut state, bytes).ok().flatten()
    }

    /// Parts grow with the image: the reservation follows when the budget has room, else the stream shares until it has.
    fn grow(&self, state: &mut State, bytes: usize) {
        let more = bytes.saturating_sub(self.cover.reserved_bytes.load(Relaxed));
        let room = state.reserved_bytes + state.shared_bytes + more <= state.budget_bytes;
        if more > 0 && room && !self.cover.taken.load(Relaxed) {
            state.reserved_bytes += more;
            self.cover.reserved_bytes.store(bytes, Relaxed);
        }
    }

    fn take(&self, state: &mut State, bytes: usize) -> Result<Option<Buffer>> {
        if bytes > self.cover.reserved_bytes.load(Relaxed) || self.cover.taken.load(Relaxed) {
            return self.take_shared(state, bytes);
        }
        let memory = state.memory(bytes)?;
        self.cover.taken.store(true, Relaxed);
        Ok(Some(self.buffer(memory, Source::Reservation(Arc::clone(&self.cover)))))
    }

    /// A buffer larger than the reservation, of what the reservations leave unused, or of nothing where no smaller one will do.
    fn borrow(&self, state: &mut State, bytes: usize, may_be_small: bool) -> Result<Option<Buffer>> {
        if self.cover.taken.load(Relaxed) {
            return Ok(None);
        }
        let unused = state.in_use_bytes() + bytes <= state.budget_bytes;
        let few = state.lent_bytes + bytes <= state.budget_bytes / LENT_PART;
        if !(state.lent_bytes == 0 && (unused || !may_be_small) || unused && few) {
            return Ok(None);
        }
        let memory = state.memory(bytes)?;
        state.lent_bytes += bytes;
        self.cover.loans.fetch_add(1, Relaxed);
        Ok(Some(self.buffer(memory, Source::Lent(Arc::clone(&self.cover)))))
    }

    fn buffer(&self, memory: MmapMut, source: Source) -> Buffer {
        Buffer {
            memory: Some(memory),
            pool: Arc::clone(&self.pool),
            source,
        }
    }

    fn take_shared(&self, state: &mut State, bytes: usize) -> Result<Option<Buffer>> {
        if state.reserved_bytes + state.shared_bytes + bytes > state.budget_bytes {
            return Ok(None);
        }
        let memory = state.memory(bytes)?;
        state.shared_bytes += bytes;
        Ok(Some(self.buffer(memory, Source::Shared)))
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut state = self.pool.lock();
        let reserved = self.cover.reserved_bytes.load(Relaxed);
        state.reserved_bytes = state.reserved_bytes.saturating_sub(reserved);
        state.reservations = state.reservations.saturating_sub(1);
        // A buffer that outlives its stream (an upload being cut off) keeps its room until it returns.
        if self.cover.taken.load(Relaxed) {
            state.shared_bytes += reserved;
        }
        self.cover.orphaned.store(true, Relaxed);
        drop(state);
        self.pool.returned.notify_waiters();
    }
}

impl State {
    fn too_small_for(&self, bytes: usize) -> Error {
        let budget = size_text(self.budget_bytes as u64);
        let part = size_text(bytes as u64);
        let what = format!("a part of {part} is larger than [pool] budget {budget}: raise it above the part");
        Error::new(Kind::Config, what)
    }

    fn reserved_for_others(&self, bytes: usize) -> Error {
        let budget = size_text(self.budget_bytes as u64);
        let part = size_text(bytes as u64);
        let streams = self.reservations;
        let what = format!(
            "pool budget {budget} is reserved for {streams} open images: no part of {part} is left; raise [pool] budget"
        );
        Error::new(Kind::NoMemory, what)
    }

    fn in_use_bytes(&self) -> usize {
        let idle: usize = self.idle.iter().map(|(bytes, buffers)| bytes * buffers.len()).sum();
        self.mapped_bytes.saturating_sub(idle)
    }

    /// An idle buffer of that size, or a fresh mapping, for which idle ones of other sizes make room.
    fn memory(&mut self, bytes: usize) -> Result<MmapMut> {
        if let Some(memory) = self.idle.get_mut(&bytes).and_then(Vec::pop) {
            return Ok(memory);
        }
        while self.mapped_bytes + bytes > self.budget_bytes {
            let Some(mut largest) = self.idle.last_entry() else {
                break;
            };
            match largest.get_mut().pop() {
                Some(memory) => self.mapped_bytes = self.mapped_bytes.saturating_sub(memory.len()),
                None => drop(largest.remove()),
            }
        }
        let memory = MmapMut::map_anon(bytes).or_kind(Kind::NoMemory, || format!("map a buffer of {bytes} bytes"))?;
        // A part is 4,096 page faults of 4 KiB, or eight of 2 MiB. Where the kernel has none to give, it works as well.
        #[cfg(target_os = "linux")]
        let _ = memory.advise(memmap2::Advice::HugePage);
        self.mapped_bytes += bytes;
        Ok(memory)
    }
}

impl Buffer {
    pub fn as_slice(&self) -> &[u8] {
        self.memory.as_deref().unwrap_or_default()
    }

    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        self.memory.as_deref_mut().unwrap_or_default()
    }

    /// The first `len` bytes as a shared body; the buffer returns to the pool with the last clone.
    ///
    /// # Errors
    /// [`Kind::Internal`] when the buffer has fewer bytes.
    pub fn freeze(self, len: usize) -> Result<Bytes> {
        struct Frozen(Buffer, usize);
        impl AsRef<[u8]> for Frozen {
            fn as_ref(&self) -> &[u8] {
                self.0.as_slice().get(..self.1).unwrap_or_default()
            }
        }
        piece(self.as_slice(), 0..len as u64, "send a buffer")?;
        Ok(Bytes::from_owner(Frozen(self, len)))
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let Some(memory) = self.memory.take() else { return };
        let mut state = self.pool.lock();
        let bytes = memory.len();
        let shared = match &self.source {
            Source::Reservation(cover) if !cover.orphaned.load(Relaxed) => {
                cover.taken.store(false, Relaxed);
                0
            }
            Source::Reservation(cover) => cover.reserved_bytes.load(Relaxed),
            Source::Shared => bytes,
            Source::Lent(cover) => {
                cover.loans.fetch_sub(1, Relaxed);
                state.lent_bytes = state.lent_bytes.saturating_sub(bytes);
                0
            }
        };

        state.shared_bytes = state.shared_bytes.saturating_sub(shared);
        if state.mapped_bytes > state.budget_bytes {
            state.mapped_bytes = state.mapped_bytes.saturating_sub(bytes);
        } else {
            state.idle.entry(bytes).or_default().push(memory);
        }
        drop(state);
        self.pool.returned.notify_waiters();
    }
}

fn page_aligned(bytes: u64) -> Result<usize> {
    let bytes = usize::try_from(bytes).or_kind(Kind::NoMemory, || format!("hold {bytes} bytes in memory"))?;
    Ok(bytes.max(1).next_multiple_of(PAGE))
}

#[cfg(test)]
#[path = "pool_tests.rs"]
mod tests;
