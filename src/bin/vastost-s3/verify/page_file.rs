//! The file of `--html`: its draft is there before the audit begins, so that hours of reading do not end at a folder that
//! cannot be written to.

use std::error::Error;
use std::io::Write;
use std::path::Path;

use super::resume::regular;
use crate::draft::Draft;

const MODE: u32 = 0o644;

pub struct PageFile {
    name: String,
    draft: Draft,
}

impl PageFile {
    pub fn create(file: &Path) -> Result<Self, Box<dyn Error>> {
        let name = file.display().to_string();
        let draft = Draft::create(&regular(file)?, MODE).map_err(|error| format!("write {name}: {error}"))?;
        Ok(Self { name, draft })
    }

    pub fn write(self, page: &str) -> Result<(), Box<dyn Error>> {
        let Self { name, draft } = self;
        let written = draft.file().and_then(|mut file| file.write_all(page.as_bytes()));
        let placed = written.and_then(|()| draft.replace());
        placed.map(drop).map_err(|error| format!("write {name}: {error}").into())
    }
}
