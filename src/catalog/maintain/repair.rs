//! Mending records from what the store still has: sidecars from data objects, half-done completions and deletes.
//!
//! Nothing that is good is ever overwritten, and a record that is replaced is kept under `replaced/`.

use bytes::Bytes;

use super::gc::{Removed, finish_delete, take_judged};
use crate::catalog::audit::orphans::closing::says_complete;
use crate::catalog::audit::remedy::{JudgedPending, Remedy};
use crate::catalog::format::escape::{Name, unescape};
use crate::catalog::format::image_id::{ImageDef, ImageId};
use crate::catalog::format::keys::{Attempt, Folder};
use crate::catalog::format::parse::parse_sidecar;
use crate::catalog::format::record::{
    Closing, Content, ImageState, PartRecord, Pending, PendingState, SCHEMA, Sidecar, Writer, now_text,
    object_metadata, rewrite, seconds_text, to_bytes,
};
use crate::catalog::format::remains::Remains;
use crate::catalog::history::last_sidecar;
use crate::catalog::lsu::{Lsu, PendingEntry};
use crate::catalog::meta::{self, META_SIZE_MAX, Meta};
use crate::catalog::remove::{remove_record, versions};
use crate::catalog::write::backup::{commit, confirm_data, sidecar};
use crate::catalog::write::lease::Record;
use crate::catalog::write::recover::{parts_of, prove, read_back, salvage};
use crate::engine::checksum::{Crc64, composite_etag};
use crate::error::{Error, Kind, Result, ResultExt};
use crate::objstore::s3::digest::digest_range;
use crate::objstore::s3::multipart::StoredPart;
use crate::objstore::s3::types::{ObjectInfo, SentPart};
use crate::objstore::s3::versions::ObjectVersion;

/// What became of one thing to mend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mended {
    /// In words.
    Yes(String),
    /// It is good now, or somebody is at work on it.
    NotNeeded,
}

/// What [`mend`] would do, in words; None for what cannot be mended.
pub fn plan(remedy: &Remedy) -> Option<&'static str> {
    match remedy {
        Remedy::Rebuild(_) => Some("rebuild the sidecar, and keep the one that is there under replaced/"),
        Remedy::OrphanData { .. } => Some("rebuild the sidecar that the data have lost"),
        Remedy::FinishDelete(_) => Some("finish the delete"),
        Remedy::NewEtag(_) => Some("read the image, and record the object's ETag if every byte is right (with --deep)"),
        Remedy::Pending(judged) if judged.closing == Some(Closing::Complete) => Some("finish the completion"),
        _ => None,
    }
}

/// Mends one thing. Without `deep` no image is read: what only its bytes could tell is refused, and says so.
pub async fn mend(lsu: &Lsu, remedy: &Remedy, deep: bool) -> Result<Mended> {
    match remedy {
        Remedy::Rebuild(id) => rebuild(lsu, id, None, deep).await,
        Remedy::OrphanData { id, key } => rebuild(lsu, id, Some(key), deep).await,
        Remedy::FinishDelete(id) => end_delete(lsu, id).await,
        Remedy::Pending(judged) => finish_completion(lsu, judged).await,
        Remedy::NewEtag(id) => record_etag(lsu, id, deep).await,
        _ => Ok(Mended::NotNeeded),
    }
}

/// A delete that the store refuses is taken back.
async fn end_delete(lsu: &Lsu, id: &ImageId) -> Result<Mended> {
    match finish_delete(lsu, id).await {
        Ok(Removed::Yes) => Ok(Mended::Yes("the delete is finished".into())),
        Ok(_) => Ok(Mended::NotNeeded),
        Err(refused) => match lsu.sidecar(id).await? {
            Some((sidecar, _)) if sidecar.state == ImageState::Complete => Ok(Mended::Yes(format!(
                "the store refuses the delete, so the image is complete again: {refused}"
            ))),
            _ => Err(refused),
        },
    }
}

/// An image whose writer ended between the last part and the sidecar: all that the sidecar needs is in the record.
async fn finish_completion(lsu: &Lsu, judged: &JudgedPending) -> Result<Mended> {
    let id = &judged.id;
    if judged.closing != Some(Closing::Complete) {
        return Ok(Mended::NotNeeded);
    }
    // Beside a sidecar it is not needed, and must not be taken, which would make it new.
    if lsu.sidecar(id).await?.is_some() {
        return Ok(Mended::NotNeeded);
    }
    let Some((record, entry)) = take_judged(lsu, judged).await? else {
        return Ok(Mended::NotNeeded);
    };
    let Some(mut record) = record else {
        return Err(Error::new(
            Kind::NoSpace,
            format!("finish image {id}: the store takes no record"),
        ));
    };
    let wanted: u64 = entry.pending.sent.iter().map(|part| part.size).sum();
    let done = complete(lsu, &entry, &mut record, wanted).await;
    if !matches!(done, Ok(true)) {
        // Whoever tries again, wherever, need not wait for us.
        record.give_back(&entry.pending).await;
        return done.map(|_| Mended::NotNeeded);
    }
    lsu.count_in(wanted).await;
    remove_record(lsu, &entry.key).await?;
    Ok(Mended::Yes(format!("the image is complete with {wanted} bytes")))
}

