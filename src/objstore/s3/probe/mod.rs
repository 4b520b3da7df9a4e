//! What a bucket is proven to do, tried with what a backup sends.
//!
//! | file | what it is |
//! |---|---|
//! | `run` | one run: the objects that it made, and what an answer says of what was tried |
//! | `put` | small objects: their ETag, metadata, checksums, the condition that there be none yet |
//! | `upload` | an upload of two parts, completed |
//!
//! A server that ignores a header it does not know answers 200, so a capability counts only when the server *refuses*
//! what it must refuse: a wrong checksum, a second conditional put. And only when it gets right what it says: an upload
//! of two parts is completed, since some stores check each part and get the checksum or the ETag of several wrong. What
//! is found is kept by [`super::capabilities`]. A refusal counts for one only where no busy store and no firewall gives
//! it: a checksum is called wrong by status 400, a condition by 412. What met 401, 403, 409 or 5xx is not kept for
//! long: they may have nothing to do with what was tried. The probe's objects lie under `probe/` and are removed again.
//! Each put has Content-MD5 or a checksum, since buckets with Object Lock insist on one.

mod run;
mod put;
mod upload;

use self::run::Probe;
use self::upload::Seen;
use super::capabilities::Capabilities;
use super::store::Store;
use crate::config::Bucket;
use crate::error::Result;

/// What a probe has found.
#[derive(Clone, Copy, Debug)]
pub struct Probed {
    pub capabilities: Capabilities,
    /// False when an answer on the way may be one of a busy store or a firewall: another probe may find more.
    pub is_settled: bool,
}

/// Tries every capability against the server. Fails where plain requests do.
pub async fn probe(store: &Store, bucket: &Bucket, prefix: &str) -> Result<Probed> {
    let stem = format!("{prefix}probe/{}", uuid::Uuid::new_v4().simple());
    let probe = Probe::new(store, bucket);
    let found = try_all(&probe, &stem).await;

    // Clean up whatever the outcome, and let the first error speak.
    for suffix in ["put", "crc", "upload"] {
        if let Err(error) = probe.remove(&format!("{stem}-{suffix}")).await {
            tracing::warn!("remove probe object: {error}");
        }
    }

    found.map(|capabilities| Probed {
        capabilities,
        is_settled: probe.is_settled(),
    })
}

async fn try_all(probe: &Probe<'_>, stem: &str) -> Result<Capabilities> {
    let crc = format!("{stem}-crc");
    let upload = format!("{stem}-upload");

    let mut found = probe.put(&format!("{stem}-put")).await?;
    let with_crc = if probe.crc_put(&crc).await? {
        probe.upload(&upload, true).await?
    } else {
        None
    };

    found.crc64nvme = with_crc.is_some();
    let seen = match with_crc {
        Some(seen) => Some(seen),
        None => probe.upload(&upload, false).await?,
    };

    // A store that refuses an upload by its MD5s refuses every backup; the backup says so itself.
    let seen = seen.unwrap_or(Seen {
        part_etags_are_md5: false,
        composite_etag: false,
    });
    found.etag_is_md5 &= seen.part_etags_are_md5;
    found.composite_etag = seen.composite_etag;

    Ok(found)
}
