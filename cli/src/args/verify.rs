//! The audit: `verify` and `verify merge`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use vastost::catalog::audit::shard::Shard;

use super::values::{age, jobs, shard, some_size};

pub const VERIFY_HELP: &str = "Exit codes: 0 nothing wrong, 1 findings of severity error (with --strict also warnings), 2 could not run, was \
    interrupted, or had nothing to verify: an empty LSU, a selection that no image matches, a list of NetBackup's without \
    images. Read access is enough. Every kind of finding is explained in docs/user/verify.md.\n\n\
    Examples:\n  vastost-s3 verify\n  vastost-s3 verify nightly --deep --since 2026-11-01 --limit-rate \"500 MiB\"\n  \
    bpimagelist -l -d 01/01/2026 > images && vastost-s3 verify --against images --html audit.html\n  \
    vastost-s3 --json verify --shard 1/4 > shard-1.json";

const MERGE_HELP: &str = "Refuses reports of different audits. If shards are missing, the joined report is marked as \
    incomplete, and the exit code is 2 unless something was found.\n\n\
    Examples:\n  vastost-s3 verify merge shard-*.json\n  \
    vastost-s3 --json verify merge shard-*.json --html audit.html > audit.json";

#[derive(Args)]
// An LSU may be named `help`: `vastost-s3 help verify` explains.
#[command(args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
pub struct Verify {
    #[command(subcommand)]
    pub action: Option<VerifyAction>,
    #[command(flatten)]
    pub audit: VerifyAudit,
    #[command(flatten)]
    pub output: VerifyOutput,
}

#[derive(Args)]
pub struct VerifyAudit {
    /// The LSUs; all when left out
    #[arg(value_name = "LSU")]
    pub lsus: Vec<String>,
    /// Only listings against sidecars: existence, size, ETag
    #[arg(long, conflicts_with = "deep")]
    pub quick: bool,
    /// Read and check every byte as well
    #[arg(long)]
    pub deep: bool,
    /// Only images of this client
    #[arg(long)]
    pub client: Option<OsString>,
    /// Only images whose basename begins with this
    #[arg(long, value_name = "BASENAME")]
    pub image: Option<OsString>,
    /// Only images of this day or later: yyyy-mm-dd (UTC) or seconds since 1970
    #[arg(long, value_name = "DATE", value_parser = crate::name::since)]
    pub since: Option<u64>,
    /// Only images of this day or earlier
    #[arg(long, value_name = "DATE", value_parser = crate::name::until)]
    pub until: Option<u64>,
    /// Only part K of N, by a hash of the basename; `verify merge` joins the reports
    #[arg(long, value_name = "K/N", value_parser = shard)]
    pub shard: Option<Shard>,
    /// Compare with NetBackup's catalog, both ways: a file with the output of `bpimagelist -l`
    #[arg(long, value_name = "FILE", conflicts_with = "resume")]
    pub against: Option<PathBuf>,
    /// With --against: only fragments on this disk volume, such as @aaaab; repeat for more
    #[arg(long = "volume", value_name = "ID", requires = "against")]
    pub volumes: Vec<OsString>,
    /// Read at most this much per second, such as "500 MiB"
    #[arg(long, value_name = "SIZE", value_parser = some_size, requires = "deep")]
    pub limit_rate: Option<u64>,
    /// Images checked concurrently
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = jobs)]
    pub jobs: usize,
    /// Save progress in this file, and resume from it after an interruption
    #[arg(long, value_name = "FILE")]
    pub resume: Option<PathBuf>,
    /// An empty LSU is expected: no exit code 2 for it
    #[arg(long)]
    pub allow_empty: bool,
    /// Do not report orphans that are younger: a number with s, min, h or d
    #[arg(long, value_name = "AGE", default_value = "24h", value_parser = age)]
    pub older_than: Duration,
}

#[derive(Subcommand)]
pub enum VerifyAction {
    /// Join the JSON reports of an audit's shards
    #[command(after_help = MERGE_HELP)]
    Merge {
        /// What `verify --shard K/N --json` printed, one file for each shard
        #[arg(value_name = "REPORT", required = true)]
        reports: Vec<PathBuf>,
        #[command(flatten)]
        output: VerifyOutput,
    },
}

/// Where an audit's report goes, and what counts as a problem.
#[derive(Args)]
pub struct VerifyOutput {
    /// Also write the report as one HTML page
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Exit with 1 for warnings too
    #[arg(long)]
    pub strict: bool,
}
