//! The mark that an image is being deleted: put before anything goes, taken back when the store refuses.
//!
//! An image that is marked is gone for whoever asks, and complete again without the mark. Of a store that takes no
//! mark, the sidecar itself goes and is put back.

use bytes::Bytes;
use serde_json::Value;

use crate::catalog::format::image_id::ImageId;
use crate::catalog::format::record::{ImageState, Sidecar, rewrite};
use crate::catalog::lsu::Lsu;
use crate::catalog::remove::is_hidden;
use crate::catalog::write::commit::confirm_data;
use crate::error::{Error, Found, Kind, Result};
use crate::objstore::s3::bucket_rules::Locking;
use crate::objstore::s3::versions::Versioning;

/// Step 1: from now on the image is gone. False where the store takes no more records, for lack of space or of the
/// right.
pub(super) async fn mark(lsu: &Lsu, sidecar: &Sidecar, bytes: &[u8], key: &str) -> Result<bool> {
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

/// True when the bucket has a default retention. Keys that may not ask find out by the mark itself.
pub(super) async fn locks_what_is_put(lsu: &Lsu) -> Result<bool> {
    if lsu.versioning().await? == Versioning::Off {
        return Ok(false);
    }
    Ok(matches!(
        lsu.store().locking(lsu.bucket()).await,
        Ok(Locking::ByDefault(_))
    ))
}

/// After a refusal: an image that is marked is as before when nothing was removed, and when its data are whole.
pub(super) async fn take_back(lsu: &Lsu, id: &ImageId, began: bool, error: Error) -> Error {
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

/// Makes an image that is marked as deleted complete again; false when it is not marked, or its data are not whole.
/// Where nothing was removed (`untouched`) what is left of damaged data is enough.
pub(in crate::catalog) async fn unmark(lsu: &Lsu, id: &ImageId, untouched: bool) -> Result<bool> {
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
        confirm_data(lsu, &sidecar).await?;
    }

    lsu.count_in(data.size).await;
    Ok(true)
}

/// After the sidecar, which could not be marked, the data could not be removed: it is put back as it was, unless the
/// data went all the same, or another image has come to its place.
pub(super) async fn put_back(lsu: &Lsu, sidecar: &Sidecar, bytes: &[u8], key: &str, error: Error) -> Error {
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
