//! What an audit says: findings, and figures of what was looked at. The JSON form is `docs/user/verify-report.schema.json`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The version of the JSON form.
pub const REPORT_SCHEMA: u32 = 1;
/// Findings of each severity that a report keeps; the rest are counted by class. Damage of a whole bucket must not take
/// all memory of the host that looks at it.
pub const FINDINGS_MAX: u64 = 200_000;
/// Foreign keys of an LSU that are named; the rest are counted.
pub const FOREIGN_NAMED: usize = 10;

/// What can be wrong, by the names that text and JSON use; `docs/user/verify.md` has a section for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    DataMissing,
    DataSize,
    DataEtag,
    DataChecksum,
    SidecarInvalid,
    SidecarMismatch,
    OrphanData,
    OrphanUpload,
    PendingStale,
    DeleteUnfinished,
    MetaMissing,
    Unreadable,
    NetbackupOnly,
    StoreOnly,
    NetbackupSize,
}

/// `Error`: an image cannot be trusted. `Warning`: debris, or a question for a person; no image is in danger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Error,
    Warning,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    pub class: Class,
    pub severity: Severity,
    pub lsu: String,
    /// `basename:date`, as keys spell the basename; None for what belongs to no image.
    pub image: Option<String>,
    /// The object it is about; None when there is none, as for an image that only NetBackup knows.
    pub key: Option<String>,
    pub expected: String,
    pub found: String,
    pub advice: String,
}

/// How thorough an audit is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Listings against sidecars: existence, size, ETag.
    Quick,
    /// Also object metadata, part lists, image metadata, pending images and everything that no record names.
    #[default]
    Default,
    /// Also every byte.
    Deep,
}

/// What images were chosen; None: all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    pub client: Option<String>,
    /// What the basename begins with.
    pub image: Option<String>,
    /// Seconds since 1970, both ends included.
    pub since: Option<u64>,
    pub until: Option<u64>,
    /// `K/N`.
    pub shard: Option<String>,
    /// The file of `bpimagelist -l` that the store was compared with.
    pub against: Option<String>,
}

/// Images and bytes of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    pub images: u64,
    pub bytes: u64,
}

/// One day of image dates, by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct States {
    /// Complete, and nothing of severity error was found.
    pub good: Count,
    /// Complete, with an error.
    pub damaged: Count,
    /// Being written, or closed incomplete.
    pub pending: Count,
    /// Marked as deleted, not gone yet.
    pub deleting: Count,
}

/// What was looked at in one LSU.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LsuSummary {
    pub bucket: String,
    pub prefix: String,
    #[serde(flatten)]
    pub states: States,
    /// Keys below the LSU's prefix that are not ours; they are never touched.
    pub foreign_keys: u64,
    /// The first of them.
    #[serde(default)]
    pub foreign_named: Vec<String>,
    /// Images that have data and neither a sidecar nor a pending record.
    #[serde(default)]
    pub unrecorded: u64,
    /// Complete images whose sidecar `repair` rebuilt: how it was written first is not on record.
    #[serde(default)]
    pub rebuilt: u64,
    /// The selection has images that are another shard's.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub elsewhere: bool,
    pub list_requests: u64,
    /// Bytes of images that were read and checked.
    pub bytes_read: u64,
    /// Days of image dates, `yyyymmdd`.
    pub days: BTreeMap<String, States>,
    /// What could not be looked at and why, such as uploads that the keys may not list.
    pub notes: Vec<String>,
}

