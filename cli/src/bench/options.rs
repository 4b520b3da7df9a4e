//! The grammar of `bench`.

use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::Serialize;
use vastost::catalog::lsu::Capabilities;
use vastost::config::{PART_SIZE_MIN, WireChoice};

use crate::args::{age, jobs, size, some_size};

/// The largest `part_size` that a configuration may have.
const PART_SIZE_MAX: u64 = 1 << 30;

#[derive(Args)]
pub struct Options {
    /// The LSU; may be left out when the server has one
    #[arg(value_name = "LSU")]
    pub lsu: Option<String>,
    /// Concurrent streams
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_values = ["1", "4", "16"], value_parser = jobs)]
    pub streams: Vec<usize>,
    /// Sizes of the parts
    #[arg(long, value_name = "SIZE,…", value_delimiter = ',', default_values = ["16 MiB", "64 MiB"], value_parser = part_size)]
    pub part_size: Vec<u64>,
    /// Parts of one stream in flight, up and down; default: as configured
    #[arg(long, value_name = "N,…", value_delimiter = ',', value_parser = jobs)]
    pub in_flight: Vec<usize>,
    /// Integrity check on the wire; default: all that the endpoint supports
    #[arg(long, value_name = "MODE,…", value_delimiter = ',')]
    pub wire: Vec<Wire>,
    /// What to measure
    #[arg(long, default_value = "both")]
    pub mode: Mode,
    /// Bytes of each stream; default: as many as in five seconds
    #[arg(long, value_parser = some_size)]
    pub size: Option<u64>,
    /// Start no run after this time, and end the one in progress: a number with s, min, h or d
    #[arg(long, value_name = "TIME", default_value = "15min", value_parser = age)]
    pub time: Duration,
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
}

/// `[integrity] wire`, without "auto".
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Wire {
    Crc64nvme,
    Md5,
    None,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    Up,
    Down,
    Both,
}

impl Wire {
    pub const ALL: [Self; 3] = [Self::Crc64nvme, Self::Md5, Self::None];

    pub fn name(self) -> &'static str {
        match self {
            Self::Crc64nvme => "crc64nvme",
            Self::Md5 => "md5",
            Self::None => "none",
        }
    }

    pub fn choice(self) -> WireChoice {
        match self {
            Self::Crc64nvme => WireChoice::Crc64Nvme,
            Self::Md5 => WireChoice::Md5,
            Self::None => WireChoice::None,
        }
    }

    /// Whether a server with these capabilities supports the mode.
    pub fn is_done_by(self, capabilities: Capabilities) -> bool {
        self != Self::Crc64nvme || capabilities.crc64nvme
    }
}

impl Mode {
    pub fn up(self) -> bool {
        self != Self::Down
    }

    pub fn down(self) -> bool {
        self != Self::Up
    }

    /// Runs of one combination.
    pub fn directions(self) -> usize {
        usize::from(self.up()) + usize::from(self.down())
    }
}

fn part_size(text: &str) -> Result<u64, String> {
    let wrong = || "a part has 5 MiB to 1 GiB, such as \"16 MiB\"".to_owned();
    size(text)
        .ok()
        .filter(|bytes| (PART_SIZE_MIN..=PART_SIZE_MAX).contains(bytes))
        .ok_or_else(wrong)
}
