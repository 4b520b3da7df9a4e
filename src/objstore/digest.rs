//! CRC64NVME and MD5 of bytes that lie on the store, read as a stream: nothing is kept but the digests.

use md5::Digest as _;

use super::checksum::{Crc64, Crc64Hasher, Md5Sum};
use super::client::Store;
use super::get::{PIECE, Source, Target, read_range};
use crate::error::Result;

/// The digests of `len` bytes of an object from `offset` on.
pub async fn digest_range(store: &Store, bucket: &str, key: &str, offset: u64, len: u64) -> Result<(Crc64, Md5Sum)> {
    let (mut crc, mut md5) = (Crc64Hasher::default(), md5::Md5::new());
    let mut piece = vec![0; PIECE];
    // Whoever asks compares the digests with what it knows, or reads an object that no record describes.
    let source = Source { bucket, key, size: None, etag: None };
    read_range(store, source, (offset, len), Target::Pass(&mut piece), |bytes| {
        crc.update(bytes);
        md5.update(bytes);
    })
    .await?;
    Ok((crc.value(), Md5Sum(md5.finalize().into())))
}
