//! Where a reader reads.

use crate::objstore::s3::types::PartSpan;

/// Where a reader reads.
#[derive(Debug)]
pub struct ReadSpec {
    pub bucket: String,
    pub key: String,
    pub size: u64,
    /// As the record has it; empty where it has none. A hint: an object that was copied has another one.
    pub etag: String,
    /// Contiguous, in order, covering the object.
    pub parts: Vec<PartSpan>,
}

impl ReadSpec {
    /// The index of the part that holds `offset`, which must be below the object's size.
    pub fn part_at(&self, offset: u64) -> usize {
        self.parts.partition_point(|part| part.offset + part.size <= offset)
    }
}
