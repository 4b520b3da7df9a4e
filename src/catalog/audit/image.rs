//! One image by its records: sidecar, data object, object metadata, image metadata.

use super::orphans;
use super::read::{Read, head, head_again, is_still_there, read_listed, read_sidecar, read_sidecar_alone, unreadable};
use super::report::{Class, Level, Severity};
use super::walk::Group;
use super::{Found, Scope};
use crate::catalog::audit::remedy::Remedy;
use crate::catalog::format::image_id::ImageId;
use crate::catalog::format::record::{Content, ImageState, Sidecar, object_metadata};
use crate::catalog::meta::{self, Meta};
use crate::config::PARTS_MAX;
use crate::engine::checksum::{Crc64, Md5Sum, composite_etag};
use crate::error::{Kind, Result};
use crate::objstore::s3::types::{ListedObject, ObjectInfo};

/// What the records of one image tell.
#[derive(Debug, Default)]
pub struct Checked {
    pub found: Vec<Found>,
    /// Present when the image is complete and its data object is there.
    pub sidecar: Option<Box<Sidecar>>,
    pub deleting: bool,
    /// Deleted since it was listed.
    pub gone: bool,
    /// True when the size is that of a sidecar that could be read.
    pub known: bool,
    /// The sidecar is one that `repair` made.
    pub rebuilt: bool,
    /// The data's size, by the sidecar where there is one.
    pub bytes: u64,
    /// There are data, and neither a sidecar nor a pending record.
    pub unrecorded: bool,
    /// It has a sidecar, which the list of them lacks.
    pub unlisted: bool,
}

/// Checks one image; what cannot be read becomes a finding.
pub(super) async fn check(scope: &Scope, group: &Group) -> Checked {
    let mut checked = Checked::default();
    if let Err(error) = check_group(scope, group, &mut checked).await {
        checked.found.push(unreadable(scope, &group.id, &error));
    }
    checked
}

async fn check_group(scope: &Scope, group: &Group, checked: &mut Checked) -> Result<()> {
    let key = scope.lsu.keys().sidecar(&group.id);
    // Kept as long as the sidecar is.
    let _room = match &group.sidecar {
        Some(listed) => Some(scope.lsu.room().take(listed.size).await?),
        None => None,
    };
    let sidecar = match &group.sidecar {
        Some(listed) => match read_listed(scope, &group.id).await? {
            Read::Valid(sidecar) => Some((sidecar, listed.modified)),
            Read::Gone => {
                checked.gone = true;
                None
            }
            Read::Invalid(why) => {
                checked.bytes = group
                    .data
                    .iter()
                    .map(|(_, object)| object.size)
                    .max()
                    .unwrap_or_default();
                let found = scope.found(
                    Class::SidecarInvalid,
                    Some(&group.id),
                    Some(&key),
                    "a sidecar of schema 1",
                    why,
                );
                checked.found.push(found.with(Remedy::Rebuild(group.id.clone())));
                // Which data it meant cannot be told.
                return Ok(());
            }
            Read::Newer(why) => {
                checked.bytes = group
                    .data
                    .iter()
                    .map(|(_, object)| object.size)
                    .max()
                    .unwrap_or_default();
                let mut found = scope.found(
                    Class::SidecarInvalid,
                    Some(&group.id),
                    Some(&key),
                    "a sidecar of schema 1",
                    why,
                );
                found.finding.advice =
                    "a newer version wrote it: upgrade this one; nothing is changed until then".into();
                // `repair` says so too.
                checked.found.push(found.with(Remedy::Rebuild(group.id.clone())));
                return Ok(());
            }
        },
        None => None,
    };
    let mut ours = None;
    if let Some((sidecar, modified)) = sidecar {
        (checked.bytes, checked.known) = (sidecar.content.data.size, true);
        checked.rebuilt = sidecar.rebuilt.is_some();
        ours = Some(sidecar.content.data.key.clone());
        if sidecar.state == ImageState::Deleting {
            checked.deleting = true;
            if scope.is_old(modified) && is_left(scope, &group.id, modified).await? {
                let found = "marked as deleted, and still there";
                let found = scope.found(
                    Class::DeleteUnfinished,
                    Some(&group.id),
                    Some(&key),
                    "no sidecar",
                    found,
                );
                checked.found.push(found.with(Remedy::FinishDelete(group.id.clone())));
            }
        } else {
            check_sidecar(scope, group, *sidecar, checked).await?;
        }
    }
    if group.sidecar.is_none() && !group.data.is_empty() {
        checked.unrecorded = !has_any_pending(scope, group).await? && is_unrecorded(scope, group).await?;
        // A list of sidecars that lacks one is no reason to pass its image by.
        if !checked.unrecorded
            && let Read::Valid(sidecar) = read_sidecar_alone(scope, &group.id).await?
            && sidecar.state == ImageState::Complete
        {
            (checked.bytes, checked.known, checked.unlisted) = (sidecar.content.data.size, true, true);
            checked.rebuilt = sidecar.rebuilt.is_some();
            ours = Some(sidecar.content.data.key.clone());
            check_sidecar(scope, group, *sidecar, checked).await?;
        }
    }
    if scope.options.leftovers {
        for (attempt, object) in group
            .data
            .iter()
            .filter(|(_, object)| Some(&object.key) != ours.as_ref())
        {
            checked
                .found
                .extend(orphans::judge_data(scope, &group.id, attempt, object).await?);
        }
    }
    Ok(())
}

