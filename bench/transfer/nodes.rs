//! `nodes`: what backups and restores under way feel when one of four nodes dies, freezes, or is fifty times slower.
//!
//! The nodes are relays of limited pace in front of the one discard/zero server, so that neither the store nor the CPU is
//! what is measured. The host writes and reads all the time; what it moved is sampled at the nodes. Nothing of a real
//! cluster's own recovery is in the figures: the data are there all the time.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::args::{MIB, NodesArgs};
use super::cluster::Cluster;
use super::report::{Machine, machine};
use super::site::{BUCKET, Site, target_folder};
use super::targets;
use super::targets::{Verdict, verdict};
use super::timeline::{Findings, STEP, Sample, Timeline};

/// The second one: the first gives the cluster its name.
const VICTIM: usize = 1;
/// Sixteen parts of the default size.
const IMAGE: u64 = 256 * MIB;
const SLOWER: u64 = 50;
/// Before the samples begin: connections, first images.
const WARM_UP: Duration = Duration::from_secs(3);
/// How far a healthy node's share may be from even.
const UNEVEN_MAX: f64 = 0.15;

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Fault {
    Killed,
    Frozen,
    Slow,
}

/// What is done to the node, and the plug-in's `hedge_percent`.
const SCENARIOS: [(Fault, u64); 4] = [
    (Fault::Killed, 2),
    (Fault::Frozen, 2),
    (Fault::Slow, 2),
    (Fault::Slow, 0),
];

#[derive(Serialize)]
struct Outcome {
    fault: Fault,
    hedge_percent: u64,
    findings: Findings,
    host: Host,
    timeline: Timeline,
}

/// What the host says of itself.
#[derive(Serialize, Deserialize)]
struct Host {
    images: u64,
    failed: u64,
    up: Latency,
    down: Latency,
    close: Latency,
}

/// Of 16 MiB in calls of 256 KiB, or of a close that completes an image.
#[derive(Serialize, Deserialize)]
struct Latency {
    count: u64,
    p50_ms: f64,
    p99_ms: f64,
    p999_ms: f64,
    max_ms: f64,
}

#[derive(Serialize)]
struct Report {
    machine: Machine,
    pace_mib: u64,
    streams: u64,
    phase_s: u64,
    outcomes: Vec<Outcome>,
    targets: Vec<Verdict>,
}

pub fn run(args: &NodesArgs) {
    let site = Site::new();
    site.compile("churn");
    let outcomes: Vec<Outcome> = SCENARIOS
        .into_iter()
        .map(|scenario| play(args, &site, scenario))
        .collect();
    print(&outcomes);
    let targets: Vec<Verdict> = outcomes.iter().flat_map(verdicts).collect();
    targets::print(&targets);
    let pace_mib = args.pace_mib;
    let streams = args.streams;
    let phase_s = args.phase;
    let report = Report {
        machine: machine(),
        pace_mib,
        streams,
        phase_s,
        outcomes,
        targets,
    };
    let json = args.json.clone().unwrap_or_else(|| target_folder().join("nodes.json"));
    fs::write(&json, serde_json::to_vec_pretty(&report).expect("numbers and texts")).expect("write the figures");
    println!("\nfigures: {}", json.display());
}

/// One fault from healthy nodes to healthy nodes, each with fresh processes.
fn play(args: &NodesArgs, site: &Site, (fault, hedge_percent): (Fault, u64)) -> Outcome {
    println!("\n{}: MiB/s in steps of 250 ms  |  by node", name(fault, hedge_percent));
    let mut cluster = Cluster::start(site, args.pace_mib * MIB);
    let tables = format!("[integrity]\nwire = \"crc64nvme\"\n[retry]\nhedge_percent = {hedge_percent}\n");
    let config = site.write_config(&format!("nodes-{hedge_percent}"), &cluster.urls(), BUCKET, &tables);
    let host = start_host(args, site, &config);
    thread::sleep(WARM_UP);
    let timeline = watch(args, &mut cluster, fault);
    timeline.print();
    let output = host.wait_with_output().expect("the host's end");
    assert!(output.status.success(), "the host failed");
    let host = serde_json::from_slice(&output.stdout).expect("the host's report");
    Outcome {
        fault,
        hedge_percent,
        findings: timeline.findings(VICTIM),
        host,
        timeline,
    }
}

fn start_host(args: &NodesArgs, site: &Site, config: &Path) -> Child {
    let numbers = [
        args.streams,
        IMAGE,
        site.fresh_date(),
        WARM_UP.as_secs() + 3 * args.phase,
    ];
    let mut command = Command::new(site.path("churn"));
    command
        .arg(&site.plugin)
        .arg(config)
        .args(numbers.map(|number| number.to_string()));
    command.stdout(Stdio::piped()).spawn().expect("start the host")
}

