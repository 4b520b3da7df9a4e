//! The same transfers on a real MinIO, which writes what it gets: one drive, in memory, started by tests/minio.sh.
//!
//! Wall time is bounded by MinIO here, and so are clients that wait for it. Its CPU time is the server's column.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use vastost_testkit::repository;

use super::args::{Args, Direction, GIB};
use super::client::{Client, Job, Kind, STREAMS, host};
use super::report::Row;
use super::runner::{Runner, Sample};
use super::sdk;
use super::site::Place;

const RUNS_MAX: usize = 3;
/// `USER_HZ` of Linux, see proc_pid_stat(5).
const TICKS_PER_SECOND: f64 = 100.0;

/// Stopped, with its data, when dropped.
pub struct Minio {
    pub url: String,
    folder: PathBuf,
    port: String,
}

impl Minio {
    /// None, with a word, when there is none and none can be built.
    pub fn start(folder: &Path) -> Option<Self> {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let port = free.expect("a free port").port().to_string();
        let url = format!("http://127.0.0.1:{port}");
        let minio = Self {
            url,
            folder: folder.join("minio"),
            port,
        };
        let output = minio.script("start").output().expect("run tests/minio.sh");
        if !output.status.success() {
            println!("MinIO is left out: {}", String::from_utf8_lossy(&output.stderr).trim());
            return None;
        }
        sdk::make_bucket(&minio.url);
        Some(minio)
    }

    /// User and system time of its process so far.
    pub fn cpu_s(&self) -> f64 {
        let pid = fs::read_to_string(self.folder.join("pid")).unwrap_or_default();
        let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
        // Behind the name, which may hold spaces, user and system time are the 12th and 13th.
        let fields = stat.rsplit(") ").next().unwrap_or_default().split(' ').skip(11).take(2);
        fields.flat_map(str::parse::<f64>).sum::<f64>() / TICKS_PER_SECOND
    }

    /// What was deleted or replaced stays in memory for minutes otherwise.
    fn empty_trash(&self) {
        let trash = self.folder.join("data/.minio.sys/tmp/.trash");
        for entry in fs::read_dir(trash).into_iter().flatten().flatten() {
            // MinIO may be quicker.
            let _ = fs::remove_dir_all(entry.path());
        }
    }

    fn script(&self, verb: &str) -> Command {
        let mut command = Command::new(repository("tests/minio.sh"));
        command
            .arg(verb)
            .env("VASTOST_MINIO_DIR", &self.folder)
            .env("VASTOST_MINIO_PORT", &self.port);
        command
    }
}

impl Drop for Minio {
    fn drop(&mut self) {
        let _ = self.script("stop").status();
    }
}

/// Every client that somebody could use, up and then down, interleaved. The plug-in's images are deleted in between: MinIO's
/// drive is the machine's memory.
pub fn measure(args: &Args, runner: &Runner<'_>, clients: &[Client]) -> Vec<Row> {
    let wanted = clients
        .iter()
        .filter(|client| is_wanted(client) && client.is_there(runner.peers));
    let up = |client: &Client| Job {
        client: *client,
        direction: Direction::Up,
        place: Place::Minio,
        bytes: args.minio_gib.max(1) * GIB,
        streams: STREAMS,
        date: 0,
    };
    let jobs: Vec<Job> = wanted.map(up).collect();
    let mut samples: Vec<[Vec<Sample>; 2]> = jobs.iter().map(|_| [Vec::new(), Vec::new()]).collect();
    // A first round without figures finds out what the server can do.
    for run in 0..=args.runs.clamp(1, RUNS_MAX) {
        for (job, [up, down]) in jobs.iter().zip(&mut samples) {
            let job = Job {
                date: runner.site.fresh_date(),
                ..*job
            };
            let both = [
                runner.run(&job),
                runner.run(&Job {
                    direction: Direction::Down,
                    ..job
                }),
            ];
            delete(runner, &job);
            if run > 0 {
                let [sent, fetched] = both;
                up.push(sent);
                down.push(fetched);
            }
        }
        println!("run {run} on MinIO is done");
    }
    let rows = jobs.iter().zip(&samples).flat_map(|(job, [up, down])| {
        [
            Row::new(job, up, None),
            Row::new(
                &Job {
                    direction: Direction::Down,
                    ..*job
                },
                down,
                None,
            ),
        ]
    });
    rows.collect()
}

fn is_wanted(client: &Client) -> bool {
    client.is_plugin() || matches!(client.kind, Kind::Crt(false) | Kind::S5cmd | Kind::Rclone)
}

/// Frees the memory that a client's objects take; the next upload of another client than the plug-in replaces its last one.
fn delete(runner: &Runner<'_>, job: &Job) {
    if let Kind::Plugin(wire) = job.client.kind {
        let config = runner.site.config(wire, job.place);
        runner.measured(&host(runner.site, &config, "rm", &[job.streams, 0, job.date]), "rm");
    }
    runner.site.minio.iter().for_each(Minio::empty_trash);
}
