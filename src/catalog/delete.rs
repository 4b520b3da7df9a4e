//! Removing an image in steps that can be taken again at any point.
//!
//! The store is asked for locks before anything is changed. What it refuses all the same, after the image was marked, is
//! taken back: the mark goes, and the image is complete again. A store without space for the mark loses the sidecar first
//! and the data next; data never go before the sidecar is marked or gone.

use bytes::Bytes;
use serde_json::Value;

use super::format::escape::Name;
use super::format::image_id::{ImageDef, ImageId};
use super::format::keys::{Attempt, Folder};
use super::format::parse::parse_sidecar;
use super::format::record::{ImageState, Sidecar, Writer, rewrite};
use super::history::last_sidecar;
use super::lsu::{Lsu, PendingEntry, Pendings};
use super::meta::Meta;
use super::remove::{
    OwnSidecar, ask_for_locks, has_hidden_data, is_hidden, is_refusal, keys_with_hidden, remove_attempt, remove_key,
    remove_record, remove_record_for_good, remove_versions, versions,
};
use crate::error::{Error, Found, Kind, Result};
use crate::objstore::s3::bucket_rules::Locking;
use crate::objstore::s3::versions::Versioning;

/// Removes the image that answers to `def`, complete or pending; finishes a delete that was interrupted.
pub async fn delete(lsu: &Lsu, def: &ImageDef) -> Result<()> {
    let id = &def.id;
    let sidecar = match lsu.sidecar(id).await {
        Err(error) if error.kind() == Kind::Corrupt => return delete_unreadable(lsu, id, error).await,
        other => other?,
    };
    let Pendings {
        entries: pendings,
        unreadable,
    } = lsu.all_pendings(id).await?;
    // A writer that completed the image between the two looks has put its sidecar.
    let sidecar = if sidecar.is_none() {
        lsu.sidecar(id).await?
    } else {
        sidecar
    };
    let is_ours = match (&sidecar, pendings.first()) {
        (Some((sidecar, _)), _) => sidecar.image.answers_to(def),
        (None, Some(entry)) => entry.pending.image.answers_to(def),
        (None, None) => false,
    };
    if !is_ours {
        let unread = unreadable.into_iter().next().map(|(_, error)| error);
        return Err(unread.map_or_else(
            || lsu.not_found(id),
            |error| {
                error.context(format!(
                    "delete image {id}: `vastost-s3 verify` says how to set such a record aside"
                ))
            },
        ));
    }
    if let Some(held) = lsu.held_by_another(&pendings).await? {
        let Writer { host, pid, .. } = &held.pending.writer;
        return Err(Error::new(
            Kind::Busy,
            format!("image {id} is being written by {host}:{pid}"),
        ));
    }
    for PendingEntry { pending, .. } in &pendings {
        ask_for_locks(lsu, &pending.key).await?;
    }
    match sidecar {
        Some((sidecar, bytes)) => delete_complete(lsu, &sidecar, &bytes).await?,
        None => remove_hidden_sidecar(lsu, id, &pendings).await?,
    }
    for PendingEntry { key, pending, .. } in &pendings {
        remove_attempt(lsu, key, pending).await?;
    }
    // A writer elsewhere may have completed the image while its data were being removed: see `backup::confirm_data`. A
    // sidecar that names other data is a successor's, and was not asked for.
    if !pendings.is_empty()
        && let Some((sidecar, bytes)) = lsu.sidecar(id).await?
        && pendings
            .iter()
            .any(|entry| entry.pending.key == sidecar.content.data.key)
    {
        delete_complete(lsu, &sidecar, &bytes).await?;
    }
    Ok(())
}

/// Of an image that somebody deleted past the plug-in while the record of its writing was left: asked for by name, it goes with
/// its hidden sidecar first, which would keep the data. A sidecar of another attempt than these stays: that image can come back.
async fn remove_hidden_sidecar(lsu: &Lsu, id: &ImageId, pendings: &[PendingEntry]) -> Result<()> {
    if pendings.is_empty() {
        return Ok(());
    }
    let of_these = |(sidecar, _): &(Sidecar, Bytes)| {
        pendings
            .iter()
            .any(|entry| entry.pending.key == sidecar.content.data.key)
    };
    let Some((hidden, _)) = last_sidecar(lsu, id).await?.filter(of_these) else {
        return Ok(());
    };
    let key = lsu.keys().sidecar(id);
    ask_for_locks(lsu, &key).await?;
    remove_versions(lsu, &key, Some(OwnSidecar::of(&hidden)), &mut false)
        .await
        .map(drop)
}

