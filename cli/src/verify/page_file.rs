//! The file of `--html`: its draft is created before the audit begins, so that an unwritable folder is found before
//! hours of reading.

use std::error::Error;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use crate::draft::{Draft, regular};

const MODE: u32 = 0o644;
/// What every page begins with.
const PAGE_BEGINS: &[u8] = b"<!doctype html>";

pub struct PageFile {
    name: String,
    draft: Draft,
}

impl PageFile {
    /// `inputs` are the files that the page is made from. An existing file that is not a page, or is an input, is not
    /// replaced.
    pub fn create(file: &Path, inputs: &[&Path]) -> Result<Self, Box<dyn Error>> {
        let name = file.display().to_string();
        let target = regular(file)?;
        let is_input = |input: &&Path| input.canonicalize().is_ok_and(|input| input == target);
        if inputs.iter().any(is_input) {
            let why = "is one of the files that the page is made from";
            return Err(format!("{name} {why}: name another one for --html").into());
        }
        if !is_page_or_empty(&target).map_err(|error| format!("read {name}: {error}"))? {
            return Err(format!("{name} is there and is no page of an audit: name another file for --html").into());
        }
        let draft = Draft::create(&target, MODE).map_err(|error| format!("write {name}: {error}"))?;
        Ok(Self { name, draft })
    }

    pub fn write(self, page: &str) -> Result<(), Box<dyn Error>> {
        let Self { name, draft } = self;
        let written = draft.file().and_then(|mut file| file.write_all(page.as_bytes()));
        let placed = written.and_then(|()| draft.replace());
        placed
            .map(drop)
            .map_err(|error| format!("write {name}: {error}").into())
    }
}

/// True for what an earlier audit wrote, for an empty file, and where nothing is.
fn is_page_or_empty(file: &Path) -> io::Result<bool> {
    let file = match File::open(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        other => other?,
    };
    let mut begin = Vec::new();
    file.take(PAGE_BEGINS.len() as u64).read_to_end(&mut begin)?;
    Ok(begin.is_empty() || begin.eq_ignore_ascii_case(PAGE_BEGINS))
}
