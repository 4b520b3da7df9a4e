//! Another process that writes an image: `vastost-s3 put` from a pipe.

use std::io::Write;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::cli::{Run, to_run};
use vastost_testkit::test_store::Site;

/// The process, which is killed when dropped.
pub struct Writer {
    child: Option<Child>,
    stdin: Option<ChildStdin>,
}

impl Writer {
    /// `command` is `vastost-s3` with its configuration, or what leads to it; the image is `name` in LSU main.
    pub fn spawn(mut command: Command, name: &str) -> Self {
        let mut child = command
            .args(["put", "-", "--allow-empty", &format!("main/{name}")])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take();
        Self {
            child: Some(child),
            stdin,
        }
    }

    /// As [`Writer::spawn`], and waits until the image is on the store as pending.
    pub fn start(site: &Site, command: Command, name: &str) -> Self {
        let writer = Self::spawn(command, name);
        until("pending record", || {
            site.keys_under("pending/").iter().any(|key| key.contains(name))
        });
        writer
    }

    /// Returns when all but what a pipe holds was taken.
    pub fn write(&mut self, data: &[u8]) {
        self.stdin.as_mut().unwrap().write_all(data).unwrap();
    }

    /// Writes what the process takes, which may have its reasons to end early, and waits for its end.
    pub fn write_and_finish(mut self, data: &[u8]) -> Run {
        let _ = self.stdin.as_mut().unwrap().write_all(data);
        self.finish()
    }

    pub fn signal(&self, signal: Signal) {
        let pid = self.child.as_ref().unwrap().id();
        kill(Pid::from_raw(pid.try_into().unwrap()), signal).unwrap();
    }

    pub fn kill(mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    pub fn finish(mut self) -> Run {
        drop(self.stdin.take());
        to_run(self.child.take().unwrap().wait_with_output().unwrap())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = (child.kill(), child.wait());
        }
    }
}

/// Waits for what must come.
pub fn until(what: &str, mut seen: impl FnMut() -> bool) {
    let started = Instant::now();
    while !seen() {
        assert!(started.elapsed() < Duration::from_secs(60), "never seen: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