/// The figures of an audit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// `vastost-s3` and its version.
    pub tool: String,
    pub server: String,
    pub endpoint: String,
    pub level: Level,
    pub selection: Selection,
    /// RFC 3339.
    pub started: String,
    pub finished: String,
    pub seconds: f64,
    /// True when the audit ended before it had seen everything.
    pub interrupted: bool,
    pub errors: u64,
    pub warnings: u64,
    /// How often each class was found; classes without findings are left out.
    pub classes: BTreeMap<Class, u64>,
    /// How many of them are counted only, and not among the findings: a report keeps [`FINDINGS_MAX`] of each severity.
    #[serde(default)]
    pub left_out: BTreeMap<Class, u64>,
    /// What was asked for and could not be verified, one sentence each: then nothing found is no good news.
    #[serde(default)]
    pub unverified: Vec<String>,
    /// By the LSU's name.
    pub lsus: BTreeMap<String, LsuSummary>,
}

/// All that an audit says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub schema: u32,
    pub summary: Summary,
    pub findings: Vec<Finding>,
}

impl Class {
    pub const ALL: [Self; 15] = [
        Self::DataMissing,
        Self::DataSize,
        Self::DataEtag,
        Self::DataChecksum,
        Self::SidecarInvalid,
        Self::SidecarMismatch,
        Self::OrphanData,
        Self::OrphanUpload,
        Self::PendingStale,
        Self::DeleteUnfinished,
        Self::MetaMissing,
        Self::Unreadable,
        Self::NetbackupOnly,
        Self::StoreOnly,
        Self::NetbackupSize,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::DataMissing => "data-missing",
            Self::DataSize => "data-size",
            Self::DataEtag => "data-etag",
            Self::DataChecksum => "data-checksum",
            Self::SidecarInvalid => "sidecar-invalid",
            Self::SidecarMismatch => "sidecar-mismatch",
            Self::OrphanData => "orphan-data",
            Self::OrphanUpload => "orphan-upload",
            Self::PendingStale => "pending-stale",
            Self::DeleteUnfinished => "delete-unfinished",
            Self::MetaMissing => "meta-missing",
            Self::Unreadable => "unreadable",
            Self::NetbackupOnly => "netbackup-only",
            Self::StoreOnly => "store-only",
            Self::NetbackupSize => "netbackup-size",
        }
    }

    /// What to do about it, in one sentence; `docs/user/verify.md` tells more.
    pub fn advice(self) -> &'static str {
        match self {
            Self::DataMissing => {
                "the image cannot be restored now: bring the object back with `vastost-s3 undelete`, from a snapshot or a copy; expire the image only when there is none"
            }
            Self::DataSize => {
                "the object is not what was written: bring the right one back from a version, a snapshot or a copy before you expire the image"
            }
            Self::DataEtag => {
                "the object was written again, perhaps by a copy: `vastost-s3 verify --deep` reads every byte, `vastost-s3 repair --deep` then records the new ETag"
            }
            Self::DataChecksum => {
                "the image's bytes are damaged: bring the object back from a version, a snapshot or a copy before you expire the image"
            }
            Self::SidecarInvalid => "`vastost-s3 repair` rebuilds the sidecar from the data object",
            Self::SidecarMismatch => "find out which of the two is right; `vastost-s3 info` shows the sidecar",
            Self::OrphanData => {
                "`vastost-s3 repair` rebuilds a lost sidecar; `vastost-s3 gc --orphan-data` then removes data that no record names"
            }
            Self::OrphanUpload => "`vastost-s3 gc` aborts it",
            Self::PendingStale => "`vastost-s3 gc` removes it, unless NetBackup is to go on with the backup",
            Self::DeleteUnfinished => "`vastost-s3 repair` or `vastost-s3 gc` finishes the delete",
            Self::MetaMissing => {
                "the data can be restored; NetBackup's metadata of the image are lost: bring the object back from a snapshot"
            }
            Self::Unreadable => {
                "look at the message: the network, the rights of the keys, or the object itself; then verify again"
            }
            Self::NetbackupOnly => {
                "NetBackup would fail to restore it: look for its data among orphan-data and pending images, and bring its objects back; expire it only when there are none"
            }
            Self::StoreOnly => {
                "NetBackup's list does not name it: look at the dates of the list and for other domains first; then import it there, or delete it with `vastost-s3 rm`"
            }
            Self::NetbackupSize => {
                "NetBackup wrote another number of bytes than the image has: do not rely on it, and keep both records"
            }
        }
    }

    /// Debris and surplus are warnings; whatever keeps an image from being restored or trusted is an error.
    pub fn severity(self) -> Severity {
        match self {
            Self::DataEtag
            | Self::OrphanData
            | Self::OrphanUpload
            | Self::PendingStale
            | Self::DeleteUnfinished
            | Self::StoreOnly => Severity::Warning,
            Self::DataMissing
            | Self::DataSize
            | Self::DataChecksum
            | Self::SidecarInvalid
            | Self::SidecarMismatch
            | Self::MetaMissing
            | Self::Unreadable
            | Self::NetbackupOnly
            | Self::NetbackupSize => Severity::Error,
        }
    }
}

