//! The command line's grammar and help texts.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use clap::{ArgAction, Args, Parser, Subcommand};
use vastost::catalog::audit::shard::Shard;

const EXIT_CODES: &str = "Exit codes: 0 good, 1 the check found problems, 2 could not run.\n\
    The configuration file is --config, else $VASTOST_CONFIG, else vastost.toml beside this program, else \
    /etc/vastost/vastost.toml.";

/// Administer a VAST cluster's S3 buckets as NetBackup OpenStorage: set up, check, measure, list, put, get, remove.
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
    /// Print JSON, see docs/user/cli-json.md
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
    /// Show backup and restore against an embedded S3 server; needs no configuration
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
    /// Store a file, stdin or the output of a command as an image
    #[command(after_help = PUT_HELP)]
    Put(Put),
    /// Restore an image to a file or stdout
    #[command(after_help = GET_HELP)]
    Get(Get),
    /// Delete images for good
    #[command(after_help = RM_HELP)]
    Rm(Rm),
    /// Remove what no image needs: forgotten pending images, uploads, half-done deletes; shows it unless --yes
    #[command(after_help = GC_HELP)]
    Gc(Gc),
    /// Repair records: lost or damaged sidecars, half-done completions and deletes; shows it unless --yes
    #[command(after_help = REPAIR_HELP)]
    Repair(Repair),
    /// Bring images back that were deleted or overwritten past the plug-in, from the versions that the bucket keeps
    #[command(after_help = UNDELETE_HELP)]
    Undelete(Undelete),
    /// Count what the LSUs hold, and refresh the figure that NetBackup polls
    #[command(after_help = "Examples:\n  vastost-s3 usage\n  vastost-s3 usage nightly --by-client")]
    Usage(Usage),
    /// Measure what this host and its cluster move, and recommend [transfer] settings; leaves nothing behind
    #[command(after_help = crate::bench::HELP)]
    Bench(crate::bench::Options),
    /// Show what the processes of this host did and do: requests, errors, retries, bytes, latency, waits
    #[command(after_help = STATS_HELP)]
    Stats(Stats),
    /// Audit the images: prove that every one can be restored, and name what is left over; changes nothing
    #[command(after_help = VERIFY_HELP)]
    Verify(Verify),
    /// Check the configuration file, or show what is in force
    Config(Config),
}

const INIT_HELP: &str = "Keys come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, else AWS_PROFILE names a profile, else they are \
    asked for. They are kept in <server>.keys.toml (mode 0600) beside the configuration; --force keeps the one that was there as \
    <server>.keys.toml.bak. With --create the keys are tried before anything is written.\n\n\
    Examples:\n  vastost-s3 init\n  \
    vastost-s3 init --endpoint https://s3.vast1.example.com --lsu nightly --lsu weekly --create\n  \
    vastost-s3 init --endpoint http://127.0.0.1:9000 --lsu Test=test-bucket -o test.toml";

const DOCTOR_HELP: &str = "Small objects are written under probe/ of each LSU and removed again.\n\n\
    Examples:\n  vastost-s3 doctor\n  vastost-s3 doctor --json | jq '.checks[] | select(.status != \"pass\")'";

const LS_HELP: &str = "Of an LSU that cannot be reached the reason is on stderr, and the exit code is 1.\n\n\
    With --quiet it prints names alone: of images that `get` can read, or with --pending of all that were never complete. \
    They are escaped as in object keys (=XX for a byte), which every command accepts.\n\n\
    Examples:\n  vastost-s3 ls\n  vastost-s3 ls nightly/db01_ --since 2026-11-01\n  \
    vastost-s3 ls nightly --client db01 --pending\n  vastost-s3 ls -0 nightly | xargs -0 -r -n 1 vastost-s3 info";

const IMAGE_HELP: &str =
    "IMAGE is a basename, or basename:date with the date in seconds since 1970 where several images share a basename.";

const PUT_HELP: &str = "IMAGE is basename or basename:date (seconds since 1970). Without a date it is the one in a basename such as \
    db01_1795305600_C1_F1, else now, or the next second that is free. A put that fails or is interrupted leaves no image.\n\n\
    With --command the image is what the command after -- prints, and is stored only when the command ends with exit \
    status 0. A shell pipe cannot tell that: in `pg_dump shop | vastost-s3 put - …` a dump that failed looks like a short \
    one. For a pipeline of several commands use -- bash -o pipefail -c '…'. A file that changes while it is read is not \
    stored. Exit code 1 says that the source was not as it should be, 2 that it could not be stored.\n\n\
    Ctrl-C ends a put between two buffers, which may take as long as a request that hangs; a second Ctrl-C exits at once \
    with 130 and leaves the image pending, for `rm` to remove.\n\n\
    A put that ends early ends its command with all that the command has started. A put that is killed (kill -9), or ended \
    by a second Ctrl-C, cannot: the command goes on until it next writes to its output, and the image stays pending.\n\n\
    Examples:\n  vastost-s3 put dump.img nightly/db01_1795305600_C1_F1\n  \
    vastost-s3 put --command nightly/shop -- pg_dump shop\n  \
    vastost-s3 put --command nightly/etc --min-size \"1 MiB\" -- tar c /etc";

