//! Bringing an image back that somebody deleted or overwrote past the plug-in in a bucket that keeps versions, and one whose
//! delete was only marked. A finished delete of ours removed every version: it is final.
//!
//! Delete markers are taken away; what was overwritten becomes the latest version again by a copy on the server, so that
//! nothing is removed.

use crate::catalog::delete::mark::unmark;
use crate::catalog::format::image_id::ImageId;
use crate::catalog::format::record::{ImageState, Sidecar};
use crate::catalog::history::latest_readable;
use crate::catalog::lsu::Lsu;
use crate::catalog::meta::{self, Meta};
use crate::catalog::remove::versions;
use crate::catalog::write::commit::confirm_data;
use crate::engine::checksum::Crc64;
use crate::error::{Error, Found, Kind, Result};
use crate::objstore::s3::digest::crc_of_range;
use crate::objstore::s3::multipart::UploadRef;
use crate::objstore::s3::types::{ObjectInfo, SentPart};
use crate::objstore::s3::versions::ObjectVersion;

/// CopyObject takes larger objects in parts only.
const COPY_MAX: u64 = 5 << 30;

/// What was brought back, in words; empty when the image is complete as it is.
pub async fn undelete(lsu: &Lsu, id: &ImageId) -> Result<Vec<String>> {
    let mut done = Vec::new();
    let sidecar = recover_sidecar(lsu, id, &mut done).await?;
    recover_object(lsu, &sidecar, &mut done).await?;
    if unmark(lsu, id, false).await? {
        done.push("the mark of a delete is taken back".into());
    }
    let (now, _) = lsu.sidecar(id).await?.ok_or_else(|| lsu.not_found(id))?;
    if now.state != ImageState::Complete {
        return Err(final_delete(lsu, id, "its data are not there"));
    }
    confirm_data(lsu, &now).await?;
    // Last: without them the data restore all the same.
    recover_meta(lsu, &sidecar, &mut done).await?;
    Ok(done)
}

/// Image metadata in an object of their own: as they are, or the version that has the CRC of the record, made current.
async fn recover_meta(lsu: &Lsu, sidecar: &Sidecar, done: &mut Vec<String>) -> Result<()> {
    let Some(Meta::Object { key, size, crc64nvme }) = &sidecar.meta else {
        return Ok(());
    };
    let lost = match meta::load(lsu.store(), lsu.bucket(), sidecar.meta.as_ref()).await {
        Ok(_) => return Ok(()),
        Err(error) if matches!(error.kind(), Kind::Corrupt | Kind::NotFound) => error,
        Err(error) => return Err(error),
    };
    let versions = versions(lsu, key).await?.unwrap_or_default();

    for version in versions
        .iter()
        .rev()
        .filter(|version| !version.is_marker && version.size == *size)
    {
        let bytes = match lsu.store().get_version(lsu.bucket(), key, version).await {
            // An older one may be the right one: its CRC tells.
            Err(error) if matches!(error.kind(), Kind::AccessDenied | Kind::Corrupt | Kind::NotFound) => {
                tracing::warn!("read version {} of {key}: {error}", version.id);
                continue;
            }
            other => other?,
        };
        if Crc64::of(&bytes) == *crc64nvme {
            if !uncover(lsu, key, &versions, version).await? {
                lsu.put_record(key, bytes, false).await?;
            }
            meta::load(lsu.store(), lsu.bucket(), sidecar.meta.as_ref()).await?;
            done.push(format!("{key} is back with {size} bytes"));
            return Ok(());
        }
    }

    let id = &sidecar.image.id;
    Err(lost.context(format!(
        "the data of image {id} are there, and no version of its metadata is right"
    )))
}

fn final_delete(lsu: &Lsu, id: &ImageId, why: &str) -> Error {
    let what = format!(
        "bring back image {id} of LSU {}: {why}; a finished delete is final, a snapshot or a replica may have the image",
        lsu.config().name
    );
    Error::new(Kind::NotFound, what)
}

fn rebuildable(lsu: &Lsu, id: &ImageId) -> Error {
    let lsu = &lsu.config().name;
    let what =
        format!("bring back image {id} of LSU {lsu}: no version of its sidecar can be read, and its data are there");
    Error::new(
        Kind::NotFound,
        format!("{what}: `vastost-s3 repair {lsu} --older-than 0s` makes a new one from them"),
    )
}

