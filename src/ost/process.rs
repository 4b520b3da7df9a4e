//! The state of one process: handles, engine, open images; and what happens to it at a fork.
//!
//! Init makes the state and nothing else; threads start with the first server. After a fork only the forking thread
//! exists, and locks may be held by threads that do not: the first call in the child builds a state of its own and leaks
//! the parent's. Open servers keep their numbers there (with connections of their own); images and lists do not.

use std::fs::OpenOptions;
use std::os::fd::{AsRawFd, IntoRawFd, RawFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;

use super::engine_slot::EngineSlot;
use super::handle::{HandleTable, Object};
use super::open_images::OpenImages;
use super::server::Server;
use crate::error::{Error, Kind, Result};

/// Read without a lock, since a lock could be held for ever on the child's side of a fork.
static CURRENT: ArcSwapOption<Process> = ArcSwapOption::const_empty();

/// The process whose terminate is under way.
static ENDING: ArcSwapOption<u32> = ArcSwapOption::const_empty();

/// What terminate waits for calls under way in other threads; they end at once unless the host itself holds them.
const LAST_CALLS: Duration = Duration::from_secs(30);

/// The last of the descriptors that have a meaning of their own.
const STDERR: RawFd = 2;

/// All that belongs to one process.
pub struct Process {
    pid: u32,
    pub handles: HandleTable,
    pub engine: EngineSlot,
    pub open_images: Arc<OpenImages>,
}

impl Process {
    fn new(handles: HandleTable) -> Self {
        fill_standard_streams();
        Self {
            pid: std::process::id(),
            handles,
            engine: EngineSlot::default(),
            open_images: Arc::default(),
        }
    }
}

/// A daemon may have closed its standard streams. What we open would get their numbers, and a stray `printf` of the host
/// would go into a connection to the store: /dev/null takes their places.
fn fill_standard_streams() {
    while let Ok(file) = OpenOptions::new().read(true).write(true).open("/dev/null") {
        if file.as_raw_fd() > STDERR {
            return;
        }
        // Left open for good.
        let _ = file.into_raw_fd();
    }
}

/// Makes the state; a second init is no error.
pub fn init() {
    match CURRENT.load_full() {
        Some(process) => drop(here(process)),
        None => {
            CURRENT.compare_and_swap(
                &None::<Arc<Process>>,
                Some(Arc::new(Process::new(HandleTable::default()))),
            );
        }
    }
}

/// The state of this very process.
pub fn current() -> Result<Arc<Process>> {
    let process = CURRENT.load_full();
    process
        .map(here)
        .ok_or_else(|| Error::new(Kind::NotInitialised, "stsp_init has not been called"))
}

fn here(process: Arc<Process>) -> Arc<Process> {
    if process.pid == std::process::id() {
        return process;
    }
    let servers = process.handles.servers_after_fork();
    let carried = servers
        .into_iter()
        .map(|(handle, server)| (handle, Arc::new(Server::after_fork(&server))));
    let child = Arc::new(Process::new(HandleTable::with_servers(carried)));
    let before = CURRENT.compare_and_swap(&process, Some(Arc::clone(&child)));
    let won = Arc::ptr_eq(&process, before.as_ref().unwrap_or(&child));
    // The parent's threads do not exist here: nothing of its state may be joined or dropped.
    std::mem::forget(process);
    if won {
        child
    } else {
        CURRENT.load_full().unwrap_or(child)
    }
}

/// Another thread may be in terminate: threads of ours are there until it has joined them.
fn wait_for_another() {
    let deadline = Instant::now() + LAST_CALLS;
    let is_ending = || ENDING.load().as_deref() == Some(&std::process::id());
    while is_ending() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Closes all handles without completing anything, then stops and joins every thread. A second call is no error.
pub fn terminate() {
    let Some(process) = CURRENT.swap(None) else {
        return wait_for_another();
    };
    if process.pid != std::process::id() {
        std::mem::forget(process);
        return;
    }
    ENDING.store(Some(Arc::new(process.pid)));
    let objects = process.handles.drain();
    for object in &objects {
        if let Object::Image(image) = object {
            image.cut_off();
        }
    }
    process.engine.stop();
    let servers: Vec<_> = objects.iter().filter_map(Object::as_server).collect();
    drop(objects);
    // Calls of other threads end now that nothing serves them; the host may free its log context when we return.
    let deadline = Instant::now() + LAST_CALLS;
    let is_busy = || servers.iter().any(|server| server.is_busy()) || Arc::strong_count(&process) > 1;
    while is_busy() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(1));
    }
    ENDING.store(None);
}
