//! Copies between the caller's memory and ours, quick wherever the caller's memory lies.

const PAGE: usize = 4096;
/// A target that lies less than this behind its source within a page is the bad case.
const CLOSE: usize = 64;
/// The C library loads as much as this whole before it stores any of it, with vectors of 32 bytes and of 64.
const PIECE: usize = 256;

/// Copies `from` to `to`, of the same length.
///
/// AMD's Zen 3 and Zen 4 take two to five times as long when the target's place in its page is a few bytes behind that of
/// the source (<https://sourceware.org/bugzilla/show_bug.cgi?id=30994>): just how a block from malloc, 16 bytes behind a
/// page's start, lies to a part buffer. Each load then waits for stores that seem to be to its own place. `rep movsb`
/// suffers most, from 2 KiB on the library's choice on many systems, and its vector loop nearly as much; pieces that are
/// short enough to be loaded whole do not.
pub fn copy(to: &mut [u8], from: &[u8]) {
    let behind = to.as_ptr().addr().wrapping_sub(from.as_ptr().addr()) % PAGE;
    if (1..CLOSE).contains(&behind) {
        for (to, from) in to.chunks_mut(PIECE).zip(from.chunks(PIECE)) {
            to.copy_from_slice(from);
        }
    } else {
        to.copy_from_slice(from);
    }
}

/// Copies as much of `from` as `to` has room for; gives how much that was.
pub fn copy_some(to: &mut [u8], from: &[u8]) -> usize {
    let len = to.len().min(from.len());
    copy(to.split_at_mut(len).0, from.split_at(len).0);
    len
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_copy_is_the_same_wherever_source_and_target_lie(from_at in 0usize..80, to_at in 0usize..80, len in 0usize..10_000) {
            let from: Vec<u8> = (0..10_100usize).map(|n| (n % 251) as u8).collect();
            let mut to = vec![0; 10_100];
            let source = &from[from_at..from_at + len];
            copy(&mut to[to_at..to_at + len], source);
            prop_assert_eq!(&to[to_at..to_at + len], source);
            prop_assert!(to[..to_at].iter().chain(&to[to_at + len..]).all(|byte| *byte == 0));
        }
    }
}
