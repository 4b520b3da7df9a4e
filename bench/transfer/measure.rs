//! A stop watch: one client process, and what the kernel says it took.
//!
//! The clock runs in a process of its own that has no other child, so `RUSAGE_CHILDREN` is the client's usage with all that
//! it started, peak memory included.

use std::fs;
use std::path::Path;
use std::process::{Command, exit};
use std::time::Instant;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use serde::{Deserialize, Serialize};

/// What one client process took.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Usage {
    /// User and system.
    pub cpu_s: f64,
    pub wall_s: f64,
    pub rss_kib: f64,
    pub minor_faults: f64,
    /// Voluntary and involuntary.
    pub switches: f64,
}

/// Runs `command`, writes its usage to `out` as JSON, and ends as it ended.
pub fn measure(out: &Path, command: &[String]) {
    let began = Instant::now();
    let status = Command::new(&command[0]).args(&command[1..]).status();
    let wall_s = began.elapsed().as_secs_f64();
    let status = status.unwrap_or_else(|e| panic!("start {}: {e}", command[0]));
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("usage of the child");
    let usage = Usage {
        cpu_s: seconds(usage.user_time()) + seconds(usage.system_time()),
        wall_s,
        rss_kib: usage.max_rss() as f64,
        minor_faults: usage.minor_page_faults() as f64,
        switches: (usage.voluntary_context_switches() + usage.involuntary_context_switches()) as f64,
    };
    fs::write(out, serde_json::to_vec(&usage).expect("plain numbers")).expect("write the usage");
    exit(status.code().unwrap_or(1));
}

fn seconds(time: TimeVal) -> f64 {
    time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6
}
