//! Whether an answer is whole and is the one that was asked for. Pure functions over what came; nothing is sent here.
//!
//! An answer that was cut looks like a shorter one: a list without its end shows fewer objects, an error without its end
//! may have another code. HTTP itself does not notice where the end of the connection is the end of the body. So a
//! document is believed only when its root element is closed and every element in it is, and a range only when its head
//! says which bytes of how large an object came.

use std::fmt;

use crate::clean::words;

/// Elements of a document that are open at once; S3's own answers have six at most.
const DEPTH_MAX: usize = 64;

/// What a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form<'a> {
    /// One XML document from its beginning to its end; the local name of its root.
    Whole(&'a str),
    /// An XML document that is cut or broken in itself; the local name of its root, empty where that is cut too.
    Broken(&'a str),
    /// No XML: a page for people, plain text, nothing at all.
    Foreign,
}

impl<'a> Form<'a> {
    /// Reads a body to its end.
    pub fn of(body: &'a [u8]) -> Self {
        let Ok(text) = std::str::from_utf8(body) else {
            return Self::Foreign;
        };
        let text = text.trim_start_matches('\u{feff}').trim_start();
        // Pages for people need no end tags: they are named by their beginning.
        let head = text
            .get(..text.floor_char_boundary(15))
            .unwrap_or_default()
            .to_ascii_lowercase();
        if !text.starts_with('<') || head.starts_with("<html") || head.starts_with("<!doctype html") {
            return Self::Foreign;
        }
        let mut scanner = Scanner {
            text,
            open: Vec::new(),
            root: None,
        };
        let end = scanner.run();
        let root = scanner.root.map_or("", local);
        end.map_or(Self::Broken(root), |()| Self::Whole(root))
    }
}

/// What a request is answered with when it succeeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Success {
    /// An XML document.
    Document,
    /// An XML document, or an error although the status says success: the server began to answer before it knew.
    DocumentOrError,
    /// Nothing that matters.
    Nothing,
}

/// Why an answer is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt<'a> {
    /// Its document has no end, or lacks a piece.
    Cut(&'a str),
    /// No document came where one belongs.
    NoDocument,
    /// The status says success, the body is an error.
    ErrorInside,
    /// Words for people came where nothing belongs.
    Page,
    /// "Not found", but by something that is no S3 server: of the store's objects that tells nothing.
    NotTheStore,
}

/// Looks for the end of an answer's body before anybody reads in it. Names of elements are not compared: whoever reads
/// the document knows which it must be.
pub fn evaluate_body(success: Success, status: u16, body: &[u8]) -> Result<(), Doubt<'_>> {
    let form = Form::of(body);
    match (status, success, form) {
        (200..=299, Success::Nothing | Success::Document, Form::Whole("Error")) => Err(Doubt::ErrorInside),
        (200..=299, Success::Nothing, Form::Whole(root)) if root.eq_ignore_ascii_case("html") => Err(Doubt::Page),
        (200..=299, _, Form::Whole(_)) => Ok(()),
        (200..=299, Success::Nothing, Form::Foreign) if body.trim_ascii().is_empty() => Ok(()),
        (200..=299, Success::Nothing, Form::Foreign) => Err(Doubt::Page),
        (200..=299, _, Form::Broken(root)) => Err(Doubt::Cut(root)),
        (200..=299, _, Form::Foreign) => Err(Doubt::NoDocument),
        (400..=599, _, Form::Broken("Error")) => Err(Doubt::Cut("Error")),
        (404, _, Form::Whole("Error")) => Ok(()),
        (404, _, _) if !body.trim_ascii().is_empty() => Err(Doubt::NotTheStore),
        _ => Ok(()),
    }
}

