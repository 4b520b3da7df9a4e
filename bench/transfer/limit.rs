//! The client that does the least: requests by hand, blocking sockets, one copy between the caller's memory and the part.
//!
//! What it takes is the kernel's price for the bytes, plus that of the CRC where asked for. Four connections, a thread each.

use std::hint::black_box;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use vastost::engine::checksum::Crc64Hasher;

use super::args::{CALL, Direction, PART, SOURCE, Work};

const CONNECTIONS: usize = 4;

pub fn run(work: &Work) {
    let next = AtomicU64::new(0);
    let source = touched(SOURCE);
    thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            scope.spawn(|| {
                let mut line = Line::open(work);
                loop {
                    let offset = next.fetch_add(PART, Ordering::Relaxed);
                    if offset >= work.bytes {
                        break;
                    }
                    let len = usize::try_from(PART.min(work.bytes - offset)).expect("a part fits memory");
                    match work.direction {
                        Direction::Up => line.put(work, &source, offset, len),
                        Direction::Down => line.get(work, offset, len),
                    }
                }
            });
        }
    });
}

/// Zeros that are in memory: fresh ones are all the kernel's one page.
pub fn touched(len: u64) -> Vec<u8> {
    let mut bytes = vec![1; usize::try_from(len).expect("fits memory")];
    bytes.fill(0);
    black_box(bytes)
}

struct Line {
    socket: TcpStream,
    part: Vec<u8>,
    /// The caller's memory of a download.
    sink: Vec<u8>,
}

impl Line {
    fn open(work: &Work) -> Self {
        let socket = TcpStream::connect(&work.address).expect("connect to the server");
        socket.set_nodelay(true).expect("set TCP_NODELAY");
        Self {
            socket,
            part: touched(PART),
            sink: touched(CALL),
        }
    }

    fn put(&mut self, work: &Work, source: &[u8], offset: u64, len: usize) {
        let mut hasher = Crc64Hasher::default();
        let call = usize::try_from(CALL).expect("fits memory");
        for (to, from) in self.part[..len].chunks_mut(call).zip(source.chunks(call).cycle()) {
            let from = &from[..to.len()];
            if work.crc {
                hasher.copy(to, from)
            } else {
                to.copy_from_slice(from)
            }
        }
        let head = format!(
            "PUT /bench/limit-{offset} HTTP/1.1\r\nHost: {}\r\nContent-Length: {len}\r\n\
             x-amz-checksum-crc64nvme: {}\r\n\r\n",
            work.address,
            hasher.value().to_base64()
        );
        self.socket.write_all(head.as_bytes()).expect("send the head");
        self.socket.write_all(&self.part[..len]).expect("send the part");
        let mut answer = [0; 4096];
        let got = self.socket.read(&mut answer).expect("read the answer");
        assert!(
            answer[..got].starts_with(b"HTTP/1.1 200") && answer[..got].ends_with(b"\r\n\r\n"),
            "not taken"
        );
    }

    fn get(&mut self, work: &Work, offset: u64, len: usize) {
        let name = work.bytes;
        let last = offset + len as u64 - 1;
        let head = format!(
            "GET /bench/zeros-{name} HTTP/1.1\r\nHost: {}\r\nRange: bytes={offset}-{last}\r\n\r\n",
            work.address
        );
        self.socket.write_all(head.as_bytes()).expect("send the head");
        // The server sends the head in a write of its own, and it may be read together with bytes behind it.
        let mut have = self.socket.read(&mut self.part).expect("read the answer");
        let end = self.part[..have]
            .windows(4)
            .position(|bytes| bytes == b"\r\n\r\n")
            .expect("a whole head")
            + 4;
        assert!(self.part.starts_with(b"HTTP/1.1 206"), "not given");
        self.part.copy_within(end..have, 0);
        have -= end;
        let mut hasher = Crc64Hasher::default();
        hash(&mut hasher, work, &self.part[..have]);
        while have < len {
            let got = self.socket.read(&mut self.part[have..len]).expect("read the body");
            assert!(got > 0, "the body ends early");
            hash(&mut hasher, work, &self.part[have..have + got]);
            have += got;
        }
        black_box(hasher.value());
        for piece in self.part[..len].chunks(self.sink.len()) {
            self.sink[..piece.len()].copy_from_slice(piece);
            black_box(&mut self.sink);
        }
    }
}

fn hash(hasher: &mut Crc64Hasher, work: &Work, bytes: &[u8]) {
    if work.crc {
        hasher.update(bytes);
    }
}
