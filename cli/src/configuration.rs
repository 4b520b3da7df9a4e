//! The configuration file that a command reads. If it cannot be read, the error says who chose it and how to write one;
//! the library reports errors in the file.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::Path;

use vastost::config::{Config, places};

use crate::args::Global;
use crate::chain;

/// There is no file, or it cannot be read: it cannot be checked.
#[derive(Debug)]
pub struct Unreadable(String);

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Unreadable {}

/// The file that `global` means.
pub fn find(global: &Global) -> Result<Config, Box<dyn Error>> {
    find_at(global.config.as_deref(), "--config")
}

/// The file `explicit`, which `by` has named, else the one that the environment names, else that of the default places.
pub fn find_at(explicit: Option<&Path>, by: &str) -> Result<Config, Box<dyn Error>> {
    Config::find(explicit).map_err(|error| {
        let in_environment = std::env::var_os("VASTOST_CONFIG").is_some_and(|path| !path.is_empty());
        let chosen = match explicit {
            Some(_) => format!(" (from {by})"),
            None if in_environment => " (from $VASTOST_CONFIG)".to_owned(),
            // The error itself names the places.
            None if is_nowhere() => String::new(),
            None => " (from the default place)".to_owned(),
        };
        let cause = error.source().and_then(|source| source.downcast_ref::<io::Error>());
        let advice = match cause.map(io::Error::kind) {
            _ if chosen.is_empty() => "; `vastost-s3 init` writes one",
            Some(io::ErrorKind::NotFound) => "; `vastost-s3 init` writes one",
            Some(io::ErrorKind::PermissionDenied) => "; let this user read the file and its folder",
            Some(_) => "",
            None => return error.into(),
        };
        Unreadable(format!("{}{chosen}{advice}", chain(&error))).into()
    })
}

fn is_nowhere() -> bool {
    let is_missing = |place: &Path| {
        place
            .symlink_metadata()
            .is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
    };
    places().iter().all(|place| is_missing(place))
}
