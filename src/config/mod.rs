//! `vastost.toml` → a checked [`Config`]. Every limit of the engine has its name, default and bounds here.
//!
//! The file is refused as a whole when a key is unknown or a value impossible; the refusal names file, line, key, value
//! and what would be valid. The file holds no secret: credentials come from NetBackup, from the AWS chain, or from a
//! file of mode 0600 that [`credentials`] reads. Limits: 1 MiB of text, 64 servers, 1,024 LSUs per server.
//!
//! `value` reads a number, a size, a time with its unit; `endpoint` a URL and its addresses; `bucket` is the name of a
//! bucket; [`folders`] are the names that an LSU's folders have; [`part_plan`] says how long each part of an upload is;
//! `check` makes a file a [`Config`]; [`warnings`] are about what is valid and unwise; `show` writes what is in force;
//! `find` looks for the file and loads it.

mod value;
mod endpoint;
mod bucket;
pub mod folders;
pub mod part_plan;
pub mod credentials;
mod check;
pub mod warnings;
mod show;
mod find;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use bucket::{Bucket, is_bucket_name};
pub use endpoint::{Endpoint, Target};
pub use find::places;
pub use show::show;
pub use value::{parse_size, size_text};

use crate::error::{Error, Kind, Result};

/// S3 allows no more parts in one upload, <https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>.
pub const PARTS_MAX: u32 = 10_000;
/// S3's smallest part but for the last; MinIO enforces it, VAST does not.
pub const PART_SIZE_MIN: u64 = 5 << 20;
/// S3's largest part.
pub const PART_SIZE_MAX: u64 = 5 << 30;
/// Tries of a request that only asks: polls and listings must fail soon, while bytes in flight are worth patience.
pub const QUERY_ATTEMPTS_MAX: u32 = 5;
/// The bytes of one configuration file.
pub const FILE_SIZE_MAX: u64 = 1 << 20;

/// A checked configuration file.
#[derive(Clone, Debug)]
pub struct Config {
    pub path: PathBuf,
    /// Capability probes and usage figures that the processes of this host share.
    pub state_dir: PathBuf,
    pub servers: BTreeMap<String, Server>,
    pub transfer: Transfer,
    pub pool: Pool,
    pub integrity: Integrity,
    pub retry: Retry,
    pub metrics: Metrics,
    pub log: Log,
}

/// One VAST cluster as NetBackup sees it: `VastData:<name>`.
#[derive(Clone, Debug)]
pub struct Server {
    pub name: String,
    pub endpoint: Endpoint,
    pub region: String,
    pub tls: Tls,
    pub credentials: credentials::Source,
    pub lsus: Vec<Lsu>,
    /// Buckets whose name starts so are LSUs too, named as the bucket.
    pub bucket_prefix: Option<String>,
}

#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// PEM file of the authorities to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// The name in the certificate, when it is not the endpoint's host.
    pub server_name: Option<String>,
}

/// One logical storage unit: a bucket, or a prefix in one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lsu {
    pub name: String,
    pub bucket: Bucket,
    /// Empty, or ends with a slash.
    pub prefix: String,
    pub description: String,
    /// Bytes that NetBackup is told the LSU can hold; 0 when unknown.
    pub capacity_bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    pub part_size_bytes: u64,
    pub image_size_max_bytes: u64,
    /// With how many an image begins, and the least.
    pub parts_in_flight: usize,
    pub parts_in_flight_max: usize,
    pub read_ahead_parts: usize,
    pub connections: usize,
    pub connection_max_age: Duration,
    pub connection_idle: Duration,
    pub connect_timeout: Duration,
    /// Sent bytes that the other end does not acknowledge for so long break their connection.
    pub ack_timeout: Duration,
    pub io_threads: usize,
    /// How long a pending record speaks for its writer after it was last put.
    pub writer_lease: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    pub budget_bytes: u64,
}

/// What proves a part on the wire; the catalog's CRC64NVME is always computed and checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireChoice {
    /// `crc64nvme` where a probe proved that the endpoint checks it, else `md5`.
    Auto,
    Crc64Nvme,
    Md5,
    None,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Integrity {
    pub wire: WireChoice,
    /// How long an audit waits at least before it looks again at what has only just come.
    pub second_look: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    pub attempts: u32,
    pub backoff_initial: Duration,
    pub backoff_max: Duration,
    /// Failures that the process may have under way before it stops retrying.
    pub token_bucket: usize,
    /// The slowest transfer that still counts as alive: attempts get size / rate, at least `attempt_timeout`.
    pub floor_rate_bytes: u64,
    pub attempt_timeout: Duration,
    /// A download that brings no byte for so long is cut and resumed elsewhere.
    pub stall_timeout: Duration,
    pub operation_timeout: Duration,
    /// Extra bytes for second tries of stragglers, for a hundred that are moved; 0: none.
    pub hedge_percent: u32,
}

