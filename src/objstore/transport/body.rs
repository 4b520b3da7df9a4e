//! Where the body of a ranged GET lands: in the caller's memory, not in buffers of the connection.
//!
//! A caller puts an empty [`BodySlot`] into the request's extensions; the connector leaves the answer's body in it, and the
//! SDK gets an empty one, which it never looks at. The body is then read piece by piece into whatever memory the caller
//! has for it. Bodies below [`PAST_HYPER_MIN`] are not worth taking the stream from hyper; they come the same way.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_smithy_runtime_api::client::result::ConnectorError;
use bytes::{Buf, Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_RANGE, TRANSFER_ENCODING};
use http::response::Parts;
use http_body::Body;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::io::AsyncReadExt;

use super::answer::ContentRange;
use super::checkout::Checkout;
use super::health::Cause;
use crate::error::{Error, Kind, chain};
use crate::net::http1::{Line, Rest, Stream};

/// Shorter bodies come out of hyper's frames: the hand-over costs some allocations and two wake-ups.
const PAST_HYPER_MIN: u64 = 256 << 10;

/// How long the end of a chunked body may take that has brought all its bytes.
const END_WAIT: Duration = Duration::from_secs(1);

/// The place in a request's extensions for the body of its answer.
#[derive(Clone, Default)]
pub struct BodySlot {
    place: Arc<Mutex<Option<ResponseBody>>>,
    /// A chunked body that does not tell its length is taken in whole, up to so many bytes.
    chunked_max: u64,
}

/// The body of an answer, to be read by [`ResponseBody::read`]. Dropped before its end it closes the connection.
pub struct ResponseBody {
    checkout: Checkout,
    source: Source,
    status: u16,
    /// Bytes that came before anybody had room for them.
    held: VecDeque<Bytes>,
    /// Bytes of the body that have not been read.
    left: u64,
    /// The server keeps the connection open behind the body.
    keeps_alive: bool,
}

enum Source {
    Frames(Incoming),
    /// Frames whose end is told by the last one alone.
    Chunks(Incoming),
    Stream(Stream),
    /// All of it is held already.
    Held,
}

impl BodySlot {
    /// For an object of at most `bytes`.
    pub fn of_at_most(bytes: u64) -> Self {
        Self {
            chunked_max: bytes,
            ..Self::default()
        }
    }

    pub fn chunked_max(&self) -> u64 {
        self.chunked_max
    }

    pub fn put(&self, body: ResponseBody) {
        *self.place.lock().unwrap_or_else(PoisonError::into_inner) = Some(body);
    }

    /// The body of the last answer; None when nothing told where it ends, or it was refused.
    pub fn take(&self) -> Option<ResponseBody> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl ResponseBody {
    /// Takes over the body of an answer whose end will be noticed: by Content-Length, or by the last chunk and either a
    /// Content-Range or the end of a small object. None for a body that ends with its connection: a cut one looks the same.
    pub async fn take(
        checkout: Checkout,
        head: &Parts,
        body: Incoming,
        chunked_max: u64,
    ) -> Result<Option<Self>, ConnectorError> {
        let status = head.status.as_u16();
        let keeps_alive = keeps_alive(head);
        if let Some(len) = body.size_hint().exact() {
            return Ok(Some(Self::of_length(checkout, body, status, len, keeps_alive).await));
        }
        if !is_chunked(head) {
            return Ok(None);
        }
        let range = head
            .headers
            .get(CONTENT_RANGE)
            .and_then(|value| ContentRange::parse(value.to_str().ok()?));

        if let Some(range) = range {
            let source = Source::Chunks(body);
            let held = VecDeque::new();
            return Ok(Some(Self {
                checkout,
                source,
                status,
                held,
                left: range.length(),
                keeps_alive,
            }));
        }

        let max = usize::try_from(chunked_max).unwrap_or(usize::MAX);
        let (checkout, bytes) = collect(checkout, body, max).await?;
        let (bytes, left) = match bytes {
            Some(bytes) => (bytes.clone(), bytes.len() as u64),
            // The caller finds it too long, and knows what to do.
            None if max > 0 => (Bytes::new(), chunked_max.saturating_add(1)),
            None => return Err(too_long(&checkout, max, Kind::Unavailable)),
        };

        Ok(Some(Self {
            checkout,
            source: Source::Held,
            status,
            held: VecDeque::from([bytes]),
            left,
            keeps_alive,
        }))
    }

    /// A body of `len` bytes, taken from hyper if it is long.
    async fn of_length(mut checkout: Checkout, body: Incoming, status: u16, len: u64, keeps_alive: bool) -> Self {
        let mut source = Source::Frames(body);
        let mut held = VecDeque::new();
        if len >= PAST_HYPER_MIN
            && let Some(line) = checkout.take_line()
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

        Self {
            checkout,
            source,
            status,
            held,
            left: len,
            keeps_alive,
        }
    }

    pub fn status(&self) -> u16 {
        self.status
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
                Source::Frames(body) | Source::Chunks(body) => match body.frame().await {
                    Some(Ok(frame)) => self.held.extend(frame.into_data()),
                    Some(Err(error)) => return Err(broken(&self.checkout, &chain(&error))),
                    None => return Err(self.ended_early()),
                },
                Source::Held => return Err(self.ended_early()),
                Source::Stream(stream) => match stream.read(to).await {
                    Ok(0) => return Err(self.ended_early()),
                    Ok(len) => break len,
                    Err(error) => return Err(broken(&self.checkout, &error.to_string())),
                },
            }
        };

