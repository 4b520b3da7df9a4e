//! An image being written: create (or [`super::reopen`]), write, then close complete or incomplete.
//!
//! The order of steps is the table in [`super`]; each method below does one run of it.

use std::sync::Arc;

use super::lease::{Claim, lease_seconds};
use crate::catalog::format::image_id::{ImageDef, ImageId};
use crate::catalog::format::keys::Attempt;
use crate::catalog::format::parse::parse_sidecar;
use crate::catalog::format::record::{
    Closing, Content, ImageState, Pending, PendingState, SCHEMA, Sidecar, Writer, now_text, object_metadata,
    part_records, to_bytes,
};
use crate::catalog::lsu::{Lsu, PendingEntry};
use crate::catalog::meta;
use crate::catalog::remove::{is_hidden, remove_attempt, remove_record};
use crate::config::WireChoice;
use crate::error::{Error, Found, Kind, Result};
use crate::metrics::image::Tally;
use crate::objstore::s3::capabilities::WireMode;
use crate::objstore::s3::resend::is_refusal;
use crate::objstore::s3::types::SentPart;
use crate::objstore::upload::object::{Filled, Upload, Uploaded};
use crate::objstore::upload::spec::UploadSpec;

/// One attempt at one image.
pub struct Backup {
    pub(in crate::catalog) lsu: Lsu,
    pub(in crate::catalog) pending: Pending,
    pending_key: String,
    claim: Claim,
    pub(in crate::catalog) upload: Upload,
    pub(in crate::catalog) meta: Vec<u8>,
    /// The earlier attempts that this one takes over; removed when it is on the store.
    pub(in crate::catalog) replaces: Vec<PendingEntry>,
}

impl Backup {
    /// Begins a new image. Refused when the image exists, complete or pending.
    pub fn create(lsu: &Lsu, def: ImageDef) -> Result<Self> {
        lsu.keys().check(&def.id)?;
        let owned = (lsu.clone(), def.clone());
        lsu.store().run(async move {
            let (lsu, def) = owned;
            // The sidecar last: a writer that completes the image puts it before it removes its pending record.
            let pendings = lsu.pendings(&def.id).await?;
            // Known already, but for the first image: the probe writes, so it comes after what tells that the LSU is there.
            lsu.capabilities().await?;
            let sidecar = lsu.sidecar(&def.id).await?;
            if let Some((sidecar, _)) = sidecar {
                let state = if sidecar.state == ImageState::Deleting {
                    "still being deleted"
                } else {
                    "complete"
                };
                return Err(exists(&lsu, &def, state));
            }
            if let Some(PendingEntry { pending, .. }) = pendings.first() {
                let Writer { host, pid, .. } = &pending.writer;
                return Err(exists(
                    &lsu,
                    &def,
                    &format!("pending since {}, written by {host}:{pid}", pending.started),
                ));
            }
            Ok(())
        })?;
        Self::begin(lsu, def, now_text(), lsu.wire_mode())
    }

