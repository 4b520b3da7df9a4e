//! The table that grows by a line with every run.

use std::error::Error;
use std::time::Duration;

use vastost::config::size_text;

use super::run::Run;
use crate::output::{flush, human_size, line};

pub fn head() -> Result<(), Box<dyn Error>> {
    line(&format!(
        "{:<4}  {:<9}  {:>8}  {:>9}  {:>7}  {:>9}  {:>9}  {:>9}  {:>8}  {:>8}  {:>8}  {:>8}  {:>9}",
        "",
        "WIRE",
        "PART",
        "IN FLIGHT",
        "STREAMS",
        "MiB/s",
        "A STREAM",
        "CPU s/GiB",
        "p50",
        "p99",
        "p99.9",
        "MAX",
        "RSS"
    ))
}

/// Flushed at once, so that a reader follows the runs.
pub fn row(run: &Run) -> Result<(), Box<dyn Error>> {
    let combination = run.combination;
    let call = |quantile| latency(run.call_ns(quantile));
    line(&format!(
        "{:<4}  {:<9}  {:>8}  {:>9}  {:>7}  {:>9.1}  {:>9.1}  {:>9.2}  {:>8}  {:>8}  {:>8}  {:>8}  {:>9}",
        run.direction.name(),
        combination.wire.name(),
        size_text(combination.part_size),
        combination.parts_in_flight,
        combination.streams,
        run.rate(),
        run.rate_per_stream(),
        run.cpu_per_gib(),
        call(0.5),
        call(0.99),
        call(0.999),
        latency(run.calls.max()),
        human_size(run.peak_rss_bytes),
    ))?;
    flush()
}

/// About three digits, with a unit.
fn latency(ns: u64) -> String {
    let seconds = Duration::from_nanos(ns).as_secs_f64();
    let (value, unit) = match ns {
        0..1_000_000 => (seconds * 1e6, "µs"),
        1_000_000..1_000_000_000 => (seconds * 1e3, "ms"),
        _ => (seconds, "s"),
    };
    if value < 9.95 {
        format!("{value:.1} {unit}")
    } else {
        format!("{value:.0} {unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_have_the_unit_that_keeps_them_short() {
        for (ns, text) in [
            (40, "0.0 µs"),
            (52_300, "52 µs"),
            (9_900_000, "9.9 ms"),
            (12_300_000, "12 ms"),
            (61_000_000_000, "61 s"),
        ] {
            assert_eq!(latency(ns), text);
        }
    }
}
