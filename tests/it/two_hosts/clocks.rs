//! Writers on hosts whose clocks are an hour ahead or behind. They run in PID namespaces of their own, so that nobody can
//! look whether they live: what protects them is their lease by the server's clock, and nothing else.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use vastost_testkit::host::Definition;

use crate::cli::{command, run, to_run};
use crate::cluster::skipped;
use crate::writer::{Writer, until};
use vastost_testkit::test_store::{CALL, DATE, PART, Site, Wish, pattern, restore};

const LIBFAKETIME: &str = "faketime/libfaketimeMT.so.1";
const CLOCKS: [Option<&str>; 3] = [Some("+1h"), Some("-1h"), None];
/// Three renewals come in this time; it must be long enough for a machine that is busy with other tests.
const LEASE: Duration = Duration::from_secs(12);

/// False, and said, where namespaces cannot be made.
fn can_be_other_hosts() -> bool {
    let tried = Command::new("unshare")
        .args(["--pid", "--fork", "--mount-proc", "true"])
        .output();
    let possible = tried.is_ok_and(|output| output.status.success());
    if !possible {
        skipped("no namespaces: `unshare --pid --fork --mount-proc` is not possible here");
    }
    possible
}

fn libfaketime() -> PathBuf {
    let folders = [
        "/usr/lib/x86_64-linux-gnu",
        "/usr/lib/aarch64-linux-gnu",
        "/usr/lib64",
        "/usr/lib",
    ];
    let found = folders
        .iter()
        .map(|folder| Path::new(folder).join(LIBFAKETIME))
        .find(|path| path.exists());
    found.expect("libfaketime is not installed: apt-get install faketime")
}

/// `vastost-s3` with a configuration on a host of its own: its processes are unknown to all others, it has its own
/// state, and its clock is as far off as `clock` says.
fn elsewhere(site: &Site, host: &str, clock: Option<&str>) -> Command {
    let config = site.config.with_file_name(format!("{host}.toml"));
    let text = std::fs::read_to_string(&site.config).unwrap();
    std::fs::write(
        &config,
        text.replace("state_dir = \"state\"", &format!("state_dir = \"state-{host}\"")),
    )
    .unwrap();
    let inner = command(&config);
    let mut outer = Command::new("unshare");
    outer.args(["--pid", "--fork", "--mount-proc", "--kill-child", "env"]);
    if let Some(clock) = clock {
        outer
            .arg(format!("LD_PRELOAD={}", libfaketime().display()))
            .arg(format!("FAKETIME={clock}"));
        outer.args(["DONT_FAKE_MONOTONIC=1", "FAKETIME_DONT_FAKE_MONOTONIC=1"]);
    }
    for (name, _) in inner.get_envs() {
        outer.env_remove(name);
    }
    outer.arg(inner.get_program()).args(inner.get_args());
    outer
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    outer
}

fn site() -> Site {
    let lease = format!("writer_lease = \"{} s\"\n", LEASE.as_secs());
    let transfer = format!("[transfer]\npart_size = \"5 MiB\"\nimage_size_max = \"8 GiB\"\n{lease}");
    Site::new(
        &Wish {
            minio: true,
            ..Wish::default()
        }
        .with(&transfer),
    )
}

fn def(name: &str) -> Definition {
    Definition::new(name, DATE)
}

