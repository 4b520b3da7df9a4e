//! Removing an image in steps that can be taken again at any point.

use serde_json::Value;

use super::backup::remove_attempt;
use super::image_id::ImageDef;
use super::lsu::{Lsu, PendingEntry};
use super::meta::Meta;
use super::record::{ImageState, Sidecar, Writer, rewrite};
use crate::error::{Error, Kind, Result};

/// Removes the image that answers to `def`, complete or pending; finishes a delete that was interrupted.
pub async fn delete(lsu: &Lsu, def: &ImageDef) -> Result<()> {
    let (sidecar, mut pendings) = lsu.records(&def.id).await?;
    if sidecar.is_some() {
        pendings = lsu.pendings(&def.id).await?;
    }
    let is_ours = match (&sidecar, pendings.first()) {
        (Some((sidecar, _)), _) => sidecar.image.answers_to(def),
        (None, Some(entry)) => entry.pending.image.answers_to(def),
        (None, None) => false,
    };
    if !is_ours {
        return Err(lsu.not_found(&def.id));
    }
    if let Some(held) = lsu.held_by_another(&pendings).await? {
        let Writer { host, pid, .. } = &held.pending.writer;
        return Err(Error::new(Kind::Busy, format!("image {} is being written by {host}:{pid}", def.id)));
    }
    if let Some((sidecar, bytes)) = sidecar {
        delete_complete(lsu, &sidecar, &bytes).await?;
    }
    for PendingEntry { key, pending, .. } in &pendings {
        remove_attempt(lsu, key, pending).await?;
    }
    // A writer elsewhere may have completed the image while its data were being removed: see `backup::confirm_data`.
    if !pendings.is_empty()
        && let Some((sidecar, bytes)) = lsu.sidecar(&def.id).await?
    {
        delete_complete(lsu, &sidecar, &bytes).await?;
    }
    Ok(())
}

/// Removes a complete image, or what an interrupted delete left of one: that which `sidecar` describes and no other.
pub(super) async fn delete_complete(lsu: &Lsu, sidecar: &Sidecar, bytes: &[u8]) -> Result<()> {
    let (store, bucket, key) = (lsu.store(), lsu.bucket(), lsu.keys().sidecar(&sidecar.image.id));
    if sidecar.state != ImageState::Deleting {
        let marked = rewrite(&key, bytes, [("state", Some(Value::from("deleting")))])?;
        lsu.put_record(&key, marked, false).await?;
        lsu.count_out(sidecar.content.data.size).await;
    }
    let data = &sidecar.content.data;
    store.delete(bucket, &data.key, data.version_id.as_deref()).await?;
    if let Some(Meta::Object { key, .. }) = &sidecar.meta {
        store.delete(bucket, key, None).await?;
    }
    store.delete(bucket, &key, None).await
}
