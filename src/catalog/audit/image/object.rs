//! What HEAD tells of a data object, held against the sidecar that names it. Nothing is asked here.

use crate::catalog::audit::fix::Fix;
use crate::catalog::audit::report::{Class, Severity};
use crate::catalog::audit::{Found, Scope};
use crate::catalog::format::image_id::ImageId;
use crate::catalog::format::record::{Sidecar, object_metadata};
use crate::engine::checksum::Crc64;
use crate::objstore::s3::types::{ListedObject, ObjectInfo};

/// The finding of an object in an archive: it is there, and no GET can read it.
pub(super) fn archived(scope: &Scope, id: &ImageId, key: &str, object: &ObjectInfo) -> Option<Found> {
    let class = object.archived.as_ref()?;
    let expected = "an object that can be read";
    let found = format!("storage class {class}: restore it from the archive first");
    Some(scope.found(Class::Unreadable, Some(id), Some(key), expected, found))
}

/// Size, ETag and, where the server tells it, CRC of the object against the sidecar's. An ETag is a hint, since a copy
/// of an LSU may bring new ones: another one is a question, and a verdict needs the bytes or the server's own CRC.
pub(super) fn check_object(scope: &Scope, sidecar: &Sidecar, object: &ObjectInfo) -> Option<Found> {
    let id = &sidecar.image.id;
    let data = &sidecar.content.data;
    let told = object.crc64.as_deref().and_then(Crc64::from_base64);

    if object.size != data.size {
        let expected = format!("{} bytes", data.size);
        let found = format!("{} bytes", object.size);
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

    let expected = format!("ETag {}", data.etag);
    let found = format!("ETag {}", object.etag);
    let found = scope.found(Class::DataEtag, Some(id), Some(&data.key), expected, found);

    Some(found.with(Fix::NewEtag(id.clone())))
}

/// The identity that the object carries itself, from which a sidecar could be rebuilt. Copies and gateways lose it,
/// which is a warning; one that names something else is an error.
pub(super) fn check_metadata(scope: &Scope, sidecar: &Sidecar, object: &ObjectInfo) -> Option<Found> {
    let id = &sidecar.image.id;
    let key = &sidecar.content.data.key;
    if !object.metadata.keys().any(|name| name.starts_with("vastost-")) {
        let expected = "object metadata that name the image";
        let found = "an object without them, copied perhaps";
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

pub(super) fn of_listing(listed: &ListedObject) -> ObjectInfo {
    ObjectInfo {
        size: listed.size,
        etag: listed.etag.clone(),
        ..ObjectInfo::default()
    }
}