#[test]
fn a_clean_up_whatever_its_clock_takes_nothing_from_writers_whatever_theirs() {
    if !can_be_other_hosts() {
        return;
    }
    let site = site();
    // Each clock has a writer of many parts and one that is silent until its end.
    let hosts: Vec<_> = (1..).zip(CLOCKS.iter().chain(&CLOCKS)).collect();
    let mut writers: Vec<_> = hosts
        .iter()
        .map(|(number, clock)| {
            let name = format!("host{number}_{DATE}_C1_F1");
            let writer = Writer::start(&site, elsewhere(&site, &format!("host{number}"), **clock), &name);
            (def(&name), *number, writer)
        })
        .collect();
    let began = Instant::now();
    let mut written = 0;
    // Long enough that only renewals can have kept the writers' leases.
    while began.elapsed() < 2 * LEASE + LEASE / 2 {
        for clock in CLOCKS {
            let mut gc = elsewhere(&site, "cleaner", clock);
            gc.args(["gc", "main", "--older-than", "0s", "--orphan-data", "--yes"]);
            to_run(gc.output().unwrap()).expect(0);
            passing_writer_is_left_alone(&site, clock, written);
            for (_, seed, writer) in writers
                .iter_mut()
                .filter(|(_, number, _)| *number <= CLOCKS.len() as u64)
            {
                writer.write(&piece(*seed, written));
            }
            written += 1;
        }
    }
    let server = site.open();
    for (def, seed, writer) in writers {
        writer.finish().expect(0);
        let pieces = if seed <= CLOCKS.len() as u64 { written } else { 0 };
        let data: Vec<u8> = (0..pieces).flat_map(|number| piece(seed, number)).collect();
        assert!(restore(&server, &def, CALL) == data, "host {seed}");
    }
    println!(
        "{written} runs of gc, {written} pieces by each of {} writers, and as many short images",
        CLOCKS.len()
    );
    assert_eq!(
        site.keys_under("").len() as u64,
        2 * (2 * CLOCKS.len() as u64 + written)
    );
    let report = run(&site, &["--json", "verify", "main", "--deep", "--older-than", "0s"])
        .expect(0)
        .json();
    assert_eq!(report["findings"], serde_json::json!([]));
}

/// What a writer gets at once; less than a part, so that there is always an open one.
fn piece(seed: u64, number: u64) -> Vec<u8> {
    pattern(PART / 2 + 777, (seed << 12) + number)
}

/// A short image of a host that has never seen the server: gc runs beside its probe and its only put.
fn passing_writer_is_left_alone(site: &Site, clock: Option<&str>, number: u64) {
    let host = format!("guest{number}");
    let name = format!("guest{number}_{DATE}_C1_F1");
    let cleaning = std::sync::atomic::AtomicBool::new(true);
    std::thread::scope(|scope| {
        let cleaner = scope.spawn(|| {
            while cleaning.load(std::sync::atomic::Ordering::Relaxed) {
                run(site, &["gc", "main", "--older-than", "0s", "--orphan-data", "--yes"]).expect(0);
            }
        });
        let data = pattern(1000, number);
        let put = Writer::spawn(elsewhere(site, &host, clock), &name).write_and_finish(&data);
        cleaning.store(false, std::sync::atomic::Ordering::Relaxed);
        cleaner.join().unwrap();
        put.expect(0);
    });
    let state = site.folder.path().join(format!("state-{host}"));
    let probe = std::fs::read_dir(state).unwrap().map(|entry| entry.unwrap().path());
    let probe = probe
        .filter(|path| path.to_string_lossy().contains("/probe-"))
        .collect::<Vec<_>>();
    let record: serde_json::Value = serde_json::from_slice(&std::fs::read(&probe[0]).unwrap()).unwrap();
    for (name, proven) in record["capabilities"].as_object().unwrap() {
        assert_eq!(proven, true, "{host}: {name}");
    }
}

#[test]
fn a_writer_that_died_on_another_host_is_busy_until_its_lease_ends() {
    if !can_be_other_hosts() {
        return;
    }
    let site = site();
    for clock in CLOCKS {
        let name = format!("dead_{DATE}_C1_F1");
        let mut writer = Writer::start(&site, elsewhere(&site, "dead", clock), &name);
        writer.write(&pattern(2 * PART, 1));
        writer.kill();
        let image = format!("main/{name}");
        run(&site, &["gc", "main", "--older-than", "0s", "--yes"]).expect(0);
        let refused = run(&site, &["rm", &image, "--yes"]).expect(2);
        assert!(refused.stderr.contains("is being written by"), "{}", refused.stderr);
        until("the end of its lease", || {
            run(&site, &["rm", &image, "--yes"]).code == 0
        });
        assert_eq!(site.keys_under(""), [""; 0], "{clock:?}");
    }
}
