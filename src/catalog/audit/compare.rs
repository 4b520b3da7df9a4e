//! The store against NetBackup's catalog, in both directions.

use super::bpimagelist::{Expected, ExpectedImage, Known};
use super::report::{Class, Finding};
use super::shard::Shard;
use crate::catalog::format::escape::{Name, escape};
use crate::catalog::format::image_id::{DATE_MAX, ImageId};
use crate::catalog::list::Filter;
use crate::catalog::lsu::Lsu;

/// A comparison under way.
pub struct Comparison {
    expected: Expected,
    findings: Vec<Finding>,
}

impl Comparison {
    pub fn new(expected: Expected) -> Self {
        Self {
            expected,
            findings: Vec::new(),
        }
    }

    /// Takes a complete image of the store into account; without a size it is there, and no more is said.
    pub fn image(&mut self, lsu: &Lsu, id: &ImageId, bytes: Option<u64>) {
        let (class, expected, found) = match self.expected.look_up(id.basename.as_bytes(), id.date) {
            Known::Companion => return,
            Known::OtherDate(image) => {
                let expected = format!("date {}, as NetBackup's catalog has it", image.backup_time);
                (
                    Class::StoreOnly,
                    expected,
                    format!("another image of that name, of date {}", id.date),
                )
            }
            Known::Fragment(image) => {
                image.mark_seen();
                let Some(bytes) = bytes.filter(|bytes| *bytes != image.size) else {
                    return;
                };
                let expected = format!("{} bytes, as NetBackup's catalog has it", image.size);
                (Class::NetbackupSize, expected, format!("{bytes} bytes"))
            }
            Known::Nothing => {
                let expected = "an entry in NetBackup's catalog, or no image".to_owned();
                let size = bytes.map_or("an image of unknown size".to_owned(), |bytes| format!("{bytes} bytes"));
                (Class::StoreOnly, expected, format!("{size} on the store"))
            }
        };

        let image = Some(id.to_string());
        let key = Some(lsu.keys().sidecar(id));
        self.findings
            .push(finding(class, &lsu.config().name, image, key, expected, found));
    }

    /// True when the list names an image that the audit is to look at, in this shard or another one.
    pub fn has_any(&self, filter: &Filter) -> bool {
        self.expected
            .iter()
            .any(|(basename, image)| is_asked(filter, &Name::new(basename), image))
    }

    /// The findings, with those images that NetBackup knows and no LSU has. Only images that the audit was to look at
    /// are missed, and none by an audit that is not `complete`.
    pub fn finish(mut self, filter: &Filter, shard: Option<Shard>, complete: bool) -> Vec<Finding> {
        if !self.has_any(filter) {
            // A list that names nothing says nothing of what is on the store either.
            self.findings.retain(|finding| finding.class != Class::StoreOnly);
        }
        if !complete {
            return self.findings;
        }
        for (basename, image) in self.expected.iter().filter(|(_, image)| !image.was_seen()) {
            let basename = Name::new(basename);
            if !is_asked(filter, &basename, image) || !shard.is_none_or(|shard| shard.has(&basename)) {
                continue;
            }
            let expected = format!(
                "{} bytes on volume {}, written by {}",
                image.size, image.place.volume, image.place.host
            );
            let name = format!("{}:{}", escape(basename.as_bytes()), image.backup_time);
            let found = "no complete image in the LSUs that were looked at".to_owned();
            self.findings
                .push(finding(Class::NetbackupOnly, "", Some(name), None, expected, found));
        }

        self.findings
    }
}

fn is_asked(filter: &Filter, basename: &Name, image: &ExpectedImage) -> bool {
    ImageId::new(basename.clone(), image.backup_time.min(DATE_MAX)).is_ok_and(|id| filter.accepts(&id))
}

fn finding(
    class: Class,
    lsu: &str,
    image: Option<String>,
    key: Option<String>,
    expected: String,
    found: String,
) -> Finding {
    let severity = class.severity();
    let advice = class.advice().to_owned();
    Finding {
        class,
        severity,
        lsu: lsu.to_owned(),
        image,
        key,
        expected,
        found,
        advice,
    }
}
