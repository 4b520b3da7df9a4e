//! CRC64NVME and MD5 of bytes that lie on the store, read as a stream: nothing is kept but the digests.

use md5::Digest as _;

use crate::config::Bucket;
use crate::engine::checksum::{Crc64, Crc64Hasher, Md5Sum};
use crate::error::{Error, Kind, Result};
use crate::objstore::s3::get::Source;
use crate::objstore::s3::get::drain::{PIECE, Target};
use crate::objstore::s3::get::range::read_range;
use crate::objstore::s3::store::Store;

/// The digests of `len` bytes of an object from `offset` on.
pub async fn digest_range(store: &Store, bucket: &Bucket, key: &str, offset: u64, len: u64) -> Result<(Crc64, Md5Sum)> {
    let mut crc = Crc64Hasher::default();
    let mut md5 = md5::Md5::new();
    pass(store, bucket, key, None, (offset, len), |bytes| {
        crc.update(bytes);
        md5.update(bytes);
    })
    .await?;
    Ok((crc.value(), Md5Sum(md5.finalize().into())))
}

/// The CRC64NVME of a range (offset and length) of an object, or of the version of it that is named.
pub async fn crc_of_range(
    store: &Store,
    bucket: &Bucket,
    key: &str,
    version: Option<&str>,
    range: (u64, u64),
) -> Result<Crc64> {
    let mut crc = Crc64Hasher::default();
    pass(store, bucket, key, version, range, |bytes| crc.update(bytes)).await?;
    Ok(crc.value())
}

async fn pass(
    store: &Store,
    bucket: &Bucket,
    key: &str,
    version: Option<&str>,
    range: (u64, u64),
    seen: impl FnMut(&[u8]),
) -> Result<()> {
    if range.1 == 0 {
        // No range is empty, and no byte could be wrong.
        return Ok(());
    }
    let mut piece = Vec::new();
    let fits = piece.try_reserve_exact(PIECE);
    fits.map_err(|_| Error::new(Kind::NoMemory, format!("allocate {PIECE} bytes to read {bucket}/{key}")))?;
    piece.resize(PIECE, 0);
    // Whoever asks compares the digests with what it knows, or reads an object that no record describes.
    let source = Source {
        bucket,
        key,
        version,
        size: None,
        etag: None,
    };

    read_range(store, source, range, Target::Pass(&mut piece), seen).await
}