/// Removes a complete image, or what an interrupted delete left of one: that which `sidecar` describes and no other.
pub(super) async fn delete_complete(lsu: &Lsu, sidecar: &Sidecar, bytes: &[u8]) -> Result<()> {
    // A delete that was interrupted may have removed something.
    let mut began = sidecar.state == ImageState::Deleting;
    match try_delete_complete(lsu, sidecar, bytes, &mut began).await {
        Err(error) if is_refusal(&error) => Err(take_back(lsu, &sidecar.image.id, began, error).await),
        other => other,
    }
}

async fn try_delete_complete(lsu: &Lsu, sidecar: &Sidecar, bytes: &[u8], began: &mut bool) -> Result<()> {
    let (key, data) = (lsu.keys().sidecar(&sidecar.image.id), &sidecar.content.data.key);
    let meta = match &sidecar.meta {
        Some(Meta::Object { key, .. }) => Some(key),
        _ => None,
    };
    for asked in [Some(data), meta, Some(&key)].into_iter().flatten() {
        ask_for_locks(lsu, asked).await?;
    }
    let mut marked = sidecar.state == ImageState::Deleting;
    if !marked {
        // A mark that the bucket itself locks could not be removed again.
        let may_mark = !locks_what_is_put(lsu).await?;
        match still_there(lsu, sidecar, bytes).await? {
            Still::Here => marked = may_mark && mark(lsu, sidecar, bytes, &key).await?,
            Still::Gone => return Ok(()),
        }
    }
    if marked && lsu.versioning().await? != Versioning::Off {
        ask_for_locks(lsu, &key).await?;
    }
    if !marked {
        // A crash from here on leaves whole data without a sidecar, which `repair` brings back.
        if let Err(error) = remove_versions(lsu, &key, Some(OwnSidecar::of(sidecar)), began).await {
            if !*began {
                return Err(error);
            }
            lsu.count_out(sidecar.content.data.size).await;
            return Err(put_back(lsu, sidecar, bytes, &key, error).await);
        }
        lsu.count_out(sidecar.content.data.size).await;
        if let Err(error) = remove_key(lsu, data).await {
            return Err(put_back(lsu, sidecar, bytes, &key, error).await);
        }
    } else {
        remove_versions(lsu, data, None, began).await?;
    }
    if let Some(meta) = meta {
        remove_record_for_good(lsu, meta).await?;
    }
    remove_hidden(lsu, &sidecar.image.id).await?;
    if marked {
        remove_versions(lsu, &key, Some(OwnSidecar::of(sidecar)), &mut true)
            .await
            .map(drop)
    } else {
        Ok(())
    }
}

/// What has become of a sidecar since it was read.
enum Still {
    Here,
    /// Another delete has finished, as some questions and a listing say.
    Gone,
}

/// Asked just before the sidecar is overwritten by its mark, or removed: this process may have been silent since it was read,
/// and the image may have been deleted and written again meanwhile.
async fn still_there(lsu: &Lsu, sidecar: &Sidecar, bytes: &[u8]) -> Result<Still> {
    let (id, key) = (&sidecar.image.id, lsu.keys().sidecar(&sidecar.image.id));
    match lsu.record(&key).await? {
        Some(now) if now == bytes => Ok(Still::Here),
        None if lsu.store().head_fresh(lsu.bucket(), &key).await.if_found()?.is_none() => Ok(Still::Gone),
        _ => {
            let what =
                format!("delete image {id}: its sidecar was changed meanwhile; nothing was changed here: try again");
            Err(Error::new(Kind::Busy, what))
        }
    }
}

