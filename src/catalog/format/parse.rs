//! From the bytes of a record to a record that can be believed.
//!
//! A record speaks for its own place only. It carries absolute keys, which have a prefix and a place. The prefix is
//! that of the LSU in which it was written; an LSU may be copied or moved by any S3 tool, so the prefix is ignored and
//! the LSU's own taken. The place must be that of the record's own image and attempt: a record that names another one
//! is contradictory, and nothing is read or removed on its word. Parsed records have keys of this LSU only.
//!
//! How it fails: a record of a newer schema is [`Kind::Unsupported`], whatever else is in it; any other that cannot be
//! believed is [`Kind::Corrupt`].

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::image_id::ImageId;
use super::keys::{Attempt, Folder, Keys};
use super::record::{Pending, SCHEMA, Sidecar, check_parts};
use super::shape;
use crate::catalog::meta::Meta;
use crate::error::{Error, Kind, Result};

/// Parses and checks the sidecar of image `id`.
pub fn parse_sidecar(keys: &Keys, id: &ImageId, bytes: &[u8]) -> Result<Sidecar> {
    let key = keys.sidecar(id);
    let mut sidecar: Sidecar = parse(&key, bytes)?;
    let refuse = |why: String| invalid(&key, &why);
    if sidecar.image.id != *id {
        return Err(refuse(format!("it describes image {}", sidecar.image.id)));
    }
    sidecar.content.check().map_err(refuse)?;
    own_key(keys, Folder::Data, id, &mut sidecar.content.data.key).map_err(refuse)?;
    own_meta(keys, id, &mut sidecar.meta).map_err(refuse)?;
    Ok(sidecar)
}

/// Parses and checks the pending record of an attempt at image `id`.
pub fn parse_pending(keys: &Keys, id: &ImageId, attempt: &Attempt, bytes: &[u8]) -> Result<Pending> {
    let key = keys.pending(id, attempt);
    let mut pending: Pending = parse(&key, bytes)?;
    let refuse = |why: String| invalid(&key, &why);

    if pending.image.id != *id || pending.attempt != *attempt {
        return Err(refuse(format!(
            "it describes attempt {} at image {}",
            pending.attempt, pending.image.id
        )));
    }

    check_parts(&pending.sent).map_err(refuse)?;
    pending.check().map_err(refuse)?;
    let named = pending.content.as_mut().map(|content| &mut content.data.key);
    for data in std::iter::once(&mut pending.key).chain(named) {
        let stored = data.clone();
        if own_key(keys, Folder::Data, id, data).map_err(refuse)? != *attempt {
            return Err(refuse(format!("it names the data of another attempt, {stored}")));
        }
    }

    if let Some(content) = &pending.content {
        content.check().map_err(refuse)?;
    }

    // What goes with the attempt must be its own: another one may be the image.
    if own_meta(keys, id, &mut pending.meta)
        .map_err(refuse)?
        .is_some_and(|of| of != *attempt)
    {
        return Err(refuse("it names the image metadata of another attempt".into()));
    }

    Ok(pending)
}

/// Puts this LSU's prefix before a stored key's place, which must be one of the image's own; gives the attempt.
fn own_key(keys: &Keys, folder: Folder, id: &ImageId, key: &mut String) -> std::result::Result<Attempt, String> {
    let (attempt, own) = keys
        .own(folder, id, key)
        .ok_or_else(|| format!("it names {key}, which is not of this image"))?;
    *key = own;
    Ok(attempt)
}

/// The same for image metadata; None where they have no object of their own.
pub fn own_meta(keys: &Keys, id: &ImageId, meta: &mut Option<Meta>) -> std::result::Result<Option<Attempt>, String> {
    match meta {
        Some(Meta::Object { key, .. }) => own_key(keys, Folder::Meta, id, key).map(Some),
        Some(Meta::Inline { .. }) | None => Ok(None),
    }
}

fn parse<T: DeserializeOwned>(key: &str, bytes: &[u8]) -> Result<T> {
    // A newer version may have larger records and larger numbers, so this comes first; it keeps nothing of the rest.
    #[derive(Deserialize)]
    struct Versioned {
        schema: serde_json::Number,
    }

    let Versioned { schema } = serde_json::from_slice(bytes).map_err(|e| invalid(key, &e.to_string()))?;
    if schema.as_f64().is_some_and(|schema| schema > f64::from(SCHEMA)) {
        let what = format!("record {key} has schema {schema}, this version reads {SCHEMA}");
        return Err(Error::new(Kind::Unsupported, what));
    }
    if schema.as_u64() != Some(SCHEMA.into()) {
        return Err(invalid(key, &format!("there is no schema {schema}")));
    }

    shape::check(bytes).map_err(|why| invalid(key, &why))?;
    serde_json::from_slice(bytes).map_err(|e| invalid(key, &e.to_string()))
}

fn invalid(key: &str, why: &str) -> Error {
    Error::new(Kind::Corrupt, format!("record {key} is not valid: {why}"))
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;
