//! An image whose records cannot be read is removed: each record is kept under `replaced/` before it goes.

use bytes::Bytes;

use crate::catalog::format::image_id::ImageId;
use crate::catalog::format::keys::{Attempt, Folder};
use crate::catalog::format::parse::parse_sidecar;
use crate::catalog::lsu::Lsu;
use crate::catalog::records::{PendingEntry, Pendings};
use crate::catalog::remove::{
    OwnSidecar, ask_for_locks, has_hidden_data, keys_with_hidden, remove_key, remove_versions,
};
use crate::error::{Error, Kind, Result};

/// An image whose sidecar cannot be read goes once its data are gone: then there is nothing that the record could still
/// be needed for. It is kept under `replaced/`.
pub(super) async fn delete_unreadable(lsu: &Lsu, id: &ImageId, error: Error) -> Result<()> {
    let way_out = if lsu.has_data(id).await? {
        "its data are there; run `vastost-s3 repair` first, or `vastost-s3 rm --unreadable`"
    } else if has_hidden_data(lsu, id).await? {
        "its data are there as older versions; run `vastost-s3 undelete` first, or `vastost-s3 rm --unreadable`"
    } else {
        return remove_unreadable(lsu, id).await;
    };
    Err(error.context(format!("delete image {id}: {way_out}")))
}

pub(super) async fn remove_unreadable(lsu: &Lsu, id: &ImageId) -> Result<()> {
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

    let data = keys_with_hidden(lsu, Folder::Data, id).await?;
    let metas = keys_with_hidden(lsu, Folder::Meta, id).await?;
    let records = lsu.keys_of(Folder::Pending, id).await?;
    let key = lsu.keys().sidecar(id);

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
        if let Some(upload) = pending.upload(lsu.bucket()) {
            lsu.store().abort_upload(upload).await?;
        }
    }

    for gone in data.iter().chain(&metas).chain(&records) {
        remove_key(lsu, gone).await?;
    }

    Ok(())
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
