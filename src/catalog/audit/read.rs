//! Records and objects as an audit reads them: asked again before anything is believed to be missing or damaged.

use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::Bytes;

use super::report::Class;
use super::{Found, Scope};
use crate::catalog::format::image_id::ImageId;
use crate::catalog::format::parse::parse_sidecar;
use crate::catalog::format::record::Sidecar;
use crate::error::{Error, Found as _, Kind, Result};
use crate::objstore::s3::types::ObjectInfo;

/// The finding of an object that could not be read.
pub(super) fn unreadable(scope: &Scope, id: &ImageId, error: &Error) -> Found {
    let key = scope.lsu.keys().sidecar(id);
    scope.found(
        Class::Unreadable,
        Some(id),
        Some(&key),
        "an answer of the store",
        error.to_string(),
    )
}

/// A sidecar as it was read.
pub enum Read {
    Valid(Box<Sidecar>),
    Invalid(String),
    /// Of a schema that a newer version writes.
    Newer(String),
    Gone,
}

/// For who holds no room for a record, see [`crate::catalog::room`]: it is taken once its size is known, before the text
/// is parsed, which takes far more memory than the text.
pub(super) async fn read_sidecar_alone(scope: &Scope, id: &ImageId) -> Result<Read> {
    let text = sidecar_text(scope, id).await;
    let size = text.as_ref().map_or(0, |text| text.as_ref().map_or(0, Bytes::len));
    let _room = scope.lsu.room().take(size as u64).await?;
    parsed(scope, id, text)
}

/// The same of a sidecar that a listing has: that it cannot be read, or is not there, is believed when it was told twice, and
/// that it is gone when no listing has it any more either. For who holds room for it.
pub(super) async fn read_listed(scope: &Scope, id: &ImageId) -> Result<Read> {
    match read_sidecar(scope, id).await? {
        Read::Invalid(_) => return read_sidecar(scope, id).await,
        Read::Gone => {}
        read => return Ok(read),
    }
    let key = scope.lsu.keys().sidecar(id);

    if scope
        .lsu
        .store()
        .head_fresh(scope.lsu.bucket(), &key)
        .await
        .if_found()?
        .is_none()
    {
        return Ok(Read::Gone);
    }
    match read_sidecar(scope, id).await? {
        Read::Gone => {
            let what = format!(
                "get {}/{key}: HEAD has it, and GET says that it is not there",
                scope.lsu.bucket()
            );
            Err(Error::new(Kind::Unavailable, what))
        }
        read => Ok(read),
    }
}

/// For who holds room for the sidecar.
pub(super) async fn read_sidecar(scope: &Scope, id: &ImageId) -> Result<Read> {
    parsed(scope, id, sidecar_text(scope, id).await)
}

async fn sidecar_text(scope: &Scope, id: &ImageId) -> Result<Option<Bytes>> {
    let began = Instant::now();
    let read = scope.lsu.record(&scope.lsu.keys().sidecar(id)).await;
    let took_ms = began.elapsed().as_millis().try_into().unwrap_or(u64::MAX);
    scope.slowest_ms.fetch_max(took_ms, Ordering::Relaxed);
    read
}

fn parsed(scope: &Scope, id: &ImageId, text: Result<Option<Bytes>>) -> Result<Read> {
    let bytes = match text {
        Err(error) if error.kind() == Kind::Corrupt => return Ok(Read::Invalid(error.to_string())),
        Err(error) => return Err(error),
        Ok(None) => return Ok(Read::Gone),
        Ok(Some(bytes)) => bytes,
    };
    Ok(match parse_sidecar(scope.lsu.keys(), id, &bytes) {
        Ok(sidecar) => Read::Valid(Box::new(sidecar)),
        Err(error) if error.kind() == Kind::Unsupported => Read::Newer(error.to_string()),
        Err(error) => Read::Invalid(error.to_string()),
    })
}

/// The object, or None when there is none.
pub(super) async fn head(scope: &Scope, key: &str) -> Result<Option<ObjectInfo>> {
    scope.lsu.store().head(scope.lsu.bucket(), key).await.if_found()
}

/// The same, asked some times, and a listing too, before the object counts as gone.
pub(super) async fn head_again(scope: &Scope, key: &str) -> Result<Option<ObjectInfo>> {
    match scope.lsu.store().head_fresh(scope.lsu.bucket(), key).await {
        // The listing goes on naming what no question finds: nobody can read it, whatever the reason.
        Err(error) if error.kind() == Kind::Unavailable && error.status() == Some(404) => Ok(None),
        other => other.if_found(),
    }
}

/// False when the image was deleted, or its metadata rewritten, while we looked: then nothing is missing.
pub(super) async fn is_still_there(scope: &Scope, sidecar: &Sidecar) -> Result<bool> {
    Ok(match read_listed(scope, &sidecar.image.id).await? {
        Read::Valid(now) => *now == *sidecar,
        Read::Invalid(_) | Read::Newer(_) => true,
        Read::Gone => false,
    })
}