    /// Step 1: a new attempt with its pending record.
    pub(in crate::catalog) fn begin(lsu: &Lsu, def: ImageDef, created: String, wire: WireMode) -> Result<Self> {
        let attempt = Attempt::new();
        let key = lsu.keys().data(&def.id, &attempt);
        let metadata = object_metadata(&def, &created);
        let probe_prefix = (lsu.wire() == WireChoice::Auto).then(|| lsu.keys().prefix().to_owned());
        let spec = UploadSpec {
            bucket: lsu.bucket().into(),
            key: key.clone(),
            metadata,
            wire,
            probe_prefix,
        };
        let pending_key = lsu.keys().pending(&def.id, &attempt);
        let pending = Pending {
            schema: SCHEMA,
            state: PendingState::Writing,
            image: def,
            attempt,
            key,
            upload_id: None,
            sent: Vec::new(),
            closing: None,
            lease_seconds: lease_seconds(lsu),
            content: None,
            meta: None,
            created,
            started: now_text(),
            writer: Writer::this(),
            other: serde_json::Map::new(),
        };
        let mut upload = Upload::new(lsu.store(), spec)?;
        let claim = Claim::take(lsu, &pending_key, &pending, upload.progress())?;
        if wire == WireMode::Crc64 && lsu.wire_mode() != WireMode::Crc64 {
            // The record was refused with its CRC64NVME and taken without.
            let why = Error::new(
                Kind::Unsupported,
                format!("{pending_key} was refused with its CRC64NVME"),
            );
            upload.probe_again(&why);
        }
        let (lsu, meta, replaces) = (lsu.clone(), Vec::new(), Vec::new());
        Ok(Self {
            lsu,
            pending,
            pending_key,
            claim,
            upload,
            meta,
            replaces,
        })
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

    /// What the image's parts have done and waited for.
    pub fn tally(&self) -> Arc<Tally> {
        self.upload.tally()
    }

    /// Takes all of `data` for `offset`, or fails; may return before anything is on the store.
    pub fn write(&mut self, data: &[u8], offset: u64) -> Result<usize> {
        let (mut rest, mut offset) = (data, offset);
        // A write of nothing is passed on too: it brings the error of a part that failed meanwhile.
        loop {
            match self.upload.fill(rest, offset)? {
                Filled::PartFull => self.send_part()?,
                Filled::Taken(len) => {
                    rest = rest.split_at(len).1;
                    offset += len as u64;
                }
            }
            if rest.is_empty() {
                return Ok(data.len());
            }
        }
    }

    fn send_part(&mut self) -> Result<()> {
        if self.upload.id().is_none() {
            self.begin_upload()?;
        }
        self.upload.send_part()
    }

    pub(in crate::catalog) fn begin_upload(&mut self) -> Result<()> {
        self.upload.begin()?;
        self.pending.upload_id = self.upload.id().map(ToOwned::to_owned);
        // Without the upload's id on the store nobody could end it after a crash.
        self.claim
            .save(&self.pending)
            .inspect_err(|error| self.upload.fail(error))
    }

    /// Waits until every full part is on the store.
    pub fn flush(&mut self) -> Result<()> {
        self.upload.settle()
    }

    pub fn meta(&mut self) -> &mut Vec<u8> {
        &mut self.meta
    }

    /// Steps 3 to 8: from now on the image is complete. An attempt that was never whole on the store is removed after an
    /// error; of one that may be, nothing is: see [`Backup::keep`].
    pub fn complete(mut self) -> Result<u64> {
        if let Err(error) = self.seal() {
            return Err(self.give_up(error));
        }
        let uploaded = match self.finish(Closing::Complete) {
            Ok(uploaded) => uploaded,
            Err(error) => return Err(self.keep(error)),
        };
        let size = uploaded.object.size;
        // A writer that was silent for its lease may have a successor: its image must not be touched.
        if let Err(error) = self.claim.confirm() {
            return Err(self.keep(error));
        }
        let (lsu, conditional) = (
            self.lsu.clone(),
            self.lsu.store().known(self.lsu.bucket()).conditional_put,
        );
        let sidecar = sidecar(
            &self.pending,
            Content::new(&self.pending.key, &uploaded.object, &uploaded.parts),
        );
        match self
            .lsu
            .store()
            .run_patiently(async move { commit(&lsu, &sidecar, conditional).await })
        {
            Ok(()) => {}
            // Another writer's record is there: none will ever name this attempt.
            Err(error) if error.kind() == Kind::AlreadyExists => return Err(self.give_up(error)),
            // A delete has taken the data, which HEAD and a listing say.
            Err(error) if error.kind() == Kind::NotFound && self.is_data_gone() => return Err(self.give_up(error)),
            // The outcome is unknown to us. The last answer may have been lost, and not what it told.
            Err(error) if self.is_complete_after_all() => tracing::info!("complete all the same, after: {error}"),
            Err(error) => return Err(self.keep(error)),
        }
        self.lsu.usage_file().added(size);
        self.remove_replaced(true);
        Ok(size)
    }

    /// Steps 3 to 5 and the pending record: the image stays pending, readable, and can be opened for write again. After
    /// a failure it holds the parts before it; a failure that no call has returned yet is returned then.
    pub fn incomplete(mut self) -> Result<u64> {
        let failure = self.upload.keep_durable()?;
        let unreported = failure
            .as_ref()
            .filter(|(_, reported)| !reported)
            .map(|(error, _)| error.repeat());
        let kept = if self.upload.is_empty() {
            Ok(None)
        } else {
            self.finish(Closing::Incomplete).map(Some)
        };
        let kept = kept.map_err(|error| unreported.as_ref().map_or(error, Error::repeat))?;
        let size = kept.as_ref().map_or(0, |uploaded| uploaded.object.size);
        let replaced = self.replaced_size();
        if size < replaced {
            // The earlier attempt holds more than this one could keep: it stays the image.
            self.remove_own();
            return unreported.map_or(Ok(replaced), Err);
        }
        if kept.is_none() {
            self.save_meta()?;
        }
        self.pending.state = PendingState::Incomplete;
        (self.pending.upload_id, self.pending.sent, self.pending.closing) = (None, Vec::new(), None);
        self.pending.content = kept.map(|uploaded| Content::new(&self.pending.key, &uploaded.object, &uploaded.parts));
        self.claim.save(&self.pending)?;
        match self.confirm_pending() {
            Err(error) if error.kind() == Kind::AlreadyExists => return Err(self.give_up(error)),
            // Nobody knows whether what was taken over still is all there is: both stay.
            Err(error) => return Err(error),
            Ok(()) => {}
        }
        self.remove_replaced(false);
        unreported.map_or(Ok(size), Err)
    }

    /// Fails when a part has failed: every part of the upload is on the store then, or the last one is still here.
    fn seal(&mut self) -> Result<Vec<SentPart>> {
        if self.upload.id().is_some() {
            self.upload.seal()
        } else {
            self.upload.settle().map(|()| Vec::new())
        }
    }

    /// Steps 3 to 5: all that the record needs in order to be finished by anybody, then the object.
    fn finish(&mut self, closing: Closing) -> Result<Uploaded> {
        let sent = self.seal()?;
        // Known before anything else can fail: whoever takes the attempt over has the CRCs of its parts.
        self.pending.sent = part_records(&sent);
        self.save_meta()?;
        // An object that is put in one piece is there or not: its record needs no more while its writer lives.
        if !sent.is_empty() {
            self.pending.closing = Some(closing);
            self.claim.save(&self.pending)?;
        } else {
            self.claim.confirm_if_late()?;
        }
        self.upload.complete()
    }

    fn save_meta(&mut self) -> Result<()> {
        let (lsu, meta) = (self.lsu.clone(), std::mem::take(&mut self.meta));
        let key = self.lsu.keys().meta(&self.pending.image.id, &self.pending.attempt);
        self.pending.meta = self
            .lsu
            .store()
            .run(async move { meta::save(lsu.store(), lsu.bucket(), &key, meta.into()).await })?;
        Ok(())
    }

    /// Another process may have taken this writer for dead and completed the image: then nothing of its may go.
    fn confirm_pending(&self) -> Result<()> {
        if self.replaces.is_empty() {
            return Ok(());
        }
        let (lsu, id) = (self.lsu.clone(), self.pending.image.id.clone());
        self.lsu.store().run(async move {
            let there = lsu
                .store()
                .head(lsu.bucket(), &lsu.keys().sidecar(&id))
                .await
                .if_found()?;
            there.map_or(Ok(()), |_| Err(completed_elsewhere(&id)))
        })
    }

    /// What the attempts that this one took over hold.
    fn replaced_size(&self) -> u64 {
        let sizes = self.replaces.iter().filter_map(|entry| entry.pending.content.as_ref());
        sizes.map(|content| content.data.size).max().unwrap_or(0)
    }

    /// After an error of a complete close: the object may be there, or be made of what is there, and may be right. So
    /// nothing is removed. The record stays with all parts and what the close was to make of them, for `repair` to finish
    /// and for a delete to remove, and speaks for no writer any more.
    fn keep(mut self, error: Error) -> Error {
        let id = self.pending.image.id.clone();
        if self.upload.id().is_none() && self.upload.whole().is_none() && self.pending.closing.is_none() {
            // No byte of the image was sent.
            return self.give_up(error);
        }
        if self.is_committed() {
            // Without a lease, so that a delete elsewhere need not wait. What is another writer's by now stays as it is.
            self.pending.lease_seconds = 0;
            let released = self.claim.confirm().and_then(|()| self.claim.save(&self.pending));
            if let Err(left) = released {
                tracing::debug!("give the record of image {id} back: {left}");
            }
            self.claim.end();
            return error.context(format!(
                "image {id} is on the store with its sidecar, and was not proven to be whole"
            ));
        }
        if let Some(whole) = self.upload.whole().cloned() {
            if is_definite(&error) && self.is_data_gone() {
                // The only request was answered with no, and the store has nothing.
                return self.give_up(error);
            }
            let parts = if whole.size == 0 { Vec::new() } else { vec![whole] };
            (self.pending.sent, self.pending.closing) = (part_records(&parts), Some(Closing::Complete));
        }
        self.pending.lease_seconds = 0;
        // What another process has taken over, or removed, is not ours to write.
        let kept = self.claim.confirm().and_then(|()| self.claim.save(&self.pending));
        self.claim.end();
        match kept {
            Err(lost) if lost.kind() == Kind::Busy => return error,
            Err(unsaved) => tracing::warn!("keep the record of image {id}: {unsaved}"),
            Ok(()) => {}
        }
        let lsu = &self.lsu.config().name;
        let way_out = if self.pending.closing.is_some() {
            format!("`vastost-s3 repair {lsu} --older-than 0s --yes` completes it if every byte is right")
        } else {
            "opened for write again it can be gone on with".to_owned()
        };
        error.context(format!(
            "image {id} is not complete; what was written is kept as a pending image in LSU {lsu}: {way_out}, a delete \
             removes it"
        ))
    }

    /// True when sidecar and data are there and the claim still is ours: what a complete close returns for.
    fn is_complete_after_all(&self) -> bool {
        let (lsu, pending) = (self.lsu.clone(), self.pending.clone());
        let confirmed = self.lsu.store().run(async move {
            let sidecar = lsu.sidecar(&pending.image.id).await?.map(|(sidecar, _)| sidecar);
            match sidecar
                .filter(|sidecar| sidecar.content.data.key == pending.key && sidecar.state == ImageState::Complete)
            {
                Some(sidecar) => confirm_data(&lsu, &sidecar).await.map(|()| true),
                None => Ok(false),
            }
        });
        matches!(confirmed, Ok(true)) && self.claim.confirm().is_ok()
    }

    /// True when the sidecar is on the store all the same.
    fn is_committed(&self) -> bool {
        let (lsu, id) = (self.lsu.clone(), self.pending.image.id.clone());
        let there = self.lsu.store().run(async move { lsu.sidecar(&id).await });
        matches!(there, Ok(Some((sidecar, _))) if sidecar.content.data.key == self.pending.key)
    }

    /// True when neither HEAD nor a listing has the data object, and no delete marker hides it.
    fn is_data_gone(&self) -> bool {
        let (lsu, key) = (self.lsu.clone(), self.pending.key.clone());
        let asked = self.lsu.store().run(async move {
            let found = lsu.store().head_fresh(lsu.bucket(), &key).await.if_found()?;
            Ok(found.is_some() || is_hidden(&lsu, &key).await?)
        });
        matches!(asked, Ok(false))
    }

    pub(in crate::catalog) fn give_up(self, error: Error) -> Error {
        self.remove_own();
        error
    }

    /// Another error is on its way to the host: what cannot be removed is logged and stays behind as pending.
    fn remove_own(self) {
        let (lsu, key) = (self.lsu, self.pending_key);
        // What another process has taken over is not ours to remove.
        let ours = self.claim.confirm();
        self.claim.end();
        let removed = ours.and_then(|()| self.upload.abort()).and_then(|()| {
            // The upload has just been aborted.
            let pending = Pending {
                upload_id: None,
                ..self.pending
            };
            lsu.clone()
                .store()
                .run(async move { remove_attempt(&lsu, &key, &pending).await })
        });
        if let Err(error) = removed {
            tracing::warn!("remove what was written of a failed image: {error}");
        }
    }

    /// Step 8, and the attempts that this one took over. The image is safe already: failures are logged only.
    fn remove_replaced(&self, own_record: bool) {
        let (lsu, replaced) = (self.lsu.clone(), self.replaces.clone());
        let own = own_record.then(|| self.pending_key.clone());
        self.claim.end();
        let removed = self.lsu.store().run(async move {
            for PendingEntry { key, pending, .. } in &replaced {
                remove_attempt(&lsu, key, pending).await?;
            }
            match own {
                Some(key) => remove_record(&lsu, &key).await,
                None => Ok(()),
            }
        });
        if let Err(error) = removed {
            tracing::warn!("remove pending records of image {}: {error}", self.pending.image.id);
        }
    }
}

/// What a pending record becomes when its image is complete.
pub(in crate::catalog) fn sidecar(pending: &Pending, content: Content) -> Sidecar {
    Sidecar {
        schema: SCHEMA,
        state: ImageState::Complete,
        image: pending.image.clone(),
        content,
        meta: pending.meta.clone(),
        created: pending.created.clone(),
        completed: now_text(),
        writer: Writer::this(),
        rebuilt: None,
        retention: None,
    }
}

/// Steps 6 and 7. A lost answer may have been a success: then the sidecar that is there is our own.
pub(in crate::catalog) async fn commit(lsu: &Lsu, sidecar: &Sidecar, conditional: bool) -> Result<()> {
    let key = lsu.keys().sidecar(&sidecar.image.id);
    // A store that refuses no second record is asked before: two writers must come within one request to be both told
    // that they were first.
    let put = if !conditional && lsu.sidecar(&sidecar.image.id).await?.is_some() {
        Err(Error::new(Kind::PreconditionFailed, format!("put {key}: there is one")))
    } else {
        lsu.put_record(&key, to_bytes(sidecar)?, conditional).await
    };
    match put {
        Ok(_) => {}
        Err(error) if error.kind() == Kind::PreconditionFailed => {
            let bytes = lsu
                .store()
                .get_small(lsu.bucket(), &key, crate::catalog::format::record::RECORD_SIZE_MAX)
                .await?;
            let there = parse_sidecar(lsu.keys(), &sidecar.image.id, &bytes)?;
            if there.content.data.key != sidecar.content.data.key {
                return Err(completed_elsewhere(&sidecar.image.id));
            }
        }
        Err(error) => return Err(error),
    }
    confirm_data(lsu, sidecar).await
}

/// Another process may have deleted the image between its data and its record: no record may stay without data. The
/// delete looks for a record once more after it has removed the data, so that one of the two sees the other.
pub(in crate::catalog) async fn confirm_data(lsu: &Lsu, sidecar: &Sidecar) -> Result<()> {
    let data = &sidecar.content.data.key;
    match lsu.store().head_fresh(lsu.bucket(), data).await {
        Err(error) if error.kind() == Kind::NotFound && is_hidden(lsu, data).await.unwrap_or(true) => {
            let what = format!(
                "image {} is complete, and somebody's delete marker hides its data: `vastost-s3 undelete` takes it away",
                sidecar.image.id
            );
            Err(error.context(what).with_kind(Kind::Unavailable))
        }
        Err(error) if error.kind() == Kind::NotFound => {
            // Only our own record: a successor's image has data of its own.
            if lsu
                .sidecar(&sidecar.image.id)
                .await?
                .is_some_and(|(now, _)| now.content.data.key == *data)
            {
                remove_record(lsu, &lsu.keys().sidecar(&sidecar.image.id)).await?;
            }
            Err(error.context(format!(
                "image {} was deleted by another process meanwhile",
                sidecar.image.id
            )))
        }
        other => other.map(drop),
    }
}

/// The store said no, as against an answer that contradicts, or none.
fn is_definite(error: &Error) -> bool {
    if error.outcome_is_unknown() {
        return false;
    }
    is_refusal(error)
        || matches!(
            error.kind(),
            Kind::NoSpace | Kind::LsuNotFound | Kind::NotFound | Kind::Locked
        )
}

fn completed_elsewhere(id: &ImageId) -> Error {
    Error::new(
        Kind::AlreadyExists,
        format!("image {id} was completed by another writer meanwhile"),
    )
}

fn exists(lsu: &Lsu, def: &ImageDef, how: &str) -> Error {
    Error::new(
        Kind::AlreadyExists,
        format!("image {} exists in LSU {}: {how}", def.id, lsu.config().name),
    )
}
