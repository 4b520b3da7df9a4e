//! How many parts of one image are under way at once: as many as make it faster, and no more.
//!
//! The rule, from `parts_in_flight` up to `parts_in_flight_max`: throughput is measured over windows of twice as many
//! parts as are allowed. A window in which the caller never waited at the limit says nothing: the host is the slower side.
//! Else a step of a quarter is tried, and kept when the next window is faster by a twentieth; then the next step follows.
//! A step that brought latency alone is taken back, and nothing is tried for some windows. The try after that goes down
//! instead, and is kept when it costs next to nothing: so a store that got slower is not left with a queue.

use std::time::{Duration, Instant};

/// A step up must bring so much.
const GAIN: f64 = 1.05;
/// A step down may cost so much.
const LOSS: f64 = 0.98;
/// Windows without a try after one that failed.
const REST_WINDOWS: u32 = 8;

/// The limit of one image.
#[derive(Debug)]
pub struct Concurrency {
    least: usize,
    most: usize,
    limit: usize,
    window: Window,
    trial: Option<Trial>,
    rest: u32,
    try_down: bool,
}

#[derive(Debug, Default)]
struct Window {
    began: Option<Instant>,
    parts: usize,
    bytes: u64,
    /// The caller was held up at the limit.
    waited: bool,
}

/// A step that has still to show what it brings.
#[derive(Debug)]
struct Trial {
    from: usize,
    /// Bytes a second before it.
    rate: f64,
}

impl Concurrency {
    pub fn new(least: usize, most: usize) -> Self {
        let least = least.max(1);
        let most = most.max(least);
        let window = Window::default();
        Self {
            least,
            most,
            limit: least,
            window,
            trial: None,
            rest: 0,
            try_down: false,
        }
    }

    pub fn limit(&self) -> usize {
        self.limit
    }

    /// The caller waits for a part to be done.
    pub fn wait(&mut self) {
        self.window.waited = true;
    }

    /// A part is done.
    pub fn finish(&mut self, bytes: u64, now: Instant) {
        let Some(began) = self.window.began else {
            self.window.began = Some(now);
            return;
        };
        self.window.parts += 1;
        self.window.bytes += bytes;
        if self.window.parts < 2 * self.limit {
            return;
        }
        let time = now.duration_since(began).max(Duration::from_micros(1));
        let rate = self.window.bytes as f64 / time.as_secs_f64();
        let waited = self.window.waited;
        self.window = Window {
            began: Some(now),
            ..Window::default()
        };
        self.evaluate(rate, waited);
    }

    fn evaluate(&mut self, rate: f64, waited: bool) {
        if !waited {
            self.trial = None;
            return;
        }
        match self.trial.take() {
            Some(trial) => {
                let up = self.limit > trial.from;
                let kept = rate >= trial.rate * if up { GAIN } else { LOSS };
                if !kept {
                    self.limit = trial.from;
                }
                match (kept, up) {
                    (true, true) => self.step_up(rate),
                    (true, false) => self.step_down(rate),
                    // What was tried last is known not to help.
                    (false, _) => (self.rest, self.try_down) = (REST_WINDOWS, up),
                }
            }
            None if self.rest > 0 => self.rest -= 1,
            None if self.try_down && self.limit > self.least => self.step_down(rate),
            None => self.step_up(rate),
        }
    }

    fn step_up(&mut self, rate: f64) {
        self.step_to((self.limit + (self.limit / 4).max(1)).min(self.most), rate);
    }

    fn step_down(&mut self, rate: f64) {
        self.step_to(self.limit.saturating_sub((self.limit / 4).max(1)).max(self.least), rate);
    }

    fn step_to(&mut self, limit: usize, rate: f64) {
        if limit == self.limit {
            // At a bound: look again later, the other way.
            (self.rest, self.try_down) = (REST_WINDOWS, !self.try_down);
            return;
        }
        self.trial = Some(Trial { from: self.limit, rate });
        self.limit = limit;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs `parts` parts against a store of `rate(limit)` parts a second; gives the limits after each.
    fn run(concurrency: &mut Concurrency, parts: usize, waits: bool, rate: impl Fn(usize) -> f64) -> Vec<usize> {
        let mut now = Instant::now();
        let mut step = |_| {
            now += Duration::from_secs_f64(1.0 / rate(concurrency.limit()));
            if waits {
                concurrency.wait();
            }
            concurrency.finish(16 << 20, now);
            concurrency.limit()
        };
        (0..parts).map(&mut step).collect()
    }

    /// Each part in flight adds so much, until the store has no more.
    fn knee_at(knee: usize) -> impl Fn(usize) -> f64 {
        move |limit| 50.0 * limit.min(knee) as f64
    }

    #[test]
    fn it_finds_the_knee_of_a_fast_store_and_stays_there() {
        let mut concurrency = Concurrency::new(4, 32);
        run(&mut concurrency, 2000, true, knee_at(12));
        let limits = run(&mut concurrency, 5000, true, knee_at(12));
        let mean = limits.iter().sum::<usize>() as f64 / limits.len() as f64;
        assert!((10.0..15.0).contains(&mean), "{mean}");
    }

    #[test]
    fn a_store_that_is_as_fast_with_the_least_gets_no_queue() {
        let mut concurrency = Concurrency::new(4, 32);
        let limits = run(&mut concurrency, 5000, true, knee_at(2));
        assert!(limits.iter().all(|limit| *limit <= 5), "{limits:?}");
        let at_least = limits.iter().filter(|limit| **limit == 4).count();
        assert!(at_least > 4000, "{at_least}");
    }

    #[test]
    fn it_goes_down_when_the_store_gets_slower() {
        let mut concurrency = Concurrency::new(4, 32);
        run(&mut concurrency, 3000, true, knee_at(20));
        assert!(concurrency.limit() >= 15, "{}", concurrency.limit());
        run(&mut concurrency, 10_000, true, knee_at(3));
        assert!(concurrency.limit() <= 6, "{}", concurrency.limit());
    }

    #[test]
    fn a_slow_host_changes_nothing() {
        let mut concurrency = Concurrency::new(4, 32);
        assert!(
            run(&mut concurrency, 1000, false, knee_at(12))
                .iter()
                .all(|limit| *limit == 4)
        );
    }
}
