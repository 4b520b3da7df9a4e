//! What the figures mean for `[transfer]`; docs/user/bench.md has the rules in words.

use std::cmp::Reverse;
use std::error::Error;

use serde::Serialize;
use serde_json::{Value, json};
use vastost::config::{Config, size_text};

use super::options::Wire;
use super::plan::Combination;
use super::run::{Direction, Run};
use crate::output::line;

/// A gain below this is not worth another stream or more memory.
const NEARLY_BEST: f64 = 0.9;
/// From this utilisation on, processors or threads are the limit.
const SATURATED: f64 = 0.85;
/// Twice as many in flight gain at least this factor while network and cluster have capacity left.
const STILL_GROWING: f64 = 1.25;

/// What limited the fastest run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Limit {
    Cpu,
    IoThreads,
    Md5Thread,
    Latency,
    NetworkOrCluster,
    Unknown,
}

/// The recommended settings.
pub struct Advice<'a> {
    pub chosen: &'a Run,
    pub fastest: &'a Run,
    pub limit: Limit,
    connections: usize,
}

impl<'a> Advice<'a> {
    /// None when nothing was measured.
    pub fn of(runs: &'a [Run], config: &Config, cpus: usize) -> Option<Self> {
        let candidates = candidates(runs);
        let fastest = *candidates.iter().max_by(|a, b| a.rate().total_cmp(&b.rate()))?;
        let good = candidates
            .iter()
            .filter(|run| run.rate() >= NEARLY_BEST * fastest.rate());
        let chosen = *good.min_by_key(|run| price(run))?;
        let limit = limit(fastest, &candidates, config.transfer.io_threads, cpus);
        Some(Self {
            chosen,
            fastest,
            limit,
            connections: chosen.combination.connections(config),
        })
    }

    pub fn to_json(&self) -> Value {
        let Combination {
            wire,
            part_size,
            parts_in_flight,
            streams,
        } = self.chosen.combination;
        json!({
            "part_size": part_size, "parts_in_flight": parts_in_flight, "read_ahead_parts": parts_in_flight,
            "connections": self.connections, "streams": streams, "wire": wire, "direction": self.chosen.direction,
            "mib_per_s": self.chosen.rate(), "fastest_mib_per_s": self.fastest.rate(), "limit": self.limit,
        })
    }

    pub fn print(&self, config: &Config) -> Result<(), Box<dyn Error>> {
        let Combination {
            part_size,
            parts_in_flight,
            streams,
            ..
        } = self.chosen.combination;
        line("")?;
        line("[transfer]")?;
        line(&format!("part_size = \"{}\"", size_text(part_size)))?;
        line(&format!("parts_in_flight = {parts_in_flight}"))?;
        line(&format!("read_ahead_parts = {parts_in_flight}"))?;
        if self.connections != config.transfer.connections {
            line(&format!("connections = {}", self.connections))?;
        }
        let rate = self.chosen.rate();
        let direction = self.chosen.direction.name();
        let plural = if streams == 1 { "" } else { "s" };
        line("")?;
        line(&format!(
            "{streams} stream{plural}, {rate:.0} MiB/s {direction}: the smallest setting within 10 % of the fastest."
        ))?;
        line(&format!(
            "The fastest: {}, {:.0} MiB/s.",
            described(self.fastest),
            self.fastest.rate()
        ))?;
        line(&format!("What limits it: {}.", self.limit.in_words()))
    }
}

impl Limit {
    fn in_words(self) -> &'static str {
        match self {
            Self::Cpu => "this host's processors",
            Self::IoThreads => "the plug-in's I/O threads; raise [transfer] io_threads and measure again",
            Self::Md5Thread => "MD5, on one thread; wire mode crc64nvme costs less, if the endpoint supports it",
            Self::Latency => {
                "latency: more in flight was faster up to the last run; measure with more --streams or --in-flight"
            }
            Self::NetworkOrCluster => {
                "the network or the cluster: more in flight was not faster, and this host is not busy"
            }
            Self::Unknown => "one combination does not show the limit; measure with several --streams",
        }
    }
}

/// Backups decide if any were measured, and modes with an integrity check if any were measured.
fn candidates(runs: &[Run]) -> Vec<&Run> {
    let any = |wanted: fn(&Run) -> bool| runs.iter().any(wanted);
    let up = any(|run| run.direction == Direction::Up);
    let proven = any(|run| run.combination.wire != Wire::None);
    let fits = |run: &&Run| (!up || run.direction == Direction::Up) && (!proven || run.combination.wire != Wire::None);
    runs.iter().filter(fits).collect()
}

/// Fewer streams, then less memory, then less CPU: the last to the thousandth of a second.
fn price(run: &Run) -> (usize, u64, u128) {
    let Combination {
        part_size,
        parts_in_flight,
        streams,
        ..
    } = run.combination;
    (
        streams,
        part_size * parts_in_flight as u64,
        run.cpu.process.as_millis() * (1 << 30) / u128::from(run.bytes.max(1)),
    )
}

fn limit(fastest: &Run, candidates: &[&Run], io_threads: usize, cpus: usize) -> Limit {
    if fastest.busy(fastest.cpu.process, cpus) >= SATURATED {
        return Limit::Cpu;
    }
    if fastest.busy(fastest.cpu.io, io_threads) >= SATURATED {
        return Limit::IoThreads;
    }
    if fastest.busy(fastest.cpu.md5, 1) >= SATURATED {
        return Limit::Md5Thread;
    }
    // The same with fewer in flight shows what concurrency gains.
    let at_once = |run: &Run| run.combination.streams * run.combination.parts_in_flight;
    let like = |run: &&&Run| {
        let a = run.combination;
        let b = fastest.combination;
        (a.wire, a.part_size, run.direction) == (b.wire, b.part_size, fastest.direction)
    };
    let family: Vec<_> = candidates.iter().filter(like).collect();
    let Some(most) = family.iter().map(|run| at_once(run)).max() else {
        return Limit::Unknown;
    };
    let half = family
        .iter()
        .filter(|run| at_once(run) * 2 <= most)
        .min_by_key(|run| Reverse(at_once(run)));
    match half {
        None => Limit::Unknown,
        Some(half) if at_once(fastest) == most && fastest.rate() >= STILL_GROWING * half.rate() => Limit::Latency,
        Some(_) => Limit::NetworkOrCluster,
    }
}

fn described(run: &Run) -> String {
    let Combination {
        wire,
        part_size,
        parts_in_flight,
        streams,
    } = run.combination;
    let plural = if streams == 1 { "" } else { "s" };
    format!(
        "{streams} stream{plural}, parts of {}, {parts_in_flight} in flight, {}",
        size_text(part_size),
        wire.name()
    )
}

#[cfg(test)]
#[path = "advice_tests.rs"]
mod tests;
