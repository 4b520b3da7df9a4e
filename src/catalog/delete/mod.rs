//! Removing an image in steps that can be taken again at any point.
//!
//! | file | what it is |
//! |---|---|
//! | [`mark`] | the mark that an image is being deleted: put, and taken back after a refusal |
//! | `complete` | a complete image removed, in the order that the page of [`crate::catalog`] has |
//! | `unreadable` | an image removed whose records cannot be read |
//!
//! The store is asked for locks before anything is changed. What it refuses all the same, after the image was marked,
//! is taken back: the mark goes, and the image is complete again. A store without space for the mark loses the sidecar
//! first and the data next; data never go before the sidecar is marked or gone.

pub(in crate::catalog) mod mark;
pub(in crate::catalog) mod complete;
mod unreadable;

use bytes::Bytes;

use self::complete::delete_complete;
use self::unreadable::{delete_unreadable, remove_unreadable};
use super::format::escape::Name;
use super::format::image_id::{ImageDef, ImageId};
use super::format::record::{Sidecar, Writer};
use super::history::last_sidecar;
use super::lsu::Lsu;
use super::records::{PendingEntry, Pendings};
use super::remove::{OwnSidecar, ask_for_locks, remove_attempt, remove_versions};
use crate::error::{Error, Kind, Result};

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
        return Err(not_ours(lsu, id, unreadable));
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

/// No such image, or why nobody can tell.
fn not_ours(lsu: &Lsu, id: &ImageId, unreadable: Vec<(String, Error)>) -> Error {
    match unreadable.into_iter().next() {
        None => lsu.not_found(id),
        Some((_, error)) => error.context(format!(
            "delete image {id}: `vastost-s3 verify` says how to set such a record aside"
        )),
    }
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

/// Of an image that somebody deleted past the plug-in while the record of its writing was left: asked for by name, it
/// goes with its hidden sidecar first, which would keep the data. A sidecar of another attempt than these stays: that
/// image can come back.
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
