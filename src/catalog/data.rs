//! An image's bytes on their way: by S3 today. Another way, NFS, is one more variant here and in [`DataReader`]; what it
//! cannot do, such as copying parts on the server, is asked of [`DataWriter::upload`].

use std::sync::Arc;

use super::lsu::Lsu;
use crate::error::{Error, Result};
use crate::metrics::image::ImageStats;
use crate::objstore::download::reader::Reader;
use crate::objstore::download::spec::ReadSpec;
use crate::objstore::s3::types::SentPart;
use crate::objstore::upload::finish::Uploaded;
use crate::objstore::upload::in_flight::Progress;
use crate::objstore::upload::object::Upload;
use crate::objstore::upload::spec::UploadSpec;

pub use crate::objstore::download::reader::Taken;
pub use crate::objstore::upload::open_part::Filled;

/// An image's bytes being written by one caller at a time.
pub enum DataWriter {
    S3(Upload),
}

/// An image's bytes being read by one caller at a time.
pub enum DataReader {
    S3(Reader),
}

impl DataWriter {
    /// A writer that has sent nothing yet; takes the stream's reservation of one part.
    pub async fn s3(lsu: &Lsu, spec: UploadSpec) -> Result<Self> {
        Upload::new(lsu.store(), spec).await.map(Self::S3)
    }

    /// What S3 alone has: an id, parts that the server copies.
    pub fn upload(&mut self) -> &mut Upload {
        let Self::S3(upload) = self;
        upload
    }

    /// Bytes taken so far, sent or not.
    pub fn size(&self) -> u64 {
        let Self::S3(upload) = self;
        upload.size()
    }

    /// What the image has done and waited for.
    pub fn stats(&self) -> Arc<ImageStats> {
        let Self::S3(upload) = self;
        upload.stats()
    }

    /// The parts under way and done, for those who watch.
    pub fn progress(&self) -> Arc<Progress> {
        let Self::S3(upload) = self;
        upload.progress()
    }

    /// See [`Upload::fill`].
    pub fn fill(&mut self, bytes: &[u8], offset: u64) -> Result<Filled> {
        let Self::S3(upload) = self;
        upload.fill(bytes, offset)
    }

    /// True when [`Upload::begin`] must come before [`DataWriter::next_part`].
    pub fn must_begin(&self) -> bool {
        let Self::S3(upload) = self;
        upload.has_open_part() && upload.id().is_none()
    }

    /// See [`Upload::try_next_part`].
    pub fn try_next_part(&mut self) -> Result<bool> {
        let Self::S3(upload) = self;
        upload.try_next_part()
    }

    /// See [`Upload::next_part`].
    pub async fn next_part(&mut self) -> Result<()> {
        let Self::S3(upload) = self;
        upload.next_part().await
    }

    /// From now on what was written can only be given up.
    pub fn fail(&self, error: &Error) {
        let Self::S3(upload) = self;
        upload.fail(error);
    }

    /// Waits until every part that was sent is on the store.
    pub async fn settle(&self) -> Result<()> {
        let Self::S3(upload) = self;
        upload.settle().await
    }

    /// Sends what is left and waits: every part, or none where the bytes are put in one piece.
    pub async fn seal(&mut self) -> Result<Vec<SentPart>> {
        let Self::S3(upload) = self;
        if upload.id().is_some() {
            upload.seal().await
        } else {
            upload.settle().await.map(|()| Vec::new())
        }
    }

    /// The bytes as one whole, proven.
    pub async fn complete(&mut self) -> Result<Uploaded> {
        let Self::S3(upload) = self;
        upload.complete().await
    }

    /// See [`Upload::keep_durable`].
    pub async fn keep_durable(&mut self) -> Result<Option<(Error, bool)>> {
        let Self::S3(upload) = self;
        upload.keep_durable().await
    }

    /// True when there is nothing to complete.
    pub fn is_empty(&self) -> bool {
        let Self::S3(upload) = self;
        upload.is_empty()
    }

    /// Gives the bytes up: what was sent is removed from the store.
    pub async fn abort(self) -> Result<()> {
        let Self::S3(upload) = self;
        upload.abort().await
    }
}

impl DataReader {
    pub fn s3(lsu: &Lsu, spec: ReadSpec) -> Self {
        Self::S3(Reader::new(lsu.store(), spec))
    }

    /// What the reader has done and waited for.
    pub fn stats(&self) -> Arc<ImageStats> {
        let Self::S3(reader) = self;
        reader.stats()
    }

    /// See [`Reader::begin`].
    pub fn begin(&mut self, offset: u64, len: usize) {
        let Self::S3(reader) = self;
        reader.begin(offset, len);
    }

    /// See [`Reader::take`].
    pub fn take(&mut self, to: &mut [u8], offset: u64) -> Result<Taken> {
        let Self::S3(reader) = self;
        reader.take(to, offset)
    }

    /// See [`Reader::fetch`].
    pub async fn fetch(&mut self, offset: u64, len: usize) -> Result<()> {
        let Self::S3(reader) = self;
        reader.fetch(offset, len).await
    }

    /// See [`Reader::read`].
    pub async fn read(&mut self, to: &mut [u8], offset: u64) -> Result<usize> {
        let Self::S3(reader) = self;
        reader.read(to, offset).await
    }

    /// See [`Reader::read_part`].
    pub async fn read_part(&mut self, to: &mut [u8], offset: u64) -> Result<()> {
        let Self::S3(reader) = self;
        reader.read_part(to, offset).await
    }
}
