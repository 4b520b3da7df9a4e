//! The log's file: appended to by several processes at once, NetBackup runs one for each job, and rotated by whoever
//! comes first.
//!
//! The file is opened for each write and never kept open, so every process follows a rotation, ours or logrotate's,
//! with its next line. Rotation is a rename under a lock (`<file>.lock`, the kernel's, gone with its holder): whoever
//! gets it looks again whether there is still something to do. A process that has just opened the file writes its line
//! into the renamed one; none is lost and none is split.
//!
//! Only a regular file of ours is written or renamed, see [`crate::files`]: not a device, and not what a link leads to.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use jiff::Timestamp;

use crate::config::Rotation;
use crate::files;

/// Where the log goes.
pub struct LogFile {
    path: PathBuf,
    rotate: Rotation,
    keep: usize,
}

impl LogFile {
    pub fn new(path: &Path, rotate: Rotation, keep: usize) -> Self {
        Self {
            path: path.to_path_buf(),
            rotate,
            keep,
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends whole lines, in one write.
    pub fn append(&self, lines: &[u8]) -> io::Result<()> {
        self.rotate_if_due(SystemTime::now());
        files::write(&mut files::append(&self.path, files::LOG_MODE)?, lines)
    }

    /// A rotation that does not succeed, in a folder that only another user may write to, leaves the file to grow.
    fn rotate_if_due(&self, now: SystemTime) {
        if !self.is_due(now) {
            return;
        }
        let Ok(lock) = files::append(&self.beside(".lock"), files::LOG_MODE) else {
            return;
        };
        // Taken: another process is at it.
        if lock.try_lock().is_err() {
            return;
        }
        if self.is_due(now) && files::is_ours(&self.path) && self.rename(now).is_ok() {
            self.prune();
        }
        // Unlocked and not just closed: a process that was forked meanwhile has the file open as well.
        let _ = lock.unlock();
    }

    fn is_due(&self, now: SystemTime) -> bool {
        let Some(metadata) = fs::symlink_metadata(&self.path).ok().filter(fs::Metadata::is_file) else {
            return false;
        };
        match self.rotate {
            Rotation::Never => false,
            Rotation::Size(bytes) => metadata.len() >= bytes,
            // Where the file system does not know when a file was made, the day of its last line has to do.
            Rotation::Daily => {
                let since = metadata.created().or_else(|_| metadata.modified());
                since.is_ok_and(|since| stamp(since).get(..8) < stamp(now).get(..8))
            }
        }
    }

    /// To `<file>.<time>`, with a number where there is one already.
    fn rename(&self, now: SystemTime) -> io::Result<()> {
        let plain = format!(".{}", stamp(now));
        let numbered = (1..1000).map(|number| format!("{plain}-{number:03}"));
        let free = [plain.clone()]
            .into_iter()
            .chain(numbered)
            .map(|name| self.beside(&name));
        let mut free = free.filter(|path| fs::symlink_metadata(path).is_err());
        fs::rename(&self.path, free.next().ok_or(io::ErrorKind::AlreadyExists)?)
    }

    /// Removes the oldest of the renamed files.
    fn prune(&self) {
        let mut old = self.rotated();
        old.sort();
        let excess = old.len().saturating_sub(self.keep);
        old.into_iter()
            .take(excess)
            .for_each(|path| drop(fs::remove_file(path)));
    }

    fn rotated(&self) -> Vec<PathBuf> {
        let folder = self
            .path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        let start = format!("{}.", self.path.file_name().unwrap_or_default().to_string_lossy());
        let is_stamp = |text: &str| {
            let (time, rest) = text.split_at_checked(16).unwrap_or_default();
            let number = rest
                .strip_prefix('-')
                .is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()));
            let digits = time.bytes().filter(u8::is_ascii_digit).count();
            digits == 14 && time.ends_with('Z') && (rest.is_empty() || number)
        };

        let paths = fs::read_dir(folder)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path());
        let is_ours = |path: &PathBuf| {
            let name = path.file_name().and_then(|name| name.to_str());
            name.and_then(|name| name.strip_prefix(&start)).is_some_and(is_stamp)
        };
        paths.filter(is_ours).collect()
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(suffix);
        name.into()
    }
}

