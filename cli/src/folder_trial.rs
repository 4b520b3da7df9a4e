//! Whether the plug-in could write in a folder, tried with a file that is removed again: rights, read-only file systems and
//! what is in the way show in no other way.

use std::fs;
use std::io;
use std::path::Path;

use vastost::config::{Config, Rotation};
use vastost::files;

/// Writes a file in the folder, and makes the folder for it as the plug-in would. Nothing stays: whoever needs the folder
/// first makes it, and it is theirs then. True when the folder was there.
pub fn try_folder(folder: &Path) -> io::Result<bool> {
    let missing: Vec<_> = folder.ancestors().take_while(|folder| !folder.exists()).collect();
    let trial = folder.join(format!("doctor-{}", std::process::id()));
    let written =
        files::make_folder(folder).and_then(|()| files::replace(&trial, b"vastost doctor", files::STATE_MODE));
    let removed = written.and_then(|()| fs::remove_file(&trial));
    for made in missing.iter().filter(|made| !made.as_os_str().is_empty()) {
        // It may hold nothing of ours, and something of others by now.
        let _ = fs::remove_dir(made);
    }
    removed.map(|()| missing.is_empty())
}

/// The folder in which the log needs new files. None where there is no log, where its folder is missing, which other checks
/// tell, and where it only goes on in a file that is there.
pub fn folder_of_log(config: &Config) -> Option<&Path> {
    let file = config.log.file.as_deref()?;
    let folder = file.parent().filter(|folder| folder.is_dir())?;
    (config.log.rotate != Rotation::Never || !file.exists()).then_some(folder)
}
