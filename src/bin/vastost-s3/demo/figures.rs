//! Wall time, CPU time and memory of this process.

use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use serde_json::{Value, json};

/// What the demo measured.
pub struct Figures {
    pub version: String,
    pub backup: Span,
    pub restore: Span,
    pub images: usize,
    pub deleted: usize,
    pub rss_bytes: u64,
}

/// One measured stretch of work.
pub struct Span {
    pub wall: Duration,
    /// User and system time of all threads.
    pub cpu: Duration,
}

impl Span {
    pub fn of<E>(work: impl FnOnce() -> Result<(), E>) -> Result<Self, E> {
        let (started, before) = (Instant::now(), cpu_time());
        work()?;
        Ok(Self { wall: started.elapsed(), cpu: cpu_time().saturating_sub(before) })
    }

    pub fn to_row(&self, name: &str, bytes: u64) -> String {
        let (wall, cpu, gib) = (self.wall.as_secs_f64(), self.cpu.as_secs_f64(), gib(bytes));
        format!("{name:<9}{wall:>7.2} s{:>8.2} GiB/s{cpu:>8.2} s{:>12.2} s", gib / wall, cpu / gib)
    }

    pub fn to_json(&self, bytes: u64) -> Value {
        let (wall, cpu, gib) = (self.wall.as_secs_f64(), self.cpu.as_secs_f64(), gib(bytes));
        json!({ "wall_s": wall, "cpu_s": cpu, "gib_per_s": gib / wall, "cpu_s_per_gib": cpu / gib })
    }
}

/// The most memory that this process ever had resident, bytes; 0 where the kernel does not tell.
pub fn peak_rss_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").trim().parse::<u64>().ok());
    kib.unwrap_or_default() << 10
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn gib(bytes: u64) -> f64 {
    bytes.max(1) as f64 / f64::from(1 << 30)
}

fn cpu_time() -> Duration {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else { return Duration::ZERO };
    let time = |t: nix::sys::time::TimeVal| {
        let micros = t.tv_sec().saturating_mul(1_000_000).saturating_add(t.tv_usec());
        Duration::from_micros(u64::try_from(micros).unwrap_or_default())
    };
    time(usage.user_time()) + time(usage.system_time())
}
