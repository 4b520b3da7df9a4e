//! The attempts that this process is writing.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use crate::catalog::format::keys::Attempt;

static LIVE: Mutex<Option<HashSet<Attempt>>> = Mutex::new(None);
/// True while a handle of this process writes the attempt.
pub fn is_live(attempt: &Attempt) -> bool {
    live(|live| live.contains(attempt))
}

/// A handle of this process writes the attempt from now on.
pub fn begin(attempt: &Attempt) {
    live(|live| live.insert(attempt.clone()));
}

pub fn end(attempt: &Attempt) {
    live(|live| live.remove(attempt));
}

fn live<T>(act: impl FnOnce(&mut HashSet<Attempt>) -> T) -> T {
    act(LIVE
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .get_or_insert_default())
}
