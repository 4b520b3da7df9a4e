//! What is known of each bucket: what the probe proved, when, and what the store has contradicted since.
//!
//! Buckets of one server differ: one may be encrypted, another lie behind a gateway or have its objects written by other
//! means. So knowledge is kept per bucket, in memory and in a file of `state_dir`, and is as old as [`VALID`] at most. It
//! is needed before the first write alone. One process at a time probes a bucket; the others wait for a while and take
//! what it found. What the store contradicts is forgotten at once, here and in the file, so that the next job asks again.

use std::collections::HashMap;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::config::{Bucket, WireChoice};
use crate::engine::checksum::Md5Sum;
use crate::files;

/// A cluster may be upgraded: ask again after so long.
pub(super) const VALID: Duration = Duration::from_secs(7 * 24 * 3600);
/// So soon where the probe met answers that may have nothing to do with what it tried.
pub(super) const UNSETTLED_VALID: Duration = Duration::from_secs(10 * 60);
/// The form of the file; one of another form is not read.
const FORMAT: u32 = 2;
/// How the names of the files begin and end.
pub(super) const RECORD: (&str, &str) = ("probe", "json");
const LOCK: (&str, &str) = ("lock", "lock");
/// A file is shorter by far; what is longer is none of ours.
const FILE_SIZE_MAX: u64 = 64 << 10;
/// How long another process may probe before this one does it too.
const LOCK_WAIT: Duration = Duration::from_secs(60);
const LOCK_POLL: Duration = Duration::from_millis(20);

/// Proven capabilities of one bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// Checks CRC64NVME of objects and of parts, and gets that of an object of several parts right.
    pub crc64nvme: bool,
    /// Refuses a body that has not the MD5 of `Content-MD5`.
    pub content_md5: bool,
    /// The ETag of an object put in one piece, and of a part, is its MD5.
    pub etag_is_md5: bool,
    /// The ETag of an object of several parts is made of theirs by the usual rule.
    pub composite_etag: bool,
    /// Objects of other bytes have other ETags.
    pub etag_changes: bool,
    /// Honours `If-None-Match: *` on PutObject.
    pub conditional_put: bool,
    /// Keeps `x-amz-meta-*`.
    pub user_metadata: bool,
}

/// How parts are proven on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireMode {
    Crc64,
    Md5,
    None,
}

impl WireMode {
    /// The configured mode, or the best that is proven.
    pub fn choose(choice: WireChoice, capabilities: Capabilities) -> Self {
        match choice {
            WireChoice::Auto if capabilities.crc64nvme => Self::Crc64,
            WireChoice::Auto | WireChoice::Md5 => Self::Md5,
            WireChoice::Crc64Nvme => Self::Crc64,
            WireChoice::None => Self::None,
        }
    }

    /// False where nothing proves what is sent so: then it is read back. `none` asks for no proof.
    pub fn is_proven_by(self, capabilities: Capabilities) -> bool {
        match self {
            Self::Crc64 => capabilities.crc64nvme,
            Self::Md5 => capabilities.content_md5 || capabilities.etag_is_md5,
            Self::None => true,
        }
    }
}

/// The buckets of one server; all stores of a server share them.
pub struct Buckets {
    endpoint: String,
    state_dir: PathBuf,
    all: Mutex<HashMap<Bucket, Arc<BucketState>>>,
}

/// What this process knows of one bucket.
#[derive(Default)]
pub struct BucketState {
    known: Mutex<Option<Known>>,
    /// Held while it is being probed.
    pub(super) probing: tokio::sync::Mutex<()>,
    /// It was said that nothing proves the bytes on the wire.
    told: AtomicBool,
    /// It has objects whose ETag is not their MD5.
    other_etags: AtomicBool,
}

/// What a probe proved, here or in another process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) capabilities: Capabilities,
    /// When the next job probes again.
    until: Instant,
}

#[derive(Serialize, Deserialize)]
struct Record {
    format: u32,
    endpoint: String,
    bucket: String,
    /// Seconds since 1970 by this host's clock.
    probed: u64,
    capabilities: Capabilities,
}

impl Buckets {
    pub fn new(endpoint: String, state_dir: &Path) -> Self {
        Self {
            endpoint,
            state_dir: state_dir.into(),
            all: Mutex::default(),
        }
    }

