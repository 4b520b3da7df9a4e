//! The parts of one upload that are under way, done and failed.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;

use super::client::SentPart;
use super::concurrency::Concurrency;
use crate::error::{Error, Kind, Result};

/// What the part tasks and the caller share.
pub struct Progress {
    state: Mutex<State>,
    changed: Condvar,
}

pub struct State {
    in_flight: usize,
    concurrency: Concurrency,
    pub done: BTreeMap<u32, SentPart>,
    pub failed: Option<Error>,
    pub reported: bool,
}

impl Progress {
    /// `least` parts may be under way at once, and up to `most` while that makes it faster.
    pub fn new(least: usize, most: usize) -> Self {
        let (in_flight, done) = (0, BTreeMap::new());
        let concurrency = Concurrency::new(least, most);
        let state = State { in_flight, concurrency, done, failed: None, reported: false };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place among the parts in flight; waits for one to get free.
    pub fn admit(&self) -> Result<()> {
        let mut state = self.lock();
        while state.in_flight >= state.concurrency.limit() && state.failed.is_none() {
            state.concurrency.wait();
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if let Some(error) = state.failed.as_ref().map(Error::repeat) {
            state.reported = true;
            return Err(error);
        }
        state.in_flight += 1;
        Ok(())
    }

    /// Every task ends by its own deadline, so this does.
    pub fn wait_idle(&self) {
        let mut state = self.lock();
        while state.in_flight > 0 {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The parts on the store from the first one on, without a gap.
    pub fn durable(&self) -> Vec<SentPart> {
        let state = self.lock();
        (1..).map_while(|number| state.done.get(&number).cloned()).collect()
    }

    /// Refuses when a part has failed. From now on the failure counts as reported.
    pub fn check(&self) -> Result<()> {
        let mut state = self.lock();
        let Some(error) = state.failed.as_ref().map(Error::repeat) else { return Ok(()) };
        state.reported = true;
        Err(error)
    }

    /// Takes a failure, with whether it was reported, and forgets every part from the first one missing on.
    pub fn drop_failed(&self) -> Option<(Error, bool)> {
        let mut state = self.lock();
        let failure = state.failed.take()?;
        let whole = (1..).take_while(|number| state.done.contains_key(number)).last().unwrap_or(0);
        state.done.retain(|number, _| *number <= whole);
        Some((failure, state.reported))
    }

    pub fn fail(&self, error: Error, reported: bool) {
        let mut state = self.lock();
        if state.failed.is_none() {
            state.failed = Some(error);
            state.reported = reported;
        }
    }
}

/// A place among the parts in flight, and the part's body: the buffer is back in the pool when the place is free, and not
/// before the part's end is known. Dropped without [`Slot::finish`], its task was cut off by terminate or a panic.
pub struct Slot {
    progress: Arc<Progress>,
    body: Bytes,
    finished: bool,
}

impl Slot {
    pub fn of(progress: &Arc<Progress>, body: Bytes) -> Self {
        Self { progress: Arc::clone(progress), body, finished: false }
    }

    /// Another reference to the body, which must be gone when the slot ends.
    pub fn body(&self) -> Bytes {
        self.body.clone()
    }

    pub fn finish(mut self, sent: Result<SentPart>) {
        match sent {
            Ok(part) => {
                let mut state = self.progress.lock();
                state.concurrency.finish(part.size, Instant::now());
                state.done.insert(part.number, part);
            }
            Err(error) => self.progress.fail(error, false),
        }
        self.finished = true;
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if !self.finished {
            self.progress.fail(Error::new(Kind::Aborted, "a part was cut off"), false);
        }
        // Whoever waits for a buffer must find the failure, and whoever waits for the parts must find the buffers.
        self.body = Bytes::new();
        let mut state = self.progress.lock();
        state.in_flight = state.in_flight.saturating_sub(1);
        drop(state);
        self.progress.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A body that tells, when it is freed, whether its part was marked as failed and still had its place.
    struct Watched(Arc<Progress>, Arc<Mutex<Option<(bool, usize)>>>);

    impl AsRef<[u8]> for Watched {
        fn as_ref(&self) -> &[u8] {
            b"part"
        }
    }

    impl Drop for Watched {
        fn drop(&mut self) {
            let state = self.0.lock();
            *self.1.lock().unwrap() = Some((state.failed.is_some(), state.in_flight));
        }
    }

    fn slot() -> (Slot, Arc<Mutex<Option<(bool, usize)>>>) {
        let (progress, freed) = (Arc::new(Progress::new(1, 1)), Arc::default());
        progress.admit().unwrap();
        let body = Bytes::from_owner(Watched(Arc::clone(&progress), Arc::clone(&freed)));
        (Slot::of(&progress, body), freed)
    }

    #[test]
    fn the_body_is_freed_when_its_end_is_known_and_before_its_place_is() {
        let part = SentPart { number: 1, size: 4, etag: "e".into(), crc64: super::super::checksum::Crc64(0) };
        let ends: [(bool, fn(Slot, SentPart)); 3] = [
            (false, |slot, part| slot.finish(Ok(part))),
            (true, |slot, _| slot.finish(Err(Error::new(Kind::Network, "lost")))),
            (true, |slot, _| drop(slot)),
        ];
        for (failed, end) in ends {
            let (slot, freed) = slot();
            let progress = Arc::clone(&slot.progress);
            // What the request held goes first, as in a task that is cut off.
            drop(slot.body());
            assert_eq!(*freed.lock().unwrap(), None);
            end(slot, part.clone());
            assert_eq!(*freed.lock().unwrap(), Some((failed, 1)));
            progress.wait_idle();
        }
    }
}
