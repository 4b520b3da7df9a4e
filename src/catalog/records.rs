//! The records of an LSU's images: sidecars and pending records, put and read, and what they say of an image.

use super::format::image_id::ImageId;
use super::format::keys::Folder;
use super::format::parse::{parse_pending, parse_sidecar};
use super::format::record::{ImageState, LEASE_SECONDS_MAX, Pending, PendingState, RECORD_SIZE_MAX, Sidecar};
use super::lsu::{Lsu, WireMode};
use super::room::Taken;
use super::write::live;
use crate::engine::checksum::{Crc64, Md5Sum};
use crate::error::{Error, Found, Kind, Result};
use crate::objstore::s3::resend::is_refusal;
use crate::objstore::s3::types::{ListedObject, WireCheck};

/// Room that is taken for a sidecar before its size is known; an image of some five hundred parts has one as long.
const RECORD_USUAL: u64 = 64 << 10;
/// A pending record as it lies on the store.
#[derive(Clone, Debug)]
pub struct PendingEntry {
    pub key: String,
    /// Seconds since 1970 by the server's clock.
    pub modified: u64,
    pub etag: String,
    pub pending: Pending,
}

/// What is pending of one image.
#[derive(Default)]
pub(super) struct Pendings {
    pub entries: Vec<PendingEntry>,
    /// Keys of records that cannot be read, or that contradict their place, with why.
    pub unreadable: Vec<(String, Error)>,
}

/// An image as its records tell it.
#[derive(Clone, Debug)]
pub enum Image {
    Complete(Box<Sidecar>),
    Pending {
        record: Box<Pending>,
        /// Its writer may be alive.
        held: bool,
    },
}

/// An image, or what an interrupted delete left of one.
#[derive(Clone, Debug)]
pub enum Described {
    Here(Image),
    Deleting(Box<Sidecar>),
}

impl Lsu {
    /// Puts a record, proven as parts are, so that a byte that flips on the way is refused, and a gateway that refuses our
    /// checksums is noticed by the first record of an image; by MD5 where nothing is known of the bucket.
    /// Gives the record's new ETag.
    pub(super) async fn put_record(&self, key: &str, body: bytes::Bytes, only_new: bool) -> Result<String> {
        let store = self.store();
        let bucket = self.bucket();
        let put = |check, body| async move {
            store
                .put(bucket, key, body, check, &[], only_new)
                .await
                .map_err(|error| match error.kind() {
                    // Not refused: what is there now may be another process's, put a moment later. Whose it is, is asked next.
                    Kind::Corrupt if error.status().is_none() => error.with_kind(Kind::Unavailable),
                    _ => error,
                })
        };

        if self.wire_mode() == WireMode::Crc64 && store.known(bucket).crc64nvme {
            match put(WireCheck::Crc64(Crc64::of(&body)), body.clone()).await {
                Err(error) if is_refusal(&error) && error.kind() != Kind::PreconditionFailed => {
                    let check = WireCheck::Md5(Md5Sum::of(&body));
                    let object = put(check, body).await.map_err(|second| match second.kind() {
                        Kind::PreconditionFailed => second,
                        _ => error,
                    })?;
                    store.contradicted(bucket, "it refuses CRC64NVME", |known| known.crc64nvme = false);
                    return Ok(object.etag);
                }
                other => return other.map(|object| object.etag),
            }
        }

        put(WireCheck::Md5(Md5Sum::of(&body)), body)
            .await
            .map(|object| object.etag)
    }

    /// A record's bytes; None when there is none.
    pub(super) async fn record(&self, key: &str) -> Result<Option<bytes::Bytes>> {
        self.store()
            .get_small(self.bucket(), key, RECORD_SIZE_MAX)
            .await
            .if_found()
    }

    /// The same, but nothing of what is too large for any record, of which only the size can be told.
    pub(super) async fn record_of_any_size(&self, key: &str) -> Result<Option<bytes::Bytes>> {
        match self.record(key).await {
            Err(error) if error.kind() == Kind::Corrupt => {
                // What was read wrongly is no reason to give a record up.
                let object = self.store().head(self.bucket(), key).await.if_found()?;
                let is_too_large = object.is_some_and(|object| object.size > RECORD_SIZE_MAX);
                if is_too_large {
                    Ok(Some(bytes::Bytes::new()))
                } else {
                    Err(error)
                }
            }
            other => other,
        }
    }

    /// A record's bytes, for which room was taken before they came: for `expected` bytes first, and again for more where
    /// there are more.
    async fn record_in_room(&self, key: &str, expected: u64) -> Result<Option<(bytes::Bytes, Taken)>> {
        let mut size = expected;
        while size < RECORD_SIZE_MAX {
            let room = self.room().take(size).await?;
            match self
                .store()
                .get_small_or_size(self.bucket(), key, size)
                .await
                .if_found()?
            {
                None => return Ok(None),
                Some(Ok(bytes)) => return Ok(Some((bytes, room))),
                // The room is given back here: nobody may wait for more while holding some.
                // Where only its end tells the length, this is no more than that it is longer.
                Some(Err(larger)) => size = larger.max(size.saturating_mul(2)),
            }
        }
        // What is larger still is refused for its size.
        let room = self.room().take(RECORD_SIZE_MAX).await?;
        Ok(self.record(key).await?.map(|bytes| (bytes, room)))
    }

    /// The sidecar with its bytes, whatever its state; None when there is none.
    pub(super) async fn sidecar(&self, id: &ImageId) -> Result<Option<(Sidecar, bytes::Bytes)>> {
        let Some((bytes, _room)) = self.record_in_room(&self.keys().sidecar(id), RECORD_USUAL).await? else {
            return Ok(None);
        };
        Ok(Some((parse_sidecar(self.keys(), id, &bytes)?, bytes)))
    }