        self.left -= len as u64;
        self.checkout.received(len);
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
        broken(&self.checkout, &format!("it ended {} bytes early", self.left))
    }

    /// Gives the connection back after the last byte.
    pub async fn finish(self) {
        let Self {
            mut checkout,
            source,
            held,
            left,
            keeps_alive,
            ..
        } = self;
        // Bytes behind the body were not asked for: whatever they are, no answer may begin with them.
        if left > 0 || !keeps_alive || held.iter().any(|bytes| !bytes.is_empty()) {
            return;
        }
        match source {
            Source::Frames(_) | Source::Held => {}
            Source::Chunks(mut body) => {
                let end = tokio::time::timeout(END_WAIT, body.frame()).await;
                if !matches!(end, Ok(None)) {
                    return;
                }
            }
            Source::Stream(stream) => {
                let Ok(line) = Line::open(stream).await else { return };
                checkout.put_line(line);
            }
        }

        checkout.give_back();
    }
}

/// Takes in a body to its end; None when that is longer than `max`. What it is for is small, so that the memory grows with
/// what comes.
pub async fn collect(
    mut checkout: Checkout,
    mut body: Incoming,
    max: usize,
) -> Result<(Checkout, Option<Bytes>), ConnectorError> {
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let data = match frame {
            Ok(frame) => frame.into_data().unwrap_or_default(),
            Err(error) => return Err(checkout.cut(&format!("a body broke off: {}", chain(&error)))),
        };
        checkout.received(data.len());
        if data.len() > max.saturating_sub(bytes.len()) {
            return Ok((checkout, None));
        }
        bytes.extend_from_slice(&data);
    }
    Ok((checkout, Some(bytes.freeze())))
}

/// The error of a body that is longer than what it is for can be.
pub fn too_long(checkout: &Checkout, max: usize, kind: Kind) -> ConnectorError {
    let what = format!(
        "{} sends more than the {max} bytes that such an answer has",
        checkout.place()
    );
    ConnectorError::other(Error::new(kind, what).into(), None)
}

/// HTTP/1.1 keeps a connection unless it says otherwise.
fn keeps_alive(head: &Parts) -> bool {
    let values = head
        .headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok());
    let closes = values
        .flat_map(|value| value.split(','))
        .any(|word| word.trim().eq_ignore_ascii_case("close"));
    head.version == http::Version::HTTP_11 && !closes
}

fn is_chunked(head: &Parts) -> bool {
    let values = head
        .headers
        .get_all(TRANSFER_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .any(|word| word.trim().eq_ignore_ascii_case("chunked"))
}

fn broken(checkout: &Checkout, why: &str) -> io::Error {
    checkout.shut(Cause::Lost, &format!("a body broke off: {why}"));
    io::Error::other(format!("body broken off: {why}"))
}
