//! What the host must hear although no call of it has failed: a log or a figure that this process cannot keep.
//!
//! Any thread may say it; the next call of the host hands it to the host's log function, and the command line prints what
//! is left at its end. The same text comes once in a process: a file that cannot be written is tried for every line.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, TryLockError};

/// Texts that are kept apart; further ones stay unsaid.
const TEXTS_MAX: usize = 64;

/// Texts, and whether the host has heard them.
static TEXTS: Mutex<BTreeMap<String, bool>> = Mutex::new(BTreeMap::new());
/// Something waits: what a call without news costs is a look at this.
static NEWS: AtomicBool = AtomicBool::new(false);

/// Keeps a text for the host, once.
pub fn tell_host(text: &str) {
    let Some(mut texts) = try_texts() else { return };
    if texts.len() < TEXTS_MAX && !texts.contains_key(text) {
        texts.insert(text.to_owned(), false);
        NEWS.store(true, Ordering::Release);
    }
}

/// What the host has not heard yet.
pub fn take_notices() -> Vec<String> {
    if !NEWS.load(Ordering::Acquire) {
        return Vec::new();
    }
    let Some(mut texts) = try_texts() else {
        return Vec::new();
    };
    NEWS.store(false, Ordering::Release);
    let unheard = texts.iter_mut().filter(|(_, heard)| !**heard);
    unheard.map(|(text, heard)| (text.clone(), *heard = true).0).collect()
}

/// Nobody waits: a thread that held it at a fork does not exist in the child, and the next call asks again.
fn try_texts() -> Option<MutexGuard<'static, BTreeMap<String, bool>>> {
    match TEXTS.try_lock() {
        Ok(texts) => Some(texts),
        Err(TryLockError::Poisoned(texts)) => Some(texts.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_heard_once() {
        let heard = |text: &str| take_notices().iter().filter(|found| *found == text).count();
        let text = "the log /a/b is not written";
        tell_host(text);
        tell_host(text);
        assert_eq!(heard(text), 1);
        tell_host(text);
        assert_eq!(heard(text), 0);
    }
}