    /// Every pending record of an image; usually one or none. One that cannot be read is an error.
    pub(super) async fn pendings(&self, id: &ImageId) -> Result<Vec<PendingEntry>> {
        let Pendings {
            entries,
            mut unreadable,
        } = self.all_pendings(id).await?;
        match unreadable.pop() {
            None => Ok(entries),
            Some((_, error)) if error.kind() == Kind::Unsupported => Err(error),
            Some((_, error)) => Err(error.context(format!(
                "look at what is pending of image {id}; `vastost-s3 verify` says how to set such a record aside"
            ))),
        }
    }

    /// Every pending record of an image, also those that cannot be read.
    pub(super) async fn all_pendings(&self, id: &ImageId) -> Result<Pendings> {
        let mut found = Pendings::default();
        for ListedObject {
            key,
            size,
            modified,
            etag,
        } in self.objects_of(Folder::Pending, id).await?
        {
            let Some((_, Some(attempt))) = self.keys().parse(Folder::Pending, &key) else {
                continue;
            };
            let parsed = match self.record_in_room(&key, size).await {
                Ok(None) => continue,
                Ok(Some((bytes, _room))) => parse_pending(self.keys(), id, &attempt, &bytes),
                Err(error) if error.kind() == Kind::Corrupt => Err(error),
                Err(error) => return Err(error),
            };
            match parsed {
                Ok(pending) => found.entries.push(PendingEntry {
                    key,
                    modified,
                    etag,
                    pending,
                }),
                Err(error) => found.unreadable.push((key, error)),
            }
        }

        Ok(found)
    }

    /// The first of these attempts that somebody else may be writing. Without attempts no clock is asked for.
    pub(super) async fn held_by_another<'a>(&self, entries: &'a [PendingEntry]) -> Result<Option<&'a PendingEntry>> {
        if entries.is_empty() {
            return Ok(None);
        }
        let now = self.now().await?;
        Ok(entries.iter().find(|entry| entry.is_held_by_another(now)))
    }

    /// The sidecar, or else the pending records. A writer that completes its image puts the one before it removes the
    /// other: when neither was seen, that happened between the two looks, or there is no image.
    pub(super) async fn records(&self, id: &ImageId) -> Result<(Option<(Sidecar, bytes::Bytes)>, Vec<PendingEntry>)> {
        let sidecar = self.sidecar(id).await?;
        if sidecar.is_some() {
            return Ok((sidecar, Vec::new()));
        }
        let pendings = self.pendings(id).await?;
        let sidecar = if pendings.is_empty() {
            self.sidecar(id).await?
        } else {
            None
        };
        Ok((sidecar, pendings))
    }

    /// The image by its records: complete, else pending, else not found. One that is being deleted is not found.
    pub async fn describe(&self, id: &ImageId) -> Result<Image> {
        match self.describe_any(id).await? {
            Described::Here(image) => Ok(image),
            Described::Deleting(_) => Err(self.not_found(id)),
        }
    }

    /// As [`Lsu::describe`], with the images whose delete was not finished.
    pub async fn describe_any(&self, id: &ImageId) -> Result<Described> {
        let (sidecar, pendings) = self.records(id).await?;
        if let Some((sidecar, _)) = sidecar {
            let sidecar = Box::new(sidecar);
            return Ok(match sidecar.state {
                ImageState::Deleting => Described::Deleting(sidecar),
                ImageState::Complete => Described::Here(Image::Complete(sidecar)),
            });
        }

        // A writer of which nobody can tell is taken for alive.
        let now = if pendings.is_empty() {
            None
        } else {
            self.now_if_told().await?
        };
        let held = pendings
            .iter()
            .any(|entry| entry.is_held(now.unwrap_or(entry.modified)));
        let best = pendings.into_iter().map(|entry| entry.pending).max_by_key(progress);
        let image = best.map(|record| Image::Pending {
            record: Box::new(record),
            held,
        });
        image.map(Described::Here).ok_or_else(|| self.not_found(id))
    }

    pub(super) fn not_found(&self, id: &ImageId) -> Error {
        Error::new(
            Kind::NotFound,
            format!("image {id} is not in LSU {}", self.config().name),
        )
    }
}

impl PendingEntry {
    /// True while its writer may be alive. `now` is the server's time, as is the record's age: no host's clock counts.
    pub fn is_held(&self, now: u64) -> bool {
        let writing = self.pending.state == PendingState::Writing;
        let lease = self.pending.lease_seconds.min(LEASE_SECONDS_MAX);
        let fresh = now.saturating_sub(self.modified) <= lease;
        // A record without a lease speaks for nobody: what a close has kept.
        writing && fresh && lease > 0 && !self.pending.writer.is_dead()
    }

    /// True while somebody else than this call may be writing it. What this process is said to write, and no handle of
    /// it does, is what a close could not remove.
    pub fn is_held_by_another(&self, now: u64) -> bool {
        self.is_held(now) && (!self.pending.writer.is_this() || live::is_live(&self.pending.attempt))
    }
}

/// True for a time that is further ahead than any clock of a cluster: the store's was wrong when it was noted. Its writer
/// counts as alive, since it may be; an audit says so. Our own clock is a witness too: the store's may be wrong now.
pub(super) fn is_of_the_future(modified: u64, now: u64) -> bool {
    let own = u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or_default();
    modified.saturating_sub(now.max(own)) > LEASE_SECONDS_MAX
}

/// Of several attempts at one image, the one that an incomplete close kept and that has most is the image.
pub(super) fn progress(pending: &Pending) -> (bool, u64, String) {
    let size = pending.content.as_ref().map_or(0, |content| content.data.size);
    (pending.state == PendingState::Incomplete, size, pending.started.clone())
}
