//! The commands that act on what an audit finds: `gc` and `repair`.

use std::ffi::OsString;
use std::time::Duration;

use clap::Args;

use super::values::{age, jobs};

pub const GC_HELP: &str = "What a living writer holds is never touched, whatever the age: ages are those of the server's clock. Data objects that no \
    record names are left alone without --orphan-data: a lost sidecar leaves the same picture, and `repair` brings it \
    back.\n\n\
    Examples:\n  vastost-s3 gc\n  vastost-s3 gc nightly --older-than 7d --yes";

pub const REPAIR_HELP: &str = "Nothing that is good is overwritten; a sidecar that is replaced is kept under replaced/.\n\n\
    Examples:\n  vastost-s3 repair\n  vastost-s3 repair nightly --deep --yes";

/// What `gc` and `repair` share.
#[derive(Args)]
pub struct Maintenance {
    /// The LSUs; all when left out
    #[arg(value_name = "LSU")]
    pub lsus: Vec<String>,
    /// Do it; without, only show what would be done
    #[arg(long, short)]
    pub yes: bool,
    /// Leave alone what was changed since: a number with s, min, h or d
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
