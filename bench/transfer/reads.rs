//! Small reads all over an image, as single-file restores make them, and what a restore's first bytes take.
//!
//! Requests are the server's own count. That of the reads alone is the difference between a process that makes them and
//! one that only opens the image. Over plain http the plug-in fetches whole parts on purpose: nothing else would notice
//! a byte that flipped on the way. So only https has a target.

use serde::Serialize;

use super::args::{CALL, MIB};
use super::client::host;
use super::report::{Spread, format_spread};
use super::runner::{Calls, Runner, Sample};
use super::site::Place;

/// A power of two of blocks, see `random_reads` in host.c.
const IMAGE: u64 = 512 * MIB;
/// Over http each of them fetches a part of 16 MiB.
const READS: [(Place, u64); 2] = [(Place::Https, 1000), (Place::Http, 64)];
/// Times that each block is read when repeats are counted.
const TIMES: u64 = 4;
const STARTS: usize = 21;

#[derive(Serialize)]
pub struct Reads {
    pub tls: bool,
    pub reads: u64,
    /// For a block that was not read before.
    pub requests_per_read: f64,
    /// For one that was just read.
    pub requests_per_repeat: f64,
    /// Of reads of 128 KiB, none of them repeated.
    pub calls: Calls,
    /// From before the open of an image, in a fresh process, until its first 256 KiB were read.
    pub first_byte_ms: Spread,
    /// Of a process that does that and no more, the most of any.
    pub first_byte_requests: u64,
}

pub fn measure(runner: &Runner<'_>) -> Vec<Reads> {
    READS
        .iter()
        .map(|(place, reads)| measure_at(runner, *place, *reads))
        .collect()
}

fn measure_at(runner: &Runner<'_>, place: Place, reads: u64) -> Reads {
    let (site, date) = (runner.site, runner.site.fresh_date());
    let config = site.config("crc64nvme", place);
    let run = |mode: &str, numbers: &[u64]| runner.measured(&host(site, &config, mode, numbers), mode);
    run("up", &[1, IMAGE, date]);
    let random = |reads, times| run("random", &[reads, IMAGE, date, times]);
    let opened = random(0, 1);
    let once = random(reads, 1);
    let repeated = random(reads, TIMES);
    let more = |than: &Sample, sample: &Sample| sample.requests as f64 - than.requests as f64;
    let firsts: Vec<_> = (0..STARTS).map(|_| run("first", &[1, CALL, date])).collect();
    let told = |sample: &Sample| sample.calls.expect("the host's report");
    Reads {
        tls: place == Place::Https,
        reads,
        requests_per_read: more(&opened, &once) / reads as f64,
        requests_per_repeat: more(&once, &repeated) / (reads * (TIMES - 1)) as f64,
        calls: told(&once),
        first_byte_ms: Spread::of(firsts.iter().map(|sample| told(sample).max_us / 1e3)),
        first_byte_requests: firsts.iter().map(|sample| sample.requests).max().unwrap_or_default(),
    }
}

pub fn print(rows: &[Reads]) {
    println!(
        "\n{:<32} {:>12} {:>12} {:>10} {:>10} {:>24} {:>9}",
        "reads of 128 KiB at random", "requests", "repeated", "p50 us", "p99.9 us", "first byte ms", "requests"
    );
    for row in rows {
        println!(
            "{:<32} {:>12.3} {:>12.3} {:>10.0} {:>10.0} {:>24} {:>9}",
            format!(
                "{} over {}",
                row.reads,
                if row.tls { "https" } else { "http (whole parts)" }
            ),
            row.requests_per_read,
            row.requests_per_repeat,
            row.calls.p50_us,
            row.calls.p999_us,
            format_spread(row.first_byte_ms, 1),
            row.first_byte_requests,
        );
    }
}
