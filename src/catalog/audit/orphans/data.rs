//! One data object that the sidecar of its image does not name, or one of image metadata.

use crate::catalog::audit::fix::Fix;
use crate::catalog::audit::orphans::evaluated::Evaluated;
use crate::catalog::audit::read::{Read, head, read_sidecar, read_sidecar_alone};
use crate::catalog::audit::report::Class;
use crate::catalog::audit::{Found, Scope};
use crate::catalog::format::image_id::ImageId;
use crate::catalog::format::keys::Attempt;
use crate::catalog::remove::{has_hidden_data, is_hidden, needs_meta};
use crate::error::Result;
use crate::objstore::s3::types::ListedObject;

/// A data object that the sidecar of its image does not name; seen before everything that is asked here. A writer's own
/// record comes before its data and goes after its sidecar, so that one which is younger than the grace period is named
/// too: it may be an image that has just lost its sidecar. Only nothing is done about it yet.
pub(in crate::catalog::audit) async fn judge_data(
    scope: &Scope,
    id: &ImageId,
    attempt: &Attempt,
    object: &ListedObject,
) -> Result<Option<Found>> {
    let found = judge_data_once(scope, id, attempt, object).await?;
    if found.is_none() || !scope.is_just_now(object.modified) {
        return Ok(found);
    }
    scope.wait_for_second_look().await;
    judge_data_once(scope, id, attempt, object).await
}

async fn judge_data_once(
    scope: &Scope,
    id: &ImageId,
    attempt: &Attempt,
    object: &ListedObject,
) -> Result<Option<Found>> {
    if has_pending(scope, id, attempt).await? {
        return Ok(None);
    }

    match read_sidecar(scope, id).await? {
        Read::Valid(sidecar) if sidecar.content.data.key == object.key => return Ok(None),
        // It may be the one that is meant: the sidecar must be mended first.
        Read::Invalid(_) | Read::Newer(_) => return Ok(None),
        Read::Valid(_) | Read::Gone => {}
    }

    let Some(now) = head(scope, &object.key).await? else {
        return Ok(None);
    };

    let found = format!("{} bytes that neither a sidecar nor a pending record names", now.size);
    let mut found = scope.found(
        Class::OrphanData,
        Some(id),
        Some(&object.key),
        "a record, or no object",
        found,
    );

    if !scope.is_old(object.modified) {
        found.finding.advice = "younger than the grace period, and left alone until then: if its sidecar was lost, \
                                `vastost-s3 undelete` brings it back, or `vastost-s3 repair --older-than 0s` rebuilds it"
            .into();
        return Ok(Some(found));
    }

    Ok(Some(found.with(Fix::OrphanData {
        id: id.clone(),
        key: object.key.clone(),
    })))
}

/// Metadata of a complete image are rewritten without a lease: the new object comes first, the sidecar that names it
/// next. One that is only just there is looked at again after a while.
pub(super) async fn judge_meta(
    scope: &Scope,
    id: &ImageId,
    attempt: &Attempt,
    object: &ListedObject,
) -> Result<Evaluated> {
    let judged = judge_meta_once(scope, id, attempt, object).await?;
    if judged.found.is_empty() || !scope.is_just_now(object.modified) {
        return Ok(judged);
    }
    scope.wait_for_second_look().await;
    judge_meta_once(scope, id, attempt, object).await
}

async fn judge_meta_once(scope: &Scope, id: &ImageId, attempt: &Attempt, object: &ListedObject) -> Result<Evaluated> {
    let mut judged = Evaluated::default();
    if !scope.is_old(object.modified) || has_pending(scope, id, attempt).await? {
        return Ok(judged);
    }

    match read_sidecar_alone(scope, id).await? {
        Read::Valid(sidecar) if needs_meta(&scope.lsu, &sidecar, &object.key).await? => return Ok(judged),
        Read::Valid(_) => {}
        Read::Invalid(_) | Read::Newer(_) => return Ok(judged),
        // They go with the data, which may have lost their sidecar only.
        // Delete markers may hide either.
        Read::Gone if has_hidden_data(&scope.lsu, id).await? => return Ok(judged),
        Read::Gone if is_hidden(&scope.lsu, &scope.lsu.keys().sidecar(id)).await? => return Ok(judged),
        Read::Gone => {}
    }

    if head(scope, &object.key).await?.is_some() {
        let found = "image metadata that no sidecar names";
        let found = scope.found(
            Class::OrphanData,
            Some(id),
            Some(&object.key),
            "a record, or no object",
            found,
        );
        judged.found.push(found.with(Fix::OrphanObject {
            key: object.key.clone(),
        }));
    }

    Ok(judged)
}

pub(in crate::catalog::audit) async fn has_pending(scope: &Scope, id: &ImageId, attempt: &Attempt) -> Result<bool> {
    Ok(head(scope, &scope.lsu.keys().pending(id, attempt)).await?.is_some())
}
