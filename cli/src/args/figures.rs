//! The commands that count and show: `usage` and `stats`.

use std::path::PathBuf;

use clap::Args;

pub const STATS_HELP: &str = "Reads the files that the processes write to the folder [metrics] dir, including jobs that ended in the last 10 minutes. \
    RATE is both directions together, over the life of the process; with --watch since the previous refresh.\n\n\
    Examples:\n  vastost-s3 stats\n  vastost-s3 stats --watch\n  \
    vastost-s3 --json stats | jq '.operations[] | select(.errors > 0)'";

#[derive(Args)]
pub struct Usage {
    /// The LSUs; all when left out
    #[arg(value_name = "LSU")]
    pub lsus: Vec<String>,
    /// Also by client
    #[arg(long)]
    pub by_client: bool,
    /// Also by day of the image date
    #[arg(long)]
    pub by_day: bool,
}

#[derive(Args)]
pub struct Stats {
    /// The folder, instead of the configuration's
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Refresh every SECONDS until Ctrl-C; with --json one document per line
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2",
        value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub watch: Option<u64>,
}
