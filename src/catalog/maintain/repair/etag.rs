//! An object that was copied keeps its bytes and gets another ETag, which the sidecar is told once every byte is right.

use crate::catalog::format::image_id::ImageId;
use crate::catalog::format::record::{ImageState, rewrite};
use crate::catalog::lsu::Lsu;
use crate::catalog::maintain::repair::replace::replace_sidecar;
use crate::engine::checksum::composite_etag;
use crate::error::{Error, Kind, Result, ResultExt};
use crate::objstore::s3::digest::digest_range;

/// An object that was copied keeps its bytes and gets another ETag: every part is read and compared with its CRC, then
/// the sidecar is told.
pub(super) async fn record_etag(lsu: &Lsu, id: &ImageId, deep: bool) -> Result<Option<String>> {
    let Some((sidecar, bytes)) = lsu.sidecar(id).await? else {
        return Ok(None);
    };

    let mut data = sidecar.content.data.clone();
    let object = lsu.store().head(lsu.bucket(), &data.key).await?;
    if sidecar.state != ImageState::Complete || object.etag == data.etag || object.size != data.size {
        return Ok(None);
    }
    if !deep {
        let what = format!("only the bytes of image {id} can tell whether they are right: run repair with --deep");
        return Err(Error::new(Kind::Unsupported, what));
    }

    let mut parts = sidecar.content.parts.clone();
    for part in &mut parts {
        let (crc64, md5) = digest_range(lsu.store(), lsu.bucket(), &data.key, part.offset, part.size).await?;
        if crc64 != part.crc64nvme {
            let what = format!(
                "part {} of image {id} has other bytes: its CRC64NVME is {:016x}",
                part.number, crc64.0
            );
            return Err(Error::new(Kind::Corrupt, what));
        }
        part.etag = md5.to_hex();
    }

    let composite = composite_etag(parts.iter().map(|part| part.etag.as_str()));
    let whole = parts.first().map(|part| part.etag.clone()).filter(|_| parts.len() == 1);
    if composite.as_ref() != Some(&object.etag) && whole.as_ref() != Some(&object.etag) {
        // Cut in other places: no ETag is claimed for our parts.
        parts.iter_mut().for_each(|part| part.etag.clear());
    }

    data.etag = object.etag;
    data.version_id = object.version_id;
    let as_json = |value: serde_json::Result<serde_json::Value>| {
        value
            .map(Some)
            .or_kind(Kind::Internal, || "write a record as JSON".into())
    };

    let changes = [
        ("data", as_json(serde_json::to_value(&data))?),
        ("parts", as_json(serde_json::to_value(&parts))?),
    ];
    let body = rewrite(&sidecar, &bytes, changes)?;
    if !replace_sidecar(lsu, Some(bytes), body, &sidecar).await? {
        return Ok(None);
    }

    Ok(Some(format!(
        "all {} bytes are right, and the sidecar has the object's ETag",
        data.size
    )))
}
