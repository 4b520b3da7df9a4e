//! The sidecars that an image had before, in a bucket that keeps versions.

use bytes::Bytes;

use super::format::image_id::ImageId;
use super::format::parse::parse_sidecar;
use super::format::record::{RECORD_SIZE_MAX, Sidecar};
use super::lsu::Lsu;
use super::remove::versions;
use crate::error::{Kind, Result};
use crate::objstore::s3::versions::ObjectVersion;

/// The last sidecar that a versioned bucket still has below one that cannot be read, or below a delete marker; None where there
/// is none, or these keys may not list versions.
pub(super) async fn last_sidecar(lsu: &Lsu, id: &ImageId) -> Result<Option<(Sidecar, Bytes)>> {
    let versions = match versions(lsu, &lsu.keys().sidecar(id)).await {
        Err(error) if error.kind() == Kind::AccessDenied => None,
        other => other?,
    };
    let versions = versions.unwrap_or_default();
    let found = latest_readable(lsu, id, &versions).await?;
    Ok(found.map(|(_, sidecar, bytes)| (sidecar, bytes)))
}

/// The latest version of an image's sidecar that is one. An older one never takes the place of a newer one that only cannot be
/// had: it may lack what was written since.
pub(super) async fn latest_readable<'a>(
    lsu: &Lsu,
    id: &ImageId,
    versions: &'a [ObjectVersion],
) -> Result<Option<(&'a ObjectVersion, Sidecar, Bytes)>> {
    let key = lsu.keys().sidecar(id);
    for version in versions.iter().rev().filter(|version| !version.is_marker) {
        let bytes = match read_version(lsu, &key, version).await {
            Err(error) if error.kind() == Kind::Corrupt => continue,
            Err(error) if matches!(error.kind(), Kind::AccessDenied | Kind::NotFound) => {
                let which = &version.id;
                let is = "of its sidecar is listed and cannot be read; nothing was changed";
                let way_out = "these keys need s3:GetObjectVersion, and an archived version must be restored first";
                return Err(error.context(format!("image {id}: version {which} {is}: {way_out}")));
            }
            other => other?,
        };
        match parse_sidecar(lsu.keys(), id, &bytes) {
            Ok(sidecar) => return Ok(Some((version, sidecar, bytes))),
            // Of a newer schema: nothing older may take its place.
            Err(error) if error.kind() == Kind::Unsupported => return Err(error),
            Err(_) => {}
        }
    }

    Ok(None)
}

async fn read_version(lsu: &Lsu, key: &str, version: &ObjectVersion) -> Result<Bytes> {
    if version.size > RECORD_SIZE_MAX {
        return Ok(Bytes::new());
    }
    let read = async || lsu.store().get_version(lsu.bucket(), key, version).await;
    match read().await {
        // One answer is no verdict, and a front-end may take a moment to know.
        Err(error) if error.kind() == Kind::NotFound => {
            tokio::time::sleep(lsu.store().retry().backoff_initial).await;
            read().await
        }
        other => other,
    }
}
