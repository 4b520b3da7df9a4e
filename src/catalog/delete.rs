//! Removing an image in steps that can be taken again at any point.
//!
//! The store is asked for locks before anything is changed. What it refuses all the same, after the image was marked, is
//! taken back: the mark goes, and the image is complete again. A store without space for the mark loses the sidecar first
//! and the data next; data never go before the sidecar is marked or gone.

use serde_json::Value;

use super::escape::Name;
use super::image_id::{ImageDef, ImageId};
use super::keys::{Attempt, Folder};
use super::lsu::{Lsu, PendingEntry, Pendings};
use super::meta::Meta;
use super::record::{ImageState, Sidecar, Writer, parse_sidecar, rewrite};
use super::remove::{ask_for_locks, remove_attempt, remove_key, remove_record};
use crate::error::{Error, Found, Kind, Result};

/// Removes the image that answers to `def`, complete or pending; finishes a delete that was interrupted.
pub async fn delete(lsu: &Lsu, def: &ImageDef) -> Result<()> {
    let id = &def.id;
    let sidecar = match lsu.sidecar(id).await {
        Err(error) if error.kind() == Kind::Corrupt => return delete_unreadable(lsu, id, error).await,
        other => other?,
    };
    let Pendings { entries: pendings, unreadable } = lsu.all_pendings(id).await?;
    // A writer that completed the image between the two looks has put its sidecar.
    let sidecar = if sidecar.is_none() { lsu.sidecar(id).await? } else { sidecar };
    let is_ours = match (&sidecar, pendings.first()) {
        (Some((sidecar, _)), _) => sidecar.image.answers_to(def),
        (None, Some(entry)) => entry.pending.image.answers_to(def),
        (None, None) => false,
    };
    if !is_ours {
        let unread = unreadable.into_iter().next().map(|(_, error)| error);
        return Err(unread.map_or_else(
            || lsu.not_found(id),
            |error| error.context(format!("delete image {id}: `vastost-s3 gc` sets such a record aside")),
        ));
    }
    if let Some(held) = lsu.held_by_another(&pendings).await? {
        let Writer { host, pid, .. } = &held.pending.writer;
        return Err(Error::new(Kind::Busy, format!("image {id} is being written by {host}:{pid}")));
    }
    for PendingEntry { pending, .. } in &pendings {
        ask_for_locks(lsu, &pending.key).await?;
    }
    if let Some((sidecar, bytes)) = sidecar {
        delete_complete(lsu, &sidecar, &bytes).await?;
    }
    for PendingEntry { key, pending, .. } in &pendings {
        remove_attempt(lsu, key, pending).await?;
    }
    // A writer elsewhere may have completed the image while its data were being removed: see `backup::confirm_data`.
    if !pendings.is_empty()
        && let Some((sidecar, bytes)) = lsu.sidecar(id).await?
    {
        delete_complete(lsu, &sidecar, &bytes).await?;
    }
    Ok(())
}

/// Removes a complete image, or what an interrupted delete left of one: that which `sidecar` describes and no other.
pub(super) async fn delete_complete(lsu: &Lsu, sidecar: &Sidecar, bytes: &[u8]) -> Result<()> {
    match try_delete_complete(lsu, sidecar, bytes).await {
        Err(error) if is_refusal(&error) => Err(take_back(lsu, &sidecar.image.id, error).await),
        other => other,
    }
}

async fn try_delete_complete(lsu: &Lsu, sidecar: &Sidecar, bytes: &[u8]) -> Result<()> {
    let (key, data) = (lsu.keys().sidecar(&sidecar.image.id), &sidecar.content.data.key);
    let meta = match &sidecar.meta {
        Some(Meta::Object { key, .. }) => Some(key),
        _ => None,
    };
    for asked in [Some(data), meta, Some(&key)].into_iter().flatten() {
        ask_for_locks(lsu, asked).await?;
    }
    let marked = sidecar.state == ImageState::Deleting || mark(lsu, sidecar, bytes, &key).await?;
    if !marked {
        // A crash from here on leaves whole data without a sidecar, which `repair` brings back.
        remove_key(lsu, &key).await?;
        lsu.count_out(sidecar.content.data.size).await;
    }
    remove_key(lsu, data).await?;
    if let Some(meta) = meta {
        remove_record(lsu, meta).await?;
    }
    if marked { remove_key(lsu, &key).await } else { Ok(()) }
}

