//! The plug-in's own log: a file, started by the first server whose configuration names one.
//!
//! Every cdylib has statics of its own, so the subscriber set here is ours alone and not the host's. Lines go through
//! [`queue`] while the engine runs, so that no thread that moves bytes waits for a disk, and straight to the [`file`]
//! before and after: by the host's own thread then, which has something to say about its own call. There is no lock of
//! ours on the way: a thread that held one at a fork would not exist in the child.
//!
//! Left out: sockets, syslog. How it fails: what the file does not take is lost, and only what the queue does not take
//! is counted; the host's log has the failures in any case.

mod file;
mod queue;

use std::io::{self, Write};
use std::sync::OnceLock;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::prelude::*;

use crate::clean;
use crate::config::{Log, LogFormat};
use file::LogFile;
pub use queue::LogThread;

/// The file of the first configuration that named one.
static FILE: OnceLock<LogFile> = OnceLock::new();

/// Starts logging to `log.file`; later calls change nothing. Starts no thread.
pub fn start(log: &Log) {
    let Some(path) = &log.file else { return };
    if FILE.set(LogFile::new(path, log.rotate, log.keep)).is_err() {
        return;
    }
    let layer = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(Lines);
    let registry = tracing_subscriber::registry().with(filter(&log.level));
    // A host program in Rust, such as our own command line, may have a subscriber already: then that one serves.
    drop(match log.format {
        LogFormat::Text => registry.with(layer).try_init(),
        LogFormat::Json => {
            registry.with(layer.json().flatten_event(true).with_current_span(true).with_span_list(false)).try_init()
        }
    });
}

/// The thread that writes the log from now on, when there is a log and no thread yet.
pub fn start_thread() -> Option<LogThread> {
    LogThread::start(FILE.get()?)
}

/// Our own messages at `level`, those of the libraries below only as warnings. Unlike an `EnvFilter`, it has no lock.
fn filter(level: &str) -> Targets {
    let level = level.parse().unwrap_or(LevelFilter::INFO);
    Targets::new().with_default(LevelFilter::WARN).with_target("vastost", level)
}

/// What the subscriber writes to. Each line is one write.
struct Lines;

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        Self
    }
}

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // Names and words of others are in it.
        let clean = clean::line_bytes(line);
        if let (Some(file), Err(line)) = (FILE.get(), queue::push(&clean)) {
            // The subscriber would print the error, and stderr is the host's.
            let _ = file.append(line);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
