//! The part that is being filled: copied and hashed on the caller's thread, nothing else.

use bytes::Bytes;

use crate::engine::checksum::{Crc64, Crc64Hasher};
use crate::engine::memcpy::copy;
use crate::engine::piece::{piece, piece_mut};
use crate::engine::pool::Buffer;
use crate::error::Result;

/// What [`Upload::fill`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filled {
    /// So many bytes were taken.
    Taken(usize),
    /// None was: there is no open part, or it is full. [`Upload::next_part`] comes first.
    PartNeeded,
}

/// The part that is being filled.
pub struct OpenPart {
    buffer: Buffer,
    capacity: usize,
    pub(super) filled: usize,
    hasher: Crc64Hasher,
    /// Bytes were rewritten, so the running CRC is void and is computed again over the part.
    rewritten: bool,
}

impl OpenPart {
    /// Of so many bytes, in a buffer that has at least as many.
    pub fn new(buffer: Buffer, capacity: usize) -> Self {
        Self {
            buffer,
            capacity,
            filled: 0,
            hasher: Crc64Hasher::default(),
            rewritten: false,
        }
    }

    /// The same buffer with its first `filled` bytes taken; None where it has not so many.
    pub fn refilled(buffer: Buffer, capacity: usize, filled: usize) -> Option<Self> {
        (filled <= capacity).then(|| Self {
            filled,
            rewritten: true,
            ..Self::new(buffer, capacity)
        })
    }

    pub fn capacity(&self) -> usize {
        self.capacity
    }

    pub fn into_buffer(self) -> Buffer {
        self.buffer
    }

    /// Takes bytes at `at` of the part, at most to its end.
    pub fn copy(&mut self, at: u64, data: &[u8]) -> Result<Filled> {
        let capacity = self.capacity as u64;
        if at == capacity {
            // Here, on the caller's thread, and not on one of those that do the network.
            self.hash_rewritten();
            return Ok(Filled::PartNeeded);
        }
        let end = capacity.min(at.saturating_add(data.len() as u64));
        let to = piece_mut(self.buffer.as_mut_slice(), at..end, "fill a part")?;
        let from = piece(data, 0..to.len() as u64, "fill a part")?;
        if at == self.filled as u64 {
            self.hasher.copy(to, from);
        } else {
            copy(to, from);
            self.rewritten = true;
        }
        self.filled = self.filled.max(end as usize);
        Ok(Filled::Taken(from.len()))
    }

    fn hash_rewritten(&mut self) {
        if std::mem::take(&mut self.rewritten) {
            self.hasher = Crc64Hasher::default();
            self.hasher
                .update(self.buffer.as_slice().get(..self.filled).unwrap_or_default());
        }
    }

    /// The part's bytes and their CRC.
    pub fn seal(mut self) -> Result<(Bytes, Crc64)> {
        self.hash_rewritten();
        let crc64 = self.hasher.value();
        Ok((self.buffer.freeze(self.filled)?, crc64))
    }
}

#[cfg(test)]
#[path = "open_part_tests.rs"]
mod tests;
