//! Single requests on objects of our own, for the rights that an image does not always need.

use bytes::Bytes;

use crate::catalog::lsu::Lsu;
use crate::engine::checksum::Md5Sum;
use crate::error::{Error, Kind, Result};
use crate::objstore::s3::multipart::UploadRef;
use crate::objstore::s3::types::WireCheck;

/// What the objects carry, as images do.
const METADATA: (&str, &str) = ("vastost-schema", "doctor");

/// Two keys of one run in one bucket.
pub struct TrialObjects {
    lsu: Lsu,
    small: String,
    version: Option<String>,
    upload: String,
    upload_id: Option<String>,
}

impl TrialObjects {
    pub fn new(lsu: &Lsu) -> Self {
        let stem = format!("{}probe/{}", lsu.keys().prefix(), uuid::Uuid::new_v4().simple());
        Self {
            lsu: lsu.clone(),
            small: format!("{stem}-small"),
            version: None,
            upload: format!("{stem}-upload"),
            upload_id: None,
        }
    }

    /// PutObject, and what HEAD says of it.
    pub async fn put(&mut self) -> Result<()> {
        let store = self.lsu.store();
        let bucket = self.lsu.bucket();
        let body = Bytes::from_static(b"vastost doctor");
        let size = body.len() as u64;
        let check = WireCheck::Md5(Md5Sum::of(&body));
        let put = store.put(bucket, &self.small, body, check, &metadata(), false).await?;
        let found = store.head(bucket, &self.small).await?;
        self.version = put.version_id;
        if found.size == size {
            return Ok(());
        }
        Err(Error::new(
            Kind::Corrupt,
            format!("{size} bytes were put, HEAD says {}", found.size),
        ))
    }

    /// That a lock on the small object could be seen.
    pub async fn see_locks(&self) -> Result<()> {
        self.lsu.store().see_locks(self.lsu.bucket(), &self.small).await
    }

    /// An upload, begun, listed, and aborted: what taking over and cleaning up need.
    pub async fn abort(&mut self) -> Result<()> {
        let store = self.lsu.store();
        let bucket = self.lsu.bucket();
        let key = &self.upload;
        let id = store.begin_upload(bucket, key, &metadata(), false).await?;
        self.upload_id = Some(id.clone());
        let upload = self.upload_ref(&id);
        let listed = store.list_parts(upload).await;
        store.abort_upload(upload).await?;
        self.upload_id = None;
        if listed?.is_none() {
            let what = format!("list parts of {bucket}/{key}: the upload that was just begun is not there");
            return Err(Error::new(Kind::Corrupt, what));
        }
        Ok(())
    }

    fn upload_ref<'a>(&'a self, id: &'a str) -> UploadRef<'a> {
        UploadRef {
            bucket: self.lsu.bucket(),
            key: &self.upload,
            id,
        }
    }

    /// Takes everything away; called also after failures.
    pub async fn remove(&mut self) -> Result<()> {
        let store = self.lsu.store();
        let bucket = self.lsu.bucket();
        if let Some(id) = self.upload_id.take()
            && let Err(error) = store.abort_upload(self.upload_ref(&id)).await
        {
            tracing::debug!("{error}");
        }
        let version = self.version.take();
        store.delete(bucket, &self.small, version.as_deref()).await
    }
}

fn metadata() -> Vec<(String, String)> {
    vec![(METADATA.0.to_owned(), METADATA.1.to_owned())]
}
