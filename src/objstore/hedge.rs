//! A second try for stragglers: what takes far longer than parts usually do is asked for again, and the first answer wins.
//!
//! The address that keeps a request waiting is the last choice by then, so the second try goes to another one; with a
//! single address nothing is hedged. The same part number sent twice is the same part (S3 keeps the last, and both have
//! the same bytes), and the loser's connection is closed. The bytes of second tries are paid from a credit that grows by
//! `hedge_percent` of what was moved, so a store that is slow as a whole costs no more than that.

use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::future::{Either, select};

use super::addresses::Addresses;
use crate::config::{Retry, Transfer};
use crate::error::Result;

/// How much longer than the slowest twentieth of the last parts.
const FACTOR: u32 = 3;
/// Nothing is hedged sooner: a moment's queue is no straggler.
pub const LEAST: Duration = Duration::from_secs(1);
/// What takes longer is looked at again so often: others may be done by then, and tell what is usual.
pub const TICK: Duration = Duration::from_millis(250);
/// The credit at the start, and the most that can be saved up, in parts.
const CREDIT_PARTS: u64 = 8;

/// The second tries of one server; clones share the credit.
#[derive(Clone)]
pub struct Hedges {
    addresses: Addresses,
    percent: u64,
    credit_max: u64,
    credit: Arc<Mutex<u64>>,
}

impl Hedges {
    pub fn new(addresses: Addresses, retry: &Retry, transfer: &Transfer) -> Self {
        let percent = u64::from(retry.hedge_percent);
        let credit_max = if percent == 0 { 0 } else { CREDIT_PARTS * transfer.part_size_bytes };
        Self { addresses, percent, credit_max, credit: Arc::new(Mutex::new(credit_max)) }
    }

    /// True when a transfer of `bytes` that has taken `time` is a straggler, there is an address to ask instead, and the
    /// credit has the `missing` bytes, which are taken from it.
    pub fn may_ask_again(&self, bytes: u64, time: Duration, missing: u64) -> bool {
        let late = |usual: Duration| time >= (usual * FACTOR).max(LEAST);
        self.percent > 0
            && self.addresses.usual_time(bytes).is_some_and(late)
            && self.addresses.has_choice()
            && self.spend(missing)
    }

    fn spend(&self, bytes: u64) -> bool {
        let mut credit = self.credit.lock().unwrap_or_else(PoisonError::into_inner);
        let enough = *credit >= bytes;
        if enough {
            *credit -= bytes;
        }
        enough
    }

    /// Sends, and after a while sends again; gives the first success, or the last failure. `bytes` is what one try moves.
    pub async fn race<T, F: Future<Output = Result<T>>>(&self, bytes: u64, send: impl Fn() -> F) -> Result<T> {
        let (mut first, began) = (pin!(send()), Instant::now());
        let mut wait = LEAST;
        loop {
            if let Ok(done) = tokio::time::timeout(wait, &mut first).await {
                return done;
            }
            if self.may_ask_again(bytes, began.elapsed(), bytes) {
                break;
            }
            wait = TICK;
        }
        tracing::info!("a second try for {bytes} bytes that take far longer than usual");
        let second = pin!(send());
        match select(first, second).await {
            Either::Left((Ok(done), _)) | Either::Right((Ok(done), _)) => Ok(done),
            Either::Left((Err(_), second)) => second.await,
            Either::Right((Err(_), first)) => first.await,
        }
    }

    /// Adds to the credit for `bytes` that were moved.
    pub fn earn(&self, bytes: u64) {
        let mut credit = self.credit.lock().unwrap_or_else(PoisonError::into_inner);
        *credit = credit.saturating_add(bytes.saturating_mul(self.percent) / 100).min(self.credit_max);
    }
}
