//! What is left over: pending images without a writer, uploads and objects that no record names.
//!
//! | file | what it is |
//! |---|---|
//! | [`evaluated`] | what one leftover tells, and what a pass over many has seen |
//! | [`closing`] | whether the text of a record that cannot be used speaks of a complete image |
//! | `pending` | one pending record |
//! | `data` | one data object, or one of image metadata |
//! | `upload` | one upload |
//!
//! Here are the passes, each over one folder of the LSU. The order of questions is what makes the answers true beside
//! living writers: see [`super`].

pub mod evaluated;
pub mod closing;
mod pending;
pub(super) mod data;
mod upload;

use std::sync::Arc;

use futures::stream::{FuturesOrdered, StreamExt};

use self::data::judge_meta;
use self::evaluated::{Evaluated, Seen};
use self::pending::judge_pending;
use self::upload::{judge_upload, orphan_upload};
use super::fix::Fix;
use super::report::{Class, Foreign};
use super::{Found, Scope};
use crate::catalog::audit::read::{head, unreadable};
use crate::catalog::format::image_id::ImageId;
use crate::catalog::format::keys::{Attempt, Folder};
use crate::catalog::list::pages;
use crate::catalog::pages::Pages;
use crate::error::{Error, Result};
use crate::objstore::s3::multipart::ListedUpload;
use crate::objstore::s3::types::ListedObject;

/// Judges every pending record.
pub(super) async fn pendings(scope: &Arc<Scope>, each: impl FnMut(Evaluated)) -> Result<Seen> {
    let evaluate = |scope: Arc<Scope>, id, attempt, object| async move {
        judge_pending(&scope, &id, &attempt, &object)
            .await
            .map_err(|error| (id, error))
    };
    judge_folder(scope, Folder::Pending, each, evaluate).await
}

/// Judges every object with image metadata.
pub(super) async fn metas(scope: &Arc<Scope>, each: impl FnMut(Evaluated)) -> Result<Seen> {
    let evaluate = |scope: Arc<Scope>, id, attempt, object| async move {
        judge_meta(&scope, &id, &attempt, &object)
            .await
            .map_err(|error| (id, error))
    };
    judge_folder(scope, Folder::Meta, each, evaluate).await
}

/// Leftovers of the capability probe.
pub(super) async fn probes(scope: &Arc<Scope>, mut each: impl FnMut(Evaluated)) -> Result<Seen> {
    let lsu = &scope.lsu;
    let mut pages = Pages::new(lsu.store(), lsu.bucket(), lsu.keys().probes(), None);
    let mut foreign = Foreign::default();

    while let Some(page) = pages.next_page().await? {
        for object in page.into_iter().filter(|object| scope.is_old(object.modified)) {
            if !lsu.keys().is_probe(&object.key) {
                foreign.add(|| object.key.clone());
                continue;
            }
            if !is_left_behind(scope, object.modified, head(scope, &object.key)).await? {
                continue;
            }
            let expected = "no object";
            let found = "what a probe of the endpoint left";
            let found = scope.found(Class::OrphanData, None, Some(&object.key), expected, found);
            each(Evaluated::of(found.with(Fix::OrphanObject { key: object.key })));
        }
    }

    Ok(Seen {
        foreign,
        requests: pages.requests(),
    })
}

/// Uploads whose attempt no pending record holds.
pub(super) async fn uploads(scope: &Arc<Scope>, mut each: impl FnMut(Evaluated)) -> Result<Seen> {
    let lsu = &scope.lsu;
    let prefix = lsu.keys().prefix();
    let mut after = None;
    let mut seen = Seen::default();

    loop {
        let page = lsu.store().list_uploads(lsu.bucket(), after).await?;
        seen.requests += 1;
        for upload in page.uploads.iter().filter(|upload| upload.key.starts_with(prefix)) {
            if let Some(found) = check_upload(scope, upload, &mut seen.foreign).await? {
                each(Evaluated::of(found));
            }
        }
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(seen),
        }
    }
}

/// One upload below the LSU's prefix: of a probe, of an image, or of somebody else.
async fn check_upload(scope: &Scope, upload: &ListedUpload, foreign: &mut Foreign) -> Result<Option<Found>> {
    let lsu = &scope.lsu;
    if scope.has_all() && lsu.keys().is_probe(&upload.key) && scope.is_old(upload.initiated) {
        let parts = lsu.store().list_parts(upload.in_bucket(lsu.bucket()));
        if !is_left_behind(scope, upload.initiated, parts).await? {
            return Ok(None);
        }
        return orphan_upload(scope, None, upload, "that a probe of the endpoint left").await;
    }

    let Some((id, Some(attempt))) = lsu.keys().parse(Folder::Data, &upload.key) else {
        if scope.has_all() {
            foreign.add(|| format!("upload of {}", upload.key));
        }
        return Ok(None);
    };
    if !scope.has(&id) || !scope.is_old(upload.initiated) {
        return Ok(None);
    }
    let found = judge_upload(scope, &id, &attempt, upload).await;
    Ok(found.unwrap_or_else(|error| Some(unreadable(scope, &id, &error))))
}

/// A probe takes some seconds: what is only just there is looked at again after a while.
async fn is_left_behind<T>(scope: &Scope, since: u64, again: impl Future<Output = Result<Option<T>>>) -> Result<bool> {
    if !scope.is_just_now(since) {
        return Ok(true);
    }
    scope.wait_for_second_look().await;
    Ok(again.await?.is_some())
}

async fn judge_folder<F, J>(
    scope: &Arc<Scope>,
    folder: Folder,
    mut each: impl FnMut(Evaluated),
    evaluate: J,
) -> Result<Seen>
where
    J: Fn(Arc<Scope>, ImageId, Attempt, ListedObject) -> F,
    F: Future<Output = std::result::Result<Evaluated, (ImageId, Error)>>,
{
    let mut seen = Seen::default();
    let mut pages = pages(&scope.lsu, &scope.options.filter, folder);
    let mut under_way = FuturesOrdered::new();
    let mut take = |judged: std::result::Result<Evaluated, (ImageId, Error)>| {
        each(judged.unwrap_or_else(|(id, error)| Evaluated::of(unreadable(scope, &id, &error))));
    };

    while let Some(page) = pages.next_page().await? {
        for object in page {
            let Some((id, Some(attempt))) = scope.lsu.keys().parse(folder, &object.key) else {
                if scope.has_all() {
                    seen.foreign.add(|| object.key);
                }
                continue;
            };
            if !scope.has(&id) {
                continue;
            }

            under_way.push_back(evaluate(Arc::clone(scope), id, attempt, object));
            if under_way.len() >= scope.options.jobs
                && let Some(judged) = under_way.next().await
            {
                take(judged);
            }
        }
    }

    while let Some(judged) = under_way.next().await {
        take(judged);
    }

    seen.requests = pages.requests();
    Ok(seen)
}
