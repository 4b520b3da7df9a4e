//! Medians with their spread, as a table and as JSON.

use std::fs;

use serde::Serialize;

use super::args::{Direction, GIB};
use super::client::Job;
use super::runner::{Calls, Sample};
use super::scale::Scale;
use super::site::Place;
use super::targets::Verdict;

#[derive(Serialize)]
pub struct Report {
    pub machine: Machine,
    pub gib: u64,
    pub runs: usize,
    pub rows: Vec<Row>,
    pub memory: Vec<MemoryRow>,
    pub startup: Vec<Startup>,
    pub scale: Option<Scale>,
    /// On a real MinIO.
    pub minio: Vec<Row>,
    pub minio_gib: u64,
}

#[derive(Serialize)]
pub struct Machine {
    cpu: String,
    cpus: usize,
    kernel: String,
    date: String,
}

/// One client in one direction.
#[derive(Serialize)]
pub struct Row {
    pub client: &'static str,
    pub direction: &'static str,
    pub tls: bool,
    pub proof: &'static str,
    pub cpu_s_per_gib: Spread,
    pub gib_per_s: Spread,
    pub rss_mib: Spread,
    pub minor_faults_per_gib: Spread,
    pub switches_per_gib: Spread,
    /// None: not counted.
    pub system_calls_per_gib: Option<f64>,
    pub requests: u64,
    /// Of the server, which is not in any other figure.
    pub server_cpu_s_per_gib: Spread,
    /// Of the run with the median p50.
    pub calls: Option<Calls>,
}

#[derive(Serialize)]
pub struct MemoryRow {
    pub streams: u64,
    pub up_mib: f64,
    pub down_mib: f64,
}

#[derive(Serialize)]
pub struct Startup {
    pub tls: bool,
    pub starts: usize,
    /// From the start of the process to its end.
    pub process_ms: Spread,
    /// From before the load of the plug-in to behind `stsp_terminate`.
    pub calls_ms: Spread,
    pub cpu_ms: Spread,
    /// The most of any start.
    pub requests: u64,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub struct Spread {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

impl Spread {
    pub fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = values.collect();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        let median = if sorted.len() % 2 == 1 {
            sorted[middle]
        } else {
            (sorted[middle - 1] + sorted[middle]) / 2.0
        };
        Self {
            median,
            min: sorted[0],
            max: sorted[sorted.len() - 1],
        }
    }
}

impl Row {
    pub fn new(job: &Job, samples: &[Sample], system_calls_per_gib: Option<f64>) -> Self {
        let gib = job.bytes as f64 / GIB as f64;
        let spread = |of: &dyn Fn(&Sample) -> f64| Spread::of(samples.iter().map(of));
        let mut calls: Vec<Calls> = samples.iter().filter_map(|sample| sample.calls).collect();
        calls.sort_by(|a, b| a.p50_us.total_cmp(&b.p50_us));
        Self {
            client: job.client.name,
            direction: job.direction.name(),
            tls: job.place == Place::Https,
            proof: job.client.proof,
            cpu_s_per_gib: spread(&|sample| sample.usage.cpu_s / gib),
            gib_per_s: spread(&|sample| gib / sample.usage.wall_s),
            rss_mib: spread(&|sample| sample.usage.rss_kib / 1024.0),
            minor_faults_per_gib: spread(&|sample| sample.usage.minor_faults / gib),
            switches_per_gib: spread(&|sample| sample.usage.switches / gib),
            system_calls_per_gib,
            requests: samples.iter().map(|sample| sample.requests).max().unwrap_or_default(),
            server_cpu_s_per_gib: spread(&|sample| sample.server_cpu_s / gib),
            calls: calls.get(calls.len() / 2).copied(),
        }
    }
}

impl Report {
    pub fn row(&self, client: &str, direction: Direction, tls: bool) -> Option<&Row> {
        let fits = |row: &&Row| row.client == client && row.direction == direction.name() && row.tls == tls;
        self.rows.iter().find(fits)
    }

