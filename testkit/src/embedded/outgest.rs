//! Bytes of an object on their way out: in large pieces, one read ahead while the last is sent.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::{FutureExt, Stream};
use md5::Digest as _;
use s3s::stream::{ByteStream, RemainingLength};
use s3s::{S3Result, StdError};
use tokio::task::JoinHandle;

use super::disk;
use super::disk::{NewFile, Span};
use super::errors::OrInternal;
use super::index::Stored;
use super::ingest::{Buffers, PIECE_BYTES};
use vastost::engine::checksum::{Crc64, Crc64Hasher, Md5Sum};

/// The body of a GET.
pub struct Outgoing {
    spans: VecDeque<Span>,
    buffers: Arc<Buffers>,
    reading: Option<JoinHandle<io::Result<Bytes>>>,
    left: u64,
    /// Keeps the files while they are read.
    _stored: Arc<Stored>,
}

impl Outgoing {
    pub fn new(stored: &Arc<Stored>, offset: u64, len: u64, buffers: &Arc<Buffers>) -> Self {
        let spans = pieces(stored.spans(offset, len)).collect();
        let buffers = Arc::clone(buffers);
        let mut body = Self {
            spans,
            buffers,
            reading: None,
            left: len,
            _stored: Arc::clone(stored),
        };
        body.read_on();
        body
    }

    fn read_on(&mut self) {
        let Some(span) = self.spans.pop_front() else { return };
        let buffers = Arc::clone(&self.buffers);
        self.reading = Some(tokio::task::spawn_blocking(move || read(&span, &buffers)));
    }
}

impl Stream for Outgoing {
    type Item = Result<Bytes, StdError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(reading) = &mut self.reading else {
            return Poll::Ready(None);
        };
        let read = ready!(reading.poll_unpin(context));
        self.reading = None;
        let piece = match read.map_err(io::Error::other).flatten() {
            Ok(piece) => piece,
            Err(error) => return Poll::Ready(Some(Err(error.into()))),
        };
        self.left = self.left.saturating_sub(piece.len() as u64);
        self.read_on();
        Poll::Ready(Some(Ok(piece)))
    }
}

impl ByteStream for Outgoing {
    fn remaining_length(&self) -> RemainingLength {
        usize::try_from(self.left).map_or_else(|_| RemainingLength::unknown(), RemainingLength::new_exact)
    }
}

/// The same bytes in spans of a piece at most.
fn pieces(spans: Vec<Span>) -> impl Iterator<Item = Span> {
    spans.into_iter().flat_map(|span| {
        let step = PIECE_BYTES as u64;
        (0..span.len.div_ceil(step)).map(move |nth| Span {
            path: span.path.clone(),
            offset: span.offset + nth * step,
            len: step.min(span.len - nth * step),
        })
    })
}

fn read(span: &Span, buffers: &Arc<Buffers>) -> io::Result<Bytes> {
    buffers.filled(PIECE_BYTES, |buffer| disk::read_span(span, buffer))
}

/// What a copy has.
pub struct Copied {
    pub md5: Md5Sum,
    pub crc64: Crc64,
}

/// Copies bytes of an object into `file`, beside the server's other work.
pub async fn copy(
    stored: Arc<Stored>,
    offset: u64,
    len: u64,
    file: &NewFile,
    buffers: &Arc<Buffers>,
) -> S3Result<Copied> {
    let path = file.path().to_owned();
    let buffers = Arc::clone(buffers);
    let copied = tokio::task::spawn_blocking(move || {
        let mut to = File::create(path)?;
        let mut md5 = md5::Md5::new();
        let mut crc64 = Crc64Hasher::default();
        for span in pieces(stored.spans(offset, len)) {
            let piece = read(&span, &buffers)?;
            md5.update(&piece);
            crc64.update(&piece);
            to.write_all(&piece)?;
        }
        Ok::<_, io::Error>(Copied {
            md5: Md5Sum(md5.finalize().into()),
            crc64: crc64.value(),
        })
    });
    copied
        .await
        .or_internal("copy an object")?
        .or_internal("copy an object")
}
