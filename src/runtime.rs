//! The only file that builds, enters and stops Tokio.
//!
//! The runtime is built by the first call that needs the network, never by loading or init. Its threads have every
//! signal masked: hyper writes with `writev`, which raises SIGPIPE where `send` would not, and the host's own signals
//! must be delivered to the host's own threads. Callers block on a join handle and never poll a socket themselves.

use std::future::Future;
use std::time::Duration;

use nix::sys::signal::{SigSet, SigmaskHow};
use tracing::Instrument;

use crate::error::{Error, Kind, Result, ResultExt};

/// Worker and helper threads of one process, stopped and joined by [`Runtime::stop`].
pub struct Runtime {
    tokio: tokio::runtime::Runtime,
}

impl Runtime {
    /// Starts `io_threads` workers named `vastost-io`.
    pub fn start(io_threads: usize) -> Result<Self> {
        let built = with_signals_masked(|| {
            tokio::runtime::Builder::new_multi_thread()
                .worker_threads(io_threads)
                .thread_name("vastost-io")
                // Deep SDK futures live on the heap; 2 MiB is Tokio's own default, stated here since RSS is a promise.
                .thread_stack_size(2 << 20)
                .max_blocking_threads(io_threads.max(4))
                .on_thread_start(|| {
                    // Helper threads are started lazily by whoever asks first: mask again rather than trust inheritance.
                    let _ = SigSet::all().thread_set_mask();
                })
                .enable_io()
                .enable_time()
                .build()
        })?;
        let tokio = built.or_kind(Kind::Io, || "start I/O threads".into())?;
        Ok(Self { tokio })
    }

    pub fn handle(&self) -> &tokio::runtime::Handle {
        self.tokio.handle()
    }

    /// Runs `future` on our threads and blocks the calling thread until it ends.
    pub fn run<T, F>(&self, future: F) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        run_on(self.tokio.handle(), future)
    }

    /// Stops and joins all threads; work still running is dropped at its next await.
    pub fn stop(self) {
        self.tokio.shutdown_timeout(Duration::from_secs(10));
    }

    /// Gives the runtime up without joining: its threads do not exist on this side of a fork.
    pub fn forget(self) {
        std::mem::forget(self.tokio);
    }
}

/// Runs `future` on `handle`'s threads and blocks the calling thread until it ends.
pub fn run_on<T, F>(handle: &tokio::runtime::Handle, future: F) -> Result<T>
where
    T: Send + 'static,
    F: Future<Output = Result<T>> + Send + 'static,
{
    // Polling a join handle from here is no socket I/O, so SIGPIPE cannot reach the caller's thread.
    // What it logs belongs to what the caller is about.
    match futures::executor::block_on(handle.spawn(future.in_current_span())) {
        Ok(result) => result,
        Err(join) if join.is_panic() => Err(Error::new(Kind::Internal, panic_text(&*join.into_panic()))),
        Err(_) => Err(Error::new(Kind::Aborted, "the plug-in was terminated during the call")),
    }
}

/// Starts a thread of ours with all signals masked.
pub fn spawn_thread(name: &str, body: impl FnOnce() + Send + 'static) -> Result<std::thread::JoinHandle<()>> {
    with_signals_masked(|| std::thread::Builder::new().name(name.into()).spawn(body))?
        .or_kind(Kind::Io, || format!("start thread {name}"))
}

/// The text of a panic payload.
pub fn panic_text(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|s| (*s).to_owned());
    let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
    format!("internal fault: {}", text.unwrap_or_else(|| "panic without text".into()))
}

fn with_signals_masked<T>(start: impl FnOnce() -> T) -> Result<T> {
    let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK).or_kind(Kind::Io, || "mask signals".into())?;
    let value = start();
    before.thread_set_mask().or_kind(Kind::Io, || "restore the signal mask".into())?;
    Ok(value)
}
