//! Tests with a temporary file whether the plug-in can write in a folder: only that shows rights, read-only file
//! systems and other obstacles.

use std::fs;
use std::io;
use std::path::Path;

use vastost::config::{Config, Rotation};
use vastost::files;

/// Writes a file in the folder, which is made as the plug-in would make it, and removes both again: the process that
/// needs the folder first must own it. True when the folder existed.
pub fn try_folder(folder: &Path) -> io::Result<bool> {
    let missing: Vec<_> = folder.ancestors().take_while(|folder| !folder.exists()).collect();
    let trial = folder.join(format!("doctor-{}", std::process::id()));
    let written =
        files::make_folder(folder).and_then(|()| files::replace(&trial, b"vastost doctor", files::STATE_MODE));
    let removed = written.and_then(|()| fs::remove_file(&trial));
    for made in missing.iter().filter(|made| !made.as_os_str().is_empty()) {
        // It may hold files of others by now.
        let _ = fs::remove_dir(made);
    }
    removed.map(|()| missing.is_empty())
}

/// The folder in which the log needs new files. None without a log, if its folder is missing (other checks report
/// that), and if the log only appends to an existing file.
pub fn folder_of_log(config: &Config) -> Option<&Path> {
    let file = config.log.file.as_deref()?;
    let folder = file.parent().filter(|folder| folder.is_dir())?;
    (config.log.rotate != Rotation::Never || !file.exists()).then_some(folder)
}
