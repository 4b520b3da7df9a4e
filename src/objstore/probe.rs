//! What an endpoint is proven to do, tried once and remembered in `state_dir`.
//!
//! A server that ignores a header it does not know answers 200, so a capability counts only when the server *refuses*
//! what it must refuse: a wrong checksum, a second conditional put. The probe's objects lie under `probe/` and are
//! removed again.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::checksum::{Crc64, Md5Sum};
use super::client::{SentPart, Store, WireCheck};
use crate::config::WireChoice;
use crate::error::{Kind, Result};
use crate::files;

/// Bytes of a record of an endpoint, at most.
const RECORD_MAX: u64 = 64 << 10;

/// A cluster may be upgraded: ask again after so long.
const VALID: Duration = Duration::from_secs(7 * 24 * 3600);

/// Probes after one whose upload a clean-up of another host took away.
const PROBES_AGAIN: u32 = 3;
/// A clean-up of another host may take the probe's object away, so one put that is not refused proves nothing yet; it
/// has put the object again.
const CONDITIONAL_PUTS: usize = 3;

/// Proven capabilities of one endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// Checks CRC64NVME of objects, of parts, and of the whole multipart object.
    pub crc64nvme: bool,
    /// The ETag of an object put in one piece is its MD5.
    pub etag_is_md5: bool,
    /// Honours `If-None-Match: *` on PutObject.
    pub conditional_put: bool,
}

#[derive(Serialize, Deserialize)]
struct Record {
    endpoint: String,
    probed: u64,
    capabilities: Capabilities,
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
}

/// Capabilities from the cache in `state_dir`, else by probing in `bucket` under `prefix`.
pub async fn capabilities(store: &Store, bucket: &str, prefix: &str, state_dir: &Path) -> Result<Capabilities> {
    let file = cache_file(state_dir, store.endpoint());
    if let Some(known) = load(&file, store.endpoint()) {
        return Ok(known);
    }
    let mut found = probe(store, bucket, prefix).await;
    for _ in 0..PROBES_AGAIN {
        match found {
            // A clean-up without a grace period took what was being probed with.
            Err(error) if error.kind() == Kind::NotFound => tracing::debug!("probe again: {error}"),
            _ => break,
        }
        found = probe(store, bucket, prefix).await;
    }
    let found = found?;
    if let Err(error) = save(&file, store.endpoint(), found) {
        tracing::warn!("remember capabilities in {}: {error}; each process will probe again", file.display());
    }
    Ok(found)
}

/// Tries every capability against the server.
pub async fn probe(store: &Store, bucket: &str, prefix: &str) -> Result<Capabilities> {
    let key = format!("{prefix}probe/{}", uuid::Uuid::new_v4().simple());
    let found = probe_at(store, bucket, &key).await;
    // Clean up whatever the outcome, and let the first error speak.
    for suffix in ["put", "crc", "upload"] {
        let removed = store.delete(bucket, &format!("{key}-{suffix}"), None).await;
        if let Err(error) = removed {
            tracing::warn!("remove probe object: {error}");
        }
    }
    found
}

async fn probe_at(store: &Store, bucket: &str, key: &str) -> Result<Capabilities> {
    let (etag_is_md5, conditional_put) = probe_put(store, bucket, &format!("{key}-put")).await?;
    let crc64nvme = probe_crc_put(store, bucket, &format!("{key}-crc")).await?
        && probe_crc_upload(store, bucket, &format!("{key}-upload")).await?;
    Ok(Capabilities { crc64nvme, etag_is_md5, conditional_put })
}