/// True when an image of which no pending record was to be found has no sidecar either. A writer puts its pending record
/// before its data, and removes it after its sidecar.
async fn is_unrecorded(scope: &Scope, group: &Group) -> Result<bool> {
    let key = scope.lsu.keys().sidecar(&group.id);
    let Some((_, object)) = group.data.first() else {
        return Ok(false);
    };
    Ok(head(scope, &key).await?.is_none() && head(scope, &object.key).await?.is_some())
}

async fn has_any_pending(scope: &Scope, group: &Group) -> Result<bool> {
    for (attempt, _) in &group.data {
        if orphans::has_pending(scope, &group.id, attempt).await? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// False when the delete was under way: a mark that is only just there is looked at again after a while.
async fn is_left(scope: &Scope, id: &ImageId, modified: u64) -> Result<bool> {
    if !scope.is_just_now(modified) {
        return Ok(true);
    }
    scope.wait_for_second_look().await;
    Ok(matches!(read_sidecar(scope, id).await?, Read::Valid(sidecar) if sidecar.state == ImageState::Deleting))
}

/// A complete image: its data must be there, be what was written, and say so themselves.
async fn check_sidecar(scope: &Scope, group: &Group, sidecar: Sidecar, checked: &mut Checked) -> Result<()> {
    let (id, data) = (&group.id, &sidecar.content.data);
    let listed = group
        .data
        .iter()
        .map(|(_, object)| object)
        .find(|object| object.key == data.key);
    let object = match (listed, scope.options.level) {
        // Some listings tell no ETag, or one of their own.
        (Some(listed), Level::Quick) if listed.size == data.size && listed.etag == data.etag => {
            Some(of_listing(listed))
        }
        // A listing may be older than the sidecar, and only HEAD has the object's metadata.
        (listed, _) => match head(scope, &data.key).await? {
            // One answer against the listing is no verdict.
            None if listed.is_some() => head_again(scope, &data.key).await?,
            seen => seen,
        },
    };
    let damns = |found: Option<Found>| found.is_some_and(|found| found.finding.severity == Severity::Error);
    let object = match object {
        // One answer damns no image: asked again.
        Some(seen) if damns(check_object(scope, &sidecar, &seen)) => head_again(scope, &data.key).await?,
        seen => seen,
    };
    let Some(object) = object else {
        if !is_still_there(scope, &sidecar).await? {
            checked.gone = true;
            return Ok(());
        }
        let expected = format!("{} bytes with ETag {}", data.size, data.etag);
        checked.found.push(scope.found(
            Class::DataMissing,
            Some(id),
            Some(&data.key),
            expected,
            "no such object",
        ));
        return Ok(());
    };
    checked.found.extend(check_object(scope, &sidecar, &object));
    if let Some(found) = archived(scope, id, &data.key, &object) {
        checked.found.push(found);
        return Ok(());
    }
    if scope.options.level > Level::Quick {
        // Asked again before it is a finding.
        match check_metadata(scope, &sidecar, &object) {
            Some(found) if found.finding.severity == Severity::Error => {
                let again = head(scope, &data.key).await?;
                checked
                    .found
                    .extend(again.and_then(|again| check_metadata(scope, &sidecar, &again)));
            }
            found => checked.found.extend(found),
        }
        check_part_list(scope, &sidecar, checked);
        check_image_meta(scope, &sidecar, checked).await?;
    }
    // Only what is read needs its part list any further.
    checked.sidecar = (scope.options.level == Level::Deep).then(|| Box::new(sidecar));
    Ok(())
}

/// The finding of an object in an archive: it is there, and no GET can read it.
fn archived(scope: &Scope, id: &ImageId, key: &str, object: &ObjectInfo) -> Option<Found> {
    let class = object.archived.as_ref()?;
    let (expected, found) = (
        "an object that can be read",
        format!("storage class {class}: restore it from the archive first"),
    );
    Some(scope.found(Class::Unreadable, Some(id), Some(key), expected, found))
}

/// Size, ETag and, where the server tells it, CRC of the object against the sidecar's. An ETag is a hint, since a copy of
/// an LSU may bring new ones: another one is a question, and a verdict needs the bytes or the server's own CRC.
fn check_object(scope: &Scope, sidecar: &Sidecar, object: &ObjectInfo) -> Option<Found> {
    let (id, data) = (&sidecar.image.id, &sidecar.content.data);
    let told = object.crc64.as_deref().and_then(Crc64::from_base64);
    if object.size != data.size {
        let (expected, found) = (format!("{} bytes", data.size), format!("{} bytes", object.size));
        return Some(scope.found(Class::DataSize, Some(id), Some(&data.key), expected, found));
    }
    if let Some(told) = told.filter(|told| *told != sidecar.content.crc64nvme) {
        let expected = format!("CRC64NVME {:016x}", sidecar.content.crc64nvme.0);
        let found = format!("CRC64NVME {:016x}, as the server has it", told.0);
        let mut found = scope.found(Class::DataChecksum, Some(id), Some(&data.key), expected, found);
        if object.etag == data.etag {
            // Some stores get the CRC of several parts wrong: one witness against another is a question.
            found.finding.severity = Severity::Warning;
            found.finding.advice =
                "the ETag is that of the record, the server's CRC64NVME is not: `vastost-s3 verify --deep` reads the bytes".into();
        }
        return Some(found);
    }
    if object.etag == data.etag {
        return None;
    }
    let (expected, found) = (format!("ETag {}", data.etag), format!("ETag {}", object.etag));
    let found = scope.found(Class::DataEtag, Some(id), Some(&data.key), expected, found);
    Some(found.with(Remedy::NewEtag(id.clone())))
}

/// The identity that the object carries itself, from which a sidecar could be rebuilt. Copies and gateways lose it, which
/// is a warning; one that names something else is an error.
fn check_metadata(scope: &Scope, sidecar: &Sidecar, object: &ObjectInfo) -> Option<Found> {
    let (id, key) = (&sidecar.image.id, &sidecar.content.data.key);
    if !object.metadata.keys().any(|name| name.starts_with("vastost-")) {
        let (expected, found) = (
            "object metadata that name the image",
            "an object without them, copied perhaps",
        );
        let mut found = scope.found(Class::SidecarMismatch, Some(id), Some(key), expected, found);
        found.finding.severity = Severity::Warning;
        found.finding.advice = "only the sidecar tells its policy and type now, so keep a copy of the sidecar".into();
        return Some(found);
    }
    let mut differences = Vec::new();
    for (name, expected) in object_metadata(&sidecar.image, &sidecar.created) {
        let found = object.metadata.get(&name);
        // Some servers drop headers without a value.
        if found.map(String::as_str).unwrap_or_default() != expected {
            differences.push((name, expected, found.cloned()));
        }
    }
    if differences.is_empty() {
        return None;
    }
    let text = |value: &Option<String>| {
        value
            .as_ref()
            .map_or("nothing".to_owned(), |value| format!("{value:?}"))
    };
    let expected: Vec<_> = differences
        .iter()
        .map(|(name, value, _)| format!("{name} {value:?}"))
        .collect();
    let found: Vec<_> = differences
        .iter()
        .map(|(name, _, value)| format!("{name} {}", text(value)))
        .collect();
    let class = Class::SidecarMismatch;
    Some(scope.found(class, Some(id), Some(key), expected.join(", "), found.join(", ")))
}

/// The parts that the sidecar lists must make up the ETag that it has: else one of the two was changed.
fn check_part_list(scope: &Scope, sidecar: &Sidecar, checked: &mut Checked) {
    let (content, id) = (&sidecar.content, &sidecar.image.id);
    if let Some(found) = wrong_number(content) {
        let expected = format!("part numbers from 1 to {PARTS_MAX}, each higher than the one before");
        let key = scope.lsu.keys().sidecar(id);
        checked
            .found
            .push(scope.found(Class::SidecarMismatch, Some(id), Some(&key), expected, found));
        return;
    }
    let etags = || content.parts.iter().map(|part| part.etag.as_str());
    let expected = match (content.parts.as_slice(), content.data.etag.rsplit_once('-')) {
        ([], _) => return,
        // A rebuilt sidecar may not know the ETags of its parts.
        (parts, _) if parts.iter().any(|part| part.etag.is_empty()) => None,
        ([only], None) => Some(only.etag.clone()),
        (_, None) => None,
        // Encrypted buckets have part ETags that are no MD5s: then only their number can be compared.
        (_, Some((hash, _))) => Md5Sum::from_etag(hash).and_then(|_| composite_etag(etags())),
    };
    let made_of = content
        .data
        .etag
        .rsplit_once('-')
        .and_then(|(_, count)| count.parse().ok());
    // A copy may be cut in other places, and then no ETag is claimed for our parts.
    let claimed = etags().all(|etag| !etag.is_empty());
    let count_differs = claimed && made_of.is_some_and(|count: usize| count != content.parts.len());
    if count_differs || expected.is_some_and(|expected| expected != content.data.etag) {
        let parts = |count: usize| format!("{count} part{}", if count == 1 { "" } else { "s" });
        let expected = format!(
            "{} that make up ETag {}",
            parts(made_of.unwrap_or(1)),
            content.data.etag
        );
        let found = format!("{} with other ETags", parts(content.parts.len()));
        let key = scope.lsu.keys().sidecar(id);
        checked
            .found
            .push(scope.found(Class::SidecarMismatch, Some(id), Some(&key), expected, found));
    }
}

/// Parts are numbered as S3 numbers them, in the order of their bytes.
fn wrong_number(content: &Content) -> Option<String> {
    let mut last = 0;
    for part in &content.parts {
        if part.number <= last || part.number > PARTS_MAX {
            return Some(format!("part number {} after {last}", part.number));
        }
        last = part.number;
    }
    None
}

/// Metadata of NetBackup beside the image: in the sidecar, or an object of their own.
async fn check_image_meta(scope: &Scope, sidecar: &Sidecar, checked: &mut Checked) -> Result<()> {
    let (id, lsu) = (&sidecar.image.id, &scope.lsu);
    match &sidecar.meta {
        None => {}
        Some(inline @ Meta::Inline { .. }) => {
            if let Err(error) = meta::load(lsu.store(), lsu.bucket(), Some(inline)).await {
                let (key, expected) = (lsu.keys().sidecar(id), "image metadata in base64");
                checked.found.push(scope.found(
                    Class::SidecarInvalid,
                    Some(id),
                    Some(&key),
                    expected,
                    error.to_string(),
                ));
            }
        }
        Some(Meta::Object { key, size, crc64nvme }) => {
            let object = match head(scope, key).await? {
                Some(seen) if seen.size == *size => Some(seen),
                _ => head_again(scope, key).await?,
            };
            if let Some(found) = object.as_ref().and_then(|object| archived(scope, id, key, object)) {
                checked.found.push(found);
                return Ok(());
            }
            let whole = object.as_ref().is_some_and(|object| object.size == *size);
            let sound = if whole && scope.options.level == Level::Deep {
                meta::load(lsu.store(), lsu.bucket(), sidecar.meta.as_ref())
                    .await
                    .map(drop)
            } else {
                Ok(())
            };
            let found = match (object, sound) {
                (Some(_), Ok(())) if whole => return Ok(()),
                (Some(_), Err(error)) if error.kind() != Kind::Corrupt => return Err(error),
                (Some(_), Err(_)) => "other bytes".to_owned(),
                (Some(object), Ok(())) => format!("{} bytes", object.size),
                (None, _) => "no such object".to_owned(),
            };
            if is_still_there(scope, sidecar).await? {
                let expected = format!("{size} bytes with CRC64NVME {:016x}", crc64nvme.0);
                checked
                    .found
                    .push(scope.found(Class::MetaMissing, Some(id), Some(key), expected, found));
            }
        }
    }
    Ok(())
}

fn of_listing(listed: &ListedObject) -> ObjectInfo {
    ObjectInfo {
        size: listed.size,
        etag: listed.etag.clone(),
        ..ObjectInfo::default()
    }
}
