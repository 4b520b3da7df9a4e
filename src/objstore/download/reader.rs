//! One object coming down: [`Reader`] decides, read by read, between two ways.
//!
//! A read begins with [`Reader::begin`]. [`Reader::take`] copies what is here and never waits; where nothing is,
//! [`Reader::fetch`] waits for it. So the caller's bytes are filled on the caller's thread, and nothing else is done there.
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
use super::spec::{ReadSpec, rest_of_part};
use super::whole_parts::WholeParts;
use crate::engine::memcpy::copy_some;
use crate::engine::pool::Reservation;
use crate::error::Result;
use crate::metrics::image::{Direction, ImageStats};
use crate::objstore::s3::store::Store;

/// Reads of this length and more fetch whole parts at once, and parts up to this length are never split.
const LONG_READ_BYTES: u64 = 1 << 20;
/// Reads in a row, each beginning where the one before ended, that make a sequential reader.
const RUN_LEN: u32 = 2;

/// An object being read by one caller at a time.
pub struct Reader {
    store: Store,
    spec: Arc<ReadSpec>,
    stats: Arc<ImageStats>,
    reservation: Option<Arc<Reservation>>,
    ahead: ReadAhead,
    random: RandomReads,
    whole: WholeParts,
    way: Way,
    last_end: u64,
    run: u32,
}

/// What [`Reader::take`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// So many bytes were filled; none at the end of the object alone.
    Bytes(usize),
    /// None was: they are not here yet. [`Reader::fetch`] comes first.
    FetchNeeded,
}

/// How the read under way is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Sequential,
    Blocks,
    WholeParts,
}

impl Reader {
    pub fn new(store: &Store, spec: ReadSpec) -> Self {
        let stats = ImageStats::new(store.metrics(), &spec.bucket, &spec.key, Direction::Read);
        let spec = Arc::new(spec);
        Self {
            store: store.clone(),
            spec: Arc::clone(&spec),
            reservation: None,
            ahead: ReadAhead::new(store.clone(), Arc::clone(&spec), Arc::clone(&stats)),
            random: RandomReads::new(store.clone(), Arc::clone(&spec), Arc::clone(&stats)),
            whole: WholeParts::new(store.clone(), spec, Arc::clone(&stats)),
            stats,
            way: Way::Sequential,
            last_end: 0,
            run: 0,
        }
    }

    /// What the reader has done and waited for.
    pub fn stats(&self) -> Arc<ImageStats> {
        Arc::clone(&self.stats)
    }

    /// A read of `len` bytes from `offset` on begins.
    pub fn begin(&mut self, offset: u64, len: usize) {
        let len = self.clamp(offset, len);
        self.run = if offset == self.last_end { self.run + 1 } else { 0 };
        self.way = if self.is_sequential(offset, len as u64) {
            Way::Sequential
        } else if self.store.is_authenticated() {
            Way::Blocks
        } else {
            Way::WholeParts
        };
    }

    /// Fills `to`, or its beginning, from `offset` on, with what is here.
    pub fn take(&mut self, to: &mut [u8], offset: u64) -> Result<Taken> {
        let len = self.clamp(offset, to.len());
        let Some(to) = to.get_mut(..len).filter(|to| !to.is_empty()) else {
            return Ok(Taken::Bytes(0));
        };
        let Some(reservation) = self.reservation.clone() else {
            return Ok(Taken::FetchNeeded);
        };
        if self.way() == Way::Blocks {
            let filled = self.random.fill(to, offset)?;
            return Ok(self.taken(offset, filled.then_some(len)));
        }

        let index = self.spec.part_at(offset);
        let span = self.spec.part(index)?;
        let part = match self.way {
            Way::Sequential => self.ahead.arrived(&reservation, index)?,
            _ => self.whole.kept(index),
        };
        let copied = match part {
            Some(part) => Some(copy_some(to, rest_of_part(part.as_slice(), &span, offset)?)),
            None => None,
        };
        Ok(self.taken(offset, copied))
    }

    /// Waits until [`Reader::take`] has something of the `len` bytes from `offset` on.
    pub async fn fetch(&mut self, offset: u64, len: usize) -> Result<()> {
        let len = self.clamp(offset, len);
        if len == 0 {
            return Ok(());
        }
        let reservation = self.reserve().await?;
        let index = self.spec.part_at(offset);
        match self.way() {
            Way::Blocks => self.random.fetch(&reservation, offset, len).await,
            Way::WholeParts => self.whole.fetch(&reservation, &mut self.ahead, index).await,
            Way::Sequential => {
                if !self.ahead.holds(index) {
                    // The window begins anew and needs the reserved buffer.
                    self.whole.clear();
                }
                self.ahead.fetch(&reservation, index).await
            }
        }
    }

    /// Fills `to` from `offset` on; short only at the end of the object.
    pub async fn read(&mut self, to: &mut [u8], offset: u64) -> Result<usize> {
        self.begin(offset, to.len());
        self.go_on(to, offset).await
    }

    /// Fills `to` with whole parts from `offset` on, checked; it must lie within the object.
    pub async fn read_part(&mut self, to: &mut [u8], offset: u64) -> Result<()> {
        self.way = Way::Sequential;
        self.go_on(to, offset).await.map(drop)
    }

    async fn go_on(&mut self, to: &mut [u8], offset: u64) -> Result<usize> {
        let mut done = 0;
        while let Some(rest) = to.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let at = offset + done as u64;
            match self.take(rest, at)? {
                Taken::Bytes(0) => break,
                Taken::Bytes(len) => done += len,
                Taken::FetchNeeded => self.fetch(at, rest.len()).await?,
            }
        }
        Ok(done)
    }

    /// So many of `len` bytes as the object has from `offset` on.
    fn clamp(&self, offset: u64, len: usize) -> usize {
        let left = usize::try_from(self.spec.size.saturating_sub(offset)).unwrap_or(usize::MAX);
        len.min(left)
    }

    fn way(&mut self) -> Way {
        if self.way == Way::Blocks && self.random.is_in_doubt() {
            self.way = Way::WholeParts;
        }
        self.way
    }

    fn taken(&mut self, offset: u64, len: Option<usize>) -> Taken {
        let Some(len) = len else {
            return Taken::FetchNeeded;
        };
        self.last_end = offset + len as u64;
        Taken::Bytes(len)
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

    async fn reserve(&mut self) -> Result<Arc<Reservation>> {
        if let Some(reservation) = &self.reservation {
            return Ok(Arc::clone(reservation));
        }
        let largest = self.spec.parts.iter().map(|part| part.size).max().unwrap_or_default();
        let reservation = Arc::new(self.store.pool().reserve(largest).await?);
        self.reservation = Some(Arc::clone(&reservation));
        Ok(reservation)
    }
}
