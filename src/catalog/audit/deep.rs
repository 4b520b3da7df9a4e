//! The bytes of one image against CRCs and ETags. The whole image's CRC is made up of its parts' (that is checked when
//! the sidecar is parsed), so parts that are right make the image right.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::report::Class;
use super::{Found, Scope};
use crate::catalog::audit::read::{head_again, is_still_there};
use crate::catalog::format::record::Sidecar;
use crate::error::{Kind, Result};
use crate::objstore::download::scan::{Scan, ScannedPart};
use crate::objstore::download::spec::ReadSpec;

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
    async fn wait(&self, bytes: u64, cancel: &AtomicBool) -> bool {
        let start = self.book(bytes);
        while !cancel.load(Ordering::Relaxed) {
            let left = start.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            tokio::time::sleep(left.min(CANCEL_WAIT)).await;
        }
        false
    }

    /// When `bytes` more may be asked for, which counts them.
    fn book(&self, bytes: u64) -> Instant {
        let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
        let start = (*free_at).max(Instant::now());
        *free_at = start + Duration::from_secs_f64(bytes as f64 / self.bytes_per_second);
        start
    }
}

/// Reads the whole image; `progress` hears of bytes as they are checked.
pub(super) async fn read(scope: &Scope, sidecar: &Sidecar, progress: &(dyn Fn(u64) + Send + Sync)) -> Result<Read> {
    let data = &sidecar.content.data;
    let deadline = Instant::now() + scope.lsu.store().retry().operation_timeout;
    let mut is_second = false;
    loop {
        let mut reading = Reading {
            scope,
            sidecar,
            progress,
            read: Read::default(),
            bad: 0,
        };
        let Err(error) = reading.parts().await else {
            return Ok(reading.end());
        };
        match error.kind() {
            // Other images have what the pool can promise.
            Kind::NoMemory if scope.is_cancelled() => {
                reading.read.cut = true;
                return Ok(reading.end());
            }
            Kind::NoMemory if Instant::now() < deadline => tokio::time::sleep(POOL_WAIT).await,
            Kind::NotFound if !is_still_there(scope, sidecar).await? => {
                reading.read.gone = true;
                return Ok(reading.end());
            }
            kind => {
                // One answer is no verdict.
                let is_missing = kind == Kind::NotFound && matches!(head_again(scope, &data.key).await, Ok(None));
                if kind == Kind::NotFound && !is_missing && !is_second {
                    is_second = true;
                    continue;
                }
                let class = if is_missing {
                    Class::DataMissing
                } else {
                    Class::Unreadable
                };
                let expected = format!("{} bytes", data.size);
                let id = Some(&sidecar.image.id);
                let found = scope.found(class, id, Some(&data.key), expected, error.to_string());
                reading.read.found.push(found);
                return Ok(reading.end());
            }
        }
    }
}

/// One image being read.
struct Reading<'a> {
    scope: &'a Scope,
    sidecar: &'a Sidecar,
    progress: &'a (dyn Fn(u64) + Send + Sync),
    read: Read,
    /// Parts that are not what was written.
    bad: usize,
}

impl Reading<'_> {
    /// Reads part after part until the last one, or until the audit is cancelled.
    async fn parts(&mut self) -> Result<()> {
        let lsu = &self.scope.lsu;
        let data = &self.sidecar.content.data;
        let spec = ReadSpec {
            bucket: lsu.bucket().clone(),
            key: data.key.clone(),
            size: data.size,
            etag: data.etag.clone(),
            parts: self.sidecar.content.spans(),
        };

        let mut scan = Scan::new(lsu.store(), spec)?;
        while let Some(bytes) = scan.next_size() {
            let may_go_on = match &self.scope.limiter {
                Some(limiter) => limiter.wait(bytes, &self.scope.cancel).await,
                None => !self.scope.is_cancelled(),
            };
            if !may_go_on {
                self.read.cut = true;
                return Ok(());
            }
            let part = scan.next_part().await?;
            self.read.bytes += bytes;
            (self.progress)(bytes);
            if let Some(found) = evaluate(self.scope, self.sidecar, part) {
                self.bad += 1;
                self.read.found.extend((self.bad <= BAD_PARTS_NAMED).then_some(found));
            }
        }

        Ok(())
    }

    fn end(mut self) -> Read {
        if self.bad > BAD_PARTS_NAMED
            && let Some(last) = self.read.found.last_mut()
        {
            last.finding.found += &format!("; and {} more bad parts", self.bad - BAD_PARTS_NAMED);
        }
        self.read
    }
}

/// A part whose CRC is wrong. An ETag that is not its MD5 says nothing against a CRC that holds: encrypted buckets and
/// objects that were written over NFS have such.
fn evaluate(scope: &Scope, sidecar: &Sidecar, part: ScannedPart) -> Option<Found> {
    let id = &sidecar.image.id;
    let key = sidecar.content.data.key.as_str();
    let record = sidecar.content.parts.get(part.index)?;
    let error = part.wrong?;
    let expected = format!(
        "part {} at offset {}, {} bytes: CRC64NVME {:016x}",
        record.number, record.offset, record.size, record.crc64nvme.0
    );
    Some(scope.found(Class::DataChecksum, Some(id), Some(key), expected, error.to_string()))
}
