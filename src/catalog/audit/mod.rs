//! The image audit: every image of an LSU against what its records say, and everything in the LSU that no record names.
//!
//! It needs a reader's rights only and never changes the bucket. [`walk`] lists sidecars and data objects side by side
//! and hands out one image after the other; [`image`] checks one by its records, which [`read`] reads; [`deep`] reads its
//! bytes; [`orphans`] judges what is left over, and [`fix`] is what can be done about it; [`run`] goes through the LSUs
//! and [`images`] through the images, many at once; both add up the [`report`]. Memory holds a few listing pages, the images being checked and the findings,
//! whatever the number of images. [`shard`] splits an audit and [`merge`] joins the reports; [`bpimagelist`] reads
//! NetBackup's own list, which [`compare`] holds the store against.
//!
//! # No false findings beside living writers
//!
//! Listings are snapshots of different moments, so nothing that a listing seems to show is believed before it has been
//! asked again in the order that makes it true: data, then pending record, then sidecar. A writer puts its pending
//! record before its data and removes it after its sidecar, so data that are seen first, and then have neither, are
//! nobody's. A pending record is nobody's once its writer's lease has passed by the server's clock, see
//! [`super::write::lease`]. Debris younger than a grace period is not named at all.
//!
//! How it fails: an object that cannot be read is a finding and never ends the run; an LSU that cannot be listed is one
//! too; only a configuration that is wrong ends it.

pub mod report;
pub mod fix;
pub mod shard;
pub(super) mod walk;
mod read;
mod image;
mod deep;
pub mod orphans;
pub mod run;
mod images;
pub mod merge;
pub mod bpimagelist;
pub mod compare;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::format::image_id::ImageId;
use super::list::Filter;
use super::lsu::Lsu;
use report::{Class, Finding, Level};
use shard::Shard;

/// Debris younger than this is left alone and not named, unless asked otherwise.
pub const GRACE_SECONDS: u64 = 24 * 3600;

/// The longest text of a finding, bytes: a record or an answer that is quoted may be megabytes.
const TEXT_MAX: usize = 2_000;

/// What to audit and how.
#[derive(Clone, Debug)]
pub struct Options {
    pub level: Level,
    /// Also look for what no record names.
    pub leftovers: bool,
    pub filter: Filter,
    pub shard: Option<Shard>,
    pub grace_seconds: u64,
    /// Images checked at once, at least 1.
    pub jobs: usize,
    /// Bytes a second that `deep` reads at most.
    pub limit_rate: Option<u64>,
}

/// What was put so lately may belong to something that is under way: a sidecar that will name it, a delete.
const JUST_NOW_SECONDS: u64 = 10;
/// However slow the store is, unless the configuration wants more.
const SECOND_LOOK_MAX: Duration = Duration::from_secs(30);
/// A second look comes after as long as so many readings of a sidecar take, if that is longer than it would be anyway.
const SECOND_LOOK_READS: u64 = 20;

/// One LSU under audit.
pub(super) struct Scope {
    pub lsu: Lsu,
    pub options: Options,
    /// The server's time when the audit began, seconds since 1970.
    pub began: u64,
    pub cancel: Arc<AtomicBool>,
    pub limiter: Option<Arc<deep::Limiter>>,
    /// The slowest reading of a sidecar so far, milliseconds.
    pub slowest_ms: AtomicU64,
}

/// A finding, and what could be removed or mended about it.
#[derive(Clone, Debug)]
pub struct Found {
    pub finding: Finding,
    pub fix: Option<fix::Fix>,
}

impl Scope {
    fn is_cancelled(&self) -> bool {
        self.cancel.load(Ordering::Relaxed)
    }

    /// True when the image is one that was asked for.
    fn has(&self, id: &ImageId) -> bool {
        self.options.filter.accepts(id) && self.options.shard.is_none_or(|shard| shard.has(&id.basename))
    }

    /// True when everything below the prefix is looked at here, so that what belongs to no image is as well.
    fn has_all(&self) -> bool {
        let filter = &self.options.filter;
        let all = Filter {
            complete: filter.complete,
            pending: filter.pending,
            ..Filter::default()
        };
        *filter == all && self.options.shard.is_none_or(|shard| shard.number == 1)
    }

    /// True when what was last changed at `modified` is old enough to be called debris.
    fn is_old(&self, modified: u64) -> bool {
        // Times come in whole seconds: without a grace period nothing is too young.
        let grace = self.options.grace_seconds;
        // An answer that told a later time than the others is corrected by them.
        let now = self.began.min(self.now());
        grace == 0 || now.checked_sub(modified).is_some_and(|age| age >= grace)
    }

    /// `repair` and `gc` leave alone what is younger than a day, unless they are told an age as this audit was.
    fn name_age(&self, found: &mut Found) {
        let grace = self.options.grace_seconds;
        let finding = &mut found.finding;
        let aged = [
            Class::OrphanData,
            Class::OrphanUpload,
            Class::PendingStale,
            Class::DeleteUnfinished,
        ];
        let is_usual = aged.contains(&finding.class) && finding.advice == finding.class.advice();
        if found.fix.is_some() && is_usual && grace < GRACE_SECONDS {
            // Nobody is told to remove at once what may just have lost its sidecar.
            let command = if finding.class == Class::OrphanData {
                "repair"
            } else {
                "gc"
            };
            let more = format!("; with --older-than {grace}s for `vastost-s3 {command}`, as this audit had");
            finding.advice.push_str(&more);
        }
    }

    /// Before something that has only just come is looked at again. Where an audit waits long for its answers, so does the
    /// writer who may be at work.
    async fn wait_for_second_look(&self) {
        let shortest = self.lsu.second_look();
        let paced = Duration::from_millis(
            self.slowest_ms
                .load(Ordering::Relaxed)
                .saturating_mul(SECOND_LOOK_READS),
        );
        tokio::time::sleep(paced.clamp(shortest, shortest.max(SECOND_LOOK_MAX))).await;
    }

    /// True when what was changed at `modified`, by the server's clock, may belong to something that is under way.
    fn is_just_now(&self, modified: u64) -> bool {
        self.now().saturating_sub(modified) <= JUST_NOW_SECONDS.max(self.lsu.second_look().as_secs())
    }

    /// Now by the server's clock.
    fn now(&self) -> u64 {
        self.lsu.store().server_now().unwrap_or(self.began)
    }

    fn found(
        &self,
        class: Class,
        id: Option<&ImageId>,
        key: Option<&str>,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Found {
        let finding = Finding {
            class,
            severity: class.severity(),
            lsu: self.lsu.config().name.clone(),
            image: id.map(ToString::to_string),
            key: key.map(ToOwned::to_owned),
            expected: clipped(expected.into()),
            found: clipped(found.into()),
            advice: class.advice().into(),
        };
        Found { finding, fix: None }
    }
}

fn clipped(mut text: String) -> String {
    if text.len() > TEXT_MAX {
        let more = text.len() - TEXT_MAX;
        text.truncate(text.floor_char_boundary(TEXT_MAX));
        text.push_str(&format!("… and {more} more bytes"));
        text.shrink_to_fit();
    }
    text
}

impl Found {
    fn with(self, fix: fix::Fix) -> Self {
        Self { fix: Some(fix), ..self }
    }
}
