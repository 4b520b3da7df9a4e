//! Any bytes ↔ the portable key alphabet `[A-Za-z0-9._=-]`.
//!
//! VAST shows a bucket as a directory too: keys outside this alphabet, and segments `.` and `..`, are refused or hidden
//! by its default policy (kb.vastdata.com, "Does VAST support file names with special characters").

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A name from NetBackup: any bytes but NUL. JSON and Display carry it escaped, so a usual name reads as it is.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Name(Vec<u8>);

impl Name {
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&escape(&self.0))
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
        unescape(&text)
            .map(Self)
            .ok_or_else(|| serde::de::Error::custom("a name in the escaping of keys"))
    }
}

/// Bytes outside `[A-Za-z0-9._-]` become `=XX`; so does a leading dot, which keeps `.` and `..` out of paths.
pub fn escape(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for (index, byte) in bytes.iter().enumerate() {
        let plain = byte.is_ascii_alphanumeric() || b"_-".contains(byte) || (*byte == b'.' && index > 0);
        if plain {
            text.push(char::from(*byte));
        } else {
            text.push_str(&format!("={byte:02X}"));
        }
    }
    text
}

/// The inverse; None for anything that [`escape`] does not make, so that no two texts mean one name.
pub fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(if byte == b'=' {
            hex_digit(rest.next()?)? << 4 | hex_digit(rest.next()?)?
        } else {
            byte
        });
    }
    (escape(&bytes) == text).then_some(bytes)
}

fn hex_digit(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn escaping_is_reversible_and_portable(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let text = escape(&bytes);
            prop_assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._=-".contains(&b)));
            prop_assert!(!text.starts_with('.'));
            prop_assert_eq!(unescape(&text), Some(bytes));
        }

        #[test]
        fn every_text_means_at_most_one_name(text in "[=0-9A-Fa-f._a-]{0,12}") {
            if let Some(bytes) = unescape(&text) {
                prop_assert_eq!(escape(&bytes), text);
            }
        }
    }
}
