//! A complete image: its data must be there, be what was written, and say so themselves.
//!
//! One answer damns no image: what would be an error is asked for again before it is a finding.

use super::object::{archived, check_metadata, check_object, of_listing};
use crate::catalog::audit::read::{head, head_again, is_still_there};
use crate::catalog::audit::report::{Class, Level, Severity};
use crate::catalog::audit::walk::Group;
use crate::catalog::audit::{Found, Scope};
use crate::catalog::format::record::{Content, Sidecar};
use crate::catalog::meta::{self, Meta};
use crate::config::PARTS_MAX;
use crate::engine::checksum::{Md5Sum, composite_etag};
use crate::error::{Kind, Result};
use crate::objstore::s3::types::ObjectInfo;

/// What has become of the data of an image that was complete.
pub(super) enum Data {
    /// They are there, and a GET can read them.
    Readable,
    /// They are not there, or in an archive; a finding says so.
    Unreadable,
    /// The image was deleted since it was listed.
    Gone,
}

/// Checks what `sidecar` names; findings go to `found`, also those from before an error.
pub(super) async fn check_complete(
    scope: &Scope,
    group: &Group,
    sidecar: &Sidecar,
    found: &mut Vec<Found>,
) -> Result<Data> {
    let id = &group.id;
    let data = &sidecar.content.data;

    let Some(object) = data_object(scope, group, sidecar).await? else {
        if !is_still_there(scope, sidecar).await? {
            return Ok(Data::Gone);
        }
        let expected = format!("{} bytes with ETag {}", data.size, data.etag);
        found.push(scope.found(
            Class::DataMissing,
            Some(id),
            Some(&data.key),
            expected,
            "no such object",
        ));
        return Ok(Data::Unreadable);
    };

    found.extend(check_object(scope, sidecar, &object));
    if let Some(archived) = archived(scope, id, &data.key, &object) {
        found.push(archived);
        return Ok(Data::Unreadable);
    }
    if scope.options.level > Level::Quick {
        // Asked again before it is a finding.
        match check_metadata(scope, sidecar, &object) {
            Some(other) if other.finding.severity == Severity::Error => {
                let again = head(scope, &data.key).await?;
                found.extend(again.and_then(|again| check_metadata(scope, sidecar, &again)));
            }
            other => found.extend(other),
        }
        found.extend(check_part_list(scope, sidecar));
        found.extend(check_image_meta(scope, sidecar).await?);
    }
    Ok(Data::Readable)
}

/// The data object as the listing has it, where that is enough, or as HEAD does.
async fn data_object(scope: &Scope, group: &Group, sidecar: &Sidecar) -> Result<Option<ObjectInfo>> {
    let data = &sidecar.content.data;
    let mut objects = group.data.iter().map(|(_, object)| object);
    let listed = objects.find(|object| object.key == data.key);

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
    match object {
        // One answer damns no image: asked again.
        Some(seen) if damns(check_object(scope, sidecar, &seen)) => head_again(scope, &data.key).await,
        seen => Ok(seen),
    }
}

/// The parts that the sidecar lists must make up the ETag that it has: else one of the two was changed.
fn check_part_list(scope: &Scope, sidecar: &Sidecar) -> Option<Found> {
    let content = &sidecar.content;
    let id = &sidecar.image.id;
    let key = scope.lsu.keys().sidecar(id);
    let mismatch = |expected: String, found: String| {
        let class = Class::SidecarMismatch;
        Some(scope.found(class, Some(id), Some(&key), expected, found))
    };
    if let Some(found) = wrong_number(content) {
        let expected = format!("part numbers from 1 to {PARTS_MAX}, each higher than the one before");
        return mismatch(expected, found);
    }

    let etags = || content.parts.iter().map(|part| part.etag.as_str());
    let split = content.data.etag.rsplit_once('-');
    let expected = match (content.parts.as_slice(), split) {
        ([], _) => return None,
        // A rebuilt sidecar may not know the ETags of its parts.
        (parts, _) if parts.iter().any(|part| part.etag.is_empty()) => None,
        ([only], None) => Some(only.etag.clone()),
        (_, None) => None,
        // Encrypted buckets have part ETags that are no MD5s: then only their number can be compared.
        (_, Some((hash, _))) => Md5Sum::from_etag(hash).and_then(|_| composite_etag(etags())),
    };
    let made_of = split.and_then(|(_, count)| count.parse().ok());
    // A copy may be cut in other places, and then no ETag is claimed for our parts.
    let claimed = etags().all(|etag| !etag.is_empty());
    let count_differs = claimed && made_of.is_some_and(|count: usize| count != content.parts.len());

    if count_differs || expected.is_some_and(|expected| expected != content.data.etag) {
        let parts = |count: usize| format!("{count} part{}", if count == 1 { "" } else { "s" });
        let wanted = parts(made_of.unwrap_or(1));
        let expected = format!("{wanted} that make up ETag {}", content.data.etag);
        return mismatch(expected, format!("{} with other ETags", parts(content.parts.len())));
    }
    None
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
async fn check_image_meta(scope: &Scope, sidecar: &Sidecar) -> Result<Option<Found>> {
    let id = &sidecar.image.id;
    let lsu = &scope.lsu;
    match &sidecar.meta {
        None => Ok(None),
        Some(inline @ Meta::Inline { .. }) => {
            let Err(error) = meta::load(lsu.store(), lsu.bucket(), Some(inline)).await else {
                return Ok(None);
            };
            let key = lsu.keys().sidecar(id);
            let expected = "image metadata in base64";
            let class = Class::SidecarInvalid;
            Ok(Some(scope.found(
                class,
                Some(id),
                Some(&key),
                expected,
                error.to_string(),
            )))
        }
        Some(Meta::Object { key, size, crc64nvme }) => {
            let Some(found) = meta_object(scope, sidecar, key, *size).await? else {
                return Ok(None);
            };
            let wrong = match found {
                MetaFault::Archived(found) => return Ok(Some(*found)),
                MetaFault::Other(wrong) => wrong,
            };
            if !is_still_there(scope, sidecar).await? {
                return Ok(None);
            }
            let expected = format!("{size} bytes with CRC64NVME {:016x}", crc64nvme.0);
            Ok(Some(scope.found(
                Class::MetaMissing,
                Some(id),
                Some(key),
                expected,
                wrong,
            )))
        }
    }
}

/// What is wrong with an object of image metadata.
enum MetaFault {
    Archived(Box<Found>),
    /// In words.
    Other(String),
}

async fn meta_object(scope: &Scope, sidecar: &Sidecar, key: &str, size: u64) -> Result<Option<MetaFault>> {
    let lsu = &scope.lsu;
    let object = match head(scope, key).await? {
        Some(seen) if seen.size == size => Some(seen),
        _ => head_again(scope, key).await?,
    };
    let Some(object) = object else {
        return Ok(Some(MetaFault::Other("no such object".into())));
    };
    if let Some(found) = archived(scope, &sidecar.image.id, key, &object) {
        return Ok(Some(MetaFault::Archived(Box::new(found))));
    }
    if object.size != size {
        return Ok(Some(MetaFault::Other(format!("{} bytes", object.size))));
    }
    if scope.options.level != Level::Deep {
        return Ok(None);
    }

    match meta::load(lsu.store(), lsu.bucket(), sidecar.meta.as_ref()).await {
        Ok(_) => Ok(None),
        Err(error) if error.kind() == Kind::Corrupt => Ok(Some(MetaFault::Other("other bytes".into()))),
        Err(error) => Err(error),
    }
}
