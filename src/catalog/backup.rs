//! An image being written: create (or [`super::reopen`]), write, then close complete or incomplete.
//!
//! The order of steps is the table in [`super`]; each method below does one run of it.

use serde_json::Value;

use super::image_id::ImageDef;
use super::keys::Attempt;
use super::lsu::Lsu;
use super::meta;
use super::record::{
    Content, ImageState, Pending, PendingState, SCHEMA, Sidecar, Writer, now_text, parse_sidecar, to_bytes,
};
use crate::error::{Error, Kind, Result};
use crate::objstore::probe::{Capabilities, WireMode};
use crate::objstore::upload::{Upload, UploadSpec, Uploaded};

/// One attempt at one image.
pub struct Backup {
    pub(super) lsu: Lsu,
    pending: Pending,
    pending_key: String,
    pub(super) upload: Upload,
    pub(super) meta: Vec<u8>,
    /// The earlier attempts that this one takes over; removed when it is on the store.
    pub(super) replaces: Vec<(String, Pending)>,
    conditional_put: bool,
}

impl Backup {
    /// Begins a new image. Refused when the image exists, complete or pending.
    pub fn create(lsu: &Lsu, def: ImageDef) -> Result<Self> {
        lsu.keys().check(&def.id)?;
        let owned = (lsu.clone(), def.clone());
        let capabilities = lsu.store().run(async move {
            let (lsu, def) = owned;
            let (sidecar, pendings, capabilities) =
                futures::try_join!(lsu.sidecar(&def.id), lsu.pendings(&def.id), lsu.capabilities())?;
            if let Some((sidecar, _)) = sidecar {
                let state = if sidecar.state == ImageState::Deleting { "still being deleted" } else { "complete" };
                return Err(exists(&lsu, &def, state));
            }
            if let Some((_, pending)) = pendings.first() {
                let by = format!(
                    "pending since {}, written by {}:{}",
                    pending.started, pending.writer.host, pending.writer.pid
                );
                return Err(exists(&lsu, &def, &by));
            }
            Ok(capabilities)
        })?;
        let wire = WireMode::choose(lsu.wire(), capabilities);
        Self::begin(lsu, def, now_text(), wire, capabilities)
    }

    /// Step 1: a new attempt with its pending record.
    pub(super) fn begin(
        lsu: &Lsu,
        def: ImageDef,
        created: String,
        wire: WireMode,
        capabilities: Capabilities,
    ) -> Result<Self> {
        let Capabilities { etag_is_md5, conditional_put, .. } = capabilities;
        let attempt = Attempt::new();
        let key = lsu.keys().data(&def.id, &attempt);
        let metadata = object_metadata(&def, &created);
        let spec = UploadSpec { bucket: lsu.bucket().into(), key: key.clone(), metadata, wire, etag_is_md5 };
        let pending_key = lsu.keys().pending(&def.id, &attempt);
        let pending = Pending {
            schema: SCHEMA,
            state: PendingState::Writing,
            image: def,
            attempt,
            key,
            upload_id: None,
            content: None,
            meta: None,
            created,
            started: now_text(),
            writer: Writer::this(),
        };
        let upload = Upload::new(lsu.store(), spec)?;
        let (lsu, meta, replaces) = (lsu.clone(), Vec::new(), Vec::new());
        let backup = Self { lsu, pending, pending_key, upload, meta, replaces, conditional_put };
        backup.save_pending()?;
        Ok(backup)
    }

    pub fn def(&self) -> &ImageDef {
        &self.pending.image
    }

    pub fn created(&self) -> &str {
        &self.pending.created
    }

    /// Bytes taken so far.
    pub fn size(&self) -> u64 {
        self.upload.size()
    }

    /// Takes all of `data` for `offset`, or fails; may return before anything is on the store.
    pub fn write(&mut self, data: &[u8], offset: u64) -> Result<usize> {
        let mut done = 0;
        while let Some(rest) = data.get(done..).filter(|rest| !rest.is_empty() || done == 0) {
            let taken = self.upload.fill(rest, offset + done as u64)?;
            done += taken;
            if done == data.len() {
                break;
            }
            if taken == 0 {
                self.send_part()?;
            }
        }
        Ok(done)
    }

    fn send_part(&mut self) -> Result<()> {
        if self.upload.id().is_none() {
            self.begin_upload()?;
        }
        self.upload.send_part()
    }

