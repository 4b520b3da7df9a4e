//! Where the configuration file is looked for, and how it is loaded.
//!
//! First match wins: the file that the caller names, `VASTOST_CONFIG`, beside the plug-in, `/etc/vastost/`. A file that
//! is there and cannot be read is an error; it is not passed over.

use std::path::{Path, PathBuf};

use super::{Config, FILE_SIZE_MAX};
use crate::error::{Error, Kind, Result, ResultExt};
use crate::files;

impl Config {
    /// Reads and checks one file.
    pub fn load(path: &Path) -> Result<Self> {
        let read = || format!("read configuration file {}", path.display());
        let bytes = files::read_given(path, FILE_SIZE_MAX).or_kind(Kind::Config, read)?.0;
        Self::parse(&String::from_utf8(bytes).or_kind(Kind::Config, read)?, path)
    }

    /// Finds and loads the file: `explicit`, else `VASTOST_CONFIG`, else beside the plug-in, else `/etc/vastost/`.
    pub fn find(explicit: Option<&Path>) -> Result<Self> {
        if let Some(path) = explicit {
            return Self::load(path);
        }
        if let Some(path) = std::env::var_os("VASTOST_CONFIG").filter(|p| !p.is_empty()) {
            return Self::load(Path::new(&path));
        }

        let places = places();

        // One that cannot be looked at is named by the error of reading it.
        let is_missing = |place: &Path| {
            place
                .symlink_metadata()
                .is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
        };
        match places.iter().find(|place| !is_missing(place)) {
            Some(path) => Self::load(path),
            None => {
                let tried: Vec<_> = places.iter().map(|p| p.display().to_string()).collect();
                let what = format!(
                    "no configuration file: VASTOST_CONFIG is not set, and not at {}",
                    tried.join(", ")
                );
                Err(Error::new(Kind::Config, what))
            }
        }
    }
}

/// Where a configuration file is looked for, first match wins.
pub fn places() -> Vec<PathBuf> {
    let beside = plugin_folder().map(|folder| folder.join("vastost.toml"));
    beside
        .into_iter()
        .chain([PathBuf::from("/etc/vastost/vastost.toml")])
        .collect()
}

/// The folder of the file that this code was loaded from, by the kernel's own map of the process.
fn plugin_folder() -> Option<PathBuf> {
    let here = plugin_folder as fn() -> Option<PathBuf> as usize;
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    let line = maps.lines().find(|line| {
        let bounds = line.split(' ').next().and_then(|range| range.split_once('-'));
        let bounds = bounds.map(|(a, b)| (usize::from_str_radix(a, 16), usize::from_str_radix(b, 16)));
        matches!(bounds, Some((Ok(start), Ok(end))) if start <= here && here < end)
    })?;
    let path = Path::new(line.get(line.find('/')?..)?);
    path.parent().map(Path::to_path_buf)
}
