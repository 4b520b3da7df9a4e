//! Removing what an audit calls orphaned, one thing at a time, each asked for once more just before it goes.
//!
//! Data go only when no sidecar of their image can need them: see [`crate::catalog::remove::is_needed`]. A record that cannot be read
//! is set aside under `replaced/`, and the data that it may have spoken for stay; one of a newer version is never touched.

use crate::catalog::audit::fix::{Fix, JudgedPending};
use crate::catalog::delete::complete::delete_complete;
use crate::catalog::format::image_id::ImageId;
use crate::catalog::format::keys::{Attempt, Folder};
use crate::catalog::format::parse::parse_pending;
use crate::catalog::format::record::{Closing, ImageState, Pending, Writer};
use crate::catalog::lsu::Lsu;
use crate::catalog::records::{PendingEntry, Pendings};
use crate::catalog::remove::{
    ask_for_locks, has_hidden_data, is_hidden, is_needed, needs_meta, remove_attempt, remove_key, remove_record,
};
use crate::catalog::write::lease::Record;
use crate::catalog::write::recover::{There, what_is_there};
use crate::error::{Found, Kind, Result};
use crate::objstore::s3::multipart::UploadRef;

/// What became of one finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removed {
    Yes,
    /// It was gone, or has an owner now.
    NotNeeded,
    /// Why it stays, and what to do.
    Kept(&'static str),
}

const NEEDED: Removed =
    Removed::Kept("the image's sidecar, or a version of it, may need it: run `vastost-s3 undelete` or `repair` first");
const CONTRADICTED: Removed =
    Removed::Kept("what is on the store is not what its record says: try again later; `vastost-s3 rm` gives it up");
const TOO_LARGE: Removed =
    Removed::Kept("there is nothing in it, or more than any record has: move the object away with an S3 tool");
const YOUNG: Removed = Removed::Kept("it is younger than it was listed to be: the store's times contradict each other");
const COMPLETABLE: Removed = Removed::Kept("all parts of the image are there: `vastost-s3 repair` completes it");

/// What [`remove`] would do, in words; None for what is no orphan, and for data without a record unless they are asked
/// for: a sidecar that was lost leaves the same picture, and the data may be the only copy of a backup.
pub fn plan(fix: &Fix, orphan_data: bool) -> Option<&'static str> {
    match fix {
        Fix::OrphanData { .. } => orphan_data.then_some("remove the data object"),
        Fix::OrphanObject { .. } => Some("remove the object"),
        Fix::OrphanUpload { .. } => Some("abort the upload"),
        Fix::Pending(judged) if judged.is_there => None,
        Fix::Pending(_) => Some("remove the pending image: its upload, its data and its record"),
        Fix::BadPending { may_be_whole: true, .. } if !orphan_data => None,
        Fix::BadPending { .. } => Some("set the pending record that cannot be read aside, and abort its upload"),
        Fix::FinishDelete(_) => Some("finish the delete"),
        Fix::Rebuild(_) | Fix::NewEtag(_) => None,
    }
}

/// Removes one orphan that has not been changed for `grace_seconds`.
pub async fn remove(lsu: &Lsu, fix: &Fix, grace_seconds: u64) -> Result<Removed> {
    let dated = match fix {
        Fix::OrphanData { key, .. } | Fix::OrphanObject { key } | Fix::BadPending { key, .. } => Some(key),
        Fix::Pending(judged) => Some(&judged.key),
        _ => None,
    };
    if let Some(key) = dated
        && !is_grown(lsu, key, grace_seconds).await?
    {
        return Ok(YOUNG);
    }
    match fix {
        Fix::OrphanData { id, key } => remove_data(lsu, id, key).await,
        Fix::OrphanObject { key } => remove_object(lsu, key).await,
        Fix::OrphanUpload { key, upload } => {
            let begun = lsu
                .uploads_to(key)
                .await?
                .into_iter()
                .find(|listed| listed.id == *upload);
            let Some(begun) = begun else {
                return Ok(Removed::NotNeeded);
            };
            // Times come in whole seconds, and of several clocks the earliest counts.
            let age = lsu.now().await?.checked_sub(begun.initiated);
            if grace_seconds > 0 && age.is_none_or(|age| age < grace_seconds) {
                return Ok(YOUNG);
            }
            if let Some((id, attempt)) = lsu.keys().parse(Folder::Data, key) {
                let now = lsu.now().await?;
                let pendings = lsu.pendings(&id).await?;
                // A record that a close has kept speaks for no writer, and its upload is the image.
                let of_writer = |entry: &PendingEntry| {
                    let named = entry.pending.upload_id.as_ref() == Some(upload);
                    let closing = entry.pending.closing == Some(Closing::Complete);
                    Some(&entry.pending.attempt) == attempt.as_ref() && (named || closing || entry.is_held(now))
                };
                if pendings.iter().any(of_writer) {
                    return Ok(Removed::NotNeeded);
                }
            }
            lsu.store()
                .abort_upload(UploadRef {
                    bucket: lsu.bucket(),
                    key,
                    id: upload,
                })
                .await
                .map(|()| Removed::Yes)
        }
        Fix::Pending(judged) => remove_pending(lsu, judged).await,
        Fix::BadPending { id, attempt, key, .. } => set_aside(lsu, id, attempt, key).await,
        Fix::FinishDelete(id) => finish_delete(lsu, id).await,
        Fix::Rebuild(_) | Fix::NewEtag(_) => Ok(Removed::NotNeeded),
    }
}

