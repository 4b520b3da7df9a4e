//! An image being read: its bytes, its metadata.

use std::sync::Arc;

use bytes::Bytes;

use super::data::{DataReader, Taken};
use super::format::image_id::ImageId;
use super::format::record::{Content, DataObject, ImageState, PendingState, Sidecar, Writer, rewrite};
use super::lsu::Lsu;
use super::meta;
use super::meta::Meta;
use super::records::Image;
use super::remove::remove_record;
use super::write::commit::confirm_data;
use crate::engine::memory;
use crate::error::{Error, Kind, Result, ResultExt};
use crate::metrics::image::ImageStats;
use crate::objstore::download::spec::ReadSpec;

/// An image open for reading.
pub struct Restore {
    lsu: Lsu,
    image: Image,
    data: DataReader,
    /// Loaded by the first call that needs it.
    meta: Option<Vec<u8>>,
    meta_changed: bool,
}

impl Restore {
    /// Opens a complete image, or a pending one as far as an incomplete close kept it.
    pub async fn open(lsu: &Lsu, id: &ImageId) -> Result<Self> {
        let image = lsu.describe(id).await?;
        let content = match &image {
            Image::Complete(sidecar) => Some(&sidecar.content),
            Image::Pending { record, held } if record.state == PendingState::Writing => {
                let (Writer { host, pid, .. }, since) = (&record.writer, &record.started);
                let then = if *held {
                    ""
                } else {
                    ", which is gone: open it for write to go on with it"
                };
                let what = format!("image {id} is being written since {since} by {host}:{pid}{then}");
                return Err(Error::new(Kind::Busy, what));
            }
            Image::Pending { record, .. } => record.content.as_ref(),
        };

        let data = DataReader::s3(lsu, read_spec(lsu, content));
        Ok(Self {
            lsu: lsu.clone(),
            image,
            data,
            meta: None,
            meta_changed: false,
        })
    }

    pub fn image(&self) -> &Image {
        &self.image
    }

    /// What the image's parts have done and waited for.
    pub fn stats(&self) -> Arc<ImageStats> {
        self.data.stats()
    }

    /// A read of `len` bytes from `offset` on begins: [`Restore::take`] until it has all.
    pub fn begin(&mut self, offset: u64, len: usize) {
        self.data.begin(offset, len);
    }

    /// Fills `to`, or its beginning, from `offset` on without waiting; [`Restore::fetch`] where nothing is here yet.
    pub fn take(&mut self, to: &mut [u8], offset: u64) -> Result<Taken> {
        self.data.take(to, offset)
    }

    /// Waits until [`Restore::take`] has something of the `len` bytes from `offset` on.
    pub async fn fetch(&mut self, offset: u64, len: usize) -> Result<()> {
        self.data.fetch(offset, len).await
    }

    /// Fills `to` from `offset` on; short only at the end of the image.
    pub async fn read(&mut self, to: &mut [u8], offset: u64) -> Result<usize> {
        self.data.read(to, offset).await
    }

    /// True once the metadata are here: before, [`Restore::load_meta`].
    pub fn has_meta(&self) -> bool {
        self.meta.is_some()
    }

    pub async fn load_meta(&mut self) -> Result<()> {
        let record = match &self.image {
            Image::Complete(sidecar) => sidecar.meta.as_ref(),
            Image::Pending { record, .. } => record.meta.as_ref(),
        };
        self.meta = Some(meta::load(self.lsu.store(), self.lsu.bucket(), record).await?);
        Ok(())
    }

    pub fn read_meta(&mut self, to: &mut [u8], offset: u64) -> Result<usize> {
        Ok(meta::read_at(self.meta()?, to, offset))
    }

    /// Refuses where the image's metadata may not be written.
    pub fn may_write_meta(&self) -> Result<()> {
        match self.image {
            Image::Complete(_) => Ok(()),
            Image::Pending { .. } => Err(Error::new(
                Kind::AccessDenied,
                "write image metadata: open the pending image for write",
            )),
        }
    }

    /// Changes the metadata of a complete image; on the store after [`Restore::save_meta`].
    pub fn write_meta(&mut self, bytes: &[u8], offset: u64) -> Result<()> {
        self.may_write_meta()?;
        meta::write_at(self.meta()?, bytes, offset)?;
        self.meta_changed = true;
        Ok(())
    }

    fn meta(&mut self) -> Result<&mut Vec<u8>> {
        let missing = || Error::new(Kind::Internal, "image metadata were not loaded");
        self.meta.as_mut().ok_or_else(missing)
    }

