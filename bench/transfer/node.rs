//! One node of the pretended cluster: an address of its own, a line of limited pace, and the one store behind all nodes.
//!
//! It relays bytes and knows nothing of S3. Its pace is read from, and what it has relayed is written to, a small file in
//! memory: a node that is stopped or dead cannot be asked. It ends with its standard input.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use socket2::SockRef;

const CHUNK: usize = 64 << 10;
/// What may lie in the node's sockets, taken and not counted.
const SOCKET_BYTES: usize = 256 << 10;
/// What an idle line may catch up with.
const BURST: Duration = Duration::from_millis(20);
const TICK: Duration = Duration::from_millis(10);
/// Where the figures stand in the file, eight bytes each.
const PACE_AT: u64 = 0;
const MOVED_AT: u64 = 8;

/// What a node and the harness tell each other.
pub struct Board(File);

/// The line that all connections of the node share, both ways.
struct Line {
    /// Bytes a second.
    pace: AtomicU64,
    moved: AtomicU64,
    /// When it is free again.
    free_at: Mutex<Instant>,
}

impl Board {
    pub fn open(path: &Path) -> Self {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path);
        Self(file.expect("open a node's board"))
    }

    pub fn pace(&self) -> u64 {
        self.get(PACE_AT)
    }

    pub fn set_pace(&self, pace: u64) {
        self.set(PACE_AT, pace);
    }

    /// Bytes relayed, both ways, since the file was made.
    pub fn moved(&self) -> u64 {
        self.get(MOVED_AT)
    }

    fn set_moved(&self, moved: u64) {
        self.set(MOVED_AT, moved);
    }

    fn get(&self, at: u64) -> u64 {
        let mut bytes = [0; 8];
        // Nothing there yet is a zero.
        let _ = self.0.read_exact_at(&mut bytes, at);
        u64::from_le_bytes(bytes)
    }

    fn set(&self, at: u64, value: u64) {
        self.0
            .write_all_at(&value.to_le_bytes(), at)
            .expect("write a node's board");
    }
}

/// Serves `address` by connections to `store` until standard input ends.
pub fn run(address: &str, store: &str, board: &Path) {
    let board = Board::open(board);
    let pace = AtomicU64::new(board.pace());
    let moved = AtomicU64::new(board.moved());
    let line = Arc::new(Line {
        pace,
        moved,
        free_at: Mutex::new(Instant::now()),
    });
    let listener = TcpListener::bind(address).expect("bind the node's address");
    SockRef::from(&listener)
        .set_recv_buffer_size(SOCKET_BYTES)
        .expect("bound what a connection holds");
    println!("ready");
    let clerk = Arc::clone(&line);
    thread::spawn(move || {
        loop {
            clerk.pace.store(board.pace(), Ordering::Relaxed);
            board.set_moved(clerk.moved.load(Ordering::Relaxed));
            thread::sleep(TICK);
        }
    });
    let store = store.to_owned();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            if let Err(error) = relay(client, &store, &line) {
                eprintln!("node: {error}");
            }
        }
    });
    io::stdin().read_to_end(&mut Vec::new()).expect("standard input");
}

fn relay(client: TcpStream, store: &str, line: &Arc<Line>) -> io::Result<()> {
    let server = TcpStream::connect(store)?;
    SockRef::from(&server).set_recv_buffer_size(SOCKET_BYTES)?;
    for socket in [&client, &server] {
        socket.set_nodelay(true)?;
    }
    for (from, to) in [(client.try_clone()?, server.try_clone()?), (server, client)] {
        let line = Arc::clone(line);
        thread::spawn(move || pump(&line, from, to));
    }
    Ok(())
}

fn pump(line: &Line, mut from: TcpStream, mut to: TcpStream) {
    let mut chunk = vec![0; CHUNK];
    loop {
        match from.read(&mut chunk) {
            Ok(len) if len > 0 => {
                line.wait(len as u64);
                if to.write_all(&chunk[..len]).is_err() {
                    break;
                }
                line.moved.fetch_add(len as u64, Ordering::Relaxed);
            }
            _ => break,
        }
    }
    // One that ends its side ends the other's wait; HTTP clients do not half-close.
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

impl Line {
    /// Waits until the line has taken `bytes`, behind all that others have put on it.
    fn wait(&self, bytes: u64) {
        let time = Duration::from_secs_f64(bytes as f64 / self.pace.load(Ordering::Relaxed).max(1) as f64);
        let now = Instant::now();
        let until = {
            let mut free_at = self.free_at.lock().unwrap();
            let from = now
                .checked_sub(BURST)
                .map_or(*free_at, |earliest| earliest.max(*free_at));
            *free_at = from + time;
            *free_at
        };
        thread::sleep(until.saturating_duration_since(now));
    }
}
