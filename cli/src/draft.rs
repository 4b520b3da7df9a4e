//! A file that is written under a temporary name in its folder and gets its real name only when it is whole. The
//! temporary name is new and random, so no existing file is touched.

use std::error::Error;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The draft's name begins with this many bytes of the real name: together they stay below 255.
const NAME_MAX: usize = 180;

/// A file that is not whole yet; removed when dropped.
pub struct Draft {
    path: PathBuf,
    target: PathBuf,
    file: Option<File>,
}

impl Draft {
    /// Creates the draft of `target`.
    pub fn create(target: &Path, mode: u32) -> io::Result<Self> {
        let name = target.file_name().ok_or_else(|| io::Error::other("it names no file"))?;
        let name = name.as_bytes().get(..NAME_MAX).unwrap_or(name.as_bytes());
        let mut draft = std::ffi::OsString::from(".");
        draft.push(std::ffi::OsStr::from_bytes(name));
        draft.push(format!(".{}.part", uuid::Uuid::new_v4().simple()));
        let path = target.with_file_name(draft);
        // Readable too: whoever locks the file may read it later.
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&path)?;
        Ok(Self {
            path,
            target: target.into(),
            file: Some(file),
        })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn file(&self) -> io::Result<&File> {
        self.file
            .as_ref()
            .ok_or_else(|| io::Error::other("the draft is closed"))
    }

    /// Puts the file in its place, replacing a regular file or a link.
    pub fn replace(mut self) -> io::Result<File> {
        let stands = self.target.symlink_metadata();
        if stands.is_ok_and(|found| !found.is_file() && !found.is_symlink()) {
            return Err(io::Error::other("no regular file stands there"));
        }
        let file = self.close()?;
        let renamed = std::fs::rename(&self.path, &self.target);
        if renamed.is_err() {
            let _ = std::fs::remove_file(&self.path);
        }
        renamed.map(|()| file)
    }

    /// Puts the file in its place; fails if something has appeared there meanwhile.
    pub fn place_new(mut self) -> io::Result<File> {
        let file = self.close()?;
        // A hard link, unlike a rename, never replaces a file; not every file system has them.
        let placed = match std::fs::hard_link(&self.path, &self.target) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists && self.target.symlink_metadata().is_err() => {
                std::fs::rename(&self.path, &self.target)
            }
            linked => linked,
        };
        let _ = std::fs::remove_file(&self.path);
        placed.map(|()| file)
    }

    /// Syncs the file, which is no draft any more; removes it when that fails.
    fn close(&mut self) -> io::Result<File> {
        let file = self
            .file
            .take()
            .ok_or_else(|| io::Error::other("the draft is closed"))?;
        let synced = file.sync_all();
        if synced.is_err() {
            let _ = std::fs::remove_file(&self.path);
        }
        synced.map(|()| file)
    }
}

/// The file behind all symbolic links; refuses anything but a regular file.
pub fn regular(file: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let name = file.display();
    match std::fs::metadata(file) {
        Ok(found) if found.is_file() => Ok(file.canonicalize().map_err(|error| format!("open {name}: {error}"))?),
        Ok(found) if found.is_dir() => Err(format!("{name} is a folder; a file is needed").into()),
        Ok(_) => Err(format!("{name} is a device or a pipe; a regular file is needed").into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => match file.symlink_metadata() {
            Ok(_) => Err(format!("{name} is a symbolic link that leads nowhere").into()),
            Err(_) => Ok(file.into()),
        },
        Err(error) => Err(format!("open {name}: {error}").into()),
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if self.file.is_some() {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn names(folder: &Path) -> usize {
        std::fs::read_dir(folder).unwrap().count()
    }

    #[test]
    fn a_draft_touches_no_other_file_and_leaves_none() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("x".repeat(255));
        let drafts = [
            Draft::create(&target, 0o644).unwrap(),
            Draft::create(&target, 0o644).unwrap(),
        ];
        assert_eq!(names(folder.path()), 2);
        let [first, second] = drafts;
        drop(first);
        assert_eq!(names(folder.path()), 1);
        second.file().unwrap().write_all(b"whole").unwrap();
        second.place_new().unwrap();
        assert_eq!(
            (std::fs::read(&target).unwrap(), names(folder.path())),
            (b"whole".to_vec(), 1)
        );
        assert!(Draft::create(&target, 0o644).unwrap().place_new().is_err());
        assert_eq!(
            (std::fs::read(&target).unwrap(), names(folder.path())),
            (b"whole".to_vec(), 1)
        );
        Draft::create(&target, 0o644).unwrap().replace().unwrap();
        assert_eq!((std::fs::read(&target).unwrap(), names(folder.path())), (Vec::new(), 1));
        // It may have become a device.
        std::fs::remove_file(&target).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(folder.path().join("socket")).unwrap();
        assert!(
            Draft::create(&folder.path().join("socket"), 0o644)
                .unwrap()
                .replace()
                .is_err()
        );
        assert_eq!(names(folder.path()), 1);
    }
}
