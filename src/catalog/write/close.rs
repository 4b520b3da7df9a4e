//! The end of a backup: closed complete or incomplete, given up, or kept where nobody knows.

use super::backup::Backup;
use super::commit::{commit, completed_elsewhere, confirm_data, sidecar};
use crate::catalog::format::record::{Closing, Content, ImageState, Pending, PendingState, part_records};
use crate::catalog::meta;
use crate::catalog::records::PendingEntry;
use crate::catalog::remove::{is_hidden, remove_attempt, remove_record};
use crate::error::{Error, Found, Kind, Result};
use crate::objstore::s3::resend::is_refusal;
use crate::objstore::transport::effort::patiently;
use crate::objstore::upload::finish::Uploaded;

impl Backup {
    /// Steps 3 to 8: from now on the image is complete. An attempt that was never whole on the store is removed after an
    /// error; of one that may be, nothing is: see [`Backup::keep`].
    pub async fn complete(mut self) -> Result<u64> {
        if let Err(error) = self.data.seal().await {
            return Err(self.give_up(error).await);
        }
        let uploaded = match self.finish(Closing::Complete).await {
            Ok(uploaded) => uploaded,
            Err(error) => return Err(self.keep(error).await),
        };
        // A writer that was silent for its lease may have a successor: its image must not be touched.
        if let Err(error) = self.lease.confirm().await {
            return Err(self.keep(error).await);
        }

        let content = Content::new(&self.pending.key, &uploaded.object, &uploaded.parts);
        let sidecar = sidecar(&self.pending, content);
        let conditional = self.lsu.store().known(self.lsu.bucket()).conditional_put;
        match patiently(commit(&self.lsu, &sidecar, conditional)).await {
            Ok(()) => {}
            // Another writer's record is there: none will ever name this attempt.
            Err(error) if error.kind() == Kind::AlreadyExists => return Err(self.give_up(error).await),
            // A delete has taken the data, which HEAD and a listing say.
            Err(error) if error.kind() == Kind::NotFound && self.is_data_gone().await => {
                return Err(self.give_up(error).await);
            }
            // The outcome is unknown to us. The last answer may have been lost, and not what it told.
            Err(error) if self.is_complete_after_all().await => {
                tracing::info!("complete all the same, after: {error}");
            }
            Err(error) => return Err(self.keep(error).await),
        }

        let size = uploaded.object.size;
        self.lsu.count_in(size).await;
        self.remove_replaced(true).await;
        Ok(size)
    }

    /// Steps 3 to 5 and the pending record: the image stays pending, readable, and can be opened for write again. After
    /// a failure it holds the parts before it; a failure that no call has returned yet is returned then.
    pub async fn incomplete(mut self) -> Result<u64> {
        let failure = self.data.keep_durable().await?;
        let unreported = failure
            .as_ref()
            .filter(|(_, reported)| !reported)
            .map(|(error, _)| error.repeat());
        let kept = if self.data.is_empty() {
            Ok(None)
        } else {
            self.finish(Closing::Incomplete).await.map(Some)
        };
        let kept = kept.map_err(|error| unreported.as_ref().map_or(error, Error::repeat))?;
        let size = kept.as_ref().map_or(0, |uploaded| uploaded.object.size);
        let replaced = self.replaced_size();
        if size < replaced {
            // The earlier attempt holds more than this one could keep: it stays the image.
            self.remove_own().await;
            return unreported.map_or(Ok(replaced), Err);
        }

        if kept.is_none() {
            self.save_meta().await?;
        }
        self.pending.state = PendingState::Incomplete;
        (self.pending.upload_id, self.pending.sent, self.pending.closing) = (None, Vec::new(), None);
        self.pending.content = kept.map(|uploaded| Content::new(&self.pending.key, &uploaded.object, &uploaded.parts));
        self.lease.save(&self.pending).await?;
        match self.confirm_pending().await {
            Err(error) if error.kind() == Kind::AlreadyExists => return Err(self.give_up(error).await),
            // Nobody knows whether what was taken over still is all there is: both stay.
            Err(error) => return Err(error),
            Ok(()) => {}
        }
        self.remove_replaced(false).await;
        unreported.map_or(Ok(size), Err)
    }

    /// Steps 3 to 5: all that the record needs in order to be finished by anybody, then the object.
    async fn finish(&mut self, closing: Closing) -> Result<Uploaded> {
        let sent = self.data.seal().await?;
        // Known before anything else can fail: whoever takes the attempt over has the CRCs of its parts.
        self.pending.sent = part_records(&sent);
        self.save_meta().await?;
        // An object that is put in one piece is there or not: its record needs no more while its writer lives.
        if !sent.is_empty() {
            self.pending.closing = Some(closing);
            self.lease.save(&self.pending).await?;
        } else {
            self.lease.confirm_if_late().await?;
        }
        self.data.complete().await
    }

    async fn save_meta(&mut self) -> Result<()> {
        let bytes = std::mem::take(&mut self.meta);
        let key = self.lsu.keys().meta(&self.pending.image.id, &self.pending.attempt);
        self.pending.meta = meta::save(self.lsu.store(), self.lsu.bucket(), &key, bytes.into()).await?;
        Ok(())
    }

