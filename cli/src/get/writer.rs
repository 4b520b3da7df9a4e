//! A thread that writes buffers to a file in their order, and gives them back empty; and one that opens a file. Both
//! may take as long as another process likes, and Ctrl-C works meanwhile.

use std::error::Error;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::interrupt;

/// Buffers in circulation: one being read into, one being written, two between.
const BUFFERS: usize = 4;
/// How long Ctrl-C may wait for a file that accepts nothing.
const POLL: Duration = Duration::from_millis(100);

/// Opens an existing device or pipe. A pipe opens when it has a reader.
pub fn open(path: &Path) -> Result<io::Result<File>, Box<dyn Error>> {
    let (give, opened) = channel();
    let path = path.to_path_buf();
    let body = move || drop(give.send(OpenOptions::new().write(true).open(path)));
    // After an interruption it ends with the process.
    std::thread::Builder::new().name("vastost-open".into()).spawn(body)?;
    loop {
        interrupt::check()?;
        match opened.recv_timeout(POLL) {
            Ok(opened) => return Ok(opened),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Err("the thread that opens has failed".into()),
        }
    }
}

pub struct Writer {
    empty: Receiver<Vec<u8>>,
    pub full: Sender<Vec<u8>>,
    thread: JoinHandle<io::Result<File>>,
}

impl Writer {
    pub fn start(mut file: File) -> Result<Self, Box<dyn Error>> {
        let (give_back, empty) = channel();
        let (full, take) = channel::<Vec<u8>>();
        (0..BUFFERS).for_each(|_| drop(give_back.send(Vec::new())));
        let body = move || {
            for buffer in take {
                file.write_all(&buffer)?;
                // Nobody waits for it when the copy was given up.
                drop(give_back.send(buffer));
            }
            Ok(file)
        };
        let thread = std::thread::Builder::new().name("vastost-write".into()).spawn(body)?;
        Ok(Self { empty, full, thread })
    }

    /// A buffer to fill; none when the thread has ended, which it does only by an error.
    pub fn empty_buffer(&self) -> Result<Option<Vec<u8>>, Box<dyn Error>> {
        loop {
            interrupt::check()?;
            match self.empty.recv_timeout(POLL) {
                Ok(buffer) => return Ok(Some(buffer)),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(None),
            }
        }
    }

    /// Waits until all is written; the file, or the error of the write that failed.
    pub fn end(self) -> Result<io::Result<File>, Box<dyn Error>> {
        drop(self.full);
        while !self.thread.is_finished() {
            interrupt::check()?;
            // Buffers come back one by one; the end of the channel is the end of the thread.
            if let Err(RecvTimeoutError::Disconnected) = self.empty.recv_timeout(POLL) {
                break;
            }
        }
        self.thread
            .join()
            .map_err(|_| "the thread that writes has failed".into())
    }
}