impl fmt::Display for Doubt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cut("") => f.write_str("the answer was cut: its document has no end"),
            Self::Cut(root) => write!(f, "the answer was cut: its document has no end of <{}>", words(root)),
            Self::NoDocument => f.write_str("no XML document came, as S3 answers this request"),
            Self::ErrorInside => f.write_str("the status says success, the body is an error"),
            Self::Page => f.write_str("a page came, and S3 answers this request with no body"),
            Self::NotTheStore => f.write_str("\"not found\" was not said by an S3 server"),
        }
    }
}

/// Walks through the tags of a document.
struct Scanner<'a> {
    text: &'a str,
    open: Vec<&'a str>,
    root: Option<&'a str>,
}

impl<'a> Scanner<'a> {
    /// None when the document does not come to its end.
    fn run(&mut self) -> Option<()> {
        loop {
            let start = self.text.find('<');
            let between = self.text.get(..start.unwrap_or(self.text.len())).unwrap_or_default();
            // Outside the root there is nothing but white space.
            if self.open.is_empty() && !between.trim().is_empty() {
                return None;
            }
            let Some(start) = start else {
                return (self.root.is_some() && self.open.is_empty()).then_some(());
            };
            self.text = self.text.get(start + 1..)?;
            match self.text.as_bytes().first()? {
                b'?' => self.skip("?>")?,
                b'!' if self.text.starts_with("!--") => self.skip("-->")?,
                b'!' if self.text.starts_with("![CDATA[") && !self.open.is_empty() => self.skip("]]>")?,
                // A document type with entities of its own has no place in an answer.
                b'!' => return None,
                b'/' => self.close()?,
                _ => self.begin()?,
            }
        }
    }

    fn skip(&mut self, end: &str) -> Option<()> {
        self.text = self.text.get(self.text.find(end)? + end.len()..)?;
        Some(())
    }

    fn close(&mut self) -> Option<()> {
        let end = self.text.find('>')?;
        let name = self.text.get(1..end)?.trim_end();
        self.text = self.text.get(end + 1..)?;
        (self.open.pop()? == name).then_some(())
    }

    fn begin(&mut self) -> Option<()> {
        let end = tag_end(self.text)?;
        let tag = self.text.get(..end)?;
        let (tag, is_empty) = tag.strip_suffix('/').map_or((tag, false), |tag| (tag, true));
        let name = tag.split(|c: char| c.is_ascii_whitespace()).next()?;
        if !name.split(':').all(is_name) {
            return None;
        }
        if self.open.is_empty() && self.root.replace(name).is_some() {
            // A second root.
            return None;
        }
        self.text = self.text.get(end + 1..)?;
        if !is_empty {
            self.open.push(name);
        }
        (self.open.len() <= DEPTH_MAX).then_some(())
    }
}

/// Where the tag ends: a `>` within the quotes of an attribute is none.
fn tag_end(text: &str) -> Option<usize> {
    let mut quote = None;
    for (at, byte) in text.bytes().enumerate() {
        match (quote, byte) {
            (None, b'>') => return Some(at),
            (None, b'<') => return None,
            (None, b'"' | b'\'') => quote = Some(byte),
            (Some(open), byte) if open == byte => quote = None,
            _ => {}
        }
    }
    None
}

/// XML's own rule but for letters beyond ASCII, of which any will do.
fn is_name(name: &str) -> bool {
    let begins = |c: char| c.is_ascii_alphabetic() || c == '_' || (!c.is_ascii() && !c.is_control());
    name.starts_with(begins)
        && name
            .chars()
            .all(|c| begins(c) || c.is_ascii_digit() || matches!(c, '-' | '.'))
}

fn local(name: &str) -> &str {
    name.rsplit(':').next().unwrap_or(name)
}

/// `bytes 0-99/1000`: the bytes that came, and of how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentRange {
    pub first: u64,
    pub last: u64,
    /// None where the server does not tell.
    pub total: Option<u64>,
}

