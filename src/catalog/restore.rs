//! An image being read: its bytes, its metadata.

use super::backup::confirm_data;
use super::image_id::ImageId;
use super::lsu::{Image, Lsu};
use super::meta::{self, Meta};
use super::record::{Content, RECORD_SIZE_MAX, parse_sidecar, rewrite};
use crate::error::{Error, Kind, Result, ResultExt};
use crate::objstore::download::{ReadSpec, Reader};

/// An image open for reading.
pub struct Restore {
    lsu: Lsu,
    image: Image,
    reader: Reader,
    /// Loaded by the first call that needs it.
    meta: Option<Vec<u8>>,
    meta_changed: bool,
}

impl Restore {
    /// Opens a complete image, or a pending one as far as an incomplete close kept it.
    pub fn open(lsu: &Lsu, id: &ImageId) -> Result<Self> {
        let (owned, key) = (lsu.clone(), id.clone());
        let image = lsu.store().run(async move { owned.describe(&key).await })?;
        let content = match &image {
            Image::Complete(sidecar) => Some(&sidecar.content),
            Image::Pending(pending) if pending.state == super::record::PendingState::Writing => {
                let (host, pid) = (&pending.writer.host, pending.writer.pid);
                let what = format!("image {id} is being written by {host}:{pid} since {}", pending.started);
                return Err(Error::new(Kind::Busy, what));
            }
            Image::Pending(pending) => pending.content.as_ref(),
        };
        let reader = Reader::new(lsu.store(), read_spec(lsu, content));
        Ok(Self { lsu: lsu.clone(), image, reader, meta: None, meta_changed: false })
    }

    pub fn image(&self) -> &Image {
        &self.image
    }

    /// Fills `to` from `offset` on; short only at the end of the image.
    pub fn read(&mut self, to: &mut [u8], offset: u64) -> Result<usize> {
        self.reader.read(to, offset)
    }

    pub fn read_meta(&mut self, to: &mut [u8], offset: u64) -> Result<usize> {
        Ok(meta::read_at(self.meta()?, to, offset))
    }

    /// Changes the metadata of a complete image; on the store after [`Restore::save_meta`].
    pub fn write_meta(&mut self, bytes: &[u8], offset: u64) -> Result<()> {
        if !matches!(self.image, Image::Complete(_)) {
            return Err(Error::new(Kind::AccessDenied, "write image metadata: open the pending image for write"));
        }
        meta::write_at(self.meta()?, bytes, offset)?;
        self.meta_changed = true;
        Ok(())
    }

    /// Writes changed metadata into the sidecar; everything else in it stays as it is on the store.
    pub fn save_meta(&mut self) -> Result<()> {
        let Image::Complete(sidecar) = &self.image else { return Ok(()) };
        if !self.meta_changed {
            return Ok(());
        }
        let (lsu, id) = (self.lsu.clone(), sidecar.image.id.clone());
        let bytes = self.meta.clone().unwrap_or_default();
        self.lsu.store().run(async move { replace_meta(&lsu, &id, bytes).await })?;
        self.meta_changed = false;
        Ok(())
    }

    fn meta(&mut self) -> Result<&mut Vec<u8>> {
        if self.meta.is_none() {
            let record = match &self.image {
                Image::Complete(sidecar) => sidecar.meta.clone(),
                Image::Pending(pending) => pending.meta.clone(),
            };
            let lsu = self.lsu.clone();
            let loaded =
                self.lsu.store().run(async move { meta::load(lsu.store(), lsu.bucket(), record.as_ref()).await })?;
            self.meta = Some(loaded);
        }
        Ok(self.meta.get_or_insert_default())
    }
}

async fn replace_meta(lsu: &Lsu, id: &ImageId, bytes: Vec<u8>) -> Result<()> {
    let key = lsu.keys().sidecar(id);
    let current = lsu.store().get_small(lsu.bucket(), &key, RECORD_SIZE_MAX).await?;
    let sidecar = parse_sidecar(&key, &current)?;
    let place = lsu.keys().meta(id, &super::keys::Attempt::new());
    let after = meta::save(lsu.store(), lsu.bucket(), &place, bytes).await?;
    let value = after.map(serde_json::to_value).transpose();
    let value = value.or_kind(Kind::Internal, || "write image metadata as JSON".into())?;
    let body = rewrite(&key, &current, [("meta", value)])?;
    lsu.put_record(&key, body, false).await?;
    confirm_data(lsu, &sidecar).await?;
    if let Some(Meta::Object { key, .. }) = sidecar.meta {
        lsu.store().delete(lsu.bucket(), &key, None).await?;
    }
    Ok(())
}

fn read_spec(lsu: &Lsu, content: Option<&Content>) -> ReadSpec {
    let (key, size) = content.map_or((String::new(), 0), |content| (content.data.key.clone(), content.data.size));
    ReadSpec { bucket: lsu.bucket().into(), key, size, parts: content.map(Content::spans).unwrap_or_default() }
}
