//! Small reads over plain http: each is answered from a whole part that was checked against its CRC.
//!
//! A few parts are kept, since a restore of single files goes to and fro between a directory and the files. Beyond the
//! stream's reserved buffer they take only what the pool has free.

use std::sync::Arc;
use std::time::Instant;

use super::read_ahead::{ReadAhead, fetch_counted};
use crate::engine::pool::{Buffer, Reservation};
use crate::error::Result;
use crate::metrics::image::{ImageStats, Stall};
use crate::objstore::download::spec::ReadSpec;
use crate::objstore::s3::store::Store;

const PARTS_KEPT: usize = 4;

/// The checked parts of one reader.
pub struct WholeParts {
    store: Store,
    spec: Arc<ReadSpec>,
    stats: Arc<ImageStats>,
    /// Part index and bytes, least recently used first.
    parts: Vec<(usize, Buffer)>,
}

impl WholeParts {
    pub fn new(store: Store, spec: Arc<ReadSpec>, stats: Arc<ImageStats>) -> Self {
        Self {
            store,
            spec,
            stats,
            parts: Vec::new(),
        }
    }

    /// Lets every part go.
    pub fn clear(&mut self) {
        self.parts.clear();
    }

    /// A part that is kept.
    pub fn kept(&mut self, index: usize) -> Option<&Buffer> {
        let position = self.parts.iter().position(|(kept, _)| *kept == index)?;
        let part = self.parts.remove(position);
        self.parts.push(part);
        self.parts.last().map(|(_, buffer)| buffer)
    }

    /// Waits for a part, which is kept then. `ahead` gives its parts up when the pool has no other buffer.
    pub async fn fetch(&mut self, reservation: &Reservation, ahead: &mut ReadAhead, index: usize) -> Result<()> {
        let span = self.spec.part(index)?;
        let buffer = self.buffer(reservation, ahead, span.size).await?;
        let since = Instant::now();
        let fetched = fetch_counted(&self.store, &self.spec, &self.stats, span, buffer).await;
        self.stats.waited(Stall::Data, since);
        self.parts.push((index, fetched?));
        Ok(())
    }

    /// A free buffer, else that of the part that was not used for longest.
    async fn buffer(&mut self, reservation: &Reservation, ahead: &mut ReadAhead, bytes: u64) -> Result<Buffer> {
        if self.parts.len() >= PARTS_KEPT {
            self.parts.remove(0);
        }
        loop {
            if let Some(buffer) = reservation.try_acquire(bytes) {
                return Ok(buffer);
            }
            if self.parts.is_empty() {
                // The reserved buffer may be on this very stream's read-ahead.
                ahead.clear();
                let since = Instant::now();
                let deadline = since + self.store.retry().operation_timeout;
                let acquired = reservation.acquire(bytes, deadline).await;
                self.stats.waited(Stall::Buffer, since);
                return acquired;
            }
            self.parts.remove(0);
        }
    }
}