/// Makes a taken attempt of `wanted` bytes the image; false where there is a sidecar by now.
async fn complete(lsu: &Lsu, entry: &PendingEntry, record: &mut Record, wanted: u64) -> Result<bool> {
    let id = &entry.pending.image.id;
    if lsu.sidecar(id).await?.is_some() {
        return Ok(false);
    }
    let capabilities = lsu.capabilities().await?;
    let content = salvage(lsu, &entry.pending)
        .await?
        .filter(|content| content.data.size == wanted);
    let content = content.ok_or_else(|| {
        let what = format!("finish image {id}: not all of its {wanted} bytes are on the store any more");
        Error::new(Kind::NotFound, what)
    })?;
    record
        .confirm(&Pending {
            writer: Writer::this(),
            ..entry.pending.clone()
        })
        .await?;
    commit(lsu, &sidecar(&entry.pending, content), capabilities.conditional_put).await?;
    Ok(true)
}

/// Puts a sidecar in the place of `old`, which is kept, unless somebody has changed it since it was read or writes the
/// image; then looks whether its data are still there.
async fn replace_sidecar(lsu: &Lsu, old: Option<Bytes>, new: Bytes, described: &Sidecar) -> Result<bool> {
    let id = &described.image.id;
    let key = lsu.keys().sidecar(id);
    let only_new = old.is_none() && lsu.capabilities().await?.conditional_put;
    if let Some(bytes) = old.clone() {
        lsu.put_record(&lsu.keys().replaced(id, &Attempt::new()), bytes, false)
            .await?;
    }
    let now = lsu.now().await?;
    let written = lsu
        .pendings(id)
        .await?
        .iter()
        .any(|entry| entry.is_held_by_another(now));
    if written || lsu.record(&key).await? != old {
        return Ok(false);
    }
    lsu.put_record(&key, new, only_new).await?;
    confirm_data(lsu, described).await?;
    Ok(true)
}

/// An object that was copied keeps its bytes and gets another ETag: every part is read and compared with its CRC, then
/// the sidecar is told.
async fn record_etag(lsu: &Lsu, id: &ImageId, deep: bool) -> Result<Mended> {
    let Some((sidecar, bytes)) = lsu.sidecar(id).await? else {
        return Ok(Mended::NotNeeded);
    };
    let mut data = sidecar.content.data.clone();
    let object = lsu.store().head(lsu.bucket(), &data.key).await?;
    if sidecar.state != ImageState::Complete || object.etag == data.etag || object.size != data.size {
        return Ok(Mended::NotNeeded);
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
    (data.etag, data.version_id) = (object.etag, object.version_id);
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
        return Ok(Mended::NotNeeded);
    }
    Ok(Mended::Yes(format!(
        "all {} bytes are right, and the sidecar has the object's ETag",
        data.size
    )))
}

