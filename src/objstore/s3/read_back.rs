//! Bytes that nothing else proves, read back and compared with their CRC64NVME.

use futures::stream::{StreamExt, TryStreamExt};

use super::digest::crc_of_range;
use super::store::Store;
use super::types::SentPart;
use crate::config::Bucket;
use crate::engine::checksum::Crc64;
use crate::error::{Error, Kind, Result};

/// Readings of bytes that are not what was sent: one may have changed on its way here.
const READINGS: u32 = 3;

/// Parts that are read back at once; each takes a piece of memory and no buffer of the pool.
const READ_BACK_IN_FLIGHT: usize = 8;

/// Reads the parts that `wanted` names and compares their CRC64NVME.
pub async fn read_back(
    store: &Store,
    bucket: &Bucket,
    key: &str,
    parts: &[SentPart],
    wanted: impl Fn(u32) -> bool,
) -> Result<()> {
    let mut offset = 0;
    let mut jobs = Vec::new();
    for part in parts {
        if wanted(part.number) {
            jobs.push((part.clone(), offset));
        }
        offset += part.size;
    }

    let compared = jobs
        .into_iter()
        .map(|(part, offset)| async move { compare(store, bucket, key, &part, offset).await });
    futures::stream::iter(compared)
        .buffer_unordered(READ_BACK_IN_FLIGHT)
        .try_collect::<Vec<()>>()
        .await
        .map(drop)
}

pub async fn compare(store: &Store, bucket: &Bucket, key: &str, part: &SentPart, offset: u64) -> Result<()> {
    let mut seen = Crc64(0);
    for _ in 0..READINGS {
        seen = crc_of_range(store, bucket, key, None, (offset, part.size)).await?;
        if seen == part.crc64 {
            return Ok(());
        }
        tracing::warn!(
            "read part {} of {bucket}/{key} again: its CRC64NVME is {:016x}",
            part.number,
            seen.0
        );
    }
    let what = format!(
        "read back {bucket}/{key}: part {} at offset {offset} has other bytes than were sent: CRC64NVME {:016x} in place of {:016x}",
        part.number, seen.0, part.crc64.0
    );
    Err(Error::new(Kind::Corrupt, what))
}
