//! How the addresses of one server are doing, and which of them a request goes to.
//!
//! A request goes to the address with the fewest under way. An address is put in *quarantine* when it cannot be dialled,
//! breaks a connection or stays silent, answers with 5xx several times in a row, or moves parts far slower than its
//! peers: it gets nothing while another is left. After a back-off it is probed, and taken back *on trial*: one request at
//! a time until one went well. With a single address, or when all are in quarantine, the least bad one is used all the
//! same. One whose oldest request takes far longer than is usual is passed over while that lasts.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::hedge_state;
use super::hedge_state::Mark;
use crate::metrics::request::ServerMetrics;

/// The first quarantine; each further one within [`FORGET`] is twice as long.
const BACKOFF_FIRST: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(16);
/// An address that did well for so long starts anew.
const FORGET: Duration = Duration::from_secs(60);
/// Answers of 5xx in a row that speak against the address and not against the load: each of them was retried elsewhere.
const ERRORS_MAX: u32 = 3;
/// Slower than the peers by this factor is beyond what placement and load explain.
const SLOW_FACTOR: f64 = 5.0;
/// Nor is it minded below this many seconds more for a mebibyte.
const SLOW_EXCESS: f64 = 0.02;
/// Parts that an address must have moved before it is judged, and before others are judged by it.
const SAMPLES_MIN: u32 = 4;
/// The weight of the newest part in an address's pace.
const NEWEST: f64 = 0.3;
/// Bodies below this tell of latency and of what was asked for, not of the address's pace.
pub const PACE_BYTES_MIN: u64 = 1 << 20;
/// A request that has taken so long, and [`SLOW_FACTOR`] times what is usual, makes its address the last choice.
pub const LATE: Duration = Duration::from_secs(1);
/// Parts whose pace is remembered over all addresses.
const RECENT: usize = 64;

/// The addresses of one server; clones share them.
#[derive(Clone, Default)]
pub struct Addresses {
    metrics: Option<Arc<ServerMetrics>>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    health: HashMap<SocketAddr, Health>,
    /// Rotates the choice among equals.
    turn: usize,
    /// Seconds for a mebibyte of the last parts, oldest first.
    recent: VecDeque<f64>,
    /// Seconds of the last little requests that may be hedged, oldest first.
    little: VecDeque<f64>,
}

#[derive(Default)]
struct Health {
    /// When each request under way began.
    under_way: Vec<Instant>,
    errors_in_a_row: u32,
    pace: Pace,
    quarantine: Option<Quarantine>,
    /// Back from quarantine for this cause, and not yet trusted.
    on_trial: Option<Cause>,
    /// Quarantines without a while of good health in between.
    strikes: u32,
    last_strike: Option<Instant>,
}

/// Seconds that an address takes for a mebibyte, newest parts first in weight.
#[derive(Clone, Copy, Default)]
struct Pace {
    seconds: f64,
    samples: u32,
}

struct Quarantine {
    cause: Cause,
    until: Instant,
    probing: bool,
}

/// Why an address is in quarantine, the least bad first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    Slow,
    /// It answers with errors of its own.
    Errors,
    /// It cannot be reached, or was lost in the middle of a request.
    Lost,
}

/// One request under way at an address; counts there until it is dropped.
pub struct Ticket {
    addresses: Addresses,
    address: SocketAddr,
    began: Instant,
    /// Where the request may be sent twice.
    mark: Option<Mark>,
}

impl Addresses {
    pub fn new(metrics: Arc<ServerMetrics>) -> Self {
        // Many short-lived processes must not all begin with the same address.
        let turn = uuid::Uuid::new_v4().as_u64_pair().0 as usize;
        let state = Arc::new(Mutex::new(State {
            turn,
            ..State::default()
        }));
        Self {
            metrics: Some(metrics),
            state,
        }
    }

    /// The address for the next request, or None when there are none. Also gives those that are due for a probe, which
    /// the caller must end with [`Addresses::probed`].
    pub fn choose(&self, among: &[SocketAddr]) -> (Option<Ticket>, Vec<SocketAddr>) {
        let (now, mut state) = (Instant::now(), self.lock());
        state.turn = state.turn.wrapping_add(1);
        let (turn, usual, not_here) = (state.turn, state.usual_seconds(), hedge_state::elsewhere_than());
        let rank = |(index, address): &(usize, &SocketAddr)| {
            let health = state.health.get(*address);
            let requests = health.map_or(0, |health| health.under_way.len());
            let (shut, late) = health.map_or((None, false), |health| (health.shut_for(), health.is_late(now, usual)));
            (
                not_here == Some(**address),
                shut,
                late,
                requests,
                (index + turn) % among.len().max(1),
            )
        };
        let best = among.iter().enumerate().min_by_key(rank).map(|(_, address)| *address);
        // The only address is used in any case.
        let probed = if among.len() > 1 { among } else { &[] };
        let due = probed
            .iter()
            .filter(|address| state.health.get_mut(address).is_some_and(|h| h.take_probe(now)));
        let due = due.copied().collect();
        let ticket = best.map(|address| {
            state.health.entry(address).or_default().under_way.push(now);
            Ticket {
                addresses: self.clone(),
                address,
                began: now,
                mark: hedge_state::mark(address, now, among),
            }
        });
        (ticket, due)
    }

