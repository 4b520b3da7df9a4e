//! The commands that set a host up and check it: `demo`, `init`, `doctor`, `config`.

use std::path::PathBuf;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand};

use super::values::{jobs, some_size};

pub const INIT_HELP: &str = "Keys come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, else AWS_PROFILE names a profile, else init \
    asks for them. They are kept in <server>.keys.toml (mode 0600) beside the configuration; --force keeps the old one as \
    <server>.keys.toml.bak. With --create the keys are tried before anything is written.\n\n\
    Examples:\n  vastost-s3 init\n  \
    vastost-s3 init --endpoint https://s3.vast1.example.com --lsu nightly --lsu weekly --create\n  \
    vastost-s3 init --endpoint http://127.0.0.1:9000 --lsu Test=test-bucket -o test.toml";

pub const DOCTOR_HELP: &str = "Small objects are written under probe/ of each LSU and removed again. Exit code 1 says that a check failed; the \
    configuration file is the first check.\n\n\
    Examples:\n  vastost-s3 doctor\n  vastost-s3 doctor --json | jq '.checks[] | select(.status != \"pass\")'";

#[derive(Args)]
pub struct Demo {
    /// Concurrent backups
    #[arg(long, default_value_t = 4, value_name = "N", value_parser = jobs)]
    pub streams: usize,
    /// Bytes of each stream
    #[arg(long, default_value = "256 MiB", value_parser = some_size)]
    pub size: u64,
    /// Keep the store, the configuration and the images in this folder
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
    /// Serve a folder that was kept, at the address in its configuration, until Ctrl-C
    #[arg(long, value_name = "DIR", conflicts_with_all = ["keep", "streams", "size"])]
    pub serve: Option<PathBuf>,
    /// With --serve: until stdin ends
    #[arg(long, hide = true, requires = "serve")]
    pub until_eof: bool,
}

#[derive(Args)]
pub struct Init {
    /// URL of the cluster such as https://s3.vast1.example.com; repeat for further addresses
    #[arg(long = "endpoint", value_name = "URL", num_args = 1.., value_parser = NonEmptyStringValueParser::new())]
    pub endpoints: Vec<String>,
    /// LSU, and its bucket when that is named otherwise; repeat for more
    #[arg(long = "lsu", value_name = "NAME[=BUCKET]", num_args = 1.., value_parser = NonEmptyStringValueParser::new())]
    pub lsus: Vec<String>,
    /// File to write
    #[arg(long, short, value_name = "FILE", default_value = "vastost.toml")]
    pub output: PathBuf,
    /// Name of the server: NetBackup's VastData:<NAME>
    #[arg(long, value_name = "SERVER", default_value = "vast")]
    pub name: String,
    /// Region in signatures; VAST accepts any
    #[arg(long)]
    pub region: Option<String>,
    /// PEM file with the authorities to trust instead of the system's
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// Access key id; its secret comes from AWS_SECRET_ACCESS_KEY or is asked for, never from an option
    #[arg(long, value_name = "ID")]
    pub access_key: Option<String>,
    /// Create buckets that are missing
    #[arg(long)]
    pub create: bool,
    /// Overwrite existing files
    #[arg(long)]
    pub force: bool,
}

#[derive(Args)]
pub struct Doctor {}

#[derive(Args)]
pub struct Config {
    #[command(subcommand)]
    pub action: ConfigAction,
}

#[derive(Subcommand)]
pub enum ConfigAction {
    /// Say whether the file is valid, or what is wrong with it
    Check {
        /// The file, instead of the one that would be used
        file: Option<PathBuf>,
    },
    /// Print every setting in force
    Show,
}
