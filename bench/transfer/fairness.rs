//! Many streams at once, in one process and in many: what all of them reach together, and whether one is left behind.
//!
//! What a process does once, above all clearing the pages of its pool, must not be most of what is measured: a process of
//! two streams touches some 200 MiB of buffers.

use std::process::Stdio;
use std::time::Instant;

use serde::Serialize;

use super::args::{Args, Direction, GIB, MIB};
use super::client::{Invocation, host};
use super::report::{Spread, format_spread};
use super::runner::{Runner, told, warm};
use super::site::Place;

/// Processes and streams of each.
const SHAPES: [(u64, u64); 2] = [(1, 64), (32, 2)];
const STREAM_BYTES: u64 = 256 * MIB;
/// What the buffers of a stream come to, about, and at most those of a process: the pool's default budget.
const BUFFERS: u64 = 128 * MIB;
const BUDGET: u64 = GIB;

#[derive(Serialize)]
pub struct Fairness {
    pub processes: u64,
    /// Of each process.
    pub streams: u64,
    pub direction: &'static str,
    /// Of all together, from the start of the first process to the end of the last.
    pub gib_per_s: Spread,
    /// The slowest stream's rate to the mean of all.
    pub slowest_to_mean: Spread,
}

/// What one round gave: a rate, and the slowest stream against the mean.
struct Round {
    gib_per_s: f64,
    slowest_to_mean: f64,
}

pub fn measure(args: &Args, runner: &Runner<'_>) -> Vec<Fairness> {
    let mut all = Vec::new();
    for (processes, streams) in SHAPES {
        let mut up = Vec::new();
        let mut down = Vec::new();
        for _ in 0..args.runs.max(1) {
            let date = runner.site.fresh_date();
            let round = |direction| round(runner, (processes, streams), direction, date);
            up.push(round(Direction::Up));
            down.push(round(Direction::Down));
        }
        for (direction, rounds) in [(Direction::Up, up), (Direction::Down, down)] {
            let gib_per_s = Spread::of(rounds.iter().map(|round| round.gib_per_s));
            let slowest_to_mean = Spread::of(rounds.iter().map(|round| round.slowest_to_mean));
            all.push(Fairness {
                processes,
                streams,
                direction: direction.name(),
                gib_per_s,
                slowest_to_mean,
            });
        }
    }
    all
}

fn round(runner: &Runner<'_>, shape: (u64, u64), direction: Direction, date: u64) -> Round {
    let (processes, streams) = shape;
    let site = runner.site;
    let config = site.config("crc64nvme", Place::Http);
    let numbers = |process| [streams, STREAM_BYTES, date + process * streams];
    let invocations = (0..processes).map(|process| host(site, &config, direction.name(), &numbers(process)));
    warm(processes * (streams * BUFFERS).min(BUDGET));
    let (wall_s, streams_s) = at_once(invocations.collect());
    let rates: Vec<f64> = streams_s.iter().map(|seconds| 1.0 / seconds).collect();
    let mean = rates.iter().sum::<f64>() / rates.len() as f64;
    let slowest = rates.iter().copied().fold(f64::INFINITY, f64::min);
    let gib = (processes * streams * STREAM_BYTES) as f64 / GIB as f64;
    Round {
        gib_per_s: gib / wall_s,
        slowest_to_mean: slowest / mean,
    }
}

/// Runs all of them side by side: the time until the last has ended, and each stream's seconds.
fn at_once(invocations: Vec<Invocation>) -> (f64, Vec<f64>) {
    let began = Instant::now();
    let start = |invocation: &Invocation| {
        invocation
            .command()
            .stdout(Stdio::piped())
            .spawn()
            .expect("start the host")
    };
    let hosts: Vec<_> = invocations.iter().map(start).collect();
    let ended = hosts
        .into_iter()
        .map(|host| host.wait_with_output().expect("the host's end"));
    let outputs: Vec<_> = ended.collect();
    let wall_s = began.elapsed().as_secs_f64();
    assert!(outputs.iter().all(|output| output.status.success()), "a host failed");
    let seconds = |output: &std::process::Output| told(&output.stdout).expect("the host's report").streams_s;
    (wall_s, outputs.iter().flat_map(seconds).collect())
}

pub fn print(rows: &[Fairness]) {
    println!(
        "\n{:<40} {:>22} {:>26}",
        format!("streams of {} MiB", STREAM_BYTES / MIB),
        "GiB/s",
        "slowest stream to mean"
    );
    for row in rows {
        println!(
            "{:<40} {:>22} {:>26}",
            format!(
                "{} process(es) of {} streams {}",
                row.processes, row.streams, row.direction
            ),
            format_spread(row.gib_per_s, 2),
            format_spread(row.slowest_to_mean, 2),
        );
    }
}
