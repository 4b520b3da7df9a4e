//! The plug-in's own log: a file, started by the first server whose configuration names one.
//!
//! Every cdylib has statics of its own, so the subscriber set here is ours alone and not the host's.

use std::fs::OpenOptions;
use std::sync::{Arc, Once};

use tracing_subscriber::EnvFilter;

use crate::config::Log;

static STARTED: Once = Once::new();

/// Starts logging to `log.file`; later calls, and a file that cannot be opened, change nothing.
pub fn start(log: &Log) {
    let Some(file) = &log.file else { return };
    STARTED.call_once(|| {
        let Ok(opened) = OpenOptions::new().create(true).append(true).open(file) else { return };
        let started = tracing_subscriber::fmt()
            .with_env_filter(filter(&log.level))
            .with_ansi(false)
            // No lock of ours: a thread that held one at a fork would not exist in the child. Each line is one write.
            .with_writer(Arc::new(opened))
            .try_init();
        // A host program in Rust, such as our own command line, may have a subscriber already: then that one serves.
        drop(started);
    });
}

/// Our own messages at `level`, those of the libraries below only as warnings.
pub fn filter(level: &str) -> EnvFilter {
    EnvFilter::new(format!("warn,vastost={level}"))
}
