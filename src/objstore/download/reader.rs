//! One object coming down: [`Reader`] decides, read by read, between two ways.
//!
//! *Sequential* ([`super::read_ahead`]): whole parts, fetched ahead, each checked against its CRC before the first byte
//! is given out. *Random*, over https ([`super::blocks`]): only the blocks that are asked for, kept in a small cache;
//! they are too small to check against a part's CRC, but TLS proves every byte, and the ETag of the record that it is the
//! object that was written: where another ETag comes, whole parts are checked as over plain http. *Random*, over plain http
//! ([`super::whole_parts`]): the part that holds them, checked, since nothing else would notice a byte that flipped on
//! the way. That costs a part's transfer for the first small read in it (16 MiB at first, more in large images) and
//! nothing for further ones while it is among the last few: where single files are restored from much, use https.
//!
//! A read at the start of the object, one that goes on where the last two ended, or a long one is sequential; all others
//! are random. Buffers come from the pool at the first read, none before.

use std::sync::Arc;

use super::blocks::RandomReads;
use super::read_ahead::ReadAhead;
use super::spec::ReadSpec;
use super::whole_parts::WholeParts;
use crate::engine::pool::Promise;
use crate::error::Result;
use crate::metrics::image::{Direction, Tally};
use crate::objstore::s3::store::Store;

/// Reads of this length and more fetch whole parts at once, and parts up to this length are never split.
const LONG_READ_BYTES: u64 = 1 << 20;
/// Reads in a row, each beginning where the one before ended, that make a sequential reader.
const RUN_LEN: u32 = 2;

/// An object being read by one caller at a time.
pub struct Reader {
    store: Store,
    spec: Arc<ReadSpec>,
    tally: Arc<Tally>,
    promise: Option<Arc<Promise>>,
    ahead: ReadAhead,
    random: RandomReads,
    whole: WholeParts,
    last_end: u64,
    run: u32,
}

impl Reader {
    pub fn new(store: &Store, spec: ReadSpec) -> Self {
        let tally = Tally::new(store.metrics(), &spec.bucket, &spec.key, Direction::Read);
        let spec = Arc::new(spec);
        Self {
            store: store.clone(),
            spec: Arc::clone(&spec),
            promise: None,
            ahead: ReadAhead::new(store.clone(), Arc::clone(&spec), Arc::clone(&tally)),
            random: RandomReads::new(store.clone(), Arc::clone(&spec), Arc::clone(&tally)),
            whole: WholeParts::new(store.clone(), spec, Arc::clone(&tally)),
            tally,
            last_end: 0,
            run: 0,
        }
    }

    /// What the reader has done and waited for.
    pub fn tally(&self) -> Arc<Tally> {
        Arc::clone(&self.tally)
    }

    /// Fills `to` from `offset` on; short only at the end of the object.
    pub fn read(&mut self, to: &mut [u8], offset: u64) -> Result<usize> {
        let left = usize::try_from(self.spec.size.saturating_sub(offset)).unwrap_or(usize::MAX);
        let len = to.len().min(left);
        let Some(to) = to.get_mut(..len).filter(|to| !to.is_empty()) else {
            return Ok(0);
        };
        let promise = self.promise()?;
        self.run = if offset == self.last_end { self.run + 1 } else { 0 };
        if self.is_sequential(offset, len as u64) {
            if !self.ahead.holds(self.spec.part_at(offset)) {
                // The window begins anew and needs the promised buffer.
                self.whole.clear();
            }
            self.ahead.read(&promise, to, offset)?;
        } else if !self.store.is_authenticated() || !self.random.read(&promise, to, offset)? {
            self.whole.read(&promise, &mut self.ahead, to, offset)?;
        }
        self.last_end = offset + len as u64;
        Ok(len)
    }

    /// Fills `to` with whole parts from `offset` on, checked; it must lie within the object.
    pub fn read_part(&mut self, to: &mut [u8], offset: u64) -> Result<()> {
        let promise = self.promise()?;
        self.whole.clear();
        self.ahead.read(&promise, to, offset)
    }

    fn is_sequential(&self, offset: u64, len: u64) -> bool {
        let part = self.spec.part_at(offset);
        let short_part = self
            .spec
            .parts
            .get(part)
            .is_some_and(|part| part.size <= LONG_READ_BYTES);
        offset == 0 || short_part || len >= LONG_READ_BYTES || self.run >= RUN_LEN || self.ahead.holds(part)
    }

    fn promise(&mut self) -> Result<Arc<Promise>> {
        if let Some(promise) = &self.promise {
            return Ok(Arc::clone(promise));
        }
        let largest = self.spec.parts.iter().map(|part| part.size).max().unwrap_or_default();
        let promise = Arc::new(self.store.pool().promise(largest)?);
        self.promise = Some(Arc::clone(&promise));
        Ok(promise)
    }
}
