//! Writing to stdout and stderr, and the format of names, sizes and times.
//!
//! Names and messages come from untrusted stores and hosts. Everything that is printed for people goes through
//! [`printable`], so that no name can move the cursor, forge a line or reverse the text; JSON carries such characters
//! as escapes.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;
use serde_json::{Value, json};
use vastost::clean::is_unfit;

/// The longest message on stderr, in characters: a store may quote megabytes.
const MESSAGE_MAX: usize = 4_000;

/// Something is on stdout already, or stdout belongs to an image.
static STDOUT_TAKEN: AtomicBool = AtomicBool::new(false);

/// The reader of our stdout has closed it: the command stops, which is not a failure of a listing.
#[derive(Debug)]
pub struct StdoutClosed;

impl fmt::Display for StdoutClosed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("stdout was closed")
    }
}

impl Error for StdoutClosed {}

/// Reserves stdout for the bytes of an image.
pub fn take_stdout() {
    STDOUT_TAKEN.store(true, Ordering::Relaxed);
}

/// With `--json`, an error as the document, unless another one was begun: a reader of stdout always gets a document.
pub fn error_document(text: &str) {
    if !STDOUT_TAKEN.load(Ordering::Relaxed) {
        // Stderr has it too, so a closed stdout does not matter.
        drop(json(&json!({ "schema": 1, "error": clip(text, MESSAGE_MAX) })));
    }
}

/// One line on stdout, without control characters.
pub fn line(text: &str) -> Result<(), Box<dyn Error>> {
    painted(&printable(text))
}

/// One line on stdout with our own colours in it; the caller has made every piece [`printable`].
pub fn painted(text: &str) -> Result<(), Box<dyn Error>> {
    raw(format!("{text}\n").as_bytes())
}

/// Bytes on stdout, as they are.
pub fn raw(bytes: &[u8]) -> Result<(), Box<dyn Error>> {
    take_stdout();
    stdout_error(io::stdout().lock().write_all(bytes))
}

/// Flushes: nothing more follows, or the reader must see it now.
pub fn flush() -> Result<(), Box<dyn Error>> {
    stdout_error(io::stdout().lock().flush())
}

/// A value as one JSON document on stdout.
pub fn json(value: &impl Serialize) -> Result<(), Box<dyn Error>> {
    painted(&json_safe(&serde_json::to_string_pretty(value)?))
}

/// Marks a document as incomplete: a reader of stdout alone must see that.
pub fn with_error(mut document: Value, errors: &[String]) -> Value {
    if let (false, Some(fields)) = (errors.is_empty(), document.as_object_mut()) {
        fields.insert("error".into(), clip(&errors.join("; "), MESSAGE_MAX).into());
    }
    document
}

/// A value as JSON on one line.
pub fn json_text(value: &impl Serialize) -> Result<String, Box<dyn Error>> {
    Ok(json_safe(&serde_json::to_string(value)?))
}

/// A failed write to stdout as an error with its meaning.
pub fn stdout_error<T>(written: io::Result<T>) -> Result<T, Box<dyn Error>> {
    written.map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => StdoutClosed.into(),
        _ => format!("write to stdout: {error}").into(),
    })
}

/// For commands whose exit code is a verdict: a closed stdout does not change it.
pub fn unread_is_fine(printed: Result<(), Box<dyn Error>>) -> Result<(), Box<dyn Error>> {
    match printed {
        Err(error) if error.is::<StdoutClosed>() => Ok(()),
        other => other,
    }
}

/// One line on stderr, after the name of this program. Where stderr is closed, the line is lost.
pub fn complain(text: &str) {
    hint(&format!("vastost-s3: {text}"));
}

/// One line on stderr.
pub fn hint(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", printable(&clip(text, MESSAGE_MAX)));
}

/// Text for people: control characters, marks of reading direction and invisible characters become U+FFFD.
pub fn printable(text: &str) -> Cow<'_, str> {
    if text.chars().any(is_unfit) {
        text.chars()
            .map(|character| if is_unfit(character) { '\u{fffd}' } else { character })
            .collect()
    } else {
        Cow::Borrowed(text)
    }
}

/// A text longer than `max` characters is truncated, with a note of how much was left out.
pub fn clip(text: &str, max: usize) -> Cow<'_, str> {
    match text.char_indices().nth(max) {
        None => Cow::Borrowed(text),
        Some((end, _)) => {
            let (head, rest) = text.split_at(end);
            Cow::Owned(format!("{head}… and {} more bytes", rest.len()))
        }
    }
}

/// The same JSON with control characters escaped. Outside of strings the only ones are line ends.
fn json_safe(json: &str) -> String {
    let mut safe = String::with_capacity(json.len());
    for character in json.chars() {
        if character == '\n' || !is_unfit(character) {
            safe.push(character);
            continue;
        }
        for unit in character.encode_utf16(&mut [0; 2]) {
            safe.push_str(&format!("\\u{unit:04x}"));
        }
    }
    safe
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

    if value < 9.995 {
        format!("{value:.2} {unit}")
    } else {
        format!("{value:.1} {unit}")
    }
}

/// `1 image`, `3 images`: a number with its noun.
pub fn counted(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", grouped(number), if number == 1 { "" } else { "s" })
}

/// Digits in groups of three.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Seconds since 1970 as RFC 3339 in UTC.
pub fn utc(seconds: u64) -> String {
    let time = i64::try_from(seconds)
        .ok()
        .and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    time.map_or_else(
        || seconds.to_string(),
        |time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    )
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
        assert_eq!(
            [0, 999, 1000, 1_234_567].map(grouped),
            ["0", "999", "1,000", "1,234,567"]
        );
        assert_eq!(
            (counted(1, "image"), counted(0, "LSU")),
            ("1 image".into(), "0 LSUs".into())
        );
    }

    #[test]
    fn no_text_can_command_a_terminal_or_turn_its_direction() {
        let hostile = "a\x1b[2J\r\n\u{9b}31m\u{202e}gpj\u{2066}\u{200b}\u{feff}";
        let shown = printable(hostile);
        assert!(
            !shown.chars().any(is_unfit) && shown.starts_with("a\u{fffd}[2J"),
            "{shown:?}"
        );
        assert!(matches!(printable("db01_1795305600_C1_F1 – größer"), Cow::Borrowed(_)));
    }

    #[test]
    fn json_keeps_its_value_and_is_safe_to_look_at() {
        let value = json!({ "name": "\u{202e}x\u{9b}\u{e0041}\n", "list": [1, 2] });
        for text in [
            json_safe(&serde_json::to_string_pretty(&value).unwrap()),
            json_text(&value).unwrap(),
        ] {
            assert!(text.chars().all(|c| c == '\n' || !is_unfit(c)), "{text:?}");
            assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
        }
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        assert_eq!(clip("äöü", 3), "äöü");
        assert_eq!(clip("äöü", 2), "äö… and 2 more bytes");
    }
}
