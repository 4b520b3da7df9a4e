//! The command line's grammar and help texts.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::NonEmptyStringValueParser;
use clap::{ArgAction, Args, Parser, Subcommand};

const EXIT_CODES: &str = "Exit codes: 0 good, 1 the check found problems, 2 could not run.\n\
    The configuration file is --config, else $VASTOST_CONFIG, else vastost.toml beside this program, else \
    /etc/vastost/vastost.toml.";

/// Administer a VAST cluster's S3 buckets as NetBackup OpenStorage: set up, check, list, put, get, remove.
#[derive(Parser)]
#[command(name = "vastost-s3", version, max_term_width = 100, after_help = EXIT_CODES, disable_help_subcommand = true)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// Apart from what a subcommand alone understands.
const EVERYWHERE: &str = "Options of every command";

/// What every subcommand understands.
#[derive(Args, Clone, Debug, Default)]
pub struct Global {
    /// Configuration file
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Which server of the configuration; may be left out when there is one
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "NAME")]
    pub server: Option<String>,
    /// Print JSON, see docs/cli-json.md
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    pub json: bool,
    /// Log to stderr what is done; twice for details
    #[arg(short, long, global = true, help_heading = EVERYWHERE, action = ArgAction::Count)]
    pub verbose: u8,
    /// Print only what was asked for, no progress and no hints
    #[arg(short, long, global = true, help_heading = EVERYWHERE)]
    pub quiet: bool,
}

#[derive(Subcommand)]
pub enum Command {
    /// Show backup and restore against an S3 server inside this process; needs no configuration
    Demo(Demo),
    /// Write a configuration file; asks for what the options do not say
    #[command(after_help = INIT_HELP)]
    Init(Init),
    /// Check everything that a backup needs, and say what to do about what is wrong
    #[command(after_help = DOCTOR_HELP)]
    Doctor(Doctor),
    /// List the LSUs, or the images of one
    #[command(after_help = LS_HELP)]
    Ls(Ls),
    /// Show all that is recorded of one image
    #[command(after_help = "Example:\n  vastost-s3 info nightly/db01_1795305600_C1_F1")]
    Info(Info),
    /// Store a file or stdin as an image
    #[command(after_help = PUT_HELP)]
    Put(Put),
    /// Restore an image to a file or stdout
    #[command(after_help = GET_HELP)]
    Get(Get),
    /// Delete images for good
    #[command(after_help = RM_HELP)]
    Rm(Rm),
    /// Check the configuration file, or show what is in force
    Config(Config),
}

const INIT_HELP: &str = "Keys come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, else AWS_PROFILE names a profile, else they are \
    asked for. They are kept in <server>.keys.toml (mode 0600) beside the configuration.\n\n\
    Examples:\n  vastost-s3 init\n  \
    vastost-s3 init --endpoint https://s3.vast1.example.com --lsu nightly --lsu weekly --create\n  \
    vastost-s3 init --endpoint http://127.0.0.1:9000 --lsu Test=test-bucket -o test.toml";

const DOCTOR_HELP: &str = "Small objects are written under probe/ of each LSU and removed again.\n\n\
    Examples:\n  vastost-s3 doctor\n  vastost-s3 doctor --json | jq '.checks[] | select(.status != \"pass\")'";

const LS_HELP: &str = "Examples:\n  vastost-s3 ls\n  vastost-s3 ls nightly/db01_ --since 2026-11-01\n  \
    vastost-s3 ls nightly --client db01 --pending\n  vastost-s3 -q ls nightly";

const IMAGE_HELP: &str =
    "IMAGE is a basename, or basename:date with the date in seconds since 1970 where several images share a basename.";

const PUT_HELP: &str = "IMAGE is basename or basename:date (seconds since 1970). Without a date it is the one in a basename such as \
    db01_1795305600_C1_F1, else now. A put that fails or is interrupted leaves no image. Ctrl-C ends it between two \
    buffers, which may take as long as a request that hangs; a second Ctrl-C exits at once with 130 and leaves the \
    image pending, for `rm` to remove.\n\n\
    Examples:\n  vastost-s3 put dump.img nightly/db01_1795305600_C1_F1\n  \
    pg_dump shop | vastost-s3 put - nightly/shop";

const GET_HELP: &str = "The file appears under its name only when it is whole. Every part is checked against its checksum. Ctrl-C removes \
    what was written; a second one exits at once with 130.\n\n\
    Examples:\n  vastost-s3 get nightly/db01_1795305600_C1_F1 dump.img\n  \
    vastost-s3 get nightly/shop - | tar x";

const RM_HELP: &str = "Asks once, with the list, on a terminal; without one it needs --yes. Goes on after a failure.\n\n\
    Examples:\n  vastost-s3 rm nightly/db01_1795305600_C1_F1\n  \
    vastost-s3 -q ls nightly --pending | xargs -d '\\n' vastost-s3 rm --yes";

#[derive(Args)]
pub struct Demo {
    /// Backups at once
    #[arg(long, default_value_t = 4, value_name = "N")]
    pub streams: usize,
    /// Bytes of each stream
    #[arg(long, default_value = "256 MiB", value_parser = size)]
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
    /// Overwrite files that are there
    #[arg(long)]
    pub force: bool,
}

#[derive(Args)]
pub struct Doctor {}

#[derive(Args)]
pub struct Ls {
    /// The LSU, and what basenames begin with; all LSUs when left out
    #[arg(value_name = "LSU[/PREFIX]")]
    pub place: Option<OsString>,
    /// Only images of this client
    #[arg(long, requires = "place")]
    pub client: Option<OsString>,
    /// Only images of this day or later: yyyy-mm-dd (UTC) or seconds since 1970
    #[arg(long, value_name = "DATE", value_parser = super::name::since, requires = "place")]
    pub since: Option<u64>,
    /// Only images of this day or earlier
    #[arg(long, value_name = "DATE", value_parser = super::name::until, requires = "place")]
    pub until: Option<u64>,
    /// Only images that are not complete
    #[arg(long, conflicts_with = "complete", requires = "place")]
    pub pending: bool,
    /// Only complete images
    #[arg(long, requires = "place")]
    pub complete: bool,
}

#[derive(Args)]
pub struct Info {
    #[arg(value_name = "LSU/IMAGE", help = IMAGE_HELP)]
    pub image: OsString,
}

#[derive(Args)]
pub struct Put {
    /// File to store, or - for stdin
    #[arg(value_name = "FILE|-")]
    pub file: PathBuf,
    /// Where to and under which name
    #[arg(value_name = "LSU/IMAGE")]
    pub image: OsString,
    /// NetBackup policy to record
    #[arg(long)]
    pub policy: Option<OsString>,
    /// NetBackup's number for the kind of image
    #[arg(long = "type", value_name = "N", default_value_t = 0)]
    pub image_type: u32,
}

#[derive(Args)]
pub struct Get {
    #[arg(value_name = "LSU/IMAGE", help = IMAGE_HELP)]
    pub image: OsString,
    /// File to write, or - for stdout
    #[arg(value_name = "FILE|-")]
    pub file: PathBuf,
    /// Overwrite a file that is there
    #[arg(long)]
    pub force: bool,
}

#[derive(Args)]
pub struct Rm {
    #[arg(value_name = "LSU/IMAGE", required = true, help = IMAGE_HELP)]
    pub images: Vec<OsString>,
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
}

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

fn size(text: &str) -> Result<u64, String> {
    vastost::config::parse_size(text).ok_or_else(|| "a size is a whole number with a unit, such as \"256 MiB\"".into())
}