/// What an earlier image of the same name and date has left below delete markers: its older records go with the sidecar, and
/// nothing would ever name it again. What the store locks stays.
async fn remove_hidden(lsu: &Lsu, id: &ImageId) -> Result<()> {
    if lsu.versioning().await? == Versioning::Off {
        return Ok(());
    }
    for folder in [Folder::Data, Folder::Meta] {
        for key in keys_with_hidden(lsu, folder, id).await? {
            let attempt = lsu.keys().parse(folder, &key).and_then(|(_, attempt)| attempt);
            let Some(pending) = attempt.map(|attempt| lsu.keys().pending(id, &attempt)) else {
                continue;
            };
            let is_there = async |key: &str| Ok(lsu.store().head(lsu.bucket(), key).await.if_found()?.is_some());
            // A marker is the latest of its versions: nothing less says that it is hidden.
            let hidden = match versions(lsu, &key).await {
                Err(error) if error.kind() == Kind::AccessDenied => false,
                other => other?.is_some_and(|all| all.last().is_some_and(|last| last.is_marker)),
            };
            if hidden && !is_there(&key).await? && !is_there(&pending).await? {
                remove_record(lsu, &key).await?;
            }
        }
    }
    Ok(())
}

/// After the sidecar, which could not be marked, the data could not be removed: it is put back as it was, unless the data
/// went all the same, or another image has come to its place.
async fn put_back(lsu: &Lsu, sidecar: &Sidecar, bytes: &[u8], key: &str, error: Error) -> Error {
    let id = &sidecar.image.id;
    let back = async {
        let there = is_there_or_hidden(lsu, &sidecar.content.data.key).await?;
        if there {
            match lsu.sidecar(id).await? {
                None => {
                    let only_new = lsu.store().known(lsu.bucket()).conditional_put;
                    lsu.put_record(key, Bytes::copy_from_slice(bytes), only_new).await?;
                }
                // It never went.
                Some((now, _)) if now.content.data.key == sidecar.content.data.key => {}
                Some(_) => return Err(Error::new(Kind::Busy, "another image of its name has come meanwhile")),
            }
            lsu.count_in(sidecar.content.data.size).await;
        }
        Ok(there)
    };
    match back.await {
        Ok(true) => error.context(format!("delete image {id}: refused, and its sidecar is put back")),
        Ok(false) => error.context(format!("delete image {id}")),
        Err::<_, Error>(left) => {
            tracing::warn!("put {key} back: {left}");
            error.context(format!(
                "delete image {id}: its sidecar is gone and its data are not; `vastost-s3 repair` brings it back"
            ))
        }
    }
}

/// True when an object is there, or a delete marker hides one.
async fn is_there_or_hidden(lsu: &Lsu, key: &str) -> Result<bool> {
    let there = lsu.store().head_fresh(lsu.bucket(), key).await.if_found()?;
    Ok(there.is_some() || is_hidden(lsu, key).await?)
}

