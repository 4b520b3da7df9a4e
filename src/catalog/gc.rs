//! Removing what an audit calls debris, one thing at a time, each asked for once more just before it goes.

use super::audit::debris::{JudgedPending, Remedy};
use super::backup::remove_attempt;
use super::claim::Record;
use super::delete::delete_complete;
use super::image_id::ImageId;
use super::keys::Folder;
use super::lsu::{Lsu, PendingEntry};
use super::meta::Meta;
use super::record::ImageState;
use crate::error::{Kind, Result};

/// What became of one piece of debris.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removed {
    Yes,
    /// It was gone, or has an owner now.
    NotNeeded,
}

/// What [`remove`] would do, in words; None for what is no debris, and for data without a record unless they are asked
/// for: a sidecar that was lost leaves the same picture, and the data may be the only copy of a backup.
pub fn plan(remedy: &Remedy, orphan_data: bool) -> Option<&'static str> {
    match remedy {
        Remedy::OrphanData { .. } => orphan_data.then_some("remove the data object"),
        Remedy::OrphanObject { .. } => Some("remove the object"),
        Remedy::OrphanUpload { .. } => Some("abort the upload"),
        Remedy::Pending(_) => Some("remove the pending image: its upload, its data and its record"),
        Remedy::BadPending { .. } => Some("remove the pending image whose record cannot be read"),
        Remedy::FinishDelete(_) => Some("finish the delete"),
        Remedy::Rebuild(_) | Remedy::NewEtag(_) => None,
    }
}

/// Removes one piece of debris.
pub async fn remove(lsu: &Lsu, remedy: &Remedy) -> Result<Removed> {
    let (store, bucket) = (lsu.store(), lsu.bucket());
    match remedy {
        Remedy::OrphanData { id, key } => {
            if is_in_use(lsu, id, key).await? {
                return Ok(Removed::NotNeeded);
            }
            store.delete(bucket, key, None).await?;
            // Metadata are kept as long as there are data that they may belong to.
            for meta in lsu.metas(id).await? {
                remove_object(lsu, &meta).await?;
            }
        }
        Remedy::OrphanObject { key } => return remove_object(lsu, key).await,
        Remedy::OrphanUpload { key, upload } => {
            if let Some((id, attempt)) = lsu.keys().parse(Folder::Data, key) {
                let (now, pendings) = (lsu.now().await?, lsu.pendings(&id).await?);
                let of_writer =
                    |entry: &PendingEntry| Some(&entry.pending.attempt) == attempt.as_ref() && entry.is_held(now);
                if pendings.iter().any(of_writer) {
                    return Ok(Removed::NotNeeded);
                }
            }
            store.abort_upload(bucket, key, upload).await?;
        }
        Remedy::Pending(entry) => return remove_pending(lsu, entry).await,
        Remedy::BadPending { id, attempt, key } => {
            let data = lsu.keys().data(id, attempt);
            if !is_in_use(lsu, id, &data).await? {
                abort_uploads(lsu, &data).await?;
                store.delete(bucket, &lsu.keys().meta(id, attempt), None).await?;
                store.delete(bucket, &data, None).await?;
            }
            store.delete(bucket, key, None).await?;
        }
        Remedy::FinishDelete(id) => return finish_delete(lsu, id).await,
        Remedy::Rebuild(_) | Remedy::NewEtag(_) => return Ok(Removed::NotNeeded),
    }
    Ok(Removed::Yes)
}

/// Aborts whatever is being uploaded to `key`: a record that cannot be read does not tell the upload's id.
async fn abort_uploads(lsu: &Lsu, key: &str) -> Result<()> {
    let mut after = None;
    loop {
        let page = match lsu.store().list_uploads(lsu.bucket(), after).await {
            // The next audit names what is left.
            Err(error) if matches!(error.kind(), Kind::AccessDenied | Kind::Unsupported) => return Ok(()),
            other => other?,
        };
        for upload in page.uploads.iter().filter(|upload| upload.key == key) {
            lsu.store().abort_upload(lsu.bucket(), key, &upload.id).await?;
        }
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(()),
        }
    }
}

/// Removes an attempt unless somebody took it over since it was judged, or builds on it.
async fn remove_pending(lsu: &Lsu, judged: &JudgedPending) -> Result<Removed> {
    let Some((_, entry)) = take_judged(lsu, judged).await? else { return Ok(Removed::NotNeeded) };
    let id = &entry.pending.image.id;
    if is_in_use(lsu, id, &entry.pending.key).await? {
        // The image is complete: only the record of its writing was left.
        lsu.store().delete(lsu.bucket(), &entry.key, None).await?;
    } else {
        remove_attempt(lsu, &entry.key, &entry.pending).await?;
    }
    Ok(Removed::Yes)
}

/// Makes an attempt ours, if it still is what was judged and no living writer has the image: one that goes on with an
/// image copies what an earlier attempt left, so that must stay too. Gives the attempt as it was before.
pub(super) async fn take_judged(lsu: &Lsu, judged: &JudgedPending) -> Result<Option<(Record, PendingEntry)>> {
    let (now, entries) = (lsu.now().await?, lsu.pendings(&judged.id).await?);
    if entries.iter().any(|entry| entry.is_held(now)) {
        return Ok(None);
    }
    let same = |entry: &PendingEntry| entry.key == judged.key && entry.etag == judged.etag;
    let Some(entry) = entries.into_iter().find(same) else { return Ok(None) };
    match Record::take(&entry, lsu).await {
        Ok((record, _)) => Ok(Some((record, entry))),
        Err(error) if error.kind() == Kind::Busy => Ok(None),
        Err(error) => Err(error),
    }
}

/// Finishes a delete that was interrupted: of the image whose record says so, and of no later one.
pub async fn finish_delete(lsu: &Lsu, id: &ImageId) -> Result<Removed> {
    match lsu.sidecar(id).await? {
        Some((sidecar, bytes)) if sidecar.state == ImageState::Deleting => {
            delete_complete(lsu, &sidecar, &bytes).await.map(|()| Removed::Yes)
        }
        _ => Ok(Removed::NotNeeded),
    }
}

/// Image metadata that no record names, or what a probe left.
async fn remove_object(lsu: &Lsu, key: &str) -> Result<Removed> {
    if let Some((id, attempt)) = lsu.keys().parse(Folder::Meta, key) {
        let pendings = lsu.pendings(&id).await?;
        let named = pendings.iter().any(|entry| Some(&entry.pending.attempt) == attempt.as_ref());
        let kept = match lsu.sidecar(&id).await? {
            Some((sidecar, _)) => matches!(&sidecar.meta, Some(Meta::Object { key: own, .. }) if own == key),
            None => lsu.has_data(&id).await?,
        };
        if named || kept {
            return Ok(Removed::NotNeeded);
        }
    }
    lsu.store().delete(lsu.bucket(), key, None).await.map(|()| Removed::Yes)
}

/// True when the sidecar of a complete image names these data.
async fn is_in_use(lsu: &Lsu, id: &ImageId, key: &str) -> Result<bool> {
    let sidecar = lsu.sidecar(id).await?;
    Ok(sidecar.is_some_and(|(sidecar, _)| sidecar.state == ImageState::Complete && sidecar.content.data.key == key))
}
