//! One host session: where messages for NetBackup's job log wait until a call of the host can deliver them.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use super::abi::STSP_LOG_INFO;
use super::callback::LogCallback;

/// Older messages are dropped beyond this many: the plug-in's own log has them.
const QUEUE_MAX: usize = 1000;

/// The log side of an open server. Any thread may add messages; only the host's threads deliver them.
pub struct Session {
    callback: LogCallback,
    severity_min: i32,
    queue: Mutex<VecDeque<(i32, String)>>,
}

impl Session {
    /// `severity_min` 0 means STSP_LOG_INFO.
    pub fn new(callback: LogCallback, severity_min: i32) -> Self {
        let severity_min = if severity_min == 0 { STSP_LOG_INFO } else { severity_min };
        Self {
            callback,
            severity_min,
            queue: Mutex::default(),
        }
    }

    pub fn add(&self, severity: i32, message: String) {
        if severity < self.severity_min {
            return;
        }
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.len() == QUEUE_MAX {
            queue.pop_front();
        }
        queue.push_back((severity, message));
    }

    /// Hands what waits to the host, and then this message, on the thread of its call.
    pub fn emit(&self, severity: i32, message: &str) {
        self.deliver();
        if severity >= self.severity_min {
            self.callback.emit(severity, message);
        }
    }

    /// Hands what waits to the host, on the thread of its call.
    pub fn deliver(&self) {
        let waiting = std::mem::take(&mut *self.queue.lock().unwrap_or_else(PoisonError::into_inner));
        for (severity, message) in waiting {
            self.callback.emit(severity, &message);
        }
    }

    /// The same host, on the other side of a fork: its queue may be locked by a thread that is not there.
    pub fn after_fork(&self) -> Self {
        Self {
            callback: self.callback.clone(),
            severity_min: self.severity_min,
            queue: Mutex::default(),
        }
    }
}
