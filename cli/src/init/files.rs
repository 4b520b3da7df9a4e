//! The files that `init` writes: never over others, and secrets never readable by others, not even for a moment.

use std::error::Error;
use std::fs::Permissions;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use vastost::config::STATE_DIR_DEFAULT;

use super::{Keys, Plan};
use crate::args::Init;
use crate::draft::{Draft, regular};

/// Only the owner may read a file with a secret.
pub const SECRET_MODE: u32 = 0o600;
/// Old keys that stay beside the new ones.
const COPIES_MAX: u32 = 1_000;

/// The keys file is beside the configuration.
pub fn keys_path(args: &Init) -> PathBuf {
    args.output.with_file_name(keys_name(args))
}

fn keys_name(args: &Init) -> String {
    format!("{}.keys.toml", args.name)
}

/// Refuses to overwrite a different configuration with `text`.
pub fn refuse_overwrite(args: &Init, text: Option<&str>) -> Result<(), String> {
    if is_free(args, &args.output, text) {
        return Ok(());
    }
    Err(format!(
        "{} exists; --force overwrites it, --output writes another one",
        args.output.display()
    ))
}

/// The same for the keys, which other configurations in the folder may use too.
pub fn refuse_keys(args: &Init, path: &Path, text: &str) -> Result<(), String> {
    if is_free(args, path, Some(text)) {
        return Ok(());
    }
    let path = path.display();
    let other = "--name NAME, or --output in another folder, uses another one";
    Err(format!(
        "{path} exists with other keys; {other}, --force replaces it and keeps the old one beside it"
    ))
}

fn is_free(args: &Init, path: &Path, text: Option<&str>) -> bool {
    args.force || path.symlink_metadata().is_err() || text.is_some_and(|text| says(path, text))
}

/// Copies a file that `text` will replace to `<file>.bak`, or `<file>.bak.1` and so on if that exists.
pub fn keep_old(path: &Path, text: &str) -> Result<Option<PathBuf>, Box<dyn Error>> {
    let old = regular(path)?;
    if !old.exists() || says(&old, text) {
        return Ok(None);
    }
    let wrong = |error: io::Error| format!("keep a copy of {}: {error}", path.display());
    let bytes = std::fs::read(&old).map_err(wrong)?;

    for number in 0..COPIES_MAX {
        let mut copy = path.as_os_str().to_owned();
        copy.push(if number == 0 {
            ".bak".to_owned()
        } else {
            format!(".bak.{number}")
        });
        let copy = PathBuf::from(copy);
        if copy.symlink_metadata().is_ok() {
            continue;
        }
        let placed = Draft::create(&copy, SECRET_MODE).and_then(|draft| {
            draft.file()?.write_all(&bytes)?;
            draft.place_new()
        });
        match placed {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            other => return Ok(other.map(|_| Some(copy)).map_err(wrong)?),
        }
    }

    Err(format!("{} has {COPIES_MAX} old copies beside it; remove some", path.display()).into())
}

fn says(path: &Path, text: &str) -> bool {
    std::fs::read_to_string(path).is_ok_and(|there| there == text)
}

/// Writes a file, unless it exists with the same text.
pub fn write_new(args: &Init, path: &Path, text: &str, mode: u32) -> Result<(), Box<dyn Error>> {
    if !args.force && says(path, text) {
        Ok(())
    } else {
        write(path, text, mode, args.force)
    }
}

/// Writes a whole file, so that nobody ever reads half of it.
pub fn write(path: &Path, text: &str, mode: u32, overwrite: bool) -> Result<(), Box<dyn Error>> {
    // An existing link stays, and leads to the new file.
    let path = &if overwrite { regular(path)? } else { path.to_path_buf() };
    let written = Draft::create(path, mode).and_then(|draft| {
        // Independent of the umask.
        draft.file()?.set_permissions(Permissions::from_mode(mode))?;
        draft.file()?.write_all(text.as_bytes())?;
        if overwrite { draft.replace() } else { draft.place_new() }
    });
    written
        .map(drop)
        .map_err(|error| format!("write {}: {error}", path.display()).into())
}

/// The text of the configuration.
pub(super) fn text(plan: &Plan<'_>) -> Result<String, Box<dyn Error>> {
    let args = plan.args;
    let server = quote(&args.name);
    let urls: Vec<_> = plan.endpoints.iter().map(|url| quote(url)).collect();
    let mut text =
        String::from("# Written by vastost-s3 init. `vastost-s3 config show` prints every setting with its default.\n");
    text += &format!("state_dir = {}\n\n", quote(state_dir(&args.output)));
    text += &format!("[server.{server}]\nendpoints = [{}]\n", urls.join(", "));
    if let Some(region) = &args.region {
        text += &format!("region = {}\n", quote(region));
    }
    if let Some(file) = &args.ca_file {
        // On the command line it is relative to the current folder, in the file to the file.
        let file = std::path::absolute(file).map_err(|error| format!("find {}: {error}", file.display()))?;
        text += &format!("tls.ca_file = {}\n", quote(&file.display().to_string()));
    }
    text += &match &plan.keys {
        Keys::Profile(profile) => format!(
            "credentials = {{ source = \"profile\", profile = {} }}\n",
            quote(profile)
        ),
        Keys::Pair(_) => format!(
            "credentials = {{ source = \"file\", file = {} }}\n",
            quote(&keys_name(args))
        ),
    };

    for (name, bucket) in &plan.lsus {
        text += &format!(
            "\n[[server.{server}.lsu]]\nname = {}\nbucket = {}\n",
            quote(name),
            quote(bucket)
        );
        text += "# The capacity reported to NetBackup, such as \"100 TB\"; unknown when left out.\n# capacity = \"100 TB\"\n";
    }

    Ok(text)
}

/// An installation keeps its state in the system's place; a trial keeps it beside the file.
fn state_dir(output: &Path) -> &'static str {
    let in_etc = std::path::absolute(output).is_ok_and(|path| path.starts_with("/etc"));
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    if in_etc && is_root { STATE_DIR_DEFAULT } else { "state" }
}

fn quote(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}
