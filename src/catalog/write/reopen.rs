//! Going on with an image that was closed incomplete: a new attempt takes over what the old one has.

use futures::future::FutureExt;
use futures::stream::{StreamExt, TryStreamExt};

use super::backup::Backup;
use super::recover::recover;
use crate::catalog::data::DataReader;
use crate::catalog::format::image_id::ImageDef;
use crate::catalog::format::record::{Content, Pending, PendingState, Writer};
use crate::catalog::lsu::Lsu;
use crate::catalog::meta;
use crate::catalog::records::{PendingEntry, progress};
use crate::config::part_plan::PartPlan;
use crate::engine::checksum::Md5Sum;
use crate::engine::memory;
use crate::engine::piece::piece_mut;
use crate::error::{Error, Kind, Result};
use crate::objstore::download::spec::ReadSpec;
use crate::objstore::s3::capabilities::WireMode;
use crate::objstore::s3::multipart::UploadRef;
use crate::objstore::s3::resend::is_refusal;
use crate::objstore::s3::store::Store;
use crate::objstore::s3::types::{PartSpan, SentPart};
use crate::objstore::upload::in_flight::Sent;
use crate::objstore::upload::spec::UploadSpec;

/// Looks at what is built on, while somebody else has taken it.
const BASE_LOOKS: u32 = 4;
/// Parts copied at once when an image is opened for write again.
const COPIES_IN_FLIGHT: usize = 8;
/// What is moved at once of a last part that is opened again; the part itself is in a pool buffer.
const TAIL_STEP_BYTES: usize = 1 << 20;

impl Backup {
    /// Goes on with an image that was closed incomplete, or whose writer died, on this or another host.
    pub async fn reopen(lsu: &Lsu, def: &ImageDef) -> Result<Self> {
        if lsu.sidecar(&def.id).await?.is_some() {
            let what = format!("image {} is complete and can never be written again", def.id);
            return Err(Error::new(Kind::AccessDenied, what));
        }
        // What a dead writer left is completed by the bucket's rules.
        lsu.capabilities().await?;
        let replaces = unheld(lsu, def).await?;
        let Some(PendingEntry { pending: base, .. }) = replaces.last() else {
            return Err(lsu.not_found(&def.id));
        };

        // Copied parts bring an ETag but no CRC that every server would repeat: MD5 proves the rest of such an image.
        let wire = match lsu.wire_mode() {
            WireMode::Crc64 => WireMode::Md5,
            other => other,
        };
        let mut backup = Self::begin(lsu, base.image.clone(), base.created.clone(), wire).await?;
        if let Err(error) = backup.build_on(&replaces, base).await {
            return Err(backup.give_up(error).await);
        }
        // Other attempts that were closed incomplete hold less than this one.
        backup.replaces = replaces;
        Ok(backup)
    }

    async fn build_on(&mut self, bases: &[PendingEntry], best: &Pending) -> Result<()> {
        self.confirm_bases(bases).await?;
        self.take_over(best).await
    }

    /// Fails as busy when somebody has taken what this attempt builds on since it was read: `gc` looks for this attempt's record
    /// after it has taken theirs, so one of the two sees the other.
    async fn confirm_bases(&self, bases: &[PendingEntry]) -> Result<()> {
        let lsu = &self.lsu;
        let id = &self.pending.image.id;
        let same = |a: &PendingEntry, b: &PendingEntry| {
            // Neither whose it was nor for how long: `gc` gives back what it finds to be built on.
            let a_of = &a.pending;
            let b_of = &b.pending;
            a.key == b.key && a_of.state == b_of.state && a_of.content == b_of.content && a_of.meta == b_of.meta
        };
        for _ in 0..BASE_LOOKS {
            let now = lsu.pendings(id).await?;
            if bases.iter().all(|base| now.iter().any(|entry| same(base, entry))) {
                return Ok(());
            }
            tokio::time::sleep(lsu.store().retry().backoff_initial).await;
        }
        let what = format!("image {id} was taken by another process just now");
        Err(Error::new(Kind::Busy, what))
    }

    /// Brings the bytes of an earlier attempt into this one: full parts by copies on the server, the last one as the
    /// open part, since no part but the last may be short.
    async fn take_over(&mut self, base: &Pending) -> Result<()> {
        self.meta = meta::load(self.lsu.store(), self.lsu.bucket(), base.meta.as_ref()).await?;
        let Some(content) = &base.content else { return Ok(()) };
        match self.take_over_content(content).await {
            Err(error) => Err(self.why_refused(content, error).await),
            Ok(()) => Ok(()),
        }
    }

