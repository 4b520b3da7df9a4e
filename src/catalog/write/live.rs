//! The attempts that this process is writing.
//!
//! Read and changed without a lock: a thread that held one at a fork would hold it in the child for ever. The child of a
//! fork writes none of its parent's attempts.

use std::collections::HashSet;
use std::sync::Arc;

use arc_swap::ArcSwapOption;

use crate::catalog::format::keys::Attempt;

static LIVE: ArcSwapOption<Live> = ArcSwapOption::const_empty();

/// What one process writes.
struct Live {
    pid: u32,
    attempts: HashSet<Attempt>,
}

/// True while a handle of this process writes the attempt.
pub fn is_live(attempt: &Attempt) -> bool {
    let live = LIVE.load();
    live.as_ref()
        .is_some_and(|live| live.pid == std::process::id() && live.attempts.contains(attempt))
}

/// A handle of this process writes the attempt from now on.
pub fn begin(attempt: &Attempt) {
    change(|attempts| {
        attempts.insert(attempt.clone());
    });
}

pub fn end(attempt: &Attempt) {
    change(|attempts| {
        attempts.remove(attempt);
    });
}

/// Replaces the set; `act` is called again where another thread was quicker.
fn change(act: impl Fn(&mut HashSet<Attempt>)) {
    let pid = std::process::id();
    LIVE.rcu(|live| {
        let mut attempts = match live {
            Some(live) if live.pid == pid => live.attempts.clone(),
            _ => HashSet::new(),
        };
        act(&mut attempts);
        Some(Arc::new(Live { pid, attempts }))
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_are_live_between_begin_and_end_whatever_other_threads_do() {
        let attempts: Vec<_> = (0..8).map(|_| Attempt::new()).collect();
        std::thread::scope(|scope| {
            for attempt in &attempts {
                scope.spawn(move || {
                    for _ in 0..200 {
                        begin(attempt);
                        assert!(is_live(attempt));
                        end(attempt);
                        assert!(!is_live(attempt));
                    }
                });
            }
        });
    }
}
