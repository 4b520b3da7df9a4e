//! The lines of a list one after the other: fragments, each with the image that the line before them names.
//!
//! A list that was cut is refused: it ends within a line, or between an image and its fragments. Limit: lines of
//! [`LINE_MAX`] bytes. How it fails: with file, line and reason; nothing comes after the first error.

use std::io::{BufRead, Read};

use super::line::{Fragment, Image, Skipped, fields, fragment, image, unknown};
use crate::error::{Error, Kind, Result, ResultExt};

/// The longest line that is read; real ones have a few hundred bytes.
pub const LINE_MAX: usize = 64 << 10;

/// Reads fragments line by line; ends after the first error.
pub struct Fragments<R> {
    reader: R,
    file: String,
    line_number: u64,
    line: Vec<u8>,
    image: Option<Image>,
    /// The last image has no fragment yet.
    is_bare: bool,
    /// The last line has no end.
    is_cut: bool,
    skipped: Skipped,
    ended: bool,
}

impl<R: BufRead> Fragments<R> {
    /// `file` is what messages call the input.
    pub fn new(reader: R, file: &str) -> Self {
        Self {
            reader,
            file: file.into(),
            line_number: 0,
            line: Vec::new(),
            image: None,
            is_bare: false,
            is_cut: false,
            skipped: Skipped::default(),
            ended: false,
        }
    }

    /// Refuses a list that was cut: it ends within a line, or between an image and its fragments.
    pub fn check_end(&self) -> Result<()> {
        let whole = "take the list again";
        match &self.image {
            _ if self.is_cut => Err(self.bad(&format!("the list ends within this line, so it is not whole: {whole}"))),
            Some(image) if self.is_bare => {
                let image = String::from_utf8_lossy(&image.backup_id);
                Err(self.bad(&format!(
                    "the list ends before the fragments of {image}, so it is not whole: {whole}"
                )))
            }
            _ => Ok(()),
        }
    }

    /// What was passed over so far; nothing is counted as another volume's but basic disks.
    pub fn skipped(&self) -> Skipped {
        self.skipped
    }

    fn next_fragment(&mut self) -> Result<Option<Fragment>> {
        while self.read_line()? {
            let fields = fields(&self.line).map_err(|why| self.bad(why))?;
            let kind = fields.first().map_or(&b""[..], Vec::as_slice);
            match kind {
                b"" | b"HISTO" => {}
                b"IMAGE" => {
                    self.image = Some(image(&fields).map_err(|why| self.bad(&why))?);
                    self.is_bare = true;
                }
                b"FRAG" => {
                    self.is_bare = false;
                    let Some(image) = &self.image else {
                        return Err(self.bad("FRAG before the first IMAGE"));
                    };
                    let parsed = fragment(&fields, image, &mut self.skipped);
                    if let Some(fragment) = parsed.map_err(|why| self.bad(&why))? {
                        return Ok(Some(fragment));
                    }
                }
                other => return Err(self.bad(&unknown(other, self.line_number))),
            }
        }

        Ok(None)
    }

    /// The next line without its end; false at the end of the file.
    fn read_line(&mut self) -> Result<bool> {
        self.line.clear();
        let mut limited = (&mut self.reader).take(LINE_MAX as u64 + 1);
        let read = limited.read_until(b'\n', &mut self.line);
        let read = read.or_kind(Kind::Io, || {
            format!("read line {} of {}", self.line_number + 1, self.file)
        })?;
        if read == 0 {
            return Ok(false);
        }

        self.line_number += 1;
        self.is_cut = self.line.last() != Some(&b'\n');

        if self.line.len() > LINE_MAX {
            return Err(self.bad(&format!("the line is longer than {LINE_MAX} bytes")));
        }

        Ok(true)
    }

    pub fn bad(&self, why: &str) -> Error {
        let what = format!("{}: line {}: {why}", self.file, self.line_number);
        Error::new(Kind::InvalidArgument, what)
    }
}

impl<R: BufRead> Iterator for Fragments<R> {
    type Item = Result<Fragment>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = self.next_fragment().transpose();
        self.ended = !matches!(next, Some(Ok(_)));
        next
    }
}
