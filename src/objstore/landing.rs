//! Where the body of a ranged GET lands: in the caller's memory, not in buffers of the connection.
//!
//! A caller puts an empty [`Landing`] into the request's extensions; the connector leaves the answer's body in it, and the
//! SDK gets an empty one, which it never looks at. The body is then read piece by piece into whatever memory the caller
//! has for it. Bodies below [`PAST_HYPER_MIN`] are not worth taking the stream from hyper; they come the same way.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Buf, Bytes};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::io::AsyncReadExt;

use super::addresses::Cause;
use super::lease::Lease;
use super::line::{Line, Rest, Stream};
use super::transport::chain;

/// Shorter bodies come out of hyper's frames: the hand-over costs some allocations and two wake-ups.
const PAST_HYPER_MIN: u64 = 256 << 10;

/// The place in a request's extensions for the body of its answer.
#[derive(Clone, Default)]
pub struct Landing(Arc<Mutex<Option<Landed>>>);

/// The body of an answer, to be read by [`Landed::read`]. Dropped before its end it closes the connection.
pub struct Landed {
    lease: Lease,
    source: Source,
    /// Bytes that came before anybody had room for them.
    held: VecDeque<Bytes>,
    /// Bytes of the body that have not been read.
    left: u64,
    /// The server keeps the connection open behind the body.
    keeps_alive: bool,
}

enum Source {
    Frames(Incoming),
    Stream(Stream),
}

impl Landing {
    pub fn put(&self, body: Landed) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(body);
    }

    /// The body of the last answer; None when it had no length, or was refused.
    pub fn take(&self) -> Option<Landed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Landed {
    /// Takes over a body of `len` bytes, from hyper too if it is long.
    pub async fn new(mut lease: Lease, body: Incoming, len: u64, keeps_alive: bool) -> Self {
        let (mut source, mut held) = (Source::Frames(body), VecDeque::new());
        if len >= PAST_HYPER_MIN
            && let Some(line) = lease.take_line()
            && let Some(Rest { stream, read }) = line.give_up().await
            && let Source::Frames(mut body) = std::mem::replace(&mut source, Source::Stream(stream))
        {
            // What hyper has handed out is here already, so this waits for nothing. Then it says that the rest will not
            // come from it; an error of the stream itself is met again by whoever reads on.
            while let Some(Ok(frame)) = body.frame().await {
                held.extend(frame.into_data());
            }
            held.push_back(read);
        }
        Self { lease, source, held, left: len, keeps_alive }
    }

    /// Bytes that are still to come.
    pub fn left(&self) -> u64 {
        self.left
    }

    /// The next bytes of the body, at least one and no more than `to` has room for. Nothing is lost when the future is
    /// dropped before it is ready.
    pub async fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let room = to.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let to = to.get_mut(..room).unwrap_or_default();
        let len = loop {
            let copied = self.copy_held(to);
            if copied > 0 || to.is_empty() {
                break copied;
            }
            match &mut self.source {
                Source::Frames(body) => match body.frame().await {
                    Some(Ok(frame)) => self.held.extend(frame.into_data()),
                    Some(Err(error)) => return Err(broken(&self.lease, &chain(&error))),
                    None => return Err(self.ended_early()),
                },
                Source::Stream(stream) => match stream.read(to).await {
                    Ok(0) => return Err(self.ended_early()),
                    Ok(len) => break len,
                    Err(error) => return Err(broken(&self.lease, &error.to_string())),
                },
            }
        };
        self.left -= len as u64;
        self.lease.received(len);
        Ok(len)
    }

    fn copy_held(&mut self, to: &mut [u8]) -> usize {
        let mut copied = 0;
        while let Some(first) = self.held.front_mut()
            && let Some(to) = to.get_mut(copied..).filter(|to| !to.is_empty())
        {
            let len = first.len().min(to.len());
            first.copy_to_slice(to.get_mut(..len).unwrap_or_default());
            copied += len;
            if first.is_empty() {
                self.held.pop_front();
            }
        }
        copied
    }

    fn ended_early(&self) -> io::Error {
        broken(&self.lease, &format!("it ended {} bytes early", self.left))
    }

    /// Gives the connection back after the last byte.
    pub async fn finish(self) {
        let Self { mut lease, source, held, left, keeps_alive } = self;
        // Bytes behind the body were not asked for: whatever they are, no answer may begin with them.
        if left > 0 || !keeps_alive || held.iter().any(|bytes| !bytes.is_empty()) {
            return;
        }
        if let Source::Stream(stream) = source {
            let Ok(line) = Line::open(stream).await else { return };
            lease.put_line(line);
        }
        lease.give_back();
    }
}

fn broken(lease: &Lease, why: &str) -> io::Error {
    lease.shut(Cause::Lost, &format!("a body broke off: {why}"));
    io::Error::other(format!("body broken off: {why}"))
}
