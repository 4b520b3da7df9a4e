//! The processes that a command has started, and those that they have started, as /proc shows them.
//!
//! A process is identified by pid and start time, so that no signal reaches a later process with the same pid. A
//! process that has left its parent (a daemon) is not found. Signals that may not be sent are skipped.

use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// One process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    pid: i32,
    parent: i32,
    /// In ticks since the host was started.
    started: u64,
}

/// The living descendants of the process `root`, parents before their children: a shell that outlived the command
/// that it waits for would start the next one.
pub fn of(root: i32) -> Vec<Process> {
    let all = all();
    let mut found = Vec::new();
    let mut parents = vec![root];
    while !parents.is_empty() {
        let is_new = |process: &&Process| parents.contains(&process.parent) && !found.contains(*process);
        let children: Vec<_> = all.iter().filter(is_new).copied().collect();
        parents = children.iter().map(|process| process.pid).collect();
        found.extend(children);
    }
    found
}

impl Process {
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// True until it has ended; a zombie has ended.
    pub fn is_alive(&self) -> bool {
        read(self.pid).is_some_and(|now| now.started == self.started)
    }

    pub fn send(&self, signal: Signal) {
        if self.is_alive() {
            let _ = kill(Pid::from_raw(self.pid), signal);
        }
    }
}

fn all() -> Vec<Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| read(entry.file_name().to_str()?.parse().ok()?))
        .collect()
}

/// Fields 3, 4 and 22 of the line, see proc(5). The second field is a name of any bytes, and ends with the last
/// parenthesis.
fn read(pid: i32) -> Option<Process> {
    let bytes = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let fields: Vec<_> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let state = *fields.first()?;
    let parent = fields.get(1)?.parse().ok()?;
    let started = fields.get(19)?.parse().ok()?;
    (!matches!(state, "Z" | "X")).then_some(Process { pid, parent, started })
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn children_of_children_are_found_until_they_end() {
        let line = "sleep 60 | cat; true";
        let mut shell = Command::new("sh")
            .args(["-c", line])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let root = i32::try_from(shell.id()).unwrap();
        while of(root).len() < 2 {
            std::thread::yield_now();
        }
        let found = of(i32::try_from(std::process::id()).unwrap());
        let children = of(root);
        let place = |pid: i32| found.iter().position(|process| process.pid() == pid).unwrap();

        for child in &children {
            assert!(child.is_alive() && place(root) < place(child.pid()), "{found:?}");
            assert!(
                !Process {
                    started: child.started + 1,
                    ..*child
                }
                .is_alive()
            );
        }

        shell.kill().unwrap();
        children.iter().for_each(|child| child.send(Signal::SIGKILL));
        shell.wait().unwrap();
    }
}
