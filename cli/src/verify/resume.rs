//! The file of `--resume`: which audit it belongs to, its progress, and a lock.
//!
//! The file is locked while the audit runs. Each checkpoint is a new file that replaces the old one, so the machine may
//! stop at any moment; the new file is locked before it gets the name. Only a regular file is accepted: a device would
//! take checkpoints for ever.

use std::error::Error;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::libc::{O_NOFOLLOW, O_NONBLOCK};
use serde::{Deserialize, Serialize};
use vastost::catalog::audit::report::{Level, Selection};
use vastost::catalog::audit::run::Checkpoint;

use crate::draft::{Draft, regular};
use crate::output::complain;

/// The largest file that is read back.
pub const SIZE_MAX: u64 = 1 << 30;
const MODE: u32 = 0o644;
/// Checkpoints take at most one part in this many of the time.
const SHARE: u32 = 20;
/// How often another process may replace the file while it is being opened.
const TRIES: usize = 10;

/// The contents of the file.
#[derive(Serialize, Deserialize)]
pub struct State {
    pub schema: u32,
    pub server: String,
    pub level: Level,
    pub selection: Selection,
    pub lsus: Vec<String>,
    pub checkpoint: Checkpoint,
}

/// The file, ours while this value lives.
pub struct ResumeFile {
    /// As it was given.
    name: String,
    path: PathBuf,
    /// Locked.
    file: File,
    /// It has something to resume from; else it is removed with this value.
    is_noted: bool,
    not_before: Instant,
}

impl State {
    /// True when both belong to the same audit, at any progress.
    fn is_of(&self, other: &Self) -> bool {
        self.schema == other.schema
            && self.server == other.server
            && self.level == other.level
            && self.selection == other.selection
            && self.lsus == other.lsus
    }
}

impl ResumeFile {
    /// Opens or creates the file and locks it.
    pub fn open(file: &Path) -> Result<Self, Box<dyn Error>> {
        let name = file.display().to_string();
        for _ in 0..TRIES {
            let path = regular(file)?;
            let opened = open(&path).map_err(|error| format!("open {name}: {error}"))?;
            match opened.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    return Err(
                        format!("{name} is in use: another audit that is running notes its state there").into(),
                    );
                }
                Err(TryLockError::Error(error)) => {
                    complain(&format!(
                        "{name} cannot be locked ({error}): make sure that no other audit uses it"
                    ));
                }
            }
            // The previous holder of the lock may have replaced the file.
            if is_at(&opened, &path) {
                let len = opened
                    .metadata()
                    .map_err(|error| format!("open {name}: {error}"))?
                    .len();
                return Ok(Self {
                    name,
                    path,
                    file: opened,
                    is_noted: len > 0,
                    not_before: Instant::now(),
                });
            }
        }

        Err(format!("{name} is being replaced again and again by somebody else").into())
    }

    /// The saved state; None if there is none.
    pub fn load(&mut self, wanted: &State) -> Result<Option<State>, Box<dyn Error>> {
        let name = &self.name;
        let mut text = Vec::new();
        (&self.file)
            .take(SIZE_MAX + 1)
            .read_to_end(&mut text)
            .map_err(|error| format!("read {name}: {error}"))?;
        if text.len() as u64 > SIZE_MAX {
            return Err(format!("{name} has more than {SIZE_MAX} bytes, so it is no file of `verify --resume`").into());
        }
        if text.is_empty() {
            return Ok(None);
        }
        let saved: State = serde_json::from_slice(&text)
            .map_err(|error| format!("{name} is no file of `verify --resume`: {error}"))?;
        if !saved.is_of(wanted) {
            return Err(
                format!("{name} is of another audit: of other LSUs, another level or another selection").into(),
            );
        }
        Ok(Some(saved))
    }

    /// True when enough time has passed since the last checkpoint, for its cost.
    pub fn is_due(&self) -> bool {
        Instant::now() >= self.not_before
    }

    /// Saves the progress of the audit.
    pub fn save(&mut self, state: &State) -> Result<(), Box<dyn Error>> {
        let began = Instant::now();
        let saved = self
            .replace(state)
            .map_err(|error| format!("write {}: {error}", self.name).into());
        self.not_before = Instant::now() + (began.elapsed() * SHARE).min(Duration::from_secs(600));
        saved
    }

    fn replace(&mut self, state: &State) -> io::Result<()> {
        if !is_at(&self.file, &self.path) {
            return Err(io::Error::other("somebody else has replaced or removed the file"));
        }
        let draft = Draft::create(&self.path, MODE)?;
        // If files cannot be locked, that was reported before.
        let _ = draft.file()?.try_lock();
        draft.file()?.write_all(&serde_json::to_vec(state)?)?;
        self.file = draft.replace()?;
        self.is_noted = true;
        Ok(())
    }

    /// Whether there is something to resume from, and where.
    pub fn noted(&self) -> Option<&str> {
        self.is_noted.then_some(self.name.as_str())
    }

    /// The audit is done, and its report has been delivered.
    pub fn remove(mut self) -> Result<(), Box<dyn Error>> {
        // Never a file of another process.
        self.is_noted = true;
        if !is_at(&self.file, &self.path) {
            return Ok(());
        }
        std::fs::remove_file(&self.path).map_err(|error| format!("remove {}: {error}", self.name).into())
    }
}

