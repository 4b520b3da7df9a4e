//! The only place where the catalog removes objects: asked about locks first, with all versions where the bucket keeps them.
//!
//! Deleting a key without a version from a bucket that keeps versions leaves them all behind, and deleting its latest version
//! makes the one before it current again: an older record would speak. So every version and marker of the key goes, the
//! latest one last. Data go only when no record of a complete image needs them, see [`is_needed`].

use super::format::image_id::ImageId;
use super::format::keys::Folder;
use super::format::parse::parse_sidecar;
use super::format::record::{Pending, Sidecar};
use super::lsu::Lsu;
use super::meta::Meta;
use crate::error::{Error, Found, Kind, Result};
use crate::objstore::s3::versions::{Lock, ObjectVersion, Versioning, does_not_tell};

/// How often the versions of a key are removed until none is left.
const ROUNDS: u32 = 4;
/// What S3 calls the version of an object that was put while the bucket kept none.
const NULL_VERSION: &str = "null";

/// Fails with [`Kind::Locked`] while the store's own locks keep any version of the key. Changes nothing.
pub(super) async fn ask_for_locks(lsu: &Lsu, key: &str) -> Result<()> {
    let store = lsu.store();
    let bucket = lsu.bucket();
    let now = lsu.now_if_told().await?;
    let locked = |lock: Lock| {
        let how = match lock {
            Lock::LegalHold => "by a legal hold".to_owned(),
            Lock::RetainedUntil(until) => format!("until {}", super::format::record::seconds_text(until)),
        };
        Err(Error::new(
            Kind::Locked,
            format!("delete {bucket}/{key}: it is locked {how}; nothing was changed"),
        ))
    };

    let Some(versions) = versions(lsu, key).await? else {
        return match unless_refused(store.head(bucket, key).await.if_found())?
            .flatten()
            .and_then(|o| o.lock(now))
        {
            Some(lock) => locked(lock),
            None => Ok(()),
        };
    };

    for version in versions.iter().filter(|version| !version.is_marker) {
        let object = unless_refused(store.head_version(bucket, key, version).await.if_found())?.flatten();
        if let Some(lock) = object.and_then(|object| object.lock(now)) {
            return locked(lock);
        }
    }

    Ok(())
}

/// Keys without the right to see an object cannot see its locks: the delete itself will be told.
fn unless_refused<T>(answer: Result<T>) -> Result<Option<T>> {
    match answer {
        Err(error) if error.kind() == Kind::AccessDenied => Ok(None),
        other => other.map(Some),
    }
}

/// Removes a key for good; removing what is not there is no error.
pub(super) async fn remove_key(lsu: &Lsu, key: &str) -> Result<()> {
    remove_versions(lsu, key, None, &mut false).await.map(drop)
}

/// The same; `began` becomes true as soon as anything may be gone. Looked at again afterwards: a list may lack a version, and
/// a success may have had no effect. Where `key` is that of a sidecar, `own` says whose: another image that has come to that key
/// meanwhile stays, however long this process was silent: then it is false.
pub(super) async fn remove_versions(
    lsu: &Lsu,
    key: &str,
    own: Option<OwnSidecar<'_>>,
    began: &mut bool,
) -> Result<bool> {
    let retry = lsu.store().retry();
    let mut wait = retry.backoff_initial;
    for round in 0..ROUNDS {
        if round > 0 {
            // A front-end may take a moment to know.
            tokio::time::sleep(wait.min(retry.backoff_max)).await;
            wait *= 2;
        }
        if let Some(own) = own
            && is_succeeded(lsu, own).await?
        {
            return Ok(false);
        }
        match remove_round(lsu, key, Look::Again, began).await {
            Ok(true) => return Ok(true),
            Ok(false) => {}
            // The list has none, and another one has the key still.
            Err(error) if round > 0 && error.kind() == Kind::Unavailable && error.status().is_none() => {
                tracing::debug!("look again: {error}");
            }
            Err(error) => return Err(error),
        }
    }

    let what = format!(
        "delete {}/{key}: answered with success, and something of it is still there",
        lsu.bucket()
    );
    let way_out = "the next delete, `vastost-s3 repair` or `vastost-s3 gc` goes on";
    Err(Error::new(Kind::Unavailable, format!("{what}; {way_out}")))
}

/// The sidecar that is to be removed.
#[derive(Clone, Copy)]
pub(super) struct OwnSidecar<'a> {
    pub id: &'a ImageId,
    /// The key of its data; None where it cannot be read.
    pub data: Option<&'a str>,
}

impl<'a> OwnSidecar<'a> {
    pub(super) fn of(sidecar: &'a Sidecar) -> Self {
        Self {
            id: &sidecar.image.id,
            data: Some(&sidecar.content.data.key),
        }
    }
}

