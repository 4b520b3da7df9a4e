//! The objects that `doctor` writes into a bucket, and takes away again whatever happens.

use bytes::Bytes;
use vastost::error::{Error, Kind, Result};
use vastost::objstore::checksum::{Crc64, Md5Sum};
use vastost::objstore::client::{SentPart, Store, WireCheck};
use vastost::objstore::download::{PartSpan, ReadSpec, Reader};

/// S3's smallest part but for the last.
const FIRST_PART_BYTES: usize = 5 << 20;
const LAST_PART_BYTES: usize = 1000;

/// Two keys of one run in one bucket.
pub struct ProbeObjects {
    store: Store,
    bucket: String,
    small: String,
    large: String,
    upload: Option<String>,
    parts: Vec<SentPart>,
}

impl ProbeObjects {
    pub fn new(store: &Store, bucket: &str, prefix: &str) -> Self {
        let stem = format!("{prefix}probe/doctor-{}", uuid::Uuid::new_v4().simple());
        let (small, large) = (format!("{stem}-small"), format!("{stem}-large"));
        Self { store: store.clone(), bucket: bucket.into(), small, large, upload: None, parts: Vec::new() }
    }

    /// PutObject, and what HEAD says of it.
    pub fn put(&self) -> Result<()> {
        let (store, bucket, key) = (self.store.clone(), self.bucket.clone(), self.small.clone());
        let body = Bytes::from_static(b"vastost doctor");
        let size = body.len() as u64;
        let found = self.store.run(async move {
            store.put(&bucket, &key, body, WireCheck::None, &[], false).await?;
            store.head(&bucket, &key).await
        })?;
        if found.size == size {
            return Ok(());
        }
        Err(Error::new(Kind::Corrupt, format!("{size} bytes were put, HEAD says {}", found.size)))
    }

    /// An upload of two parts.
    pub fn upload(&mut self) -> Result<()> {
        let (store, bucket, key) = (self.store.clone(), self.bucket.clone(), self.large.clone());
        let id = self.store.run(async move { store.begin_upload(&bucket, &key, &[], false).await })?;
        self.upload = Some(id.clone());
        let (store, bucket, key) = (self.store.clone(), self.bucket.clone(), self.large.clone());
        self.parts = self.store.run(async move {
            let mut parts = Vec::new();
            for (number, body) in [(1, part(FIRST_PART_BYTES, 1)), (2, part(LAST_PART_BYTES, 2))] {
                let (size, crc64, md5) = (body.len() as u64, Crc64::of(&body), Md5Sum::of(&body));
                let etag = store.upload_part(&bucket, &key, &id, number, body, WireCheck::Md5(md5)).await?;
                parts.push(SentPart { number, size, etag, crc64 });
            }
            store.complete_upload(&bucket, &key, &id, &parts, None).await?;
            Ok(parts)
        })?;
        self.upload = None;
        Ok(())
    }

    /// A range that lies in both parts of the upload, byte for byte.
    pub fn read_range(&self) -> Result<()> {
        let mut offset = 0;
        let span = |part: &SentPart| {
            let span = PartSpan { number: part.number, offset, size: part.size, crc64: part.crc64 };
            offset += part.size;
            span
        };
        let parts: Vec<_> = self.parts.iter().map(span).collect();
        let spec = ReadSpec { bucket: self.bucket.clone(), key: self.large.clone(), size: offset, parts };
        let (mut got, mut expected) = (vec![0; 200], vec![1; 100]);
        expected.resize(200, 2);
        let len = Reader::new(&self.store, spec).read(&mut got, FIRST_PART_BYTES as u64 - 100)?;
        if len == got.len() && got == expected {
            return Ok(());
        }
        Err(Error::new(Kind::Corrupt, "the bytes that came are not those that were put"))
    }

    /// Takes everything away; called also after failures.
    pub fn remove(&mut self) -> Result<()> {
        let (store, bucket, upload) = (self.store.clone(), self.bucket.clone(), self.upload.take());
        let (small, large) = (self.small.clone(), self.large.clone());
        self.store.run(async move {
            let aborted = match upload {
                Some(upload) => store.abort_upload(&bucket, &large, &upload).await,
                None => Ok(()),
            };
            let (first, second) =
                (store.delete(&bucket, &small, None).await, store.delete(&bucket, &large, None).await);
            aborted.and(first).and(second)
        })
    }

    /// An error unless the small object is gone.
    pub fn expect_gone(&self) -> Result<()> {
        let (store, bucket, key) = (self.store.clone(), self.bucket.clone(), self.small.clone());
        self.store.run(async move {
            match store.head(&bucket, &key).await {
                Ok(_) => Err(Error::new(Kind::Corrupt, format!("{bucket}/{key} is still there after its deletion"))),
                Err(error) if error.kind() == Kind::NotFound => Ok(()),
                Err(error) => Err(error),
            }
        })
    }
}

fn part(len: usize, byte: u8) -> Bytes {
    vec![byte; len].into()
}
