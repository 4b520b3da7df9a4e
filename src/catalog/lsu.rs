//! One LSU: a bucket, or a folder of one, what it can do, and its label. What it holds is in [`super::records`] and
//! [`super::contents`].

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::format::keys::Keys;
use super::format::record::{RECORD_SIZE_MAX, to_bytes};
use super::maintain::usage::{Usage, UsageFile};
use super::room::Room;
use crate::config;
use crate::config::{Bucket, Config, Server, WireChoice};
use crate::error::{Error, Kind, Result, ResultExt};
use crate::objstore::s3::store::Store;
use crate::objstore::s3::versions::Versioning;

pub use crate::objstore::s3::bucket_rules::Locking;
pub use crate::objstore::s3::capabilities::{Capabilities, WireMode};

/// The longest label that `stsp_label_lsu` takes, bytes.
pub const LABEL_MAX: usize = 255;

/// How long an answer to whether the bucket keeps versions is good: somebody may turn it on.
const VERSIONING_VALID: Duration = Duration::from_secs(60);

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
}
