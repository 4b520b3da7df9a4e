//! The plug-in's own log: a file, started by the first server whose configuration names one.
//!
//! Every cdylib has statics of its own, so the subscriber set here is ours alone and not the host's. Lines go through
//! [`queue`] while the engine runs, so that no thread that moves bytes waits for a disk, and straight to the [`file`]
//! before and after: by the host's own thread then, which has something to say about its own call. There is no lock of
//! ours on the way: a thread that held one at a fork would not exist in the child.
//!
//! Left out: sockets, syslog. How it fails: what neither file nor queue takes is lost and counted, and the host is told
//! so by [`host`], once; the host's log has the failures of calls in any case.

mod file;
mod host;
mod queue;

use std::io::{self, Write};
use std::sync::OnceLock;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::prelude::*;

use crate::clean;
use crate::config::{Log, LogFormat, warnings};
use file::LogFile;
pub use host::{take_notices, tell_host};
pub use queue::LogThread;

/// The file of the first configuration that named one.
static FILE: OnceLock<LogFile> = OnceLock::new();

/// Starts logging to `log.file`; later calls change nothing. Starts no thread.
pub fn start(log: &Log) {
    let Some(path) = &log.file else { return };
    if FILE.set(LogFile::new(path, log.rotate, log.keep)).is_err() {
        return;
    }
    if let Some(fault) = warnings::of_log(path) {
        tell_host(&fault);
    }
    let layer = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(Lines);
    let registry = tracing_subscriber::registry().with(filter(&log.level));
    // A host program in Rust, such as our own command line, may have a subscriber already: then that one serves.
    drop(match log.format {
        LogFormat::Text => registry.with(layer).try_init(),
        LogFormat::Json => registry
            .with(
                layer
                    .json()
                    .flatten_event(true)
                    .with_current_span(true)
                    .with_span_list(false),
            )
            .try_init(),
    });
}

fn cannot_write(file: &LogFile, error: &io::Error) -> String {
    warnings::log_refused(file.path(), &error.to_string())
}

/// The thread that writes the log from now on, when there is a log and no thread yet.
pub fn start_thread() -> Option<LogThread> {
    LogThread::start(FILE.get()?)
}

/// Our own messages at `level`, those of the libraries below only as warnings. Unlike an `EnvFilter`, it has no lock.
fn filter(level: &str) -> Targets {
    let level = level.parse().unwrap_or(LevelFilter::INFO);
    Targets::new()
        .with_default(LevelFilter::WARN)
        .with_target("vastost", level)
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
            if let Err(error) = file.append(line) {
                tell_host(&cannot_write(file, &error));
            }
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
