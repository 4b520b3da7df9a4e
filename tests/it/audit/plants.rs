//! How each class of finding comes about: one row each, planted by somebody who knows S3 and not us.

use serde_json::{Value, json};
use vastost::catalog::audit::report::{Class, Level, Severity};
use vastost_testkit::host::Definition;

use super::{Kept, Seen, Yard, name, place};
use vastost_testkit::test_store::pattern;

/// One way in which a store can be wrong.
pub struct Plant {
    pub class: Class,
    pub severity: Severity,
    pub plant: fn(&Yard, &Definition) -> Planted,
}

/// What was planted, and what of it an audit is to say.
#[derive(Default)]
pub struct Planted {
    /// Each from the level on that first sees it.
    pub seen: Vec<(Level, Seen)>,
    /// The size by which NetBackup knows the image; None when it does not.
    pub netbackup: Option<u64>,
    /// An object that the auditor's keys may not read.
    pub hidden: Option<String>,
}

const ATTEMPT: &str = "00112233445566ff";
const SIZE: usize = 5_000;

#[rustfmt::skip]
pub const PLANTS: [Plant; 15] = [
    Plant { class: Class::DataMissing, severity: Severity::Error, plant: data_missing },
    Plant { class: Class::DataSize, severity: Severity::Error, plant: data_size },
    Plant { class: Class::DataEtag, severity: Severity::Warning, plant: data_etag },
    Plant { class: Class::DataChecksum, severity: Severity::Error, plant: data_checksum },
    Plant { class: Class::SidecarInvalid, severity: Severity::Error, plant: sidecar_invalid },
    Plant { class: Class::SidecarMismatch, severity: Severity::Error, plant: sidecar_mismatch },
    Plant { class: Class::OrphanData, severity: Severity::Warning, plant: orphan_data },
    Plant { class: Class::OrphanUpload, severity: Severity::Warning, plant: orphan_upload },
    Plant { class: Class::PendingStale, severity: Severity::Warning, plant: pending_stale },
    Plant { class: Class::DeleteUnfinished, severity: Severity::Warning, plant: delete_unfinished },
    Plant { class: Class::MetaMissing, severity: Severity::Error, plant: meta_missing },
    Plant { class: Class::Unreadable, severity: Severity::Error, plant: unreadable },
    Plant { class: Class::NetbackupOnly, severity: Severity::Error, plant: netbackup_only },
    Plant { class: Class::StoreOnly, severity: Severity::Warning, plant: store_only },
    Plant { class: Class::NetbackupSize, severity: Severity::Error, plant: netbackup_size },
];

impl Planted {
    fn one(level: Level, seen: Seen) -> Self {
        Self {
            seen: vec![(level, seen)],
            netbackup: Some(SIZE as u64),
            hidden: None,
        }
    }

    fn and(mut self, level: Level, seen: Seen) -> Self {
        self.seen.push((level, seen));
        self
    }

    fn unknown_to_netbackup(self) -> Self {
        Self {
            netbackup: None,
            ..self
        }
    }

    /// What an audit at `level` says, sorted.
    pub fn at(&self, level: Level) -> Vec<Seen> {
        let mut seen: Vec<_> = self
            .seen
            .iter()
            .filter(|(from, _)| *from <= level)
            .map(|(_, s)| s.clone())
            .collect();
        seen.sort();
        seen
    }
}

fn image(yard: &Yard, def: &Definition) -> Kept {
    yard.keep(def, pattern(SIZE, def.date), b"")
}

fn to_bytes(value: &Value) -> Vec<u8> {
    serde_json::to_vec(value).unwrap()
}

/// Other bytes under the same name, with the metadata that were there.
fn replace(yard: &Yard, key: &str, data: &[u8]) {
    let metadata = yard.foreign.metadata(key);
    yard.foreign.put(key, data, &metadata);
}

fn data_missing(yard: &Yard, def: &Definition) -> Planted {
    let image = image(yard, def);
    yard.foreign.delete(&image.data_key);
    Planted::one(Level::Quick, image.finding(Class::DataMissing, &image.data_key))
}

/// Read to its end, a truncated object has another checksum as well.
fn data_size(yard: &Yard, def: &Definition) -> Planted {
    let image = image(yard, def);
    replace(yard, &image.data_key, &image.data[..SIZE - 1]);
    let planted = Planted::one(Level::Quick, image.finding(Class::DataSize, &image.data_key));
    planted.and(Level::Deep, image.finding(Class::DataChecksum, &image.data_key))
}

/// The record of somewhere else, where the same bytes had another ETag.
fn data_etag(yard: &Yard, def: &Definition) -> Planted {
    let mut image = image(yard, def);
    let etag = Value::from("0".repeat(32));
    image.record["data"]["etag"] = etag.clone();
    image.record["parts"][0]["etag"] = etag;
    yard.foreign.put(&image.sidecar_key, &to_bytes(&image.record), &[]);
    Planted::one(Level::Quick, image.finding(Class::DataEtag, &image.data_key))
}