impl Drop for ResumeFile {
    fn drop(&mut self) {
        if !self.is_noted && is_at(&self.file, &self.path) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    // It was checked a moment ago and may have been replaced since: do not wait for a pipe, do not follow a link.
    options
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(MODE)
        .custom_flags(O_NOFOLLOW | O_NONBLOCK);
    let file = options.open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::other("a regular file is needed"))
    }
}

/// True when the path still names that file.
fn is_at(file: &File, path: &Path) -> bool {
    let place = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
    let ours = file.metadata().map(place);
    let there = path.symlink_metadata().map(place);
    matches!((ours, there), (Ok(ours), Ok(there)) if ours == there)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> State {
        let server = "vast1".into();
        let lsus = vec!["nightly".into()];
        State {
            schema: 1,
            server,
            level: Level::Default,
            selection: Selection::default(),
            lsus,
            checkpoint: Checkpoint::default(),
        }
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect()
    }

    #[test]
    fn one_audit_at_a_time_has_the_file_and_its_neighbours_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("st.1");
        let neighbour = folder.path().join("st.tmp");
        std::fs::write(&neighbour, "precious").unwrap();
        let mut first = ResumeFile::open(&file).unwrap();
        assert!(first.load(&state()).unwrap().is_none());
        let refused = || ResumeFile::open(&file).err().expect("refused").to_string();
        assert!(refused().contains("in use"));
        for _ in 0..2 {
            first.save(&state()).unwrap();
            assert!(refused().contains("in use"));
        }
        drop(first);
        let mut second = ResumeFile::open(&file).unwrap();
        assert!(second.load(&state()).unwrap().is_some());
        assert!(second.noted().is_some());
        second.remove().unwrap();
        assert_eq!(names(folder.path()), ["st.tmp"]);
        assert_eq!(std::fs::read(&neighbour).unwrap(), b"precious");
    }

    #[test]
    fn a_file_that_nothing_was_noted_in_goes_and_one_of_somebody_else_stays() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("state");
        drop(ResumeFile::open(&file).unwrap());
        assert_eq!(names(folder.path()), Vec::<String>::new());
        let mut ours = ResumeFile::open(&file).unwrap();
        std::fs::remove_file(&file).unwrap();
        std::fs::write(&file, "theirs").unwrap();
        assert!(ours.save(&state()).is_err());
        drop(ours);
        assert_eq!(std::fs::read(&file).unwrap(), b"theirs");
    }

    #[test]
    fn devices_pipes_folders_and_dead_links_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("nowhere", &link).unwrap();
        let pipe = folder.path().join("pipe");
        assert!(
            std::process::Command::new("mkfifo")
                .arg(&pipe)
                .status()
                .unwrap()
                .success()
        );
        for refused in [Path::new("/dev/full"), folder.path(), &link, &pipe] {
            assert!(ResumeFile::open(refused).is_err(), "{refused:?}");
        }
    }
}
