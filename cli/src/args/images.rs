//! The commands on single images: `ls`, `info`, `put`, `get`, `rm`, `undelete`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use super::values::size;

pub const LS_HELP: &str = "An LSU whose bucket is missing or refused is listed too: the reason is on stderr, and the exit code is 1. When the \
    server does not answer, it is 2.\n\n\
    With --quiet it prints only names: of images that `get` can read, or with --pending of those that were never complete. \
    Names are escaped as in object keys (=XX for a byte); every command accepts that form.\n\n\
    Examples:\n  vastost-s3 ls\n  vastost-s3 ls nightly/db01_ --since 2026-11-01\n  \
    vastost-s3 ls nightly --client db01 --pending\n  vastost-s3 ls -0 nightly | xargs -0 -r -n 1 vastost-s3 info";

const IMAGE_HELP: &str =
    "IMAGE is a basename, or basename:date with the date in seconds since 1970 where several images share a basename.";

pub const PUT_HELP: &str = "IMAGE is basename or basename:date (seconds since 1970). Without a date it is the one in a basename such as \
    db01_1795305600_C1_F1, else now, or the next second that is free. A put that fails or is interrupted leaves no image.\n\n\
    With --command the image is what the command after -- prints, and is stored only when the command ends with exit \
    status 0. A shell pipe hides a failure: in `pg_dump shop | vastost-s3 put - …` a failed dump looks like a short \
    one. For a pipeline of several commands use -- bash -o pipefail -c '…'. A file that changes while it is read is not \
    stored. Exit code 1 says that the source was not whole, 2 that the image could not be stored.\n\n\
    Ctrl-C takes effect between two buffers, so it may have to wait for a request that hangs; a second Ctrl-C exits at once \
    with 130 and leaves the image pending, for `rm` to remove.\n\n\
    A put that ends early also ends its command and all processes that the command has started. When put is killed (kill -9, \
    or a second Ctrl-C), the command runs until it, or a process that it started, next writes to its output, and the image stays pending.\n\n\
    Examples:\n  vastost-s3 put dump.img nightly/db01_1795305600_C1_F1\n  \
    vastost-s3 put --command nightly/shop -- pg_dump shop\n  \
    vastost-s3 put --command nightly/etc --min-size \"1 MiB\" -- tar c /etc";

pub const GET_HELP: &str = "The file appears under its name only when it is whole. Every part is checked against its checksum. Ctrl-C removes \
    what was written; a second one exits at once with 130. When the reader of stdout ends early, the exit code is 1.\n\n\
    Examples:\n  vastost-s3 get nightly/db01_1795305600_C1_F1 dump.img\n  \
    vastost-s3 get nightly/shop --newest - | tar x";

pub const RM_HELP: &str = "Shows the list and asks once on a terminal; without a terminal it needs --yes. A failure does not stop the remaining \
    deletes. An interrupted delete (state `deleting`) is completed.\n\n\
    Examples:\n  vastost-s3 rm nightly/db01_1795305600_C1_F1\n  \
    vastost-s3 ls -0 nightly --pending | xargs -0 -r vastost-s3 rm --yes";

pub const UNDELETE_HELP: &str = "An image that `ls` does not show is found by the versions of its sidecar, if the keys may list versions. Otherwise give \
    its date, from NetBackup's catalog or a list of the bucket's versions. A finished `rm` is final.\n\n\
    Examples:\n  vastost-s3 undelete nightly/db01_1795305600_C1_F1\n  \
    vastost-s3 undelete nightly/shop:1795305600";

#[derive(Args)]
pub struct Ls {
    /// The LSU, and a prefix of basenames; all LSUs when left out
    #[arg(value_name = "LSU[/PREFIX]")]
    pub place: Option<OsString>,
    /// Only images of this client
    #[arg(long, requires = "place")]
    pub client: Option<OsString>,
    /// Only images of this day or later: yyyy-mm-dd (UTC) or seconds since 1970
    #[arg(long, value_name = "DATE", value_parser = crate::name::since, requires = "place")]
    pub since: Option<u64>,
    /// Only images of this day or earlier
    #[arg(long, value_name = "DATE", value_parser = crate::name::until, requires = "place")]
    pub until: Option<u64>,
    /// Only images that are not complete
    #[arg(long, conflicts_with = "complete", requires = "place")]
    pub pending: bool,
    /// Only complete images
    #[arg(long, requires = "place")]
    pub complete: bool,
    /// Print only names, each followed by a NUL byte, for `xargs -0`
    #[arg(long, short = '0', conflicts_with = "json")]
    pub print0: bool,
}

#[derive(Args)]
pub struct Info {
    #[arg(value_name = "LSU/IMAGE", help = IMAGE_HELP)]
    pub image: OsString,
    /// If several images have this basename, the latest complete one
    #[arg(long)]
    pub newest: bool,
}

#[derive(Args)]
#[command(
    override_usage = "vastost-s3 put [OPTIONS] FILE|- LSU/IMAGE\n       vastost-s3 put [OPTIONS] --command LSU/IMAGE -- PROGRAM [ARGUMENT]..."
)]
pub struct Put {
    /// The source (a file, or - for stdin) and the image to store it as; with --command only the image
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
    /// Overwrite an existing file
    #[arg(long)]
    pub force: bool,
    /// If several images have this basename, the latest complete one
    #[arg(long)]
    pub newest: bool,
}

#[derive(Args)]
pub struct Rm {
    #[arg(value_name = "LSU/IMAGE", required = true, help = IMAGE_HELP)]
    pub images: Vec<OsString>,
    /// If several images have this basename, delete the latest complete one
    #[arg(long)]
    pub newest: bool,
    /// Also delete an image whose records cannot be read although its data exist; the records are kept under replaced/
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
