//! What a sidecar is made of again: the identity that the object carries, its parts, the metadata of NetBackup.
//!
//! Each comes from the best witness that there is: the old record where it is consistent and the store agrees with it,
//! the server's word, and with `deep` the bytes themselves. What no witness tells is an error, never a guess.

use crate::catalog::format::escape::{Name, unescape};
use crate::catalog::format::image_id::{ImageDef, ImageId};
use crate::catalog::format::record::{Content, PartRecord, SCHEMA, object_metadata, seconds_text};
use crate::catalog::format::remains::Remains;
use crate::catalog::lsu::Lsu;
use crate::catalog::meta::{self, META_SIZE_MAX, Meta};
use crate::catalog::write::stored_parts::{parts_of, prove, read_back};
use crate::engine::checksum::{Crc64, composite_etag};
use crate::error::{Error, Kind, Result};
use crate::objstore::s3::multipart::StoredPart;
use crate::objstore::s3::types::{ObjectInfo, SentPart};

/// The identity that the object carries, which must be that of its key. An object whose metadata were lost on the way,
/// by a copy perhaps, is what its key says; the old record tells the rest, or nobody does.
pub(super) fn identity(id: &ImageId, data: &str, object: &ObjectInfo, remains: &Remains) -> Result<(ImageDef, String)> {
    let field = |name: &str| object.metadata.get(name).cloned().unwrap_or_default();
    let created = || remains.created.clone().unwrap_or_else(|| seconds_text(object.modified));
    if !object.metadata.contains_key("vastost-schema") {
        let def = remains.def.clone().unwrap_or_else(|| ImageDef {
            id: id.clone(),
            policy: Name::default(),
            image_type: 0,
        });
        return Ok((def, created()));
    }

    let refuse = |why: String| {
        let what = format!("rebuild the sidecar of image {id}: the metadata of {data} {why}");
        Error::new(Kind::Corrupt, what)
    };

    if field("vastost-schema") != SCHEMA.to_string() {
        return Err(refuse("are of another schema: upgrade first".into()));
    }

    let policy = unescape(&field("vastost-policy")).map(Name::new).unwrap_or_default();
    let image_type = field("vastost-type").parse().unwrap_or_default();
    let def = ImageDef {
        id: id.clone(),
        policy,
        image_type,
    };
    let created = field("vastost-created");

    for (name, value) in object_metadata(&def, &created) {
        if field(&name) != value {
            return Err(refuse(format!(
                "have {name} {:?}, {value:?} was expected",
                field(&name)
            )));
        }
    }

    Ok((def, created))
}

/// What the object consists of. The old record's own account is taken where it is consistent and the store agrees in
/// size and ETag; with `deep` the bytes alone decide.
pub(super) async fn content(
    lsu: &Lsu,
    data: &str,
    object: &ObjectInfo,
    remains: &Remains,
    deep: bool,
) -> Result<Content> {
    let known = remains
        .whole()
        .filter(|(size, _)| *size == object.size)
        .map(|(_, parts)| parts)
        .unwrap_or_default();
    let parts = if deep {
        read_parts(lsu, data, object, known).await?
    } else if !known.is_empty() && remains.etag.as_ref() == Some(&object.etag) {
        let sent = |p: &PartRecord| SentPart {
            number: p.number,
            size: p.size,
            etag: p.etag.clone(),
            crc64: p.crc64nvme,
        };
        known.iter().map(sent).collect()
    } else {
        told_parts(lsu, data, object).await?
    };

    Ok(Content::new(data, object, &parts))
}

/// Parts by the server's word alone: sizes and CRCs. The bytes must be read where it does not know the CRCs.
async fn told_parts(lsu: &Lsu, data: &str, object: &ObjectInfo) -> Result<Vec<SentPart>> {
    let parts = parts_of(lsu, data, object, &[]).await?;
    let whole = object.crc64.as_deref().and_then(Crc64::from_base64);
    let crc_of = |part: &StoredPart| part.crc64.or(whole.filter(|_| part.size == object.size));
    let sent: Option<Vec<SentPart>> = parts
        .iter()
        .map(|part| {
            Some(SentPart {
                number: part.number,
                size: part.size,
                etag: part.etag.clone(),
                crc64: crc_of(part)?,
            })
        })
        .collect();

    let unknown = || {
        let what =
            format!("the server does not know the CRC64NVME of {data}: run repair with --deep, which reads the image");
        Error::new(Kind::Unsupported, what)
    };

    let sent = sent.ok_or_else(unknown)?;
    let combined = sent.iter().fold(Crc64(0), |crc, part| crc.then(part.crc64, part.size));
    if whole.is_some_and(|whole| whole != combined) {
        return Err(unknown());
    }

    Ok(sent)
}

/// Parts by the bytes themselves. Their MD5s are their ETags where they make up the object's ETag; else the object was
/// cut in other places, and no ETag is claimed.
async fn read_parts(lsu: &Lsu, data: &str, object: &ObjectInfo, known: &[PartRecord]) -> Result<Vec<SentPart>> {
    let mut stored = parts_of(lsu, data, object, known).await?;
    if !known.is_empty() {
        // The record is what is to be checked.
        for part in &mut stored {
            part.etag.clear();
            part.crc64 = None;
        }
    }

    if let [only] = stored.as_slice()
        && !object.etag.contains('-')
    {
        return Ok(vec![read_back(lsu, data, only, 0).await?]);
    }

    let unread = stored
        .into_iter()
        .map(|part| StoredPart {
            etag: String::new(),
            ..part
        })
        .collect();

    let mut parts = prove(lsu, data, unread, &[]).await?;
    if composite_etag(parts.iter().map(|part| part.etag.as_str())).is_none_or(|etag| etag != object.etag) {
        parts.iter_mut().for_each(|part| part.etag.clear());
    }

    Ok(parts)
}

/// NetBackup's metadata: those that the old record still has, or an object of their own.
pub(super) async fn metadata(lsu: &Lsu, id: &ImageId, remains: &Remains) -> Result<Option<Meta>> {
    if let Some(meta) = &remains.meta {
        match meta::load(lsu.store(), lsu.bucket(), Some(meta)).await {
            Ok(_) => return Ok(Some(meta.clone())),
            Err(error) if matches!(error.kind(), Kind::Corrupt | Kind::NotFound) => {
                tracing::warn!("image {id}: the metadata that the old record names are lost: {error}");
            }
            Err(error) => return Err(error),
        }
    }

    let keys = lsu.metas(id).await?;
    let key = match keys.as_slice() {
        [] => return Ok(None),
        [only] => only.clone(),
        several => {
            let several = several.join(", ");
            let what = format!(
                "rebuild the sidecar of image {id}: it has several metadata objects, and none is named: {several}"
            );
            return Err(Error::new(Kind::InvalidArgument, what));
        }
    };

    let bytes = lsu.store().get_small(lsu.bucket(), &key, META_SIZE_MAX as u64).await?;

    Ok(Some(Meta::Object {
        key,
        size: bytes.len() as u64,
        crc64nvme: Crc64::of(&bytes),
    }))
}
