//! What this project wants to reach, held against the figures of one report. A target whose clients did not run is left out.

use serde::Serialize;

use super::args::Direction::{self, Down, Up};
use super::client::STREAMS;
use super::report::{Report, Row};
use super::scale::Scale;

/// The pool's default budget, and what may come to it, MiB.
const RSS_MAX_MIB: f64 = 1024.0 + 64.0;
const WRITE_P50_MAX_US: f64 = 60.0;
const STARTUP_MAX_MS: f64 = 15.0;
/// Of the rate of two streams, which none exceeds by much.
const MANY_STREAMS_MIN: f64 = 0.9;
/// Of a fair share.
const SLOWEST_MIN: f64 = 0.5;
/// A listing holds two pages, however many images there are.
const LISTING_GROWTH_MAX_MIB: f64 = 4.0;
/// To the same pages over a raw socket.
const LISTING_MAX: f64 = 1.2;
/// Keys that S3 lists at once.
const PAGE: u64 = 1000;

#[derive(Serialize)]
pub struct Verdict {
    pub target: String,
    pub figure: f64,
    pub bound: Bound,
    pub is_met: bool,
}

/// What the figure is held against.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

/// CPU seconds of one row against those of another.
struct Ratio {
    of: (&'static str, Direction, bool),
    to: (&'static str, Direction, bool),
    most: f64,
}

const fn ratio(of: &'static str, direction: Direction, tls: bool, most: f64, to: &'static str) -> Ratio {
    Ratio {
        of: (of, direction, tls),
        to: (to, direction, tls),
        most,
    }
}

const CPU: [Ratio; 9] = [
    ratio("vastost-crc64nvme", Up, false, 1.2, "limit-crc64nvme"),
    ratio("vastost-crc64nvme", Up, false, 0.6, "crt-crc64nvme"),
    ratio("vastost-md5", Up, false, 1.0, "crt"),
    ratio("vastost-md5", Up, false, 0.3, "s5cmd"),
    ratio("vastost-crc64nvme", Down, false, 0.65, "crt"),
    ratio("vastost-crc64nvme", Down, false, 1.2, "limit-crc64nvme"),
    ratio("vastost-crc64nvme", Up, true, 0.75, "crt-crc64nvme"),
    ratio("vastost-crc64nvme", Up, true, 0.75, "crt"),
    ratio("vastost-crc64nvme", Down, true, 0.75, "crt"),
];

const SLOWER: [&str; 3] = ["crt", "s5cmd", "rclone"];

pub fn verdicts(report: &Report) -> Vec<Verdict> {
    let mut verdicts: Vec<Verdict> = CPU.iter().filter_map(|ratio| cpu(report, ratio)).collect();
    for direction in [Up, Down] {
        verdicts.extend(SLOWER.iter().filter_map(|peer| wall(report, peer, direction)));
    }
    for row in &report.memory {
        for (mib, direction) in [(row.up_mib, Up), (row.down_mib, Down)] {
            let what = format!("peak RSS of {} stream(s) {}, MiB", row.streams, direction.name());
            verdicts.push(verdict(what, mib, RSS_MAX_MIB));
        }
    }
    for client in ["vastost-crc64nvme", "vastost-md5"] {
        if let Some(calls) = report.row(client, Up, false).and_then(|row| row.calls) {
            verdicts.push(verdict(
                format!("{client}: p50 of a write, us"),
                calls.p50_us,
                WRITE_P50_MAX_US,
            ));
        }
    }
    for startup in &report.startup {
        let what = if startup.tls { "startup over https" } else { "startup" };
        verdicts.push(verdict(
            format!("{what}, ms a process"),
            startup.process_ms.median,
            STARTUP_MAX_MS,
        ));
        verdicts.push(verdict(format!("{what}, requests"), startup.requests as f64, 1.0));
    }
    if let Some(scale) = &report.scale {
        verdicts.extend(scale_verdicts(report, scale));
    }
    verdicts
}

pub fn print(verdicts: &[Verdict]) {
    println!("\n{:<72} {:>10} {:>18}", "target", "figure", "wanted");
    for Verdict {
        target,
        figure,
        bound,
        is_met,
    } in verdicts
    {
        let wanted = match bound {
            Bound::AtMost(most) => format!("at most {most:.2}"),
            Bound::AtLeast(least) => format!("at least {least:.2}"),
        };
        println!(
            "{target:<72} {figure:>10.2} {wanted:>18}  {}",
            if *is_met { "met" } else { "NOT MET" }
        );
    }
}

pub fn verdict(target: String, figure: f64, most: f64) -> Verdict {
    Verdict {
        target,
        figure,
        bound: Bound::AtMost(most),
        is_met: figure <= most,
    }
}

fn at_least(target: String, figure: f64, least: f64) -> Verdict {
    Verdict {
        target,
        figure,
        bound: Bound::AtLeast(least),
        is_met: figure >= least,
    }
}

fn scale_verdicts(report: &Report, scale: &Scale) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    for row in &scale.fairness {
        let what = format!(
            "{} process(es) of {} streams {}",
            row.processes, row.streams, row.direction
        );
        let usual = report
            .rows
            .iter()
            .filter(|usual| usual.client == "vastost-crc64nvme" && usual.direction == row.direction && !usual.tls);
        verdicts.extend(usual.map(|usual| {
            let rate = row.gib_per_s.median / usual.gib_per_s.median;
            at_least(
                format!("{what}: rate to that of {STREAMS} streams"),
                rate,
                MANY_STREAMS_MIN,
            )
        }));
        verdicts.push(at_least(
            format!("{what}: slowest to mean"),
            row.slowest_to_mean.median,
            SLOWEST_MIN,
        ));
    }
    for row in scale.reads.iter().filter(|row| row.tls) {
        verdicts.push(verdict(
            "requests of a random read of 128 KiB, https".into(),
            row.requests_per_read,
            1.0,
        ));
        verdicts.push(verdict(
            "requests of the same read again, https".into(),
            row.requests_per_repeat,
            0.0,
        ));
    }
    for row in &scale.listing {
        let what = format!(
            "listing {} images{}: time to bare pages",
            row.images,
            if row.minio { " on MinIO" } else { "" }
        );
        verdicts.push(verdict(what, row.list_s.median / row.bare_s.median, LISTING_MAX));
    }
    let mut own = scale.listing.iter().filter(|row| !row.minio);
    if let (Some(few), Some(many)) = (own.next(), own.next_back()) {
        let grown = many.rss_mib.median - few.rss_mib.median;
        let what = format!("listing {} images: RSS over that of {}, MiB", many.images, few.images);
        verdicts.push(verdict(what, grown, LISTING_GROWTH_MAX_MIB));
        // The folder of pending images has a page too.
        let pages = many.images.div_ceil(PAGE) + 1;
        verdicts.push(verdict(
            format!("listing {} images: requests", many.images),
            many.requests as f64,
            pages as f64,
        ));
    }
    verdicts
}

fn cpu(report: &Report, ratio: &Ratio) -> Option<Verdict> {
    let find = |(client, direction, tls)| report.row(client, direction, tls);
    let of = find(ratio.of)?;
    let to = find(ratio.to)?;
    let scheme = if of.tls { " https" } else { "" };
    let what = format!("CPU {}{scheme}: {} to {}", of.direction, of.client, to.client);
    Some(verdict(
        what,
        of.cpu_s_per_gib.median / to.cpu_s_per_gib.median,
        ratio.most,
    ))
}

fn wall(report: &Report, peer: &str, direction: Direction) -> Option<Verdict> {
    let ours = report.row("vastost-crc64nvme", direction, false)?;
    let theirs = report.row(peer, direction, false)?;
    let seconds = |row: &Row| 1.0 / row.gib_per_s.median;
    let what = format!("wall {}: {} to {peer}", ours.direction, ours.client);
    Some(verdict(what, seconds(ours) / seconds(theirs), 1.0))
}
