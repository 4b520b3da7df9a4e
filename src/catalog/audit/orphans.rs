//! What is left over: pending images without a writer, uploads and objects that no record names.
//!
//! The order of questions is what makes the answers true beside living writers: see [`super`].

use std::sync::Arc;

use futures::stream::{FuturesOrdered, StreamExt};
use serde_json::{Map, Value};

use super::remedy::{JudgedPending, Remedy};
use super::report::{Class, Foreign};
use super::{Found, Scope};
use crate::catalog::audit::read::{Read, head, read_sidecar, read_sidecar_alone, unreadable};
use crate::catalog::format::image_id::ImageId;
use crate::catalog::format::keys::{Attempt, Folder};
use crate::catalog::format::parse::parse_pending;
use crate::catalog::format::record::{Closing, ImageState, LEASE_SECONDS_MAX, Pending, PendingState, seconds_text};
use crate::catalog::format::shape;
use crate::catalog::list::pages;
use crate::catalog::lsu::{PendingEntry, is_of_the_future};
use crate::catalog::pages::Pages;
use crate::catalog::remove::{has_hidden_data, is_hidden, needs_meta};
use crate::catalog::write::recover::{There, what_is_there};
use crate::error::{Error, Kind, Result};
use crate::objstore::s3::multipart::ListedUpload;
use crate::objstore::s3::types::ListedObject;

/// What one leftover, or one pending image, tells.
#[derive(Debug, Default)]
pub struct Judged {
    pub found: Vec<Found>,
    /// A pending image and the bytes it keeps.
    pub pending: Option<(ImageId, u64)>,
}

/// What a pass over leftovers has seen.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub foreign: Foreign,
    pub requests: u64,
}

/// Judges every pending record.
pub(super) async fn pendings(scope: &Arc<Scope>, each: impl FnMut(Judged)) -> Result<Seen> {
    let judge = |scope: Arc<Scope>, id, attempt, object| async move {
        judge_pending(&scope, &id, &attempt, &object)
            .await
            .map_err(|error| (id, error))
    };
    judge_folder(scope, Folder::Pending, each, judge).await
}

/// Judges every object with image metadata.
pub(super) async fn metas(scope: &Arc<Scope>, each: impl FnMut(Judged)) -> Result<Seen> {
    let judge = |scope: Arc<Scope>, id, attempt, object| async move {
        judge_meta(&scope, &id, &attempt, &object)
            .await
            .map_err(|error| (id, error))
    };
    judge_folder(scope, Folder::Meta, each, judge).await
}

