//! One object going up: fill a part, send it, complete or abort.
//!
//! [`Upload::fill`] copies into the open part on the caller's thread and hashes on the way; a full part is handed to
//! [`Upload::send_part`], which waits while too many are in flight and gives the rest to our threads. An object that
//! never fills its first part is one PutObject. A part's failure is kept and returned by the next call on the upload.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::in_flight::{Progress, Sent, Slot};
use super::spec::UploadSpec;
use super::verify::{Finished, judge_part, prove, wire_check};
use crate::config::part_plan::PartPlan;
use crate::config::{PARTS_MAX, WireChoice, size_text};
use crate::engine::checksum::{Crc64, Crc64Hasher};
use crate::engine::md5_lanes::{self, Patience};
use crate::engine::memcpy::copy;
use crate::engine::piece::{piece, piece_mut};
use crate::engine::pool::{Buffer, Promise};
use crate::error::{Error, Kind, Result};
use crate::metrics::image::{Direction, Stall, Tally};
use crate::objstore::s3::capabilities::WireMode;
use crate::objstore::s3::resend::is_refusal;
use crate::objstore::s3::store::Store;
use crate::objstore::s3::types::{ObjectInfo, SentPart};

/// A finished object.
#[derive(Clone, Debug)]
pub struct Uploaded {
    pub object: ObjectInfo,
    pub parts: Vec<SentPart>,
}

/// What [`Upload::fill`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filled {
    /// So many bytes were taken.
    Taken(usize),
    /// None was: the open part is full, and has to be sent first.
    PartFull,
}

/// An object being written by one caller at a time.
pub struct Upload {
    store: Store,
    spec: Arc<UploadSpec>,
    plan: PartPlan,
    promise: Promise,
    open: Option<OpenPart>,
    open_number: u32,
    open_offset: u64,
    id: Option<Arc<str>>,
    /// The object's one part, once it was put in one piece or may have been.
    whole: Option<SentPart>,
    progress: Arc<Progress>,
    tally: Arc<Tally>,
}

struct OpenPart {
    buffer: Buffer,
    capacity: usize,
    filled: usize,
    hasher: Crc64Hasher,
    /// Bytes were rewritten, so the running CRC is void and is computed again over the part.
    rewritten: bool,
}

