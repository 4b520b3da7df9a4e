//! `bench` through the built command line: figures of the right shape, and nothing left behind whatever happens.

use std::path::Path;
use std::process::{Child, Command};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use vastost_testkit::host::Definition;

use crate::cli::{Run, command, run, to_run};
use crate::conformance::on_every_server;
use crate::writer::until;
use vastost_testkit::test_store::{CALL, DATE, Site, Wish, backup, image, pattern, restore};

on_every_server!(
    every_combination_is_measured_and_nothing_is_left,
    what_a_killed_bench_left_goes_with_the_next,
    a_living_bench_is_left_alone_and_ends_clean_on_a_signal,
);

const TINY: [&str; 7] = [
    "--json",
    "bench",
    "main",
    "--yes",
    "--wire=md5",
    "--size=6 MiB",
    "--part-size=5 MiB",
];

fn site(wish: &Wish) -> Site {
    Site::new(&wish.with("[transfer]\nimage_size_max = \"8 GiB\"\n"))
}

fn tiny(site: &Site, more: &[&str]) -> Command {
    let mut command = command(&site.config);
    command.args(TINY).args(more);
    command
}

fn finish(mut command: Command) -> Run {
    to_run(command.output().unwrap())
}

/// A bench that goes on until it is ended, when its streams have begun.
fn endless(site: &Site) -> Child {
    let mut command = command(&site.config);
    command.args([
        "bench",
        "main",
        "--yes",
        "--wire=md5",
        "--size=8 GiB",
        "--part-size=5 MiB",
        "--streams=2",
    ]);
    let child = command.spawn().unwrap();
    until("an upload", || site.keys_under("pending/").len() == 3);
    child
}

fn assert_figures(run: &Value, streams: u64) {
    assert_eq!(run["bytes"], streams * (6 << 20), "{run}");
    assert_eq!(run["call_us"]["count"], streams * 24, "{run}");
    for figure in ["wall_s", "mib_per_s", "cpu_s", "cpu_s_per_gib", "peak_rss_bytes"] {
        assert!(run[figure].as_f64().unwrap() > 0.0, "{figure} of {run}");
    }
    let quantiles = ["p50", "p99", "p99_9", "max"].map(|name| run["call_us"][name].as_f64().unwrap());
    assert!(quantiles[0] > 0.0 && quantiles.is_sorted(), "{run}");
    let rates = ["min", "mean", "max"].map(|name| run["stream_mib_per_s"][name].as_f64().unwrap());
    assert!(rates[0] > 0.0 && rates.is_sorted(), "{run}");
}

fn every_combination_is_measured_and_nothing_is_left(wish: &Wish) {
    let site = site(wish);
    let server = site.open();
    let data = pattern(1000, 1);
    backup(&server, &image("db01", 0), &data, CALL);
    let before = site.keys_under("");
    let temporary = tempfile::tempdir().unwrap();
    // Relative, as is the file with the keys: the settings that are measured lie elsewhere.
    let mut bench = command(Path::new("vastost.toml"));
    bench.current_dir(site.folder.path()).env("TMPDIR", temporary.path());
    bench.args(TINY).args(["--streams=1,2", "--in-flight=1,4"]);
    let report = finish(bench).expect(0).json();
    let runs = report["runs"].as_array().unwrap();
    let order = [
        ("up", 1, 1),
        ("down", 1, 1),
        ("up", 1, 2),
        ("down", 1, 2),
        ("up", 4, 1),
        ("down", 4, 1),
        ("up", 4, 2),
        ("down", 4, 2),
    ];
    assert_eq!(runs.len(), order.len(), "{report:#}");
    for (run, (direction, in_flight, streams)) in runs.iter().zip(order) {
        assert_eq!(
            (&run["direction"], &run["wire"], &run["part_size"]),
            (&direction.into(), &"md5".into(), &(5 << 20).into())
        );
        assert_eq!(
            (&run["parts_in_flight"], &run["streams"]),
            (&in_flight.into(), &streams.into())
        );
        assert_figures(run, streams);
    }
    assert_eq!(
        (&report["schema"], &report["lsu"], &report["not_measured"]),
        (&1.into(), &"main".into(), &0.into())
    );
    assert_eq!(report["advice"]["part_size"], 5 << 20);
    assert_eq!(report["advice"]["direction"], "up");
    assert_eq!(site.keys_under(""), before);
    assert_eq!(restore(&server, &image("db01", 0), CALL), data);
    assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0);
}

