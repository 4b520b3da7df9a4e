//! Foreign text on its way to people: what a store, a host or a file name says, made fit for a log line, a message of the
//! host's log or a terminal.
//!
//! Nothing that comes from outside may begin a line of its own, move a cursor, or turn the reading direction, and no text is
//! longer than a message can be. [`line`] does that for whole messages and is called where they leave: by the one error
//! type as it is printed, by the log, by the host's log callback. [`words`] is for what the store itself says, and keeps
//! back whatever looks like a signature or a token too, since some servers repeat the request in their refusals.

use std::borrow::Cow;
use std::fmt::Write as _;

/// A message is cut behind so many bytes.
pub const LINE_MAX: usize = 8 << 10;
/// The store's own words in a message are cut behind so many bytes.
pub const WORDS_MAX: usize = 400;
/// Unbroken runs of the letters of base64 and hexadecimal digits from this length on are taken for secrets. Signatures
/// have 64 digits, session tokens hundreds of letters; ETags, request ids and uuids are shorter.
const SECRET_LEN: usize = 64;
/// As much stays of a secret, so that two can be told apart.
const SECRET_SHOWN: usize = 6;
/// Words behind which a part of an Authorization header follows, up to the next white space or comma.
const AUTHORIZATION: [&str; 5] = [
    "aws4-hmac-sha256",
    "credential=",
    "signature=",
    "x-amz-security-token:",
    "x-amz-security-token=",
];

/// A message of one line: control characters, line ends of any kind and marks of reading direction become `\u{..}`, what
/// is too long is cut.
pub fn line(text: &str) -> Cow<'_, str> {
    bounded(text, LINE_MAX)
}

/// What the store says: as [`line`], shorter, and without what may be a secret.
pub fn words(text: &str) -> String {
    // Cut first, with room for what is taken out: the rest is not worth a look.
    let text = bounded(cut(text, 16 * WORDS_MAX), usize::MAX);
    let mut shown = without_authorization(&text);
    shown = without_secrets(&shown);
    bounded(&shown, WORDS_MAX).into_owned()
}

/// A line of the log or terminal as bytes, its own end apart; borrowed where nothing has to change.
pub fn line_bytes(bytes: &[u8]) -> Cow<'_, [u8]> {
    let (body, end) = bytes
        .strip_suffix(b"\n")
        .map_or((bytes, &b""[..]), |body| (body, b"\n"));
    match std::str::from_utf8(body) {
        Ok(text) if !text.chars().any(is_unfit) => Cow::Borrowed(bytes),
        _ => {
            let mut out = escape(&String::from_utf8_lossy(body)).into_bytes();
            out.extend_from_slice(end);
            Cow::Owned(out)
        }
    }
}

fn bounded(text: &str, max: usize) -> Cow<'_, str> {
    let kept = cut(text, max);
    if kept.len() == text.len() && !text.chars().any(is_unfit) {
        return Cow::Borrowed(text);
    }
    let mut out = escape(kept);
    if kept.len() < text.len() {
        let _ = write!(out, " [{} more bytes]", text.len() - kept.len());
    }
    Cow::Owned(out)
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if is_unfit(c) => {
                let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out
}