/// Another object, and a sidecar that was made to fit: only the bytes tell.
fn data_checksum(yard: &Yard, def: &Definition) -> Planted {
    let mut image = image(yard, def);
    replace(yard, &image.data_key, &pattern(SIZE, 4711));
    let etag = Value::from(yard.foreign.etag(&image.data_key));
    image.record["data"]["etag"] = etag.clone();
    image.record["parts"][0]["etag"] = etag;
    yard.foreign.put(&image.sidecar_key, &to_bytes(&image.record), &[]);
    Planted::one(Level::Deep, image.finding(Class::DataChecksum, &image.data_key))
}

fn sidecar_invalid(yard: &Yard, def: &Definition) -> Planted {
    let image = image(yard, def);
    let text = to_bytes(&image.record);
    yard.foreign.put(&image.sidecar_key, &text[..text.len() / 2], &[]);
    Planted::one(Level::Quick, image.finding(Class::SidecarInvalid, &image.sidecar_key))
}

/// The object says that it is of another policy.
fn sidecar_mismatch(yard: &Yard, def: &Definition) -> Planted {
    let image = image(yard, def);
    let mut metadata = yard.foreign.metadata(&image.data_key);
    metadata.retain(|(name, _)| name != "x-amz-meta-vastost-policy");
    metadata.push(("x-amz-meta-vastost-policy".into(), "Other".into()));
    yard.foreign.copy_with(&image.data_key, &image.data_key, &metadata);
    Planted::one(Level::Default, image.finding(Class::SidecarMismatch, &image.data_key))
}

fn orphan_data(yard: &Yard, def: &Definition) -> Planted {
    let image = image(yard, def);
    yard.foreign.delete(&image.sidecar_key);
    Planted::one(Level::Default, image.finding(Class::OrphanData, &image.data_key)).unknown_to_netbackup()
}

/// A key of an image that has nothing else.
fn bare(class: Class, def: &Definition, key: &str) -> Seen {
    let image = Some(name(def));
    let key = Some(key.to_owned());
    Seen {
        class,
        severity: class.severity(),
        lsu: "main".into(),
        image,
        key,
    }
}

fn orphan_upload(yard: &Yard, def: &Definition) -> Planted {
    let key = format!("backups/{}.{ATTEMPT}.nbk", place(def));
    yard.foreign.begin_upload(&key);
    Planted::one(Level::Default, bare(Class::OrphanUpload, def, &key)).unknown_to_netbackup()
}

/// A writer on another host that closed its image incomplete, and what it had written.
fn pending_stale(yard: &Yard, def: &Definition) -> Planted {
    let key = format!("pending/{}.{ATTEMPT}.json", place(def));
    let data_key = format!("backups/{}.{ATTEMPT}.nbk", place(def));
    let record = json!({
        "schema": 1, "state": "incomplete", "attempt": ATTEMPT, "key": data_key,
        "image": { "basename": String::from_utf8_lossy(&def.basename), "date": def.date, "policy": "", "type": 0 },
        "created": "2026-11-22T00:00:00Z", "started": "2026-11-22T00:00:00Z",
        "writer": { "host": "gone", "pid": 7, "version": "0.1.0" },
    });
    yard.foreign.put(&data_key, b"what was written", &[]);
    yard.foreign.put(&key, &to_bytes(&record), &[]);
    Planted::one(Level::Default, bare(Class::PendingStale, def, &key)).unknown_to_netbackup()
}

fn delete_unfinished(yard: &Yard, def: &Definition) -> Planted {
    let mut image = image(yard, def);
    image.record["state"] = "deleting".into();
    yard.foreign.put(&image.sidecar_key, &to_bytes(&image.record), &[]);
    let seen = image.finding(Class::DeleteUnfinished, &image.sidecar_key);
    Planted::one(Level::Quick, seen).unknown_to_netbackup()
}

fn meta_missing(yard: &Yard, def: &Definition) -> Planted {
    let image = yard.keep(def, pattern(SIZE, 8), &pattern(100_000, 9));
    let key = image.record["meta"]["key"]
        .as_str()
        .expect("a metadata object")
        .to_owned();
    yard.foreign.delete(&key);
    Planted::one(Level::Default, image.finding(Class::MetaMissing, &key))
}

/// An object that the auditor's keys are refused.
fn unreadable(yard: &Yard, def: &Definition) -> Planted {
    let image = image(yard, def);
    let seen = image.finding(Class::Unreadable, &image.sidecar_key);
    Planted {
        hidden: Some(image.sidecar_key),
        ..Planted::one(Level::Quick, seen)
    }
}

fn netbackup_only(_: &Yard, def: &Definition) -> Planted {
    let seen = Seen {
        lsu: String::new(),
        key: None,
        ..bare(Class::NetbackupOnly, def, "")
    };
    Planted::one(Level::Quick, seen)
}

fn store_only(yard: &Yard, def: &Definition) -> Planted {
    let image = image(yard, def);
    let seen = image.finding(Class::StoreOnly, &image.sidecar_key);
    Planted::one(Level::Quick, seen).unknown_to_netbackup()
}

fn netbackup_size(yard: &Yard, def: &Definition) -> Planted {
    let image = image(yard, def);
    let seen = image.finding(Class::NetbackupSize, &image.sidecar_key);
    Planted {
        netbackup: Some(SIZE as u64 + 1),
        ..Planted::one(Level::Quick, seen)
    }
}
