//! The state of one process: handles, engine, open images; and what happens to it at a fork.
//!
//! Init makes the state and nothing else; threads start with the first server. After a fork only the forking thread
//! exists, and locks may be held by threads that do not: the first call in the child builds a state of its own and leaks
//! the parent's. Open servers keep their numbers there (with connections of their own); images and lists do not.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::os::fd::{AsRawFd, IntoRawFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;

use super::handle::{HandleTable, Object};
use super::server::Server;
use crate::catalog::format::image_id::ImageId;
use crate::config::Config;
use crate::engine::process::Engine;
use crate::error::{Error, Kind, Result};
use crate::log;
use crate::log::LogThread;

/// Read without a lock, since a lock could be held for ever on the child's side of a fork.
static CURRENT: ArcSwapOption<Process> = ArcSwapOption::const_empty();

/// What terminate waits for calls under way in other threads; they end at once unless the host itself holds them.
const LAST_CALLS: Duration = Duration::from_secs(30);

/// The last of the descriptors that have a meaning of their own.
const STDERR: RawFd = 2;

/// All that belongs to one process.
pub struct Process {
    pid: u32,
    pub handles: HandleTable,
    engine: Mutex<EngineState>,
    open: Mutex<HashMap<OpenKey, OpenCount>>,
}

/// Stopped once, an engine is not started again by a call that was under way during terminate.
#[derive(Default)]
enum EngineState {
    #[default]
    NotStarted,
    Running(Engine, Option<LogThread>),
    Stopped,
}

/// An image by server, bucket, prefix and identity.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct OpenKey {
    pub endpoint: String,
    pub bucket: String,
    pub prefix: String,
    pub id: ImageId,
}

#[derive(Default)]
struct OpenCount {
    writers: usize,
    readers: usize,
}

/// What a handle does with its image.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Use {
    Write,
    Read,
    Delete,
}

/// An entry among the open images; dropped with its handle.
pub struct OpenImage {
    process: Arc<Process>,
    key: OpenKey,
    purpose: Use,
}

impl Process {
    fn new(handles: HandleTable) -> Self {
        fill_standard_streams();
        Self {
            pid: std::process::id(),
            handles,
            engine: Mutex::default(),
            open: Mutex::default(),
        }
    }

    /// The engine, started when this is the first server; `config` decides about the budget from now on.
    pub fn with_engine<T>(&self, config: &Config, use_it: impl FnOnce(&Engine) -> Result<T>) -> Result<T> {
        let mut state = self.engine.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*state, EngineState::NotStarted) {
            *state = EngineState::Running(Engine::start(config)?, None);
        }
        let EngineState::Running(engine, log_thread) = &mut *state else {
            return Err(Error::new(Kind::Aborted, "the plug-in was terminated during the call"));
        };
        if log_thread.is_none() {
            *log_thread = log::start_thread();
        }
        engine.set_budget(config.pool.budget_bytes);
        use_it(engine)
    }

    /// Gives back the buffers that wait for their next use; nothing while another thread starts or stops the engine.
    pub fn release_memory(&self) {
        if let Ok(state) = self.engine.try_lock()
            && let EngineState::Running(engine, _) = &*state
        {
            engine.release_idle();
        }
    }

    /// Enters a use of an image, if those there are allow it: one writer alone, or any number of readers.
    pub fn open_image(self: &Arc<Self>, key: OpenKey, purpose: Use) -> Result<OpenImage> {
        let mut open = self.open();
        let count = open.entry(key.clone()).or_default();
        let busy = match purpose {
            Use::Read => count.writers > 0,
            Use::Write | Use::Delete => count.writers + count.readers > 0,
        };
        if busy {
            let what = format!(
                "image {} is open in this process: {} writing, {} reading",
                key.id, count.writers, count.readers
            );
            return Err(Error::new(Kind::Busy, what));
        }
        match purpose {
            Use::Read => count.readers += 1,
            Use::Write | Use::Delete => count.writers += 1,
        }
        drop(open);
        Ok(OpenImage {
            process: Arc::clone(self),
            key,
            purpose,
        })
    }

    fn open(&self) -> MutexGuard<'_, HashMap<OpenKey, OpenCount>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for OpenImage {
    fn drop(&mut self) {
        let mut open = self.process.open();
        let Some(count) = open.get_mut(&self.key) else { return };
        match self.purpose {
            Use::Read => count.readers = count.readers.saturating_sub(1),
            Use::Write | Use::Delete => count.writers = count.writers.saturating_sub(1),
        }
        if count.writers + count.readers == 0 {
            open.remove(&self.key);
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

/// Closes all handles without completing anything, then stops and joins every thread. A second call is no error.
pub fn terminate() {
    let Some(process) = CURRENT.swap(None) else { return };
    if process.pid != std::process::id() {
        std::mem::forget(process);
        return;
    }
    let objects = process.handles.drain();
    for object in &objects {
        if let Object::Image(image) = object {
            image.cut_off();
        }
    }
    let mut state = process.engine.lock().unwrap_or_else(PoisonError::into_inner);
    if let EngineState::Running(engine, log_thread) = std::mem::replace(&mut *state, EngineState::Stopped) {
        engine.stop();
        // The last one: until here all of ours may have something to log.
        if let Some(thread) = log_thread {
            thread.stop();
        }
    }
    drop(state);
    let servers: Vec<_> = objects.iter().filter_map(Object::as_server).collect();
    drop(objects);
    // Calls of other threads end now that nothing serves them; the host may free its log context when we return.
    let deadline = Instant::now() + LAST_CALLS;
    while servers.iter().any(|server| server.is_busy()) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(1));
    }
}