/// The sidecar as it is, or the latest version of it that can be read, made current.
async fn recover_sidecar(lsu: &Lsu, id: &ImageId, done: &mut Vec<String>) -> Result<Sidecar> {
    let key = lsu.keys().sidecar(id);
    match lsu.sidecar(id).await {
        Ok(Some((sidecar, _))) => return Ok(sidecar),
        Err(error) if error.kind() != Kind::Corrupt => return Err(error),
        _ => {}
    }
    let Some(versions) = versions(lsu, &key).await? else {
        if lsu.has_data(id).await? {
            return Err(rebuildable(lsu, id));
        }
        return Err(final_delete(
            lsu,
            id,
            "it has no sidecar, and the bucket keeps no versions",
        ));
    };

    let Some((version, sidecar, bytes)) = latest_readable(lsu, id, &versions).await? else {
        if lsu.has_data(id).await? {
            return Err(rebuildable(lsu, id));
        }
        return Err(final_delete(lsu, id, "no version of its sidecar can be read"));
    };

    if !uncover(lsu, &key, &versions, version).await? {
        lsu.put_record(&key, bytes, false).await?;
    }
    done.push("the sidecar is back".into());
    Ok(sidecar)
}

/// Takes delete markers away that lie over `version`; false when something else lies over it too.
async fn uncover(lsu: &Lsu, key: &str, versions: &[ObjectVersion], version: &ObjectVersion) -> Result<bool> {
    let newer = || versions.iter().skip_while(|other| other.id != version.id).skip(1);
    if newer().any(|other| !other.is_marker) {
        return Ok(false);
    }
    for marker in newer() {
        lsu.store().delete(lsu.bucket(), key, Some(&marker.id)).await?;
    }
    Ok(true)
}

/// The image's data: as they are, or a version of them made current.
async fn recover_object(lsu: &Lsu, image: &Sidecar, done: &mut Vec<String>) -> Result<()> {
    let store = lsu.store();
    let bucket = lsu.bucket();
    let data = &image.content.data;
    let key = data.key.as_str();
    let size = data.size;
    let now = store.head(bucket, key).await.if_found()?;
    let versions = versions(lsu, key).await?.unwrap_or_default();
    let fits: Vec<_> = versions
        .iter()
        .rev()
        .filter(|version| !version.is_marker && version.size == size)
        .collect();
    let exact = fits.iter().find(|version| version.etag == data.etag).copied();
    let by_size = now.as_ref().is_some_and(|now| now.size == size);
    if by_size && now.as_ref().is_some_and(|now| now.etag == data.etag) {
        return Ok(());
    }
    let found = match exact {
        Some(exact) => Some(exact),
        // ETags may have changed with a copy: then the bytes decide, and a size alone is no proof.
        None if by_size && has_bytes(lsu, image).await? => return Ok(()),
        None => match by_crc(lsu, image, &fits).await? {
            // Nothing but its bytes can tell: read before anything is changed.
            None => by_bytes(lsu, image, &fits, now.as_ref().filter(|_| by_size)).await?,
            found => found,
        },
    };

    let Some(version) = found else {
        let what = match versions.as_slice() {
            [] => {
                format!("{bucket}/{key} has not the {size} bytes that it should, and the bucket keeps no version of it")
            }
            _ => format!("no version of {bucket}/{key} has the {size} bytes that it should"),
        };
        let way_out = "a snapshot or a replica may have it";
        return Err(Error::new(Kind::NotFound, format!("undelete: {what}; {way_out}")));
    };

    let is_copy = !uncover(lsu, key, &versions, version).await?;
    if is_copy {
        copy_up(lsu, version, image).await?;
    }
    let seen = store.head_fresh(bucket, key).await?;
    let is_unchanged = now.is_some_and(|now| now.etag == seen.etag && now.version_id == seen.version_id);

    if seen.size != size || is_unchanged {
        let what = format!(
            "bring back {bucket}/{key}: answered with success, and it has {} bytes as before",
            seen.size
        );
        return Err(Error::new(Kind::Unavailable, what));
    }

    // Of an older version it was proven; of a copy of it only its own ETag or CRC64NVME, or its bytes.
    let has_crc = seen.crc64.as_deref() == Some(image.content.crc64nvme.to_base64().as_str());
    if is_copy && seen.etag != data.etag && !has_crc && !has_bytes(lsu, image).await? {
        let what = format!("bring back {bucket}/{key}: its older version was copied up, and the copy has other bytes");
        return Err(Error::new(Kind::Corrupt, what));
    }
    done.push(format!("{key} is back with {size} bytes"));
    Ok(())
}

