//! Single requests on objects of our own, for the rights that an image does not always need.

use bytes::Bytes;
use vastost::engine::checksum::Md5Sum;
use vastost::error::{Error, Kind, Result};
use vastost::objstore::s3::multipart::UploadRef;
use vastost::objstore::s3::store::Store;
use vastost::objstore::s3::types::WireCheck;

/// What the objects carry, as images do.
const METADATA: (&str, &str) = ("vastost-schema", "doctor");

/// Two keys of one run in one bucket.
pub struct ProbeObjects {
    store: Store,
    bucket: String,
    small: String,
    version: Option<String>,
    upload: (String, Option<String>),
}

impl ProbeObjects {
    pub fn new(store: &Store, bucket: &str, prefix: &str) -> Self {
        let stem = format!("{prefix}probe/{}", uuid::Uuid::new_v4().simple());
        let (small, upload) = (format!("{stem}-small"), (format!("{stem}-upload"), None));
        Self {
            store: store.clone(),
            bucket: bucket.into(),
            small,
            version: None,
            upload,
        }
    }

    /// PutObject, and what HEAD says of it.
    pub fn put(&mut self) -> Result<()> {
        let (store, bucket, key) = (self.store.clone(), self.bucket.clone(), self.small.clone());
        let body = Bytes::from_static(b"vastost doctor");
        let (size, check) = (body.len() as u64, WireCheck::Md5(Md5Sum::of(&body)));
        let (version, found) = self.store.run(async move {
            let put = store.put(&bucket, &key, body, check, &metadata(), false).await?;
            Ok((put.version_id, store.head(&bucket, &key).await?))
        })?;
        self.version = version;
        if found.size == size {
            return Ok(());
        }
        Err(Error::new(
            Kind::Corrupt,
            format!("{size} bytes were put, HEAD says {}", found.size),
        ))
    }

    /// That a lock on the small object could be seen.
    pub fn see_locks(&self) -> Result<()> {
        let (store, bucket, key) = (self.store.clone(), self.bucket.clone(), self.small.clone());
        self.store.run(async move { store.see_locks(&bucket, &key).await })
    }

    /// An upload is begun, listed and aborted: recovery and `gc` need that.
    pub fn abort(&mut self) -> Result<()> {
        let (store, bucket, key) = (self.store.clone(), self.bucket.clone(), self.upload.0.clone());
        let begun = self
            .store
            .run(async move { store.begin_upload(&bucket, &key, &metadata(), false).await });
        let upload = begun?;
        self.upload.1 = Some(upload.clone());
        let (store, bucket, key) = (self.store.clone(), self.bucket.clone(), self.upload.0.clone());
        self.store.run(async move {
            let begun = UploadRef {
                bucket: &bucket,
                key: &key,
                id: &upload,
            };
            let listed = store.list_parts(begun).await;
            store.abort_upload(begun).await?;
            if listed?.is_none() {
                let what = format!("list parts of {bucket}/{key}: the upload that was just begun is not there");
                return Err(Error::new(Kind::Corrupt, what));
            }
            Ok(())
        })?;
        self.upload.1 = None;
        Ok(())
    }

    /// Removes everything; called also after failures.
    pub fn remove(&mut self) -> Result<()> {
        let (store, bucket, (key, upload)) = (self.store.clone(), self.bucket.clone(), self.upload.clone());
        let (small, version) = (self.small.clone(), self.version.take());
        self.store.run(async move {
            let begun = upload.as_ref().map(|id| UploadRef {
                bucket: &bucket,
                key: &key,
                id,
            });
            if let Some(begun) = begun
                && let Err(error) = store.abort_upload(begun).await
            {
                tracing::debug!("{error}");
            }
            match version {
                Some(version) => store.delete(&bucket, &small, Some(&version)).await,
                None => store.delete(&bucket, &small, None).await,
            }
        })
    }
}

fn metadata() -> Vec<(String, String)> {
    vec![(METADATA.0.to_owned(), METADATA.1.to_owned())]
}
