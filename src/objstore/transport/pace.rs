//! How fast the parts of images move: at one address, and over all of them lately.
//!
//! A pace is told in seconds for a mebibyte. For instance a part of 16 MiB in 0.8 s moves at 0.05 s a mebibyte; after
//! four of those and one that takes 8 s (0.5) the address's pace is 0.05 + 0.3 * (0.5 - 0.05) = 0.185.

use std::collections::VecDeque;

/// The weight of the newest part in an address's pace.
const NEWEST: f64 = 0.3;
/// Parts that an address must have moved before it is judged, and before others are judged by it.
pub const SAMPLES_MIN: u32 = 4;
/// Parts whose pace is remembered over all addresses.
pub const RECENT: usize = 64;

/// Seconds that an address takes for a mebibyte, newest parts first in weight.
#[derive(Clone, Copy, Default)]
pub struct Pace {
    pub seconds: f64,
    samples: u32,
}

impl Pace {
    /// Takes in what the newest part took for a mebibyte.
    pub fn add(&mut self, seconds: f64) {
        self.seconds = if self.samples == 0 {
            seconds
        } else {
            self.seconds + NEWEST * (seconds - self.seconds)
        };
        self.samples = self.samples.saturating_add(1);
    }

    /// True once there are enough parts to evaluate by.
    pub fn is_known(&self) -> bool {
        self.samples >= SAMPLES_MIN
    }
}

/// The last [`RECENT`] times, oldest first.
#[derive(Default)]
pub struct Recent {
    seconds: VecDeque<f64>,
}

impl Recent {
    pub fn add(&mut self, seconds: f64) {
        if self.seconds.len() == RECENT {
            self.seconds.pop_front();
        }
        self.seconds.push_back(seconds);
    }

    /// 0 before there are any.
    pub fn mean(&self) -> f64 {
        self.seconds.iter().sum::<f64>() / self.seconds.len().max(1) as f64
    }

    /// None before there are enough.
    pub fn slowest_twentieth(&self) -> Option<f64> {
        if self.seconds.len() < RECENT / 8 {
            return None;
        }
        let mut sorted: Vec<f64> = self.seconds.iter().copied().collect();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() * 19 / 20).or(sorted.last()).copied()
    }
}

pub fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
