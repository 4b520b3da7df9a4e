//! Two clients that come to the same point of what they do at the same moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::Request;

/// For a script: holds each of the first two puts into `folder` until the other one has come.
pub fn meeting(folder: &'static str) -> impl Fn(&Request) {
    let come = Arc::new(AtomicUsize::new(0));
    move |request| {
        if request.is("PutObject", folder) && request.nth <= 2 {
            come.fetch_add(1, Ordering::SeqCst);
            wait_for(|| come.load(Ordering::SeqCst) >= 2);
        }
    }
}

/// Who was refused before never comes: then the other one goes on without.
pub fn wait_for(mut come: impl FnMut() -> bool) {
    let began = Instant::now();
    while !come() && began.elapsed() < Duration::from_secs(5) {
        std::thread::sleep(Duration::from_millis(1));
    }
}
