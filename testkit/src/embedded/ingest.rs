//! A body on its way into a file, with what proves it.
//!
//! Bodies of up to 32 MiB are taken whole into a reused buffer, sixteen at a time, so that their MD5 can be computed side by
//! side with others: alone it is slower than everything else here together. Larger bodies, and those that find no
//! buffer, go through a small one piece by piece.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use crc_fast::{CrcAlgorithm, Digest};
use futures::StreamExt;
use md5::Digest as _;
use s3s::dto::StreamingBlob;
use s3s::{S3Error, S3ErrorCode, S3Result};
use tokio::sync::Semaphore;

use super::disk::NewFile;
use super::errors::OrInternal;
use super::store::lock;
use vastost::engine::checksum::{Crc64, Crc64Hasher, Md5Sum};
use vastost::engine::md5_lanes::{Md5Lanes, Priority};

/// Bodies up to here are hashed side by side.
const WHOLE_BYTES_MAX: u64 = 32 << 20;
const WHOLE_BODIES_MAX: usize = 16;
/// And those up to here are not worth a second thread.
const SMALL_BYTES_MAX: u64 = 64 << 10;
pub const PIECE_BYTES: usize = 1 << 20;

/// Buffers that are used again, since new memory costs more than a copy.
#[derive(Default)]
pub struct Buffers(Mutex<Vec<Vec<u8>>>);

/// A buffer that goes back when the last reader of its bytes has gone.
struct Lent(Vec<u8>, Arc<Buffers>);

/// How bodies come in and go out.
pub struct Engine {
    pub pieces: Arc<Buffers>,
    wholes: Arc<Buffers>,
    whole_bodies: Semaphore,
    md5: Arc<Md5Lanes>,
}

/// What came.
#[derive(Clone, Copy)]
pub struct Sums {
    pub size: u64,
    pub md5: Md5Sum,
    pub crc64: Crc64,
    pub crc32: Option<u64>,
    pub crc32c: Option<u64>,
}

/// Everything of [`Sums`] but the MD5 of a whole body, running.
struct Hashers {
    size: u64,
    crc64: Crc64Hasher,
    crc32: Option<Digest>,
    crc32c: Option<Digest>,
}

/// Checksums beside the usual ones that somebody asks for.
#[derive(Clone, Copy, Default)]
pub struct Extra {
    pub crc32: bool,
    pub crc32c: bool,
}

impl Buffers {
    fn take(self: &Arc<Self>, room: usize) -> Vec<u8> {
        let mut free = lock(&self.0);
        let fits = free.iter().position(|buffer| buffer.capacity() >= room);
        let mut buffer = fits
            .or(free.len().checked_sub(1))
            .map(|at| free.swap_remove(at))
            .unwrap_or_default();
        buffer.clear();
        buffer.reserve(room);
        buffer
    }

    fn give_back(&self, buffer: Vec<u8>) {
        let mut free = lock(&self.0);
        if free.len() < 2 * WHOLE_BODIES_MAX {
            free.push(buffer);
        }
    }

    /// A buffer that `fill` has filled, as bytes.
    pub fn filled<E>(
        self: &Arc<Self>,
        room: usize,
        fill: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<Bytes, E> {
        let mut lent = Lent(self.take(room), Arc::clone(self));
        fill(&mut lent.0)?;
        Ok(Bytes::from_owner(lent))
    }
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.1.give_back(std::mem::take(&mut self.0));
    }
}

impl Hashers {
    fn new(extra: Extra) -> Self {
        let digest = |wanted: bool, algorithm| wanted.then(|| Digest::new(algorithm));
        Self {
            size: 0,
            crc64: Crc64Hasher::default(),
            crc32: digest(extra.crc32, CrcAlgorithm::Crc32IsoHdlc),
            crc32c: digest(extra.crc32c, CrcAlgorithm::Crc32Iscsi),
        }
    }

    fn update(&mut self, data: &[u8]) {
        self.size += data.len() as u64;
        self.crc64.update(data);
        for digest in [&mut self.crc32, &mut self.crc32c].into_iter().flatten() {
            digest.update(data);
        }
    }

    fn with(&self, md5: Md5Sum) -> Sums {
        let of = |digest: &Option<Digest>| digest.as_ref().map(Digest::finalize);
        Sums {
            size: self.size,
            md5,
            crc64: self.crc64.value(),
            crc32: of(&self.crc32),
            crc32c: of(&self.crc32c),
        }
    }
}

