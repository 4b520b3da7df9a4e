//! An audit from beginning to end: LSU after LSU, leftovers first, then all images, many at once.
//!
//! Images end in any order and are added up in theirs, so that an audit can be taken up again behind the last one that
//! was added: [`Checkpoint`] is that state.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::stream::{FuturesUnordered, StreamExt};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use super::deep;
use super::deep::Limiter;
use super::image;
use super::image::Checked;
use super::orphans;
use super::orphans::judged::{Judged, Seen};
use super::read;
use super::report::{Class, FINDINGS_MAX, Finding, Foreign, Level, LsuSummary, Report, Severity, States};
use super::walk::{Group, Groups, Position};
use super::{Found, Options, Scope};
use crate::catalog::format::image_id::ImageId;
use crate::catalog::lsu::Lsu;
use crate::error::{Error, Kind, Result};

/// Images whose bytes are read at once: each has parts of its own in flight.
const DEEP_JOBS_MAX: usize = 4;
/// Images that may be done and wait for an earlier one, for each job: what bounds the memory behind a slow one.
const WAITING_PER_JOB: usize = 64;
/// How often progress is told while no image ends.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(500);
/// How often a checkpoint is offered.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(5);

/// How far an audit is; all counters of the whole run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub images: u64,
    /// Bytes of images done; of those being read, the bytes checked so far.
    pub bytes: u64,
    pub findings: u64,
}

/// What an audit tells while it runs.
pub enum Event<'a> {
    /// Some more has been done.
    Progress(Tally),
    /// The audit can be resumed from this state.
    Checkpoint(&'a Checkpoint),
    /// A complete image was found, with its size where that could be read.
    Image {
        lsu: &'a Lsu,
        id: &'a ImageId,
        bytes: Option<u64>,
    },
}

/// An audit that can be resumed: what it has found, and where it is.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Checkpoint {
    pub report: Report,
    /// The LSU under way and how far it is; None before the first and after the last.
    pub at: Option<(String, Position)>,
    pub images: u64,
    pub bytes: u64,
}

/// What an audit ended with.
pub struct Audited {
    pub report: Report,
    /// What can be done about findings of this run, in the order of discovery.
    pub found: Vec<(Lsu, Found)>,
}

/// The audit under way; lives on the caller's thread.
struct Audit<'a> {
    options: Options,
    state: Checkpoint,
    found: Vec<(Lsu, Found)>,
    /// Images of which the walk has brought a sidecar without data, or data whose sidecar the list lacks; by LSU.
    halves: HashSet<(String, ImageId)>,
    cancel: Arc<AtomicBool>,
    limiter: Option<Arc<Limiter>>,
    deep: Arc<Semaphore>,
    /// Bytes that the images under way have had checked.
    reading: Arc<std::sync::atomic::AtomicU64>,
    offered: Instant,
    tell: &'a mut dyn FnMut(Event<'_>),
}

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

