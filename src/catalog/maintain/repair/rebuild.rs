//! A sidecar made again from the data object, and what refuses that.
//!
//! The steps: what the old record still tells; which data object is meant; whether an older version of the sidecar is
//! that object's, and comes back, or contradicts it, and nothing is changed; at last a new sidecar from its sources.

use bytes::Bytes;

use super::replace::replace_sidecar;
use super::sources::{content, identity, metadata};
use crate::catalog::audit::orphans::closing::says_complete;
use crate::catalog::format::image_id::ImageId;
use crate::catalog::format::keys::Folder;
use crate::catalog::format::parse::parse_sidecar;
use crate::catalog::format::record::{
    Closing, ImageState, PendingState, SCHEMA, Sidecar, Writer, now_text, object_metadata, seconds_text, to_bytes,
};
use crate::catalog::format::remains::Remains;
use crate::catalog::history::last_sidecar;
use crate::catalog::lsu::Lsu;
use crate::catalog::meta;
use crate::catalog::records::PendingEntry;
use crate::catalog::remove::versions;
use crate::engine::checksum::Crc64;
use crate::error::{Error, Kind, Result, ResultExt};
use crate::objstore::s3::types::ObjectInfo;
use crate::objstore::s3::versions::ObjectVersion;

/// A sidecar from the data object, its metadata, what the server or the bytes tell of its parts, and what the old one
/// still tells. What was done in words; None where nothing was to be done.
pub(super) async fn rebuild(lsu: &Lsu, id: &ImageId, data: Option<&str>, deep: bool) -> Result<Option<String>> {
    let old = old_record(lsu, id).await?;
    let Some(mut remains) = remains_of(lsu, id, old.as_ref())? else {
        return Ok(None);
    };
    let data = find_data(lsu, id, data, old.is_some(), &mut remains).await?;
    let object = lsu.store().head(lsu.bucket(), &data).await?;

    // What was written first tells more than anything that could be rebuilt, unless it contradicts what is there.
    // The mark of a delete is none of it.
    let is_image = |(sidecar, _): &(Sidecar, Bytes)| sidecar.state == ImageState::Complete;
    if let Some((sidecar, bytes)) = last_sidecar(lsu, id).await?.filter(is_image) {
        if describes(lsu, &sidecar, &data, &object).await? {
            let is_back = replace_sidecar(lsu, old, bytes, &sidecar).await?;
            return Ok(is_back.then(|| "the last version of the sidecar that can be read is back".into()));
        }
        refuse_another(lsu, &sidecar, &data, &object, old.is_some()).await?;
    }
    if old.is_none() {
        refuse_torso(lsu, id, &data).await?;
    }

    let sidecar = new_sidecar(lsu, id, &data, &object, &remains, deep).await?;
    let body = with_unknown_fields(&sidecar, &remains)?;
    if !replace_sidecar(lsu, old, body, &sidecar).await? {
        return Ok(None);
    }
    let size = sidecar.content.data.size;
    let parts = sidecar.content.parts.len();
    let plural = if parts == 1 { "" } else { "s" };
    Ok(Some(format!(
        "the sidecar is rebuilt from {size} bytes in {parts} part{plural}"
    )))
}

/// The record that is there, whatever is in it.
async fn old_record(lsu: &Lsu, id: &ImageId) -> Result<Option<Bytes>> {
    let key = lsu.keys().sidecar(id);
    lsu.record(&key).await.map_err(|error| match error.kind() {
        Kind::Corrupt => error.context(format!(
            "{key} cannot be read: if it stays so, move it away with an S3 tool"
        )),
        _ => error,
    })
}

/// What the old record still tells; None when it is good.
fn remains_of(lsu: &Lsu, id: &ImageId, old: Option<&Bytes>) -> Result<Option<Remains>> {
    let Some(bytes) = old else {
        return Ok(Some(Remains::default()));
    };
    match parse_sidecar(lsu.keys(), id, bytes) {
        Ok(_) => Ok(None),
        // A newer version of this program may understand it.
        Err(error) if error.kind() == Kind::Unsupported => Err(error),
        Err(_) => Ok(Some(Remains::read(lsu.keys(), id, bytes))),
    }
}

