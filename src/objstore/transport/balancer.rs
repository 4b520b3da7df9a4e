//! Which of the addresses of one server a request goes to.
//!
//! A request goes to the address with the fewest under way. An address is put in *quarantine* when it cannot be
//! dialled, breaks a connection or stays silent, answers with 5xx several times in a row, or moves parts far slower
//! than its peers: it gets nothing while another is left. After a back-off it is probed, and taken back *on trial*: one
//! request at a time until one went well. With a single address, or when all are in quarantine, the least bad one is
//! used all the same. One whose oldest request takes far longer than is usual is passed over while that lasts. How one
//! address is doing is kept by [`super::health`], how fast parts move by [`super::pace`].

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::health::{Cause, Health, LATE, Quarantine, SLOW_FACTOR};
use super::hedge_state;
use super::hedge_state::Mark;
use super::pace::{Recent, mebibytes};
use crate::metrics::request::ServerMetrics;

/// Answers of 5xx in a row that speak against the address and not against the load: each of them was retried elsewhere.
const ERRORS_MAX: u32 = 3;
/// Nobody minds an address that takes less than this more than its peers, seconds for a mebibyte.
const SLOW_EXCESS: f64 = 0.02;
/// Bodies below this tell of latency and of what was asked for, not of the address's pace.
pub const PACE_BYTES_MIN: u64 = 1 << 20;

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
    /// Seconds for a mebibyte of the last parts.
    recent: Recent,
    /// Seconds of the last little requests that may be hedged.
    little: Recent,
}

