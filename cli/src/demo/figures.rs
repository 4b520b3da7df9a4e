//! Wall time and CPU time of what the demo does.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::process::cpu_time;

/// What the demo measured.
pub struct Figures {
    pub version: String,
    pub backup: Span,
    pub restore: Span,
    pub images: usize,
    pub deleted: usize,
    pub rss_bytes: u64,
}

/// One measured phase.
pub struct Span {
    pub wall: Duration,
    /// User and system time of all threads.
    pub cpu: Duration,
}

impl Span {
    pub fn of<E>(work: impl FnOnce() -> Result<(), E>) -> Result<Self, E> {
        let started = Instant::now();
        let before = cpu_time();
        work()?;
        Ok(Self {
            wall: started.elapsed(),
            cpu: cpu_time().saturating_sub(before),
        })
    }

    pub fn to_row(&self, name: &str, bytes: u64) -> String {
        let wall = self.wall.as_secs_f64();
        let cpu = self.cpu.as_secs_f64();
        let gib = gib(bytes);
        format!(
            "{name:<9}{wall:>7.2} s{:>8.2} GiB/s{cpu:>8.2} s{:>12.2} s",
            gib / wall,
            cpu / gib
        )
    }

    pub fn to_json(&self, bytes: u64) -> Value {
        let wall = self.wall.as_secs_f64();
        let cpu = self.cpu.as_secs_f64();
        let gib = gib(bytes);
        json!({ "wall_s": wall, "cpu_s": cpu, "gib_per_s": gib / wall, "cpu_s_per_gib": cpu / gib })
    }
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn gib(bytes: u64) -> f64 {
    bytes.max(1) as f64 / f64::from(1 << 30)
}
