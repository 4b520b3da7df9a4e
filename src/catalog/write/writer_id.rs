//! Who writes a record, and whether that process is still there.
//!
//! A process is named by its kernel's boot, its PID namespace, its PID and its start time: the four together never come
//! again. On the same host (the same boot and PID namespace) `/proc` tells at once that a process has ended; from
//! elsewhere nothing can be known but the age of its record.

use std::path::PathBuf;

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;

use crate::catalog::format::record::Writer;
use crate::thread::copy_in_process;

impl Writer {
    /// This process.
    pub fn this() -> Self {
        let pid = std::process::id();
        Self {
            host: gethostname::gethostname().to_string_lossy().into_owned(),
            pid,
            version: env!("CARGO_PKG_VERSION").into(),
            process: host_identity()
                .zip(start_time(pid))
                .map(|(host, start)| format!("{host}/{start}")),
            copy: Some(format!("{:x}", copy_in_process())),
        }
    }

    /// True when this very process is the writer, by this copy of the plug-in.
    pub fn is_this(&self) -> bool {
        let this = Self::this();
        self.pid == this.pid && self.process.is_some() && self.process == this.process && self.copy == this.copy
    }

    /// True when the process is known to have ended; false when it lives or nothing can be known.
    pub fn is_dead(&self) -> bool {
        let Some((host, start)) = self.process.as_deref().and_then(|process| process.rsplit_once('/')) else {
            return false;
        };
        if host_identity().as_deref() != Some(host) {
            return false;
        }
        match start_time(self.pid) {
            Some(now) => now != start,
            None => has_ended(self.pid),
        }
    }
}

/// The running kernel and the PID namespace: where PIDs mean the same.
fn host_identity() -> Option<String> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let namespace = std::fs::read_link("/proc/self/ns/pid").unwrap_or_else(|_| PathBuf::from("pid:[0]"));
    Some(format!("{}/{}", boot.trim(), namespace.display()))
}

/// True when there is no such process, or only its remains. `/proc` may hide the processes of other users, so that a
/// file that is not there says nothing; the kernel's answer to a signal does.
fn has_ended(pid: u32) -> bool {
    let Ok(pid) = i32::try_from(pid) else { return true };
    let gone = kill(Pid::from_raw(pid), None) == Err(Errno::ESRCH);
    gone || std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| is_over(&stat))
}

fn is_over(stat: &str) -> bool {
    let state = stat
        .rsplit_once(')')
        .and_then(|(_, rest)| rest.split_whitespace().next());
    state.is_some_and(|state| ["Z", "X", "x"].contains(&state))
}

/// When a process started, in the kernel's ticks since boot; None when there is no such process or only its remains.
fn start_time(pid: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything; state is the first field behind it, the start time the twentieth.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    fields.nth(19).filter(|_| !is_over(&stat)).map(ToOwned::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_more_than_its_number() {
        let this = Writer::this();
        assert!(this.is_this() && !this.is_dead());
        let earlier = Writer {
            process: this.process.as_ref().map(|p| format!("{p}1")),
            ..this.clone()
        };
        assert!(earlier.is_dead() && !earlier.is_this());
        let elsewhere = Writer {
            process: Some("another-boot/pid:[1]/1".into()),
            ..this.clone()
        };
        assert!(!elsewhere.is_dead() && !elsewhere.is_this());
        let other_copy = Writer {
            copy: Some("0".into()),
            ..this.clone()
        };
        assert!(!other_copy.is_dead() && !other_copy.is_this());
        let unknown = Writer { process: None, ..this };
        assert!(!unknown.is_dead() && !unknown.is_this());
    }

    #[test]
    fn a_process_that_ended_is_dead_even_before_it_is_waited_for() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let process = host_identity()
            .zip(start_time(child.id()))
            .map(|(host, start)| format!("{host}/{start}"));
        let writer = Writer {
            pid: child.id(),
            process,
            ..Writer::this()
        };
        assert!(!writer.is_dead());
        child.kill().unwrap();
        while !writer.is_dead() {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        child.wait().unwrap();
        assert!(writer.is_dead());
    }
}