const GET_HELP: &str = "The file appears under its name only when it is whole. Every part is checked against its checksum. Ctrl-C removes \
    what was written; a second one exits at once with 130. When what reads from stdout ends early, the exit code is 1.\n\n\
    Examples:\n  vastost-s3 get nightly/db01_1795305600_C1_F1 dump.img\n  \
    vastost-s3 get nightly/shop --newest - | tar x";

const RM_HELP: &str = "Asks once, with the list, on a terminal; without one it needs --yes. Goes on after a failure. An image in state \
    `deleting`, whose delete was interrupted, is removed to its end.\n\n\
    Examples:\n  vastost-s3 rm nightly/db01_1795305600_C1_F1\n  \
    vastost-s3 ls -0 nightly --pending | xargs -0 -r vastost-s3 rm --yes";

const UNDELETE_HELP: &str = "An image that no list shows is found by the versions of its sidecar, where the keys may list them; else it is named with \
    its date, from NetBackup's catalog or a list of the bucket's versions. A finished `rm` is final.\n\n\
    Examples:\n  vastost-s3 undelete nightly/db01_1795305600_C1_F1\n  \
    vastost-s3 undelete nightly/shop:1795305600";

const GC_HELP: &str = "What a living writer holds is never touched, whatever the age: ages are those of the server's clock. Data objects that no \
    record names are left alone without --orphan-data: a lost sidecar leaves the same picture, and `repair` brings it \
    back.\n\n\
    Examples:\n  vastost-s3 gc\n  vastost-s3 gc nightly --older-than 7d --yes";

const REPAIR_HELP: &str = "Nothing that is good is overwritten; a sidecar that is replaced is kept under replaced/.\n\n\
    Examples:\n  vastost-s3 repair\n  vastost-s3 repair nightly --deep --yes";
const STATS_HELP: &str = "Shows the files that the processes leave in the folder [metrics] dir, those of the last 10 minutes' jobs included. \
    RATE counts both ways, over the process's life, with --watch since the last look.\n\n\
    Examples:\n  vastost-s3 stats\n  vastost-s3 stats --watch\n  \
    vastost-s3 --json stats | jq '.operations[] | select(.errors > 0)'";

const VERIFY_HELP: &str = "Exit codes: 0 nothing wrong, 1 findings of severity error (with --strict also warnings), 2 could not run, was \
    interrupted, or had nothing to verify: an empty LSU, a selection that no image matches, a list of NetBackup's without \
    images. A reader's rights are enough. Every kind of finding is explained in docs/user/verify.md.\n\n\
    Examples:\n  vastost-s3 verify\n  vastost-s3 verify nightly --deep --since 2026-11-01 --limit-rate \"500 MiB\"\n  \
    bpimagelist -l -d 01/01/2026 > images && vastost-s3 verify --against images --html audit.html\n  \
    vastost-s3 --json verify --shard 1/4 > shard-1.json";

const MERGE_HELP: &str = "Refuses reports that are not of one audit. When shards are missing, the joined report is marked as \
    incomplete, and the exit code is 2 unless something was found.\n\n\
    Examples:\n  vastost-s3 verify merge shard-*.json\n  \
    vastost-s3 --json verify merge shard-*.json --html audit.html > audit.json";

#[derive(Args)]
pub struct Demo {
    /// Backups at once
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
    /// Print names alone, each with a NUL byte behind it, as `xargs -0` takes them
    #[arg(long, short = '0', conflicts_with = "json")]
    pub print0: bool,
}

#[derive(Args)]
pub struct Info {
    #[arg(value_name = "LSU/IMAGE", help = IMAGE_HELP)]
    pub image: OsString,
    /// Of several images of that basename the latest complete one
    #[arg(long)]
    pub newest: bool,
}

#[derive(Args)]
#[command(
    override_usage = "vastost-s3 put [OPTIONS] FILE|- LSU/IMAGE\n       vastost-s3 put [OPTIONS] --command LSU/IMAGE -- PROGRAM [ARGUMENT]..."
)]
pub struct Put {
    /// What to store, a file or - for stdin, and where to and under which name; with --command the second alone
    #[arg(value_name = "FILE|- LSU/IMAGE", num_args = 1..=2, required = true)]
    pub places: Vec<OsString>,
    /// Store what the command after -- prints, if it ends with exit status 0
    #[arg(long)]
    pub command: bool,
    /// The command and its arguments
    #[arg(value_name = "PROGRAM", last = true, requires = "command")]
    pub program: Vec<OsString>,
    /// Store an image of 0 bytes when stdin or the command brings nothing
    #[arg(long)]
    pub allow_empty: bool,
    /// Store nothing when there are fewer bytes than this
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub min_size: Option<u64>,
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
    /// Of several images of that basename the latest complete one
    #[arg(long)]
    pub newest: bool,
}