/// Step 1: from now on the image is gone. False where the store takes no more records, for lack of space or of the right.
async fn mark(lsu: &Lsu, sidecar: &Sidecar, bytes: &[u8], key: &str) -> Result<bool> {
    let marked = rewrite(sidecar, bytes, [("state", Some(Value::from("deleting")))])?;
    match lsu.put_record(key, marked, false).await {
        Ok(_) => {
            lsu.count_out(sidecar.content.data.size).await;
            Ok(true)
        }
        Err(error) if matches!(error.kind(), Kind::NoSpace | Kind::AccessDenied) => {
            tracing::info!("delete image {} without marking it first: {error}", sidecar.image.id);
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// True when the store understood and said no: nothing of that request has happened or will.
fn is_refusal(error: &Error) -> bool {
    matches!(error.kind(), Kind::AccessDenied | Kind::Locked | Kind::Unauthorized | Kind::Unsupported)
}

/// After a refusal: an image that is marked and whose data are whole is complete again.
async fn take_back(lsu: &Lsu, id: &ImageId, error: Error) -> Error {
    match unmark(lsu, id).await {
        Ok(true) => error.context(format!("delete image {id}: refused, and the image is complete as before")),
        Ok(false) => error.context(format!("delete image {id}")),
        Err(left) => {
            tracing::warn!("take back the mark of image {id}: {left}");
            error
                .context(format!("delete image {id}: it stays marked as deleted; `vastost-s3 undelete` brings it back"))
        }
    }
}

/// Makes an image that is marked as deleted complete again; false when it is not marked, or its data are not whole.
pub(super) async fn unmark(lsu: &Lsu, id: &ImageId) -> Result<bool> {
    let Some((sidecar, bytes)) = lsu.sidecar(id).await? else { return Ok(false) };
    let data = &sidecar.content.data;
    let there = lsu.store().head(lsu.bucket(), &data.key).await.if_found()?;
    if sidecar.state != ImageState::Deleting || there.is_none_or(|object| object.size != data.size) {
        return Ok(false);
    }
    let again = rewrite(&sidecar, &bytes, [("state", Some(Value::from("complete")))])?;
    lsu.put_record(&lsu.keys().sidecar(id), again, false).await?;
    super::backup::confirm_data(lsu, &sidecar).await?;
    lsu.count_in(data.size).await;
    Ok(true)
}

/// An image whose sidecar cannot be read goes once its data are gone: then there is nothing that the record could still be
/// needed for. It is kept under `replaced/`.
async fn delete_unreadable(lsu: &Lsu, id: &ImageId, error: Error) -> Result<()> {
    if lsu.has_data(id).await? {
        let what = format!(
            "delete image {id}: its data are there; run `vastost-s3 repair` first, or `vastost-s3 rm --unreadable`"
        );
        return Err(error.context(what));
    }
    remove_unreadable(lsu, id).await
}

/// Removes an image whose sidecar cannot be read: every object at this image's own keys, whatever the record says. The
/// record goes first and is kept under `replaced/`. An image whose sidecar can be read is deleted as usual.
pub async fn force_delete(lsu: &Lsu, id: &ImageId) -> Result<()> {
    match lsu.sidecar(id).await {
        Err(error) if error.kind() == Kind::Corrupt => remove_unreadable(lsu, id).await,
        _ => delete(lsu, &ImageDef { id: id.clone(), policy: Name::default(), image_type: 0 }).await,
    }
}

async fn remove_unreadable(lsu: &Lsu, id: &ImageId) -> Result<()> {
    let Pendings { entries, unreadable } = lsu.all_pendings(id).await?;
    if lsu.held_by_another(&entries).await?.is_some() {
        return Err(Error::new(Kind::Busy, format!("image {id} is being written")));
    }
    if let Some((_, error)) = unreadable.into_iter().find(|(_, error)| error.kind() == Kind::Unsupported) {
        return Err(error);
    }
    let (data, metas) = (lsu.keys_of(Folder::Data, id).await?, lsu.metas(id).await?);
    let (records, key) = (lsu.keys_of(Folder::Pending, id).await?, lsu.keys().sidecar(id));
    for asked in data.iter().chain([&key]) {
        ask_for_locks(lsu, asked).await?;
    }
    if let Some(bytes) = lsu.record(&key).await?
        && parse_sidecar(lsu.keys(), id, &bytes).is_err_and(|error| error.kind() == Kind::Corrupt)
    {
        lsu.put_record(&lsu.keys().replaced(id, &Attempt::new()), bytes, false).await?;
        remove_key(lsu, &key).await?;
    }
    for PendingEntry { pending, .. } in &entries {
        if let Some(upload) = &pending.upload_id {
            lsu.store().abort_upload(lsu.bucket(), &pending.key, upload).await?;
        }
    }
    for gone in data.iter().chain(&metas).chain(&records) {
        remove_key(lsu, gone).await?;
    }
    Ok(())
}
