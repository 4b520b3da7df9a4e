//! One object going up: fill a part, send it, complete or abort.
//!
//! [`Upload::fill`] copies into the open part on the caller's thread, hashes on the way and never waits;
//! [`Upload::next_part`] hands a full part to a task of its own, waits while too many are in flight, and opens the next.
//! An object that never fills its first part is one PutObject. A part's failure is kept and returned by the next call on the upload.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::in_flight::{Progress, Sent, Slot};
use super::open_part::{Filled, OpenPart};
use super::spec::UploadSpec;
use super::verify::{evaluate_part, wire_check};
use crate::config::part_plan::PartPlan;
use crate::config::{PARTS_MAX, WireChoice, size_text};
use crate::engine::checksum::Crc64;
use crate::engine::md5_lanes::{self, Priority};
use crate::engine::pool::{Buffer, Reservation};
use crate::error::{Error, Kind, Result};
use crate::metrics::image::{Direction, ImageStats, Stall};
use crate::objstore::download::read_ahead::fetch_part;
use crate::objstore::download::spec::ReadSpec;
use crate::objstore::s3::capabilities::WireMode;
use crate::objstore::s3::resend::is_refusal;
use crate::objstore::s3::store::Store;
use crate::objstore::s3::types::{PartSpan, SentPart};

/// An object being written by one caller at a time.
pub struct Upload {
    pub(super) store: Store,
    pub(super) spec: Arc<UploadSpec>,
    plan: PartPlan,
    reservation: Reservation,
    pub(super) open: Option<OpenPart>,
    open_number: u32,
    pub(super) open_offset: u64,
    pub(super) id: Option<Arc<str>>,
    /// The object's one part, once it was put in one piece or may have been.
    pub(super) whole: Option<SentPart>,
    pub(super) progress: Arc<Progress>,
    pub(super) stats: Arc<ImageStats>,
}

/// A part that is full, or the last one.
struct Sealed {
    number: u32,
    body: Bytes,
    crc64: Crc64,
}

impl Upload {
    /// An upload that has sent nothing yet; takes the stream's reservation of one part.
    pub async fn new(store: &Store, spec: UploadSpec) -> Result<Self> {
        let transfer = store.transfer();
        let plan = PartPlan::new(transfer.part_size_bytes, transfer.image_size_max_bytes);
        let lanes = (spec.wire == WireMode::Md5).then(|| Arc::clone(store.md5()));
        // One lane is none: then a part is hashed as it comes.
        let ahead = if lanes.is_some() && md5_lanes::width() > 1 {
            md5_lanes::width()
        } else {
            0
        };
        let progress = Progress::new(transfer.parts_in_flight, transfer.parts_in_flight_max, ahead, lanes);
        Ok(Self {
            stats: ImageStats::new(store.metrics(), &spec.bucket, &spec.key, Direction::Write),
            store: store.clone(),
            spec: Arc::new(spec),
            plan,
            reservation: store.pool().reserve(plan.part_bytes(1)).await?,
            open: None,
            open_number: 1,
            open_offset: 0,
            id: None,
            whole: None,
            progress: Arc::new(progress),
        })
    }

    /// Goes on behind `parts`, which lie in the upload `id` already.
    pub fn resume(&mut self, id: &str, parts: Vec<Sent>) {
        self.id = Some(id.into());
        self.open_offset = parts.iter().map(|sent| sent.part.size).sum();
        self.open_number = parts.last().map_or(1, |sent| sent.part.number + 1);
        let mut state = self.progress.lock();
        parts.into_iter().for_each(|sent| state.add(sent));
    }

    /// The one part of an object that was put in one piece, or may have been.
    pub fn whole(&self) -> Option<&SentPart> {
        self.whole.as_ref()
    }

