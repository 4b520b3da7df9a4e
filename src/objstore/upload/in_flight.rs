//! The parts of one upload that are under way, done and failed.
//!
//! A part is *proven* first (its MD5 is computed, where the wire asks for it) and then *on the line*. Only the second is
//! bounded by [`Concurrency`]; beside it as many parts may be with the hash lanes as these take side by side.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::Notify;

use super::concurrency::Concurrency;
use crate::engine::md5_lanes::{Demand, Md5Lanes};
use crate::error::{Error, Kind, Result};
use crate::objstore::s3::types::SentPart;

/// A part that the store has taken.
#[derive(Clone, Debug)]
pub struct Sent {
    pub part: SentPart,
    /// False when it must be read back before it counts.
    pub proven: bool,
}

/// What the part tasks and the caller share.
pub struct Progress {
    state: Mutex<State>,
    /// A part has ended.
    part_ended: Notify,
    /// Parts that may be with the hash lanes beside those on the line.
    ahead: usize,
    lanes: Option<Arc<Md5Lanes>>,
}

pub struct State {
    in_flight: usize,
    on_line: usize,
    /// Proven, and waiting for a place on the line.
    ready: usize,
    /// The line has room, and all that could go on it is with the hash lanes.
    starved: Option<Demand>,
    concurrency: Concurrency,
    pub done: BTreeMap<u32, SentPart>,
    /// Of these, the parts that nothing has proven on the wire.
    pub unproven: BTreeSet<u32>,
    pub failed: Option<Error>,
    pub reported: bool,
}