/// True when the image's sidecar is by now that of another one whose data are there, or of a newer version. No answer is no
/// "no".
async fn is_succeeded(lsu: &Lsu, own: OwnSidecar<'_>) -> Result<bool> {
    let now = match lsu.sidecar(own.id).await {
        Ok(Some((now, _))) => now,
        Ok(None) => return Ok(false),
        // Still what was to be removed, or an older version that came up.
        Err(error) if error.kind() == Kind::Corrupt => return Ok(false),
        Err(error) if error.kind() == Kind::Unsupported => return Ok(true),
        Err(error) => return Err(error),
    };
    let data = now.content.data.key.as_str();
    Ok(own.data != Some(data) && lsu.store().head_fresh(lsu.bucket(), data).await.if_found()?.is_some())
}

/// Whether it matters that a plain delete had an effect.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    Again,
    No,
}

/// Removes what is told to be there; true when nothing was, or nothing can be any more.
async fn remove_round(lsu: &Lsu, key: &str, look: Look, began: &mut bool) -> Result<bool> {
    let store = lsu.store();
    let bucket = lsu.bucket();
    let Some(versions) = versions(lsu, key).await? else {
        let done = store.delete_told(bucket, key).await;
        *began |= !done.as_ref().is_err_and(is_refusal);
        if done? {
            // A delete marker was made: the bucket keeps versions, whatever it said.
            lsu.keeps_versions_after_all();
            return Ok(false);
        }
        if look == Look::No {
            return Ok(true);
        }
        return Ok(unless_refused(store.head(bucket, key).await.if_found())?.is_none_or(|found| found.is_none()));
    };

    for version in &versions {
        let done = store.delete(bucket, key, Some(&version.id)).await;
        *began |= !done.as_ref().is_err_and(is_refusal);
        done.map_err(|error| match error.kind() {
            Kind::AccessDenied => {
                let why = "bucket keeps versions: these keys need s3:DeleteObjectVersion, or the version is locked";
                error.context(format!("{why} ({bucket})"))
            }
            _ => error,
        })?;
    }

    Ok(versions.is_empty())
}

/// True when the store understood and said no. An earlier try of the same request may have been done all the same.
pub(super) fn is_refusal(error: &Error) -> bool {
    match (error.kind(), error.status()) {
        (Kind::AccessDenied | Kind::Locked | Kind::Unauthorized, _) => true,
        // And not an answer that cannot be read.
        (Kind::Unsupported, status) => status.is_some_and(|status| status >= 400),
        // 404 is no refusal; 408, 429, and 409 for another request that was under way, are for another try.
        (Kind::Unavailable, Some(409)) | (_, Some(404 | 408 | 429)) => false,
        (_, status) => status.is_some_and(|status| (400..500).contains(&status)),
    }
}

/// Removes a record or an object that only a record named, and that costs nothing when it is left. Where its versions may not
/// go it is hidden by a marker at least: nothing depends on them.
pub(super) async fn remove_record(lsu: &Lsu, key: &str) -> Result<()> {
    let removed = remove_round(lsu, key, Look::No, &mut false).await.map(drop);
    hide_instead(lsu, key, removed).await
}

/// The same for what must not come back.
pub(super) async fn remove_record_for_good(lsu: &Lsu, key: &str) -> Result<()> {
    let removed = remove_key(lsu, key).await;
    hide_instead(lsu, key, removed).await
}

async fn hide_instead(lsu: &Lsu, key: &str, removed: Result<()>) -> Result<()> {
    match removed {
        Err(error) if matches!(error.kind(), Kind::AccessDenied | Kind::Locked) => {
            tracing::debug!("hide {key}, whose versions stay: {error}");
            lsu.store().delete(lsu.bucket(), key, None).await
        }
        other => other,
    }
}

/// Removes all that one attempt has on the store, its record at `record_key` last. Refused when the image needs its data.
pub(super) async fn remove_attempt(lsu: &Lsu, record_key: &str, pending: &Pending) -> Result<()> {
    let id = &pending.image.id;
    if is_needed(lsu, id, &pending.key).await? {
        let what = format!(
            "keep {}: the sidecar of image {id} names it, or cannot be read, or is hidden by a delete marker; `vastost-s3 undelete` or \
             `repair` first",
            pending.key
        );
        return Err(Error::new(Kind::Corrupt, what));
    }

    ask_for_locks(lsu, &pending.key).await?;
    if let Some(upload) = pending.upload(lsu.bucket()) {
        lsu.store().abort_upload(upload).await?;
    }
    // Put before the record could tell of it, so it may be there even when the record has none.
    let meta = match &pending.meta {
        Some(Meta::Object { key, .. }) => key.clone(),
        _ => lsu.keys().meta(id, &pending.attempt),
    };
    remove_key(lsu, &pending.key).await?;
    remove_record_for_good(lsu, &meta).await?;
    remove_record_for_good(lsu, record_key).await
}