/// True when the object that is there has the image's bytes: each part is read.
async fn has_bytes(lsu: &Lsu, image: &Sidecar) -> Result<bool> {
    version_has_bytes(lsu, image, None).await
}

async fn version_has_bytes(lsu: &Lsu, image: &Sidecar, version: Option<&str>) -> Result<bool> {
    for part in &image.content.parts {
        let key = &image.content.data.key;
        let crc64 = crc_of_range(lsu.store(), lsu.bucket(), key, version, (part.offset, part.size)).await?;
        if crc64 != part.crc64nvme {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The latest of `versions`, all of the image's size, that has the image's bytes; `not` has other ones. One that cannot be read
/// may be followed by the right one.
async fn by_bytes<'a>(
    lsu: &Lsu,
    image: &Sidecar,
    versions: &[&'a ObjectVersion],
    not: Option<&ObjectInfo>,
) -> Result<Option<&'a ObjectVersion>> {
    let mut unread = None;
    for version in versions.iter().copied() {
        if not.is_some_and(|not| not.version_id.as_ref() == Some(&version.id)) {
            continue;
        }
        match version_has_bytes(lsu, image, Some(&version.id)).await {
            Ok(true) => return Ok(Some(version)),
            Ok(false) => {}
            Err(error) if matches!(error.kind(), Kind::AccessDenied | Kind::Corrupt | Kind::NotFound) => {
                tracing::warn!("read version {} of {}: {error}", version.id, image.content.data.key);
                unread = Some(error);
            }
            Err(error) => return Err(error),
        }
    }

    unread.map_or(Ok(None), Err)
}

/// The first of `versions` that the store itself says to have the image's CRC64NVME.
async fn by_crc<'a>(lsu: &Lsu, image: &Sidecar, versions: &[&'a ObjectVersion]) -> Result<Option<&'a ObjectVersion>> {
    let wanted = image.content.crc64nvme.to_base64();
    for version in versions.iter().copied() {
        let object = lsu
            .store()
            .head_version(lsu.bucket(), &image.content.data.key, version)
            .await
            .if_found()?;
        if object
            .and_then(|object| object.crc64)
            .is_some_and(|crc64| crc64 == wanted)
        {
            return Ok(Some(version));
        }
    }
    Ok(None)
}

/// Makes an older version the latest one by a copy on the server, in the parts that the image was written in.
async fn copy_up(lsu: &Lsu, version: &ObjectVersion, image: &Sidecar) -> Result<()> {
    let store = lsu.store();
    let bucket = lsu.bucket();
    let key = image.content.data.key.as_str();
    let parts = image.content.parts.as_slice();

    if parts.len() <= 1 {
        if version.size > COPY_MAX {
            let what = format!("bring back {bucket}/{key}: it is larger than one copy can be");
            return Err(Error::new(Kind::Unsupported, what));
        }
        return store.copy_version(bucket, key, version).await;
    }

    let metadata = crate::catalog::format::record::object_metadata(&image.image, &image.created);
    // What lies over the version may be as long as it.
    let before = store.head(bucket, key).await.if_found()?;
    let id = store.begin_upload(bucket, key, &metadata, false).await?;
    let upload = UploadRef { bucket, key, id: &id };
    let mut sent = Vec::with_capacity(parts.len());

    for (part, span) in parts.iter().zip(image.content.spans()) {
        let copied = store.copy_version_part(upload, version, span).await;
        let etag = match copied {
            Ok(etag) => etag,
            Err(error) => {
                store.abort_upload(upload).await?;
                return Err(error);
            }
        };
        sent.push(SentPart {
            number: part.number,
            size: part.size,
            etag,
            crc64: part.crc64nvme,
        });
    }

    store
        .complete_upload_over(upload, &sent, before.as_ref())
        .await
        .map(drop)
}
