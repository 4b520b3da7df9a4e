//! A whole object read part by part to see whether it is what was written: nothing is copied, no part is skipped.
//!
//! Parts come through the read-ahead of a restore, each checked against its CRC. A bad part does not end the scan. MD5s are
//! not computed: an ETag that is none says nothing against a CRC that holds.

use std::sync::Arc;

use super::read_ahead::ReadAhead;
use crate::engine::pool::Reservation;
use crate::error::{Error, Kind, Result};
use crate::metrics::image::{Direction, ImageStats};
use crate::objstore::download::spec::ReadSpec;
use crate::objstore::s3::store::Store;

/// One part as it was found.
#[derive(Debug)]
pub struct ScannedPart {
    /// Its place in the list of parts, from 0.
    pub index: usize,
    /// Why its bytes are not what was written; None when they are.
    pub wrong: Option<Error>,
}

/// An object being read to be checked, part by part.
pub struct Scan {
    spec: Arc<ReadSpec>,
    reservation: Reservation,
    ahead: ReadAhead,
    next: usize,
}

impl Scan {
    /// # Errors
    /// [`Kind::NoMemory`] while the pool is reserved for others.
    pub fn new(store: &Store, spec: ReadSpec) -> Result<Self> {
        let spec = Arc::new(spec);
        let largest = spec.parts.iter().map(|part| part.size).max().unwrap_or_default();
        let stats = ImageStats::new(store.metrics(), &spec.bucket, &spec.key, Direction::Read);
        Ok(Self {
            reservation: store.pool().try_reserve(largest)?,
            ahead: ReadAhead::new(store.clone(), Arc::clone(&spec), stats),
            spec,
            next: 0,
        })
    }

    /// Bytes of the part that [`Scan::next_part`] reads; None behind the last one.
    pub fn next_size(&self) -> Option<u64> {
        self.spec.parts.get(self.next).map(|part| part.size)
    }

    /// Reads the next part, which must be there.
    ///
    /// # Errors
    /// Those of the store; a part that is not what was written is none.
    pub async fn next_part(&mut self) -> Result<ScannedPart> {
        let index = self.next;
        self.next += 1;
        let wrong = match self.ahead.take(&self.reservation, index).await {
            Ok(_) => None,
            Err(error) if error.kind() == Kind::Corrupt => Some(error),
            Err(error) => return Err(error),
        };
        Ok(ScannedPart { index, wrong })
    }
}
