//! The command line of the benchmark, and of the roles that it starts itself in.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

pub const MIB: u64 = 1 << 20;
pub const GIB: u64 = 1 << 30;
/// The same for every client.
pub const PART: u64 = 16 * MIB;
/// Parts on their way at once, the same for every client but the raw sockets, which have four connections.
pub const IN_FLIGHT: u64 = 8;
/// What NetBackup hands over in one call.
pub const CALL: u64 = 256 << 10;
/// What the clients read from again and again: as much as NetBackup's thirty shared buffers and too much for the second-level cache.
pub const SOURCE: u64 = 8 * MIB;

/// Compares what S3 clients cost on this machine. docs/developer/performance.md explains the figures.
#[derive(Parser)]
#[command(
    name = "cargo bench -p vastost-bench --bench transfer --",
    args_conflicts_with_subcommands = true
)]
pub struct Args {
    #[command(subcommand)]
    pub role: Option<Role>,
    /// GiB that every client moves in one run
    #[arg(long, default_value_t = 4)]
    pub gib: u64,
    /// Interleaved runs; figures are medians
    #[arg(long, default_value_t = 5)]
    pub runs: usize,
    /// Clients whose names begin so, such as vastost,crt; all when left out
    #[arg(long, value_delimiter = ',')]
    pub only: Vec<String>,
    /// Adds runs over https for the clients that can
    #[arg(long)]
    pub tls: bool,
    /// Streams of the runs that look at memory
    #[arg(long, value_delimiter = ',', default_values_t = [1u64, 16, 64])]
    pub streams: Vec<u64>,
    /// Does not count system calls
    #[arg(long)]
    pub no_strace: bool,
    /// Leaves out fairness, small reads and listing
    #[arg(long)]
    pub no_scale: bool,
    /// Adds runs on a real MinIO: MINIO, else PATH, else ~/go/bin/minio, else built by tests/minio.sh
    #[arg(long)]
    pub minio: bool,
    /// GiB that every client moves in one run on MinIO, which keeps them in memory
    #[arg(long, default_value_t = 1)]
    pub minio_gib: u64,
    /// Where the figures go [default: target/transfer/transfer.json]
    #[arg(long)]
    pub json: Option<PathBuf>,
    /// Where the chart goes [default: target/transfer/transfer.svg]
    #[arg(long)]
    pub svg: Option<PathBuf>,
    /// Cargo passes it
    #[arg(long, hide = true)]
    #[allow(dead_code, reason = "taken and not needed")]
    bench: bool,
}

#[derive(Subcommand)]
pub enum Role {
    /// Measures what streams feel when one of four nodes dies, freezes, or is fifty times slower
    Nodes(NodesArgs),
    /// The server; ends with its standard input
    #[command(hide = true)]
    Serve {
        /// Folder with cert.pem and key.pem
        certificate: PathBuf,
    },
    /// Runs a command and writes to OUT what it took
    #[command(hide = true)]
    Measure {
        out: PathBuf,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// One node of the cluster; ends with its standard input
    #[command(hide = true)]
    Node {
        address: String,
        store: String,
        board: PathBuf,
    },
    #[command(hide = true)]
    Limit(Work),
    #[command(hide = true)]
    Sdk(Work),
}

#[derive(clap::Args)]
pub struct NodesArgs {
    /// MiB a second that each node moves
    #[arg(long, default_value_t = 60)]
    pub pace_mib: u64,
    /// Streams that write and read all the time
    #[arg(long, default_value_t = 8)]
    pub streams: u64,
    /// Seconds before the fault, of the fault, and after it
    #[arg(long, default_value_t = 20)]
    pub phase: u64,
    /// Where the figures go [default: target/transfer/nodes.json]
    #[arg(long)]
    pub json: Option<PathBuf>,
    /// Cargo passes it
    #[arg(long, hide = true)]
    #[allow(dead_code, reason = "taken and not needed")]
    bench: bool,
}

/// What a client of this program is to do.
#[derive(clap::Args)]
pub struct Work {
    pub direction: Direction,
    /// Host and port
    pub address: String,
    pub bytes: u64,
    /// Computes CRC64NVME of every part
    #[arg(long)]
    pub crc: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Direction {
    Up,
    Down,
}

impl Direction {
    pub fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}
