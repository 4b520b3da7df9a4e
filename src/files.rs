//! Files of ours on the host: state, log, metrics; and how those that an administrator keeps for us are read.
//!
//! The plug-in runs as root in folders that other users may write to, under any umask. So a file of ours is opened only
//! when it is a regular file with one name, of this user, of root, or of the folder's owner, who could replace it anyway:
//! a symbolic link, a FIFO or a device in its place is refused before it is opened, and nothing here can wait for another
//! process to open its end. What is read is bounded. A new file comes into being under its own mode, whatever the umask;
//! made by root in a folder of another user it belongs to that user, so that whoever comes first does not shut the others
//! out. `docs/developer/architecture.md` lists the files.
//!
//! How it fails: an `io::Error` whose text says what is wrong with the file; the caller adds the path.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use nix::libc;
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::geteuid;

/// State that every process of the host shares; it holds no secret.
pub const STATE_MODE: u32 = 0o644;
/// The log names images and clients.
pub const LOG_MODE: u32 = 0o640;
/// Folders that we make.
const FOLDER_MODE: u32 = 0o755;
/// Nothing that is opened follows a link, waits for another process, or becomes a terminal of ours.
const FLAGS: i32 = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
/// Other processes may make or remove the same file between two looks at it.
const TRIES: u32 = 16;

/// The whole of a file of ours; refused above `size_max` bytes.
pub fn read(path: &Path, size_max: u64) -> io::Result<Vec<u8>> {
    read_up_to(&mut open(path, OpenOptions::new().read(true))?, size_max)
}

/// The rest of an open file; refused above `size_max` bytes.
pub fn read_up_to(file: &mut File, size_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(size_max.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > size_max {
        return Err(refused(format!("it is longer than {size_max} bytes")));
    }
    Ok(bytes)
}

/// Opens a file of ours for appending; makes it when it is not there.
pub fn append(path: &Path, mode: u32) -> io::Result<File> {
    open_or_create(path, mode, OpenOptions::new().append(true))
}

/// Opens a file of ours for reading and writing in place; makes an empty one when it is not there.
pub fn update(path: &Path, mode: u32) -> io::Result<File> {
    open_or_create(path, mode, OpenOptions::new().read(true).write(true))
}

/// Opens a file of ours for reading.
pub fn open_to_read(path: &Path) -> io::Result<File> {
    open(path, OpenOptions::new().read(true))
}

/// Puts `bytes` in the place of a file of ours, so that a reader finds the old file or the new one, whole. It is drafted
/// beside it, in `<name>.<pid>-<number>.tmp`.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        // A rename would take away what is not ours.
        Ok(metadata) => check(&metadata, path)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let (draft, mut file) = create_draft(path, mode)?;
    let replaced = write(&mut file, bytes).and_then(|()| fs::rename(&draft, path));
    if replaced.is_err() {
        // The first error is the one to tell.
        let _ = fs::remove_file(&draft);
    }
    replaced
}

/// Writes to an open file of ours. Where a file may not grow any further (RLIMIT_FSIZE) the kernel also sends a signal that
/// ends a host which does not expect it: held back and taken here, all that is left is an error.
pub fn write(file: &mut File, bytes: &[u8]) -> io::Result<()> {
    let only = SigSet::from(Signal::SIGXFSZ);
    let mut before = only.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
    let written = file.write_all(bytes);
    let is_ours = !before.contains(Signal::SIGXFSZ);
    if is_ours
        && written
            .as_ref()
            .is_err_and(|error| error.raw_os_error() == Some(libc::EFBIG))
    {
        // None waits where the host ignores it.
        let taken = SignalFd::with_flags(&only, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
            .and_then(|signals| signals.read_signal());
        if taken.is_err() {
            // No descriptor is free: it must go on waiting.
            before.add(Signal::SIGXFSZ);
        }
    }
    let restored = before.thread_set_mask();
    written.and(restored.map_err(io::Error::from))
}

/// Makes a folder and those above it that are missing.
pub fn make_folder(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        make_folder(parent)?;
    }
    match DirBuilder::new().mode(FOLDER_MODE).create(path) {
        Ok(()) => {
            let flags = libc::O_DIRECTORY | libc::O_NOFOLLOW;
            let made = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
            made.set_permissions(Permissions::from_mode(FOLDER_MODE))
        }
        Err(_) if path.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

/// What is wrong with a file of ours, for `config check` and `doctor`; None when it can be used, or is not there yet.
pub fn fault(path: &Path) -> Option<String> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => return Some(error.to_string()),
    };
    if let Err(error) = check(&metadata, path) {
        return Some(error.to_string());
    }
    let owner = metadata.uid();
    let mode = metadata.mode() & 0o7777;
    if let Err(error) = OpenOptions::new().append(true).custom_flags(FLAGS).open(path) {
        return Some(format!(
            "it cannot be written: {error} (it belongs to user {owner}, mode {mode:04o})"
        ));
    }
    let of_folder = owner_of_folder(path).filter(|folder| *folder != owner && mode & 0o002 == 0);
    of_folder.filter(|folder| *folder != 0).map(|folder| {
        format!("it belongs to user {owner}, and user {folder}, who has the folder, may not write it (mode {mode:04o})")
    })
}

