//! Files: written beside their place and renamed, so that each is there whole or not at all.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Bytes of one file.
#[derive(Clone, Debug)]
pub struct Span {
    pub path: PathBuf,
    pub offset: u64,
    pub len: u64,
}

/// A file of `data/` that nothing names yet; it goes with this value unless it is kept.
pub struct NewFile {
    path: PathBuf,
    kept: bool,
}

impl NewFile {
    /// Nothing is made yet.
    pub fn at(path: PathBuf) -> Self {
        Self { path, kept: false }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn name(&self) -> String {
        self.path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default()
    }

    pub fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.kept {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Writes `value` as `tmp` and renames that to `path`.
pub fn write_json<T: Serialize>(tmp: &Path, path: &Path, value: &T) -> io::Result<()> {
    fs::write(tmp, serde_json::to_vec(value)?)
        .and_then(|()| fs::rename(tmp, path))
        .inspect_err(|_| {
            let _ = fs::remove_file(tmp);
        })
}

/// None when there is no such file.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    let text = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    serde_json::from_slice(&text)
        .map(Some)
        .map_err(|e| io::Error::other(format!("{}: {e}", path.display())))
}

/// The names in a folder; none when there is none.
pub fn names(folder: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    entries
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect()
}

/// Appends a whole span to `to`, which has the room.
pub fn read_span(span: &Span, to: &mut Vec<u8>) -> io::Result<()> {
    let mut file = File::open(&span.path)?;
    file.seek(SeekFrom::Start(span.offset))?;
    // Takes the room as it is: a resized buffer would be cleared first.
    let read = file.take(span.len).read_to_end(to)?;
    if read as u64 == span.len {
        Ok(())
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

/// The same bytes under a second name; a copy where the file system has no links.
pub fn share(from: &Path, to: &Path) -> io::Result<()> {
    fs::hard_link(from, to).or_else(|_| fs::copy(from, to).map(drop))
}