    async fn take_over_content(&mut self, content: &Content) -> Result<()> {
        let spans = content.spans();
        let Some((tail, full)) = spans.split_last() else {
            return Ok(());
        };
        let transfer = self.lsu.store().transfer();
        let plan = PartPlan::new(transfer.part_size_bytes, transfer.image_size_max_bytes);
        // Parts of another configuration may be larger than ours: then the tail is copied as a full part too.
        let tail_fits = tail.size <= plan.part_bytes(tail.number);
        let copied = if tail_fits { full } else { &spans[..] };
        if !copied.is_empty() {
            self.begin_upload().await?;
            self.copy_parts(content, copied).await?;
        }
        if tail_fits {
            let spec = ReadSpec {
                bucket: self.lsu.bucket().clone(),
                key: content.data.key.clone(),
                size: content.data.size,
                etag: content.data.etag.clone(),
                parts: spans.clone(),
            };
            self.copy_tail(spec, *tail).await?;
        }

        Ok(())
    }

    async fn copy_tail(&mut self, spec: ReadSpec, tail: PartSpan) -> Result<()> {
        if self.data.upload().open_with(&spec, tail).await? {
            return Ok(());
        }
        // Only a smaller part could be had: its end goes into the next ones.
        let mut reader = DataReader::s3(&self.lsu, spec);
        let mut buffer = memory::zeroed(TAIL_STEP_BYTES, || "read the last part".into())?;
        let end = tail.offset + tail.size;
        for offset in (tail.offset..end).step_by(TAIL_STEP_BYTES) {
            let len = (end - offset).min(buffer.len() as u64);
            let piece = piece_mut(&mut buffer, 0..len, "read the last part")?;
            reader.read_part(piece, offset).await?;
            self.write(piece, offset).await?;
        }
        Ok(())
    }

    async fn copy_parts(&mut self, content: &Content, spans: &[PartSpan]) -> Result<()> {
        let upload = self.data.upload();
        let id = upload.id().unwrap_or_default().to_owned();
        let store = self.lsu.store();
        let spec = upload.spec();
        let from = &content.data.key;
        let to = spec.upload(&id);
        let etags = content.parts.iter().map(|part| part.etag.clone());
        let copies: Vec<_> = spans
            .iter()
            .zip(etags)
            .map(|(span, etag)| copy_part(store, spec, from, to, *span, etag).boxed())
            .collect();
        let copies = futures::stream::iter(copies).buffered(COPIES_IN_FLIGHT);
        let parts = copies.try_collect::<Vec<Sent>>().await?;
        upload.resume(&id, parts);
        Ok(())
    }

    /// A store that refuses to copy or read a range may not have it: then the data are damaged, and asking again is of no
    /// use.
    async fn why_refused(&self, content: &Content, refusal: Error) -> Error {
        if !is_refusal(&refusal) {
            return refusal;
        }
        let data = &content.data;
        match self.lsu.store().head_fresh(self.lsu.bucket(), &data.key).await {
            Ok(seen) if seen.size != data.size => {
                let place = format!("{}/{}", self.lsu.bucket(), data.key);
                let what = format!("{place} has {} bytes, and its record says {}", seen.size, data.size);
                refusal.context(what).with_kind(Kind::Corrupt)
            }
            _ => refusal,
        }
    }
}

/// The attempts at an image, the best one last, all closed incomplete: what dead writers left is taken over first.
async fn unheld(lsu: &Lsu, def: &ImageDef) -> Result<Vec<PendingEntry>> {
    let mut pendings = lsu.pendings(&def.id).await?;
    if let Some(other) = pendings.iter().find(|entry| !entry.pending.image.answers_to(def)) {
        tracing::debug!(
            "image {} has another policy or type than asked for",
            other.pending.image.id
        );
        return Err(lsu.not_found(&def.id));
    }

    if let Some(held) = lsu.held_by_another(&pendings).await? {
        let Pending {
            writer: Writer { host, pid, .. },
            started,
            ..
        } = &held.pending;
        let what = format!("image {} is being written by {host}:{pid} since {started}", def.id);
        return Err(Error::new(Kind::Busy, what));
    }

    for entry in &mut pendings {
        if entry.pending.state == PendingState::Writing {
            *entry = recover(lsu, entry.clone()).await?;
        }
    }
    pendings.sort_by_key(|entry| progress(&entry.pending));
    Ok(pendings)
}

async fn copy_part(
    store: &Store,
    spec: &UploadSpec,
    from: &str,
    to: UploadRef<'_>,
    span: PartSpan,
    etag: String,
) -> Result<Sent> {
    let copied = store.copy_part(to, from, span).await?;
    // An MD5 that is the same proves the copy; any other ETag says nothing, and the copy is read back.
    let known = store.known(&spec.bucket);
    let proven =
        spec.wire == WireMode::None || (known.etag_is_md5 && copied == etag && Md5Sum::from_etag(&etag).is_some());
    let part = SentPart {
        number: span.number,
        size: span.size,
        etag: copied,
        crc64: span.crc64,
    };
    Ok(Sent { part, proven })
}
