//! All images of an LSU, many at once, added up in the order of the walk.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures::stream::{FuturesUnordered, StreamExt};

use super::deep;
use super::image;
use super::image::Checked;
use super::orphans::evaluated::Seen;
use super::read;
use super::report::{Class, Foreign, Level, Severity};
use super::run::{Audit, Event};
use super::walk::{Group, Groups, Position};
use super::{Found, Scope};
use crate::error::{Error, Kind, Result};

/// Images that may be done and wait for an earlier one, for each job: what bounds the memory behind a slow one.
const WAITING_PER_JOB: usize = 64;
/// How often progress is told while no image ends.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(500);
/// How often a checkpoint is offered.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(5);

/// One image that the walk has come to.
struct Passed {
    group: Group,
    /// Keys between the image before and this one.
    foreign: Foreign,
    /// Behind the image.
    position: Position,
}

/// One image done.
struct Done {
    passed: Passed,
    checked: Checked,
    bytes_read: u64,
    /// The audit was cancelled before all of the image had been read.
    cut: bool,
}

impl Audit<'_> {
    /// All images, `jobs` at once, added up in the order of the walk.
    pub(super) async fn images(&mut self, scope: &Arc<Scope>, name: &str, from: Position) -> Result<()> {
        // From here on the leftovers are done with: a resumed audit begins with the images.
        self.state.at = Some((name.to_owned(), from.clone()));
        let mut groups = Groups::new(scope, &from);
        let mut under_way = FuturesUnordered::new();
        let mut waiting = BTreeMap::new();
        let mut next = 0u64;
        let mut started = 0u64;
        let mut listing = Ok(true);

        loop {
            while matches!(listing, Ok(true))
                && under_way.len() < self.options.jobs
                && started - next < (self.options.jobs * WAITING_PER_JOB) as u64
                && !self.cancel.load(Ordering::Relaxed)
            {
                match groups.next_group().await {
                    Ok(Some((group, position))) => {
                        let foreign = groups.take_foreign();
                        under_way.push(self.start(
                            scope,
                            started,
                            Passed {
                                group,
                                foreign,
                                position,
                            },
                        ));
                        started += 1;
                    }
                    Ok(None) => listing = Ok(false),
                    Err(error) => listing = Err(error),
                }
            }
            let ended = tokio::time::timeout(PROGRESS_INTERVAL, under_way.next());
            let Ok(ended) = ended.await else {
                // A large image is being read: its bytes are progress as well.
                let progress = self.progress();
                (self.tell)(Event::Progress(progress));
                continue;
            };
            let Some(done) = ended else { break };
            let aborted = |_| Error::new(Kind::Aborted, "check an image: the plug-in was terminated");
            let (number, done) = done.map_err(aborted)?;
            waiting.insert(number, done);
            // An image of which not everything was read is not done, nor is what follows it: a resumed audit must come
            // back to it.
            while let Some(done) = waiting.remove(&next).filter(|done| !done.cut) {
                self.add_image(scope, name, done);
                next += 1;
            }
        }

        self.end_of_walk(scope, groups);
        listing.map(drop)
    }

    fn end_of_walk(&mut self, scope: &Scope, mut groups: Groups) {
        let cancelled = self.cancel.load(Ordering::Relaxed);
        let requests = groups.requests();
        // What a resumed audit will pass again is counted by that one.
        let rest = groups.take_foreign();
        let foreign = if scope.has_all() && !cancelled {
            rest
        } else {
            Foreign::default()
        };
        self.count(scope, Seen { foreign, requests });
        self.summary(scope).elsewhere |= groups.elsewhere();

        if cancelled {
            (self.tell)(Event::Checkpoint(&self.state));
        } else {
            self.state.at = None;
        }
    }

    fn start(&self, scope: &Arc<Scope>, number: u64, passed: Passed) -> tokio::task::JoinHandle<(u64, Done)> {
        let scope = Arc::clone(scope);
        let deep = Arc::clone(&self.deep);
        let reading = Arc::clone(&self.reading);
        scope.clone().lsu.runtime().spawn(async move {
            let mut checked = image::check(&scope, &passed.group).await;
            let mut bytes_read = 0;
            let mut cut = false;
            if scope.options.level == Level::Deep
                && let Some(sidecar) = checked.sidecar.take()
            {
                // Closed never: the audit holds it.
                let _permit = deep.acquire().await;
                let progress = move |bytes| {
                    reading.fetch_add(bytes, Ordering::Relaxed);
                };
                match deep::read(&scope, &sidecar, &progress).await {
                    Ok(read) => {
                        checked.found.extend(read.found);
                        (bytes_read, cut) = (read.bytes, read.cut);
                        checked.gone |= read.gone;
                    }
                    Err(error) => checked.found.push(read::unreadable(&scope, &passed.group.id, &error)),
                }
            }
            (
                number,
                Done {
                    passed,
                    checked,
                    bytes_read,
                    cut,
                },
            )
        })
    }

    fn add_image(&mut self, scope: &Scope, name: &str, done: Done) {
        let Done {
            passed: Passed {
                group,
                foreign,
                position,
            },
            checked,
            bytes_read,
            ..
        } = done;
        let damaged = checked
            .found
            .iter()
            .any(|found| found.finding.severity == Severity::Error);
        // Where names continue one another, an image comes as two groups; which of them is first does not matter.
        let lacks_data = checked
            .found
            .iter()
            .any(|found| found.finding.class == Class::DataMissing);
        let is_half = checked.unlisted || (group.sidecar.is_some() && group.data.is_empty() && !lacks_data);
        let is_again = is_half && !checked.gone && !self.halves.insert((name.to_owned(), group.id.clone()));
        let is_image = (group.sidecar.is_some() || checked.unlisted) && !checked.gone && !is_again;

        if is_image {
            self.day(scope, &group.id, |states| match (checked.deleting, damaged) {
                (true, _) => states.deleting.add(checked.bytes),
                (false, true) => states.damaged.add(checked.bytes),
                (false, false) => states.good.add(checked.bytes),
            });
            self.summary(scope).rebuilt += u64::from(checked.rebuilt && !checked.deleting);
            self.state.images += 1;
            self.state.bytes += checked.bytes;
        }

        if is_image && !checked.deleting {
            let bytes = checked.known.then_some(checked.bytes);
            (self.tell)(Event::Image {
                lsu: &scope.lsu,
                id: &group.id,
                bytes,
            });
        }

        let summary = self.summary(scope);
        summary.bytes_read = summary.bytes_read.saturating_add(bytes_read);
        summary.unrecorded += u64::from(checked.unrecorded);
        if scope.has_all() {
            summary.add_foreign(foreign);
        }
        // What was found of the image itself is known by then; what lies beside it is not.
        let is_known = |found: &Found| is_again && found.finding.class != Class::OrphanData;
        checked
            .found
            .into_iter()
            .filter(|found| !is_known(found))
            .for_each(|found| self.add(scope, found));
        self.state.at = Some((name.to_owned(), position));
        let progress = self.progress();
        (self.tell)(Event::Progress(progress));
        if self.offered.elapsed() > CHECKPOINT_INTERVAL {
            self.offered = Instant::now();
            (self.tell)(Event::Checkpoint(&self.state));
        }
    }
}