/// One time that was told wrongly voids no grace period: the object itself is asked once more.
async fn is_grown(lsu: &Lsu, key: &str, grace_seconds: u64) -> Result<bool> {
    if grace_seconds == 0 {
        return Ok(true);
    }
    let Some(object) = lsu.store().head(lsu.bucket(), key).await.if_found()? else {
        return Ok(true);
    };
    if object.modified == 0 {
        // Without a date it would be as old as can be.
        return Ok(false);
    }
    Ok(lsu
        .now()
        .await?
        .checked_sub(object.modified)
        .is_some_and(|age| age >= grace_seconds))
}

async fn remove_data(lsu: &Lsu, id: &ImageId, key: &str) -> Result<Removed> {
    if is_needed(lsu, id, key).await? {
        return Ok(NEEDED);
    }
    // Somebody may have begun to go on with the image since it was found.
    let Pendings { entries, unreadable } = lsu.all_pendings(id).await?;
    if !unreadable.is_empty() || entries.iter().any(|entry| entry.pending.key == *key) {
        return Ok(Removed::NotNeeded);
    }
    ask_for_locks(lsu, key).await?;
    remove_key(lsu, key).await?;
    // Metadata are kept as long as there are data that they may belong to.
    for meta in lsu.metas(id).await? {
        remove_object(lsu, &meta).await?;
    }
    Ok(Removed::Yes)
}

/// A pending record that cannot be read says nothing of its data: they stay, as data without a record, which `repair`
/// gives a sidecar.
async fn set_aside(lsu: &Lsu, id: &ImageId, attempt: &Attempt, key: &str) -> Result<Removed> {
    let Some(bytes) = lsu.record_of_any_size(key).await? else {
        return Ok(Removed::NotNeeded);
    };
    match parse_pending(lsu.keys(), id, attempt, &bytes) {
        Ok(_) => return Ok(Removed::NotNeeded),
        Err(error) if error.kind() == Kind::Unsupported => return Err(error),
        Err(_) if bytes.is_empty() => return Ok(TOO_LARGE),
        Err(_) => {}
    }
    lsu.put_record(&lsu.keys().replaced(id, attempt), bytes, false).await?;
    // A record that cannot be read does not tell the upload's id.
    let data = lsu.keys().data(id, attempt);
    for upload in lsu.uploads_to(&data).await? {
        lsu.store().abort_upload(upload.in_bucket(lsu.bucket())).await?;
    }
    remove_record(lsu, key).await?;
    Ok(Removed::Yes)
}

/// Removes an attempt unless somebody took it over since it was judged, or builds on it.
async fn remove_pending(lsu: &Lsu, judged: &JudgedPending) -> Result<Removed> {
    // What stays is not taken, which would make it ours and new. Whoever comes in between is seen below.
    let there = lsu
        .pendings(&judged.id)
        .await?
        .into_iter()
        .find(|entry| entry.key == judged.key);
    if let Some(entry) = there
        && let Some(kept) = why_kept(lsu, &entry.pending).await?
    {
        return Ok(kept);
    }
    let Some((mut record, entry)) = take_judged(lsu, judged).await? else {
        return Ok(Removed::NotNeeded);
    };
    let id = &entry.pending.image.id;
    let pending = &entry.pending;

    if lsu
        .sidecar(id)
        .await
        .is_ok_and(|found| found.is_some_and(|(sidecar, _)| sidecar.content.data.key == pending.key))
    {
        // The image is complete: only the record of its writing was left.
        remove_record(lsu, &entry.key).await?;
        return Ok(Removed::Yes);
    }
    let stays = match stays_after_all(lsu, &entry, record.as_mut()).await {
        Ok(None) => return remove_attempt(lsu, &entry.key, pending).await.map(|()| Removed::Yes),
        Ok(Some(why)) => Ok(why),
        Err(error) => Err(error),
    };
    // Nothing was removed: whoever wants the attempt need not wait for us.
    if let Some(record) = &mut record {
        record.give_back(pending).await;
    }
    stays
}

