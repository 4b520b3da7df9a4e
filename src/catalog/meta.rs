//! Image metadata: NetBackup's own bytes beside an image, inline in the record when small, else an object.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::config::Bucket;
use crate::engine::checksum::{Crc64, Md5Sum};
use crate::engine::memory;
use crate::error::{Error, Kind, Result, ResultExt};
use crate::objstore::s3::store::Store;
use crate::objstore::s3::types::WireCheck;

/// Larger metadata become an object of their own.
pub const INLINE_MAX: usize = 64 << 10;
/// What one image may have at most.
pub const META_SIZE_MAX: usize = 64 << 20;

/// Where an image's metadata lie.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Meta {
    Object { key: String, size: u64, crc64nvme: Crc64 },
    Inline { inline: String },
}

/// Writes `bytes` at `offset` into metadata held in memory; a gap is refused.
pub fn write_at(meta: &mut Vec<u8>, bytes: &[u8], offset: u64) -> Result<()> {
    let at = usize::try_from(offset).unwrap_or(usize::MAX);
    if at > meta.len() {
        let what = format!(
            "write image metadata at offset {offset}: there are {} bytes",
            meta.len()
        );
        return Err(Error::new(Kind::OffsetInvalid, what));
    }

    let end = at.saturating_add(bytes.len());
    if end > META_SIZE_MAX {
        return Err(Error::new(
            Kind::InvalidArgument,
            format!("image metadata of {end} bytes; {META_SIZE_MAX} are possible"),
        ));
    }

    if meta.len() < end {
        memory::lengthen(meta, end, || "hold image metadata".into())?;
    }
    if let Some(to) = meta.get_mut(at..end) {
        to.copy_from_slice(bytes);
    }
    Ok(())
}

/// Copies metadata from `offset` on; gives how many bytes there were.
pub fn read_at(meta: &[u8], to: &mut [u8], offset: u64) -> usize {
    let from = usize::try_from(offset)
        .ok()
        .and_then(|at| meta.get(at..))
        .unwrap_or_default();
    let len = to.len().min(from.len());
    if let (Some(to), Some(from)) = (to.get_mut(..len), from.get(..len)) {
        to.copy_from_slice(from);
    }
    len
}

/// Puts metadata where they belong; `key` is used when they are too large for the record.
pub async fn save(store: &Store, bucket: &Bucket, key: &str, bytes: Bytes) -> Result<Option<Meta>> {
    if bytes.is_empty() {
        return Ok(None);
    }
    if bytes.len() <= INLINE_MAX {
        return Ok(Some(Meta::Inline {
            inline: STANDARD.encode(bytes),
        }));
    }
    let size = bytes.len() as u64;
    let crc64nvme = Crc64::of(&bytes);
    let check = WireCheck::Md5(Md5Sum::of(&bytes));
    store.put(bucket, key, bytes, check, &[], false).await?;
    Ok(Some(Meta::Object {
        key: key.into(),
        size,
        crc64nvme,
    }))
}

/// The metadata's bytes, checked.
pub async fn load(store: &Store, bucket: &Bucket, meta: Option<&Meta>) -> Result<Vec<u8>> {
    match meta {
        None => Ok(Vec::new()),
        Some(Meta::Inline { inline }) => {
            let what = || "read image metadata from the record".to_owned();
            let mut bytes = memory::zeroed(inline.len() + 3, what)?;
            // Base64 is longer than what it stands for.
            let len = STANDARD.decode_slice(inline, &mut bytes).or_kind(Kind::Corrupt, what)?;
            bytes.truncate(len);
            Ok(bytes)
        }
        Some(Meta::Object { key, size, crc64nvme }) => {
            let bytes = store.get_small(bucket, key, META_SIZE_MAX as u64).await?;
            if bytes.len() as u64 != *size || Crc64::of(&bytes) != *crc64nvme {
                let what = format!("image metadata {bucket}/{key} are not what was written");
                return Err(Error::new(Kind::Corrupt, what));
            }
            Ok(bytes.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_grow_without_gaps_and_read_short_at_their_end() {
        let mut meta = Vec::new();
        write_at(&mut meta, b"abcdef", 0).unwrap();
        write_at(&mut meta, b"XY", 5).unwrap();
        assert_eq!(meta, b"abcdeXY");
        assert_eq!(write_at(&mut meta, b"z", 8).unwrap_err().kind(), Kind::OffsetInvalid);
        assert_eq!(
            write_at(&mut meta, b"z", META_SIZE_MAX as u64).unwrap_err().kind(),
            Kind::OffsetInvalid
        );
        let mut to = [0; 4];
        assert_eq!((read_at(&meta, &mut to, 5), &to[..2]), (2, &b"XY"[..]));
        assert_eq!(read_at(&meta, &mut to, 7), 0);
        assert_eq!(read_at(&meta, &mut to, u64::MAX), 0);
    }
}
