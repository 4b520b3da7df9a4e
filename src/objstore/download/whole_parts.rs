//! Small reads over plain http: each is answered from a whole part that was checked against its CRC.
//!
//! A few parts are kept, since a restore of single files goes to and fro between a directory and the files. Beyond the
//! stream's promised buffer they take only what the pool has free.

use std::sync::Arc;
use std::time::Instant;

use super::read_ahead::{ReadAhead, fetch_counted};
use crate::engine::memcpy::copy_some;
use crate::engine::pool::{Buffer, Promise};
use crate::error::{Error, Kind, Result};
use crate::metrics::image::{Stall, Tally};
use crate::objstore::download::spec::{ReadSpec, rest_of_part};
use crate::objstore::s3::store::Store;
use crate::objstore::s3::types::PartSpan;

const PARTS_KEPT: usize = 4;

/// The checked parts of one reader.
pub struct WholeParts {
    store: Store,
    spec: Arc<ReadSpec>,
    tally: Arc<Tally>,
    /// Part index and bytes, least recently used first.
    parts: Vec<(usize, Buffer)>,
}

impl WholeParts {
    pub fn new(store: Store, spec: Arc<ReadSpec>, tally: Arc<Tally>) -> Self {
        Self {
            store,
            spec,
            tally,
            parts: Vec::new(),
        }
    }

    /// Lets every part go.
    pub fn clear(&mut self) {
        self.parts.clear();
    }

    /// Fills all of `to`, which must lie within the object. `ahead` gives its parts up when the pool has no other buffer.
    pub fn read(&mut self, promise: &Promise, ahead: &mut ReadAhead, to: &mut [u8], offset: u64) -> Result<()> {
        let mut done = 0;
        while let Some(rest) = to.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let at = offset + done as u64;
            let index = self.spec.part_at(at);
            let (part, span) = self.part(promise, ahead, index)?;
            done += copy_some(rest, rest_of_part(part.as_slice(), &span, at)?);
        }
        Ok(())
    }

    fn part(&mut self, promise: &Promise, ahead: &mut ReadAhead, index: usize) -> Result<(&Buffer, PartSpan)> {
        let Some(span) = self.spec.parts.get(index).copied() else {
            return Err(Error::new(
                Kind::Corrupt,
                format!("read part {}: the image has none such", index + 1),
            ));
        };
        let part = match self.parts.iter().position(|(kept, _)| *kept == index) {
            Some(position) => self.parts.remove(position),
            None => {
                let buffer = self.buffer(promise, ahead, span.size)?;
                let (store, spec, tally) = (self.store.clone(), Arc::clone(&self.spec), Arc::clone(&self.tally));
                let since = Instant::now();
                let fetched = self
                    .store
                    .run(async move { fetch_counted(&store, &spec, &tally, span, buffer).await });
                self.tally.waited(Stall::Data, since);
                (index, fetched?)
            }
        };
        self.parts.push(part);
        match self.parts.last() {
            Some((_, buffer)) => Ok((buffer, span)),
            None => Err(Error::new(Kind::Internal, "a part that was fetched is gone")),
        }
    }

    /// A free buffer, else that of the part that was not used for longest.
    fn buffer(&mut self, promise: &Promise, ahead: &mut ReadAhead, bytes: u64) -> Result<Buffer> {
        if self.parts.len() >= PARTS_KEPT {
            self.parts.remove(0);
        }
        loop {
            if let Some(buffer) = promise.try_acquire(bytes) {
                return Ok(buffer);
            }
            if self.parts.is_empty() {
                // The promised buffer may be on this very stream's read-ahead.
                ahead.clear();
                let since = Instant::now();
                let acquired = promise.acquire(bytes, since + self.store.retry().operation_timeout);
                self.tally.waited(Stall::Buffer, since);
                return acquired;
            }
            self.parts.remove(0);
        }
    }
}
