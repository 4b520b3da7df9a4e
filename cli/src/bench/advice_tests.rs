//! The rules of docs/user/bench.md, each on figures made up for it.

use std::path::Path;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::super::run::Costs;
use super::*;

fn run(streams: usize, parts_in_flight: usize, mib_per_s: u64) -> Run {
    let combination = Combination {
        wire: Wire::Md5,
        part_size: 16 << 20,
        parts_in_flight,
        streams,
    };

    let bytes = mib_per_s << 20;
    let wall = Duration::from_secs(1);
    let cpu = Costs::default();
    let rates = vec![1.0; streams];
    let calls = Histogram::new(3).unwrap();
    Run {
        direction: Direction::Up,
        combination,
        bytes,
        wall,
        cpu,
        rates,
        calls,
        peak_rss_bytes: 0,
    }
}

fn config() -> Config {
    let text = "[server.t]\nendpoints = [\"http://127.0.0.1:1\"]\n[transfer]\nio_threads = 2\n";
    Config::parse(text, Path::new("/vastost.toml")).unwrap()
}

/// Streams, parts in flight, and what limits, on a host of eight processors.
fn advice(runs: &[Run]) -> (usize, usize, Limit) {
    let config = config();
    let advice = Advice::of(runs, &config, 8).unwrap();
    (
        advice.chosen.combination.streams,
        advice.chosen.combination.parts_in_flight,
        advice.limit,
    )
}

#[test]
fn the_smallest_setting_within_a_tenth_of_the_fastest_is_chosen() {
    assert_eq!(
        advice(&[run(1, 4, 100), run(4, 4, 380), run(4, 8, 395), run(16, 4, 400)]).0,
        4
    );
    assert_eq!(advice(&[run(4, 8, 395), run(4, 4, 380)]).1, 4);
    assert_eq!(advice(&[run(1, 4, 100), run(4, 4, 300), run(16, 4, 400)]).0, 16);
}

#[test]
fn backups_decide_and_only_with_proof_on_the_wire() {
    let unproven = Run {
        combination: Combination {
            wire: Wire::None,
            ..run(1, 4, 0).combination
        },
        ..run(1, 4, 900)
    };
    let restore = Run {
        direction: Direction::Down,
        ..run(1, 4, 900)
    };
    assert_eq!(advice(&[unproven.clone(), restore.clone(), run(4, 4, 100)]).0, 4);
    assert_eq!(advice(&[unproven]).0, 1);
    assert_eq!(advice(&[restore]).0, 1);
    assert!(Advice::of(&[], &config(), 8).is_none());
}

#[test]
fn more_at_once_tells_latency_from_a_full_network() {
    assert_eq!(advice(&[run(4, 4, 100), run(16, 4, 390)]).2, Limit::Latency);
    assert_eq!(advice(&[run(4, 4, 380), run(16, 4, 390)]).2, Limit::NetworkOrCluster);
    assert_eq!(advice(&[run(4, 4, 390), run(16, 4, 200)]).2, Limit::NetworkOrCluster);
    assert_eq!(advice(&[run(1, 4, 100), run(1, 8, 190)]).2, Limit::Latency);
    assert_eq!(advice(&[run(16, 4, 390)]).2, Limit::Unknown);
}

#[test]
fn busy_processors_and_threads_are_named_before_what_is_behind_them() {
    let with = |process, io, md5| {
        let time = Duration::from_millis;
        Run {
            cpu: Costs {
                process: time(process),
                io: time(io),
                md5: time(md5),
            },
            ..run(4, 4, 100)
        }
    };
    assert_eq!(advice(&[with(7_000, 1_900, 990)]).2, Limit::Cpu);
    assert_eq!(advice(&[with(3_000, 1_900, 990)]).2, Limit::IoThreads);
    assert_eq!(advice(&[with(3_000, 1_000, 990)]).2, Limit::Md5Thread);
    assert_eq!(advice(&[with(3_000, 1_000, 500)]).2, Limit::Unknown);
}

#[test]
fn connections_are_raised_to_what_was_measured() {
    let config = config();
    let few = [run(4, 4, 100)];
    let many = [run(32, 4, 100)];
    assert_eq!(Advice::of(&few, &config, 8).unwrap().to_json()["connections"], 64);
    assert_eq!(Advice::of(&many, &config, 8).unwrap().to_json()["connections"], 128);
}