    pub(super) fn begin_upload(&mut self) -> Result<()> {
        self.upload.begin()?;
        self.pending.upload_id = self.upload.id().map(ToOwned::to_owned);
        // Without the upload's id on the store nobody could end it after a crash.
        self.save_pending().inspect_err(|error| self.upload.fail(error))
    }

    /// Waits until every full part is on the store.
    pub fn flush(&mut self) -> Result<()> {
        self.upload.settle()
    }

    pub fn meta(&mut self) -> &mut Vec<u8> {
        &mut self.meta
    }

    /// Steps 4 to 7: from now on the image is complete. On an error before step 6 the attempt is removed again.
    pub fn complete(mut self) -> Result<u64> {
        let uploaded = match self.upload.complete() {
            Ok(uploaded) => uploaded,
            Err(error) => return Err(self.give_up(error)),
        };
        self.pending.upload_id = None;
        let size = uploaded.object.size;
        let (lsu, sidecar) = (self.lsu.clone(), self.sidecar(&uploaded));
        let (meta, attempt) = (std::mem::take(&mut self.meta), self.pending.attempt.clone());
        let saved = lsu.clone().store().run(async move {
            let key = lsu.keys().meta(&sidecar.image.id, &attempt);
            let meta = meta::save(lsu.store(), lsu.bucket(), &key, meta).await?;
            Ok(Sidecar { meta, ..sidecar })
        });
        let sidecar = match saved {
            Ok(sidecar) => sidecar,
            Err(error) => return Err(self.give_up(error)),
        };
        let (lsu, conditional) = (self.lsu.clone(), self.conditional_put);
        // Past this line the outcome may be unknown to us, so nothing is removed on an error.
        self.lsu.store().run(async move { commit(&lsu, &sidecar, conditional).await })?;
        self.lsu.usage_file().added(size);
        self.remove_replaced(true);
        Ok(size)
    }

    /// Step 4 and the pending record: the image stays pending, readable, and can be opened for write again. After a
    /// failure it holds the parts before it; a failure that no call has returned yet is returned then.
    pub fn incomplete(mut self) -> Result<u64> {
        let (kept, failure) = self.upload.keep_durable()?;
        self.pending.upload_id = None;
        let size = kept.as_ref().map_or(0, |uploaded| uploaded.object.size);
        let replaced = self.replaced_size();
        if size < replaced {
            // The earlier attempt holds more than this one could keep: it stays the image.
            self.remove_own();
            return failure.map_or(Ok(replaced), Err);
        }
        self.pending.state = PendingState::Incomplete;
        self.pending.content = kept.map(|up| Content::new(&self.pending.key, &up.object, &up.parts, up.crc64));
        let (lsu, meta) = (self.lsu.clone(), std::mem::take(&mut self.meta));
        let key = self.lsu.keys().meta(&self.pending.image.id, &self.pending.attempt);
        self.pending.meta =
            self.lsu.store().run(async move { meta::save(lsu.store(), lsu.bucket(), &key, meta).await })?;
        self.save_pending()?;
        self.remove_replaced(false);
        failure.map_or(Ok(size), Err)
    }

    /// What the attempts that this one took over hold.
    fn replaced_size(&self) -> u64 {
        let sizes = self.replaces.iter().filter_map(|(_, pending)| pending.content.as_ref());
        sizes.map(|content| content.data.size).max().unwrap_or(0)
    }

    pub(super) fn give_up(self, error: Error) -> Error {
        self.remove_own();
        error
    }

    /// Another error is on its way to the host: what cannot be removed is logged and stays behind as pending.
    fn remove_own(self) {
        let (lsu, key) = (self.lsu, self.pending_key);
        let removed = self.upload.abort().and_then(|()| {
            // The upload has just been aborted.
            let pending = Pending { upload_id: None, ..self.pending };
            lsu.clone().store().run(async move { remove_attempt(&lsu, &key, &pending).await })
        });
        if let Err(error) = removed {
            tracing::warn!("remove what was written of a failed image: {error}");
        }
    }