/// `20261124T000003Z`
fn stamp(time: SystemTime) -> String {
    let time = Timestamp::try_from(time).unwrap_or(Timestamp::UNIX_EPOCH);
    time.strftime("%Y%m%dT%H%M%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn log(folder: &Path, rotate: Rotation, keep: usize) -> LogFile {
        LogFile::new(&folder.join("vastost.log"), rotate, keep)
    }

    #[test]
    fn a_new_day_begins_a_new_file() {
        let folder = tempfile::tempdir().unwrap();
        let log = log(folder.path(), Rotation::Daily, 14);
        log.append(b"today\n").unwrap();
        log.rotate_if_due(SystemTime::now());
        assert!(log.rotated().is_empty());
        log.rotate_if_due(SystemTime::now() + Duration::from_secs(86_400));
        log.rotate_if_due(SystemTime::now() + Duration::from_secs(86_400));
        log.append(b"tomorrow\n").unwrap();
        let old = log.rotated();
        assert_eq!(old.len(), 1, "{old:?}");
        assert_eq!(fs::read_to_string(&old[0]).unwrap(), "today\n");
        assert_eq!(fs::read_to_string(&log.path).unwrap(), "tomorrow\n");
    }

    #[test]
    fn writers_at_once_lose_no_line_when_the_file_is_rotated_under_them() {
        let folder = tempfile::tempdir().unwrap();
        // Far more than a few files: whoever is interrupted with the lock lets the others write on in a full one.
        std::thread::scope(|scope| {
            for writer in 0..4 {
                let log = log(folder.path(), Rotation::Size(2_000), 1_000);
                scope.spawn(move || {
                    for line in 0..2_500 {
                        log.append(format!("{writer} {line}\n").as_bytes()).unwrap();
                    }
                });
            }
        });
        let log = log(folder.path(), Rotation::Size(2_000), 1_000);
        let mut files = log.rotated();
        assert!(files.len() > 3, "{files:?}");
        files.push(log.path);
        let texts: Vec<_> = files.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
        let mut lines: Vec<_> = texts.iter().flat_map(|text| text.lines()).collect();
        lines.sort_unstable();
        lines.dedup();
        assert_eq!(lines.len(), 10_000);
    }

    #[test]
    fn neither_a_link_nor_a_device_is_written_or_renamed() {
        let folder = tempfile::tempdir().unwrap();
        let other = folder.path().join("other");
        let link = folder.path().join("vastost.log");
        fs::write(&other, "of somebody else\n").unwrap();
        std::os::unix::fs::symlink(&other, &link).unwrap();
        let log = log(folder.path(), Rotation::Size(1), 2);
        assert!(
            log.append(b"line\n")
                .unwrap_err()
                .to_string()
                .contains("a symbolic link")
        );
        assert_eq!(fs::read_to_string(&other).unwrap(), "of somebody else\n");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink() && log.rotated().is_empty());
        let device = LogFile::new(Path::new("/dev/full"), Rotation::Size(1), 2);
        assert!(device.append(b"line\n").unwrap_err().to_string().contains("a device"));
    }

    #[test]
    fn only_so_many_old_files_stay_and_nothing_else_is_touched() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(
            folder.path().join("vastost.log.20260101T000000Z.gz"),
            "by an administrator",
        )
        .unwrap();
        let log = log(folder.path(), Rotation::Size(1), 2);
        for _ in 0..6 {
            log.append(b"line\n").unwrap();
        }
        assert_eq!(log.rotated().len(), 2);
        assert!(folder.path().join("vastost.log.20260101T000000Z.gz").exists());
    }
}
