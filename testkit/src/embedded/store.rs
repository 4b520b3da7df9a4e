//! The folder that a server serves: its buckets, and who serves it.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use s3s::S3Result;
use s3s::dto::Timestamp;

use super::disk;
use super::errors::{OrInternal, no_such_bucket};
use super::index::Bucket;
use super::record::Settings;

/// How often, and how far apart, the lock of a folder is tried.
const LOCK_TRIES: u32 = 200;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// All buckets of one folder.
pub struct Store {
    folder: PathBuf,
    ids: Arc<Ids>,
    buckets: Mutex<BTreeMap<String, Arc<Bucket>>>,
    /// Held while the folder is served.
    _lock: File,
}

/// Ids that grow: of versions, uploads and files.
#[derive(Default)]
pub struct Ids(AtomicU64);

/// Folders that this process serves. A request of a stopped server may still be at work when the next one starts on
/// the same folder: then both have the same value.
static SERVED: Mutex<Option<HashMap<PathBuf, Weak<Store>>>> = Mutex::new(None);

impl Store {
    pub fn open(folder: &Path) -> io::Result<Arc<Self>> {
        let folder = folder.canonicalize()?;
        let mut served = lock(&SERVED);
        let served = served.get_or_insert_default();
        served.retain(|_, store| store.strong_count() > 0);
        if let Some(store) = served.get(&folder).and_then(Weak::upgrade) {
            return Ok(store);
        }
        let store = Arc::new(Self::load(&folder)?);
        served.insert(folder, Arc::downgrade(&store));
        Ok(store)
    }

    fn load(folder: &Path) -> io::Result<Self> {
        let lock = exclusive(folder)?;
        let ids = Arc::<Ids>::default();
        let mut buckets = BTreeMap::new();
        for name in disk::names(folder)? {
            let path = folder.join(&name);
            if path.is_dir() && !name.starts_with('.') {
                buckets.insert(name, Arc::new(Bucket::load(&path, &ids)?));
            }
        }
        Ok(Self {
            folder: folder.to_owned(),
            ids,
            buckets: Mutex::new(buckets),
            _lock: lock,
        })
    }

    pub fn bucket(&self, name: &str) -> S3Result<Arc<Bucket>> {
        lock(&self.buckets).get(name).cloned().ok_or_else(no_such_bucket)
    }

    pub fn buckets(&self) -> Vec<(String, Arc<Bucket>)> {
        lock(&self.buckets)
            .iter()
            .map(|(name, bucket)| (name.clone(), Arc::clone(bucket)))
            .collect()
    }

    /// False when there is one of this name.
    pub fn create_bucket(&self, name: &str, settings: &Settings) -> S3Result<bool> {
        let mut buckets = lock(&self.buckets);
        if buckets.contains_key(name) {
            return Ok(false);
        }
        let what = format!("create bucket {name}");
        // Made beside its place: a bucket with Object Lock is never seen without it.
        let made = self.folder.join(format!(".{}", self.ids.next()));
        let path = self.folder.join(name);
        fs::create_dir(&made).or_internal(&what)?;
        disk::write_json(&made.join("tmp.json"), &made.join("bucket.json"), settings).or_internal(&what)?;
        fs::rename(&made, &path).or_internal(&what)?;
        buckets.insert(
            name.to_owned(),
            Arc::new(Bucket::load(&path, &self.ids).or_internal(&what)?),
        );
        Ok(true)
    }

    /// False when it is not empty.
    pub fn delete_bucket(&self, name: &str) -> S3Result<bool> {
        let mut buckets = lock(&self.buckets);
        if !buckets.get(name).ok_or_else(no_such_bucket)?.is_empty() {
            return Ok(false);
        }
        fs::remove_dir_all(self.folder.join(name)).or_internal("remove bucket")?;
        buckets.remove(name);
        Ok(true)
    }
}

/// The lock of a folder. A server that was stopped a moment ago may not have let go of it yet.
fn exclusive(folder: &Path) -> io::Result<File> {
    let lock = File::create(folder.join(".lock"))?;
    for _ in 0..LOCK_TRIES {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Err(io::Error::other("another process serves this folder"))
}

impl Ids {
    /// Sixteen hex digits of the time in nanoseconds, or one more than the last.
    pub fn next(&self) -> String {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let clock = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX >> 1);
        let last = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(clock.max(last + 1)));
        format!("{:016x}", clock.max(last.unwrap_or_default() + 1))
    }

    /// Ids that are used already are not given again, whatever the clock says.
    pub fn seen(&self, id: &str) {
        if let Ok(id) = u64::from_str_radix(id, 16) {
            self.0.fetch_max(id, Ordering::Relaxed);
        }
    }
}

/// Now, in whole seconds: S3 keeps times no finer, and headers could not say more.
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    (UNIX_EPOCH + Duration::from_secs(since.as_secs())).into()
}

/// The lock, also after a panic in a test's thread.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