/// True for a file that may be renamed or removed as one of ours.
pub fn is_ours(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| check(&metadata, path).is_ok())
}

/// A file that an administrator keeps for us, with what [`distrust`] needs; a link to it is followed. Refused above
/// `size_max` bytes.
pub fn read_given(path: &Path, size_max: u64) -> io::Result<(Vec<u8>, Metadata)> {
    // Opening a device may already do something; a FIFO would be waited for.
    check_kind(&fs::metadata(path)?)?;
    let mut file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)?;
    let metadata = file.metadata()?;
    check_kind(&metadata)?;
    Ok((read_up_to(&mut file, size_max)?, metadata))
}

/// Why a file that decides what we do deserves no trust: somebody else can change it.
pub fn distrust(metadata: &Metadata) -> Option<String> {
    let owner = metadata.uid();
    let mode = metadata.mode() & 0o7777;
    if mode & 0o002 != 0 {
        return Some(format!(
            "every user can change it (mode {mode:04o}); take the right away with chmod o-w"
        ));
    }
    (owner != 0 && owner != geteuid().as_raw())
        .then(|| format!("it belongs to user {owner}, who can change it; give it to root or to this user"))
}

fn open_or_create(path: &Path, mode: u32, options: &mut OpenOptions) -> io::Result<File> {
    for _ in 0..TRIES {
        match open(path, options) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => return other,
        }
        match create(path, mode, options) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            other => return other,
        }
        options.create_new(false);
    }
    Err(refused("it comes and goes while it is opened".into()))
}

fn open(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    check(&fs::symlink_metadata(path)?, path)?;
    let file = options.custom_flags(FLAGS).open(path)?;
    // Whatever it was a moment ago.
    check(&file.metadata()?, path)?;
    Ok(file)
}

/// Fails when there is anything in its place, be it a link to nothing.
fn create(path: &Path, mode: u32, options: &mut OpenOptions) -> io::Result<File> {
    let file = options.create_new(true).mode(mode).custom_flags(FLAGS).open(path)?;
    file.set_permissions(Permissions::from_mode(mode))?;
    let folder = fs::metadata(folder_of(path))
        .ok()
        .filter(|folder| geteuid().is_root() && folder.uid() != 0);
    if let Some(folder) = folder
        && let Err(error) = fchown(&file, Some(folder.uid()), Some(folder.gid()))
    {
        tracing::debug!("give {} to user {}: {error}", path.display(), folder.uid());
    }
    Ok(file)
}

fn create_draft(path: &Path, mode: u32) -> io::Result<(PathBuf, File)> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let mut last = io::Error::from(io::ErrorKind::AlreadyExists);
    for _ in 0..TRIES {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let mut draft = path.to_path_buf().into_os_string();
        draft.push(format!(".{}-{number}.tmp", std::process::id()));
        let draft = PathBuf::from(draft);
        match create(&draft, mode, OpenOptions::new().write(true)) {
            Ok(file) => return Ok((draft, file)),
            // Left by a process of the same number, long ago.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => last = error,
            Err(error) => return Err(error),
        }
    }
    Err(last)
}

fn check(metadata: &Metadata, path: &Path) -> io::Result<()> {
    check_kind(metadata)?;
    if metadata.nlink() > 1 {
        return Err(refused(format!("it has {} names (hard links)", metadata.nlink())));
    }
    let owner = metadata.uid();
    let this = geteuid().as_raw();
    if owner != this && owner != 0 && owner_of_folder(path) != Some(owner) {
        return Err(refused(format!(
            "it belongs to user {owner}, which is neither this user ({this}) nor root"
        )));
    }
    Ok(())
}

fn check_kind(metadata: &Metadata) -> io::Result<()> {
    let kind = metadata.file_type();
    let name = match () {
        () if kind.is_file() => return Ok(()),
        () if kind.is_symlink() => "a symbolic link",
        () if kind.is_dir() => "a folder",
        () if kind.is_fifo() => "a FIFO",
        () if kind.is_socket() => "a socket",
        () => "a device",
    };
    Err(refused(format!("it is {name} and no regular file")))
}

fn owner_of_folder(path: &Path) -> Option<u32> {
    fs::metadata(folder_of(path)).ok().map(|folder| folder.uid())
}

fn folder_of(path: &Path) -> &Path {
    path.parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

fn refused(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, what)
}

#[cfg(test)]
#[path = "files_tests.rs"]
mod tests;
