//! A complete image is removed, or what an interrupted delete left of one.
//!
//! Locks, mark, data, metadata, sidecar: each step may be taken again. A refusal before anything was removed leaves the
//! image as it was.

use super::mark::{locks_what_is_put, mark, put_back, take_back};
use crate::catalog::format::image_id::ImageId;
use crate::catalog::format::keys::Folder;
use crate::catalog::format::record::{ImageState, Sidecar};
use crate::catalog::lsu::Lsu;
use crate::catalog::meta::Meta;
use crate::catalog::remove::{
    OwnSidecar, ask_for_locks, is_refusal, keys_with_hidden, remove_key, remove_record, remove_record_for_good,
    remove_versions, versions,
};
use crate::error::{Error, Found, Kind, Result};
use crate::objstore::s3::versions::Versioning;

/// What has become of a sidecar since it was read.
enum Still {
    Here,
    /// Another delete has finished, as some questions and a listing say.
    Gone,
}

/// Removes a complete image, or what an interrupted delete left of one: that which `sidecar` describes and no other.
pub(in crate::catalog) async fn delete_complete(lsu: &Lsu, sidecar: &Sidecar, bytes: &[u8]) -> Result<()> {
    // A delete that was interrupted may have removed something.
    let mut began = sidecar.state == ImageState::Deleting;
    match try_delete_complete(lsu, sidecar, bytes, &mut began).await {
        Err(error) if is_refusal(&error) => Err(take_back(lsu, &sidecar.image.id, began, error).await),
        other => other,
    }
}

async fn try_delete_complete(lsu: &Lsu, sidecar: &Sidecar, bytes: &[u8], began: &mut bool) -> Result<()> {
    let key = lsu.keys().sidecar(&sidecar.image.id);
    let data = &sidecar.content.data.key;
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

/// Asked just before the sidecar is overwritten by its mark, or removed: this process may have been silent since it was
/// read, and the image may have been deleted and written again meanwhile.
async fn still_there(lsu: &Lsu, sidecar: &Sidecar, bytes: &[u8]) -> Result<Still> {
    let id = &sidecar.image.id;
    let key = lsu.keys().sidecar(&sidecar.image.id);
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

/// What an earlier image of the same name and date has left below delete markers: its older records go with the
/// sidecar, and nothing would ever name it again. What the store locks stays.
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
