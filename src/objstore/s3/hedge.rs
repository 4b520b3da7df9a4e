//! A second try for stragglers: what takes far longer than usual is asked for again, and the first answer wins.
//!
//! Only what may be sent twice harmlessly: parts (the same number sent twice is the same part: S3 keeps the last, and both
//! have the same bytes) and what only asks. The second try goes to another address than the one that keeps the first
//! waiting; with a single address nothing is hedged. The loser's connection is closed. Second tries are paid from a
//! credit that grows by `hedge_percent` of what was moved, so a store that is slow as a whole costs no more than that;
//! what is below [`LITTLE`] bytes, as all that only asks, counts as so many.

use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::{Either, select};

use crate::config::{Retry, Transfer};
use crate::error::{Kind, Result};
use crate::metrics::request::ServerMetrics;
use crate::objstore::transport::balancer::Addresses;
use crate::objstore::transport::hedge_state::Tries;

/// How much longer than the slowest twentieth of the last parts.
const FACTOR: u32 = 3;
/// Nothing is hedged sooner: a moment's queue is no straggler.
pub const LEAST: Duration = Duration::from_secs(1);
/// What takes longer is looked at again so often: others may be done by then, and tell what is usual.
pub const TICK: Duration = Duration::from_millis(250);
/// The credit at the start, and the most that can be saved up, in parts.
const CREDIT_PARTS: u64 = 8;
/// The least that a second try costs, and that a question earns for.
const LITTLE: u64 = 64 << 10;

/// The second tries of one server; clones share the credit.
#[derive(Clone)]
pub struct Hedges {
    addresses: Addresses,
    metrics: Arc<ServerMetrics>,
    percent: u64,
    credit_max: u64,
    credit: Arc<Mutex<u64>>,
}

impl Hedges {
    pub fn new(addresses: Addresses, metrics: Arc<ServerMetrics>, retry: &Retry, transfer: &Transfer) -> Self {
        let percent = u64::from(retry.hedge_percent);
        let credit_max = if percent == 0 {
            0
        } else {
            CREDIT_PARTS * transfer.part_size_bytes
        };
        Self {
            addresses,
            metrics,
            percent,
            credit_max,
            credit: Arc::new(Mutex::new(credit_max)),
        }
    }

    /// For a body that is taken in: true when what `bytes` were asked for has taken `time` and is a straggler, there is an
    /// address to ask instead, and the credit has the `missing` bytes, which are taken from it. The caller gives the body
    /// up, so the second try counts as the one that won.
    pub fn may_ask_again(&self, bytes: u64, time: Duration, missing: u64) -> bool {
        let may = self.percent > 0 && self.is_late(bytes, time) && self.addresses.has_choice() && self.spend(missing);
        if may {
            self.metrics.hedged("GetObject");
            self.metrics.hedge_won("GetObject");
        }
        may
    }

    fn is_late(&self, bytes: u64, time: Duration) -> bool {
        self.addresses
            .usual_time(bytes)
            .is_some_and(|usual| time >= (usual * FACTOR).max(LEAST))
    }

    /// The same for a request whose first try waits for its answer.
    fn is_due(&self, tries: &Tries, bytes: u64) -> bool {
        let late = |(time, others): (Duration, Vec<_>)| self.is_late(bytes, time) && self.addresses.has_any(&others);
        tries.waiting().is_some_and(late) && self.spend(bytes)
    }

    fn spend(&self, bytes: u64) -> bool {
        let bytes = bytes.max(LITTLE);
        let mut credit = self.credit.lock().unwrap_or_else(PoisonError::into_inner);
        let enough = *credit >= bytes;
        if enough {
            *credit -= bytes;
        }
        enough
    }

    /// Sends, and after a while sends again; gives the first answer, or the last failure to get one. `bytes` is what one try moves.
    pub async fn race<T, F: Future<Output = Result<T>>>(
        &self,
        operation: &'static str,
        bytes: u64,
        send: impl Fn() -> F,
    ) -> Result<T> {
        if self.percent == 0 {
            return send().await;
        }
        let tries = Tries::default();
        let mut first = pin!(tries.first(send()));
        let mut wait = LEAST;

        loop {
            if let Ok(done) = tokio::time::timeout(wait, &mut first).await {
                return done;
            }
            if self.is_due(&tries, bytes) {
                break;
            }
            wait = TICK;
        }

        tracing::info!("a second try for {operation} of {bytes} bytes, which takes far longer than usual");
        self.metrics.hedged(operation);
        let second = Box::pin(tries.second(send()));
        let (done, won) = match select(first, second).await {
            Either::Left((done, second)) if is_answer(&done) => {
                tries.decide();
                drop(second);
                (done, false)
            }
            Either::Right((done, _)) if is_answer(&done) => (done, true),
            Either::Left((_, second)) => (second.await, true),
            Either::Right((_, first)) => (first.await, false),
        };

        if won && done.is_ok() {
            self.metrics.hedge_won(operation);
        }
        done
    }

