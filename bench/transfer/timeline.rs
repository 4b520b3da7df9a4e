//! What the nodes moved while one of them was away: samples, and what they say.

use std::time::Duration;

use serde::Serialize;

use super::args::MIB;
use super::cluster::NODES;

pub const STEP: Duration = Duration::from_millis(250);
/// A total below this share of what it was before counts as standing still.
const STILL: f64 = 0.1;
/// A node that moves so much of the total has its share again.
const SHARE_AGAIN: f64 = 0.15;
/// Steps that a node's share is taken over.
const SHARE_STEPS: usize = 4;

/// Since the one before.
#[derive(Clone, Copy, Serialize)]
pub struct Sample {
    /// Its end, seconds since the first one began.
    pub at_s: f64,
    pub mib_per_s: [f64; NODES],
}

/// Samples of one run; the fault lies between two times.
#[derive(Serialize)]
pub struct Timeline {
    pub fault_s: f64,
    pub mended_s: f64,
    pub samples: Vec<Sample>,
}

#[derive(Serialize)]
pub struct Findings {
    /// Mean of all nodes together before the fault.
    pub before_mib_per_s: f64,
    /// Each node's share of that.
    pub shares: [f64; NODES],
    /// The farthest that a share is from even, as a part of an even one.
    pub uneven: f64,
    /// The longest time with less than a tenth of what it was, from the fault on.
    pub stall_s: f64,
    /// Between fault and mending, against what three nodes did before.
    pub during_to_three_quarters: f64,
    /// The same, second half of that time.
    pub settled_to_three_quarters: f64,
    /// From the mending until the node moves 15 % of the total again; None: not in this run.
    pub share_again_s: Option<f64>,
    /// The same, but until it does so for good: it may be taken for slow once more by what it still had to move.
    pub share_kept_s: Option<f64>,
    /// The last quarter of the time after the mending, against before.
    pub after_to_before: f64,
}

impl Sample {
    pub fn between(at_s: f64, time_s: f64, before: [u64; NODES], after: [u64; NODES]) -> Self {
        let rate = |index: usize| after[index].saturating_sub(before[index]) as f64 / MIB as f64 / time_s;
        Self {
            at_s,
            mib_per_s: std::array::from_fn(rate),
        }
    }

    fn total(&self) -> f64 {
        self.mib_per_s.iter().sum()
    }
}

impl Timeline {
    /// `victim` is the node that the fault is of.
    pub fn findings(&self, victim: usize) -> Findings {
        let fault = self.fault_s;
        let mended = self.mended_s;
        let end = self.samples.last().map_or(0.0, |sample| sample.at_s);
        let healthy = self.within(0.0, fault);
        let before = mean(healthy, Sample::total);
        let shares: [f64; NODES] =
            std::array::from_fn(|index| mean(healthy, |sample| sample.mib_per_s[index]) / before);
        let even = 1.0 / NODES as f64;
        let rest = before * (1.0 - even);
        let total = |from, to| mean(self.within(from, to), Sample::total);
        Findings {
            before_mib_per_s: before,
            shares,
            uneven: shares
                .iter()
                .map(|share| (share / even - 1.0).abs())
                .fold(0.0, f64::max),
            stall_s: longest_stall(self.within(fault, end), before * STILL),
            during_to_three_quarters: total(fault, mended) / rest,
            settled_to_three_quarters: total(f64::midpoint(fault, mended), mended) / rest,
            share_again_s: share_again(self.within(mended, end), victim).map(|at| at - mended),
            share_kept_s: share_kept(self.within(mended, end), victim).map(|at| at - mended),
            after_to_before: total(end - (end - mended) / 4.0, end) / before,
        }
    }

    fn within(&self, from: f64, to: f64) -> &[Sample] {
        let begin = self.samples.partition_point(|sample| sample.at_s <= from);
        let end = self.samples.partition_point(|sample| sample.at_s <= to);
        &self.samples[begin..end.max(begin)]
    }

    /// A line a second: when, the total in steps, and what each node moved.
    pub fn print(&self) {
        let mut said = [false; 2];
        for second in self.samples.chunks(SHARE_STEPS) {
            let at = second[0].at_s;
            let events = [(self.fault_s, "fault"), (self.mended_s, "mended")];
            let mut notes = String::new();
            for ((when, what), said) in events.into_iter().zip(&mut said) {
                if !*said && at > when {
                    notes = format!("  <- {what} at {when:.1} s");
                    *said = true;
                }
            }
            let steps: Vec<String> = second.iter().map(|sample| format!("{:>4.0}", sample.total())).collect();
            let nodes = (0..NODES).map(|index| format!("{:>4.0}", mean(second, |sample| sample.mib_per_s[index])));
            let nodes: Vec<String> = nodes.collect();
            println!("{at:>7.2} s  {:<20} |  {}{notes}", steps.join(" "), nodes.join(" "));
        }
    }
}

fn mean(samples: &[Sample], of: impl Fn(&Sample) -> f64) -> f64 {
    samples.iter().map(of).sum::<f64>() / samples.len().max(1) as f64
}

fn longest_stall(samples: &[Sample], least: f64) -> f64 {
    let runs = samples.split(|sample| sample.total() >= least);
    runs.map(<[Sample]>::len).max().unwrap_or_default() as f64 * STEP.as_secs_f64()
}

/// When the node first moved its share over some steps.
fn share_again(samples: &[Sample], node: usize) -> Option<f64> {
    samples
        .windows(SHARE_STEPS)
        .find(|window| has_share(window, node))
        .map(end_of)
}

/// When the steps begin after which it always did.
fn share_kept(samples: &[Sample], node: usize) -> Option<f64> {
    let with = samples
        .windows(SHARE_STEPS)
        .rev()
        .take_while(|window| has_share(window, node));
    with.last().map(end_of)
}

fn has_share(window: &[Sample], node: usize) -> bool {
    let total = mean(window, Sample::total);
    total > 0.0 && mean(window, |sample| sample.mib_per_s[node]) / total > SHARE_AGAIN
}

fn end_of(window: &[Sample]) -> f64 {
    window[window.len() - 1].at_s
}