#[derive(Args)]
pub struct Rm {
    #[arg(value_name = "LSU/IMAGE", required = true, help = IMAGE_HELP)]
    pub images: Vec<OsString>,
    /// Of several images of one basename delete the latest complete one
    #[arg(long)]
    pub newest: bool,
    /// Delete an image even if its records cannot be read and its data are there; the records are kept under replaced/
    #[arg(long)]
    pub unreadable: bool,
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
}

#[derive(Args)]
pub struct Undelete {
    #[arg(value_name = "LSU/IMAGE", required = true, help = IMAGE_HELP)]
    pub images: Vec<OsString>,
}

/// What `gc` and `repair` share.
#[derive(Args)]
pub struct Mending {
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
    pub mending: Mending,
    /// Also remove data objects that no record names
    #[arg(long)]
    pub orphan_data: bool,
}

#[derive(Args)]
pub struct Repair {
    #[command(flatten)]
    pub mending: Mending,
    /// Read the images whose checksums the server does not know
    #[arg(long)]
    pub deep: bool,
}

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
    /// Show it again and again, every so many seconds, until Ctrl-C; with --json one document a line
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2",
        value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub watch: Option<u64>,
}

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
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
    /// Only images whose basename begins so
    #[arg(long, value_name = "BASENAME")]
    pub image: Option<OsString>,
    /// Only images of this day or later: yyyy-mm-dd (UTC) or seconds since 1970
    #[arg(long, value_name = "DATE", value_parser = super::name::since)]
    pub since: Option<u64>,
    /// Only images of this day or earlier
    #[arg(long, value_name = "DATE", value_parser = super::name::until)]
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
    /// Read at most so many bytes a second, such as "500 MiB"
    #[arg(long, value_name = "SIZE", value_parser = some_size, requires = "deep")]
    pub limit_rate: Option<u64>,
    /// Images checked concurrently
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = jobs)]
    pub jobs: usize,
    /// Note progress in this file, and resume from it after an interruption
    #[arg(long, value_name = "FILE")]
    pub resume: Option<PathBuf>,
    /// An LSU without images is as it should be, and no reason for exit code 2
    #[arg(long)]
    pub allow_empty: bool,
    /// Do not name debris that was changed since: a number with s, min, h or d
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

/// What becomes of an audit's report.
#[derive(Args)]
pub struct VerifyOutput {
    /// Also write the report as one HTML page
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Exit with 1 for warnings too
    #[arg(long)]
    pub strict: bool,
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

pub fn size(text: &str) -> Result<u64, String> {
    vastost::config::parse_size(text).ok_or_else(|| "a size is a whole number with a unit, such as \"256 MiB\"".into())
}

/// A size that is not 0.
pub fn some_size(text: &str) -> Result<u64, String> {
    size(text)
        .ok()
        .filter(|bytes| *bytes > 0)
        .ok_or_else(|| "a size above 0 with a unit, such as \"256 MiB\"".into())
}

/// `90s`, `15 min`, `24h`, `7d`.
pub fn age(text: &str) -> Result<Duration, String> {
    let wrong = || "an age is a whole number with s, min, h or d, such as 24h".to_owned();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits).ok_or_else(wrong)?;
    let seconds = match unit.trim() {
        "s" => 1,
        "min" | "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(wrong)
}

fn shard(text: &str) -> Result<Shard, String> {
    Shard::parse(text).ok_or_else(|| "a shard is K/N with K from 1 to N, such as 2/8".into())
}

/// Work done at once.
pub fn jobs(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|jobs| (1..=256).contains(jobs))
        .ok_or_else(|| "a number from 1 to 256".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
        assert!(some_size("0B").is_err() && some_size("0").is_err() && some_size("1 B") == Ok(1));
    }

    #[test]
    fn ages_have_a_unit() {
        assert_eq!(age("0s"), Ok(Duration::ZERO));
        assert_eq!(age("15 min"), Ok(Duration::from_secs(900)));
        assert_eq!(age("7d"), Ok(Duration::from_secs(7 * 86_400)));
        for wrong in [
            "",
            "5",
            "h",
            "-1h",
            "1.5h",
            "99999999999999999999s",
            "99999999999999999d",
        ] {
            assert!(age(wrong).is_err(), "{wrong}");
        }
    }
}
