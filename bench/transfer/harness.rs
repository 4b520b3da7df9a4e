//! The order of things: every client once, then all again; then memory by streams, system calls, startup, what many streams
//! and images cost, and a real MinIO.

use std::fs;
use std::process::{Command, Stdio};

use super::args::{Args, Direction, GIB};
use super::client;
use super::client::{CLIENTS, Client, Job, Kind, STREAMS};
use super::minio::Minio;
use super::peers::Peers;
use super::report::{MemoryRow, Report, Row, Spread, Startup};
use super::runner::{Runner, Sample};
use super::site::{Place, Site, target_folder};
use super::{chart, minio, report, scale, targets};

const STARTS: usize = 21;

pub fn run(args: &Args) {
    let clients: Vec<Client> = CLIENTS.into_iter().filter(|client| is_wanted(args, client)).collect();
    let target = target_folder();
    let wants_peers = clients.iter().any(Client::is_peer);
    let peers = if wants_peers {
        Peers::install(&target.join("peers"))
    } else {
        Peers::default()
    };
    let mut site = Site::new();
    if args.minio {
        site.minio = Minio::start(&site.path(""));
    }
    let runner = Runner {
        site: &site,
        peers: &peers,
    };
    let jobs = jobs(args, &runner, &clients);

    let mut samples: Vec<Vec<Sample>> = vec![Vec::new(); jobs.len()];
    for run in 1..=args.runs.max(1) {
        for (job, samples) in jobs.iter().zip(&mut samples) {
            samples.push(runner.run(&fresh(&site, job)));
        }
        println!("run {run} of {} is done", args.runs.max(1));
    }
    let has_strace = !args.no_strace && is_installed("strace");
    let rows = jobs.iter().zip(&samples).map(|(job, samples)| {
        let counted = has_strace
            .then(|| {
                runner.system_calls(&Job {
                    bytes: GIB,
                    ..fresh(&site, job)
                })
            })
            .flatten();
        Row::new(job, samples, counted)
    });
    let rows = rows.collect();
    let has_plugin = clients.iter().any(Client::is_plugin);
    let report = Report {
        machine: report::machine(),
        gib: args.gib,
        runs: args.runs.max(1),
        rows,
        memory: if has_plugin { memory(args, &runner) } else { Vec::new() },
        startup: if has_plugin {
            vec![startup(&runner, Place::Http), startup(&runner, Place::Https)]
        } else {
            Vec::new()
        },
        scale: (has_plugin && !args.no_scale).then(|| scale::measure(args, &runner)),
        minio: if site.minio.is_some() {
            minio::measure(args, &runner, &clients)
        } else {
            Vec::new()
        },
        minio_gib: args.minio_gib.max(1),
    };
    publish(args, &report, &target);
}

fn publish(args: &Args, report: &Report, target: &std::path::Path) {
    report.print();
    let verdicts = targets::verdicts(report);
    targets::print(&verdicts);
    let json = args.json.clone().unwrap_or_else(|| target.join("transfer.json"));
    fs::write(&json, report.json(&verdicts)).expect("write the figures");
    let svg = args.svg.clone().unwrap_or_else(|| target.join("transfer.svg"));
    fs::write(&svg, chart::svg(report)).expect("write the chart");
    println!("\nfigures: {}\nchart:   {}", json.display(), svg.display());
}

fn is_wanted(args: &Args, client: &Client) -> bool {
    args.only.is_empty() || args.only.iter().any(|name| client.name.starts_with(name.as_str()))
}

fn is_installed(program: &str) -> bool {
    let status = Command::new(program)
        .arg("-V")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}

/// Every client in both directions, over http and, where asked for and known, https. Writes the images that are restored.
fn jobs(args: &Args, runner: &Runner<'_>, clients: &[Client]) -> Vec<Job> {
    let bytes = args.gib.max(1) * GIB;
    let mut jobs = Vec::new();
    for client in clients.iter().filter(|client| client.is_there(runner.peers)) {
        let up = Job {
            client: *client,
            direction: Direction::Up,
            place: Place::Http,
            bytes,
            streams: STREAMS,
            date: 0,
        };
        let written = fresh(runner.site, &up);
        if client.is_plugin() {
            // Also finds out, once, what the server can do.
            runner.run(&written);
        }
        for place in [Place::Http, Place::Https] {
            if place == Place::Http || args.tls && client.speaks_tls() {
                jobs.push(Job { place, ..up });
                jobs.push(Job {
                    place,
                    direction: Direction::Down,
                    ..written
                });
            }
        }
    }
    jobs
}

/// The job on images that do not exist yet, if it writes some.
fn fresh(site: &Site, job: &Job) -> Job {
    match job.direction {
        Direction::Up => Job {
            date: site.fresh_date(),
            ..*job
        },
        Direction::Down => *job,
    }
}

/// Peak memory of backup and restore by number of streams, all sharing the bytes of one run.
fn memory(args: &Args, runner: &Runner<'_>) -> Vec<MemoryRow> {
    let plugin = CLIENTS
        .into_iter()
        .find(|client| client.kind == Kind::Plugin("crc64nvme"))
        .expect("the plug-in");
    let bytes = args.gib.max(1) * GIB;
    let measure = |streams: &u64| {
        let streams = (*streams).clamp(1, 1000);
        let date = runner.site.fresh_date();
        let job = Job {
            client: plugin,
            direction: Direction::Up,
            place: Place::Http,
            bytes,
            streams,
            date,
        };
        let up = runner.run(&job);
        let down = runner.run(&Job {
            direction: Direction::Down,
            ..job
        });
        let mib = |sample: Sample| sample.usage.rss_kib / 1024.0;
        MemoryRow {
            streams,
            up_mib: mib(up),
            down_mib: mib(down),
        }
    };
    args.streams.iter().map(measure).collect()
}

/// What NetBackup's pollers do in a process of their own, every time.
fn startup(runner: &Runner<'_>, place: Place) -> Startup {
    let config = runner.site.config("crc64nvme", place);
    let invocation = client::host(runner.site, &config, "startup", &[1, 0, 0]);
    let samples: Vec<_> = (0..STARTS).map(|_| runner.measured(&invocation, "startup")).collect();
    let in_process = samples
        .iter()
        .map(|sample| sample.calls.expect("the host's report").wall_s * 1e3);
    Startup {
        tls: place == Place::Https,
        starts: STARTS,
        process_ms: Spread::of(samples.iter().map(|sample| sample.usage.wall_s * 1e3)),
        calls_ms: Spread::of(in_process),
        cpu_ms: Spread::of(samples.iter().map(|sample| sample.usage.cpu_s * 1e3)),
        requests: samples.iter().map(|sample| sample.requests).max().unwrap_or_default(),
    }
}
