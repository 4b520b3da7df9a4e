//! One upload: nobody's, where no pending record of its attempt holds it.

use crate::catalog::audit::fix::Fix;
use crate::catalog::audit::read::head;
use crate::catalog::audit::report::Class;
use crate::catalog::audit::{Found, Scope};
use crate::catalog::format::image_id::ImageId;
use crate::catalog::format::keys::Attempt;
use crate::catalog::format::parse::parse_pending;
use crate::catalog::records::PendingEntry;
use crate::error::Result;
use crate::objstore::s3::multipart::ListedUpload;

pub(super) async fn judge_upload(
    scope: &Scope,
    id: &ImageId,
    attempt: &Attempt,
    upload: &ListedUpload,
) -> Result<Option<Found>> {
    let lsu = &scope.lsu;
    let key = scope.lsu.keys().pending(id, attempt);

    // Its record is judged by itself; a begin that was repeated may have left a second upload beside it.
    if let Some(bytes) = lsu.record(&key).await? {
        let parsed = parse_pending(lsu.keys(), id, attempt, &bytes).ok();
        let other = parsed.filter(|pending| pending.upload_id.as_ref() != Some(&upload.id));
        let object = head(scope, &key).await?;
        let entry = other.zip(object).map(|(pending, object)| PendingEntry {
            key: key.clone(),
            modified: object.modified,
            etag: object.etag,
            pending,
        });
        if entry.is_none_or(|entry| entry.is_held(scope.now())) {
            return Ok(None);
        }
    }

    orphan_upload(scope, Some(id), upload, "that no pending record names").await
}

/// An upload that was seen before what could own it: completed or aborted meanwhile, it is gone, although a node that
/// was away may still list it.
pub(super) async fn orphan_upload(
    scope: &Scope,
    id: Option<&ImageId>,
    upload: &ListedUpload,
    why: &str,
) -> Result<Option<Found>> {
    let lsu = &scope.lsu;
    if lsu.store().list_parts(upload.in_bucket(lsu.bucket())).await?.is_none() {
        return Ok(None);
    }

    let found = format!("upload {} {why}", upload.id);
    let found = scope.found(Class::OrphanUpload, id, Some(&upload.key), "no upload", found);

    Ok(Some(found.with(Fix::OrphanUpload {
        key: upload.key.clone(),
        upload: upload.id.clone(),
    })))
}