    fn sidecar(&self, uploaded: &Uploaded) -> Sidecar {
        Sidecar {
            schema: SCHEMA,
            state: ImageState::Complete,
            image: self.pending.image.clone(),
            content: Content::new(&self.pending.key, &uploaded.object, &uploaded.parts, uploaded.crc64),
            meta: None,
            created: self.pending.created.clone(),
            completed: now_text(),
            writer: Writer::this(),
            retention: None,
        }
    }

    fn save_pending(&self) -> Result<()> {
        let (lsu, key, body) = (self.lsu.clone(), self.pending_key.clone(), to_bytes(&self.pending)?);
        self.lsu.store().run(async move { lsu.put_record(&key, body, false).await })
    }

    /// Step 7, and the attempts that this one took over. The image is safe already: failures are logged only.
    fn remove_replaced(&self, own_record: bool) {
        let (lsu, replaced) = (self.lsu.clone(), self.replaces.clone());
        let own = own_record.then(|| self.pending_key.clone());
        let removed = self.lsu.store().run(async move {
            for (key, pending) in &replaced {
                remove_attempt(&lsu, key, pending).await?;
            }
            match own {
                Some(key) => lsu.store().delete(lsu.bucket(), &key, None).await,
                None => Ok(()),
            }
        });
        if let Err(error) = removed {
            tracing::warn!("remove pending records of image {}: {error}", self.pending.image.id);
        }
    }
}

/// Step 6. A lost answer may have been a success: then the sidecar that is there is our own.
async fn commit(lsu: &Lsu, sidecar: &Sidecar, conditional: bool) -> Result<()> {
    let key = lsu.keys().sidecar(&sidecar.image.id);
    let put = lsu.put_record(&key, to_bytes(sidecar)?, conditional).await;
    match put {
        Ok(()) => {}
        Err(error) if error.kind() == Kind::PreconditionFailed => {
            let bytes = lsu.store().get_small(lsu.bucket(), &key, super::record::RECORD_SIZE_MAX).await?;
            if parse_sidecar(&key, &bytes)?.content.data.key != sidecar.content.data.key {
                let what = format!("image {} was completed by another writer meanwhile", sidecar.image.id);
                return Err(Error::with_source(Kind::AlreadyExists, what, error));
            }
        }
        Err(error) => return Err(error),
    }
    confirm_data(lsu, sidecar).await
}

/// Another process may have deleted the image between its data and its record: no record may stay without data. The
/// delete looks for a record once more after it has removed the data, so that one of the two sees the other.
pub(super) async fn confirm_data(lsu: &Lsu, sidecar: &Sidecar) -> Result<()> {
    match lsu.store().head(lsu.bucket(), &sidecar.content.data.key).await {
        Err(error) if error.kind() == Kind::NotFound => {
            lsu.store().delete(lsu.bucket(), &lsu.keys().sidecar(&sidecar.image.id), None).await?;
            Err(error.context(format!("image {} was deleted by another process meanwhile", sidecar.image.id)))
        }
        other => other.map(drop),
    }
}

/// Removes all that one attempt has on the store, its record at `record_key` last.
pub(super) async fn remove_attempt(lsu: &Lsu, record_key: &str, pending: &Pending) -> Result<()> {
    if let Some(upload) = &pending.upload_id {
        lsu.store().abort_upload(lsu.bucket(), &pending.key, upload).await?;
    }
    if let Some(meta::Meta::Object { key, .. }) = &pending.meta {
        lsu.store().delete(lsu.bucket(), key, None).await?;
    }
    let version = pending.content.as_ref().and_then(|content| content.data.version_id.as_deref());
    lsu.store().delete(lsu.bucket(), &pending.key, version).await?;
    lsu.store().delete(lsu.bucket(), record_key, None).await
}

/// Enough to rebuild the sidecar from the data alone; VAST keeps 2 KB.
fn object_metadata(def: &ImageDef, created: &str) -> Vec<(String, String)> {
    let pairs = [
        ("vastost-schema", Value::from(SCHEMA).to_string()),
        ("vastost-basename", def.id.basename.to_string()),
        ("vastost-date", def.id.date.to_string()),
        ("vastost-policy", def.policy.to_string()),
        ("vastost-type", def.image_type.to_string()),
        ("vastost-created", created.to_owned()),
    ];
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn exists(lsu: &Lsu, def: &ImageDef, how: &str) -> Error {
    Error::new(Kind::AlreadyExists, format!("image {} exists in LSU {}: {how}", def.id, lsu.config().name))
}
