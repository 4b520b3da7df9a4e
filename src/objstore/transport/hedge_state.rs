//! Where the tries of one hedged request are.
//!
//! A request is hedged as a whole, with its retries, but whether it is late is a matter of the try that waits now: not of
//! pauses that the server asked for, nor of tries that have ended. So the choice of an address marks it for the request
//! that the task works for, as long as the [`super::balancer::InFlightGuard`] lives. The second try keeps away from where the
//! first one waits, and what is given up because the other one was faster says nothing about its address.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

tokio::task_local! {
    static CURRENT: Try;
}

/// The two tries of one request; clones are the same.
#[derive(Clone, Default)]
pub struct Tries {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// Where the first try waits.
    first: Mutex<Option<Place>>,
    /// The request has its answer.
    decided: AtomicBool,
}

struct Place {
    address: SocketAddr,
    since: Instant,
    /// The addresses that it could have gone to instead.
    others: Vec<SocketAddr>,
}

#[derive(Clone)]
struct Try {
    of: Tries,
    is_second: bool,
}

/// One request on its way, as part of a try; gone with it.
pub struct Mark {
    of: Try,
    since: Instant,
}

impl Tries {
    /// Runs the first try.
    pub fn first<F: Future>(&self, work: F) -> impl Future<Output = F::Output> + use<F> {
        CURRENT.scope(
            Try {
                of: self.clone(),
                is_second: false,
            },
            work,
        )
    }

    /// Runs the second try.
    pub fn second<F: Future>(&self, work: F) -> impl Future<Output = F::Output> + use<F> {
        CURRENT.scope(
            Try {
                of: self.clone(),
                is_second: true,
            },
            work,
        )
    }

    /// How long the first try has been waiting for the address that it is at, and where it could have gone instead; None
    /// while it is at none.
    pub fn waiting(&self) -> Option<(Duration, Vec<SocketAddr>)> {
        self.lock()
            .as_ref()
            .map(|place| (place.since.elapsed(), place.others.clone()))
    }

    /// One try had its answer: the other is given up for that alone.
    pub fn decide(&self) {
        self.shared.decided.store(true, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, Option<Place>> {
        self.shared.first.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The address that the request of this task must keep away from, because its first try waits there.
pub fn elsewhere_than() -> Option<SocketAddr> {
    let first = |current: &Try| {
        current
            .of
            .lock()
            .as_ref()
            .filter(|_| current.is_second)
            .map(|place| place.address)
    };
    CURRENT.try_with(first).ok().flatten()
}

/// Marks where the request of this task goes, of the addresses `among`, if it is part of a try.
pub fn mark(address: SocketAddr, since: Instant, among: &[SocketAddr]) -> Option<Mark> {
    let of = CURRENT.try_with(Try::clone).ok()?;
    if !of.is_second {
        let others = among.iter().copied().filter(|other| *other != address).collect();
        *of.of.lock() = Some(Place { address, since, others });
    }
    Some(Mark { of, since })
}

impl Mark {
    /// True when the first try had the answer, so that this one was given up though it waited for less time.
    pub fn is_moot(&self) -> bool {
        self.of.is_second && self.of.of.shared.decided.load(Ordering::Relaxed)
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        if !self.of.is_second {
            // Another one may have taken its place: a dial that failed goes on elsewhere.
            self.of.of.lock().take_if(|place| place.since == self.since);
        }
    }
}
