//! Small reads anywhere, over https: blocks of 128 KiB, one request for all that a read misses, a small cache.
//!
//! NetBackup's accelerator and single-file restores read 512 bytes to 128 KiB here and there. The cache is one pool
//! buffer of sixteen blocks, taken only while the pool has it free; without it each read is a request of its own. Blocks
//! are too small to be checked against a part's CRC: TLS proves that they are of the store, and the record's ETag that they are
//! of the object that was written. Where another ETag comes, which may be that of a copy, nothing is given out from here.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Instant;

use super::read_ahead::fetch_range;
use crate::clean::words;
use crate::engine::memcpy::copy;
use crate::engine::memory;
use crate::engine::piece::{piece, piece_mut};
use crate::engine::pool::{Buffer, Reservation};
use crate::error::{Error, Kind, Result};
use crate::metrics::image::{ImageStats, Stall};
use crate::objstore::download::spec::ReadSpec;
use crate::objstore::s3::get::FirstEtag;
use crate::objstore::s3::store::Store;

const BLOCK_BYTES: u64 = 128 << 10;
const SLOTS: usize = 16;

/// The block cache of one reader.
pub struct RandomReads {
    store: Store,
    spec: Arc<ReadSpec>,
    stats: Arc<ImageStats>,
    /// All that this reader gives out is of one object.
    etag: Arc<FirstEtag>,
    /// Another ETag than the record's came.
    in_doubt: bool,
    cache: Option<Buffer>,
    /// Block number and slot, least recently used first.
    blocks: Vec<(u64, usize)>,
    /// What was fetched for the read under way, and its offset; the cache may have had no room for it.
    fetched: Option<(u64, Vec<u8>)>,
}

impl RandomReads {
    pub fn new(store: Store, spec: Arc<ReadSpec>, stats: Arc<ImageStats>) -> Self {
        Self {
            store,
            spec,
            stats,
            etag: Arc::default(),
            in_doubt: false,
            cache: None,
            blocks: Vec::new(),
            fetched: None,
        }
    }

    /// True where only checked parts can tell whether it is the right object.
    pub fn is_in_doubt(&self) -> bool {
        self.in_doubt
    }

    /// Fills all of `to`, which must lie within the object and is shorter than the cache; or false, when
    /// [`RandomReads::fetch`] of as much must come first.
    pub fn fill(&mut self, to: &mut [u8], offset: u64) -> Result<bool> {
        let wanted = blocks_of(offset, to.len());
        let fetched = self.fetched.take();
        if let Some(missing) = self.missing(wanted.clone())
            && !fetched
                .as_ref()
                .is_some_and(|(start, bytes)| covers(*start, bytes.len(), &missing))
        {
            return Ok(false);
        }
        self.touch(&wanted);
        for block in wanted {
            let source = self.source(block, fetched.as_ref());
            copy_overlap(source.ok_or_else(lost)?, block * BLOCK_BYTES, to, offset)?;
        }
        Ok(true)
    }

    /// Fetches the blocks of a read that are not cached; or finds that the object is in doubt.
    pub async fn fetch(&mut self, reservation: &Reservation, offset: u64, len: usize) -> Result<()> {
        let wanted = blocks_of(offset, len);
        self.touch(&wanted);
        let Some(missing) = self.missing(wanted) else {
            return Ok(());
        };
        let start = missing.start() * BLOCK_BYTES;
        let bytes = self.fetch_run(&missing).await?;
        let recorded = Some(self.spec.etag.as_str()).filter(|etag| !etag.is_empty());
        if recorded.is_some_and(|recorded| self.etag.get() != Some(recorded)) {
            let key = &self.spec.key;
            let came = words(self.etag.get().unwrap_or_default());
            tracing::info!("read {key}: ETag {came} is not the record's; whole parts are checked from here on");
            self.in_doubt = true;
            (self.cache, self.blocks) = (None, Vec::new());
            return Ok(());
        }
        self.keep(reservation, *missing.start(), &bytes);
        self.fetched = Some((start, bytes));
        Ok(())
    }

    /// The shortest run of blocks that covers all that are not cached.
    fn missing(&self, wanted: RangeInclusive<u64>) -> Option<RangeInclusive<u64>> {
        let mut absent = wanted.filter(|block| !self.blocks.iter().any(|(cached, _)| cached == block));
        let first = absent.next()?;
        Some(first..=absent.next_back().unwrap_or(first))
    }

    async fn fetch_run(&self, blocks: &RangeInclusive<u64>) -> Result<Vec<u8>> {
        let start = blocks.start() * BLOCK_BYTES;
        let end = ((blocks.end() + 1) * BLOCK_BYTES).min(self.spec.size);
        let len = usize::try_from(end - start).unwrap_or_default();
        let mut bytes = memory::zeroed(len, || format!("read offset {start}"))?;
        let since = Instant::now();
        let ranged = fetch_range(&self.store, &self.spec, start, &mut bytes, Some(&self.etag));
        let fetched = self.stats.scope(ranged).await;
        self.stats.waited(Stall::Data, since);
        fetched.map(|_| bytes)
    }

