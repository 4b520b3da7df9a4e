//! The command line's grammar and help texts. One file for each group of commands:
//!
//! - [`setup`]: `demo`, `init`, `doctor`, `config`
//! - [`images`]: `ls`, `info`, `put`, `get`, `rm`, `undelete`
//! - [`verify`]: the audit
//! - [`maintain`]: `gc`, `repair`
//! - [`figures`]: `usage`, `stats`
//! - [`values`]: sizes, ages and the like, read from text
//!
//! `bench` has its options beside its code, in [`crate::bench`].

mod figures;
mod images;
mod maintain;
mod setup;
mod values;
mod verify;

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand};

pub use figures::{Stats, Usage};
pub use images::{Get, Info, Ls, Put, Rm, Undelete};
pub use maintain::{Gc, Maintenance, Repair};
pub use setup::{Config, ConfigAction, Demo, Doctor, Init};
pub use values::{age, jobs, size, some_size};
pub use verify::{Verify, VerifyAction, VerifyAudit, VerifyOutput};

const EXIT_CODES: &str = "Exit codes: 0 good, 1 the check found problems, 2 could not run; docs/user/exit-codes.md has each command's.\n\
    The configuration file is --config, else $VASTOST_CONFIG, else vastost.toml beside this program, else \
    /etc/vastost/vastost.toml.";

/// Administer a VAST cluster's S3 buckets as NetBackup OpenStorage: set up, check, measure, list, put, get, remove.
#[derive(Parser)]
#[command(name = "vastost-s3", version, max_term_width = 100, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// Set apart from the options of one subcommand.
const EVERYWHERE: &str = "Options of every command";

/// Options of every subcommand.
#[derive(Args, Clone, Debug, Default)]
pub struct Global {
    /// Configuration file
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Which server of the configuration; may be left out when there is one
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "NAME")]
    pub server: Option<String>,
    /// Print JSON, see docs/user/cli-json.md
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    pub json: bool,
    /// Log to stderr; twice for details
    #[arg(short, long, global = true, help_heading = EVERYWHERE, action = ArgAction::Count)]
    pub verbose: u8,
    /// Print results only, no progress and no hints
    #[arg(short, long, global = true, help_heading = EVERYWHERE)]
    pub quiet: bool,
}

#[derive(Subcommand)]
pub enum Command {
    /// Show backup and restore against an embedded S3 server; needs no configuration
    Demo(Demo),
    /// Write a configuration file; asks for what the options leave out
    #[command(after_help = setup::INIT_HELP)]
    Init(Init),
    /// Check everything that a backup needs, and say how to fix what fails
    #[command(after_help = setup::DOCTOR_HELP)]
    Doctor(Doctor),
    /// List the LSUs, or the images of one
    #[command(after_help = images::LS_HELP)]
    Ls(Ls),
    /// Show all that is recorded of one image
    #[command(after_help = "Example:\n  vastost-s3 info nightly/db01_1795305600_C1_F1")]
    Info(Info),
    /// Store a file, stdin or the output of a command as an image
    #[command(after_help = images::PUT_HELP)]
    Put(Put),
    /// Restore an image to a file or stdout
    #[command(after_help = images::GET_HELP)]
    Get(Get),
    /// Delete images for good
    #[command(after_help = images::RM_HELP)]
    Rm(Rm),
    /// Remove orphans: abandoned pending images and uploads, unfinished deletes; only shows them without --yes
    #[command(after_help = maintain::GC_HELP)]
    Gc(Gc),
    /// Repair records: lost or damaged sidecars, unfinished completions and deletes; only shows them without --yes
    #[command(after_help = maintain::REPAIR_HELP)]
    Repair(Repair),
    /// Bring back images that were deleted or overwritten outside the plug-in, from the bucket's versions
    #[command(after_help = images::UNDELETE_HELP)]
    Undelete(Undelete),
    /// Count what the LSUs hold, and refresh the figure that NetBackup polls
    #[command(after_help = "Examples:\n  vastost-s3 usage\n  vastost-s3 usage nightly --by-client")]
    Usage(Usage),
    /// Measure what this host and its cluster move, and recommend [transfer] settings; leaves nothing behind
    #[command(after_help = crate::bench::HELP)]
    Bench(crate::bench::Options),
    /// Show what the processes of this host do and did: requests, errors, retries, bytes, latency, waits
    #[command(after_help = figures::STATS_HELP)]
    Stats(Stats),
    /// Audit the images: prove that every one can be restored, and name orphans; changes nothing
    #[command(after_help = verify::VERIFY_HELP)]
    Verify(Verify),
    /// Check the configuration file, or show what is in force
    Config(Config),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