/// True when the bucket has a default retention. Keys that may not ask find out by the mark itself.
async fn locks_what_is_put(lsu: &Lsu) -> Result<bool> {
    if lsu.versioning().await? == Versioning::Off {
        return Ok(false);
    }
    Ok(matches!(
        lsu.store().locking(lsu.bucket()).await,
        Ok(Locking::ByDefault(_))
    ))
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

/// After a refusal: an image that is marked is as before when nothing was removed, and when its data are whole.
async fn take_back(lsu: &Lsu, id: &ImageId, began: bool, error: Error) -> Error {
    match unmark(lsu, id, !began).await {
        Ok(true) => error.context(format!(
            "delete image {id}: refused, and the image is complete as before"
        )),
        Ok(false) => error.context(format!("delete image {id}")),
        Err(left) => {
            tracing::warn!("take back the mark of image {id}: {left}");
            error.context(format!(
                "delete image {id}: it stays marked as deleted; `vastost-s3 undelete` brings it back"
            ))
        }
    }
}

/// Makes an image that is marked as deleted complete again; false when it is not marked, or its data are not whole. Where
/// nothing was removed (`untouched`) what is left of damaged data is enough.
pub(super) async fn unmark(lsu: &Lsu, id: &ImageId, untouched: bool) -> Result<bool> {
    let Some((sidecar, bytes)) = lsu.sidecar(id).await? else {
        return Ok(false);
    };
    let data = &sidecar.content.data;
    let there = lsu.store().head(lsu.bucket(), &data.key).await.if_found()?;
    let is_whole = there.as_ref().is_some_and(|object| object.size == data.size);
    // An answer that was lost may have been a success: what is not there at all was removed.
    let is_as_before = untouched && is_there_or_hidden(lsu, &data.key).await?;
    if sidecar.state != ImageState::Deleting || !(is_whole || is_as_before) {
        return Ok(false);
    }
    let again = rewrite(&sidecar, &bytes, [("state", Some(Value::from("complete")))])?;
    lsu.put_record(&lsu.keys().sidecar(id), again, false).await?;
    if is_whole {
        super::write::backup::confirm_data(lsu, &sidecar).await?;
    }
    lsu.count_in(data.size).await;
    Ok(true)
}

/// An image whose sidecar cannot be read goes once its data are gone: then there is nothing that the record could still be
/// needed for. It is kept under `replaced/`.
async fn delete_unreadable(lsu: &Lsu, id: &ImageId, error: Error) -> Result<()> {
    let way_out = if lsu.has_data(id).await? {
        "its data are there; run `vastost-s3 repair` first, or `vastost-s3 rm --unreadable`"
    } else if has_hidden_data(lsu, id).await? {
        "its data are there as older versions; run `vastost-s3 undelete` first, or `vastost-s3 rm --unreadable`"
    } else {
        return remove_unreadable(lsu, id).await;
    };
    Err(error.context(format!("delete image {id}: {way_out}")))
}

/// Removes an image whose records cannot be read: every object at this image's own keys, whatever the records say. They
/// go first and are kept under `replaced/`. An image whose sidecar can be read is deleted as usual.
pub async fn force_delete(lsu: &Lsu, id: &ImageId) -> Result<()> {
    let unread = |(_, error): &(String, Error)| error.kind() == Kind::Corrupt;
    match lsu.sidecar(id).await {
        Err(error) if error.kind() == Kind::Corrupt => remove_unreadable(lsu, id).await,
        Ok(None) if lsu.all_pendings(id).await?.unreadable.iter().any(unread) => remove_unreadable(lsu, id).await,
        _ => {
            delete(
                lsu,
                &ImageDef {
                    id: id.clone(),
                    policy: Name::default(),
                    image_type: 0,
                },
            )
            .await
        }
    }
}

/// Keeps a record under `replaced/`; where the store has no space left, which a delete is to give, it goes.
async fn set_aside(lsu: &Lsu, id: &ImageId, bytes: Bytes) -> Result<()> {
    match lsu
        .put_record(&lsu.keys().replaced(id, &Attempt::new()), bytes, false)
        .await
    {
        Err(error) if error.kind() == Kind::NoSpace => {
            tracing::warn!("image {id}: its record could not be kept under replaced/: {error}");
            Ok(())
        }
        other => other.map(drop),
    }
}

async fn remove_unreadable(lsu: &Lsu, id: &ImageId) -> Result<()> {
    let Pendings { entries, unreadable } = lsu.all_pendings(id).await?;
    if lsu.held_by_another(&entries).await?.is_some() {
        return Err(Error::new(Kind::Busy, format!("image {id} is being written")));
    }
    let (later, unreadable): (Vec<_>, _) = unreadable
        .into_iter()
        .partition(|(_, error)| error.kind() == Kind::Unsupported);
    if let Some((_, error)) = later.into_iter().next() {
        return Err(error);
    }
    let (data, metas) = (
        keys_with_hidden(lsu, Folder::Data, id).await?,
        keys_with_hidden(lsu, Folder::Meta, id).await?,
    );
    let (records, key) = (lsu.keys_of(Folder::Pending, id).await?, lsu.keys().sidecar(id));
    for asked in data.iter().chain([&key]) {
        ask_for_locks(lsu, asked).await?;
    }
    // It was repaired meanwhile, or read wrongly before.
    let readable = || {
        let what =
            format!("delete image {id}: its sidecar can be read after all; its data are as they were: try again");
        Error::new(Kind::Busy, what)
    };
    if let Some(bytes) = lsu.record_of_any_size(&key).await? {
        if !parse_sidecar(lsu.keys(), id, &bytes).is_err_and(|error| error.kind() == Kind::Corrupt) {
            return Err(readable());
        }
        set_aside(lsu, id, bytes).await?;
        let own = OwnSidecar { id, data: None };
        if !remove_versions(lsu, &key, Some(own), &mut false).await? {
            return Err(readable());
        }
    }
    for (record, _) in &unreadable {
        if let Some(bytes) = lsu.record_of_any_size(record).await? {
            set_aside(lsu, id, bytes).await?;
        }
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
