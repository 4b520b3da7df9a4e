//! How names are spelled: as people type and read them, and escaped as in object keys.

use std::error::Error;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use vastost::catalog::format::escape::{Name, escape, unescape};
use vastost::clean::is_unfit;

/// A basename for people, as every command accepts it: plain, or escaped if a terminal could not show it or it would be
/// read as another name.
pub fn shown(basename: &[u8]) -> String {
    match std::str::from_utf8(basename) {
        Ok(text) if !text.chars().any(is_unfit) && typed(basename) == basename => text.to_owned(),
        _ => escape(basename),
    }
}

/// An image for people, as every command accepts it.
pub fn full_name(lsu: &str, basename: &[u8], date: u64) -> String {
    format!("{lsu}/{}:{date}", shown(basename))
}

/// The bytes of a typed name: unescaped if it is an escaped form, else its own.
pub fn typed(text: &[u8]) -> Vec<u8> {
    std::str::from_utf8(text)
        .ok()
        .and_then(unescape)
        .unwrap_or_else(|| text.to_vec())
}

/// A name as it was typed.
pub fn to_name(text: &OsString) -> Name {
    Name::new(typed(text.as_bytes()))
}

/// The LSU and the rest of `LSU[/REST]`.
type Place<'a> = (String, Option<&'a [u8]>);

/// `LSU` and what follows the first slash, if there is one.
pub fn split(text: &OsStr) -> Result<Place<'_>, Box<dyn Error>> {
    let bytes = text.as_bytes();
    let (lsu, rest) = match bytes.iter().position(|byte| *byte == b'/') {
        Some(at) => (bytes.get(..at).unwrap_or_default(), bytes.get(at + 1..)),
        None => (bytes, None),
    };
    match std::str::from_utf8(lsu) {
        Ok(lsu) if !lsu.is_empty() => Ok((lsu.to_owned(), rest)),
        _ => Err(format!("{}: no LSU is named; images are named LSU/basename", show(text)).into()),
    }
}

pub fn show(text: &OsStr) -> String {
    format!("{:?}", text.to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_of_a_name_is_read_as_that_name() {
        let names: [&[u8]; 8] = [
            b"db01_1_C1_F1",
            b"a b/c",
            b"x=20y",
            b"x=y",
            b"evil\nmain/b:5",
            b".hidden",
            b"\xff=20",
            b"=3D",
        ];
        for name in names.into_iter().chain(["\u{202e}gpj".as_bytes(), "größer".as_bytes()]) {
            assert_eq!(typed(shown(name).as_bytes()), name);
            assert_eq!(typed(escape(name).as_bytes()), name);
        }
        assert_eq!(
            (shown(b"a b"), shown(b"x=20y"), shown(b"a\n")),
            ("a b".into(), "x=3D20y".into(), "a=0A".into())
        );
    }
}
