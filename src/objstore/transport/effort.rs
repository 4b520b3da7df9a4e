//! What one operation may cost: refusals by their number, silence by its time.
//!
//! A store that answers that it cannot, or that breaks connections off, is asked `[retry] attempts` times. Where nothing
//! answers at all, because no connection comes about or no answer comes in its time, the number of tries says nothing: such
//! an outage lasts seconds or minutes, and the operation goes on until its own time is over. One [`Effort`] is shared by the
//! SDK's tries of a request and by whoever asks again for a body that broke, so that the two never multiply.
//!
//! Worked example, `attempts = 20`, `operation_timeout = "10 min"`: a cluster that refuses connections for three minutes
//! sees some fifteen tries of a part, none of which counts; one that answers 503 sees twenty in about two minutes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use aws_sdk_s3::config::interceptors::BeforeTransmitInterceptorContextMut;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};

use crate::config::Retry;

/// The share of an operation's time that is kept for the last wait between two tries, so that the operation ends with
/// what went wrong and not with the mere end of its time.
const LAST_WAIT_SHARES: u32 = 4;

tokio::task_local! {
    static PATIENT: ();
}

/// Runs work whose questions wait as long as its changes do. A poll must fail soon; what the end of a backup asks must not
/// cost hours of work.
pub fn patiently<F: Future>(work: F) -> impl Future<Output = F::Output> + use<F> {
    PATIENT.scope((), work)
}

/// True within [`patiently`].
pub fn is_patient() -> bool {
    PATIENT.try_with(|()| ()).is_ok()
}

/// Clones count together.
#[derive(Clone, Debug)]
pub struct Effort {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Requests that went to a connection, or looked for one.
    tries: AtomicU32,
    refusals_left: AtomicU32,
    /// Beyond it nothing is tried again.
    until: Instant,
}

impl Effort {
    /// For an operation of so much time.
    pub fn new(retry: &Retry, attempts: u32, time: Duration) -> Self {
        let until = Instant::now() + time.saturating_sub(longest_wait(retry, time));
        let shared = Shared {
            tries: AtomicU32::new(0),
            refusals_left: AtomicU32::new(attempts),
            until,
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// One more try begins.
    pub fn tried(&self) {
        self.shared.tries.fetch_add(1, Ordering::Relaxed);
    }

    pub fn tries(&self) -> u32 {
        self.shared.tries.load(Ordering::Relaxed)
    }

    /// The store refused, or broke off; true when it must not be asked again.
    pub fn refused(&self) -> bool {
        let left = |left: u32| Some(left.saturating_sub(1));
        let before = self
            .shared
            .refusals_left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, left);
        before.is_ok_and(|before| before <= 1) || self.is_over()
    }

    /// Something was achieved: refusals count from the beginning again.
    pub fn achieved(&self, attempts: u32) {
        self.shared.refusals_left.store(attempts, Ordering::Relaxed);
    }

    /// The time for further tries is over.
    pub fn is_over(&self) -> bool {
        Instant::now() >= self.shared.until
    }
}

/// The longest wait between two tries of an operation of so much time.
pub fn longest_wait(retry: &Retry, time: Duration) -> Duration {
    retry.backoff_max.min(time / LAST_WAIT_SHARES)
}

/// Puts the effort onto every request of its operation, where the connector finds it.
impl Intercept for Effort {
    fn name(&self) -> &'static str {
        "vastost effort"
    }

    fn modify_before_transmit(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        context.request_mut().add_extension(self.clone());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retry() -> Retry {
        Retry::default()
    }

    #[test]
    fn refusals_are_counted_and_begin_again_when_something_was_achieved() {
        let effort = Effort::new(&retry(), 3, Duration::from_secs(600));
        assert_eq!(
            [effort.refused(), effort.refused(), effort.refused(), effort.refused()],
            [false, false, true, true]
        );
        effort.achieved(2);
        assert_eq!([effort.clone().refused(), effort.refused()], [false, true]);
        assert!(!effort.is_over());
    }

    #[test]
    fn nothing_is_tried_again_when_the_time_is_over() {
        let effort = Effort::new(&retry(), 3, Duration::ZERO);
        assert!(effort.is_over() && effort.refused());
    }
}
