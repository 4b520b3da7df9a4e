//! Pieces of memory by position, checked.
//!
//! Where a position is wrong, the fault is ours, and an empty piece in place of the right one would be bytes left out of an
//! image, or a loop that never ends in the host's thread. So it is [`Kind::Internal`], and the call fails.

use std::fmt::Display;
use std::ops::Range;

use crate::error::{Error, Kind, Result};

/// The bytes of `memory` from `span.start` to `span.end`, at least one; `what` is what was being done.
///
/// # Errors
/// [`Kind::Internal`] when the span is empty, runs backwards, or ends behind the memory.
pub fn piece(memory: &[u8], span: Range<u64>, what: impl Display) -> Result<&[u8]> {
    let found = indices(&span).and_then(|span| memory.get(span));
    found.ok_or_else(|| outside(&span, memory.len(), what))
}

/// The same of memory that is written to.
///
/// # Errors
/// As [`piece`].
pub fn piece_mut(memory: &mut [u8], span: Range<u64>, what: impl Display) -> Result<&mut [u8]> {
    let len = memory.len();
    let found = indices(&span).and_then(|span| memory.get_mut(span));
    found.ok_or_else(|| outside(&span, len, what))
}

fn indices(span: &Range<u64>) -> Option<Range<usize>> {
    let start = usize::try_from(span.start).ok()?;
    let end = usize::try_from(span.end).ok()?;
    (start < end).then_some(start..end)
}

fn outside(span: &Range<u64>, len: usize, what: impl Display) -> Error {
    let text = format!("{what}: bytes {} to {} of {len} in memory", span.start, span.end);
    Error::new(Kind::Internal, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_outside_of_memory_is_an_error() {
        let mut memory = *b"abcdef";
        assert_eq!(piece(&memory, 2..6, "read").unwrap(), b"cdef");
        assert_eq!(piece_mut(&mut memory, 0..1, "read").unwrap(), b"a");
        for span in [2..7, 6..7, 3..3, Range { start: 4, end: 2 }, 0..u64::MAX] {
            let error = piece(&memory, span.clone(), "read").unwrap_err();
            assert_eq!(error.kind(), Kind::Internal, "{span:?}");
            let error = piece_mut(&mut memory, span.clone(), "read").unwrap_err();
            assert_eq!(error.kind(), Kind::Internal, "{span:?}");
        }
    }
}