impl Progress {
    /// `least` parts may be on the line at once, and up to `most` while that makes it faster. With `lanes`, `ahead` more
    /// may be with them.
    pub fn new(least: usize, most: usize, ahead: usize, lanes: Option<Arc<Md5Lanes>>) -> Self {
        let state = State {
            in_flight: 0,
            on_line: 0,
            ready: 0,
            starved: None,
            concurrency: Concurrency::new(least, most),
            done: BTreeMap::new(),
            unproven: BTreeSet::new(),
            failed: None,
            reported: false,
        };
        Self {
            state: Mutex::new(state),
            part_ended: Notify::new(),
            ahead,
            lanes,
        }
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place among the parts in flight; waits for one to get free.
    pub async fn admit(&self) -> Result<()> {
        loop {
            // Enabled before the look, so that no part ends unseen in between.
            let mut part_ended = pin!(self.part_ended.notified());
            part_ended.as_mut().enable();
            if self.try_admit()? {
                return Ok(());
            }
            part_ended.await;
        }
    }

    /// [`Progress::admit`] without waiting; false when there is no place now.
    pub fn try_admit(&self) -> Result<bool> {
        let mut state = self.lock();
        state.check()?;
        if state.in_flight >= state.concurrency.limit() + self.ahead {
            state.concurrency.wait();
            return Ok(false);
        }
        state.in_flight += 1;
        self.evaluate(&mut state);
        Ok(true)
    }

    /// Whoever proves parts must know whether one is needed at once.
    fn evaluate(&self, state: &mut State) {
        let Some(lanes) = &self.lanes else { return };
        let proving = state.in_flight.saturating_sub(state.on_line + state.ready);
        let starved = proving > 0 && state.ready == 0 && state.on_line < state.concurrency.limit();
        if starved != state.starved.is_some() {
            state.starved = starved.then(|| lanes.demand());
        }
    }

    /// True when parts are hashed side by side in the lanes.
    pub fn has_lanes(&self) -> bool {
        self.lanes.is_some()
    }

    /// Every task ends by its own deadline, so this does.
    pub async fn wait_idle(&self) {
        loop {
            let mut part_ended = pin!(self.part_ended.notified());
            part_ended.as_mut().enable();
            if self.lock().in_flight == 0 {
                return;
            }
            part_ended.await;
        }
    }

    /// The parts on the store from the first one on, without a gap.
    pub fn durable(&self) -> Vec<SentPart> {
        let state = self.lock();
        (1..).map_while(|number| state.done.get(&number).cloned()).collect()
    }

    /// Refuses when a part has failed. From now on the failure counts as reported.
    pub fn check(&self) -> Result<()> {
        self.lock().check()
    }

    /// Takes a failure, with whether it was reported, and forgets every part from the first one missing on.
    pub fn drop_failed(&self) -> Option<(Error, bool)> {
        let mut state = self.lock();
        let failure = state.failed.take()?;
        let whole = (1..)
            .take_while(|number| state.done.contains_key(number))
            .last()
            .unwrap_or(0);
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

impl State {
    /// Takes a part in that is on the store.
    pub fn add(&mut self, Sent { part, proven }: Sent) {
        if !proven {
            self.unproven.insert(part.number);
        }
        self.done.insert(part.number, part);
    }

    fn check(&mut self) -> Result<()> {
        let Some(error) = self.failed.as_ref().map(Error::repeat) else {
            return Ok(());
        };
        self.reported = true;
        Err(error)
    }
}

/// A place among the parts in flight, and the part's body: the buffer is back in the pool when the place is free, and not
/// before the part's end is known. Dropped without [`Slot::finish`], its task was cut off by terminate or a panic.
pub struct Slot {
    progress: Arc<Progress>,
    body: Bytes,
    stage: Stage,
    finished: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Proving,
    Ready,
    OnLine,
}

impl Slot {
    pub fn of(progress: &Arc<Progress>, body: Bytes) -> Self {
        Self {
            progress: Arc::clone(progress),
            body,
            stage: Stage::Proving,
            finished: false,
        }
    }

    /// Another reference to the body, which must be gone when the slot ends.
    pub fn body(&self) -> Bytes {
        self.body.clone()
    }

    /// The part is proven: waits for its turn on the line.
    pub async fn enter_line(&mut self) {
        let progress = Arc::clone(&self.progress);
        loop {
            let mut part_ended = pin!(progress.part_ended.notified());
            part_ended.as_mut().enable();
            if self.try_enter_line() {
                return;
            }
            part_ended.await;
        }
    }

    fn try_enter_line(&mut self) -> bool {
        let progress = Arc::clone(&self.progress);
        let mut state = progress.lock();
        let has_room = state.on_line < state.concurrency.limit();
        self.move_to(&mut state, if has_room { Stage::OnLine } else { Stage::Ready });
        progress.evaluate(&mut state);
        has_room
    }

    fn move_to(&mut self, state: &mut State, stage: Stage) {
        self.leave(state);
        match stage {
            Stage::Proving => {}
            Stage::Ready => state.ready += 1,
            Stage::OnLine => state.on_line += 1,
        }
        self.stage = stage;
    }

    fn leave(&self, state: &mut State) {
        match self.stage {
            Stage::Proving => {}
            Stage::Ready => state.ready = state.ready.saturating_sub(1),
            Stage::OnLine => state.on_line = state.on_line.saturating_sub(1),
        }
    }

    pub fn finish(mut self, sent: Result<Sent>) {
        match sent {
            Ok(sent) => {
                let mut state = self.progress.lock();
                state.concurrency.finish(sent.part.size, Instant::now());
                state.add(sent);
            }
            Err(error) => self.progress.fail(error, false),
        }
        self.finished = true;
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if !self.finished {
            self.progress
                .fail(Error::new(Kind::Aborted, "a part was cut off"), false);
        }
        // Whoever waits for a buffer must find the failure, and whoever waits for the parts must find the buffers.
        self.body = Bytes::new();
        let mut state = self.progress.lock();
        self.leave(&mut state);
        state.in_flight = state.in_flight.saturating_sub(1);
        self.progress.evaluate(&mut state);
        drop(state);
        self.progress.part_ended.notify_waiters();
    }
}

#[cfg(test)]
#[path = "in_flight_tests.rs"]
mod tests;