    pub(super) fn get(&self, bucket: &Bucket) -> Arc<BucketState> {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.entry(bucket.clone()).or_default())
    }

    /// The name tells the bucket; the digest keeps endpoints apart, and these files from those of earlier versions.
    pub(super) fn file(&self, bucket: &Bucket, (stem, suffix): (&str, &str)) -> PathBuf {
        let digest = Md5Sum::of(format!("{}\n{bucket}", self.endpoint).as_bytes()).to_hex();
        let safe = |c: char| {
            if c.is_ascii_alphanumeric() || c == '-' || c == '.' {
                c
            } else {
                '_'
            }
        };
        let name: String = bucket.chars().map(safe).take(64).collect();
        self.state_dir.join(format!("{stem}-{name}-{digest}.{suffix}"))
    }

    pub(super) fn load(&self, bucket: &Bucket) -> Option<Known> {
        let record: Record =
            serde_json::from_slice(&files::read(&self.file(bucket, RECORD), FILE_SIZE_MAX).ok()?).ok()?;
        let ours = record.format == FORMAT && record.endpoint == self.endpoint && record.bucket == **bucket;
        // A clock that was set back makes a file of the future: nobody knows how old that is.
        let age = now().checked_sub(record.probed)?;
        let left = VALID
            .checked_sub(Duration::from_secs(age))
            .filter(|left| ours && !left.is_zero())?;
        Some(Known::good_for(left, record.capabilities))
    }

    /// A file that cannot be kept costs a probe in each process and no backup.
    pub(super) fn save(&self, bucket: &Bucket, capabilities: Capabilities) {
        let record = Record {
            format: FORMAT,
            endpoint: self.endpoint.clone(),
            bucket: bucket.into(),
            probed: now(),
            capabilities,
        };
        let file = self.file(bucket, RECORD);
        if let Err(error) = write_file(&file, &record) {
            tracing::warn!(
                "remember what bucket {bucket} does in {}: {error}; each process will probe again",
                file.display()
            );
        }
    }

    pub(super) fn discard(&self, bucket: &Bucket) {
        let file = self.file(bucket, RECORD);
        match std::fs::remove_file(&file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!("discard {}: {error}; it counts until it is a week old", file.display());
            }
            _ => {}
        }
    }

    /// The lock of the bucket among processes; None when it cannot be had in time, or no file can be kept at all.
    pub(super) async fn lock(&self, bucket: &Bucket) -> Option<Locked> {
        let file = open_lock(&self.file(bucket, LOCK))?;
        let deadline = Instant::now() + LOCK_WAIT;
        loop {
            match file.try_lock() {
                Ok(()) => return Some(Locked(file)),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => tokio::time::sleep(LOCK_POLL).await,
                Err(error) => {
                    tracing::debug!("wait for another process to probe bucket {bucket}: {error}");
                    return None;
                }
            }
        }
    }
}

impl Buckets {
    /// What is known of the bucket now, without asking; nothing is proven where nothing is known. A job goes on with what
    /// it began with, however old that gets meanwhile.
    pub fn known(&self, bucket: &Bucket) -> Capabilities {
        self.get(bucket)
            .lock()
            .map(|known| known.capabilities)
            .unwrap_or_default()
    }

    /// The store did something else than what is known of the bucket: `correct` says what no longer counts. The file goes,
    /// so that the next job probes.
    pub fn contradicted(&self, bucket: &Bucket, what: &str, correct: impl FnOnce(&mut Capabilities)) {
        let state = self.get(bucket);
        let change = |known: &mut Known| {
            let before = known.capabilities;
            correct(&mut known.capabilities);
            known.capabilities != before
        };
        // Not held while the file is removed, which may lie on a slow disk: every part asks what is known.
        let changed = state.lock().as_mut().is_some_and(change);
        if changed {
            tracing::warn!("bucket {bucket}: {what}; what was known of it is discarded, the next job probes again");
            self.discard(bucket);
        }
    }

    /// True when an object of the bucket was read whose ETag is not its MD5.
    pub(in crate::objstore) fn has_other_etags(&self, bucket: &Bucket) -> bool {
        self.get(bucket).other_etags.load(Ordering::Relaxed)
    }

    pub(in crate::objstore) fn note_other_etags(&self, bucket: &Bucket) {
        self.get(bucket).other_etags.store(true, Ordering::Relaxed);
    }

    /// Says once for each bucket that images are read back.
    pub(in crate::objstore) fn tell_read_back(&self, bucket: &Bucket) {
        if !self.get(bucket).told.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "bucket {bucket}: the store checks neither CRC64NVME nor Content-MD5, and its ETags are not MD5s, so \
                 nothing proves the bytes on the wire: each image is read back and compared before it counts"
            );
        }
    }
}

impl BucketState {
    pub(super) fn lock(&self) -> MutexGuard<'_, Option<Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known and not too old: a process may live for longer than that.
    pub(super) fn valid(&self) -> Option<Capabilities> {
        self.lock()
            .filter(|known| Instant::now() < known.until)
            .map(|known| known.capabilities)
    }
}

impl Known {
    pub(super) fn good_for(time: Duration, capabilities: Capabilities) -> Self {
        Self {
            capabilities,
            until: Instant::now() + time,
        }
    }
}

/// Unlocked and not just closed: a process that was forked meanwhile has it open as well.
pub(super) struct Locked(File);

impl Drop for Locked {
    fn drop(&mut self) {
        if let Err(error) = self.0.unlock() {
            tracing::debug!("unlock a probe's file: {error}");
        }
    }
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |age| age.as_secs())
}

/// Reading is enough for a lock, so it does not matter who made the file.
fn open_lock(path: &Path) -> Option<File> {
    if let Ok(file) = files::open_to_read(path) {
        return Some(file);
    }
    files::make_folder(path.parent()?).ok()?;
    files::update(path, files::STATE_MODE).ok()
}

/// Another process may read at any moment: whole files only.
fn write_file(path: &Path, record: &Record) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        files::make_folder(folder)?;
    }
    files::replace(path, &serde_json::to_vec(record)?, files::STATE_MODE)
}

#[cfg(test)]
#[path = "capabilities_tests.rs"]
mod tests;
