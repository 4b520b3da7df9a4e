//! A writer's claim on its attempt: the pending record, put whenever it changes and renewed in the background.
//!
//! A record speaks for its writer for `writer_lease` after it was last put; the server's clock counts. It is renewed
//! three times in that while, whether the host calls us or not, and each renewal tells which parts are on the store.
//! Whoever takes an attempt over, `gc` and `repair` among them, puts the record anew first. So before a late put, and
//! before the image is made complete, the writer looks whether the record is still its own: a process that was stopped
//! for hours and goes on finds that out instead of overwriting what happened meanwhile.

use std::sync::Arc;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use tokio::sync::Mutex;
use tracing::Instrument;

use super::live;
use crate::catalog::format::keys::Attempt;
use crate::catalog::format::parse::parse_pending;
use crate::catalog::format::record::{Pending, PendingState, RECORD_SIZE_MAX, Writer, part_records, to_bytes};
use crate::catalog::lsu::Lsu;
use crate::catalog::records::PendingEntry;
use crate::error::{Error, Kind, Result};
use crate::objstore::upload::in_flight::Progress;

/// Renewals in one lease: two may fail.
const RENEWALS: u32 = 3;

/// One pending record on the store, as we last put it.
pub struct Record {
    lsu: Lsu,
    key: String,
    etag: String,
    put: Duration,
}

/// The record of an attempt that this process writes.
pub struct WriterLease {
    attempt: Attempt,
    /// None once the attempt has ended: a renewal under way is waited for, and no other comes.
    held: Arc<Mutex<Option<(Record, Pending)>>>,
    renewal: tokio::task::JoinHandle<()>,
}

impl Record {
    /// Puts the record of an attempt that is ours to write.
    pub async fn put_first(lsu: &Lsu, key: &str, pending: &Pending) -> Result<Self> {
        let etag = lsu.put_record(key, to_bytes(pending)?, false).await?;
        Ok(Self {
            lsu: lsu.clone(),
            key: key.into(),
            etag,
            put: since_boot(),
        })
    }

    /// Makes an attempt that no living writer holds ours, before anything is done to it: of several that try at once
    /// the last to put the record has it, and the others hear that here, as busy.
    pub async fn take(entry: &PendingEntry, lsu: &Lsu) -> Result<(Self, Pending)> {
        let lease_seconds = lease_seconds(lsu);
        let state = PendingState::Writing;
        let ours = Pending {
            state,
            writer: Writer::this(),
            lease_seconds,
            ..entry.pending.clone()
        };
        let mut record = Self::put_first(lsu, &entry.key, &ours).await?;
        record.confirm(&ours).await?;
        Ok((record, ours))
    }

    /// Puts it again and gives its new ETag; refused as busy when another process has put it since.
    pub async fn put_again(&mut self, pending: &Pending) -> Result<String> {
        self.confirm_if_late(pending).await?;
        self.etag = self.lsu.put_record(&self.key, to_bytes(pending)?, false).await?;
        self.put = since_boot();
        Ok(self.etag.clone())
    }

    /// Puts what was taken back as it was, without a lease: whoever tries again, wherever, need not wait for us.
    pub async fn give_back(&mut self, pending: &Pending) {
        if let Err(error) = self
            .put_again(&Pending {
                lease_seconds: 0,
                ..pending.clone()
            })
            .await
        {
            tracing::debug!("give the record of image {} back: {error}", pending.image.id);
        }
    }

    async fn confirm_if_late(&mut self, pending: &Pending) -> Result<()> {
        if since_boot().saturating_sub(self.put) > renewal_interval(&self.lsu) {
            self.confirm(pending).await?;
        }
        Ok(())
    }

    /// Fails as busy when the record is not the one that we put.
    pub async fn confirm(&mut self, pending: &Pending) -> Result<()> {
        let lost = |how: &str| {
            let what = format!(
                "image {} was {how} by another process while this one was silent",
                pending.image.id
            );
            Err(Error::new(Kind::Busy, what))
        };

        // One front-end of a cluster that does not know the record yet must not end a job of hours.
        match self.lsu.store().head_fresh(self.lsu.bucket(), &self.key).await {
            // Where every object may have the same ETag, or none, only the record itself tells.
            Ok(found) if found.etag == self.etag && self.lsu.store().known(self.lsu.bucket()).etag_changes => Ok(()),
            Ok(found) if self.is_by(pending).await? => {
                // A put of ours whose answer was lost, or a server without stable ETags.
                self.etag = found.etag;
                Ok(())
            }
            Ok(_) => lost("taken over"),
            Err(error) if error.kind() == Kind::NotFound => lost("removed"),
            Err(error) => Err(error),
        }
    }

