//! What many streams, many small reads and many images cost, beside the transfers of few large ones.

use serde::Serialize;

use super::args::Args;
use super::fairness;
use super::fairness::Fairness;
use super::listing;
use super::listing::Listing;
use super::reads;
use super::reads::Reads;
use super::runner::Runner;

#[derive(Serialize)]
pub struct Scale {
    pub fairness: Vec<Fairness>,
    pub reads: Vec<Reads>,
    pub listing: Vec<Listing>,
}

pub fn measure(args: &Args, runner: &Runner<'_>) -> Scale {
    println!("many streams, small reads, listings");
    let fairness = fairness::measure(args, runner);
    let reads = reads::measure(runner);
    Scale {
        fairness,
        reads,
        listing: listing::measure(args, runner),
    }
}

impl Scale {
    pub fn print(&self) {
        fairness::print(&self.fairness);
        reads::print(&self.reads);
        listing::print(&self.listing);
    }
}
