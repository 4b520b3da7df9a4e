//! The place of the engine in a process: empty until a server needs it, and for good after terminate.

use std::sync::{Mutex, PoisonError};

use crate::config::Config;
use crate::engine::process::Engine;
use crate::error::{Error, Kind, Result};
use crate::log;
use crate::log::LogThread;

/// The engine of one process, and the thread that writes its log.
#[derive(Default)]
pub struct EngineSlot {
    state: Mutex<EngineState>,
}

/// Stopped once, an engine is not started again by a call that was under way during terminate.
#[derive(Default)]
enum EngineState {
    #[default]
    NotStarted,
    Running(Engine, Option<LogThread>),
    Stopped,
}

impl EngineSlot {
    /// The engine, started when this is the first server; `config` decides about the budget from now on.
    pub fn with_engine<T>(&self, config: &Config, use_it: impl FnOnce(&Engine) -> Result<T>) -> Result<T> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
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
        if let Ok(state) = self.state.try_lock()
            && let EngineState::Running(engine, _) = &*state
        {
            engine.release_idle();
        }
    }

    /// Stops and joins every thread; no later call starts an engine.
    pub fn stop(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let EngineState::Running(engine, log_thread) = std::mem::replace(&mut *state, EngineState::Stopped) {
            engine.stop();
            // The last one: until here all of ours may have something to log.
            if let Some(thread) = log_thread {
                thread.stop();
            }
        }
    }
}