/// Where the process's counters are written to, for Prometheus's textfile collector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metrics {
    pub dir: Option<PathBuf>,
    pub interval: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    pub file: Option<PathBuf>,
    pub level: String,
    pub format: LogFormat,
    pub rotate: Rotation,
    /// Rotated files that stay.
    pub keep: usize,
}

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

/// When the log goes on in a new file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotation {
    Never,
    /// At midnight UTC.
    Daily,
    /// Once the file has so many bytes.
    Size(u64),
}

impl Default for Transfer {
    fn default() -> Self {
        Self {
            part_size_bytes: 16 << 20,
            // VAST documents objects of up to one TB: support article 4414834716956.
            image_size_max_bytes: 1_000_000_000_000,
            parts_in_flight: 4,
            parts_in_flight_max: 16,
            read_ahead_parts: 4,
            connections: 64,
            // VIPs move between nodes on failure and upgrade; an old connection would stay on the old node.
            connection_max_age: Duration::from_secs(300),
            // MinIO closes idle connections after 30 s.
            connection_idle: Duration::from_secs(20),
            connect_timeout: Duration::from_secs(3),
            ack_timeout: Duration::from_secs(10),
            io_threads: 2,
            writer_lease: Duration::from_secs(600),
        }
    }
}

impl Default for Pool {
    fn default() -> Self {
        Self { budget_bytes: 1 << 30 }
    }
}

impl Default for Integrity {
    fn default() -> Self {
        Self {
            wire: WireChoice::Auto,
            second_look: Duration::from_secs(3),
        }
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            // With jitter about two minutes of a store that refuses or throttles.
            attempts: 20,
            backoff_initial: Duration::from_millis(100),
            backoff_max: Duration::from_secs(20),
            token_bucket: 5000,
            floor_rate_bytes: 250_000,
            attempt_timeout: Duration::from_secs(30),
            stall_timeout: Duration::from_secs(20),
            operation_timeout: Duration::from_secs(600),
            hedge_percent: 2,
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        // Prometheus's own usual scrape interval.
        Self {
            dir: None,
            interval: Duration::from_secs(15),
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self {
            file: None,
            level: "info".into(),
            format: LogFormat::Text,
            rotate: Rotation::Daily,
            keep: 14,
        }
    }
}

pub const STATE_DIR_DEFAULT: &str = "/var/lib/vastost";

impl Server {
    /// A configured LSU by name.
    pub fn lsu(&self, name: &str) -> Option<&Lsu> {
        self.lsus.iter().find(|lsu| lsu.name == name)
    }

    /// The LSU that discovery makes of `bucket`, when the prefix is configured and fits.
    pub fn discovered(&self, bucket: &str) -> Option<Lsu> {
        let prefix = self.bucket_prefix.as_deref()?;
        // The name is the store's word, and becomes part of a file's name.
        (bucket.starts_with(prefix) && is_bucket_name(bucket)).then(|| Lsu {
            name: bucket.into(),
            bucket: bucket.into(),
            prefix: String::new(),
            description: String::new(),
            capacity_bytes: 0,
        })
    }

    /// The LSUs that discovery makes of `buckets`, without those that the file names.
    pub fn discoveries(&self, buckets: Vec<Bucket>) -> Vec<Lsu> {
        let taken = |bucket: &Bucket| {
            self.lsus
                .iter()
                .any(|lsu| lsu.name == **bucket || lsu.bucket == *bucket)
        };
        buckets
            .into_iter()
            .filter(|bucket| !taken(bucket))
            .filter_map(|bucket| self.discovered(&bucket))
            .collect()
    }
}

impl Config {
    /// Checks the text of a file; `path` only names it in errors and anchors relative paths.
    pub fn parse(text: &str, path: &Path) -> Result<Self> {
        check::parse(text, path)
    }

    /// The server of that name, or an error that lists those there are.
    pub fn server(&self, name: &str) -> Result<&Server> {
        self.servers.get(name).ok_or_else(|| {
            let known: Vec<_> = self.servers.keys().map(String::as_str).collect();
            let what = format!(
                "server {name} is not in {}; it has: {}",
                self.path.display(),
                known.join(", ")
            );
            Error::new(Kind::ServerNotFound, what)
        })
    }
}