impl Count {
    pub fn add(&mut self, bytes: u64) {
        self.images += 1;
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

/// Keys that are not ours.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Foreign {
    pub count: u64,
    /// The first of them.
    pub named: Vec<String>,
}

impl Foreign {
    pub fn add(&mut self, name: impl FnOnce() -> String) {
        self.count += 1;
        if self.named.len() < FOREIGN_NAMED {
            self.named.push(name());
        }
    }
}

impl LsuSummary {
    pub fn add_foreign(&mut self, foreign: Foreign) {
        self.foreign_keys = self.foreign_keys.saturating_add(foreign.count);
        let room = FOREIGN_NAMED.saturating_sub(self.foreign_named.len());
        let new: Vec<_> = foreign
            .named
            .into_iter()
            .filter(|name| !self.foreign_named.contains(name))
            .take(room)
            .collect();
        self.foreign_named.extend(new);
    }
}

impl Report {
    /// Adds a finding; one too many of its severity is only counted.
    pub fn push(&mut self, finding: Finding) {
        let summary = &mut self.summary;
        let kept = match finding.severity {
            Severity::Error => &mut summary.errors,
            Severity::Warning => &mut summary.warnings,
        };
        *kept = kept.saturating_add(1);
        // An LSU that could not be listed is looked for by name.
        let is_about_an_lsu = finding.class == Class::Unreadable && finding.image.is_none();
        if *kept > FINDINGS_MAX && !is_about_an_lsu {
            *summary.left_out.entry(finding.class).or_default() += 1;
        } else {
            self.findings.push(finding);
        }
    }

    /// How bad the worst finding of a class is.
    pub fn severity(&self, class: Class) -> Severity {
        let listed = self
            .findings
            .iter()
            .filter(|finding| finding.class == class)
            .map(|finding| finding.severity)
            .min();
        let counted = self.summary.left_out.contains_key(&class).then(|| class.severity());
        listed.into_iter().chain(counted).min().unwrap_or(class.severity())
    }

    /// Sorts the findings and counts them into the summary.
    pub fn seal(&mut self) {
        self.schema = REPORT_SCHEMA;
        self.findings.sort_by(|a, b| {
            let order = |f: &Finding| (f.severity, f.class, f.lsu.clone(), f.image.clone(), f.key.clone());
            order(a).cmp(&order(b))
        });
        self.recount();
    }

    /// Counts the findings anew, those that were left out included.
    pub fn recount(&mut self) {
        let summary = &mut self.summary;
        summary.classes = summary.left_out.clone();
        (summary.errors, summary.warnings) = (0, 0);
        let left_out = summary
            .left_out
            .iter()
            .map(|(class, number)| (class.severity(), *number));
        let listed = self.findings.iter().map(|finding| {
            *summary.classes.entry(finding.class).or_default() += 1;
            // Some findings are milder than most of their class.
            (finding.severity, 1)
        });
        for (severity, number) in left_out.chain(listed) {
            match severity {
                Severity::Error => summary.errors += number,
                Severity::Warning => summary.warnings += number,
            }
        }
    }
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