impl Engine {
    pub fn new(md5: Arc<Md5Lanes>) -> Self {
        let whole_bodies = Semaphore::new(WHOLE_BODIES_MAX);
        Self {
            pieces: Arc::default(),
            wholes: Arc::default(),
            whole_bodies,
            md5,
        }
    }

    /// Takes a body of `len` bytes into `file`.
    pub async fn ingest(&self, body: Option<StreamingBlob>, len: u64, file: &NewFile, extra: Extra) -> S3Result<Sums> {
        let hashers = Hashers::new(extra);
        let Some(body) = body else {
            return small(&[], &hashers, file.path());
        };
        let permit = self.whole_bodies.try_acquire().ok().filter(|_| len <= WHOLE_BYTES_MAX);
        let sums = if permit.is_some() {
            self.ingest_whole(body, len, file, hashers).await?
        } else {
            self.ingest_pieces(body, file, hashers).await?
        };
        if sums.size != len {
            let text = "You did not provide the number of bytes specified by the Content-Length HTTP header";
            return Err(S3Error::with_message(S3ErrorCode::IncompleteBody, text));
        }
        Ok(sums)
    }

    async fn ingest_whole(
        &self,
        mut body: StreamingBlob,
        len: u64,
        file: &NewFile,
        mut hashers: Hashers,
    ) -> S3Result<Sums> {
        let room = usize::try_from(len).or_internal("take a body")?;
        let mut lent = Lent(self.wholes.take(room), Arc::clone(&self.wholes));
        while let Some(frame) = body.next().await {
            let frame = frame.map_err(cut)?;
            if frame.len() > room - lent.0.len() {
                return Err(S3ErrorCode::IncompleteBody.into());
            }
            hashers.update(&frame);
            lent.0.extend_from_slice(&frame);
        }

        if len <= SMALL_BYTES_MAX {
            return small(&lent.0, &hashers, file.path());
        }
        let bytes = Bytes::from_owner(lent);
        let path = file.path().to_owned();
        let md5 = self.md5.hash(bytes.clone(), Priority::Urgent);
        let written = tokio::task::spawn_blocking(move || std::fs::write(path, &bytes));
        let (md5, written) = tokio::join!(md5, written);
        written.or_internal("write a body")?.or_internal("write a body")?;
        Ok(hashers.with(md5.or_internal("hash a body")?))
    }

    async fn ingest_pieces(&self, mut body: StreamingBlob, file: &NewFile, hashers: Hashers) -> S3Result<Sums> {
        let path = file.path().to_owned();
        let (sender, mut pieces) = tokio::sync::mpsc::channel::<Bytes>(4);
        let writer = tokio::task::spawn_blocking(move || {
            let mut file = File::create(path)?;
            let mut md5 = md5::Md5::new();
            let mut hashers = hashers;
            while let Some(piece) = pieces.blocking_recv() {
                md5.update(&piece);
                hashers.update(&piece);
                file.write_all(&piece)?;
            }
            Ok::<_, std::io::Error>(hashers.with(Md5Sum(md5.finalize().into())))
        });

        while let Some(frame) = body.next().await {
            // A writer that ended early tells why below.
            if sender.send(frame.map_err(cut)?).await.is_err() {
                break;
            }
        }

        drop(sender);
        writer.await.or_internal("write a body")?.or_internal("write a body")
    }
}

/// Data that are hashed already, on this thread.
fn small(data: &[u8], hashers: &Hashers, path: &Path) -> S3Result<Sums> {
    std::fs::write(path, data).or_internal("write a body")?;
    Ok(hashers.with(Md5Sum::of(data)))
}

/// The body ended early, or is not what its signature says.
fn cut(error: s3s::StdError) -> S3Error {
    let text = error.to_string();
    if text.contains("Sha256Mismatch") {
        let text = "The provided 'x-amz-content-sha256' header does not match what was computed.";
        let mut error = S3Error::with_message(S3ErrorCode::Custom("XAmzContentSHA256Mismatch".into()), text);
        error.set_status_code(http::StatusCode::BAD_REQUEST);
        return error;
    }
    if text.contains("SignatureMismatch") {
        return S3ErrorCode::SignatureDoesNotMatch.into();
    }
    S3Error::with_message(S3ErrorCode::IncompleteBody, text)
}