    pub fn print(&self) {
        let Machine {
            cpu,
            cpus,
            kernel,
            date,
        } = &self.machine;
        println!(
            "\n{cpu}, {cpus} CPUs, Linux {kernel}, {date}; {} GiB, {} runs: median (min to max)",
            self.gib, self.runs
        );
        print_transfers(&self.rows, "");
        self.print_calls();
        for row in &self.memory {
            println!(
                "{:>3} streams: peak RSS {:.0} MiB up, {:.0} MiB down",
                row.streams, row.up_mib, row.down_mib
            );
        }
        for startup in &self.startup {
            let process = startup.process_ms;
            let calls = startup.calls_ms;
            println!(
                "startup{}, {} times: {:.1} ms ({:.1} to {:.1}) a process, {:.1} ms from load to terminate, {} request(s)",
                if startup.tls { " over https" } else { "" },
                startup.starts,
                process.median,
                process.min,
                process.max,
                calls.median,
                startup.requests
            );
        }
        if let Some(scale) = &self.scale {
            scale.print();
        }
        if !self.minio.is_empty() {
            print_transfers(&self.minio, &format!(", MinIO, {} GiB", self.minio_gib));
        }
    }

    fn print_calls(&self) {
        println!(
            "\n{:<32} {:>10} {:>10} {:>10} {:>12}",
            "a call of 256 KiB, us", "p50", "p99", "p99.9", "max"
        );
        for row in &self.rows {
            let Some(calls) = row.calls else { continue };
            let name = format!(
                "{} {}{}",
                row.client,
                row.direction,
                if row.tls { " https" } else { "" }
            );
            let Calls {
                p50_us,
                p99_us,
                p999_us,
                max_us,
                ..
            } = calls;
            println!("{name:<32} {p50_us:>10.1} {p99_us:>10.1} {p999_us:>10.1} {max_us:>12.1}");
        }
        println!();
    }

    pub fn json(&self, verdicts: &[Verdict]) -> Vec<u8> {
        let both = serde_json::json!({ "report": self, "targets": verdicts });
        let mut text = serde_json::to_vec_pretty(&both).expect("numbers and texts");
        text.push(b'\n');
        text
    }
}

fn print_transfers(rows: &[Row], place: &str) {
    for direction in [Direction::Up, Direction::Down] {
        println!(
            "\n{:<24} {:>24} {:>20} {:>9} {:>10} {:>10} {:>12} {:>9}",
            format!("{}{place}", direction.name()),
            "CPU-s/GiB",
            "GiB/s",
            "RSS MiB",
            "faults/GiB",
            "switch/GiB",
            "syscalls/GiB",
            "server"
        );
        rows.iter()
            .filter(|row| row.direction == direction.name())
            .for_each(print_row);
    }
}

fn print_row(row: &Row) {
    let calls = row
        .system_calls_per_gib
        .map_or("not counted".into(), |calls| format!("{calls:.0}"));
    println!(
        "{:<24} {:>24} {:>20} {:>9.0} {:>10.0} {:>10.0} {calls:>12} {:>9.3}",
        format!("{}{}", row.client, if row.tls { " https" } else { "" }),
        format_spread(row.cpu_s_per_gib, 3),
        format_spread(row.gib_per_s, 2),
        row.rss_mib.median,
        row.minor_faults_per_gib.median,
        row.switches_per_gib.median,
        row.server_cpu_s_per_gib.median,
    );
}

pub fn format_spread(spread: Spread, digits: usize) -> String {
    format!(
        "{:.digits$} ({:.digits$} to {:.digits$})",
        spread.median, spread.min, spread.max
    )
}

pub fn machine() -> Machine {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info
        .lines()
        .find(|line| line.starts_with("model name"))
        .and_then(|line| line.split(": ").nth(1));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    Machine {
        cpu: name.unwrap_or("unknown CPU").to_owned(),
        cpus: std::thread::available_parallelism().map_or(0, Into::into),
        kernel: kernel.trim().to_owned(),
        date: jiff::Timestamp::now().strftime("%Y-%m-%d").to_string(),
    }
}