    fn keep(&mut self, reservation: &Reservation, first: u64, bytes: &[u8]) {
        if self.cache.is_none() {
            self.cache = reservation.try_acquire(BLOCK_BYTES * SLOTS as u64);
        }
        let Some(cache) = &mut self.cache else { return };
        for (block, data) in (first..).zip(bytes.chunks(BLOCK_BYTES as usize)) {
            let slot = free_slot(&mut self.blocks, block);
            let at = slot * BLOCK_BYTES as usize;
            if let Some(to) = cache.as_mut_slice().get_mut(at..at + data.len()) {
                to.copy_from_slice(data);
                self.blocks.push((block, slot));
            }
        }
    }

    /// Moves the cached blocks of a read to the end, so that what it fetches does not push them out.
    fn touch(&mut self, wanted: &RangeInclusive<u64>) {
        self.blocks.sort_by_key(|(block, _)| wanted.contains(block));
    }

    /// The bytes of a block, from the cache or from what was just fetched.
    fn source<'a>(&'a self, block: u64, fetched: Option<&'a (u64, Vec<u8>)>) -> Option<&'a [u8]> {
        if let Some((_, slot)) = self.blocks.iter().find(|(cached, _)| *cached == block) {
            return self.cache.as_ref()?.as_slice().get(slot * BLOCK_BYTES as usize..);
        }
        let (first, bytes) = fetched?;
        bytes.get(usize::try_from((block * BLOCK_BYTES).checked_sub(*first)?).ok()?..)
    }
}

/// The blocks that a read of `len` bytes, at least one, touches.
fn blocks_of(offset: u64, len: usize) -> RangeInclusive<u64> {
    offset / BLOCK_BYTES..=(offset + len as u64 - 1) / BLOCK_BYTES
}

/// True when `len` bytes from `start` on hold the beginning of each of these blocks.
fn covers(start: u64, len: usize, blocks: &RangeInclusive<u64>) -> bool {
    start <= blocks.start() * BLOCK_BYTES && blocks.end() * BLOCK_BYTES < start + len as u64
}

fn lost() -> Error {
    Error::new(Kind::Internal, "read a block that is neither cached nor fetched")
}

/// The slot that `block` may use: its own, an unused one, or that of the least recently used block.
fn free_slot(blocks: &mut Vec<(u64, usize)>, block: u64) -> usize {
    if let Some(position) = blocks.iter().position(|(cached, _)| *cached == block) {
        return blocks.remove(position).1;
    }
    let unused = (0..SLOTS).find(|slot| blocks.iter().all(|(_, used)| used != slot));
    unused.unwrap_or_else(|| blocks.remove(0).1)
}

/// Copies what `[start, start + BLOCK)` and the wanted range share, which is one byte at least.
fn copy_overlap(block: &[u8], start: u64, to: &mut [u8], offset: u64) -> Result<()> {
    let from = start.max(offset);
    let end = (start + BLOCK_BYTES).min(offset + to.len() as u64);
    let what = format_args!("read offset {offset} from the block at {start}");
    let source = piece(block, from.wrapping_sub(start)..end.saturating_sub(start), what)?;
    let target = piece_mut(to, from - offset..end.saturating_sub(offset), what)?;
    copy(target, source);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_overlaps_of_all_blocks_make_up_the_read(offset in 0u64..600_000, len in 1usize..500_000) {
            let image: Vec<u8> = (0..1_200_000u32).map(|n| (n % 251) as u8).collect();
            let mut to = vec![0; len];
            for block in offset / BLOCK_BYTES..=(offset + len as u64 - 1) / BLOCK_BYTES {
                let start = block * BLOCK_BYTES;
                let end = ((start + BLOCK_BYTES) as usize).min(image.len());
                copy_overlap(&image[start as usize..end], start, &mut to, offset).unwrap();
            }
            prop_assert_eq!(&to[..], &image[offset as usize..offset as usize + len]);
        }
    }

    #[test]
    fn a_block_that_lacks_what_is_read_is_an_error() {
        let block = vec![7; BLOCK_BYTES as usize];
        let mut to = [0; 512];
        copy_overlap(&block, BLOCK_BYTES, &mut to, BLOCK_BYTES + 100).unwrap();
        assert_eq!(to, [7; 512]);
        // Cut short; of another place, before and behind.
        for (block, start) in [
            (&block[..200], BLOCK_BYTES),
            (&block[..], 0),
            (&block[..], 3 * BLOCK_BYTES),
        ] {
            let error = copy_overlap(block, start, &mut to, BLOCK_BYTES + 100).unwrap_err();
            assert_eq!(error.kind(), Kind::Internal);
        }
    }
}
