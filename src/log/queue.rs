//! Lines on their way to the log's file: whoever logs only puts them into a queue, and one thread writes.
//!
//! The thread belongs to the engine's time: started with it, joined when it has stopped. A full queue takes no more
//! lines; they are counted, and the thread says how many as soon as there is room. In the child of a fork there is no
//! such thread: the PID tells, and the parent's queue is left alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use arc_swap::ArcSwapOption;

use super::file::LogFile;
use crate::thread;

/// Lines that may wait, at some 200 bytes each.
const LINES_MAX: usize = 4096;
/// Bytes that are written at once.
const WRITE_BYTES: usize = 256 << 10;

/// Read without a lock, as the state of the process is.
static QUEUE: ArcSwapOption<Queue> = ArcSwapOption::const_empty();

struct Queue {
    pid: u32,
    sender: SyncSender<Message>,
    lost: AtomicU64,
}

enum Message {
    Line(Vec<u8>),
    Stop,
}

/// The thread `vastost-log`.
pub struct LogThread {
    queue: Arc<Queue>,
    thread: JoinHandle<()>,
}

/// Takes a line, or gives it back when this process has no thread that would write it. Never waits.
pub fn push(line: &[u8]) -> Result<(), &[u8]> {
    let queue = QUEUE.load();
    let Some(queue) = queue.as_ref().filter(|queue| queue.pid == std::process::id()) else {
        return Err(line);
    };
    match queue.sender.try_send(Message::Line(line.to_vec())) {
        Ok(()) => Ok(()),
        Err(TrySendError::Full(_)) => {
            queue.lost.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }
        Err(TrySendError::Disconnected(_)) => Err(line),
    }
}

impl LogThread {
    /// None when this process has one already, or none can be started: then lines are written by whoever logs.
    pub fn start(file: &'static LogFile) -> Option<Self> {
        let before = QUEUE.load_full();
        if before.as_ref().is_some_and(|queue| queue.pid == std::process::id()) {
            return None;
        }
        let (sender, receiver) = sync_channel(LINES_MAX);
        let queue = Arc::new(Queue {
            pid: std::process::id(),
            sender,
            lost: AtomicU64::new(0),
        });
        let own = Arc::clone(&queue);
        let thread = thread::spawn_thread("vastost-log", move || write_all(file, &own, &receiver)).ok()?;
        // The queue of the parent of a fork may be locked for ever by a thread that is not here: it is not even dropped.
        std::mem::forget(QUEUE.swap(Some(Arc::clone(&queue))));
        std::mem::forget(before);
        Some(Self { queue, thread })
    }

    /// Writes what waits and joins the thread; from now on lines are written by whoever logs.
    pub fn stop(self) {
        QUEUE.store(None);
        // Fails only when the thread is gone.
        let _ = self.queue.sender.send(Message::Stop);
        let _ = self.thread.join();
    }
}

fn write_all(file: &LogFile, queue: &Queue, receiver: &Receiver<Message>) {
    let mut running = true;
    while running {
        let Ok(first) = receiver.recv() else { return };
        let mut lines = Vec::new();
        for message in std::iter::once(first).chain(receiver.try_iter()) {
            match message {
                Message::Line(line) => lines.extend_from_slice(&line),
                // Lines that came while it was on its way are taken too.
                Message::Stop => running = false,
            }
            if running && lines.len() >= WRITE_BYTES {
                break;
            }
        }
        // A disk that is full must not end the host's job.
        if let Err(error) = file.append(&lines) {
            queue.lost.fetch_add(
                lines.iter().filter(|byte| **byte == b'\n').count() as u64,
                Ordering::Relaxed,
            );
            super::tell_host(&super::cannot_write(file, &error));
            continue;
        }
        let lost = queue.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            tracing::warn!(
                lost,
                "lines of the log were lost: they could not be written, or not as fast as they came"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Rotation;

    #[test]
    fn lines_beyond_the_queue_are_counted_and_those_within_are_written_before_the_thread_ends() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vastost.log");
        let file: &'static LogFile = Box::leak(Box::new(LogFile::new(&path, Rotation::Never, 1)));
        let (sender, receiver) = sync_channel(LINES_MAX);
        let queue = Arc::new(Queue {
            pid: std::process::id(),
            sender,
            lost: AtomicU64::new(0),
        });
        QUEUE.store(Some(Arc::clone(&queue)));
        // Nobody writes yet.
        let line = b"one line\n";
        (0..LINES_MAX + 10).for_each(|_| push(line).unwrap());
        assert_eq!(queue.lost.load(Ordering::Relaxed), 10);
        let own = Arc::clone(&queue);
        let thread = thread::spawn_thread("vastost-log", move || write_all(file, &own, &receiver)).unwrap();
        LogThread { queue, thread }.stop();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), (LINES_MAX * line.len()) as u64);
        assert!(push(line).is_err());
    }
}