async fn judge_folder<F, J>(scope: &Arc<Scope>, folder: Folder, mut each: impl FnMut(Judged), judge: J) -> Result<Seen>
where
    J: Fn(Arc<Scope>, ImageId, Attempt, ListedObject) -> F,
    F: Future<Output = std::result::Result<Judged, (ImageId, crate::error::Error)>>,
{
    let mut seen = Seen::default();
    let mut pages = pages(&scope.lsu, &scope.options.filter, folder);
    let mut under_way = FuturesOrdered::new();
    let mut take = |judged: std::result::Result<Judged, (ImageId, crate::error::Error)>| {
        each(judged.unwrap_or_else(|(id, error)| Judged {
            found: vec![unreadable(scope, &id, &error)],
            pending: None,
        }));
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
            under_way.push_back(judge(Arc::clone(scope), id, attempt, object));
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

async fn judge_pending(scope: &Scope, id: &ImageId, attempt: &Attempt, object: &ListedObject) -> Result<Judged> {
    let (lsu, key) = (&scope.lsu, object.key.as_str());
    let room = lsu.room().take(object.size).await?;
    let read = match lsu.record(key).await {
        Ok(None) => return Ok(Judged::default()),
        Ok(Some(bytes)) => Ok(bytes),
        Err(error) if error.kind() == Kind::Corrupt => Err(error),
        Err(error) => return Err(error),
    };
    let parsed = read
        .as_ref()
        .map_err(Error::repeat)
        .and_then(|bytes| parse_pending(lsu.keys(), id, attempt, bytes));
    drop(room);
    let pending = match parsed {
        Ok(pending) => pending,
        Err(error) => {
            return Ok(judge_unreadable(
                scope,
                id,
                attempt,
                object,
                &error,
                read.ok().as_deref(),
            ));
        }
    };
    let size = pending.content.as_ref().map_or_else(
        || pending.sent.iter().map(|part| part.size).sum(),
        |content| content.data.size,
    );
    let entry = PendingEntry {
        key: key.into(),
        modified: object.modified,
        etag: object.etag.clone(),
        pending,
    };
    let mut judged = Judged {
        found: Vec::new(),
        pending: Some((id.clone(), size)),
    };
    if entry.pending.lease_seconds > LEASE_SECONDS_MAX && scope.is_old(entry.modified) {
        let claimed = format!(
            "a lease of {} seconds, which counts for {LEASE_SECONDS_MAX}",
            entry.pending.lease_seconds
        );
        judged.found.push(scope.found(
            Class::PendingStale,
            Some(id),
            Some(key),
            "a lease of a day at most",
            claimed,
        ));
    }
    if is_of_the_future(entry.modified, scope.now()) {
        let found = format!(
            "a record dated {}, whose writer counts as alive until then",
            seconds_text(entry.modified)
        );
        let mut found = scope.found(Class::PendingStale, Some(id), Some(key), "a time that has come", found);
        found.finding.advice =
            "the store's clock was wrong when it was put: if no such backup runs, copy the record onto itself \
                                with an S3 tool, which gives it today's date; from then on it ages as any other"
                .into();
        judged.found.push(found);
    }
    // Without a lease no writer has it, however young it is: a close or a repair gave it back, and it waits for somebody.
    let waits = entry.pending.closing == Some(Closing::Complete) && entry.pending.lease_seconds == 0;
    let is_old = scope.is_old(entry.modified);
    if entry.is_held(scope.now()) || !(is_old || waits) {
        return Ok(judged);
    }
    // Somebody who goes on with the image builds on what this attempt left.
    if scope
        .lsu
        .all_pendings(id)
        .await?
        .entries
        .iter()
        .any(|sibling| sibling.is_held(scope.now()))
    {
        return Ok(judged);
    }
    if let Read::Valid(sidecar) = read_sidecar_alone(scope, id).await?
        && sidecar.state == ImageState::Complete
    {
        judged.pending = None;
        if !is_old {
            return Ok(judged);
        }
    }
    let closing = entry.pending.closing;
    let there = match judged.pending.is_some() && closing == Some(Closing::Complete) {
        true => what_is_there(&scope.lsu, &entry.pending).await.unwrap_or(There::Some),
        false => There::Nothing,
    };
    let found = describe(&entry.pending, judged.pending.is_none());
    let mut found = scope.found(
        Class::PendingStale,
        Some(id),
        Some(key),
        "a living writer, or no record",
        found,
    );
    match there {
        There::All => {
            found.finding.advice = "`vastost-s3 repair` completes it: all its parts are on the store".into();
        }
        There::Some => {
            let advice = "what is on the store is not what its record says: audit again later, or look at both; `vastost-s3 \
                          rm` gives it up";
            found.finding.advice = advice.into();
        }
        There::Nothing => {}
    }
    if !is_old {
        let way_out =
            "younger than the grace period: `vastost-s3 repair --older-than 0s` completes it if every byte is right";
        found.finding.advice = way_out.into();
        judged.found.push(found);
        return Ok(judged);
    }
    let PendingEntry { key, etag, .. } = entry;
    let remedy = JudgedPending {
        id: id.clone(),
        key,
        etag,
        closing,
        is_there: there != There::Nothing,
    };
    judged.found.push(found.with(Remedy::Pending(remedy)));
    Ok(judged)
}

/// A record that cannot be read, or that contradicts its place, speaks for nothing. One of a newer version is left alone.
fn judge_unreadable(
    scope: &Scope,
    id: &ImageId,
    attempt: &Attempt,
    object: &ListedObject,
    error: &Error,
    bytes: Option<&[u8]>,
) -> Judged {
    if !scope.is_old(object.modified) {
        return Judged::default();
    }
    let key = object.key.as_str();
    let mut found = scope.found(
        Class::PendingStale,
        Some(id),
        Some(key),
        "a pending record",
        error.to_string(),
    );
    if error.kind() == Kind::Unsupported {
        found.finding.advice = "a newer version wrote it: upgrade this one; nothing is removed until then".into();
        return Judged {
            found: vec![found],
            pending: None,
        };
    }
    let may_be_whole = may_have_been_complete(bytes.unwrap_or_default());
    found.finding.advice = if may_be_whole {
        "its image may be whole: look at it with an S3 tool; `vastost-s3 gc --orphan-data` sets it aside".into()
    } else {
        "`vastost-s3 gc` sets it aside under replaced/; its data stay".into()
    };
    let remedy = Remedy::BadPending {
        id: id.clone(),
        attempt: attempt.clone(),
        key: key.into(),
        may_be_whole,
    };
    Judged {
        found: vec![found.with(remedy)],
        pending: None,
    }
}

/// True when the text of a pending record that cannot be used says that its image was about to be complete.
pub fn says_complete(text: &[u8]) -> bool {
    fields_of(text).is_some_and(|fields| fields.get("closing").is_some_and(|closing| closing == "complete"))
}

/// False only for a whole JSON object that says of no closing, or of an incomplete one, and says it once: whatever breaks
/// off, cannot be read, contradicts itself, or says `complete` by another name may have been the record of a whole image.
fn may_have_been_complete(text: &[u8]) -> bool {
    let Some(fields) = fields_of(text) else { return true };
    let innocent = fields
        .get("closing")
        .is_none_or(|closing| closing.is_null() || closing == "incomplete");
    let raw = String::from_utf8_lossy(text);
    !innocent
        || fields.values().any(|value| value == "complete")
        || raw.contains("\\u")
        || raw.matches("\"closing\"").count() > 1
}

/// The fields of a JSON object that is no larger than a record can be once it is parsed.
fn fields_of(text: &[u8]) -> Option<Map<String, Value>> {
    shape::check(text).ok()?;
    serde_json::from_slice(text).ok()
}

fn describe(pending: &Pending, complete: bool) -> String {
    let who = format!(
        "{}:{} since {}",
        pending.writer.host, pending.writer.pid, pending.started
    );
    let what = match pending.state {
        _ if complete => "the image is complete, and this record of its writing was left",
        PendingState::Incomplete => "closed incomplete, and not resumed since",
        PendingState::Writing if pending.closing.is_some() => "its writer ended while it closed the image",
        PendingState::Writing => "its writer ended without closing it",
    };
    format!("{what}; written by {who}")
}

/// A data object that the sidecar of its image does not name; seen before everything that is asked here. A writer's own
/// record comes before its data and goes after its sidecar, so that one which is younger than the grace period is named
/// too: it may be an image that has just lost its sidecar. Only nothing is done about it yet.
pub(super) async fn judge_data(
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
    Ok(Some(found.with(Remedy::OrphanData {
        id: id.clone(),
        key: object.key.clone(),
    })))
}

/// Metadata of a complete image are rewritten without a lease: the new object comes first, the sidecar that names it
/// next. One that is only just there is looked at again after a while.
async fn judge_meta(scope: &Scope, id: &ImageId, attempt: &Attempt, object: &ListedObject) -> Result<Judged> {
    let judged = judge_meta_once(scope, id, attempt, object).await?;
    if judged.found.is_empty() || !scope.is_just_now(object.modified) {
        return Ok(judged);
    }
    scope.wait_for_second_look().await;
    judge_meta_once(scope, id, attempt, object).await
}

async fn judge_meta_once(scope: &Scope, id: &ImageId, attempt: &Attempt, object: &ListedObject) -> Result<Judged> {
    let mut judged = Judged::default();
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
        judged.found.push(found.with(Remedy::OrphanObject {
            key: object.key.clone(),
        }));
    }
    Ok(judged)
}

/// Leftovers of the capability probe.
pub(super) async fn probes(scope: &Arc<Scope>, mut each: impl FnMut(Judged)) -> Result<Seen> {
    let (mut pages, mut foreign) = (
        Pages::new(scope.lsu.store(), scope.lsu.bucket(), scope.lsu.keys().probes(), None),
        Foreign::default(),
    );
    while let Some(page) = pages.next_page().await? {
        for object in page.into_iter().filter(|object| scope.is_old(object.modified)) {
            if !scope.lsu.keys().is_probe(&object.key) {
                foreign.add(|| object.key.clone());
                continue;
            }
            if !is_left_behind(scope, object.modified, head(scope, &object.key)).await? {
                continue;
            }
            let (expected, found) = ("no object", "what a probe of the endpoint left");
            let found = scope.found(Class::OrphanData, None, Some(&object.key), expected, found);
            each(Judged {
                found: vec![found.with(Remedy::OrphanObject { key: object.key })],
                pending: None,
            });
        }
    }
    Ok(Seen {
        foreign,
        requests: pages.requests(),
    })
}

/// A probe takes some seconds: what is only just there is looked at again after a while.
async fn is_left_behind<T>(scope: &Scope, since: u64, again: impl Future<Output = Result<Option<T>>>) -> Result<bool> {
    if !scope.is_just_now(since) {
        return Ok(true);
    }
    scope.wait_for_second_look().await;
    Ok(again.await?.is_some())
}

/// Uploads whose attempt no pending record holds.
pub(super) async fn uploads(scope: &Arc<Scope>, mut each: impl FnMut(Judged)) -> Result<Seen> {
    let (lsu, mut after) = (&scope.lsu, None);
    let mut seen = Seen::default();
    loop {
        let page = lsu.store().list_uploads(lsu.bucket(), after).await?;
        seen.requests += 1;
        for upload in page
            .uploads
            .iter()
            .filter(|upload| upload.key.starts_with(lsu.keys().prefix()))
        {
            if scope.has_all() && lsu.keys().is_probe(&upload.key) && scope.is_old(upload.initiated) {
                let parts = lsu.store().list_parts(lsu.bucket(), &upload.key, &upload.id);
                if !is_left_behind(scope, upload.initiated, parts).await? {
                    continue;
                }
                let found = orphan_upload(scope, None, upload, "that a probe of the endpoint left").await?;
                each(Judged {
                    found: found.into_iter().collect(),
                    pending: None,
                });
                continue;
            }
            let Some((id, Some(attempt))) = lsu.keys().parse(Folder::Data, &upload.key) else {
                if scope.has_all() {
                    seen.foreign.add(|| format!("upload of {}", upload.key));
                }
                continue;
            };
            if scope.has(&id) && scope.is_old(upload.initiated) {
                let found = judge_upload(scope, &id, &attempt, upload).await;
                let found = found.unwrap_or_else(|error| Some(unreadable(scope, &id, &error)));
                each(Judged {
                    found: found.into_iter().collect(),
                    pending: None,
                });
            }
        }
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(seen),
        }
    }
}

async fn judge_upload(scope: &Scope, id: &ImageId, attempt: &Attempt, upload: &ListedUpload) -> Result<Option<Found>> {
    let (lsu, key) = (&scope.lsu, scope.lsu.keys().pending(id, attempt));
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
async fn orphan_upload(scope: &Scope, id: Option<&ImageId>, upload: &ListedUpload, why: &str) -> Result<Option<Found>> {
    let lsu = &scope.lsu;
    if lsu
        .store()
        .list_parts(lsu.bucket(), &upload.key, &upload.id)
        .await?
        .is_none()
    {
        return Ok(None);
    }
    let found = format!("upload {} {why}", upload.id);
    let found = scope.found(Class::OrphanUpload, id, Some(&upload.key), "no upload", found);
    Ok(Some(found.with(Remedy::OrphanUpload {
        key: upload.key.clone(),
        upload: upload.id.clone(),
    })))
}

pub(super) async fn has_pending(scope: &Scope, id: &ImageId, attempt: &Attempt) -> Result<bool> {
    Ok(head(scope, &scope.lsu.keys().pending(id, attempt)).await?.is_some())
}
