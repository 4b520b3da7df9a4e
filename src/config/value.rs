//! Values with units: sizes (`16 MiB`, `1 TB`) and times (`50 ms`, `5 min`).

use std::fmt;
use std::time::Duration;

use serde::de::{self, Deserialize, Deserializer, Visitor};

const SIZES: [(&str, u64); 11] = [
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("PiB", 1 << 50),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("PB", 1_000_000_000_000_000),
];
const TIMES_MS: [(&str, u64); 4] = [("ms", 1), ("s", 1_000), ("min", 60_000), ("h", 3_600_000)];

/// Bytes, written as a whole number with a unit.
#[derive(Clone, Copy, Debug)]
pub struct Size(pub u64);

/// A time, written as a whole number with a unit.
#[derive(Clone, Copy, Debug)]
pub struct Time(pub Duration);

/// Parses `16 MiB`, `1TB`, `4096`; `None` when it is no size or does not fit 64 bits.
pub fn parse_size(text: &str) -> Option<u64> {
    parse_unit(text, &SIZES, Some(1))
}

/// The shortest exact text of a size.
pub fn size_text(bytes: u64) -> String {
    let exact = SIZES
        .iter()
        .filter(|(_, factor)| bytes > 0 && bytes.is_multiple_of(*factor));
    let best = exact.max_by_key(|(_, factor)| *factor);
    best.map_or_else(
        || format!("{bytes} B"),
        |(unit, factor)| format!("{} {unit}", bytes / factor),
    )
}

/// The shortest exact text of a time.
pub fn time_text(time: Duration) -> String {
    let ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let exact = TIMES_MS
        .iter()
        .rev()
        .find(|(_, factor)| ms > 0 && ms.is_multiple_of(*factor));
    exact.map_or_else(
        || format!("{ms} ms"),
        |(unit, factor)| format!("{} {unit}", ms / factor),
    )
}

fn parse_time(text: &str) -> Option<Duration> {
    parse_unit(text, &TIMES_MS, None).map(Duration::from_millis)
}

fn parse_unit(text: &str, units: &[(&str, u64)], bare: Option<u64>) -> Option<u64> {
    let text = text.trim();
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    let unit = unit.trim();
    let factor = match units.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)) {
        Some((_, factor)) => *factor,
        None if unit.is_empty() => bare?,
        None => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SizeVisitor;
        impl Visitor<'_> for SizeVisitor {
            type Value = Size;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size such as \"16 MiB\", \"1 TB\" or a number of bytes")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Size, E> {
                parse_size(text)
                    .map(Size)
                    .ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }
            fn visit_i64<E: de::Error>(self, n: i64) -> Result<Size, E> {
                u64::try_from(n)
                    .map(Size)
                    .map_err(|_| E::invalid_value(de::Unexpected::Signed(n), &self))
            }
        }
        deserializer.deserialize_any(SizeVisitor)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TimeVisitor;
        impl Visitor<'_> for TimeVisitor {
            type Value = Time;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time with a unit such as \"50 ms\", \"20 s\", \"5 min\" or \"1 h\"")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Time, E> {
                parse_time(text)
                    .map(Time)
                    .ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_any(TimeVisitor)
    }
}

/// The line, counted from 1, in which byte `offset` of `text` stands.
pub fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes()
        .iter()
        .take(offset)
        .filter(|byte| **byte == b'\n')
        .count()
        + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_and_times_parse_with_and_without_space() {
        assert_eq!(parse_size("16 MiB"), Some(16 << 20));
        assert_eq!(parse_size("1TB"), Some(1_000_000_000_000));
        assert_eq!(parse_size("4096"), Some(4096));
        for wrong in ["", "MiB", "-1 B", "1.5 GiB", "99999999999 PB", "1 XB"] {
            assert_eq!(parse_size(wrong), None, "{wrong}");
        }
        assert_eq!(parse_time("50ms"), Some(Duration::from_millis(50)));
        assert_eq!(parse_time("20"), None);
    }

    proptest! {
        #[test]
        fn size_text_parses_back(bytes in any::<u64>()) {
            prop_assert_eq!(parse_size(&size_text(bytes)), Some(bytes));
        }

        #[test]
        fn time_text_parses_back(ms in 0u64..1 << 40) {
            let time = Duration::from_millis(ms);
            prop_assert_eq!(parse_time(&time_text(time)), Some(time));
        }
    }
}
