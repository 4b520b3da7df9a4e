//! What is odd about the files that a configuration names, and is no reason to refuse it.

use std::fmt;
use std::io;
use std::path::Path;

use super::Config;
use super::credentials::Source;
use crate::files;

/// Files of ours belong to somebody else, or others can write to them.
const OWNERS: &str = "see \"Files on the host\" in docs/developer/architecture.md for whom they should belong to";

/// A sentence that names its file, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    pub what: String,
    pub advice: &'static str,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

/// For `config check`, `doctor` and the log.
pub fn warnings(config: &Config) -> Vec<Warning> {
    let keys = config.servers.values().filter_map(|server| match &server.credentials {
        Source::File(path) => Some(("credentials file", path.as_path())),
        _ => None,
    });
    let authorities = config
        .servers
        .values()
        .filter_map(|server| Some(("CA file", server.tls.ca_file.as_deref()?)));
    let given = [("configuration file", config.path.as_path())]
        .into_iter()
        .chain(keys)
        .chain(authorities.clone());
    let owners = |what| Warning { what, advice: OWNERS };
    let mut warnings: Vec<_> = given
        .filter_map(|(what, path)| distrust(what, path))
        .map(owners)
        .collect();
    // Without it no server of the configuration can be opened.
    warnings.extend(authorities.filter_map(|(what, path)| {
        let error = std::fs::metadata(path).err()?;
        let what = format!("{what} {}: {error}", path.display());
        // One that is not there belongs to nobody.
        let advice = match error.kind() {
            io::ErrorKind::NotFound => "correct tls.ca_file, or put the file there",
            _ => OWNERS,
        };
        Some(Warning { what, advice })
    }));
    warnings.extend(config.log.file.as_deref().and_then(|path| {
        let advice = match missing_folder(path) {
            Some(_) => "make the folder, or correct [log] file",
            None => OWNERS,
        };
        of_log(path).map(|what| Warning { what, advice })
    }));
    warnings.extend(of_state(&config.state_dir).into_iter().map(owners));
    warnings
}

/// Why a log is not written; None when it can be, or when its file can be made.
pub fn of_log(path: &Path) -> Option<String> {
    missing_folder(path)
        .map(|folder| format!("there is no folder {}", folder.display()))
        .or_else(|| files::fault(path))
        .map(|why| log_refused(path, &why))
}

fn missing_folder(path: &Path) -> Option<&Path> {
    path.parent()
        .filter(|folder| !folder.as_os_str().is_empty() && !folder.is_dir())
}

/// The sentence for a log that is not written.
pub fn log_refused(path: &Path, why: &str) -> String {
    format!("the log {} is not written: {why}", path.display())
}

fn distrust(what: &str, path: &Path) -> Option<String> {
    let why = files::distrust(&std::fs::metadata(path).ok()?)?;
    Some(format!("{what} {}: {why}", path.display()))
}

/// Files of ours in the state folder that cannot be used as such.
fn of_state(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let ours = entries.map(|entry| entry.path()).filter(|path| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.ends_with(".json") && (name.starts_with("usage-") || name.starts_with("probe-"))
    });
    let mut faults: Vec<_> = ours
        .filter_map(|path| files::fault(&path).map(|why| format!("state file {} is not used: {why}", path.display())))
        .collect();
    faults.sort();
    faults
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn files_that_others_can_change_and_files_that_are_not_ours_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let text = "state_dir = \"state\"\n[server.v]\nendpoints = [\"http://127.0.0.1:9\"]\ncredentials = { source = \"file\", file = \"keys\" }\n[log]\nfile = \"log\"\n";
        fs::write(at("vastost.toml"), text).unwrap();
        fs::write(at("keys"), "").unwrap();
        let config = Config::load(&at("vastost.toml")).unwrap();
        assert_eq!(warnings(&config), []);
        fs::set_permissions(at("vastost.toml"), Permissions::from_mode(0o666)).unwrap();
        fs::set_permissions(at("keys"), Permissions::from_mode(0o602)).unwrap();
        symlink("/dev/full", at("log")).unwrap();
        fs::create_dir(at("state")).unwrap();
        symlink("/etc/passwd", at("state/usage-v-l.json")).unwrap();
        let found = warnings(&config);
        let expected = ["configuration file", "credentials file", "the log", "state file"];
        assert_eq!(found.len(), expected.len(), "{found:?}");

        for (text, begins) in found.iter().map(|warning| &warning.what).zip(expected) {
            assert!(
                text.starts_with(begins) && text.contains(folder.path().to_str().unwrap()),
                "{text}"
            );
        }
    }
}