    /// True when the record on the store has the same writer.
    async fn is_by(&self, pending: &Pending) -> Result<bool> {
        let read = self
            .lsu
            .store()
            .get_small(self.lsu.bucket(), &self.key, RECORD_SIZE_MAX)
            .await;
        let bytes = read.map_err(|error| match error.kind() {
            // HEAD has just had it: nobody may take that for a record that was removed.
            Kind::NotFound => error.context("HEAD has the record").with_kind(Kind::Unavailable),
            _ => error,
        })?;
        let found = parse_pending(self.lsu.keys(), &pending.image.id, &pending.attempt, &bytes);
        Ok(found.is_ok_and(|found| found.writer == pending.writer))
    }
}

impl WriterLease {
    /// Puts the record and begins to renew it, with the parts that `progress` has.
    pub async fn take(lsu: &Lsu, key: &str, pending: &Pending, progress: Arc<Progress>) -> Result<Self> {
        let record = match Record::put_first(lsu, key, pending).await {
            Ok(record) => record,
            Err(error) => {
                // It may have been put all the same, and nobody would ever write this attempt.
                if let Err(left) = lsu.store().delete(lsu.bucket(), key, None).await {
                    tracing::debug!("remove a record that may have been put: {left}");
                }
                return Err(error);
            }
        };

        let held = Arc::new(Mutex::new(Some((record, pending.clone()))));
        let task = renew(Arc::clone(&held), progress, renewal_interval(lsu));
        let renewal = lsu.store().runtime().spawn(task.in_current_span());
        let attempt = pending.attempt.clone();
        live::begin(&attempt);
        Ok(Self { attempt, held, renewal })
    }

    /// Puts the record as it is now.
    pub async fn save(&self, pending: &Pending) -> Result<()> {
        let mut held = self.held.lock().await;
        let (record, last) = held.as_mut().ok_or_else(ended)?;
        record.put_again(pending).await?;
        *last = pending.clone();
        Ok(())
    }

    /// Fails as busy when another process has the attempt by now.
    pub async fn confirm(&self) -> Result<()> {
        let mut held = self.held.lock().await;
        let (record, pending) = held.as_mut().ok_or_else(ended)?;
        record.confirm(pending).await
    }

    /// [`WriterLease::confirm`] when the record was not put for a while.
    pub async fn confirm_if_late(&self) -> Result<()> {
        let mut held = self.held.lock().await;
        let (record, pending) = held.as_mut().ok_or_else(ended)?;
        record.confirm_if_late(pending).await
    }

    /// Ends the renewals: after this no put of the record is under way.
    pub async fn end(&self) {
        self.held.lock().await.take();
    }
}

impl Drop for WriterLease {
    fn drop(&mut self) {
        self.renewal.abort();
        live::end(&self.attempt);
    }
}

/// What a record promises on the store from now on.
pub fn lease_seconds(lsu: &Lsu) -> u64 {
    lsu.store().transfer().writer_lease.as_secs().max(1)
}

async fn renew(held: Arc<Mutex<Option<(Record, Pending)>>>, progress: Arc<Progress>, interval: Duration) {
    loop {
        tokio::time::sleep(interval).await;
        let mut held = held.lock().await;
        let Some((record, pending)) = held.as_mut() else { return };
        if since_boot().saturating_sub(record.put) < interval {
            continue;
        }
        // Once every part is listed, before the upload is completed, the list stays as it is.
        if pending.closing.is_none() {
            pending.sent = part_records(&progress.durable());
        }
        match record.put_again(pending).await {
            Ok(_) => {}
            Err(error) if error.kind() == Kind::Busy => return progress.fail(error, false),
            Err(error) => tracing::warn!("renew the claim on image {}: {error}", pending.image.id),
        }
    }
}

fn renewal_interval(lsu: &Lsu) -> Duration {
    lsu.store().transfer().writer_lease / RENEWALS
}

/// Time that goes on while the machine is suspended, as `Instant` does not.
fn since_boot() -> Duration {
    clock_gettime(ClockId::CLOCK_BOOTTIME)
        .map(Duration::from)
        .unwrap_or_default()
}

fn ended() -> Error {
    Error::new(Kind::Internal, "the attempt has ended")
}