    /// Ends a probe: `alive` takes the address back, on trial.
    pub fn probed(&self, address: SocketAddr, alive: bool) {
        if !alive {
            return self.shut(address, Cause::Lost, "a probe was not answered");
        }
        let mut state = self.lock();
        let health = state.health.entry(address).or_default();
        health.on_trial = health.quarantine.take().map(|quarantine| quarantine.cause);
        health.errors_in_a_row = 0;
        health.pace = Pace::default();
        tracing::info!("{address} answers again");
    }

    /// Puts an address in quarantine; one that is there already stays as long as it would have.
    pub fn shut(&self, address: SocketAddr, cause: Cause, why: &str) {
        let now = Instant::now();
        let mut state = self.lock();
        let health = state.health.entry(address).or_default();
        if health.quarantine.as_ref().is_some_and(|quarantine| !quarantine.probing) {
            return;
        }
        if health.last_strike.is_none_or(|last| now.duration_since(last) > FORGET) {
            health.strikes = 0;
        }
        let wait = (BACKOFF_FIRST * 2_u32.saturating_pow(health.strikes)).min(BACKOFF_MAX);
        (health.strikes, health.last_strike) = (health.strikes.saturating_add(1), Some(now));
        (health.on_trial, health.errors_in_a_row) = (None, 0);
        health.quarantine = Some(Quarantine {
            cause,
            until: now + wait,
            probing: false,
        });
        if let Some(metrics) = &self.metrics {
            metrics.avoided(address);
        }
        tracing::warn!("{address} is in quarantine for {wait:?}: {why}");
    }

    /// True when there is more than one address that a request could go to.
    pub fn has_choice(&self) -> bool {
        self.lock()
            .health
            .values()
            .filter(|health| health.quarantine.is_none())
            .count()
            > 1
    }

    /// True when a request could go to one of these. One whose back-off is over may be there again: where nothing else is
    /// asked, nothing probes it, and a second try tells as well.
    pub fn has_any(&self, among: &[SocketAddr]) -> bool {
        let (now, state) = (Instant::now(), self.lock());
        let is_shut = |health: &Health| {
            health
                .quarantine
                .as_ref()
                .is_some_and(|quarantine| now < quarantine.until)
        };
        among
            .iter()
            .any(|address| !state.health.get(address).is_some_and(is_shut))
    }

    /// What `bytes` take at the pace of the slowest twentieth of the last parts, None before there are enough; for little
    /// ones the time of the slowest twentieth of those, and [`LATE`] before there are enough.
    pub fn usual_time(&self, bytes: u64) -> Option<Duration> {
        let state = self.lock();
        if bytes < PACE_BYTES_MIN {
            let seconds = slowest_twentieth(&state.little);
            return Some(
                seconds
                    .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
                    .unwrap_or(LATE),
            );
        }
        Duration::try_from_secs_f64(slowest_twentieth(&state.recent)? * mebibytes(bytes)).ok()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The mean over all addresses of what they took for one part of a mebibyte.
    fn usual_seconds(&self) -> f64 {
        self.recent.iter().sum::<f64>() / self.recent.len().max(1) as f64
    }

    /// The middle pace of the other addresses that are in use; None when no other has moved enough.
    fn pace_of_peers(&self, address: SocketAddr) -> Option<f64> {
        let peers = self
            .health
            .iter()
            .filter(|(other, health)| **other != address && health.shut_for().is_none());
        let mut paces: Vec<f64> = peers
            .filter(|(_, h)| h.pace.samples >= SAMPLES_MIN)
            .map(|(_, h)| h.pace.seconds)
            .collect();
        paces.sort_by(f64::total_cmp);
        paces.get(paces.len() / 2).copied()
    }
}

impl Health {
    /// Why another address must be preferred, if one must.
    fn shut_for(&self) -> Option<Cause> {
        let on_trial = self.on_trial.filter(|_| !self.under_way.is_empty());
        self.quarantine.as_ref().map(|quarantine| quarantine.cause).or(on_trial)
    }

