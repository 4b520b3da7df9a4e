//! The JSON records: the sidecar of a complete image, and the pending record of one that is not.
//!
//! Schema 1, described by `docs/user/sidecar.schema.json`. Fields that we do not know survive a rewrite.
//!
//! Left out: how the bytes of a record are read, and what of them is believed, see [`super::parse`].

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::image_id::ImageDef;
use super::keys::Attempt;
use crate::catalog::meta::Meta;
use crate::clean::words;
use crate::config::Bucket;
use crate::engine::checksum::Crc64;
use crate::error::{Kind, Result, ResultExt};
use crate::objstore::s3::multipart::UploadRef;
use crate::objstore::s3::types::{ObjectInfo, PartSpan, SentPart};

pub const SCHEMA: u32 = 1;
/// 10,000 parts make about 1.2 MB; 64 KiB of metadata are inline.
pub const RECORD_SIZE_MAX: u64 = 16 << 20;
/// The longest lease that a record can claim, seconds: what `writer_lease` takes at most.
pub const LEASE_SECONDS_MAX: u64 = 86_400;

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
    /// What tells this process from every other one of its host, before and after: see
    /// [`crate::catalog::write::writer_id`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<String>,
    /// Which copy of the plug-in of that process: each knows only what its own handles write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy: Option<String>,
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
    /// What this version does not know survives a rewrite.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl Pending {
    /// The upload that the record names, in the LSU's bucket.
    pub fn upload<'a>(&'a self, bucket: &'a Bucket) -> Option<UploadRef<'a>> {
        let id = self.upload_id.as_deref()?;
        Some(UploadRef {
            bucket,
            key: &self.key,
            id,
        })
    }

    /// What no writer of ours would have put: a field that is absent looks like an empty one, so that damage to a name
    /// would pass for an attempt that has nothing.
    pub(super) fn check(&self) -> std::result::Result<(), String> {
        if self.closing.is_some() && self.upload_id.is_some() && self.sent.is_empty() {
            return Err("it was being closed, and names an upload without parts".into());
        }

        let absent = [
            ("upload_id", self.upload_id.is_none()),
            ("sent", self.sent.is_empty()),
            ("closing", self.closing.is_none()),
            ("content", self.content.is_none()),
            ("meta", self.meta.is_none()),
        ];

        for (name, _) in absent.into_iter().filter(|(_, is_absent)| *is_absent) {
            if let Some(like) = self.other.keys().find(|key| differs_by_one(key, name)) {
                return Err(format!("its field {} looks like a damaged {name}", words(like)));
            }
        }

        Ok(())
    }
}

/// True when two texts of one length differ in one byte.
fn differs_by_one(a: &str, b: &str) -> bool {
    a.len() == b.len() && a.bytes().zip(b.bytes()).filter(|(a, b)| a != b).count() == 1
}

impl Content {
    /// The object at `key` that consists of `parts`.
    pub fn new(key: &str, object: &ObjectInfo, parts: &[SentPart]) -> Self {
        let crc64nvme = parts.iter().fold(Crc64(0), |crc, part| crc.then(part.crc64, part.size));
        let size = object.size;
        let etag = object.etag.clone();
        let version_id = object.version_id.clone();
        let data = DataObject {
            key: key.into(),
            size,
            etag,
            version_id,
        };

        Self {
            data,
            crc64nvme,
            parts: part_records(parts),
        }
    }

    pub fn spans(&self) -> Vec<PartSpan> {
        let span = |p: &PartRecord| PartSpan {
            number: p.number,
            offset: p.offset,
            size: p.size,
            crc64: p.crc64nvme,
        };
        self.parts.iter().map(span).collect()
    }

    /// What no reader could work with: parts that overlap, leave gaps, or do not add up.
    pub(super) fn check(&self) -> std::result::Result<(), String> {
        let end = check_parts(&self.parts)?;
        if end != self.data.size {
            return Err(format!("parts cover {end} bytes of {}", self.data.size));
        }
        if crc_of(&self.parts) != self.crc64nvme {
            return Err("the parts' CRCs do not make up the image's".into());
        }
        Ok(())
    }
}

/// Gives the bytes that `parts` cover from the first one on.
pub fn check_parts(parts: &[PartRecord]) -> std::result::Result<u64, String> {
    let mut end = 0u64;
    for part in parts {
        if part.offset != end || part.size == 0 {
            return Err(format!(
                "part {} lies at offset {}, {end} was expected",
                part.number, part.offset
            ));
        }
        end = end
            .checked_add(part.size)
            .ok_or("parts are longer than 64 bits can count")?;
    }

    Ok(end)
}

/// The CRC of all bytes that `parts` cover.
pub fn crc_of(parts: &[PartRecord]) -> Crc64 {
    parts
        .iter()
        .fold(Crc64(0), |crc, part| crc.then(part.crc64nvme, part.size))
}

/// Parts with their offsets.
pub fn part_records(parts: &[SentPart]) -> Vec<PartRecord> {
    let mut offset = 0;
    let record = |part: &SentPart| {
        let number = part.number;
        let size = part.size;
        let etag = part.etag.clone();
        let record = PartRecord {
            number,
            offset,
            size,
            etag,
            crc64nvme: part.crc64,
        };
        offset += size;
        record
    };

    parts.iter().map(record).collect()
}

/// Now, as records carry it.
pub fn now_text() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Seconds since 1970 as records carry a time; now for one beyond the calendar.
pub fn seconds_text(seconds: u64) -> String {
    let time = i64::try_from(seconds)
        .ok()
        .and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    time.map_or_else(now_text, |time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

/// Seconds since 1970 of an RFC 3339 text; 0 when it is none.
pub fn unix_seconds(text: &str) -> u64 {
    let time = text.parse::<jiff::Timestamp>().ok();
    time.and_then(|time| u64::try_from(time.as_second()).ok())
        .unwrap_or_default()
}

/// The record of `sidecar` with some of its top-level fields replaced and this LSU's own keys; everything else stays,
/// known or not.
pub fn rewrite(
    sidecar: &Sidecar,
    bytes: &[u8],
    changes: impl IntoIterator<Item = (&'static str, Option<Value>)>,
) -> Result<bytes::Bytes> {
    let failed = || format!("rewrite the sidecar of image {}", sidecar.image.id);
    let mut record: serde_json::Map<String, Value> = serde_json::from_slice(bytes).or_kind(Kind::Corrupt, failed)?;
    let metadata = match &sidecar.meta {
        Some(Meta::Object { key, .. }) => Some(key),
        _ => None,
    };

    for (field, key) in [("data", Some(&sidecar.content.data.key)), ("meta", metadata)] {
        if let (Some(Value::Object(object)), Some(key)) = (record.get_mut(field), key) {
            object.insert("key".into(), Value::from(key.as_str()));
        }
    }

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
    // No empty header: some gateways drop those, and what was signed is another request then. Absent reads as empty.
    let told = pairs.into_iter().filter(|(_, value)| !value.is_empty());
    told.map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The bytes of a record.
pub fn to_bytes(record: &impl Serialize) -> Result<bytes::Bytes> {
    let bytes = serde_json::to_vec(record).or_kind(Kind::Internal, || "write a record as JSON".into())?;
    Ok(bytes.into())
}
