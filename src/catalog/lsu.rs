//! One LSU: a bucket (or a folder of one) with the records in it.

use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};

use super::image_id::ImageId;
use super::keys::Keys;
use super::record::{
    ImageState, Pending, PendingState, RECORD_SIZE_MAX, Sidecar, parse_pending, parse_sidecar, to_bytes,
};
use super::usage::{Usage, UsageFile};
use crate::config::{self, Config, Server, WireChoice};
use crate::error::{Error, Kind, Result, ResultExt};
use crate::objstore::checksum::Md5Sum;
use crate::objstore::client::{Store, WireCheck};
use crate::objstore::probe::{self, Capabilities};

/// The longest label that `stsp_label_lsu` takes, bytes.
pub const LABEL_MAX: usize = 255;

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
    state_dir: std::path::PathBuf,
    usage: UsageFile,
    capabilities: OnceLock<Capabilities>,
}

/// `lsu.json`
#[derive(Serialize, Deserialize)]
struct LabelRecord {
    schema: u32,
    label: String,
}

/// An image as its records tell it.
#[derive(Clone, Debug)]
pub enum Image {
    Complete(Box<Sidecar>),
    Pending(Box<Pending>),
}

impl Lsu {
    pub fn new(store: Store, config: &Config, server: &Server, lsu: &config::Lsu) -> Self {
        let shared = Shared {
            store,
            keys: Keys::new(&lsu.prefix),
            usage: UsageFile::new(&config.state_dir, &server.name, &lsu.name),
            lsu: lsu.clone(),
            wire: config.integrity.wire,
            state_dir: config.state_dir.clone(),
            capabilities: OnceLock::new(),
        };
        Self { shared: Arc::new(shared) }
    }

    pub fn config(&self) -> &config::Lsu {
        &self.shared.lsu
    }

    pub fn store(&self) -> &Store {
        &self.shared.store
    }

    pub fn keys(&self) -> &Keys {
        &self.shared.keys
    }

    pub fn bucket(&self) -> &str {
        &self.shared.lsu.bucket
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

    /// What the endpoint is proven to do; probed once per endpoint and host.
    pub async fn capabilities(&self) -> Result<Capabilities> {
        if let Some(known) = self.shared.capabilities.get() {
            return Ok(*known);
        }
        let (store, prefix) = (self.store(), self.keys().prefix());
        let found = probe::capabilities(store, self.bucket(), prefix, &self.shared.state_dir).await?;
        Ok(*self.shared.capabilities.get_or_init(|| found))
    }

    /// The label that was set, or an empty one. One request where there is none, which also proves that the bucket is
    /// there and ours: a listing says so on every server, a missing object does not.
    pub async fn label(&self) -> Result<String> {
        let key = self.keys().lsu();
        let page = self.store().list(self.bucket(), &key, false, None, None).await?;
        if !page.keys.iter().any(|(found, _)| *found == key) {
            return Ok(String::new());
        }
        let bytes = self.store().get_small(self.bucket(), &key, RECORD_SIZE_MAX).await?;
        let record: LabelRecord = serde_json::from_slice(&bytes).or_kind(Kind::Corrupt, || format!("read {key}"))?;
        Ok(record.label)
    }

    pub async fn set_label(&self, label: String) -> Result<()> {
        if label.len() > LABEL_MAX {
            let what = format!("label of {} bytes; {LABEL_MAX} are possible", label.len());
            return Err(Error::new(Kind::InvalidArgument, what));
        }
        self.put_record(&self.keys().lsu(), to_bytes(&LabelRecord { schema: 1, label })?, false).await
    }

    /// Puts a record; every S3 server checks its MD5, so that a byte that flips on the way is refused.
    pub(super) async fn put_record(&self, key: &str, body: bytes::Bytes, only_new: bool) -> Result<()> {
        let check = WireCheck::Md5(Md5Sum::of(&body));
        self.store().put(self.bucket(), key, body, check, &[], only_new).await.map(drop)
    }

    /// The sidecar with its bytes, whatever its state; None when there is none.
    pub(super) async fn sidecar(&self, id: &ImageId) -> Result<Option<(Sidecar, bytes::Bytes)>> {
        let key = self.keys().sidecar(id);
        match self.store().get_small(self.bucket(), &key, RECORD_SIZE_MAX).await {
            Ok(bytes) => {
                let sidecar = parse_sidecar(&key, &bytes)?;
                if sidecar.image.id != *id {
                    let what = format!("record {key} is not valid: it describes image {}", sidecar.image.id);
                    return Err(Error::new(Kind::Corrupt, what));
                }
                Ok(Some((sidecar, bytes)))
            }
            Err(error) if error.kind() == Kind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Every pending record of an image with its key; usually one or none.
    pub(super) async fn pendings(&self, id: &ImageId) -> Result<Vec<(String, Pending)>> {
        let mut found = Vec::new();
        let mut token = None;
        loop {
            let page = self.store().list(self.bucket(), &self.keys().pending_of(id), false, None, token).await?;
            for (key, _) in &page.keys {
                // A longer basename can begin as this one does.
                if self.keys().parse(super::keys::RecordKind::Pending, key).as_ref() != Some(id) {
                    continue;
                }
                match self.store().get_small(self.bucket(), key, RECORD_SIZE_MAX).await {
                    Ok(bytes) => found.push((key.clone(), parse_pending(key, &bytes)?)),
                    Err(error) if error.kind() == Kind::NotFound => {}
                    Err(error) => return Err(error),
                }
            }
            if page.next.is_none() {
                return Ok(found);
            }
            token = page.next;
        }
    }

    /// The image by its records: complete, else pending, else not found.
    pub async fn describe(&self, id: &ImageId) -> Result<Image> {
        if let Some((sidecar, _)) = self.sidecar(id).await? {
            if sidecar.state == ImageState::Deleting {
                return Err(self.not_found(id));
            }
            return Ok(Image::Complete(Box::new(sidecar)));
        }
        let best = self.pendings(id).await?.into_iter().map(|(_, pending)| pending).max_by_key(progress);
        best.map(|pending| Image::Pending(Box::new(pending))).ok_or_else(|| self.not_found(id))
    }

    pub(super) fn not_found(&self, id: &ImageId) -> Error {
        Error::new(Kind::NotFound, format!("image {id} is not in LSU {}", self.config().name))
    }
}

/// Of several attempts at one image, the one that an incomplete close kept and that has most is the image.
pub(super) fn progress(pending: &Pending) -> (bool, u64, String) {
    let size = pending.content.as_ref().map_or(0, |content| content.data.size);
    (pending.state == PendingState::Incomplete, size, pending.started.clone())
}
