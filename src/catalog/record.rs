//! The JSON records: the sidecar of a complete image, and the pending record of one that is not.
//!
//! Schema 1, described by `docs/sidecar.schema.json`. Fields that we do not know survive a rewrite.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::image_id::ImageDef;
use super::keys::Attempt;
use super::meta::Meta;
use crate::error::{Error, Kind, Result, ResultExt};
use crate::objstore::checksum::Crc64;
use crate::objstore::client::{ObjectInfo, SentPart};
use crate::objstore::download::PartSpan;

pub const SCHEMA: u32 = 1;
/// 10,000 parts make about 1.2 MB; 64 KiB of metadata are inline.
pub const RECORD_SIZE_MAX: u64 = 16 << 20;

/// What the catalog knows of an image's bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    pub data: DataObject,
    /// CRC64NVME of the whole image.
    pub crc64nvme: Crc64,
    /// Contiguous from offset 0; empty for an empty image.
    pub parts: Vec<PartRecord>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataObject {
    pub key: String,
    pub size: u64,
    pub etag: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version_id: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartRecord {
    pub number: u32,
    pub offset: u64,
    pub size: u64,
    pub etag: String,
    pub crc64nvme: Crc64,
}

/// Who wrote a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Writer {
    pub host: String,
    pub pid: u32,
    pub version: String,
    /// What tells this process from every other one of its host, before and after: see [`super::writer`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ImageState {
    Complete,
    Deleting,
}

/// The sidecar: present means complete.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sidecar {
    pub schema: u32,
    pub state: ImageState,
    pub image: ImageDef,
    #[serde(flatten)]
    pub content: Content,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meta: Option<Meta>,
    /// RFC 3339.
    pub created: String,
    pub completed: String,
    pub writer: Writer,
    /// When `repair` made this sidecar of the data object, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rebuilt: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<Value>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PendingState {
    /// A writer has it, or had it when it died.
    Writing,
    /// Closed incomplete: readable, and can be opened for write again.
    Incomplete,
}

/// What a close was about to make of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Closing {
    Complete,
    Incomplete,
}

/// The record of an attempt that is not complete.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pending {
    pub schema: u32,
    pub state: PendingState,
    pub image: ImageDef,
    pub attempt: Attempt,
    /// Where the data goes.
    pub key: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upload_id: Option<String>,
    /// While `writing`: the parts on the store as the last renewal knew them, from the first on without a gap.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sent: Vec<PartRecord>,
    /// Set just before the upload is completed, when `sent` has every part: what it was to become.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closing: Option<Closing>,
    /// Seconds for which the record speaks for its writer after it was last put.
    #[serde(default)]
    pub lease_seconds: u64,
    /// Present when `incomplete` and anything was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Content>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meta: Option<Meta>,
    /// When the image was first created, RFC 3339; kept over re-opens.
    pub created: String,
    pub started: String,
    pub writer: Writer,
}

impl Content {
    /// The object at `key` that consists of `parts`.
    pub fn new(key: &str, object: &ObjectInfo, parts: &[SentPart]) -> Self {
        let crc64nvme = parts.iter().fold(Crc64(0), |crc, part| crc.then(part.crc64, part.size));
        let (size, etag, version_id) = (object.size, object.etag.clone(), object.version_id.clone());
        let data = DataObject { key: key.into(), size, etag, version_id };
        Self { data, crc64nvme, parts: part_records(parts) }
    }

    pub fn spans(&self) -> Vec<PartSpan> {
        let span = |p: &PartRecord| PartSpan { number: p.number, offset: p.offset, size: p.size, crc64: p.crc64nvme };
        self.parts.iter().map(span).collect()
    }

