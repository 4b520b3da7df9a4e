//! One LSU: a bucket (or a folder of one) with the records in it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::format::escape::Name;
use super::format::image_id::ImageId;
use super::format::keys::{Folder, Keys};
use super::format::parse::{parse_pending, parse_sidecar};
use super::format::record::{ImageState, LEASE_SECONDS_MAX, Pending, PendingState, RECORD_SIZE_MAX, Sidecar, to_bytes};
use super::maintain::usage::{Usage, UsageFile};
use super::pages::Pages;
use super::room::{Room, Taken};
use super::write::live;
use crate::config;
use crate::config::{Bucket, Config, Server, WireChoice};
use crate::engine::checksum::{Crc64, Md5Sum};
use crate::error::{Error, Found, Kind, Result, ResultExt};
use crate::objstore::s3::multipart::ListedUpload;
use crate::objstore::s3::resend::is_refusal;
use crate::objstore::s3::store::Store;
use crate::objstore::s3::types::{ListedObject, WireCheck};
use crate::objstore::s3::versions::Versioning;

pub use crate::objstore::s3::bucket_rules::Locking;
pub use crate::objstore::s3::capabilities::{Capabilities, WireMode};

/// The longest label that `stsp_label_lsu` takes, bytes.
pub const LABEL_MAX: usize = 255;

/// How long an answer to whether the bucket keeps versions is good: somebody may turn it on.
const VERSIONING_VALID: Duration = Duration::from_secs(60);

/// Room that is taken for a sidecar before its size is known; an image of some five hundred parts has one as long.
const RECORD_USUAL: u64 = 64 << 10;

/// An LSU of an open server; clones share everything.
#[derive(Clone)]
pub struct Lsu {
    shared: Arc<Shared>,
}

struct Shared {
    store: Store,
    lsu: config::Lsu,
    keys: Keys,
    wire: WireChoice,
    second_look: Duration,
    usage: UsageFile,
    versioning: Mutex<Option<(Instant, Versioning)>>,
    room: Room,
}

