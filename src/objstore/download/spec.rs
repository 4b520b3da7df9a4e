//! Where a reader reads.

use crate::config::Bucket;
use crate::engine::piece::piece;
use crate::error::{Error, Kind, Result};
use crate::objstore::s3::types::PartSpan;

/// Where a reader reads.
#[derive(Debug)]
pub struct ReadSpec {
    pub bucket: Bucket,
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

    /// # Errors
    /// [`Kind::Corrupt`] when the object has no such part: its record does not cover its size.
    pub fn part(&self, index: usize) -> Result<PartSpan> {
        self.parts.get(index).copied().ok_or_else(|| {
            let what = format!("read part {} of {}/{}: there is none", index + 1, self.bucket, self.key);
            Error::new(Kind::Corrupt, what)
        })
    }
}

/// Of the `part` in memory what lies at `offset` of the object and behind it, at least one byte.
///
/// # Errors
/// [`Kind::Internal`] when the part does not hold that byte, or is not whole.
pub fn rest_of_part<'a>(part: &'a [u8], span: &PartSpan, offset: u64) -> Result<&'a [u8]> {
    // One that lies before the part wraps around, and is far behind it.
    let skip = offset.wrapping_sub(span.offset);
    piece(
        part,
        skip..span.size,
        format_args!("read offset {offset} from part {}", span.number),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::checksum::Crc64;

    #[test]
    fn a_part_without_the_byte_that_is_read_is_an_error() {
        let span = PartSpan {
            number: 2,
            offset: 100,
            size: 6,
            crc64: Crc64(0),
        };
        assert_eq!(rest_of_part(b"abcdef", &span, 104).unwrap(), b"ef");
        for (part, offset) in [(&b"abcdef"[..], 99), (b"abcdef", 106), (b"abcde", 100), (b"", 100)] {
            let error = rest_of_part(part, &span, offset).unwrap_err();
            assert_eq!(error.kind(), Kind::Internal, "{offset} of {}", part.len());
        }
    }
}