/// What speaks for an attempt once its record is ours; None when it may go.
async fn stays_after_all(lsu: &Lsu, entry: &PendingEntry, record: Option<&mut Record>) -> Result<Option<Removed>> {
    let id = &entry.pending.image.id;
    let pending = &entry.pending;
    if let Some(kept) = why_kept(lsu, pending).await? {
        return Ok(Some(kept));
    }
    // Somebody who goes on with the image has put the record after us.
    if let Some(record) = record {
        match record
            .confirm(&Pending {
                writer: Writer::this(),
                ..pending.clone()
            })
            .await
        {
            Err(error) if error.kind() == Kind::Busy => return Ok(Some(Removed::NotNeeded)),
            other => other?,
        }
        // Who goes on with what was closed incomplete puts a record of its own, and then looks for the one that it builds on:
        // one of the two sees the other.
        let now = lsu.now().await?;
        if lsu
            .pendings(id)
            .await?
            .iter()
            .any(|other| other.key != entry.key && other.is_held_by_another(now))
        {
            return Ok(Some(Removed::NotNeeded));
        }
    }

    Ok(None)
}

/// Why an attempt must stay; None for what is left of the writing of an image that is complete.
async fn why_kept(lsu: &Lsu, pending: &Pending) -> Result<Option<Removed>> {
    let id = &pending.image.id;
    let complete = lsu.sidecar(id).await.ok().flatten();
    let is_complete = complete
        .as_ref()
        .is_some_and(|(sidecar, _)| sidecar.state == ImageState::Complete);
    if complete.is_some_and(|(sidecar, _)| sidecar.content.data.key == pending.key) {
        return Ok(None);
    }
    if is_needed(lsu, id, &pending.key).await? {
        return Ok(Some(NEEDED));
    }
    // Beside another attempt's sidecar it will never be the image.
    if pending.closing != Some(Closing::Complete) || is_complete {
        return Ok(None);
    }
    Ok(match what_is_there(lsu, pending).await? {
        There::All => Some(COMPLETABLE),
        There::Some => Some(CONTRADICTED),
        There::Nothing => None,
    })
}

/// Makes an attempt ours, if it still is what was judged and no living writer has the image: one that goes on with an
/// image copies what an earlier attempt left, so that must stay too. Gives the attempt as it was before, and no record of
/// ours where the store has no space for one.
pub(in crate::catalog) async fn take_judged(
    lsu: &Lsu,
    judged: &JudgedPending,
) -> Result<Option<(Option<Record>, PendingEntry)>> {
    let now = lsu.now().await?;
    let entries = lsu.pendings(&judged.id).await?;
    if entries.iter().any(|entry| entry.is_held_by_another(now)) {
        return Ok(None);
    }
    let same = |entry: &PendingEntry| entry.key == judged.key && entry.etag == judged.etag;
    let Some(entry) = entries.into_iter().find(same) else {
        return Ok(None);
    };
    match Record::take(&entry, lsu).await {
        Ok((record, _)) => Ok(Some((Some(record), entry))),
        Err(error) if error.kind() == Kind::Busy => Ok(None),
        Err(error) if error.kind() == Kind::NoSpace => {
            // Nobody else could put it either; what is there must be what was judged.
            let there = lsu.store().head(lsu.bucket(), &entry.key).await.if_found()?;
            Ok(there.filter(|object| object.etag == entry.etag).map(|_| (None, entry)))
        }
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
        let Pendings { entries, unreadable } = lsu.all_pendings(&id).await?;
        let named = !unreadable.is_empty()
            || entries
                .iter()
                .any(|entry| Some(&entry.pending.attempt) == attempt.as_ref());
        let kept = match lsu.sidecar(&id).await {
            Ok(Some((sidecar, _))) => needs_meta(lsu, &sidecar, key).await?,
            // Delete markers hide what `undelete` brings back.
            Ok(None) => is_hidden(lsu, &lsu.keys().sidecar(&id)).await? || has_hidden_data(lsu, &id).await?,
            // Whether it names them cannot be told.
            Err(error) if matches!(error.kind(), Kind::Corrupt | Kind::Unsupported) => true,
            Err(error) => return Err(error),
        };
        if named || kept {
            return Ok(Removed::NotNeeded);
        }
    } else if !lsu.keys().is_probe(key) {
        return Ok(Removed::NotNeeded);
    }

    remove_key(lsu, key).await.map(|()| Removed::Yes)
}