/// True unless the data at `key` can be spared for certain: the image has no sidecar, or one that is in order and names
/// another attempt, whose data are there.
pub(super) async fn is_needed(lsu: &Lsu, id: &ImageId, key: &str) -> Result<bool> {
    let sidecar = lsu.keys().sidecar(id);
    let Some(bytes) = lsu.record_of_any_size(&sidecar).await? else {
        // One answer is no verdict: a listing must say the same, and delete markers hide what `undelete` brings back.
        return Ok(lsu.store().find(lsu.bucket(), &sidecar).await?.is_some() || is_hidden(lsu, &sidecar).await?);
    };
    match parse_sidecar(lsu.keys(), id, &bytes) {
        Ok(sidecar) if sidecar.content.data.key != key => {
            let other = lsu
                .store()
                .head(lsu.bucket(), &sidecar.content.data.key)
                .await
                .if_found()?;
            // An ETag that is another one is a question, and until it is answered nothing goes.
            let data = &sidecar.content.data;
            Ok(other.is_none_or(|other| other.size != data.size || other.etag != data.etag))
        }
        _ => Ok(true),
    }
}

/// True unless the metadata object at `key` can be spared: the sidecar names another one that is there, or has its metadata
/// itself. A sidecar without metadata may have lost the word of those that were written with its data.
pub(super) async fn needs_meta(lsu: &Lsu, sidecar: &Sidecar, key: &str) -> Result<bool> {
    match &sidecar.meta {
        Some(Meta::Object { key: own, .. }) if own == key => Ok(true),
        Some(Meta::Object { key: own, .. }) => Ok(lsu.store().head(lsu.bucket(), own).await.if_found()?.is_none()),
        Some(_) => Ok(false),
        None => {
            let attempt = |folder, key: &str| lsu.keys().parse(folder, key).and_then(|(_, attempt)| attempt);
            let of_data = attempt(Folder::Data, &sidecar.content.data.key);
            Ok(of_data.is_some() && of_data == attempt(Folder::Meta, key))
        }
    }
}

/// True when nothing is at `key` for a reader, and a version of it is there all the same.
pub(super) async fn is_hidden(lsu: &Lsu, key: &str) -> Result<bool> {
    match versions(lsu, key).await {
        Ok(versions) => Ok(versions.is_some_and(|versions| versions.iter().any(|version| !version.is_marker))),
        // Keys that may not list versions see what everybody sees.
        Err(error) if error.kind() == Kind::AccessDenied => Ok(false),
        Err(error) => Err(error),
    }
}

/// True when there is any data object of the image, though a delete marker may hide it.
pub(super) async fn has_hidden_data(lsu: &Lsu, id: &ImageId) -> Result<bool> {
    Ok(!keys_with_hidden(lsu, Folder::Data, id).await?.is_empty())
}

/// The keys of an image in a folder, with those that somebody's delete markers hide where the bucket tells of them.
pub(super) async fn keys_with_hidden(lsu: &Lsu, folder: Folder, id: &ImageId) -> Result<Vec<String>> {
    if lsu.versioning().await? == Versioning::Off {
        return lsu.keys_of(folder, id).await;
    }
    match lsu
        .store()
        .list_versioned_keys(lsu.bucket(), &lsu.keys().of_image(folder, id))
        .await
    {
        Ok(mut keys) => {
            keys.retain(|key| lsu.keys().parse(folder, key).is_some_and(|(of, _)| of == *id));
            Ok(keys)
        }
        Err(error) if does_not_tell(&error) => lsu.keys_of(folder, id).await,
        Err(error) => Err(error),
    }
}

/// Every version of a key, the latest last; None where the bucket keeps none.
pub(super) async fn versions(lsu: &Lsu, key: &str) -> Result<Option<Vec<ObjectVersion>>> {
    let store = lsu.store();
    let bucket = lsu.bucket();
    let versioning = lsu.versioning().await?;
    if versioning == Versioning::Off {
        return Ok(None);
    }
    match store.list_versions(bucket, key).await {
        Ok(versions) if versions.is_empty() && versioning == Versioning::Unknown => {
            // A plain delete of what is not there would leave a marker in a bucket that does keep versions.
            let is_there =
                unless_refused(store.head(bucket, key).await.if_found())?.is_none_or(|found| found.is_some());
            Ok((!is_there).then_some(versions))
        }
        Ok(versions) if versions.is_empty() => match unless_refused(store.find(bucket, key).await)?.flatten() {
            // Some answers are no such list and look like an empty one.
            Some(_) => {
                let what = format!("list versions of {bucket}/{key}: none is listed, and the object is there");
                Err(Error::new(Kind::Unavailable, what))
            }
            None => Ok(Some(versions)),
        },
        Ok(versions) => {
            let only_null = versioning == Versioning::Unknown && versions.iter().all(|v| v.id == NULL_VERSION);
            Ok((!only_null).then_some(versions))
        }
        Err(error) if does_not_tell(&error) => {
            let object = unless_refused(store.head(bucket, key).await.if_found())?.flatten();
            let has_version = object.and_then(|o| o.version_id).is_some_and(|id| id != NULL_VERSION);
            if versioning == Versioning::On || has_version {
                let what = format!("bucket {bucket} keeps versions: these keys need s3:ListBucketVersions");
                return Err(error.context(what).with_kind(Kind::AccessDenied));
            }
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
