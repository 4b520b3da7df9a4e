//! Threads of ours: the host's signals are for the host's own threads, so every one of ours has them masked.

use std::thread::JoinHandle;

use nix::sys::signal::{SigSet, SigmaskHow};

use crate::error::{Kind, Result, ResultExt};

/// Why there is no further thread, and what to do.
pub(crate) const LIMITS: &str =
    "the system allows no more to this user or group; raise the limit on processes and threads (ulimit -u, pids.max)";

/// Starts a thread of ours with all signals masked.
pub fn spawn_thread(name: &str, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    let _masked = SignalsMasked::new()?;
    std::thread::Builder::new()
        .name(name.into())
        .spawn(body)
        .or_kind(Kind::Io, || format!("start thread {name}: {LIMITS}"))
}

/// Tells this copy of the plug-in from every other one in the process: two never lie at the same place. The same before
/// and after a fork.
pub fn copy_in_process() -> u64 {
    static PLACE: u8 = 0;
    // A copy is far longer than 64 KiB.
    std::ptr::from_ref(&PLACE).addr() as u64 >> 16
}

/// The text of a panic payload.
pub fn panic_text(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|s| (*s).to_owned());
    let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
    format!(
        "internal fault: {}",
        text.unwrap_or_else(|| "panic without text".into())
    )
}

/// All signals are blocked on this thread while it lives, and what was blocked before is restored on every way out.
pub(crate) struct SignalsMasked {
    before: SigSet,
}

impl SignalsMasked {
    pub(crate) fn new() -> Result<Self> {
        let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK);
        Ok(Self {
            before: before.or_kind(Kind::Io, || "mask signals".into())?,
        })
    }
}

impl Drop for SignalsMasked {
    fn drop(&mut self) {
        // Fails for no set that the kernel itself has given.
        let _ = self.before.thread_set_mask();
    }
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use super::*;

    #[test]
    fn the_signal_mask_comes_back_when_a_thread_cannot_be_started_or_the_start_panics() {
        let before = SigSet::thread_get_mask().unwrap();
        let panicked = catch_unwind(|| {
            let _masked = SignalsMasked::new().unwrap();
            assert!(
                SigSet::thread_get_mask()
                    .unwrap()
                    .contains(nix::sys::signal::Signal::SIGTERM)
            );
            std::panic::resume_unwind(Box::new(()));
        });
        assert!(panicked.is_err());
        assert_eq!(SigSet::thread_get_mask().unwrap(), before);
    }
}
