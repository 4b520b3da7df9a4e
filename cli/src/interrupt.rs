//! Ctrl-C (and SIGTERM, SIGHUP): the first asks the work to end and clean up, the second ends the process at once.
//! Under `nohup` SIGHUP stays ignored.

use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::output::complain;

static ASKED: AtomicBool = AtomicBool::new(false);
/// What even a process that exits at once can still remove.
static PARTIAL: Mutex<Option<PathBuf>> = Mutex::new(None);

/// What shells report for a process that SIGINT ended.
const EXIT_AT_ONCE: i32 = 130;

/// A clean end that takes longer is announced.
const SILENT: Duration = Duration::from_secs(15);

/// The user has asked to end.
#[derive(Debug)]
pub struct Interrupted;

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("interrupted")
    }
}

impl Error for Interrupted {}

/// From now on the first signal only sets the flag that [`check`] reads.
pub fn watch() -> Result<(), Box<dyn Error>> {
    let hangup = (!is_hangup_ignored()).then_some(SIGHUP);
    let mut signals = Signals::new([SIGINT, SIGTERM].into_iter().chain(hangup))
        .map_err(|error| format!("watch for Ctrl-C: {error}"))?;
    let watch = move || {
        for _ in signals.forever() {
            received();
        }
    };
    std::thread::Builder::new()
        .name("vastost-signals".into())
        .spawn(watch)?;
    Ok(())
}

fn received() {
    if ASKED.swap(true, Ordering::SeqCst) {
        let partial = PARTIAL.lock().unwrap_or_else(PoisonError::into_inner).take();
        partial.map(std::fs::remove_file);
        std::process::exit(EXIT_AT_ONCE);
    }
    // If the store does not answer, the clean-up too retries for minutes.
    let announce = || {
        std::thread::sleep(SILENT);
        complain("still cleaning up; once more exits at once");
    };
    // Where no thread can be made, nothing is said.
    drop(std::thread::Builder::new().spawn(announce));
}

/// True when whoever started us has asked that SIGHUP be ignored, as `nohup` does.
fn is_hangup_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status
        .lines()
        .find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok());
    ignored.is_some_and(|mask| mask >> (SIGHUP - 1) & 1 == 1)
}

/// [`Interrupted`] once the user has asked to end.
pub fn check() -> Result<(), Box<dyn Error>> {
    if ASKED.load(Ordering::SeqCst) {
        Err(Interrupted.into())
    } else {
        Ok(())
    }
}

/// A half-written file, removed also by the signal that ends the process at once; `None` when it is whole or gone.
pub fn set_partial(path: Option<&Path>) {
    *PARTIAL.lock().unwrap_or_else(PoisonError::into_inner) = path.map(Path::to_path_buf);
}
