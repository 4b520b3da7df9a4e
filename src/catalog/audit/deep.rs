//! The bytes of one image against CRCs and ETags. The whole image's CRC is made up of its parts' (that is checked when
//! the sidecar is parsed), so parts that are right make the image right.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::report::Class;
use super::{Found, Scope};
use crate::catalog::audit::read::{head_again, is_still_there};
use crate::catalog::format::record::Sidecar;
use crate::error::{Error, Kind, Result};
use crate::objstore::download::scan::{ScannedPart, scan};
use crate::objstore::download::spec::ReadSpec;
use crate::thread::spawn_thread;

/// Bad parts of one image that are named; the rest are counted.
const BAD_PARTS_NAMED: usize = 10;
/// How long an image waits for room in the pool before it asks again.
const POOL_WAIT: Duration = Duration::from_millis(200);
/// How long an image that waits for its share of the rate may not hear that the audit is cancelled.
const CANCEL_WAIT: Duration = Duration::from_millis(100);

/// Shares a rate among all images that are being read.
pub struct Limiter {
    bytes_per_second: f64,
    free_at: Mutex<Instant>,
}

/// What reading an image showed.
#[derive(Debug, Default)]
pub struct Read {
    pub found: Vec<Found>,
    pub bytes: u64,
    /// The audit was cancelled before the end.
    pub cut: bool,
    /// The image was deleted meanwhile.
    pub gone: bool,
}

impl Limiter {
    pub fn new(bytes_per_second: u64) -> Self {
        Self {
            bytes_per_second: bytes_per_second.max(1) as f64,
            free_at: Mutex::new(Instant::now()),
        }
    }

    /// Waits until `bytes` more may be asked for; false when the audit is cancelled first.
    fn wait(&self, bytes: u64, cancel: &AtomicBool) -> bool {
        let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
        let start = (*free_at).max(Instant::now());
        *free_at = start + Duration::from_secs_f64(bytes as f64 / self.bytes_per_second);
        drop(free_at);
        while !cancel.load(Ordering::Relaxed) {
            let left = start.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            std::thread::sleep(left.min(CANCEL_WAIT));
        }
        false
    }
}

/// Reads the whole image on a thread of its own; `progress` hears of bytes as they are checked.
pub(super) async fn read(
    scope: Arc<Scope>,
    sidecar: Box<Sidecar>,
    progress: impl Fn(u64) + Send + 'static,
) -> Result<Read> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let thread = spawn_thread("vastost-audit", move || {
        // Nobody waits any more: the audit has ended.
        drop(sender.send(read_here(&scope, &sidecar, &progress)));
    })?;
    let read = receiver
        .await
        .map_err(|_| Error::new(Kind::Internal, "an image was not read to its end"));
    // It has nothing left to do once it has answered.
    drop(thread);
    read?
}

fn read_here(scope: &Arc<Scope>, sidecar: &Sidecar, progress: &impl Fn(u64)) -> Result<Read> {
    let mut read = Read::default();
    let (lsu, data) = (&scope.lsu, &sidecar.content.data);
    let (mut bad, mut heard, mut again) = (0, 0, false);
    let deadline = Instant::now() + lsu.store().retry().operation_timeout;
    loop {
        let spec = ReadSpec {
            bucket: lsu.bucket().into(),
            key: data.key.clone(),
            size: data.size,
            etag: data.etag.clone(),
            parts: sidecar.content.spans(),
        };
        let limit = |bytes| {
            scope
                .limiter
                .as_ref()
                .is_none_or(|limiter| limiter.wait(bytes, &scope.cancel))
        };
        let scanned = scan(lsu.store(), spec, limit, |part| {
            let bytes = sidecar.content.parts.get(part.index).map_or(0, |part| part.size);
            read.bytes += bytes;
            progress(bytes);
            if let Some(found) = judge(scope, sidecar, part) {
                bad += 1;
                read.found.extend((bad <= BAD_PARTS_NAMED).then_some(found));
            }
            heard += 1;
            !scope.cancel.load(Ordering::Relaxed)
        });
        match scanned {
            Ok(()) => {
                read.cut = heard < sidecar.content.parts.len();
                break;
            }
            // Other images have what the pool can promise.
            Err(error) if error.kind() == Kind::NoMemory && scope.cancel.load(Ordering::Relaxed) => {
                read.cut = true;
                break;
            }
            Err(error) if error.kind() == Kind::NoMemory && Instant::now() < deadline => std::thread::sleep(POOL_WAIT),
            Err(error) if error.kind() == Kind::NotFound && is_gone(scope, sidecar)? => {
                read.gone = true;
                break;
            }
            Err(error) => {
                // One answer is no verdict.
                let is_missing = error.kind() == Kind::NotFound && is_missing(scope, &data.key);
                if error.kind() == Kind::NotFound && !is_missing && !again {
                    (read, bad, heard, again) = (Read::default(), 0, 0, true);
                    continue;
                }
                let class = if is_missing {
                    Class::DataMissing
                } else {
                    Class::Unreadable
                };
                let expected = format!("{} bytes", data.size);
                let found = scope.found(
                    class,
                    Some(&sidecar.image.id),
                    Some(&data.key),
                    expected,
                    error.to_string(),
                );
                read.found.push(found);
                break;
            }
        }
    }
    if bad > BAD_PARTS_NAMED
        && let Some(last) = read.found.last_mut()
    {
        last.finding.found += &format!("; and {} more bad parts", bad - BAD_PARTS_NAMED);
    }
    Ok(read)
}

fn is_missing(scope: &Arc<Scope>, key: &str) -> bool {
    let (owned, key) = (Arc::clone(scope), key.to_owned());
    let asked = scope.lsu.store().run(async move { head_again(&owned, &key).await });
    matches!(asked, Ok(None))
}

fn is_gone(scope: &Arc<Scope>, sidecar: &Sidecar) -> Result<bool> {
    let (owned, sidecar) = (Arc::clone(scope), sidecar.clone());
    scope
        .lsu
        .store()
        .run(async move { Ok(!is_still_there(&owned, &sidecar).await?) })
}

/// A part whose CRC is wrong. An ETag that is not its MD5 says nothing against a CRC that holds: encrypted buckets and
/// objects that were written over NFS have such.
fn judge(scope: &Scope, sidecar: &Sidecar, part: ScannedPart) -> Option<Found> {
    let (id, key) = (&sidecar.image.id, sidecar.content.data.key.as_str());
    let record = sidecar.content.parts.get(part.index)?;
    let error = part.wrong?;
    let expected = format!(
        "part {} at offset {}, {} bytes: CRC64NVME {:016x}",
        record.number, record.offset, record.size, record.crc64nvme.0
    );
    Some(scope.found(Class::DataChecksum, Some(id), Some(key), expected, error.to_string()))
}