    /// The same for a request that only asks.
    pub async fn ask<T, F: Future<Output = Result<T>>>(
        &self,
        operation: &'static str,
        send: impl Fn() -> F,
    ) -> Result<T> {
        self.race(operation, 0, send).await.inspect(|_| self.earn(LITTLE))
    }

    /// Adds to the credit for `bytes` that were moved.
    pub fn earn(&self, bytes: u64) {
        let mut credit = self.credit.lock().unwrap_or_else(PoisonError::into_inner);
        *credit = credit
            .saturating_add(bytes.saturating_mul(self.percent) / 100)
            .min(self.credit_max);
    }
}

/// The store has said something, be it no; else the other try may still be told.
fn is_answer<T>(done: &Result<T>) -> bool {
    let kind = done.as_ref().err().map(crate::error::Error::kind);
    !matches!(kind, Some(Kind::Network | Kind::Timeout | Kind::Unavailable))
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Instant;

    use super::*;
    use crate::config::Config;
    use crate::error::Error;
    use crate::metrics::registry::Metrics;

    fn hedges(addresses: &Addresses) -> Hedges {
        let text = "[server.v]\nendpoints = [\"http://127.0.0.1:9000\"]\n";
        let config = Config::parse(text, std::path::Path::new("/x/vastost.toml")).unwrap();
        let metrics = ServerMetrics::new(&Arc::new(Metrics::new()), config.server("v").unwrap());
        Hedges::new(addresses.clone(), metrics, &config.retry, &config.transfer)
    }

    fn among(count: u16) -> Vec<SocketAddr> {
        (1..=count)
            .map(|port| SocketAddr::from(([10, 0, 0, 1], port)))
            .collect()
    }

    /// A race whose first try ends with `kind` after four seconds and whose second try, if there is one, ends at once.
    async fn race(addresses: u16, kind: Kind) -> (Result<()>, u32, Duration) {
        let known = Addresses::default();
        let among = among(addresses);
        let tries = AtomicU32::new(0);
        let began = Instant::now();
        let hedges = hedges(&known);
        let done = hedges.ask("HeadObject", || async {
            let _ticket = known.choose(&among).0;
            if tries.fetch_add(1, Ordering::Relaxed) == 0 {
                tokio::time::sleep(Duration::from_secs(4)).await;
                return Err(Error::new(kind, "the first"));
            }
            tokio::time::sleep(if kind == Kind::NotFound {
                Duration::from_secs(60)
            } else {
                LEAST
            })
            .await;
            Ok(())
        });
        (done.await, tries.load(Ordering::Relaxed), began.elapsed())
    }

    #[tokio::test]
    async fn the_first_answer_counts_whatever_it_says_and_none_is_waited_for_by_the_other_try() {
        let ((refused, tries, _), (lost, _, time)) = tokio::join!(race(2, Kind::NotFound), race(2, Kind::Network));
        assert_eq!((refused.unwrap_err().kind(), tries), (Kind::NotFound, 2));
        assert!(lost.is_ok() && time < Duration::from_secs(30));
    }

    #[tokio::test]
    async fn with_one_address_and_without_one_that_waits_nothing_is_sent_twice() {
        let pause = async {
            let known = Addresses::default();
            let hedges = hedges(&known);
            let tries = AtomicU32::new(0);
            let done = hedges.ask("HeadObject", || async {
                tries.fetch_add(1, Ordering::Relaxed);
                // Waits for what the server asked for, or for a connection: at no address.
                drop(known.choose(&among(2)).0);
                tokio::time::sleep(4 * LEAST).await;
                Ok(())
            });
            done.await.unwrap();
            tries.load(Ordering::Relaxed)
        };
        let ((_, alone, _), pausing) = tokio::join!(race(1, Kind::Network), pause);
        assert_eq!((alone, pausing), (1, 1));
    }
}
