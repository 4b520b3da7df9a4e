//! An image being written: create (or [`super::reopen`]) and write; [`super::close`] ends it.
//!
//! The order of steps is the table in [`super`]; each method below does one run of it.

use std::sync::Arc;

use super::lease::{WriterLease, lease_seconds};
use crate::catalog::data::{DataWriter, Filled};
use crate::catalog::format::image_id::ImageDef;
use crate::catalog::format::keys::Attempt;
use crate::catalog::format::record::{ImageState, Pending, PendingState, SCHEMA, Writer, now_text, object_metadata};
use crate::catalog::lsu::Lsu;
use crate::catalog::records::PendingEntry;
use crate::config::WireChoice;
use crate::error::{Error, Kind, Result};
use crate::metrics::image::ImageStats;
use crate::objstore::s3::capabilities::WireMode;
use crate::objstore::upload::spec::UploadSpec;

/// One attempt at one image.
pub struct Backup {
    pub(in crate::catalog) lsu: Lsu,
    pub(in crate::catalog) pending: Pending,
    pub(super) pending_key: String,
    pub(super) lease: WriterLease,
    pub(in crate::catalog) data: DataWriter,
    pub(in crate::catalog) meta: Vec<u8>,
    /// The earlier attempts that this one takes over; removed when it is on the store.
    pub(in crate::catalog) replaces: Vec<PendingEntry>,
}

impl Backup {
    /// Begins a new image. Refused when the image exists, complete or pending.
    pub async fn create(lsu: &Lsu, def: ImageDef) -> Result<Self> {
        lsu.keys().check(&def.id)?;
        // The sidecar last: a writer that completes the image puts it before it removes its pending record.
        let pendings = lsu.pendings(&def.id).await?;
        // Known already, but for the first image: the probe writes, so it comes after what tells that the LSU is there.
        lsu.capabilities().await?;
        if let Some((sidecar, _)) = lsu.sidecar(&def.id).await? {
            let state = if sidecar.state == ImageState::Deleting {
                "still being deleted"
            } else {
                "complete"
            };
            return Err(exists(lsu, &def, state));
        }
        if let Some(PendingEntry { pending, .. }) = pendings.first() {
            let Writer { host, pid, .. } = &pending.writer;
            let how = format!("pending since {}, written by {host}:{pid}", pending.started);
            return Err(exists(lsu, &def, &how));
        }
        Self::begin(lsu, def, now_text(), lsu.wire_mode()).await
    }

    /// Step 1: a new attempt with its pending record.
    pub(in crate::catalog) async fn begin(lsu: &Lsu, def: ImageDef, created: String, wire: WireMode) -> Result<Self> {
        let attempt = Attempt::new();
        let key = lsu.keys().data(&def.id, &attempt);
        let metadata = object_metadata(&def, &created);
        let probe_prefix = (lsu.wire() == WireChoice::Auto).then(|| lsu.keys().prefix().to_owned());
        let spec = UploadSpec {
            bucket: lsu.bucket().clone(),
            key: key.clone(),
            metadata,
            wire,
            probe_prefix,
        };

        let pending_key = lsu.keys().pending(&def.id, &attempt);
        let pending = Pending {
            schema: SCHEMA,
            state: PendingState::Writing,
            image: def,
            attempt,
            key,
            upload_id: None,
            sent: Vec::new(),
            closing: None,
            lease_seconds: lease_seconds(lsu),
            content: None,
            meta: None,
            created,
            started: now_text(),
            writer: Writer::this(),
            other: serde_json::Map::new(),
        };

        let mut data = DataWriter::s3(lsu, spec).await?;
        let lease = WriterLease::take(lsu, &pending_key, &pending, data.progress()).await?;
        if wire == WireMode::Crc64 && lsu.wire_mode() != WireMode::Crc64 {
            // The record was refused with its CRC64NVME and taken without.
            let why = Error::new(
                Kind::Unsupported,
                format!("{pending_key} was refused with its CRC64NVME"),
            );
            data.upload().probe_again(&why).await;
        }

        Ok(Self {
            lsu: lsu.clone(),
            pending,
            pending_key,
            lease,
            data,
            meta: Vec::new(),
            replaces: Vec::new(),
        })
    }

    pub fn def(&self) -> &ImageDef {
        &self.pending.image
    }

    pub fn created(&self) -> &str {
        &self.pending.created
    }

    /// Bytes taken so far.
    pub fn size(&self) -> u64 {
        self.data.size()
    }

    /// What the image's parts have done and waited for.
    pub fn stats(&self) -> Arc<ImageStats> {
        self.data.stats()
    }

    /// Takes bytes of `data` for `offset` without waiting, up to the end of the open part; [`Backup::next_part`] where
    /// there is none. A write of nothing brings the error of a part that failed meanwhile.
    pub fn fill(&mut self, data: &[u8], offset: u64) -> Result<Filled> {
        self.data.fill(data, offset)
    }

    /// [`Backup::next_part`] as far as nothing has to be waited for; false where something has.
    pub fn try_next_part(&mut self) -> Result<bool> {
        if self.data.must_begin() {
            return Ok(false);
        }
        self.data.try_next_part()
    }

    /// Sends the part that is full, and opens the next one.
    pub async fn next_part(&mut self) -> Result<()> {
        if self.data.must_begin() {
            self.begin_upload().await?;
        }
        self.data.next_part().await
    }

    /// Takes all of `data` for `offset`, or fails; may return before anything is on the store.
    pub async fn write(&mut self, data: &[u8], offset: u64) -> Result<()> {
        let mut rest = data;
        let mut offset = offset;
        loop {
            match self.fill(rest, offset)? {
                Filled::PartNeeded => self.next_part().await?,
                Filled::Taken(len) => {
                    rest = rest.split_at(len).1;
                    offset += len as u64;
                }
            }
            if rest.is_empty() {
                return Ok(());
            }
        }
    }

    pub(in crate::catalog) async fn begin_upload(&mut self) -> Result<()> {
        let upload = self.data.upload();
        upload.begin().await?;
        self.pending.upload_id = upload.id().map(ToOwned::to_owned);
        // Without the upload's id on the store nobody could end it after a crash.
        let saved = self.lease.save(&self.pending).await;
        saved.inspect_err(|error| self.data.fail(error))
    }

    /// Waits until every full part is on the store.
    pub async fn flush(&mut self) -> Result<()> {
        self.data.settle().await
    }

    pub fn meta(&mut self) -> &mut Vec<u8> {
        &mut self.meta
    }
}

fn exists(lsu: &Lsu, def: &ImageDef, how: &str) -> Error {
    Error::new(
        Kind::AlreadyExists,
        format!("image {} exists in LSU {}: {how}", def.id, lsu.config().name),
    )
}