/// What a terminal or a log must not be given: control characters of C0 and C1, line and paragraph separators, marks of
/// direction, and what is not seen but changes how the rest is read.
pub fn is_unfit(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// The longest beginning of at most `max` bytes.
fn cut(text: &str, max: usize) -> &str {
    text.get(..text.floor_char_boundary(max)).unwrap_or_default()
}

fn without_authorization(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(rest) = lower.get(at..).filter(|rest| !rest.is_empty()) {
        let found = AUTHORIZATION
            .iter()
            .filter_map(|word| rest.find(word).map(|start| (start, word.len())))
            .min();
        let Some((start, len)) = found else { break };
        out.push_str(text.get(at..at + start).unwrap_or_default());
        out.push_str("[hidden]");
        // The header's own first word stands apart from what it begins.
        let tail = rest.get(start + len..).unwrap_or_default();
        let value = tail.trim_start_matches([' ', ':', '\'', '"']);
        let end = value
            .find(|c: char| c.is_whitespace() || ",;<&".contains(c))
            .unwrap_or(value.len());
        at += start + len + (tail.len() - value.len()) + end;
    }

    out.push_str(text.get(at..).unwrap_or_default());
    out
}

fn without_secrets(text: &str) -> String {
    let is_code = |c: char| c.is_ascii_alphanumeric() || "+/=_-%".contains(c);
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let run = rest.find(|c| !is_code(c)).unwrap_or(rest.len());
        let (code, after) = rest.split_at(run);
        if code.len() >= SECRET_LEN {
            out.push_str(cut(code, SECRET_SHOWN));
            out.push_str("...");
        } else {
            out.push_str(code);
        }
        let other = after.find(is_code).unwrap_or(after.len());
        let (other, after) = after.split_at(other);
        out.push_str(other);
        rest = after;
    }
    out
}

/// What the fuzzer and the replay of its corpus hold all of this to.
#[doc(hidden)]
pub fn hold_to_rules(text: &str) {
    for shown in [
        line(text).into_owned(),
        words(text),
        String::from_utf8_lossy(&line_bytes(text.as_bytes())).into(),
    ] {
        let body = shown.strip_suffix('\n').unwrap_or(&shown);
        assert!(!body.chars().any(is_unfit), "{shown:?}");
    }
    assert!(line(text).len() <= 10 * LINE_MAX + 64 && words(text).len() <= 10 * WORDS_MAX + 64);
    assert_eq!(line(&line(text)).len().min(LINE_MAX), line(text).len().min(LINE_MAX));
    assert!(!words(text).to_ascii_lowercase().contains("aws4-hmac-sha256"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_stays_one_line_that_reads_forward() {
        let text = "a\nERROR forged\r\u{1b}[31m\u{202e}cod\u{2028}b\u{7f}\u{0}";
        let shown = line(text);
        assert_eq!(
            shown,
            "a\\nERROR forged\\r\\u{1b}[31m\\u{202e}cod\\u{2028}b\\u{7f}\\u{0}"
        );
        assert!(matches!(line("plain, größer, 日本"), Cow::Borrowed(_)));
        assert_eq!(&*line_bytes(b"a\x1bb\n"), b"a\\u{1b}b\n");
        assert!(matches!(line_bytes(b"plain\n"), Cow::Borrowed(_)));
    }

    #[test]
    fn what_is_too_long_is_cut_at_a_character_and_says_so() {
        let long = "ü".repeat(LINE_MAX);
        let shown = line(&long);
        assert!(
            shown.len() < LINE_MAX + 64 && shown.ends_with(" more bytes]"),
            "{}",
            shown.len()
        );
        assert!(words(&long).len() < WORDS_MAX + 64);
    }

    #[test]
    fn the_authorization_header_is_never_repeated() {
        let signature = "0123456789abcdef".repeat(4);
        let header = format!(
            "AWS4-HMAC-SHA256 Credential=AKIAEXAMPLE/20261127/us-east-1/s3/aws4_request, \
             SignedHeaders=host;x-amz-date, Signature={signature}"
        );
        for text in [
            format!("not this: {header}"),
            format!("Authorization: {header} end"),
            header.to_uppercase(),
        ] {
            let shown = words(&text).to_lowercase();
            assert!(!shown.contains(&signature) && !shown.contains("akiaexample"), "{shown}");
        }
        assert!(!words(&format!("got {signature} here")).contains(&signature));
        assert!(!words(&format!("X-Amz-Security-Token: {}", "Ab1".repeat(20))).contains("Ab1Ab1"));
        assert_eq!(words("Access Denied."), "Access Denied.");
    }

    proptest::proptest! {
        #[test]
        fn no_text_breaks_the_rules(text in ".{0,300}", odd in proptest::collection::vec(0u32..0x1_0000, 0..80)) {
            hold_to_rules(&text);
            hold_to_rules(&odd.into_iter().filter_map(char::from_u32).collect::<String>());
        }
    }
}