fn what_a_killed_bench_left_goes_with_the_next(wish: &Wish) {
    let site = site(wish);
    let server = site.open();
    // A client may have our name, which makes no image one of ours.
    backup(&server, &image("vastost-bench", 0), b"x", CALL);
    let before = site.keys_under("");
    let mut killed = endless(&site);
    killed.kill().unwrap();
    killed.wait().unwrap();
    // Another bench was killed when its image was complete.
    backup(
        &server,
        &Definition::new(format!("vastost-bench_{DATE}_C1_0123abcd.7"), DATE),
        b"x",
        CALL,
    );
    let report = finish(tiny(&site, &["--streams=1", "--mode=up"])).expect(0);
    // Two streams, the guard, and the complete one.
    assert_eq!(report.json()["leftovers_removed"], 4, "{}", report.stderr);
    assert!(report.stderr.contains("removed 4 images"), "{}", report.stderr);
    assert_eq!(site.keys_under(""), before);
    // A kill can come between an upload's begin and the record of it: no writer's clean-up finds that, only gc does.
    let gc = run(&site, &["--json", "gc", "main", "--older-than", "0s"]).json();
    assert!(
        gc["actions"]
            .as_array()
            .unwrap()
            .iter()
            .all(|action| action["class"] == "orphan-upload"),
        "{gc:#}"
    );
}

fn a_living_bench_is_left_alone_and_ends_clean_on_a_signal(wish: &Wish) {
    let site = site(wish);
    let living = endless(&site);
    let other = finish(tiny(&site, &["--streams=1", "--mode=down"])).expect(0);
    assert!(other.stderr.contains("left alone"), "{}", other.stderr);
    assert_eq!(other.json()["runs"].as_array().unwrap().len(), 1);
    assert_eq!(site.keys_under("pending/").len(), 3);
    kill(Pid::from_raw(living.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
    let ended = to_run(living.wait_with_output().unwrap()).expect(2);
    assert!(ended.stderr.ends_with("vastost-s3: interrupted\n"), "{}", ended.stderr);
    assert_eq!(site.keys_under(""), Vec::<String>::new());
}

#[test]
fn what_cannot_be_measured_is_refused_before_anything_is_written() {
    let site = site(&Wish::default());
    site.embedded().ignore_checksums();
    let refused = |args: &[&str]| run(&site, args).expect(2).stderr;
    assert!(refused(&["bench", "main"]).contains("--yes"));
    assert!(refused(&["bench", "--yes"]).contains("main, side, missing"));
    assert!(refused(&["bench", "main", "--yes", "--size=600 GB", "--streams=1,2"]).contains("has room for 931.3 GiB"));
    assert!(refused(&["bench", "main", "--yes", "--wire=crc64nvme"]).contains("not proven to check crc64nvme"));
    assert!(
        refused(&["bench", "main", "--yes", "--streams=64", "--part-size=64 MiB"]).contains("[pool] budget is 1 GiB")
    );
    assert!(refused(&["bench", "main", "--yes", "--part-size=1 MiB"]).contains("5 MiB to 1 GiB"));
    assert_eq!(site.keys_under(""), Vec::<String>::new());
}

#[test]
fn a_combination_that_the_budget_forbids_is_left_out_and_one_that_comes_too_late_is_counted() {
    let site = site(&Wish::default());
    let report = finish(tiny(&site, &["--streams=1,250", "--time=0s"])).expect(2);
    let json = report.json();
    assert!(
        json["left_out"][0].as_str().unwrap().contains("250 streams"),
        "{json:#}"
    );
    assert_eq!(
        (&json["runs"], &json["not_measured"], &json["advice"]),
        (&Value::from(Vec::<Value>::new()), &2.into(), &Value::Null)
    );
}

#[test]
fn people_get_a_table_and_a_transfer_section() {
    let site = site(&Wish::default());
    let args = [
        "bench",
        "main",
        "--yes",
        "--wire=none",
        "--size=1 MiB",
        "--part-size=5 MiB",
        "--streams=1,2",
        "--mode=up",
    ];
    let text = run(&site, &args).expect(0).text();
    assert_eq!(text.lines().filter(|line| line.starts_with("up ")).count(), 2, "{text}");
    assert!(
        text.contains("\n[transfer]\npart_size = \"5 MiB\"\nparts_in_flight = 4\n"),
        "{text}"
    );
    assert!(text.contains("What limits it: "), "{text}");
}
