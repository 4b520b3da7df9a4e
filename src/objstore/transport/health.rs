//! How one address is doing: what is under way at it, whether it is in quarantine, and for how long.
//!
//! Each quarantine within [`FORGET`] of the one before is twice as long: 1 s, 2 s, 4 s, 8 s, 16 s, and 16 s from then
//! on. An address that a probe reached is taken back on trial. Left out: which address is the best one, see
//! [`super::balancer`].

use std::time::{Duration, Instant};

use super::pace::Pace;

/// The first quarantine; each further one within [`FORGET`] is twice as long.
const BACKOFF_FIRST: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(16);
/// An address that did well for so long starts anew.
const FORGET: Duration = Duration::from_secs(60);
/// Slower than the peers by this factor is beyond what placement and load explain.
pub const SLOW_FACTOR: f64 = 5.0;
/// A request that has taken so long, and [`SLOW_FACTOR`] times what is usual, makes its address the last choice.
pub const LATE: Duration = Duration::from_secs(1);

/// Why an address is in quarantine, the least bad first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    Slow,
    /// It answers with errors of its own.
    Errors,
    /// It cannot be reached, or was lost in the middle of a request.
    Lost,
}

#[derive(Default)]
pub struct Health {
    /// When each request under way began.
    pub under_way: Vec<Instant>,
    pub errors_in_a_row: u32,
    pub pace: Pace,
    pub quarantine: Option<Quarantine>,
    /// Back from quarantine for this cause, and not yet trusted.
    pub on_trial: Option<Cause>,
    /// Quarantines without a while of good health in between.
    strikes: u32,
    pub last_strike: Option<Instant>,
}

pub struct Quarantine {
    pub cause: Cause,
    pub until: Instant,
    pub probing: bool,
}

impl Health {
    /// Puts the address in quarantine, and tells for how long; None where it is there already, and stays as long as it
    /// would have.
    pub fn shut(&mut self, cause: Cause, now: Instant) -> Option<Duration> {
        if self.quarantine.as_ref().is_some_and(|quarantine| !quarantine.probing) {
            return None;
        }
        if self.last_strike.is_none_or(|last| now.duration_since(last) > FORGET) {
            self.strikes = 0;
        }

        let wait = (BACKOFF_FIRST * 2_u32.saturating_pow(self.strikes)).min(BACKOFF_MAX);
        self.strikes = self.strikes.saturating_add(1);
        self.last_strike = Some(now);
        self.on_trial = None;
        self.errors_in_a_row = 0;
        self.quarantine = Some(Quarantine {
            cause,
            until: now + wait,
            probing: false,
        });

        Some(wait)
    }

    /// A probe reached the address: it is taken back, on trial.
    pub fn take_back(&mut self) {
        self.on_trial = self.quarantine.take().map(|quarantine| quarantine.cause);
        self.errors_in_a_row = 0;
        self.pace = Pace::default();
    }

    /// True while it is in quarantine and not yet due for a probe.
    pub fn is_shut(&self, now: Instant) -> bool {
        self.quarantine
            .as_ref()
            .is_some_and(|quarantine| now < quarantine.until)
    }

    pub fn does_well(&self) -> bool {
        self.errors_in_a_row == 0 && self.quarantine.is_none()
    }

    /// Why another address must be preferred, if one must.
    pub fn shut_for(&self) -> Option<Cause> {
        let on_trial = self.on_trial.filter(|_| !self.under_way.is_empty());
        self.quarantine.as_ref().map(|quarantine| quarantine.cause).or(on_trial)
    }

    /// True when its oldest request takes far longer than is `usual`, seconds for a mebibyte.
    pub fn is_late(&self, now: Instant, usual: f64) -> bool {
        let oldest = self
            .under_way
            .iter()
            .min()
            .map_or(Duration::ZERO, |began| now.duration_since(*began));
        // The largest parts of usual images are 16 MiB.
        oldest > LATE && oldest.as_secs_f64() > SLOW_FACTOR * 16.0 * usual
    }

    /// True when it is due for a probe, which the caller makes.
    pub fn take_probe(&mut self, now: Instant) -> bool {
        let due = self
            .quarantine
            .as_mut()
            .filter(|quarantine| now >= quarantine.until && !quarantine.probing);
        due.map(|quarantine| quarantine.probing = true).is_some()
    }
}
