//! Ctrl-C (and SIGTERM, SIGHUP): the first asks the work to end and clean up, the second ends the process at once.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

static ASKED: AtomicBool = AtomicBool::new(false);
/// What even a process that exits at once can still remove.
static PARTIAL: Mutex<Option<PathBuf>> = Mutex::new(None);

/// What shells report for a process that SIGINT ended.
const EXIT_AT_ONCE: i32 = 130;

/// From now on the first signal only sets the flag that [`check`] reads.
pub fn watch() -> Result<(), Box<dyn Error>> {
    let handler = || {
        if ASKED.swap(true, Ordering::SeqCst) {
            let partial = PARTIAL.lock().unwrap_or_else(PoisonError::into_inner).take();
            partial.map(std::fs::remove_file);
            std::process::exit(EXIT_AT_ONCE);
        }
    };
    ctrlc::set_handler(handler).map_err(|error| format!("watch for Ctrl-C: {error}").into())
}

/// An error once the user has asked to end.
pub fn check() -> Result<(), Box<dyn Error>> {
    if ASKED.load(Ordering::SeqCst) { Err("interrupted".into()) } else { Ok(()) }
}

/// A half-written file, removed also by the signal that ends the process at once; `None` when it is whole or gone.
pub fn set_partial(path: Option<&Path>) {
    *PARTIAL.lock().unwrap_or_else(PoisonError::into_inner) = path.map(Path::to_path_buf);
}