async fn probe_put(store: &Store, bucket: &str, key: &str) -> Result<(bool, bool)> {
    let (first, second) = (Bytes::from_static(b"vastost probe"), Bytes::from_static(b"vastost probe, again"));
    let md5 = Md5Sum::of(&first);
    let put = store.put(bucket, key, first, WireCheck::None, &[], false).await?;
    let etag_is_md5 = Md5Sum::from_etag(&put.etag) == Some(md5);
    for _ in 0..CONDITIONAL_PUTS {
        match store.put(bucket, key, second.clone(), WireCheck::None, &[], true).await {
            Ok(_) => {}
            Err(error) if error.kind() == Kind::PreconditionFailed => return Ok((etag_is_md5, true)),
            Err(error) => {
                tracing::debug!("conditional put is not supported: {error}");
                break;
            }
        }
    }
    Ok((etag_is_md5, false))
}

async fn probe_crc_put(store: &Store, bucket: &str, key: &str) -> Result<bool> {
    let body = Bytes::from_static(b"vastost probe");
    let right = Crc64::of(&body);
    let wrong = store.try_put(bucket, key, body.clone(), WireCheck::Crc64(Crc64(!right.0)), &[], false).await;
    if !is_refusal(&wrong) {
        return wrong.map(|_| false);
    }
    let answer = store.put(bucket, key, body, WireCheck::Crc64(right), &[], false).await;
    Ok(is_ok_or_refusal(answer)?.is_some())
}

async fn probe_crc_upload(store: &Store, bucket: &str, key: &str) -> Result<bool> {
    let Some(upload) = is_ok_or_refusal(store.begin_upload(bucket, key, &[], true).await)? else { return Ok(false) };
    let proven = probe_crc_part(store, bucket, key, &upload).await;
    if !matches!(proven, Ok(true)) {
        store.abort_upload(bucket, key, &upload).await?;
    }
    proven
}

async fn probe_crc_part(store: &Store, bucket: &str, key: &str, upload: &str) -> Result<bool> {
    let body = Bytes::from_static(b"vastost probe");
    let crc64 = Crc64::of(&body);
    let size = body.len() as u64;
    let wrong = WireCheck::Crc64(Crc64(!crc64.0));
    let refused = store.try_upload_part(bucket, key, upload, 1, body.clone(), wrong).await;
    if !is_refusal(&refused) {
        return refused.map(|_| false);
    }
    let sent = store.upload_part(bucket, key, upload, 1, body, WireCheck::Crc64(crc64)).await;
    let Some(etag) = is_ok_or_refusal(sent)? else { return Ok(false) };
    let parts = [SentPart { number: 1, size, etag, crc64 }];
    Ok(is_ok_or_refusal(store.complete_upload(bucket, key, upload, &parts, Some(crc64)).await)?.is_some())
}

/// The server understood and said no, as against being out of reach.
fn is_refusal<T>(answer: &Result<T>) -> bool {
    let refusals = [Kind::Corrupt, Kind::InvalidArgument, Kind::Unsupported, Kind::PreconditionFailed];
    matches!(answer, Err(error) if refusals.contains(&error.kind()))
}

fn is_ok_or_refusal<T>(answer: Result<T>) -> Result<Option<T>> {
    if is_refusal(&answer) { Ok(None) } else { answer.map(Some) }
}

fn cache_file(state_dir: &Path, endpoint: &str) -> PathBuf {
    let name: String = endpoint.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    state_dir.join(format!("probe-{name}.json"))
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs())
}

fn load(file: &Path, endpoint: &str) -> Option<Capabilities> {
    let record: Record = serde_json::from_slice(&files::read(file, RECORD_MAX).ok()?).ok()?;
    let fresh = now().saturating_sub(record.probed) < VALID.as_secs();
    (fresh && record.endpoint == endpoint).then_some(record.capabilities)
}

fn save(file: &Path, endpoint: &str, capabilities: Capabilities) -> std::io::Result<()> {
    let record = Record { endpoint: endpoint.into(), probed: now(), capabilities };
    if let Some(folder) = file.parent() {
        files::make_folder(folder)?;
    }
    // Another process may read at any moment: whole files only.
    files::replace(file, &serde_json::to_vec(&record)?, files::STATE_MODE)
}
