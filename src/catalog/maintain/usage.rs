//! How much an LSU holds, as the processes of this host count it.
//!
//! NetBackup polls capacity from short-lived processes that must answer at once, so a poll never lists the bucket: it
//! reads a small file in `state_dir`. Every completed and deleted image adjusts the file, under a lock that other
//! processes honour. The figure starts at what this host has seen; [`super::recount`] sets it right.

use std::fs::{File, TryLockError};
use std::io::Seek;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::{files, log};

/// Two numbers are far shorter; anything longer is no file of ours.
const SIZE_MAX: u64 = 64 << 10;
/// Longest wait for another process to let go of the file: a figure is not worth a backup's time.
const LOCK_WAIT: Duration = Duration::from_secs(2);

/// The figures of one LSU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    pub bytes: u64,
    pub images: u64,
}

/// The file of one LSU.
#[derive(Clone, Debug)]
pub struct UsageFile {
    path: PathBuf,
}

impl UsageFile {
    pub fn new(state_dir: &Path, server: &str, lsu: &str) -> Self {
        // A dash in the server's name would let two LSUs of two servers share a file.
        let server = server.replace('-', "=");
        Self {
            path: state_dir.join(format!("usage-{server}-{lsu}.json")),
        }
    }

    /// The figures, or None when this host has never counted.
    pub fn read(&self) -> Option<Usage> {
        match self.try_read() {
            Ok(usage) => usage,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => {
                self.complain("read", &error);
                None
            }
        }
    }

    fn try_read(&self) -> std::io::Result<Option<Usage>> {
        let file = files::open_to_read(&self.path)?;
        read_from(&mut Locked::take(file, File::try_lock_shared)?.0)
    }

    /// Counts one image in.
    pub fn added(&self, bytes: u64) {
        self.adjust(|usage| {
            let usage = usage.unwrap_or_default();
            Some(Usage {
                bytes: usage.bytes.saturating_add(bytes),
                images: usage.images.saturating_add(1),
            })
        });
    }

    /// Counts one image out; where none was counted in, that tells nothing.
    pub fn removed(&self, bytes: u64) {
        self.adjust(|usage| {
            let usage = usage?;
            Some(Usage {
                bytes: usage.bytes.saturating_sub(bytes),
                images: usage.images.saturating_sub(1),
            })
        });
    }

    /// Takes over the figures of a recount that began when the file had `before`: what was counted in and out since then
    /// stays counted. An image that ended while the recount ran may be in both, until the next one.
    pub fn counted(&self, before: Usage, recount: Usage) {
        let carry = |then: u64, now: u64, counted: u64| {
            (counted + now.saturating_sub(then)).saturating_sub(then.saturating_sub(now))
        };
        self.adjust(|now| {
            let now = now.unwrap_or_default();
            Some(Usage {
                bytes: carry(before.bytes, now.bytes, recount.bytes),
                images: carry(before.images, now.images, recount.images),
            })
        });
    }

    /// A figure that cannot be kept must not fail a backup: the log and the host are told, and it goes on.
    fn adjust(&self, change: impl FnOnce(Option<Usage>) -> Option<Usage>) {
        if let Err(error) = self.try_adjust(change) {
            self.complain("keep", &error);
        }
    }

    fn complain(&self, verb: &str, error: &std::io::Error) {
        let text = format!("{verb} usage in {}: {error}", self.path.display());
        tracing::warn!("{text}");
        log::tell_host(&text);
    }

    fn try_adjust(&self, change: impl FnOnce(Option<Usage>) -> Option<Usage>) -> std::io::Result<()> {
        if let Some(folder) = self.path.parent() {
            files::make_folder(folder)?;
        }
        let mut locked = Locked::take(files::update(&self.path, files::STATE_MODE)?, File::try_lock)?;
        let file = &mut locked.0;
        let Some(usage) = change(read_from(file)?) else {
            return Ok(());
        };
        // Written over and then cut: a crash between the two leaves the new figures with an old tail.
        let text = serde_json::to_vec(&usage)?;
        file.rewind()?;
        files::write(file, &text)?;
        file.set_len(text.len() as u64)
    }
}

