//! Room for records that are being read and parsed: whoever works on many records at once shares it.
//!
//! A usual record has a few kilobytes, the largest one 16 MiB, and parsed it takes several times as much. An audit that
//! looks at 256 images at once must not take gigabytes because somebody has put such records there. So every record
//! takes room for its bytes before it is parsed, and large ones wait for one another; small ones never notice.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::format::record::RECORD_SIZE_MAX;
use crate::error::{Error, Kind, Result};

/// Bytes of records that are parsed at once: two of the largest.
const ROOM_BYTES: u64 = 2 * RECORD_SIZE_MAX;
const UNIT_BYTES: u64 = 1 << 10;

/// The room of one LSU; clones share it.
#[derive(Clone, Debug)]
pub struct Room {
    units: Arc<Semaphore>,
}

/// Room that is taken; dropped, it is given back.
#[derive(Debug)]
pub struct Taken {
    _units: OwnedSemaphorePermit,
}

impl Room {
    pub fn new() -> Self {
        Self {
            units: Arc::new(Semaphore::new(
                usize::try_from(ROOM_BYTES / UNIT_BYTES).unwrap_or(usize::MAX >> 3),
            )),
        }
    }

    /// Waits for room for a record of so many bytes. Nobody may wait for more while holding some.
    pub async fn take(&self, bytes: u64) -> Result<Taken> {
        // A larger one is refused when it is read; it must not wait for ever for more room than there is.
        let units = bytes.min(RECORD_SIZE_MAX).div_ceil(UNIT_BYTES).max(1);
        let units = u32::try_from(units).unwrap_or(u32::MAX);
        let taken = Arc::clone(&self.units).acquire_many_owned(units).await;
        let taken = taken.map_err(|_| Error::new(Kind::Internal, "wait for room for a record: there is none"))?;
        Ok(Taken { _units: taken })
    }
}

impl Default for Room {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn large_records_wait_for_one_another_and_small_ones_do_not() {
        let room = Room::new();
        let large = [room.take(14 << 20).await.unwrap(), room.take(u64::MAX).await.unwrap()];
        assert!(room.take(14 << 20).now_or_never().is_none());
        let small: Vec<_> = (0..100)
            .map(|_| room.take(10_000).now_or_never().expect("room").unwrap())
            .collect();
        drop((small, large));
        assert!(room.take(14 << 20).now_or_never().is_some());
    }
}