    /// True when [`Restore::save_meta`] has something to do.
    pub fn needs_save(&self) -> bool {
        self.meta_changed && matches!(self.image, Image::Complete(_))
    }

    /// Writes changed metadata into the sidecar; everything else in it stays as it is on the store.
    pub async fn save_meta(&mut self) -> Result<()> {
        let Image::Complete(sidecar) = &self.image else {
            return Ok(());
        };
        if !self.meta_changed {
            return Ok(());
        }
        let mut sidecar = sidecar.clone();
        let Some(meta) = self.meta.take() else {
            let what = format!(
                "save the metadata of image {}: what was written of them is lost",
                sidecar.image.id
            );
            return Err(Error::new(Kind::NoMemory, what));
        };

        // Shared with the request: the memory for a copy might not be had.
        let bytes = Bytes::from(meta);
        let saved = replace_meta(&self.lsu, &sidecar, bytes.clone()).await;
        // What is read again, if the bytes are not here any more.
        self.meta = unshared(bytes);
        sidecar.meta = saved?;
        self.image = Image::Complete(sidecar);
        self.meta_changed = false;
        Ok(())
    }
}

/// The bytes as nobody else has them: a request that failed may still hold them for a moment. None where there is no memory for
/// a copy.
fn unshared(bytes: Bytes) -> Option<Vec<u8>> {
    match bytes.try_into_mut() {
        Ok(own) => Some(own.into()),
        Err(shared) => {
            let mut copy = memory::zeroed(shared.len(), || "hold image metadata".into()).ok()?;
            copy.copy_from_slice(&shared);
            Some(copy)
        }
    }
}

/// Gives where they are now.
async fn replace_meta(lsu: &Lsu, sidecar: &Sidecar, bytes: Bytes) -> Result<Option<Meta>> {
    let id = &sidecar.image.id;
    // Looked at before, so that an image whose data are lost keeps the record that says where they were.
    lsu.store().head_fresh(lsu.bucket(), &sidecar.content.data.key).await?;
    let place = lsu.keys().meta(id, &super::format::keys::Attempt::new());
    let after = meta::save(lsu.store(), lsu.bucket(), &place, bytes.clone()).await?;
    let value = after.as_ref().map(serde_json::to_value).transpose();
    let value = value.or_kind(Kind::Internal, || "write image metadata as JSON".into())?;
    let Some((now, current)) = lsu.sidecar(id).await? else {
        return Err(lsu.not_found(id));
    };
    if now.content.data.key != sidecar.content.data.key || now.state != ImageState::Complete {
        let what = format!("image {id} was deleted by another process meanwhile");
        return Err(Error::new(Kind::NotFound, what));
    }
    let key = lsu.keys().sidecar(id);
    lsu.put_record(&key, rewrite(&now, &current, [("meta", value)])?, false)
        .await?;
    confirm_data(lsu, &now).await?;
    if matches!(after, Some(Meta::Object { .. })) {
        put_what_was_cleaned_up(lsu, &place, bytes).await?;
    }
    if let Some(Meta::Object { key, .. }) = now.meta {
        remove_record(lsu, &key).await?;
    }
    Ok(after)
}

/// Before the sidecar named it, the object was nobody's, and a clean-up without a grace period may have taken it.
async fn put_what_was_cleaned_up(lsu: &Lsu, place: &str, bytes: Bytes) -> Result<()> {
    match lsu.store().head_fresh(lsu.bucket(), place).await {
        Err(error) if error.kind() == Kind::NotFound => {
            meta::save(lsu.store(), lsu.bucket(), place, bytes).await.map(drop)
        }
        other => other.map(drop),
    }
}

fn read_spec(lsu: &Lsu, content: Option<&Content>) -> ReadSpec {
    let bucket = lsu.bucket().clone();
    let Some(content) = content else {
        return ReadSpec {
            bucket,
            key: String::new(),
            size: 0,
            etag: String::new(),
            parts: Vec::new(),
        };
    };
    let DataObject { key, size, etag, .. } = content.data.clone();
    ReadSpec {
        bucket,
        key,
        size,
        etag,
        parts: content.spans(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_survive_a_request_that_still_holds_them() {
        let bytes = Bytes::from(vec![7; 100]);
        let held = bytes.clone();
        assert_eq!(unshared(bytes), Some(vec![7; 100]));
        assert_eq!(unshared(held), Some(vec![7; 100]));
    }
}
