//! The only file that builds, enters and stops Tokio.
//!
//! The runtime is built by the first call that needs the network, never by loading or init. Its threads have every
//! signal masked: hyper writes with `writev`, which raises SIGPIPE where `send` would not, and the host's own signals
//! must be delivered to the host's own threads. Callers block on a join handle and never poll a socket themselves.
//!
//! All threads are there before anything else happens, and stay until the end: Tokio makes its own when they are first
//! needed, and where a limit (RLIMIT_NPROC, pids.max) has no room by then it panics, or queues the work for ever. So a
//! call gets all the threads that it can need, or an error before it has changed anything.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use nix::sys::signal::SigSet;
use nix::unistd::gettid;
use tracing::Instrument;

use crate::error::{Error, Kind, Result, ResultExt};
use crate::thread::{LIMITS, SignalsMasked, panic_text};

/// Threads for what may wait for a disk or a resolver; more work of that kind waits for one of them.
const BLOCKING_THREADS: usize = 4;
/// Deep SDK futures live on the heap; 2 MiB is Tokio's own default, stated here since memory is a promise.
const STACK_BYTES: usize = 2 << 20;
/// The threads of the runtime begin within this time, or somebody else took their room meanwhile.
const BEGIN: Duration = Duration::from_secs(5);
/// No thread of ours ends because it has nothing to do: another might not be had later.
const NEVER: Duration = Duration::from_secs(10 * 365 * 86_400);

/// Worker and helper threads of one process, stopped and joined by [`Runtime::stop`].
pub struct Runtime {
    tokio: tokio::runtime::Runtime,
}

impl Runtime {
    /// Starts `io_threads` workers and the blocking threads, named `vastost-io`: all of them, or none.
    pub fn start(io_threads: usize) -> Result<Self> {
        let _masked = SignalsMasked::new()?;
        let count = io_threads + BLOCKING_THREADS;
        let refused =
            |cause: std::io::Error| Error::with_source(Kind::Io, format!("start {count} threads: {LIMITS}"), cause);
        try_threads(count).map_err(refused)?;
        let (begun, threads) = channel();
        let built = catch_unwind(AssertUnwindSafe(|| {
            tokio::runtime::Builder::new_multi_thread()
                .worker_threads(io_threads)
                .thread_name("vastost-io")
                .thread_stack_size(STACK_BYTES)
                .max_blocking_threads(BLOCKING_THREADS)
                .thread_keep_alive(NEVER)
                .on_thread_start(move || {
                    // Mask again rather than trust inheritance.
                    let _ = SigSet::all().thread_set_mask();
                    let _ = begun.send(());
                })
                .enable_io()
                .enable_time()
                .build()
        }));
        let built = built.unwrap_or_else(|payload| Err(std::io::Error::other(panic_text(&*payload))));
        let tokio = built.or_kind(Kind::Io, || "start I/O threads".into())?;
        if !begin_all(&tokio, &threads, count) {
            tokio.shutdown_timeout(BEGIN);
            return Err(refused(std::io::ErrorKind::WouldBlock.into()));
        }
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
    // To the heap at once: futures of several requests are tens of KiB, and a host's thread may have a small stack.
    run_boxed(handle, Box::pin(future))
}

fn run_boxed<T: Send + 'static>(handle: &tokio::runtime::Handle, future: BoxFuture<'static, Result<T>>) -> Result<T> {
    // Polling a join handle from here is no socket I/O, so SIGPIPE cannot reach the caller's thread.
    // What it logs belongs to what the caller is about.
    match futures::executor::block_on(handle.spawn(future.in_current_span())) {
        Ok(result) => result,
        Err(join) if join.is_panic() => Err(Error::new(Kind::Internal, panic_text(&*join.into_panic()))),
        Err(_) => Err(Error::new(Kind::Aborted, "the plug-in was terminated during the call")),
    }
}

/// Tells whether so many threads can be had now, by making them and letting them go again.
fn try_threads(count: usize) -> std::io::Result<()> {
    let gate = Arc::new(RwLock::new(()));
    let ids = Arc::new(Mutex::new(Vec::with_capacity(count)));
    let closed = gate.write().unwrap_or_else(PoisonError::into_inner);
    let mut threads = Vec::with_capacity(count);
    let mut failure = None;

    for _ in 0..count {
        let gate = Arc::clone(&gate);
        let ids = Arc::clone(&ids);
        let wait = move || {
            ids.lock().unwrap_or_else(PoisonError::into_inner).push(gettid());
            drop(gate.read());
        };
        match std::thread::Builder::new()
            .name("vastost-try".into())
            .stack_size(STACK_BYTES)
            .spawn(wait)
        {
            Ok(thread) => threads.push(thread),
            Err(error) => {
                failure = Some(error);
                break;
            }
        }
    }

    drop(closed);
    for thread in threads {
        let _ = thread.join();
    }
    // A joined thread counts until the kernel has taken it down.
    let ids = ids.lock().unwrap_or_else(PoisonError::into_inner);
    let deadline = Instant::now() + BEGIN;
    for task in ids.iter().map(|id| PathBuf::from(format!("/proc/self/task/{id}"))) {
        while task.exists() && Instant::now() < deadline {
            std::thread::yield_now();
        }
    }
    failure.map_or(Ok(()), Err)
}

/// Occupies the blocking threads until every thread of the runtime has begun; false when one is missing.
fn begin_all(tokio: &tokio::runtime::Runtime, threads: &Receiver<()>, count: usize) -> bool {
    let gate = Arc::new(RwLock::new(()));
    let closed = gate.write().unwrap_or_else(PoisonError::into_inner);
    let occupied = catch_unwind(AssertUnwindSafe(|| {
        for _ in 0..BLOCKING_THREADS {
            let gate = Arc::clone(&gate);
            drop(tokio.spawn_blocking(move || drop(gate.read())));
        }
    }));
    let deadline = Instant::now() + BEGIN;
    let has_begun = |_| {
        threads
            .recv_timeout(deadline.saturating_duration_since(Instant::now()))
            .is_ok()
    };
    let all = occupied.is_ok() && (0..count).all(has_begun);
    drop(closed);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn threads() -> usize {
        std::fs::read_dir("/proc/self/task")
            .unwrap()
            .flatten()
            .filter(|task| {
                std::fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name.trim() == "vastost-io")
            })
            .count()
    }

    #[test]
    fn every_thread_is_there_from_the_start_and_none_is_made_later() {
        let runtime = Runtime::start(3).unwrap();
        assert!(threads() >= 3 + BLOCKING_THREADS);
        let many = (0..50).map(|_| {
            runtime
                .handle()
                .spawn_blocking(|| std::thread::sleep(Duration::from_millis(1)))
        });
        let many: Vec<_> = many.collect();
        runtime
            .run(async move {
                futures::future::join_all(many).await;
                Ok(())
            })
            .unwrap();
        runtime.stop();
    }
}