/// A sidecar from the data object, its metadata, what the server or the bytes tell of its parts, and what the old one
/// still tells.
async fn rebuild(lsu: &Lsu, id: &ImageId, data: Option<&str>, deep: bool) -> Result<Mended> {
    let key = lsu.keys().sidecar(id);
    let old = lsu.record(&key).await.map_err(|error| match error.kind() {
        Kind::Corrupt => error.context(format!(
            "{key} cannot be read: if it stays so, move it away with an S3 tool"
        )),
        _ => error,
    })?;
    let mut remains = match &old {
        None => Remains::default(),
        Some(bytes) => match parse_sidecar(lsu.keys(), id, bytes) {
            Ok(_) => return Ok(Mended::NotNeeded),
            // A newer version of this program may understand it.
            Err(error) if error.kind() == Kind::Unsupported => return Err(error),
            Err(_) => Remains::read(lsu.keys(), id, bytes),
        },
    };
    let (now, pendings) = (lsu.now().await?, lsu.pendings(id).await?);
    // A writer that died between its sidecar and the end of its own record has left that: its data are the image's. What was
    // closed incomplete is another attempt's.
    let closing = |entry: &PendingEntry| entry.pending.closing == Some(Closing::Complete);
    let is_of_image = |entry: &PendingEntry| {
        let dead = entry.pending.state == PendingState::Writing && !entry.is_held_by_another(now);
        dead && (old.is_some() || closing(entry))
    };
    let (of_image, others): (Vec<_>, Vec<_>) = pendings.iter().partition(|entry| is_of_image(entry));
    let data = choose_data(lsu, id, data, &remains, &others).await?;
    if let Some(entry) = of_image
        .iter()
        .find(|entry| closing(entry) && entry.pending.key == data)
    {
        remains.add_pending(&entry.pending);
    }
    let object = lsu.store().head(lsu.bucket(), &data).await?;
    // What was written first tells more than anything that could be rebuilt, unless it contradicts what is there.
    // The mark of a delete is none of it.
    let is_image = |(sidecar, _): &(Sidecar, Bytes)| sidecar.state == ImageState::Complete;
    if let Some((sidecar, bytes)) = last_sidecar(lsu, id).await?.filter(is_image) {
        if describes(lsu, &sidecar, &data, &object).await? {
            return Ok(match replace_sidecar(lsu, old, bytes, &sidecar).await? {
                true => Mended::Yes("the last version of the sidecar that can be read is back".into()),
                false => Mended::NotNeeded,
            });
        }
        refuse_another(lsu, &sidecar, &data, &object, old.is_some()).await?;
    }
    if old.is_none() {
        refuse_torso(lsu, id, &data).await?;
    }
    let (def, created) = identity(id, &data, &object, &remains)?;
    let content = content(lsu, &data, &object, &remains, deep).await?;
    remains.agrees_with(&content).map_err(|why| {
        let way_out = "bring the right object back from a version, a snapshot or a copy; to go by the object alone, move \
                       the record away with an S3 tool and repair again";
        Error::new(Kind::Corrupt, format!("rebuild the sidecar of image {id}: {why}; nothing was changed: {way_out}"))
    })?;
    let (size, parts) = (content.data.size, content.parts.len());
    let sidecar = Sidecar {
        schema: SCHEMA,
        state: ImageState::Complete,
        image: def,
        content,
        meta: metadata(lsu, id, &remains).await?,
        created,
        completed: remains
            .completed
            .clone()
            .unwrap_or_else(|| seconds_text(object.modified)),
        writer: remains.writer.clone().unwrap_or_else(Writer::this),
        rebuilt: Some(now_text()),
        retention: None,
    };
    let body = with_unknown_fields(&sidecar, &remains)?;
    if !replace_sidecar(lsu, old, body, &sidecar).await? {
        return Ok(Mended::NotNeeded);
    }
    let plural = if parts == 1 { "" } else { "s" };
    Ok(Mended::Yes(format!(
        "the sidecar is rebuilt from {size} bytes in {parts} part{plural}"
    )))
}

/// True when an older sidecar is one of this object, as far as that tells: its size, its CRC, its identity, and metadata that
/// can be read.
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

/// Refuses to make a record of an object that an older version of the sidecar contradicts by size, CRC or place: somebody may
/// have overwritten the image, and from a new record on nothing would say so. Where no unreadable sidecar lies on top, the
/// older one may have been moved away on purpose: then it counts while the store still has data that it describes.
async fn refuse_another(lsu: &Lsu, last: &Sidecar, data: &str, object: &ObjectInfo, is_covered: bool) -> Result<()> {
    let (id, recorded) = (&last.image.id, &last.content.data);
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

/// The new sidecar with the fields of the old one that this version does not know.
fn with_unknown_fields(sidecar: &Sidecar, remains: &Remains) -> Result<Bytes> {
    let new = serde_json::to_value(sidecar).or_kind(Kind::Internal, || "write a record as JSON".into())?;
    let mut fields = remains.fields.clone();
    fields.remove("meta");
    fields.extend(new.as_object().cloned().unwrap_or_default());
    to_bytes(&fields)
}

/// What the object consists of. The old record's own account is taken where it is consistent and the store agrees in size
/// and ETag; with `deep` the bytes alone decide.
async fn content(lsu: &Lsu, data: &str, object: &ObjectInfo, remains: &Remains, deep: bool) -> Result<Content> {
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

/// The identity that the object carries, which must be that of its key. An object whose metadata were lost on the way, by a
/// copy perhaps, is what its key says; the old record tells the rest, or nobody does.
fn identity(id: &ImageId, data: &str, object: &ObjectInfo, remains: &Remains) -> Result<(ImageDef, String)> {
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
    let (def, created) = (
        ImageDef {
            id: id.clone(),
            policy,
            image_type,
        },
        field("vastost-created"),
    );
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
        stored
            .iter_mut()
            .for_each(|part| (part.etag, part.crc64) = (String::new(), None));
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
async fn metadata(lsu: &Lsu, id: &ImageId, remains: &Remains) -> Result<Option<Meta>> {
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
