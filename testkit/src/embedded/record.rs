//! What is kept of a version, of an upload, of a bucket: the JSON on disk and the value in memory.

use std::collections::BTreeMap;

use s3s::dto::Timestamp;
use serde::{Deserialize, Serialize};

use vastost::engine::checksum::Crc64;

/// One version of a key: an object or a delete marker.
#[derive(Clone, Serialize, Deserialize)]
pub struct Version {
    pub key: String,
    /// Names the record's file and orders versions: later ones are greater.
    pub id: String,
    /// Written while the bucket kept no versions: S3 calls it `null`, and there is one for a key at most.
    pub null: bool,
    pub marker: bool,
    pub modified: Timestamp,
    pub size: u64,
    pub etag: String,
    pub crc64: Option<Crc64>,
    pub content_type: Option<String>,
    pub metadata: BTreeMap<String, String>,
    /// In order; an object that was put in one piece has one.
    pub parts: Vec<Part>,
    /// Of a multipart upload: its id, and whether a checksum was asked for.
    pub upload: Option<FromUpload>,
    #[serde(default)]
    pub lock: Lock,
}

#[derive(Clone, Serialize, Deserialize)]
pub struct FromUpload {
    pub id: String,
    pub with_checksum: bool,
}

/// Bytes in one file of `data/`.
#[derive(Clone, Serialize, Deserialize)]
pub struct Part {
    pub number: u16,
    pub size: u64,
    /// MD5 in hex.
    pub etag: String,
    pub crc64: Crc64,
    pub file: String,
    pub modified: Timestamp,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Mode {
    Governance,
    Compliance,
}

#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Retention {
    pub mode: Mode,
    pub until: Timestamp,
}

#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Lock {
    pub retention: Option<Retention>,
    /// None: never set.
    pub hold: Option<bool>,
}

/// An upload that is neither complete nor aborted; its parts have files of their own.
#[derive(Clone, Serialize, Deserialize)]
pub struct Upload {
    pub key: String,
    pub id: String,
    pub initiated: Timestamp,
    pub with_checksum: bool,
    pub content_type: Option<String>,
    pub metadata: BTreeMap<String, String>,
    pub lock: Lock,
    #[serde(skip)]
    pub parts: BTreeMap<u16, Part>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Versioning {
    #[default]
    Never,
    Enabled,
    Suspended,
}

#[derive(Clone, Serialize, Deserialize)]
pub struct DefaultRetention {
    pub mode: Mode,
    pub days: u32,
    /// As it was given: AWS answers in the unit that was set.
    pub years: Option<u32>,
}

/// `bucket.json`; a folder without one is a plain bucket.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Settings {
    pub created: Option<Timestamp>,
    pub versioning: Versioning,
    pub object_lock: bool,
    pub default_retention: Option<DefaultRetention>,
    pub quota_bytes: Option<u64>,
}

impl Version {
    /// The id as S3 shows it.
    pub fn shown_id(&self) -> &str {
        if self.null { "null" } else { &self.id }
    }
}

impl Mode {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Governance => "GOVERNANCE",
            Self::Compliance => "COMPLIANCE",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::Governance, Self::Compliance]
            .into_iter()
            .find(|mode| mode.as_str() == text)
    }
}

impl Lock {
    /// True while no request may remove the version; `bypass` may pass governance.
    pub fn holds(&self, now: &Timestamp, bypass: bool) -> bool {
        let retained = self
            .retention
            .as_ref()
            .is_some_and(|retention| retention.until > *now && !(bypass && retention.mode == Mode::Governance));
        retained || self.hold == Some(true)
    }
}
