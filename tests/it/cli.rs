//! The built command line as a user runs it, against the embedded server.

// Tests may panic, see clippy.toml; it does not reach the functions that serve them.

/// `config check` and `config show`.
mod config;
/// `doctor`.
mod doctor;
/// `doctor` on stores and with keys that lack something.
mod doctor_faults;
/// The table of docs/user/exit-codes.md.
mod exit_codes;
/// What goes wrong with the server, the keys, the bucket.
mod failures;
/// `put`, `ls`, `info`, `get`, `rm`.
mod images;
/// `help COMMAND`.
mod help;
/// `init`.
mod init;
/// Ctrl-C.
mod interrupt;
/// `--json`, whatever happens.
mod json;
/// `verify merge`.
mod merge;
/// Names, and lists of them.
mod names;
/// What is said when there is nothing.
mod nothing;
/// What `put` refuses to store.
mod sources;
/// `undelete` of what no list shows.
mod undelete;
/// What `verify` does not call good, and where its outputs go.
mod verify;

use std::ffi::OsStr;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use vastost_testkit::test_store::{Site, Wish};

/// What a finished run left.
pub struct Run {
    pub code: i32,
    stdout: Vec<u8>,
    pub stderr: String,
}

impl Run {
    pub fn stdout(&self) -> &[u8] {
        &self.stdout
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.stdout).unwrap_or_else(|e| panic!("{e}: {} {}", self.text(), self.stderr))
    }

    /// Fails with all that was printed when the exit code is another one.
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout: {}\nstderr: {}", self.text(), self.stderr);
        self
    }
}

/// A site whose requests are tried once, so that failures are seen soon.
fn site() -> Site {
    Site::new(&Wish {
        settings: "[retry]\nattempts = 1\n".into(),
        ..Wish::default()
    })
}

/// The command without a terminal and without keys in its environment.
pub fn command(config: &Path) -> Command {
    let mut command = bare();
    command.arg("--config").arg(config);
    command
}

/// As [`command`], without a configuration.
fn bare() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vastost-s3"));
    for name in [
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_PROFILE",
        "VASTOST_CONFIG",
    ] {
        command.env_remove(name);
    }
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

pub fn run(site: &Site, args: &[impl AsRef<OsStr>]) -> Run {
    finish(command(&site.config).args(args))
}

/// Runs with `input` on stdin.
fn run_with(site: &Site, args: &[&str], input: &[u8]) -> Run {
    let mut child = command(&site.config)
        .args(args)
        .stdin(Stdio::piped())
        .spawn()
        .expect("start");
    let mut stdin = child.stdin.take().expect("stdin");
    let owned = input.to_vec();
    let feeder = std::thread::spawn(move || drop(stdin.write_all(&owned)));
    let output = child.wait_with_output().expect("wait");
    feeder.join().expect("feeder");
    to_run(output)
}

fn finish(command: &mut Command) -> Run {
    to_run(command.output().expect("start"))
}

pub fn to_run(output: std::process::Output) -> Run {
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    Run {
        code: output.status.code().unwrap_or(-1),
        stdout: output.stdout,
        stderr,
    }
}

/// Every key of the site's bucket.
fn keys(site: &Site) -> Vec<String> {
    site.keys_under("")
}