/// The key of the data object that the image means; a pending record that goes with it adds what it tells to `remains`.
async fn find_data(
    lsu: &Lsu,
    id: &ImageId,
    found: Option<&str>,
    has_old: bool,
    remains: &mut Remains,
) -> Result<String> {
    let now = lsu.now().await?;
    let pendings = lsu.pendings(id).await?;

    // A writer that died between its sidecar and the end of its own record has left that: its data are the image's.
    // What was closed incomplete is another attempt's.
    let closing = |entry: &PendingEntry| entry.pending.closing == Some(Closing::Complete);
    let is_of_image = |entry: &PendingEntry| {
        let dead = entry.pending.state == PendingState::Writing && !entry.is_held_by_another(now);
        dead && (has_old || closing(entry))
    };
    let (of_image, others): (Vec<_>, Vec<_>) = pendings.iter().partition(|entry| is_of_image(entry));
    let data = choose_data(lsu, id, found, remains, &others).await?;

    let mut closed = of_image.iter().filter(|entry| closing(entry));
    if let Some(entry) = closed.find(|entry| entry.pending.key == data) {
        remains.add_pending(&entry.pending);
    }
    Ok(data)
}

/// The sidecar of the object at `data`, from all that still tells of the image.
async fn new_sidecar(
    lsu: &Lsu,
    id: &ImageId,
    data: &str,
    object: &ObjectInfo,
    remains: &Remains,
    deep: bool,
) -> Result<Sidecar> {
    let (image, created) = identity(id, data, object, remains)?;
    let content = content(lsu, data, object, remains, deep).await?;
    remains.agrees_with(&content).map_err(|why| {
        let way_out = "bring the right object back from a version, a snapshot or a copy; to go by the object alone, move \
                       the record away with an S3 tool and repair again";
        Error::new(Kind::Corrupt, format!("rebuild the sidecar of image {id}: {why}; nothing was changed: {way_out}"))
    })?;

    let completed = remains.completed.clone();
    Ok(Sidecar {
        schema: SCHEMA,
        state: ImageState::Complete,
        image,
        content,
        meta: metadata(lsu, id, remains).await?,
        created,
        completed: completed.unwrap_or_else(|| seconds_text(object.modified)),
        writer: remains.writer.clone().unwrap_or_else(Writer::this),
        rebuilt: Some(now_text()),
        retention: None,
    })
}

/// True when an older sidecar is one of this object, as far as that tells: its size, its CRC, its identity, and
/// metadata that can be read.
async fn describes(lsu: &Lsu, sidecar: &Sidecar, data: &str, object: &ObjectInfo) -> Result<bool> {
    let content = &sidecar.content;
    let is_named = object.metadata.contains_key("vastost-schema");
    let identity = object_metadata(&sidecar.image, &sidecar.created);
    let is_same = !is_named
        || identity
            .iter()
            .all(|(name, value)| object.metadata.get(name) == Some(value));
    let has_crc = object
        .crc64
        .as_ref()
        .is_none_or(|told| *told == content.crc64nvme.to_base64());
    if content.data.key != data || content.data.size != object.size || !is_same || !has_crc {
        return Ok(false);
    }
    match meta::load(lsu.store(), lsu.bucket(), sidecar.meta.as_ref()).await {
        Err(error) if matches!(error.kind(), Kind::Corrupt | Kind::NotFound) => Ok(false),
        other => other.map(|_| true),
    }
}