/// One request under way at an address; counts there until it is dropped.
pub struct InFlightGuard {
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
    pub fn choose(&self, among: &[SocketAddr]) -> (Option<InFlightGuard>, Vec<SocketAddr>) {
        let now = Instant::now();
        let mut state = self.lock();
        state.turn = state.turn.wrapping_add(1);

        let best = state.best(among, now, hedge_state::elsewhere_than());

        // The only address is used in any case.
        let probed = if among.len() > 1 { among } else { &[] };
        let due = probed
            .iter()
            .filter(|address| state.health.get_mut(address).is_some_and(|h| h.take_probe(now)))
            .copied()
            .collect();

        let ticket = best.map(|address| {
            state.health.entry(address).or_default().under_way.push(now);
            InFlightGuard {
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
        self.lock().health.entry(address).or_default().take_back();
        tracing::info!("{address} answers again");
    }

    /// Puts an address in quarantine; one that is there already stays as long as it would have.
    pub fn shut(&self, address: SocketAddr, cause: Cause, why: &str) {
        let mut state = self.lock();
        let Some(wait) = state.health.entry(address).or_default().shut(cause, Instant::now()) else {
            return;
        };
        if let Some(metrics) = &self.metrics {
            metrics.avoided(address);
        }
        tracing::warn!("{address} is in quarantine for {wait:?}: {why}");
    }

    /// True when there is more than one address that a request could go to.
    pub fn has_choice(&self) -> bool {
        let state = self.lock();
        let in_use = state.health.values().filter(|health| health.quarantine.is_none());
        in_use.count() > 1
    }

    /// True when a request could go to one of these. One whose back-off is over may be there again: where nothing else
    /// is asked, nothing probes it, and a second try tells as well.
    pub fn has_any(&self, among: &[SocketAddr]) -> bool {
        let now = Instant::now();
        let state = self.lock();
        let is_shut = |address| state.health.get(address).is_some_and(|health| health.is_shut(now));
        among.iter().any(|address| !is_shut(address))
    }

    /// What `bytes` take at the pace of the slowest twentieth of the last parts, None before there are enough; for
    /// little ones the time of the slowest twentieth of those, and [`LATE`] before there are enough.
    pub fn usual_time(&self, bytes: u64) -> Option<Duration> {
        let state = self.lock();
        if bytes < PACE_BYTES_MIN {
            let seconds = state.little.slowest_twentieth();
            let time = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
            return Some(time.unwrap_or(LATE));
        }
        Duration::try_from_secs_f64(state.recent.slowest_twentieth()? * mebibytes(bytes)).ok()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The best of these addresses: not where another try of the same request is (`not_here`), not shut, not late, with
    /// the fewest requests, and next in turn among equals.
    fn best(&self, among: &[SocketAddr], now: Instant, not_here: Option<SocketAddr>) -> Option<SocketAddr> {
        // The mean over all addresses of what they took for one part of a mebibyte.
        let usual = self.recent.mean();
        let rank = |(index, address): &(usize, &SocketAddr)| {
            let health = self.health.get(*address);
            let turn = (index + self.turn) % among.len().max(1);
            (
                not_here == Some(**address),
                health.and_then(Health::shut_for),
                health.is_some_and(|health| health.is_late(now, usual)),
                health.map_or(0, |health| health.under_way.len()),
                turn,
            )
        };

        among.iter().enumerate().min_by_key(rank).map(|(_, address)| *address)
    }

    /// The middle pace of the other addresses that are in use; None when no other has moved enough.
    fn pace_of_peers(&self, address: SocketAddr) -> Option<f64> {
        let peers = self
            .health
            .iter()
            .filter(|(other, health)| **other != address && health.shut_for().is_none());
        let known = peers.filter(|(_, health)| health.pace.is_known());
        let mut paces: Vec<f64> = known.map(|(_, health)| health.pace.seconds).collect();
        paces.sort_by(f64::total_cmp);
        paces.get(paces.len() / 2).copied()
    }
}

impl InFlightGuard {
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The status of the answer.
    pub fn answered(&self, status: u16) {
        let mut state = self.addresses.lock();
        let health = state.health.entry(self.address).or_default();
        if !matches!(status, 500 | 502..=504) {
            self.answered_well(health);
            return;
        }

        health.errors_in_a_row += 1;
        let errors = health.errors_in_a_row;
        let on_trial = health.on_trial.is_some();

        // With every address alike it is the store that is out, and none is better than another.
        let mut peers = state.health.iter().filter(|(other, _)| **other != self.address);
        let peers_do_well = peers.any(|(_, health)| health.does_well());
        drop(state);

        if (errors >= ERRORS_MAX || on_trial) && peers_do_well {
            self.shut(Cause::Errors, &format!("{errors} answers of HTTP {status} in a row"));
        }
    }

    fn answered_well(&self, health: &mut Health) {
        health.errors_in_a_row = 0;
        // Only a part can show that it is not slow any more.
        health.on_trial = health.on_trial.filter(|cause| *cause == Cause::Slow);

        // It was used since, for want of a better one.
        let used = health.last_strike.is_some_and(|strike| strike < self.began);
        let is_not_slow = |quarantine: &mut Quarantine| quarantine.cause != Cause::Slow;
        if used && health.quarantine.take_if(is_not_slow).is_some() {
            tracing::info!("{} answers again", self.address);
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
                state.little.add(time.as_secs_f64());
            }
            return;
        }

        let peers = state.pace_of_peers(self.address);
        let health = state.health.entry(self.address).or_default();
        let seconds = time.as_secs_f64() / mebibytes(bytes);

        health.pace.add(seconds);
        let pace = health.pace;
        let enough = pace.is_known() || health.on_trial.is_some();
        let limit = peers.map(|peers| (SLOW_FACTOR * peers).max(peers + SLOW_EXCESS));
        let slow = enough && limit.is_some_and(|limit| pace.seconds > limit);
        if !slow {
            health.on_trial = None;
        }

        state.recent.add(seconds);
        drop(state);

        if let (true, Some(peers)) = (slow, peers) {
            let rate = |seconds: f64| format!("{:.1} MiB/s", 1.0 / seconds.max(1e-9));
            let here = rate(pace.seconds);
            let there = rate(peers);
            self.shut(
                Cause::Slow,
                &format!("a part moves at {here}, at other addresses at {there}"),
            );
        }
    }

    pub fn shut(&self, cause: Cause, why: &str) {
        self.addresses.shut(self.address, cause, why);
    }
}

impl Drop for InFlightGuard {
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

#[cfg(test)]
#[path = "balancer_tests.rs"]
mod tests;
