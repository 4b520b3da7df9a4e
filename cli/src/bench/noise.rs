//! Random bytes that no store can reduce, made as cheaply as possible.
//!
//! With repeated or compressible bytes the benchmark would measure the store's data reduction. So each call gets a
//! piece of a few MiB of random words, from a random offset, XORed with a random word: no two calls are alike, and it
//! costs one pass over cached memory.

use std::time::Duration;

use super::CALL;
use crate::process::cpu_time;

/// Small enough to stay in a processor's cache.
const PATTERN_BYTES: usize = 4 << 20;
const WORD: usize = size_of::<u64>();
/// Calls for measuring the cost of one: 64 MiB.
const TRIALS: u32 = 256;

/// The random words that all streams share.
pub struct Noise {
    words: Vec<u64>,
}

/// The calls of one stream.
pub struct Source<'a> {
    noise: &'a Noise,
    random: Random,
    block: Vec<u8>,
}

/// SplitMix64, <https://prng.di.unimi.it/splitmix64.c>.
struct Random(u64);

impl Noise {
    pub fn new() -> Self {
        let mut random = Random::new();
        Self {
            words: (0..(PATTERN_BYTES + CALL) / WORD).map(|_| random.next()).collect(),
        }
    }

    pub fn source(&self) -> Source<'_> {
        Source {
            noise: self,
            random: Random::new(),
            block: vec![0; CALL],
        }
    }

    /// CPU time to make one GiB of data: it is in the figures and is not the plug-in's.
    pub fn cost_per_gib(&self) -> Duration {
        let mut source = self.source();
        let before = cpu_time();
        for _ in 0..TRIALS {
            std::hint::black_box(source.next_call());
        }
        let calls_per_gib = (1 << 30) / u32::try_from(CALL).unwrap_or(1);
        cpu_time().saturating_sub(before) * calls_per_gib / TRIALS
    }
}

impl Source<'_> {
    /// The bytes of the next call.
    pub fn next_call(&mut self) -> &[u8] {
        let place = self.random.next();
        let mask = self.random.next();
        let start = usize::try_from(place).unwrap_or_default() % (PATTERN_BYTES / WORD);
        let words = self.noise.words.iter().skip(start);
        for (to, word) in self.block.chunks_exact_mut(WORD).zip(words) {
            to.copy_from_slice(&(word ^ mask).to_le_bytes());
        }
        &self.block
    }
}

impl Random {
    /// Starts from a random state.
    fn new() -> Self {
        Self(uuid::Uuid::new_v4().as_u64_pair().1)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_two_calls_share_a_block() {
        let noise = Noise::new();
        let mut seen = HashSet::new();
        for mut source in [noise.source(), noise.source()] {
            for _ in 0..32 {
                let call = source.next_call();
                assert_eq!(call.len(), CALL);
                assert!(call.chunks(512).all(|block| seen.insert(block.to_vec())));
            }
        }
    }

    #[test]
    fn every_byte_value_is_as_frequent_as_any_other() {
        let noise = Noise::new();
        let mut counts = [0_u32; 256];
        noise
            .source()
            .next_call()
            .iter()
            .for_each(|byte| counts[usize::from(*byte)] += 1);
        assert!(counts.iter().all(|count| (512..2048).contains(count)), "{counts:?}");
    }
}
