//! The commands that act on what an audit finds: `gc` and `repair`.

use std::ffi::OsString;
use std::time::Duration;

use clap::Args;

use super::values::{age, jobs};

pub const GC_HELP: &str = "Images of a living writer are never touched, however old: ages are those of the server's clock. Data objects that no \
    record names are removed only with --orphan-data: an image that has lost its sidecar looks the same, and `repair` \
    rebuilds it.\n\n\
    Examples:\n  vastost-s3 gc\n  vastost-s3 gc nightly --older-than 7d --yes";

pub const REPAIR_HELP: &str = "A good record is never overwritten; a replaced sidecar is kept under replaced/.\n\n\
    Examples:\n  vastost-s3 repair\n  vastost-s3 repair nightly --deep --yes";

/// What `gc` and `repair` share.
#[derive(Args)]
pub struct Maintenance {
    /// The LSUs; all when left out
    #[arg(value_name = "LSU")]
    pub lsus: Vec<String>,
    /// Do it; without this option only show what would be done
    #[arg(long, short)]
    pub yes: bool,
    /// Leave alone what is younger: a number with s, min, h or d
    #[arg(long, value_name = "AGE", default_value = "24h", value_parser = age)]
    pub older_than: Duration,
    /// Only what belongs to this client
    #[arg(long)]
    pub client: Option<OsString>,
    /// Images checked concurrently
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = jobs)]
    pub jobs: usize,
}

#[derive(Args)]
pub struct Gc {
    #[command(flatten)]
    pub maintenance: Maintenance,
    /// Also remove data objects that no record names
    #[arg(long)]
    pub orphan_data: bool,
}

#[derive(Args)]
pub struct Repair {
    #[command(flatten)]
    pub maintenance: Maintenance,
    /// Read the images whose checksums the server does not know
    #[arg(long)]
    pub deep: bool,
}