impl ContentRange {
    /// RFC 9110, 14.4; None for anything else, also for a range that contradicts itself.
    pub fn parse(text: &str) -> Option<Self> {
        let (unit, rest) = text.trim().split_once(' ')?;
        let (range, total) = rest.trim_start().split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let first = number(first)?;
        let last = number(last)?;
        let total = if total == "*" { None } else { Some(number(total)?) };
        let holds = first <= last && last < u64::MAX && total.is_none_or(|total| last < total);
        (unit.eq_ignore_ascii_case("bytes") && holds).then_some(Self { first, last, total })
    }

    pub fn length(self) -> u64 {
        self.last - self.first + 1
    }
}

impl fmt::Display for ContentRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bytes {}-{}", self.first, self.last)
    }
}

/// Digits and nothing else: `parse` alone would take a sign too.
fn number(text: &str) -> Option<u64> {
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())
        .flatten()
}

/// What an answer to a ranged GET brings, if it is one to the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ranged {
    /// The bytes that were asked for.
    Right,
    /// The object has another size than it should have.
    OtherSize(u64),
    /// Not what was asked for: which, in words.
    Wrong(&'static str),
}

/// Judges the head of an answer to a request for `len` bytes from `offset` on of an object of `size` bytes. `body` is the
/// length that the body announces.
pub fn evaluate_range(
    status: u16,
    content_range: Option<&str>,
    body: u64,
    (offset, len): (u64, u64),
    size: Option<u64>,
) -> Ranged {
    if status == 200 && content_range.is_none() {
        // RFC 9110, 14.2: a server may ignore a range. Only one that is all of the object is answered so.
        return match size {
            Some(size) if size != body => Ranged::OtherSize(body),
            _ if offset == 0 && body == len => Ranged::Right,
            _ => Ranged::Wrong("the whole object came for a range of it"),
        };
    }

    if status != 206 {
        return Ranged::Wrong("a range is answered by status 206");
    }
    let Some(text) = content_range else {
        return Ranged::Wrong("it does not say which bytes came");
    };
    let Some(range) = ContentRange::parse(text) else {
        return Ranged::Wrong("its Content-Range cannot be read");
    };
    match (range.total, size) {
        (Some(total), Some(size)) if total != size => Ranged::OtherSize(total),
        _ if range.first != offset => Ranged::Wrong("it begins elsewhere"),
        _ if range.length() != len => Ranged::Wrong("it has another length"),
        _ if range.length() != body => Ranged::Wrong("Content-Range and the length of the body differ"),
        _ => Ranged::Right,
    }
}

/// What the fuzzer and the replay of its corpus hold the evaluation of documents to.
#[doc(hidden)]
pub fn hold_documents_to_rules(bytes: &[u8]) {
    let Form::Whole(root) = Form::of(bytes) else { return };
    assert!(!root.is_empty() && !root.contains(['<', '>']), "{root:?}");
    // A whole document ends with the end of a tag; without it, it is none.
    let end = bytes.iter().rposition(|byte| *byte == b'>').unwrap_or_default();
    assert!(!matches!(
        Form::of(bytes.get(..end).unwrap_or_default()),
        Form::Whole(_)
    ));
}

/// What the fuzzer and the replay of its corpus hold the evaluation of ranges to: the first line is Content-Range.
#[doc(hidden)]
pub fn hold_ranges_to_rules(text: &str) {
    let Some(range) = ContentRange::parse(text) else { return };
    assert!(
        range.first <= range.last && range.total.is_none_or(|total| range.last < total),
        "{range:?}"
    );
    let wanted = (range.first, range.length());
    assert_eq!(
        evaluate_range(206, Some(text), range.length(), wanted, range.total),
        Ranged::Right
    );
    assert_ne!(
        evaluate_range(206, Some(text), range.length() - 1, wanted, range.total),
        Ranged::Right
    );
    assert_ne!(
        evaluate_range(
            206,
            Some(text),
            range.length(),
            (range.first + 1, range.length()),
            range.total
        ),
        Ranged::Right
    );
    assert_ne!(
        evaluate_range(200, Some(text), range.length(), wanted, range.total),
        Ranged::Right
    );
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
