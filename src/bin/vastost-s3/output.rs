//! Writing to stdout and stderr, and how sizes and times look there.

use std::error::Error;
use std::fmt;
use std::io::{self, Write};

use serde::Serialize;

/// The reader of our stdout has gone away: we stop, and that is no failure.
#[derive(Debug)]
pub struct StdoutClosed;

impl fmt::Display for StdoutClosed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("stdout was closed")
    }
}

impl Error for StdoutClosed {}

/// One line on stdout.
pub fn line(text: &str) -> Result<(), Box<dyn Error>> {
    raw(text.as_bytes())?;
    raw(b"\n")
}

/// Bytes on stdout, as they are.
pub fn raw(bytes: &[u8]) -> Result<(), Box<dyn Error>> {
    stdout_error(io::stdout().lock().write_all(bytes))
}

/// Nothing more follows, or somebody must see it now.
pub fn flush() -> Result<(), Box<dyn Error>> {
    stdout_error(io::stdout().lock().flush())
}

/// A value as one JSON document on stdout.
pub fn json(value: &impl Serialize) -> Result<(), Box<dyn Error>> {
    line(&serde_json::to_string_pretty(value)?)
}

/// A failed write to stdout as what it means.
pub fn stdout_error<T>(written: io::Result<T>) -> Result<T, Box<dyn Error>> {
    written.map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => StdoutClosed.into(),
        _ => format!("write to stdout: {error}").into(),
    })
}

/// One line on stderr with our name before it. A stderr that is gone can be told nothing.
pub fn complain(text: &str) {
    hint(&format!("vastost-s3: {text}"));
}

/// One line on stderr.
pub fn hint(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// A size for people: three digits or so, with a unit of 1024.
pub fn human_size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    // Two decimals of a display need no exact arithmetic.
    #[allow(clippy::cast_precision_loss)]
    let mut value = bytes as f64;
    let mut unit = "B";
    for next in UNITS {
        if value < 1023.95 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    if value < 9.995 { format!("{value:.2} {unit}") } else { format!("{value:.1} {unit}") }
}

/// Seconds since 1970 as RFC 3339 in UTC.
pub fn utc(seconds: u64) -> String {
    let time = i64::try_from(seconds).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    time.map_or_else(|| seconds.to_string(), |time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_as_people_write_them() {
        for (bytes, text) in [(0, "0 B"), (1023, "1023 B"), (1024, "1.00 KiB"), (1 << 30, "1.00 GiB")] {
            assert_eq!(human_size(bytes), text);
        }
        assert_eq!(human_size((1 << 30) - 1), "1.00 GiB");
        assert_eq!(human_size(u64::MAX), "16.0 EiB");
        assert_eq!(utc(1_795_305_600), "2026-11-22T00:00:00Z");
    }
}