/// Samples three phases: healthy, with the fault, mended.
fn watch(args: &NodesArgs, cluster: &mut Cluster, fault: Fault) -> Timeline {
    let began = Instant::now();
    let phase = args.phase as f64;
    let mut timeline = Timeline {
        fault_s: phase,
        mended_s: 2.0 * phase,
        samples: Vec::new(),
    };
    let mut last = cluster.moved();
    let mut last_s = 0.0;
    let mut done = 0;
    for step in 1.. {
        thread::sleep((began + STEP * step).saturating_duration_since(Instant::now()));
        let now = cluster.moved();
        let at_s = began.elapsed().as_secs_f64();
        timeline.samples.push(Sample::between(at_s, at_s - last_s, last, now));
        (last, last_s) = (now, at_s);
        match done {
            0 if at_s >= phase => {
                begin(cluster, fault);
                timeline.fault_s = began.elapsed().as_secs_f64();
                done = 1;
            }
            1 if at_s >= 2.0 * phase => {
                apply(cluster, fault);
                timeline.mended_s = began.elapsed().as_secs_f64();
                done = 2;
            }
            _ if at_s >= 3.0 * phase => break,
            _ => {}
        }
    }
    timeline
}

fn begin(cluster: &mut Cluster, fault: Fault) {
    match fault {
        Fault::Killed => cluster.kill(VICTIM),
        Fault::Frozen => cluster.freeze(VICTIM),
        Fault::Slow => cluster.slow_down(VICTIM, SLOWER),
    }
}

fn apply(cluster: &mut Cluster, fault: Fault) {
    match fault {
        Fault::Killed => cluster.restart(VICTIM),
        Fault::Frozen => cluster.thaw(VICTIM),
        Fault::Slow => cluster.slow_down(VICTIM, 1),
    }
}

fn name(fault: Fault, hedge_percent: u64) -> String {
    let what = match fault {
        Fault::Killed => "killed".to_owned(),
        Fault::Frozen => "frozen".to_owned(),
        Fault::Slow => format!("{SLOWER} times slower"),
    };
    let hedges = if hedge_percent == 0 { ", no second tries" } else { "" };
    format!("node {} {what}{hedges}", VICTIM + 1)
}

fn verdicts(outcome: &Outcome) -> [Verdict; 2] {
    let what = name(outcome.fault, outcome.hedge_percent);
    [
        verdict(format!("{what}: failed operations"), outcome.host.failed as f64, 0.0),
        verdict(
            format!("{what}: shares before, farthest from even"),
            outcome.findings.uneven,
            UNEVEN_MAX,
        ),
    ]
}

fn print(outcomes: &[Outcome]) {
    println!(
        "\n{:<40} {:>9} {:>8} {:>8} {:>8} {:>12} {:>9} {:>8} {:>7} {:>7}",
        "", "before", "stall", "of 3/4", "settled", "share again", "for good", "after", "images", "failed"
    );
    for Outcome {
        fault,
        hedge_percent,
        findings,
        host,
        ..
    } in outcomes
    {
        let time = |seconds: Option<f64>| seconds.map_or("never".into(), |seconds| format!("{seconds:.1} s"));
        let again = time(findings.share_again_s);
        let kept = time(findings.share_kept_s);
        println!(
            "{:<40} {:>9.0} {:>6.2} s {:>8.2} {:>8.2} {again:>12} {kept:>9} {:>8.2} {:>7} {:>7}",
            name(*fault, *hedge_percent),
            findings.before_mib_per_s,
            findings.stall_s,
            findings.during_to_three_quarters,
            findings.settled_to_three_quarters,
            findings.after_to_before,
            host.images,
            host.failed,
        );
    }
    println!(
        "\n{:<64} {:>7} {:>10} {:>10} {:>10} {:>10}",
        "ms", "count", "p50", "p99", "p99.9", "max"
    );
    for Outcome {
        fault,
        hedge_percent,
        host,
        ..
    } in outcomes
    {
        for (what, latency) in [
            ("16 MiB written", &host.up),
            ("16 MiB read", &host.down),
            ("close of an image", &host.close),
        ] {
            let Latency {
                count,
                p50_ms,
                p99_ms,
                p999_ms,
                max_ms,
            } = latency;
            let what = format!("{}: {what}", name(*fault, *hedge_percent));
            println!("{what:<64} {count:>7} {p50_ms:>10.0} {p99_ms:>10.0} {p999_ms:>10.0} {max_ms:>10.0}");
        }
    }
}
