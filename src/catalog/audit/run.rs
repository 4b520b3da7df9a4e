//! An audit from beginning to end: LSU after LSU, leftovers first, then all images, many at once.
//!
//! Images end in any order and are added up in theirs, so that an audit can be taken up again behind the last one that
//! was added: [`Checkpoint`] is that state.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use futures::future::{BoxFuture, FutureExt};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use super::deep::Limiter;
use super::orphans;
use super::orphans::evaluated::{Evaluated, Seen};
use super::report::{Class, FINDINGS_MAX, Finding, Level, LsuSummary, Report, States};
use super::walk::Position;
use super::{Found, Options, Scope};
use crate::catalog::format::image_id::ImageId;
use crate::catalog::lsu::Lsu;
use crate::error::{Error, Kind, Result};

/// Images whose bytes are read at once: each has parts of its own in flight.
const DEEP_JOBS_MAX: usize = 4;

/// How far an audit is; all counters of the whole run.
#[derive(Clone, Copy, Debug, Default)]
pub struct AuditProgress {
    pub images: u64,
    /// Bytes of images done; of those being read, the bytes checked so far.
    pub bytes: u64,
    pub findings: u64,
}

/// What an audit tells while it runs.
pub enum Event<'a> {
    /// Some more has been done.
    Progress(AuditProgress),
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

/// The audit under way.
pub(super) struct Audit<'a> {
    pub(super) options: Options,
    pub(super) state: Checkpoint,
    pub(super) found: Vec<(Lsu, Found)>,
    /// Images of which the walk has brought a sidecar without data, or data whose sidecar the list lacks; by LSU.
    pub(super) halves: HashSet<(String, ImageId)>,
    pub(super) cancel: Arc<AtomicBool>,
    pub(super) limiter: Option<Arc<Limiter>>,
    pub(super) deep: Arc<Semaphore>,
    /// Bytes that the images under way have had checked.
    pub(super) reading: Arc<std::sync::atomic::AtomicU64>,
    pub(super) offered: Instant,
    pub(super) tell: &'a mut (dyn FnMut(Event<'_>) + Send),
}

/// Audits `lsus`, going on from `from`. Ends early, with what it has, once `cancel` is set.
pub async fn run(
    lsus: &[Lsu],
    options: &Options,
    from: Checkpoint,
    cancel: &Arc<AtomicBool>,
    tell: &mut (dyn FnMut(Event<'_>) + Send),
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
        audit.audit_lsu(lsu).await;
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
    async fn audit_lsu(&mut self, lsu: &Lsu) {
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
            bucket: config.bucket.to_string(),
            prefix: config.prefix.clone(),
            ..Default::default()
        };
        self.state.report.summary.lsus.entry(name.clone()).or_insert(summary);

        if let Err(error) = self.try_audit_lsu(lsu, &name, from).await {
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
        let options = self.options.clone();
        let cancel = Arc::clone(&self.cancel);
        let limiter = self.limiter.clone();
        Scope {
            lsu: lsu.clone(),
            options,
            began,
            cancel,
            limiter,
            slowest_ms: AtomicU64::default(),
        }
    }

    async fn try_audit_lsu(&mut self, lsu: &Lsu, name: &str, from: Option<Position>) -> Result<()> {
        let began = lsu.now_if_told().await?;
        let scope = Arc::new(self.scope(lsu, began.unwrap_or_default()));
        if began.is_none() {
            // Nothing is old then, and every writer alive.
            let note = "the server sends no Date header: ages are not known, so nothing was taken for a leftover";
            self.summary(&scope).notes.push(note.into());
        }
        if from.is_none() && self.options.leftovers {
            self.leftovers(&scope).await?;
        }
        self.images(&scope, name, from.unwrap_or_default()).await
    }

    /// Pending images, uploads, and objects that belong to no data.
    async fn leftovers(&mut self, scope: &Arc<Scope>) -> Result<()> {
        let seen = self
            .pass(scope, |scope, each| {
                async move { orphans::pendings(&scope, each).await }.boxed()
            })
            .await?;
        self.count(scope, seen);
        let uploads = self.pass(scope, |scope, each| {
            async move { orphans::uploads(&scope, each).await }.boxed()
        });

        match uploads.await {
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

        let seen = self
            .pass(scope, |scope, each| {
                async move { orphans::metas(&scope, each).await }.boxed()
            })
            .await?;
        self.count(scope, seen);

        if scope.has_all() {
            let seen = self
                .pass(scope, |scope, each| {
                    async move { orphans::probes(&scope, each).await }.boxed()
                })
                .await?;
            self.count(scope, seen);
        }

        Ok(())
    }

    async fn pass<P>(&mut self, scope: &Arc<Scope>, pass: P) -> Result<Seen>
    where
        P: FnOnce(Arc<Scope>, Box<dyn FnMut(Evaluated) + Send>) -> BoxFuture<'static, Result<Seen>>,
    {
        let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
        let each = Box::new(move |judged| drop(sender.send(judged)));
        let task = scope.lsu.runtime().spawn(pass(Arc::clone(scope), each));
        while let Some(Evaluated { found, pending }) = receiver.recv().await {
            if let Some((id, bytes)) = pending {
                self.day(scope, &id, |states| states.pending.add(bytes));
            }
            for found in found {
                self.add(scope, found);
            }
        }
        task.await
            .map_err(|_| Error::new(Kind::Aborted, "look for leftovers: the plug-in was terminated"))
            .flatten()
    }

    pub(super) fn count(&mut self, scope: &Scope, seen: Seen) {
        let summary = self.summary(scope);
        summary.add_foreign(seen.foreign);
        summary.list_requests += seen.requests;
    }

    pub(super) fn progress(&self) -> AuditProgress {
        let bytes = match self.options.level {
            Level::Deep => self.reading.load(Ordering::Relaxed),
            _ => self.state.bytes,
        };
        let summary = &self.state.report.summary;
        AuditProgress {
            images: self.state.images,
            bytes,
            findings: summary.errors.saturating_add(summary.warnings),
        }
    }

    pub(super) fn add(&mut self, scope: &Scope, mut found: Found) {
        scope.name_age(&mut found);
        self.state.report.push(found.finding.clone());
        // No more of them than findings of both severities: the next run has what this one leaves out.
        if found.fix.is_some() && (self.found.len() as u64) < 2 * FINDINGS_MAX {
            self.found.push((scope.lsu.clone(), found));
        }
    }

    pub(super) fn summary(&mut self, scope: &Scope) -> &mut LsuSummary {
        self.state
            .report
            .summary
            .lsus
            .entry(scope.lsu.config().name.clone())
            .or_default()
    }

    pub(super) fn day(&mut self, scope: &Scope, id: &ImageId, mut change: impl FnMut(&mut States)) {
        let summary = self.summary(scope);
        change(&mut summary.states);
        change(summary.days.entry(id.day()).or_default());
    }
}
