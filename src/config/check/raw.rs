//! The configuration file as serde reads it: every key that there is, none of them checked.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

use crate::config::value::{Size, Time};

/// A value that may be left out, with its place in the file.
pub type Given<T> = Option<Spanned<T>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawFile {
    pub state_dir: Given<String>,
    pub server: BTreeMap<String, Spanned<RawServer>>,
    #[serde(default)]
    pub transfer: RawTransfer,
    #[serde(default)]
    pub pool: RawPool,
    #[serde(default)]
    pub integrity: RawIntegrity,
    #[serde(default)]
    pub retry: RawRetry,
    #[serde(default)]
    pub metrics: RawMetrics,
    #[serde(default)]
    pub log: RawLog,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawServer {
    pub endpoints: Spanned<Vec<String>>,
    pub region: Given<String>,
    pub bucket_prefix: Given<String>,
    #[serde(default)]
    pub tls: RawTls,
    pub credentials: Given<RawCredentials>,
    #[serde(default)]
    pub lsu: Vec<Spanned<RawLsu>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct RawTls {
    pub ca_file: Given<String>,
    pub server_name: Given<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawCredentials {
    pub source: Spanned<String>,
    pub file: Given<String>,
    pub profile: Given<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawLsu {
    pub name: Spanned<String>,
    pub bucket: Given<String>,
    pub prefix: Given<String>,
    pub description: Given<String>,
    pub capacity: Given<Size>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct RawTransfer {
    pub part_size: Given<Size>,
    pub image_size_max: Given<Size>,
    pub parts_in_flight: Given<u64>,
    pub parts_in_flight_max: Given<u64>,
    pub read_ahead_parts: Given<u64>,
    pub connections: Given<u64>,
    pub connection_max_age: Given<Time>,
    pub connection_idle: Given<Time>,
    pub connect_timeout: Given<Time>,
    pub ack_timeout: Given<Time>,
    pub io_threads: Given<u64>,
    pub writer_lease: Given<Time>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct RawPool {
    pub budget: Given<Size>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct RawIntegrity {
    pub wire: Given<String>,
    pub second_look: Given<Time>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct RawRetry {
    pub attempts: Given<u64>,
    pub backoff_initial: Given<Time>,
    pub backoff_max: Given<Time>,
    pub token_bucket: Given<u64>,
    pub floor_rate: Given<Size>,
    pub attempt_timeout: Given<Time>,
    pub stall_timeout: Given<Time>,
    pub operation_timeout: Given<Time>,
    pub hedge_percent: Given<u64>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct RawMetrics {
    pub dir: Given<String>,
    pub interval: Given<Time>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct RawLog {
    pub file: Given<String>,
    pub level: Given<String>,
    pub format: Given<String>,
    pub rotate: Given<String>,
    pub keep: Given<u64>,
}