/// A locked file. It is unlocked and not just closed: a process that was forked meanwhile has it open as well, which
/// would keep the lock, and wait for itself.
struct Locked(File);

impl Locked {
    fn take(file: File, try_lock: impl Fn(&File) -> Result<(), TryLockError>) -> std::io::Result<Self> {
        let deadline = Instant::now() + LOCK_WAIT;
        loop {
            match try_lock(&file) {
                Ok(()) => return Ok(Self(file)),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(2));
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        if let Err(error) = self.0.unlock() {
            tracing::warn!("unlock a usage file: {error}");
        }
    }
}

/// None for a text that is no figure: it is written anew.
fn read_from(file: &mut File) -> std::io::Result<Option<Usage>> {
    let text = files::read_up_to(file, SIZE_MAX)?;
    Ok(serde_json::Deserializer::from_slice(&text)
        .into_iter()
        .next()
        .and_then(Result::ok))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_counted_in_and_out_by_many_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = UsageFile::new(&folder.path().join("new"), "v", "l");
        file.removed(3);
        assert_eq!(file.read(), None);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..50).for_each(|_| file.added(3)));
            }
        });
        file.removed(3);
        assert_eq!(
            file.read(),
            Some(Usage {
                bytes: 3 * 399,
                images: 399
            })
        );
        let before = file.read().unwrap();
        file.added(7);
        file.counted(
            before,
            Usage {
                bytes: 1_000,
                images: 10,
            },
        );
        assert_eq!(
            file.read(),
            Some(Usage {
                bytes: 1_007,
                images: 11
            })
        );
        let before = file.read().unwrap();
        file.removed(7);
        file.counted(
            before,
            Usage {
                bytes: 1_000,
                images: 10,
            },
        );
        assert_eq!(file.read(), Some(Usage { bytes: 993, images: 9 }));
        (0..500).for_each(|_| file.removed(3));
        assert_eq!(file.read(), Some(Usage::default()));
    }

    #[test]
    fn no_two_lsus_share_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = |server, lsu| UsageFile::new(folder.path(), server, lsu);
        file("vast", "dr-nightly").added(5);
        assert_eq!(
            (
                file("vast", "dr-nightly").read().is_some(),
                file("vast-dr", "nightly").read()
            ),
            (true, None)
        );
    }

    #[test]
    fn a_file_that_is_not_ours_is_neither_read_nor_written() {
        let folder = tempfile::tempdir().unwrap();
        let other = folder.path().join("other");
        std::fs::write(&other, "of somebody else").unwrap();
        let usage = UsageFile::new(folder.path(), "v", "l");
        std::os::unix::fs::symlink(&other, &usage.path).unwrap();
        usage.added(5);
        assert_eq!(
            (usage.read(), std::fs::read_to_string(&other).unwrap().as_str()),
            (None, "of somebody else")
        );
        std::fs::remove_file(&usage.path).unwrap();
        let long = File::create(&usage.path).unwrap();
        long.set_len(3 << 30).unwrap();
        usage.added(5);
        assert_eq!((usage.read(), long.metadata().unwrap().len()), (None, 3 << 30));
    }

    #[test]
    fn a_lock_that_somebody_keeps_costs_a_bounded_wait_and_no_failure() {
        let folder = tempfile::tempdir().unwrap();
        let usage = UsageFile::new(folder.path(), "v", "l");
        usage.added(5);
        let kept = File::open(&usage.path).unwrap();
        kept.lock().unwrap();
        usage.added(5);
        assert_eq!(usage.read(), None);
        kept.unlock().unwrap();
        assert_eq!(usage.read(), Some(Usage { bytes: 5, images: 1 }));
    }
}
