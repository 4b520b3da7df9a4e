//! One combination in one direction, measured.

use std::error::Error;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::Serialize;
use serde_json::{Value, json};

use super::plan::Combination;
use super::streams::Stream;
use crate::process::{cpu_time, peak_rss_bytes, reset_peak_rss, thread_time};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    Up,
    Down,
}

/// What was measured.
#[derive(Clone, Debug)]
pub struct Run {
    pub direction: Direction,
    pub combination: Combination,
    pub bytes: u64,
    /// From the first call to the end of the last stream's close.
    pub wall: Duration,
    pub cpu: Costs,
    /// MiB/s of each stream.
    pub rates: Vec<f64>,
    /// Latencies of all calls, ns.
    pub calls: Histogram<u64>,
    pub peak_rss_bytes: u64,
}

/// CPU time of the process, and of the threads of the plug-in that can be the limit.
#[derive(Clone, Copy, Debug, Default)]
pub struct Costs {
    pub process: Duration,
    pub io: Duration,
    pub md5: Duration,
}

impl Direction {
    pub fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

impl Run {
    /// Measures `work`, which moves bytes in `combination`'s streams and returns its start.
    pub fn of(
        direction: Direction,
        combination: Combination,
        work: impl FnOnce() -> Result<(Instant, Vec<Stream>), Box<dyn Error>>,
    ) -> Result<(Self, Vec<u64>), Box<dyn Error>> {
        reset_peak_rss();
        let before = Costs::now();
        let (began, streams) = work()?;
        let cpu = Costs::now().since(before);
        let ended = streams.iter().map(|stream| stream.ended).max().unwrap_or(began);
        let mut calls = Histogram::new(3)?;
        streams.iter().try_for_each(|stream| calls.add(&stream.calls))?;
        let sizes: Vec<u64> = streams.iter().map(|stream| stream.bytes).collect();
        let rates = streams
            .iter()
            .map(|stream| mib(stream.bytes) / seconds(stream.ended - began))
            .collect();
        let bytes = sizes.iter().sum();
        let wall = ended - began;
        let peak_rss_bytes = peak_rss_bytes();
        Ok((
            Self {
                direction,
                combination,
                bytes,
                wall,
                cpu,
                rates,
                calls,
                peak_rss_bytes,
            },
            sizes,
        ))
    }

    /// MiB/s of all streams together.
    pub fn rate(&self) -> f64 {
        mib(self.bytes) / seconds(self.wall)
    }

    /// Mean MiB/s of a stream.
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    pub fn rate_per_stream(&self) -> f64 {
        self.rates.iter().sum::<f64>() / self.rates.len().max(1) as f64
    }

    /// CPU seconds per GiB.
    pub fn cpu_per_gib(&self) -> f64 {
        self.cpu.process.as_secs_f64() / mib(self.bytes.max(1)) * 1024.0
    }

    /// `time` as a fraction of `threads` processors.
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    pub fn busy(&self, time: Duration, threads: usize) -> f64 {
        time.as_secs_f64() / seconds(self.wall) / threads.max(1) as f64
    }

    pub fn call_ns(&self, quantile: f64) -> u64 {
        self.calls.value_at_quantile(quantile)
    }

    pub fn to_json(&self) -> Value {
        let us = |ns: u64| Duration::from_nanos(ns).as_secs_f64() * 1e6;
        let extreme = |of: fn(f64, f64) -> f64| self.rates.iter().copied().reduce(of);
        let Combination {
            wire,
            part_size,
            parts_in_flight,
            streams,
        } = self.combination;
        json!({
            "direction": self.direction, "wire": wire, "part_size": part_size,
            "parts_in_flight": parts_in_flight, "streams": streams,
            "bytes": self.bytes, "wall_s": self.wall.as_secs_f64(), "mib_per_s": self.rate(),
            "stream_mib_per_s": {
                "min": extreme(f64::min), "mean": self.rate_per_stream(), "max": extreme(f64::max),
            },
            "cpu_s": self.cpu.process.as_secs_f64(), "cpu_s_per_gib": self.cpu_per_gib(),
            "io_threads_cpu_s": self.cpu.io.as_secs_f64(), "md5_thread_cpu_s": self.cpu.md5.as_secs_f64(),
            "call_us": {
                "count": self.calls.len(), "p50": us(self.call_ns(0.5)), "p99": us(self.call_ns(0.99)),
                "p99_9": us(self.call_ns(0.999)), "max": us(self.calls.max()),
            },
            "peak_rss_bytes": self.peak_rss_bytes,
        })
    }
}

impl Costs {
    fn now() -> Self {
        Self {
            process: cpu_time(),
            io: thread_time("vastost-io"),
            md5: thread_time("vastost-md5"),
        }
    }

    fn since(self, before: Self) -> Self {
        Self {
            process: self.process.saturating_sub(before.process),
            io: self.io.saturating_sub(before.io),
            md5: self.md5.saturating_sub(before.md5),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// Never 0, so that a rate can be computed.
fn seconds(time: Duration) -> f64 {
    time.as_secs_f64().max(1e-6)
}