    /// What no reader could work with: parts that overlap, leave gaps, or do not add up.
    fn check(&self) -> std::result::Result<(), String> {
        let mut end = 0u64;
        let mut crc = Crc64(0);
        for part in &self.parts {
            if part.offset != end || part.size == 0 {
                return Err(format!("part {} lies at offset {}, {end} was expected", part.number, part.offset));
            }
            end = end.checked_add(part.size).ok_or("parts are longer than 64 bits can count")?;
            crc = crc.then(part.crc64nvme, part.size);
        }
        if end != self.data.size {
            return Err(format!("parts cover {end} bytes of {}", self.data.size));
        }
        if crc != self.crc64nvme {
            return Err("the parts' CRCs do not make up the image's".into());
        }
        Ok(())
    }
}

/// Parts with their offsets.
pub fn part_records(parts: &[SentPart]) -> Vec<PartRecord> {
    let mut offset = 0;
    let record = |part: &SentPart| {
        let (number, size, etag) = (part.number, part.size, part.etag.clone());
        let record = PartRecord { number, offset, size, etag, crc64nvme: part.crc64 };
        offset += size;
        record
    };
    parts.iter().map(record).collect()
}

/// Now, as records carry it.
pub fn now_text() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Seconds since 1970 of an RFC 3339 text; 0 when it is none.
pub fn unix_seconds(text: &str) -> u64 {
    let time = text.parse::<jiff::Timestamp>().ok();
    time.and_then(|time| u64::try_from(time.as_second()).ok()).unwrap_or_default()
}

/// Parses and checks a sidecar that lies at `key`.
pub fn parse_sidecar(key: &str, bytes: &[u8]) -> Result<Sidecar> {
    let sidecar: Sidecar = parse(key, bytes)?;
    sidecar.content.check().map_err(|why| invalid(key, &why))?;
    Ok(sidecar)
}

/// Parses and checks a pending record that lies at `key`.
pub fn parse_pending(key: &str, bytes: &[u8]) -> Result<Pending> {
    let pending: Pending = parse(key, bytes)?;
    if let Some(content) = &pending.content {
        content.check().map_err(|why| invalid(key, &why))?;
    }
    Ok(pending)
}

/// The record with some of its top-level fields replaced; everything else stays, known or not.
pub fn rewrite(
    key: &str,
    bytes: &[u8],
    changes: impl IntoIterator<Item = (&'static str, Option<Value>)>,
) -> Result<bytes::Bytes> {
    let mut record: serde_json::Map<String, Value> =
        serde_json::from_slice(bytes).map_err(|e| invalid(key, &e.to_string()))?;
    for (field, value) in changes {
        match value {
            Some(value) => record.insert(field.into(), value),
            None => record.remove(field),
        };
    }
    to_bytes(&record)
}

/// Enough to rebuild the sidecar from the data alone; VAST keeps 2 KB.
pub fn object_metadata(def: &ImageDef, created: &str) -> Vec<(String, String)> {
    let pairs = [
        ("vastost-schema", Value::from(SCHEMA).to_string()),
        ("vastost-basename", def.id.basename.to_string()),
        ("vastost-date", def.id.date.to_string()),
        ("vastost-policy", def.policy.to_string()),
        ("vastost-type", def.image_type.to_string()),
        ("vastost-created", created.to_owned()),
    ];
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The bytes of a record.
pub fn to_bytes(record: &impl Serialize) -> Result<bytes::Bytes> {
    let bytes = serde_json::to_vec(record).or_kind(Kind::Internal, || "write a record as JSON".into())?;
    Ok(bytes.into())
}

fn parse<T: DeserializeOwned>(key: &str, bytes: &[u8]) -> Result<T> {
    #[derive(Deserialize)]
    struct Versioned {
        schema: u32,
    }
    super::shape::check(bytes).map_err(|why| invalid(key, &why))?;
    let versioned: Versioned = serde_json::from_slice(bytes).map_err(|e| invalid(key, &e.to_string()))?;
    if versioned.schema != SCHEMA {
        let what = format!("record {key} has schema {}, this version reads {SCHEMA}", versioned.schema);
        return Err(Error::new(Kind::Unsupported, what));
    }
    serde_json::from_slice(bytes).map_err(|e| invalid(key, &e.to_string()))
}

fn invalid(key: &str, why: &str) -> Error {
    Error::new(Kind::Corrupt, format!("record {key} is not valid: {why}"))
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