    fn is_late(&self, now: Instant, usual: f64) -> bool {
        let oldest = self
            .under_way
            .iter()
            .min()
            .map_or(Duration::ZERO, |began| now.duration_since(*began));
        // The largest parts of usual images are 16 MiB.
        oldest > LATE && oldest.as_secs_f64() > SLOW_FACTOR * 16.0 * usual
    }

    fn take_probe(&mut self, now: Instant) -> bool {
        let due = self
            .quarantine
            .as_mut()
            .filter(|quarantine| now >= quarantine.until && !quarantine.probing);
        due.map(|quarantine| quarantine.probing = true).is_some()
    }
}

impl Ticket {
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The status of the answer.
    pub fn answered(&self, status: u16) {
        let mut state = self.addresses.lock();
        let health = state.health.entry(self.address).or_default();
        if !matches!(status, 500 | 502..=504) {
            health.errors_in_a_row = 0;
            // Only a part can show that it is not slow any more.
            health.on_trial = health.on_trial.filter(|cause| *cause == Cause::Slow);
            // It was used since, for want of a better one.
            let used = health.last_strike.is_some_and(|strike| strike < self.began);
            if used
                && health
                    .quarantine
                    .take_if(|quarantine| quarantine.cause != Cause::Slow)
                    .is_some()
            {
                tracing::info!("{} answers again", self.address);
            }
            return;
        }
        health.errors_in_a_row += 1;
        let (errors, on_trial) = (health.errors_in_a_row, health.on_trial.is_some());
        // With every address alike it is the store that is out, and none is better than another.
        let does_well = |health: &Health| health.errors_in_a_row == 0 && health.quarantine.is_none();
        let peers_do_well = state
            .health
            .iter()
            .any(|(other, health)| *other != self.address && does_well(health));
        drop(state);
        if (errors >= ERRORS_MAX || on_trial) && peers_do_well {
            self.shut(Cause::Errors, &format!("{errors} answers of HTTP {status} in a row"));
        }
    }

    /// True when the request was given up only because another try of it was answered first.
    pub fn is_moot(&self) -> bool {
        self.mark.as_ref().is_some_and(Mark::is_moot)
    }

    /// The request is through: `bytes` went over the line, either way, in `time`.
    pub fn moved(&self, bytes: u64, time: Duration) {
        let mut state = self.addresses.lock();
        if bytes < PACE_BYTES_MIN {
            // Completions and the like take their own time and are never sent twice.
            if self.mark.is_some() {
                remember(&mut state.little, time.as_secs_f64());
            }
            return;
        }
        let peers = state.pace_of_peers(self.address);
        let health = state.health.entry(self.address).or_default();
        let seconds = time.as_secs_f64() / mebibytes(bytes);
        let pace = &mut health.pace;
        pace.seconds = if pace.samples == 0 {
            seconds
        } else {
            pace.seconds + NEWEST * (seconds - pace.seconds)
        };
        pace.samples = pace.samples.saturating_add(1);
        let (pace, enough) = (*pace, pace.samples >= SAMPLES_MIN || health.on_trial.is_some());
        let limit = peers.map(|peers| (SLOW_FACTOR * peers).max(peers + SLOW_EXCESS));
        let slow = enough && limit.is_some_and(|limit| pace.seconds > limit);
        if !slow {
            health.on_trial = None;
        }
        remember(&mut state.recent, seconds);
        drop(state);
        if let (true, Some(peers)) = (slow, peers) {
            let rate = |seconds: f64| format!("{:.1} MiB/s", 1.0 / seconds.max(1e-9));
            let why = format!(
                "a part moves at {}, at other addresses at {}",
                rate(pace.seconds),
                rate(peers)
            );
            self.shut(Cause::Slow, &why);
        }
    }

    pub fn shut(&self, cause: Cause, why: &str) {
        self.addresses.shut(self.address, cause, why);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut state = self.addresses.lock();
        let Some(health) = state.health.get_mut(&self.address) else {
            return;
        };
        if let Some(index) = health.under_way.iter().position(|began| *began == self.began) {
            health.under_way.swap_remove(index);
        }
    }
}

fn remember(recent: &mut VecDeque<f64>, seconds: f64) {
    if recent.len() == RECENT {
        recent.pop_front();
    }
    recent.push_back(seconds);
}

/// None before there are enough.
fn slowest_twentieth(recent: &VecDeque<f64>) -> Option<f64> {
    if recent.len() < RECENT / 8 {
        return None;
    }
    let mut sorted: Vec<f64> = recent.iter().copied().collect();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() * 19 / 20).or(sorted.last()).copied()
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

#[cfg(test)]
#[path = "balancer_tests.rs"]
mod tests;
