//! The parts of an object that is on the store: how it is divided, and what proves each.
//!
//! CRCs that neither record nor server tell are computed by reading those parts back. An ETag is a hint: buckets are
//! encrypted and objects copied, so another one than expected makes us read, and the bytes decide.

use crate::catalog::format::record::PartRecord;
use crate::catalog::lsu::Lsu;
use crate::config::PARTS_MAX;
use crate::config::part_plan::PartPlan;
use crate::engine::checksum::{Crc64, Md5Sum};
use crate::error::{Error, Kind, Result};
use crate::objstore::s3::digest::digest_range;
use crate::objstore::s3::multipart::StoredPart;
use crate::objstore::s3::types::{ObjectInfo, SentPart};

/// Readings of a part at most.
const READINGS: u32 = 3;

/// How an object is divided: by the record when that has every part, else as the server tells, else as a plan of our
/// settings would have it.
pub async fn parts_of(lsu: &Lsu, key: &str, object: &ObjectInfo, known: &[PartRecord]) -> Result<Vec<StoredPart>> {
    if !known.is_empty() && known.iter().map(|part| part.size).sum::<u64>() == object.size {
        let stored = |p: &PartRecord| StoredPart {
            number: p.number,
            size: p.size,
            etag: p.etag.clone(),
            crc64: Some(p.crc64nvme),
        };
        return Ok(known.iter().map(stored).collect());
    }

    let told = lsu.store().object_parts(lsu.bucket(), key).await?;
    let told = told.filter(|parts| parts.iter().map(|part| part.size).sum::<u64>() == object.size);
    let mut parts = told.unwrap_or_else(|| planned(lsu, object));
    // Some stores tell of an empty object that it has a part, which a record must not have.
    parts.retain(|part| part.size > 0);
    // An object that was put in one piece has the ETag of its only part.
    if let [only] = parts.as_mut_slice()
        && !object.etag.contains('-')
    {
        only.etag.clone_from(&object.etag);
    }
    Ok(parts)
}

fn planned(lsu: &Lsu, object: &ObjectInfo) -> Vec<StoredPart> {
    let transfer = lsu.store().transfer();
    let plan = PartPlan::new(transfer.part_size_bytes, transfer.image_size_max_bytes);
    let mut parts = Vec::new();
    let mut left = object.size;
    for number in 1..=PARTS_MAX {
        let size = plan.part_bytes(number).min(left);
        if size == 0 {
            break;
        }
        left -= size;
        parts.push(StoredPart {
            number,
            size,
            etag: String::new(),
            crc64: None,
        });
    }
    parts
}

/// Gives every part its CRC and its ETag, from the record, the server, or the bytes themselves.
pub async fn prove(lsu: &Lsu, key: &str, parts: Vec<StoredPart>, known: &[PartRecord]) -> Result<Vec<SentPart>> {
    let mut proven = Vec::with_capacity(parts.len());
    let mut offset = 0;
    for part in parts {
        let record = known
            .iter()
            .find(|record| record.number == part.number && record.size == part.size);
        let same = record.filter(|record| record.etag == part.etag && !part.etag.is_empty());
        let told = part.crc64.or(same.map(|record| record.crc64nvme));
        proven.push(match told {
            Some(crc64) if !part.etag.is_empty() => sent(&part, crc64),
            _ => {
                // With another ETag the record still tells what was written.
                let crc64 = part.crc64.or(record.map(|record| record.crc64nvme));
                read_back(lsu, key, &StoredPart { crc64, ..part.clone() }, offset).await?
            }
        });
        offset += part.size;
    }
    Ok(proven)
}

/// A part by its own bytes. Its CRC decides where one is known. Else its ETag proves a reading when it is the MD5, and
/// what is read twice alike did not change on the way here.
pub async fn read_back(lsu: &Lsu, key: &str, part: &StoredPart, offset: u64) -> Result<SentPart> {
    let mut before = None;
    for _ in 0..READINGS {
        let (crc64, md5) = digest_range(lsu.store(), lsu.bucket(), key, offset, part.size).await?;
        let is_proven = match part.crc64 {
            Some(told) => told == crc64,
            None => Md5Sum::from_etag(&part.etag) == Some(md5) || before == Some(crc64),
        };
        if is_proven {
            let etag = if part.etag.is_empty() {
                md5.to_hex()
            } else {
                part.etag.clone()
            };
            return Ok(SentPart {
                number: part.number,
                size: part.size,
                etag,
                crc64,
            });
        }
        before = Some(crc64);
    }

    let why = match part.crc64 {
        Some(told) => format!(
            "its bytes are not those of CRC64NVME {:016x}, which was recorded",
            told.0
        ),
        None => "it reads otherwise each time".to_owned(),
    };

    Err(Error::new(
        Kind::Corrupt,
        format!("part {} of {}/{key}: {why}", part.number, lsu.bucket()),
    ))
}

/// The part as one that was sent with this CRC.
pub fn sent(part: &StoredPart, crc64: Crc64) -> SentPart {
    SentPart {
        number: part.number,
        size: part.size,
        etag: part.etag.clone(),
        crc64,
    }
}