    /// Another process may have taken this writer for dead and completed the image: then nothing of its may go.
    async fn confirm_pending(&self) -> Result<()> {
        if self.replaces.is_empty() {
            return Ok(());
        }
        let id = &self.pending.image.id;
        let sidecar = self.lsu.keys().sidecar(id);
        let there = self.lsu.store().head(self.lsu.bucket(), &sidecar).await.if_found()?;
        there.map_or(Ok(()), |_| Err(completed_elsewhere(id)))
    }

    /// What the attempts that this one took over hold.
    fn replaced_size(&self) -> u64 {
        let sizes = self.replaces.iter().filter_map(|entry| entry.pending.content.as_ref());
        sizes.map(|content| content.data.size).max().unwrap_or(0)
    }

    /// After an error of a complete close: the object may be there, or be made of what is there, and may be right. So
    /// nothing is removed. The record stays with all parts and what the close was to make of them, for `repair` to finish
    /// and for a delete to remove, and speaks for no writer any more.
    async fn keep(mut self, error: Error) -> Error {
        let id = self.pending.image.id.clone();
        let upload = self.data.upload();
        let whole = upload.whole().cloned();
        if upload.id().is_none() && whole.is_none() && self.pending.closing.is_none() {
            // No byte of the image was sent.
            return self.give_up(error).await;
        }
        if self.is_committed().await {
            // A delete elsewhere need not wait then.
            if let Err(left) = self.release().await {
                tracing::debug!("give the record of image {id} back: {left}");
            }
            return error.context(format!(
                "image {id} is on the store with its sidecar, and was not proven to be whole"
            ));
        }

        if let Some(whole) = whole {
            if is_definite(&error) && self.is_data_gone().await {
                // The only request was answered with no, and the store has nothing.
                return self.give_up(error).await;
            }
            let parts = if whole.size == 0 { Vec::new() } else { vec![whole] };
            (self.pending.sent, self.pending.closing) = (part_records(&parts), Some(Closing::Complete));
        }

        match self.release().await {
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

    /// Puts the record without a lease, unless another process has taken it over or removed it, and ends its renewals.
    async fn release(&mut self) -> Result<()> {
        self.pending.lease_seconds = 0;
        let released = match self.lease.confirm().await {
            Ok(()) => self.lease.save(&self.pending).await,
            Err(lost) => Err(lost),
        };
        self.lease.end().await;
        released
    }

    /// True when sidecar and data are there and the claim still is ours: what a complete close returns for.
    async fn is_complete_after_all(&self) -> bool {
        let Ok(Some((sidecar, _))) = self.lsu.sidecar(&self.pending.image.id).await else {
            return false;
        };
        let is_ours = sidecar.content.data.key == self.pending.key && sidecar.state == ImageState::Complete;
        is_ours && confirm_data(&self.lsu, &sidecar).await.is_ok() && self.lease.confirm().await.is_ok()
    }

    /// True when the sidecar is on the store all the same.
    async fn is_committed(&self) -> bool {
        let there = self.lsu.sidecar(&self.pending.image.id).await;
        matches!(there, Ok(Some((sidecar, _))) if sidecar.content.data.key == self.pending.key)
    }

    /// True when neither HEAD nor a listing has the data object, and no delete marker hides it.
    async fn is_data_gone(&self) -> bool {
        let key = &self.pending.key;
        let found = self.lsu.store().head_fresh(self.lsu.bucket(), key).await.if_found();
        matches!(found, Ok(None)) && matches!(is_hidden(&self.lsu, key).await, Ok(false))
    }

    pub(in crate::catalog) async fn give_up(self, error: Error) -> Error {
        self.remove_own().await;
        error
    }

    /// Another error is on its way to the host: what cannot be removed is logged and stays behind as pending.
    async fn remove_own(self) {
        if let Err(error) = self.try_remove_own().await {
            tracing::warn!("remove what was written of a failed image: {error}");
        }
    }

    async fn try_remove_own(self) -> Result<()> {
        // What another process has taken over is not ours to remove.
        let ours = self.lease.confirm().await;
        self.lease.end().await;
        ours?;
        self.data.abort().await?;
        let pending = Pending {
            // The upload has just been aborted.
            upload_id: None,
            ..self.pending
        };
        remove_attempt(&self.lsu, &self.pending_key, &pending).await
    }

    /// Step 8, and the attempts that this one took over. The image is safe already: failures are logged only.
    async fn remove_replaced(&self, own_record: bool) {
        self.lease.end().await;
        if let Err(error) = self.try_remove_replaced(own_record).await {
            tracing::warn!("remove pending records of image {}: {error}", self.pending.image.id);
        }
    }

    async fn try_remove_replaced(&self, own_record: bool) -> Result<()> {
        for PendingEntry { key, pending, .. } in &self.replaces {
            remove_attempt(&self.lsu, key, pending).await?;
        }
        if own_record {
            remove_record(&self.lsu, &self.pending_key).await?;
        }
        Ok(())
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