/// Refuses to make a record of an object that an older version of the sidecar contradicts by size, CRC or place:
/// somebody may have overwritten the image, and from a new record on nothing would say so. Where no unreadable sidecar
/// lies on top, the older one may have been moved away on purpose: then it counts while the store still has data that
/// it describes.
async fn refuse_another(lsu: &Lsu, last: &Sidecar, data: &str, object: &ObjectInfo, is_covered: bool) -> Result<()> {
    let id = &last.image.id;
    let recorded = &last.content.data;
    let told = object.crc64.as_deref().and_then(Crc64::from_base64);
    let other_crc = told.is_some_and(|told| told != last.content.crc64nvme);
    if recorded.key == data && recorded.size == object.size && !other_crc {
        return Ok(());
    }
    let fits = |version: &ObjectVersion| !version.is_marker && version.size == recorded.size;
    let can_come_back = versions(lsu, &recorded.key).await?.unwrap_or_default().iter().any(fits);
    if !is_covered && !can_come_back {
        return Ok(());
    }
    let size = recorded.size;
    let what = format!(
        "rebuild the sidecar of image {id}: an older version of it tells of {size} bytes at {}",
        recorded.key
    );
    let is = format!("{data} has {} and is not that; nothing was changed", object.size);
    let way_out = "`vastost-s3 undelete` brings that image back; to go by the object alone, remove every version of the \
                   sidecar with an S3 tool and repair again";
    Err(Error::new(Kind::Corrupt, format!("{what}, and {is}: {way_out}")))
}

/// Data whose pending record `gc` has set aside: only one that says so was about to be an image.
async fn refuse_torso(lsu: &Lsu, id: &ImageId, data: &str) -> Result<()> {
    let Some((_, Some(attempt))) = lsu.keys().parse(Folder::Data, data) else {
        return Ok(());
    };
    let kept = lsu.keys().replaced(id, &attempt);
    let Some(bytes) = lsu.record_of_any_size(&kept).await? else {
        return Ok(());
    };
    if says_complete(&bytes) {
        return Ok(());
    }
    let what = format!(
        "rebuild the sidecar of image {id}: {kept}, which was the record of its writing, does not say that it was ever \
         complete; to make an image of what is there all the same, move that record away with an S3 tool and repair again"
    );
    Err(Error::new(Kind::Unsupported, what))
}

/// The data object that the image means: the one that the damaged sidecar still names, or the only one there is that no
/// pending image of `others` holds. Of several nobody can tell which one was completed.
async fn choose_data(
    lsu: &Lsu,
    id: &ImageId,
    found: Option<&str>,
    remains: &Remains,
    others: &[&PendingEntry],
) -> Result<String> {
    let error = |what: String| {
        Err(Error::new(
            Kind::NotFound,
            format!("rebuild the sidecar of image {id}: {what}"),
        ))
    };

    let mut candidates = lsu.keys_of(Folder::Data, id).await?;
    if let Some(named) = &remains.data_key {
        if !candidates.contains(named) {
            return error(format!(
                "it names {named}, which is not there; `vastost-s3 undelete` looks for older versions"
            ));
        }
        candidates = vec![named.clone()];
    } else {
        candidates.retain(|key| others.iter().all(|entry| entry.pending.key != *key));
    }

    if found.is_some_and(|found| candidates.iter().all(|candidate| candidate != found)) {
        candidates.clear();
    }
    match candidates.as_slice() {
        [only] => Ok(only.clone()),
        [] => error("it has no data object; `vastost-s3 rm` removes the record, and keeps a copy of it".into()),
        several => error(format!(
            "it has several data objects, and none is named: {}",
            several.join(", ")
        )),
    }
}

/// The new sidecar with the fields of the old one that this version does not know.
fn with_unknown_fields(sidecar: &Sidecar, remains: &Remains) -> Result<Bytes> {
    let new = serde_json::to_value(sidecar).or_kind(Kind::Internal, || "write a record as JSON".into())?;
    let mut fields = remains.fields.clone();
    fields.remove("meta");
    fields.extend(new.as_object().cloned().unwrap_or_default());
    to_bytes(&fields)
}
