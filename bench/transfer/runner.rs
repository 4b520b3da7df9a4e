//! One client process, run under the stop watch or under strace.

use std::fs;
use std::hint::black_box;
use std::process::{Command, Output};

use memmap2::{Advice, MmapMut};
use serde::{Deserialize, Serialize};

use super::args::{GIB, MIB};
use super::client::{Invocation, Job};
use super::measure::Usage;
use super::peers::Peers;
use super::site::Site;

/// What one run took, the client's own figures first.
#[derive(Clone, Debug)]
pub struct Sample {
    pub usage: Usage,
    /// Of calls that move bytes; only the plug-in's host tells.
    pub calls: Option<Calls>,
    /// Of each stream of the host.
    pub streams_s: Vec<f64>,
    pub requests: u64,
    pub server_cpu_s: f64,
}

/// How long the host's calls took, microseconds.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Calls {
    /// Of the process, from before the plug-in was loaded, seconds.
    pub wall_s: f64,
    pub calls: u64,
    pub p50_us: f64,
    pub p99_us: f64,
    pub p999_us: f64,
    pub max_us: f64,
}

/// What the host says of itself.
#[derive(Debug, Deserialize)]
pub struct Told {
    #[serde(flatten)]
    pub calls: Calls,
    pub streams_s: Vec<f64>,
}

/// What an interpreter took before the client was made.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
struct Before {
    before_cpu_s: f64,
    before_wall_s: f64,
}

/// Touched before each run: more than any client but those of many streams has.
const WARM_BYTES: u64 = 1024 * MIB;

pub struct Runner<'a> {
    pub site: &'a Site,
    pub peers: &'a Peers,
}

impl Runner<'_> {
    pub fn run(&self, job: &Job) -> Sample {
        let invocation = job.invocation(self.site, self.peers);
        warm(WARM_BYTES);
        let sample = self.measured(&invocation, &format!("{} {}", job.client.name, job.direction.name()));
        let sink = self.site.path("sink");
        if let Ok(written) = fs::metadata(&sink) {
            assert_eq!(written.len(), job.bytes, "{} has not fetched all", job.client.name);
        }
        // Memory of the machine, not of the client.
        let _ = fs::remove_file(sink);
        sample
    }

    pub fn measured(&self, invocation: &Invocation, what: &str) -> Sample {
        let out = self.site.path("usage.json");
        let mut command = Command::new(std::env::current_exe().expect("own path"));
        command
            .arg("measure")
            .arg(&out)
            .arg(&invocation.program)
            .args(&invocation.args);
        let before = self.site.figures();
        let output = finished(command.envs(invocation.env.iter().cloned()), what);
        let after = self.site.figures();
        let mut usage: Usage = serde_json::from_slice(&fs::read(&out).expect("the usage")).expect("its JSON");
        let line = output.stdout.split(|byte| *byte == b'\n').next().unwrap_or_default();
        if let Ok(before) = serde_json::from_slice::<Before>(line) {
            usage.cpu_s -= before.before_cpu_s;
            usage.wall_s -= before.before_wall_s;
        }
        let told = told(line);
        Sample {
            usage,
            calls: told.as_ref().map(|told| told.calls),
            streams_s: told.map(|told| told.streams_s).unwrap_or_default(),
            requests: after.requests - before.requests,
            server_cpu_s: after.cpu_s - before.cpu_s,
        }
    }

    /// System calls of all threads, counted by strace in a run of its own: it slows the client down many times.
    pub fn system_calls(&self, job: &Job) -> Option<f64> {
        let invocation = job.invocation(self.site, self.peers);
        let out = self.site.path("strace.txt");
        let mut command = Command::new("strace");
        command
            .args(["-f", "-c", "-o"])
            .arg(&out)
            .arg(&invocation.program)
            .args(&invocation.args);
        let output = command.envs(invocation.env.iter().cloned()).output().ok()?;
        let _ = fs::remove_file(self.site.path("sink"));
        if !output.status.success() {
            println!(
                "strace of {}: {}",
                job.client.name,
                String::from_utf8_lossy(&output.stderr).trim()
            );
            return None;
        }
        let table = fs::read_to_string(&out).ok()?;
        // % time, seconds, usecs/call, calls, perhaps errors, "total".
        let total = table.lines().rev().find(|line| line.ends_with("total"))?;
        let calls: f64 = total.split_whitespace().nth(3)?.parse().ok()?;
        Some(calls * GIB as f64 / job.bytes as f64)
    }
}

/// Touches memory and lets it go. A virtual machine whose host lends it memory page by page waits for each page that is
/// new to it, twenty times as long as it takes to clear it: that would be billed to whoever comes first. Large pages, as
/// what is free in small ones cannot become a large one again.
pub fn warm(bytes: u64) {
    let mut memory = MmapMut::map_anon(usize::try_from(bytes).expect("fits memory")).expect("memory");
    let _ = memory.advise(Advice::HugePage);
    memory.fill(1);
    black_box(&memory);
}

/// The host's report, if it is one.
pub fn told(line: &[u8]) -> Option<Told> {
    serde_json::from_slice(line).ok()
}

fn finished(command: &mut Command, what: &str) -> Output {
    let output = command.output().expect("start the stop watch");
    if !output.status.success() {
        let told = String::from_utf8_lossy(&output.stdout);
        let warned = String::from_utf8_lossy(&output.stderr);
        panic!("{what}: {}\n{told}\n{warned}", output.status);
    }
    output
}