    /// Bytes taken so far, sent or not.
    pub fn size(&self) -> u64 {
        self.open_offset + self.open.as_ref().map_or(0, |part| part.filled as u64)
    }

    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// The parts under way and done, for those who watch.
    pub fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }

    /// What the upload has done and waited for.
    pub fn stats(&self) -> Arc<ImageStats> {
        Arc::clone(&self.stats)
    }

    pub fn spec(&self) -> &UploadSpec {
        &self.spec
    }

    /// Takes bytes for `offset`, at most to the end of the open part.
    pub fn fill(&mut self, data: &[u8], offset: u64) -> Result<Filled> {
        self.progress.check()?;
        let start = self.open_offset;
        let end = self.size();
        if !(start..=end).contains(&offset) {
            let what =
                format!("write at offset {offset}: only {start} to {end} can be written (the open part and its end)");
            return Err(Error::new(Kind::OffsetInvalid, what));
        }
        let limit = self.store.transfer().image_size_max_bytes;

        if offset.saturating_add(data.len() as u64) > limit {
            let what = format!(
                "write at offset {offset}: the image would exceed image_size_max, {}",
                size_text(limit)
            );
            return Err(Error::new(Kind::NoSpace, what));
        }

        if data.is_empty() {
            return Ok(Filled::Taken(0));
        }
        let Some(part) = &mut self.open else {
            return Ok(Filled::PartNeeded);
        };
        let copied = part.copy(offset - start, data);
        copied.inspect_err(|error| self.fail(error))
    }

    /// Sends the open part, if there is one, and opens the next; waits while `parts_in_flight` are under way, and for a
    /// buffer. The upload must have begun by [`Upload::begin`] when a part is open.
    pub async fn next_part(&mut self) -> Result<()> {
        self.send_part().await?;
        // Part of a call's bytes may have been taken: a write that goes wrong here leaves a hole.
        let opened = self.open_part().await.inspect_err(|error| self.fail(error))?;
        self.open = Some(opened);
        Ok(())
    }

    /// [`Upload::next_part`] as far as nothing has to be waited for; false where something has.
    pub fn try_next_part(&mut self) -> Result<bool> {
        if self.open.is_some() {
            if self.id.is_none() || !self.progress.try_admit()? {
                return Ok(false);
            }
            self.send_admitted()?;
        }
        let opened = self.try_open_part().inspect_err(|error| self.fail(error))?;
        self.open = opened;
        Ok(self.open.is_some())
    }

    /// Opens the first part that is not sent with the bytes of another object's part, read into the very buffer and checked:
    /// no second one is needed. False, and the part is open and empty, where it has no room for them.
    pub async fn open_with(&mut self, from: &ReadSpec, span: PartSpan) -> Result<bool> {
        let opened = self.open_part().await.inspect_err(|error| self.fail(error))?;
        let capacity = opened.capacity();
        let size = usize::try_from(span.size).unwrap_or(usize::MAX);
        if size > capacity {
            self.open = Some(opened);
            return Ok(false);
        }
        let read = fetch_part(&self.store, from, span, opened.into_buffer());
        let read = self.stats.scope(read).await.inspect_err(|error| self.fail(error))?;
        self.open = OpenPart::refilled(read, capacity, size);
        Ok(true)
    }

    /// True when a part is open, which has to be sent before the next one is opened.
    pub fn has_open_part(&self) -> bool {
        self.open.is_some()
    }

    async fn open_part(&self) -> Result<OpenPart> {
        let bytes = self.next_bytes()?;
        let since = Instant::now();
        let until = since + self.store.retry().operation_timeout;
        // Buffers may be with the hash lanes, which wait for parts that need buffers.
        let buffer = self
            .reservation
            .acquire_up_to(bytes, until, self.reaches_with(), || self.store.md5().demand())
            .await;
        self.stats.waited(Stall::Buffer, since);
        self.opened(bytes, buffer?)
    }

    fn try_open_part(&self) -> Result<Option<OpenPart>> {
        let bytes = self.next_bytes()?;
        let buffer = self.reservation.try_acquire_up_to(bytes, self.reaches_with())?;
        buffer.map(|buffer| self.opened(bytes, buffer)).transpose()
    }

    /// Bytes of the next part.
    fn next_bytes(&self) -> Result<u64> {
        if self.open_number > PARTS_MAX {
            let what = format!("write beyond part {PARTS_MAX}, S3's last");
            return Err(Error::new(Kind::NoSpace, what));
        }
        Ok(self.plan.part_bytes_at(self.open_number, self.open_offset))
    }

    /// Whether a smaller part would leave the image a way to its end.
    fn reaches_with(&self) -> impl Fn(u64) -> bool + use<> {
        let plan = self.plan;
        let number = self.open_number;
        let offset = self.open_offset;
        move |small| plan.reaches(number + 1, offset + small)
    }

    fn opened(&self, bytes: u64, buffer: Buffer) -> Result<OpenPart> {
        // The buffer may have come from a part that failed meanwhile: nothing more is taken then.
        self.progress.check()?;
        let capacity = usize::try_from(bytes)
            .unwrap_or(usize::MAX)
            .min(buffer.as_slice().len());
        Ok(OpenPart::new(buffer, capacity))
    }

    /// CreateMultipartUpload, before the first part is sent.
    pub async fn begin(&mut self) -> Result<()> {
        let mut begun = self.try_begin().await;
        if let Err(error) = &begun
            && self.falls_back(error).await
        {
            begun = self.try_begin().await;
        }
        self.id = Some(begun.inspect_err(|error| self.fail(error))?.into());
        Ok(())
    }

    async fn try_begin(&self) -> Result<String> {
        let UploadSpec {
            bucket, key, metadata, ..
        } = &*self.spec;
        let crc = self.spec.wire == WireMode::Crc64;
        self.stats
            .scope(self.store.begin_upload(bucket, key, metadata, crc))
            .await
    }

    /// True when the store has refused checksums that it took before, as a gateway does that was put before it, and they
    /// may be left out from now on: the bucket is probed again. Only before the first part.
    pub(super) async fn falls_back(&mut self, error: &Error) -> bool {
        is_refusal(error) && self.spec.wire == WireMode::Crc64 && self.probe_again(error).await
    }

    /// Probes the bucket again because of `why`; true when parts are proven by MD5 from now on.
    pub async fn probe_again(&mut self, why: &Error) -> bool {
        let Some(prefix) = self.spec.probe_prefix.clone() else {
            return false;
        };
        tracing::warn!("what bucket {} does is probed again: {why}", self.spec.bucket);
        let wire = match self.store.probe_again(&self.spec.bucket, &prefix, true).await {
            Ok(found) => WireMode::choose(WireChoice::Auto, found),
            Err(error) => {
                tracing::warn!("probe bucket {}: {error}", self.spec.bucket);
                return false;
            }
        };
        self.spec = Arc::new(UploadSpec {
            wire,
            ..UploadSpec::clone(&self.spec)
        });
        wire == WireMode::Md5
    }

    /// Hands the open part to a task; waits while `parts_in_flight` are under way.
    async fn send_part(&mut self) -> Result<()> {
        if self.open.is_none() {
            return Ok(());
        }
        let since = Instant::now();
        let admitted = self.progress.admit().await;
        self.stats.waited(Stall::Parts, since);
        admitted?;
        self.send_admitted()
    }

    /// Hands the open part, which has a place among those in flight, to a task.
    fn send_admitted(&mut self) -> Result<()> {
        let (id, Sealed { number, body, crc64 }) = match self.take_open() {
            Ok(taken) => taken,
            Err(error) => {
                self.fail(&error);
                // Gives the place back.
                drop(Slot::of(&self.progress, Bytes::new()));
                return Err(error);
            }
        };
        let store = self.store.clone();
        let spec = Arc::clone(&self.spec);
        // Made here and not in the task: a runtime that is being stopped drops the task before it ever runs.
        let mut slot = Slot::of(&self.progress, body);
        // Without lanes of its own nobody would say when this upload needs a digest at once.
        let priority = if self.progress.has_lanes() {
            Priority::Normal
        } else {
            Priority::Urgent
        };
        let stats = Arc::clone(&self.stats);
        self.store.runtime().spawn(async move {
            let since = Instant::now();
            let sent = stats
                .scope(send(&store, &spec, &id, (number, crc64), priority, &mut slot))
                .await;
            if sent.is_ok() {
                stats.part(since);
            }
            slot.finish(sent);
        });
        Ok(())
    }

    /// The open part as it is sent, and the upload's id.
    fn take_open(&mut self) -> Result<(Arc<str>, Sealed)> {
        let none = || {
            Error::new(
                Kind::Internal,
                "send a part that is not open, or before the upload has begun",
            )
        };
        let part = self.open.take().ok_or_else(none)?;
        let id = self.id.clone().ok_or_else(none)?;
        let (body, crc64) = part.seal()?;
        let number = self.open_number;
        self.open_offset += body.len() as u64;
        self.open_number += 1;
        Ok((id, Sealed { number, body, crc64 }))
    }

    /// Waits until every part that was sent is on the store.
    pub async fn settle(&self) -> Result<()> {
        let since = Instant::now();
        self.progress.wait_idle().await;
        self.stats.waited(Stall::Parts, since);
        self.progress.check()
    }

    /// From now on the upload can only be given up: a call failed that had taken bytes.
    pub fn fail(&self, error: &Error) {
        self.progress.fail(error.repeat(), true);
    }

    /// Sends what is left and waits: every part of the upload, none of them under way any more.
    pub async fn seal(&mut self) -> Result<Vec<SentPart>> {
        self.send_part().await?;
        self.settle().await?;
        Ok(self.progress.lock().done.values().cloned().collect())
    }

    /// Reduces the upload to what can be kept: all of it, or after a failure the parts before it. Gives the failure, and
    /// whether a call has returned it.
    pub async fn keep_durable(&mut self) -> Result<Option<(Error, bool)>> {
        self.progress.wait_idle().await;
        let Some(failure) = self.progress.drop_failed() else {
            return Ok(None);
        };
        self.open = None;
        let Some(id) = self.id.clone().filter(|_| self.progress.lock().done.is_empty()) else {
            return Ok(Some(failure));
        };
        self.store.abort_upload(self.spec.upload(&id)).await?;
        self.id = None;
        Ok(Some(failure))
    }

    /// True when there is nothing to complete.
    pub fn is_empty(&self) -> bool {
        self.id.is_none() && self.open.is_none()
    }

    /// Gives the upload up: what was sent is removed from the store.
    pub async fn abort(self) -> Result<()> {
        self.progress
            .fail(Error::new(Kind::Aborted, "the upload was given up"), true);
        self.progress.wait_idle().await;
        let Some(id) = &self.id else { return Ok(()) };
        self.store.abort_upload(self.spec.upload(id)).await
    }
}

async fn send(
    store: &Store,
    spec: &UploadSpec,
    id: &str,
    (number, crc64): (u32, Crc64),
    priority: Priority,
    slot: &mut Slot,
) -> Result<Sent> {
    let body = slot.body();
    let size = body.len() as u64;
    let check = wire_check(store, spec, &body, crc64, priority).await?;
    slot.enter_line().await;
    let sent = store.upload_part(spec.upload(id), number, body, check).await;

    if let Err(error) = &sent
        && spec.wire == WireMode::Crc64
        && is_refusal(error)
        && error.kind() != Kind::AccessDenied
    {
        // Too late for this upload; the next job asks what the store does.
        store.contradicted(&spec.bucket, "it refuses a part with its CRC64NVME", |known| {
            known.crc64nvme = false
        });
    }

    let sent = sent?;
    let told = sent.crc64.as_ref().is_none_or(|told| *told == crc64.to_base64());
    let judged = evaluate_part(
        store,
        spec,
        check,
        SentPart {
            number,
            size,
            etag: sent.etag,
            crc64,
        },
    );
    Ok(Sent {
        proven: judged.proven && told,
        ..judged
    })
}

#[cfg(test)]
#[path = "object_tests.rs"]
mod tests;