/// `lsu.json`
#[derive(Serialize, Deserialize)]
struct LabelRecord {
    schema: u32,
    label: String,
}

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
    pub fn new(store: Store, config: &Config, server: &Server, lsu: &config::Lsu) -> Self {
        let shared = Shared {
            store,
            keys: Keys::new(&lsu.prefix),
            usage: UsageFile::new(&config.state_dir, &server.name, &lsu.name),
            lsu: lsu.clone(),
            wire: config.integrity.wire,
            second_look: config.integrity.second_look,
            versioning: Mutex::new(None),
            room: Room::new(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    pub fn config(&self) -> &config::Lsu {
        &self.shared.lsu
    }

    /// How long an audit waits at least before it looks again at what has only just come.
    pub(super) fn second_look(&self) -> Duration {
        self.shared.second_look
    }

    pub(super) fn store(&self) -> &Store {
        &self.shared.store
    }

    pub fn endpoint(&self) -> &str {
        self.shared.store.endpoint()
    }

    /// One short listing, which fails where the bucket is missing or may not be read.
    pub async fn reach(&self) -> Result<()> {
        let prefix = &self.shared.lsu.prefix;
        let listed = self.store().list(self.bucket(), prefix, true, None, None).await;
        listed.map(drop)
    }

    /// Creates the bucket unless it is there; true when it was created.
    pub async fn create_bucket(&self) -> Result<bool> {
        match self.store().head_bucket(self.bucket()).await {
            Err(error) if error.kind() == Kind::LsuNotFound => {
                self.store().create_bucket(self.bucket()).await.map(|()| true)
            }
            other => other.map(|()| false),
        }
    }

    /// Whether the bucket locks objects.
    pub async fn locking(&self) -> Result<Locking> {
        self.store().locking(self.bucket()).await
    }

    /// What the bucket can do, asked anew whatever is known, and kept.
    pub async fn probe_again(&self) -> Result<Capabilities> {
        let prefix = &self.shared.lsu.prefix;
        self.store().probe_again(self.bucket(), prefix, false).await
    }

    /// How many uploads are under way in the bucket; and whether there are more than that.
    pub async fn count_uploads(&self) -> Result<(usize, bool)> {
        let page = self.store().list_uploads(self.bucket(), None).await?;
        Ok((page.uploads.len(), page.next.is_some()))
    }

    /// Images of a client that have a sidecar, or had one of which a version is kept.
    pub async fn images_in_history(&self, client: &Name) -> Result<Vec<ImageId>> {
        let folder = self.keys().folder(Folder::Catalog, Some(client));
        let keys = self.store().list_versioned_keys(self.bucket(), &folder).await?;
        let ids = keys.iter().filter_map(|key| self.keys().parse(Folder::Catalog, key));
        Ok(ids.map(|(id, _)| id).collect())
    }

    /// Where its work runs.
    pub fn runtime(&self) -> &tokio::runtime::Handle {
        self.shared.store.runtime()
    }

    pub fn keys(&self) -> &Keys {
        &self.shared.keys
    }

    pub fn bucket(&self) -> &Bucket {
        &self.shared.lsu.bucket
    }

    /// What everybody who parses a record takes room from.
    pub(super) fn room(&self) -> &Room {
        &self.shared.room
    }

    pub fn wire(&self) -> WireChoice {
        self.shared.wire
    }

    pub fn usage(&self) -> Option<Usage> {
        self.shared.usage.read()
    }

    pub(super) fn usage_file(&self) -> &UsageFile {
        &self.shared.usage
    }

    /// Counts an image out of the usage figure. The file may lie on a slow disk, so not on an I/O thread.
    pub(super) async fn count_out(&self, bytes: u64) {
        self.change_usage(move |usage| usage.removed(bytes)).await;
    }

    /// Counts an image in.
    pub(super) async fn count_in(&self, bytes: u64) {
        self.change_usage(move |usage| usage.added(bytes)).await;
    }

    pub(super) async fn change_usage(&self, change: impl FnOnce(&UsageFile) + Send + 'static) {
        let usage = self.shared.usage.clone();
        if let Err(error) = tokio::task::spawn_blocking(move || change(&usage)).await {
            tracing::debug!("keep usage: {error}");
        }
    }

    /// What the bucket is proven to do; probed before the first write, by one process of a host.
    pub async fn capabilities(&self) -> Result<Capabilities> {
        self.store().capabilities(self.bucket(), self.keys().prefix()).await
    }

    /// How parts are proven now; None before anything is known of the bucket.
    pub(super) fn wire_mode(&self) -> WireMode {
        WireMode::choose(self.wire(), self.store().known(self.bucket()))
    }

    /// Whether the bucket keeps versions, as it said within the last minute.
    pub(super) async fn versioning(&self) -> Result<Versioning> {
        let known = *self.shared.versioning.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, versioning)) = known.filter(|(asked, _)| asked.elapsed() < VERSIONING_VALID) {
            return Ok(versioning);
        }
        let versioning = self.store().versioning(self.bucket()).await?;
        *self.shared.versioning.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), versioning));
        Ok(versioning)
    }

    /// After an answer that only a bucket with versions gives.
    pub(super) fn keeps_versions_after_all(&self) {
        let known = Some((Instant::now(), Versioning::On));
        *self.shared.versioning.lock().unwrap_or_else(PoisonError::into_inner) = known;
    }

    /// Now by the server's clock, seconds since 1970; asks it when it has not answered anything yet. No clock of a host takes
    /// its place: where the server does not tell the time, whatever depends on an age is refused, and nothing else is.
    pub async fn now(&self) -> Result<u64> {
        let silent = || {
            let what = format!(
                "{} sends no Date header, so that nobody can tell",
                self.store().endpoint()
            );
            let what = format!("{what} whether a writer is alive or a leftover old enough to be removed");
            Error::new(
                Kind::Unavailable,
                format!("{what}: let the proxy before the store pass the header on"),
            )
        };
        self.now_if_told().await?.ok_or_else(silent)
    }

    /// The same; None where the server does not tell the time.
    pub async fn now_if_told(&self) -> Result<Option<u64>> {
        if self.store().server_now().is_none() {
            // Keys may be limited to the LSU's prefix, and HeadBucket asks for the whole bucket.
            self.store()
                .list(self.bucket(), &self.keys().lsu(), false, None, None)
                .await?;
        }
        Ok(self.store().server_now())
    }

    /// The first of these attempts that somebody else may be writing. Without attempts no clock is asked for.
    pub(super) async fn held_by_another<'a>(&self, entries: &'a [PendingEntry]) -> Result<Option<&'a PendingEntry>> {
        if entries.is_empty() {
            return Ok(None);
        }
        let now = self.now().await?;
        Ok(entries.iter().find(|entry| entry.is_held_by_another(now)))
    }

    /// The label that was set, or an empty one. One request where there is none, which also proves that the bucket is
    /// there and ours: a listing says so on every server, a missing object does not.
    pub async fn label(&self) -> Result<String> {
        let key = self.keys().lsu();
        if self.store().find(self.bucket(), &key).await?.is_none() {
            return Ok(String::new());
        }
        let read = self
            .store()
            .get_small(self.bucket(), &key, RECORD_SIZE_MAX)
            .await
            .and_then(|bytes| {
                serde_json::from_slice::<LabelRecord>(&bytes).or_kind(Kind::Corrupt, || format!("read {key}"))
            });
        match read {
            Ok(record) => Ok(record.label),
            // Only a name for people: the LSU works without it, and the next one that is set takes its place.
            Err(error) if matches!(error.kind(), Kind::Corrupt | Kind::AccessDenied) => {
                tracing::warn!("LSU {} has no label that can be read: {error}", self.config().name);
                Ok(String::new())
            }
            Err(error) => Err(error),
        }
    }

    pub async fn set_label(&self, label: String) -> Result<()> {
        if label.len() > LABEL_MAX {
            let what = format!("label of {} bytes; {LABEL_MAX} are possible", label.len());
            return Err(Error::new(Kind::InvalidArgument, what));
        }
        self.put_record(&self.keys().lsu(), to_bytes(&LabelRecord { schema: 1, label })?, false)
            .await
            .map(drop)
    }

    /// Puts a record, proven as parts are, so that a byte that flips on the way is refused, and a gateway that refuses our
    /// checksums is noticed by the first record of an image; by MD5 where nothing is known of the bucket.
    /// Gives the record's new ETag.
    pub(super) async fn put_record(&self, key: &str, body: bytes::Bytes, only_new: bool) -> Result<String> {
        let (store, bucket) = (self.store(), self.bucket());
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

    /// True when there is any data object of the image.
    pub(super) async fn has_data(&self, id: &ImageId) -> Result<bool> {
        Ok(!self.keys_of(Folder::Data, id).await?.is_empty())
    }

    /// The image's metadata objects.
    pub(super) async fn metas(&self, id: &ImageId) -> Result<Vec<String>> {
        self.keys_of(Folder::Meta, id).await
    }

    /// Whatever is being uploaded to `key`; none where uploads cannot be listed, which the next audit says.
    pub(super) async fn uploads_to(&self, key: &str) -> Result<Vec<ListedUpload>> {
        let (mut found, mut after) = (Vec::new(), None);
        let deadline = self.list_deadline();
        loop {
            self.in_time(deadline, || format!("list the uploads to {key}"))?;
            let page = match self.store().list_uploads(self.bucket(), after).await {
                Err(error) if matches!(error.kind(), Kind::AccessDenied | Kind::Unsupported) => return Ok(found),
                other => other?,
            };
            found.extend(page.uploads.into_iter().filter(|upload| upload.key == key));
            match page.next {
                // Keys rise from page to page.
                Some(next) if !next.is_behind(key) => after = Some(next),
                _ => return Ok(found),
            }
        }
    }

    /// The keys of an image in a folder.
    pub(super) async fn keys_of(&self, folder: Folder, id: &ImageId) -> Result<Vec<String>> {
        Ok(self
            .objects_of(folder, id)
            .await?
            .into_iter()
            .map(|object| object.key)
            .collect())
    }

    /// What an image has in a folder; few, but many longer basenames can begin as this one does.
    async fn objects_of(&self, folder: Folder, id: &ImageId) -> Result<Vec<ListedObject>> {
        let (mut pages, mut objects) = (
            Pages::new(self.store(), self.bucket(), self.keys().of_image(folder, id), None),
            Vec::new(),
        );
        let deadline = self.list_deadline();
        while let Some(page) = pages.next_page().await? {
            let ours = |object: &ListedObject| self.keys().parse(folder, &object.key).is_some_and(|(of, _)| of == *id);
            objects.extend(page.into_iter().filter(ours));
            self.in_time(deadline, || format!("list what image {id} has in {}", folder.name()))?;
        }
        Ok(objects)
    }

    /// When a list that a host's call waits for must have come to its end.
    fn list_deadline(&self) -> Instant {
        Instant::now() + self.store().retry().operation_timeout
    }

    fn in_time(&self, deadline: Instant, what: impl FnOnce() -> String) -> Result<()> {
        if Instant::now() <= deadline {
            return Ok(());
        }
        let what = format!(
            "{}: the list does not come to its end in the time of an operation",
            what()
        );
        Err(Error::new(Kind::Unavailable, what))
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