impl Upload {
    /// An upload that has sent nothing yet; takes the stream's promise of one part.
    pub fn new(store: &Store, spec: UploadSpec) -> Result<Self> {
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
            tally: Tally::new(store.metrics(), &spec.bucket, &spec.key, Direction::Write),
            store: store.clone(),
            spec: Arc::new(spec),
            plan,
            promise: store.pool().promise(plan.part_bytes(1))?,
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
    pub fn tally(&self) -> Arc<Tally> {
        Arc::clone(&self.tally)
    }

    pub fn spec(&self) -> &UploadSpec {
        &self.spec
    }

    /// Takes bytes for `offset`, at most to the end of the open part.
    pub fn fill(&mut self, data: &[u8], offset: u64) -> Result<Filled> {
        self.progress.check()?;
        let (start, end) = (self.open_offset, self.size());
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
        if self.open.is_none() {
            // Part of the call's bytes may have been taken: a write that goes wrong here leaves a hole.
            self.open = Some(self.new_part().inspect_err(|error| self.fail(error))?);
        }
        let part = self.open.as_mut().expect("a part was opened above");
        let copied = part.copy(offset - start, data);
        copied.inspect_err(|error| self.fail(error))
    }

    fn new_part(&self) -> Result<OpenPart> {
        if self.open_number > PARTS_MAX {
            return Err(Error::new(
                Kind::NoSpace,
                format!("write beyond part {PARTS_MAX}, S3's last"),
            ));
        }
        let (number, offset) = (self.open_number, self.open_offset);
        let bytes = self.plan.part_bytes_at(number, offset);
        // A smaller part must leave the image a way to its end.
        let will_do = |small: u64| self.plan.reaches(number + 1, offset + small);
        let since = Instant::now();
        let until = since + self.store.retry().operation_timeout;
        // Buffers may be with the hash lanes, which wait for parts that need buffers.
        let buffer = self
            .promise
            .acquire_up_to(bytes, until, will_do, || self.store.md5().press());
        self.tally.waited(Stall::Buffer, since);
        let buffer = buffer?;
        // The buffer may have come from a part that failed meanwhile: nothing more is taken then.
        self.progress.check()?;
        let capacity = usize::try_from(bytes)
            .unwrap_or(usize::MAX)
            .min(buffer.as_slice().len());
        Ok(OpenPart {
            buffer,
            capacity,
            filled: 0,
            hasher: Crc64Hasher::default(),
            rewritten: false,
        })
    }

    /// CreateMultipartUpload, before the first part is sent.
    pub fn begin(&mut self) -> Result<()> {
        let mut begun = self.try_begin();
        if let Err(error) = &begun
            && self.falls_back(error)
        {
            begun = self.try_begin();
        }
        self.id = Some(begun.inspect_err(|error| self.fail(error))?.into());
        Ok(())
    }

    fn try_begin(&self) -> Result<String> {
        let (store, spec) = (self.store.clone(), Arc::clone(&self.spec));
        let crc = spec.wire == WireMode::Crc64;
        let begun = async move { store.begin_upload(&spec.bucket, &spec.key, &spec.metadata, crc).await };
        self.store.run(self.tally.scope(begun))
    }

    /// True when the store has refused checksums that it took before, as a gateway does that was put before it, and they
    /// may be left out from now on: the bucket is probed again. Only before the first part.
    fn falls_back(&mut self, error: &Error) -> bool {
        is_refusal(error) && self.spec.wire == WireMode::Crc64 && self.probe_again(error)
    }

    /// Probes the bucket again because of `why`; true when parts are proven by MD5 from now on.
    pub fn probe_again(&mut self, why: &Error) -> bool {
        let Some(prefix) = self.spec.probe_prefix.clone() else {
            return false;
        };
        tracing::warn!("what bucket {} does is probed again: {why}", self.spec.bucket);
        let (store, bucket) = (self.store.clone(), self.spec.bucket.clone());
        let found = self
            .store
            .run(async move { store.probe_again(&bucket, &prefix, true).await });
        let wire = match found {
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

    /// Hands the open part to our threads; waits while `parts_in_flight` are under way.
    pub fn send_part(&mut self) -> Result<()> {
        let Some(part) = self.open.take() else { return Ok(()) };
        let id = self
            .id
            .clone()
            .ok_or_else(|| Error::new(Kind::Internal, "send a part before the upload has begun"))?;
        let number = self.open_number;
        let (body, crc64) = part.seal().inspect_err(|error| self.fail(error))?;
        self.open_offset += body.len() as u64;
        self.open_number += 1;
        let since = Instant::now();
        let admitted = self.progress.admit();
        self.tally.waited(Stall::Parts, since);
        admitted?;
        let (store, spec) = (self.store.clone(), Arc::clone(&self.spec));
        // Made here and not in the task: a runtime that is being stopped drops the task before it ever runs.
        let mut slot = Slot::of(&self.progress, body);
        // Without lanes of its own nobody would say when this upload needs a digest at once.
        let patience = if self.progress.has_lanes() {
            Patience::Waits
        } else {
            Patience::Pressing
        };
        let tally = Arc::clone(&self.tally);
        self.store.runtime().spawn(async move {
            let since = Instant::now();
            let sent = tally
                .scope(send(&store, &spec, &id, (number, crc64), patience, &mut slot))
                .await;
            if sent.is_ok() {
                tally.part(since);
            }
            slot.finish(sent);
        });
        Ok(())
    }

    /// Waits until every part that was sent is on the store.
    pub fn settle(&self) -> Result<()> {
        let since = Instant::now();
        self.progress.wait_idle();
        self.tally.waited(Stall::Parts, since);
        self.progress.check()
    }

    /// From now on the upload can only be given up: a call failed that had taken bytes.
    pub fn fail(&self, error: &Error) {
        self.progress.fail(error.repeat(), true);
    }

    /// The object as one whole, proven: see [`super::verify`].
    pub fn complete(&mut self) -> Result<Uploaded> {
        if self.id.is_some() {
            self.complete_parts()
        } else {
            self.put_whole()
        }
    }

    /// Sends what is left and waits: every part of the upload, none of them under way any more.
    pub fn seal(&mut self) -> Result<Vec<SentPart>> {
        self.send_part()?;
        self.settle()?;
        Ok(self.progress.lock().done.values().cloned().collect())
    }

    fn complete_parts(&mut self) -> Result<Uploaded> {
        let parts = self.seal()?;
        let crc64 = parts.iter().fold(Crc64(0), |crc, part| crc.then(part.crc64, part.size));
        let (store, spec) = (self.store.clone(), Arc::clone(&self.spec));
        let (id, list) = (self.id.clone().unwrap_or_default(), parts.clone());
        let proof = (spec.wire == WireMode::Crc64).then_some(crc64);
        let completed = async move { complete_upload(&store, &spec, &id, &list, proof).await };
        let Completed {
            object,
            trusted,
            other_parts,
        } = self.store.run(self.tally.scope(completed))?;
        // There is an object now and no upload any more that could be aborted.
        self.id = None;
        let parts = other_parts.unwrap_or(parts);
        let unproven: Vec<u32> = if trusted {
            self.progress.lock().unproven.iter().copied().collect()
        } else {
            parts.iter().map(|part| part.number).collect()
        };
        let (store, spec, list) = (self.store.clone(), Arc::clone(&self.spec), parts.clone());
        if unproven.len() == parts.len() && !spec.wire.is_proven_by(store.known(&spec.bucket)) {
            store.shared.buckets.tell_read_back(&spec.bucket);
        }
        let finished = Finished {
            object,
            is_upload: true,
        };
        let proven = async move { prove(&store, &spec, finished, &list, &unproven).await };
        let object = self.store.run(self.tally.scope(proven))?;
        Ok(Uploaded { object, parts })
    }

    fn put_whole(&mut self) -> Result<Uploaded> {
        self.progress.check()?;
        let (body, crc64) = match self.open.take() {
            Some(part) => part.seal().inspect_err(|error| self.fail(error))?,
            None => (Bytes::new(), Crc64(0)),
        };
        let size = body.len() as u64;
        let since = Instant::now();
        self.whole = Some(SentPart {
            number: 1,
            size,
            etag: String::new(),
            crc64,
        });
        let mut put = self.try_put_whole(body.clone(), crc64);
        if let Err(error) = &put
            && self.falls_back(error)
        {
            put = self.try_put_whole(body, crc64);
        }
        let object = put?;
        self.tally.part(since);
        self.open_offset = size;
        let part = SentPart {
            number: 1,
            size,
            etag: object.etag.clone(),
            crc64,
        };
        Ok(Uploaded {
            object,
            parts: if size == 0 { Vec::new() } else { vec![part] },
        })
    }

    /// Gives the object as HEAD tells of it.
    fn try_put_whole(&self, body: Bytes, crc64: Crc64) -> Result<ObjectInfo> {
        let (store, spec, size) = (self.store.clone(), Arc::clone(&self.spec), body.len() as u64);
        if !spec.wire.is_proven_by(store.known(&spec.bucket)) {
            store.shared.buckets.tell_read_back(&spec.bucket);
        }
        let put = async move {
            let check = wire_check(&store, &spec, &body, crc64, Patience::Pressing).await?;
            let object = store
                .put(&spec.bucket, &spec.key, body, check, &spec.metadata, false)
                .await?;
            let part = SentPart {
                number: 1,
                size,
                etag: object.etag.clone(),
                crc64,
            };
            // What the put itself has proven is not read again, unless HEAD contradicts it.
            prove(
                &store,
                &spec,
                Finished {
                    object,
                    is_upload: false,
                },
                &[part],
                &[],
            )
            .await
        };
        self.store.run(self.tally.scope(put))
    }

    /// Reduces the upload to what can be kept: all of it, or after a failure the parts before it. Gives the failure, and
    /// whether a call has returned it.
    pub fn keep_durable(&mut self) -> Result<Option<(Error, bool)>> {
        self.progress.wait_idle();
        let Some(failure) = self.progress.drop_failed() else {
            return Ok(None);
        };
        self.open = None;
        let Some(id) = self.id.clone().filter(|_| self.progress.lock().done.is_empty()) else {
            return Ok(Some(failure));
        };
        let (store, spec) = (self.store.clone(), Arc::clone(&self.spec));
        self.store
            .run(async move { store.abort_upload(spec.upload(&id)).await })?;
        self.id = None;
        Ok(Some(failure))
    }

    /// True when there is nothing to complete.
    pub fn is_empty(&self) -> bool {
        self.id.is_none() && self.open.is_none()
    }

    /// Gives the upload up: what was sent is removed from the store.
    pub fn abort(self) -> Result<()> {
        self.progress
            .fail(Error::new(Kind::Aborted, "the upload was given up"), true);
        self.progress.wait_idle();
        let Some(id) = self.id.clone() else { return Ok(()) };
        let (store, spec) = (self.store.clone(), Arc::clone(&self.spec));
        self.store
            .run(async move { store.abort_upload(spec.upload(&id)).await })
    }
}

impl OpenPart {
    fn copy(&mut self, at: u64, data: &[u8]) -> Result<Filled> {
        let capacity = self.capacity as u64;
        if at == capacity {
            return Ok(Filled::PartFull);
        }
        let end = capacity.min(at.saturating_add(data.len() as u64));
        let to = piece_mut(self.buffer.as_mut_slice(), at..end, "fill a part")?;
        let from = piece(data, 0..to.len() as u64, "fill a part")?;
        if at == self.filled as u64 {
            self.hasher.copy(to, from);
        } else {
            copy(to, from);
            self.rewritten = true;
        }
        self.filled = self.filled.max(end as usize);
        Ok(Filled::Taken(from.len()))
    }

    fn seal(self) -> Result<(Bytes, Crc64)> {
        let body = self.buffer.freeze(self.filled)?;
        let crc64 = if self.rewritten {
            Crc64::of(&body)
        } else {
            self.hasher.value()
        };
        Ok((body, crc64))
    }
}

async fn send(
    store: &Store,
    spec: &UploadSpec,
    id: &str,
    (number, crc64): (u32, Crc64),
    patience: Patience,
    slot: &mut Slot,
) -> Result<Sent> {
    let body = slot.body();
    let size = body.len() as u64;
    let check = wire_check(store, spec, &body, crc64, patience).await?;
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
    let judged = judge_part(
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

/// An upload that is complete, as far as the store says.
struct Completed {
    object: ObjectInfo,
    /// False where only the bytes can prove it.
    trusted: bool,
    /// What was completed in place of the parts that were sent: see [`Store::complete_upload_or_doubt`].
    other_parts: Option<Vec<SentPart>>,
}

/// CompleteMultipartUpload. A store that calls the whole's CRC64NVME wrong may have damaged a part, or may get the CRCs
/// of several parts wrong: then it is completed without, and the bytes must tell.
async fn complete_upload(
    store: &Store,
    spec: &UploadSpec,
    id: &str,
    parts: &[SentPart],
    proof: Option<Crc64>,
) -> Result<Completed> {
    let bucket = spec.bucket.as_str();
    let complete = |proof| store.complete_upload_or_doubt(spec.upload(id), parts, proof);
    match complete(proof).await {
        Err(error) if proof.is_some() && error.kind() == Kind::Corrupt => {
            tracing::warn!("without the CRC64NVME of the whole, and then read back: {error}");
            store.contradicted(bucket, "it calls the CRC64NVME of a whole upload wrong", |known| {
                known.crc64nvme = false
            });
            match complete(None).await {
                Ok((object, other_parts)) => Ok(Completed {
                    object,
                    trusted: false,
                    other_parts,
                }),
                Err(second) => {
                    tracing::warn!("{second}");
                    Err(error)
                }
            }
        }
        other => other.map(|(object, other_parts)| Completed {
            object,
            trusted: other_parts.is_none(),
            other_parts,
        }),
    }
}

#[cfg(test)]
#[path = "object_tests.rs"]
mod tests;