/// Audits `lsus`, going on from `from`. Ends early, with what it has, once `cancel` is set.
pub fn run(
    lsus: &[Lsu],
    options: &Options,
    from: Checkpoint,
    cancel: &Arc<AtomicBool>,
    tell: &mut dyn FnMut(Event<'_>),
) -> Result<Audited> {
    let mut from = from;
    forget_failed(&mut from);
    let mut audit = Audit {
        limiter: options.limit_rate.map(|rate| Arc::new(Limiter::new(rate))),
        options: options.clone(),
        state: from,
        found: Vec::new(),
        halves: HashSet::new(),
        cancel: Arc::clone(cancel),
        deep: Arc::new(Semaphore::new(options.jobs.clamp(1, DEEP_JOBS_MAX))),
        reading: Arc::default(),
        offered: Instant::now(),
        tell,
    };
    // The LSU that was under way comes first: there is room for one position.
    let at = audit.state.at.as_ref().map(|(name, _)| name.clone());
    let (under_way, others): (Vec<_>, Vec<_>) = lsus.iter().partition(|lsu| at.as_ref() == Some(&lsu.config().name));
    for lsu in under_way.into_iter().chain(others) {
        audit.audit_lsu(lsu);
    }
    let cancelled = audit.cancel.load(Ordering::Relaxed);
    let Audit { mut state, found, .. } = audit;
    state.report.summary.interrupted |= cancelled;
    state.report.seal();
    Ok(Audited {
        report: state.report,
        found,
    })
}

/// An LSU that could not be listed to its end is audited anew.
fn forget_failed(state: &mut Checkpoint) {
    let report = &mut state.report;
    let listing = |finding: &&Finding| finding.class == Class::Unreadable && finding.image.is_none();
    let failed: Vec<_> = report
        .findings
        .iter()
        .filter(listing)
        .map(|finding| finding.lsu.clone())
        .collect();
    report.findings.retain(|finding| !failed.contains(&finding.lsu));
    for name in &failed {
        report.summary.lsus.remove(name);
    }
    report.recount();
    report.summary.interrupted = false;
}

impl Audit<'_> {
    fn audit_lsu(&mut self, lsu: &Lsu) {
        let name = lsu.config().name.clone();
        let from = match &self.state.at {
            Some((at, position)) if *at == name => Some(position.clone()),
            // Done by the run that this one goes on with.
            _ if self.state.report.summary.lsus.contains_key(&name) => return,
            _ => None,
        };
        if self.cancel.load(Ordering::Relaxed) {
            return;
        }
        let config = lsu.config();
        let summary = LsuSummary {
            bucket: config.bucket.clone(),
            prefix: config.prefix.clone(),
            ..Default::default()
        };
        self.state.report.summary.lsus.entry(name.clone()).or_insert(summary);
        if let Err(error) = self.try_audit_lsu(lsu, &name, from) {
            self.state.report.summary.interrupted = true;
            self.state.at = None;
            let scope = self.scope(lsu, 0);
            self.add(
                &scope,
                scope.found(Class::Unreadable, None, None, "a listing of the LSU", error.to_string()),
            );
        }
    }

    fn scope(&self, lsu: &Lsu, began: u64) -> Scope {
        let (options, cancel, limiter) = (self.options.clone(), Arc::clone(&self.cancel), self.limiter.clone());
        Scope {
            lsu: lsu.clone(),
            options,
            began,
            cancel,
            limiter,
            slowest_ms: AtomicU64::default(),
        }
    }

    fn try_audit_lsu(&mut self, lsu: &Lsu, name: &str, from: Option<Position>) -> Result<()> {
        let owned = lsu.clone();
        let began = lsu.store().run(async move { owned.now_if_told().await })?;
        let scope = Arc::new(self.scope(lsu, began.unwrap_or_default()));
        if began.is_none() {
            // Nothing is old then, and every writer alive.
            let note = "the server sends no Date header: ages are not known, so nothing was taken for a leftover";
            self.summary(&scope).notes.push(note.into());
        }
        if from.is_none() && self.options.leftovers {
            self.leftovers(&scope)?;
        }
        self.images(&scope, name, from.unwrap_or_default())
    }

    /// Pending images, uploads, and objects that belong to no data.
    fn leftovers(&mut self, scope: &Arc<Scope>) -> Result<()> {
        let seen = self.pass(scope, |scope, each| {
            Box::pin(async move { orphans::pendings(&scope, each).await })
        })?;
        self.count(scope, seen);
        match self.pass(scope, |scope, each| {
            Box::pin(async move { orphans::uploads(&scope, each).await })
        }) {
            Ok(seen) => self.count(scope, seen),
            // A reader's keys may not list uploads, and some servers cannot.
            // The same words for every shard: the error names its own request.
            Err(error) if matches!(error.kind(), Kind::AccessDenied | Kind::Unsupported) => {
                let denied = error.kind() == Kind::AccessDenied;
                let why = if denied {
                    "these keys may not list them"
                } else {
                    "the server cannot list them"
                };
                self.summary(scope)
                    .notes
                    .push(format!("unfinished uploads were not looked for: {why}"));
            }
            Err(error) => return Err(error),
        }
        let seen = self.pass(scope, |scope, each| {
            Box::pin(async move { orphans::metas(&scope, each).await })
        })?;
        self.count(scope, seen);
        if scope.has_all() {
            let seen = self.pass(scope, |scope, each| {
                Box::pin(async move { orphans::probes(&scope, each).await })
            })?;
            self.count(scope, seen);
        }
        Ok(())
    }

    fn pass<P>(&mut self, scope: &Arc<Scope>, pass: P) -> Result<Seen>
    where
        P: FnOnce(
                Arc<Scope>,
                Box<dyn FnMut(Judged) + Send>,
            ) -> std::pin::Pin<Box<dyn Future<Output = Result<Seen>> + Send>>
            + Send
            + 'static,
    {
        let (sender, receiver) = std::sync::mpsc::channel();
        let each = Box::new(move |judged| drop(sender.send(judged)));
        let task = scope.lsu.store().runtime().spawn(pass(Arc::clone(scope), each));
        while let Ok(Judged { found, pending }) = receiver.recv() {
            if let Some((id, bytes)) = pending {
                self.day(scope, &id, |states| states.pending.add(bytes));
            }
            for found in found {
                self.add(scope, found);
            }
        }
        let seen = futures::executor::block_on(task);
        seen.map_err(|_| Error::new(Kind::Aborted, "look for leftovers: the plug-in was terminated"))
            .flatten()
    }

    fn count(&mut self, scope: &Scope, seen: Seen) {
        let summary = self.summary(scope);
        summary.add_foreign(seen.foreign);
        summary.list_requests += seen.requests;
    }

    /// All images, `jobs` at once, added up in the order of the walk.
    fn images(&mut self, scope: &Arc<Scope>, name: &str, from: Position) -> Result<()> {
        // From here on the leftovers are done with: a resumed audit begins with the images.
        self.state.at = Some((name.to_owned(), from.clone()));
        // For the timer below.
        let _context = scope.lsu.store().runtime().enter();
        let mut groups = Groups::new(scope, &from);
        let mut under_way = FuturesUnordered::new();
        let (mut waiting, mut next, mut started) = (BTreeMap::new(), 0u64, 0u64);
        let mut listing = Ok(true);
        loop {
            while matches!(listing, Ok(true))
                && under_way.len() < self.options.jobs
                && started - next < (self.options.jobs * WAITING_PER_JOB) as u64
                && !self.cancel.load(Ordering::Relaxed)
            {
                match futures::executor::block_on(groups.next_group()) {
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
            let Ok(ended) = futures::executor::block_on(ended) else {
                // A large image is being read: its bytes are progress as well.
                let tally = self.tally();
                (self.tell)(Event::Progress(tally));
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
        let cancelled = self.cancel.load(Ordering::Relaxed);
        // What a resumed audit will pass again is counted by that one.
        let rest = groups.take_foreign();
        let foreign = if scope.has_all() && !cancelled {
            rest
        } else {
            Foreign::default()
        };
        self.count(
            scope,
            Seen {
                foreign,
                requests: groups.requests(),
            },
        );
        self.summary(scope).elsewhere |= groups.elsewhere();
        if !cancelled {
            self.state.at = None;
        } else {
            (self.tell)(Event::Checkpoint(&self.state));
        }
        listing.map(drop)
    }

    fn start(&self, scope: &Arc<Scope>, number: u64, passed: Passed) -> tokio::task::JoinHandle<(u64, Done)> {
        let (scope, deep, reading) = (Arc::clone(scope), Arc::clone(&self.deep), Arc::clone(&self.reading));
        scope.clone().lsu.store().runtime().spawn(async move {
            let mut checked = image::check(&scope, &passed.group).await;
            let (mut bytes_read, mut cut) = (0, false);
            if scope.options.level == Level::Deep
                && let Some(sidecar) = checked.sidecar.take()
            {
                // Closed never: the audit holds it.
                let _permit = deep.acquire().await;
                let progress = move |bytes| {
                    reading.fetch_add(bytes, Ordering::Relaxed);
                };
                match deep::read(Arc::clone(&scope), sidecar, progress).await {
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
        let tally = self.tally();
        (self.tell)(Event::Progress(tally));
        if self.offered.elapsed() > CHECKPOINT_INTERVAL {
            self.offered = Instant::now();
            (self.tell)(Event::Checkpoint(&self.state));
        }
    }

    fn tally(&self) -> Tally {
        let bytes = match self.options.level {
            Level::Deep => self.reading.load(Ordering::Relaxed),
            _ => self.state.bytes,
        };
        let summary = &self.state.report.summary;
        Tally {
            images: self.state.images,
            bytes,
            findings: summary.errors.saturating_add(summary.warnings),
        }
    }

    fn add(&mut self, scope: &Scope, mut found: Found) {
        scope.name_age(&mut found);
        self.state.report.push(found.finding.clone());
        // No more of them than findings of both severities: the next run has what this one leaves out.
        if found.remedy.is_some() && (self.found.len() as u64) < 2 * FINDINGS_MAX {
            self.found.push((scope.lsu.clone(), found));
        }
    }

    fn summary(&mut self, scope: &Scope) -> &mut LsuSummary {
        self.state
            .report
            .summary
            .lsus
            .entry(scope.lsu.config().name.clone())
            .or_default()
    }

    fn day(&mut self, scope: &Scope, id: &ImageId, mut change: impl FnMut(&mut States)) {
        let summary = self.summary(scope);
        change(&mut summary.states);
        change(summary.days.entry(id.day()).or_default());
    }
}
