//! CRC64NVME and MD5 values: running, combined, on the wire and as text.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crc_fast::{CrcAlgorithm, Digest};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::crc_combine::combine;
use super::memcpy::copy;

/// Bytes that are copied and then hashed while they are still in the first-level cache.
const HOT_BYTES: usize = 16 << 10;

/// A CRC64NVME; text is 16 lower-case hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crc64(pub u64);

/// A CRC64NVME that grows with the data.
#[derive(Clone)]
pub struct Crc64Hasher(Digest);

impl Default for Crc64Hasher {
    fn default() -> Self {
        Self(Digest::new(CrcAlgorithm::Crc64Nvme))
    }
}

impl Crc64Hasher {
    pub fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    /// Copies `from` into `to` (of the same length) and hashes each piece while it is hot.
    pub fn copy(&mut self, to: &mut [u8], from: &[u8]) {
        for (to, from) in to.chunks_mut(HOT_BYTES).zip(from.chunks(HOT_BYTES)) {
            copy(to, from);
            self.0.update(to);
        }
    }

    pub fn value(&self) -> Crc64 {
        Crc64(self.0.finalize())
    }
}

impl Crc64 {
    pub fn of(data: &[u8]) -> Self {
        Self(crc_fast::crc64_nvme(data))
    }

    /// The CRC of this data followed by `next_len` bytes whose CRC is `next`.
    #[must_use]
    pub fn then(self, next: Self, next_len: u64) -> Self {
        Self(combine(self.0, next.0, next_len))
    }

    /// As `x-amz-checksum-crc64nvme` carries it.
    pub fn to_base64(self) -> String {
        STANDARD.encode(self.0.to_be_bytes())
    }

    /// The inverse of [`Crc64::to_base64`].
    pub fn from_base64(text: &str) -> Option<Self> {
        let bytes = STANDARD.decode(text).ok()?;
        Some(Self(u64::from_be_bytes(bytes.try_into().ok()?)))
    }
}

impl Serialize for Crc64 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:016x}", self.0))
    }
}

impl<'de> Deserialize<'de> for Crc64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
        let hex = text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit());
        let value = u64::from_str_radix(&text, 16).ok().filter(|_| hex);
        value
            .map(Self)
            .ok_or_else(|| serde::de::Error::custom("a CRC64NVME has 16 hex digits"))
    }
}

/// An MD5 digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Md5Sum(pub [u8; 16]);

impl Md5Sum {
    pub fn of(data: &[u8]) -> Self {
        use md5::Digest as _;
        Self(md5::Md5::digest(data).into())
    }

    /// As `Content-MD5` carries it.
    pub fn to_base64(self) -> String {
        STANDARD.encode(self.0)
    }

    pub fn to_hex(self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The digest that a plain ETag is, or None when the ETag is of another making.
    pub fn from_etag(etag: &str) -> Option<Self> {
        let hex = bare_etag(etag);
        if hex.len() != 32 || !hex.is_ascii() {
            return None;
        }
        let mut sum = [0; 16];
        for (byte, pair) in sum.iter_mut().zip(hex.as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(Self(sum))
    }
}

/// The ETag without its quotes and weakness mark.
pub fn bare_etag(etag: &str) -> &str {
    etag.trim_start_matches("W/").trim_matches('"')
}

/// `md5(concat(part MD5s))-N`, the ETag of a multipart object, when every part's ETag is an MD5.
pub fn composite_etag<'a>(parts: impl ExactSizeIterator<Item = &'a str>) -> Option<String> {
    use md5::Digest as _;
    let count = parts.len();
    let mut hasher = md5::Md5::new();
    for etag in parts {
        hasher.update(Md5Sum::from_etag(etag)?.0);
    }
    Some(format!("{}-{count}", Md5Sum(hasher.finalize().into()).to_hex()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_values() {
        // The CRC catalogue's check value, https://reveng.sourceforge.io/crc-catalogue/17plus.htm (CRC-64/NVME).
        assert_eq!(Crc64::of(b"123456789"), Crc64(0xae8b_1486_0a79_9888));
        assert_eq!(Md5Sum::of(b"").to_hex(), "d41d8cd98f00b204e9800998ecf8427e");
        assert_eq!(
            Md5Sum::from_etag("\"d41d8cd98f00b204e9800998ecf8427e\""),
            Some(Md5Sum::of(b""))
        );
        assert_eq!(Md5Sum::from_etag("\"d41d8cd98f00b204e9800998ecf8427e-2\""), None);
    }

    #[test]
    fn a_composite_etag_needs_plain_md5_parts() {
        let part = Md5Sum::of(b"x").to_hex();
        assert!(
            composite_etag([part.as_str(), part.as_str()].into_iter())
                .unwrap()
                .ends_with("-2")
        );
        assert_eq!(composite_etag(["not-an-md5"].into_iter()), None);
    }

    proptest! {
        #[test]
        fn copy_and_combine_give_the_crc_of_the_whole(data in proptest::collection::vec(any::<u8>(), 0..100_000), cut in any::<prop::sample::Index>()) {
            let (head, tail) = data.split_at(if data.is_empty() { 0 } else { cut.index(data.len()) });
            let mut to = vec![0; data.len()];
            let mut hasher = Crc64Hasher::default();
            hasher.copy(&mut to, &data);
            prop_assert_eq!(&to, &data);
            prop_assert_eq!(hasher.value(), Crc64::of(&data));
            prop_assert_eq!(Crc64::of(head).then(Crc64::of(tail), tail.len() as u64), Crc64::of(&data));
        }
    }
}
