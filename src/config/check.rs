//! From the text of `vastost.toml` to a checked [`Config`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::credentials::Source;
use super::folders::{LSU_FOLDERS, folder_around};
use super::part_plan::PartPlan;
use super::value::{Size, Time, line_of, parse_size, size_text, time_text};
use super::{Config, Endpoint, Integrity, Log, Lsu, Metrics, PART_SIZE_MAX, PART_SIZE_MIN, Pool, Retry, Server, Tls};
use super::{LogFormat, PARTS_MAX, Rotation, STATE_DIR_DEFAULT, Transfer, WireChoice, is_bucket_name};
use crate::error::{Error, Kind, Result};

/// Smaller log files would be rotated away while somebody reads them.
const LOG_SIZE_MIN: u64 = 64 << 10;

type Given<T> = Option<Spanned<T>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    state_dir: Given<String>,
    server: BTreeMap<String, Spanned<RawServer>>,
    #[serde(default)]
    transfer: RawTransfer,
    #[serde(default)]
    pool: RawPool,
    #[serde(default)]
    integrity: RawIntegrity,
    #[serde(default)]
    retry: RawRetry,
    #[serde(default)]
    metrics: RawMetrics,
    #[serde(default)]
    log: RawLog,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawServer {
    endpoints: Spanned<Vec<String>>,
    region: Given<String>,
    bucket_prefix: Given<String>,
    #[serde(default)]
    tls: RawTls,
    credentials: Given<RawCredentials>,
    #[serde(default)]
    lsu: Vec<Spanned<RawLsu>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct RawTls {
    ca_file: Given<String>,
    server_name: Given<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCredentials {
    source: Spanned<String>,
    file: Given<String>,
    profile: Given<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLsu {
    name: Spanned<String>,
    bucket: Given<String>,
    prefix: Given<String>,
    description: Given<String>,
    capacity: Given<Size>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct RawTransfer {
    part_size: Given<Size>,
    image_size_max: Given<Size>,
    parts_in_flight: Given<u64>,
    parts_in_flight_max: Given<u64>,
    read_ahead_parts: Given<u64>,
    connections: Given<u64>,
    connection_max_age: Given<Time>,
    connection_idle: Given<Time>,
    connect_timeout: Given<Time>,
    ack_timeout: Given<Time>,
    io_threads: Given<u64>,
    writer_lease: Given<Time>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct RawPool {
    budget: Given<Size>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct RawIntegrity {
    wire: Given<String>,
    second_look: Given<Time>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct RawRetry {
    attempts: Given<u64>,
    backoff_initial: Given<Time>,
    backoff_max: Given<Time>,
    token_bucket: Given<u64>,
    floor_rate: Given<Size>,
    attempt_timeout: Given<Time>,
    stall_timeout: Given<Time>,
    operation_timeout: Given<Time>,
    hedge_percent: Given<u64>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct RawMetrics {
    dir: Given<String>,
    interval: Given<Time>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct RawLog {
    file: Given<String>,
    level: Given<String>,
    format: Given<String>,
    rotate: Given<String>,
    keep: Given<u64>,
}

/// Parses and checks; every refusal names file, line, key, value and what would be valid.
pub fn parse(text: &str, path: &Path) -> Result<Config> {
    let raw: RawFile = toml::from_str(text).map_err(|error| refuse_syntax(text, path, &error))?;
    let at = File { text, path };
    if raw.server.is_empty() || raw.server.len() > 64 {
        return Err(at.refuse(
            0,
            "server",
            &raw.server.len().to_string(),
            "1 to 64 tables [server.<name>]",
        ));
    }
    let mut servers = BTreeMap::new();
    for (name, server) in raw.server {
        let key = format!("server.{name}");
        at.word(&key, &name, server.span().start)?;
        servers.insert(name.clone(), at.server(&key, name, server.into_inner())?);
    }
    let transfer = at.transfer(&raw.transfer)?;
    let pool = at.pool(&raw.pool, &transfer)?;
    Ok(Config {
        path: path.to_path_buf(),
        state_dir: at.path_or(raw.state_dir.as_ref(), STATE_DIR_DEFAULT),
        servers,
        transfer,
        pool,
        integrity: at.integrity(&raw.integrity)?,
        retry: at.retry(&raw.retry)?,
        metrics: at.metrics(&raw.metrics)?,
        log: at.log(&raw.log)?,
    })
}

fn refuse_syntax(text: &str, path: &Path, error: &toml::de::Error) -> Error {
    let line = error.span().map_or(1, |span| line_of(text, span.start));
    let content = text.lines().nth(line - 1).unwrap_or_default().to_ascii_lowercase();
    let secret = ["secret", "password", "credentials", "key_id"]
        .iter()
        .any(|word| content.contains(word));
    // Whoever pastes a secret here by mistake must not read it again in a log: the parser quotes values, not keys.
    let unknown = error.message().starts_with("unknown field");
    let message = if secret && !unknown {
        "the value is not valid here"
    } else {
        error.message()
    };
    let key = content.split('=').next().unwrap_or_default().trim().to_owned();
    let key = if content.contains('=') && !message.contains(&key) {
        format!(", key {key}")
    } else {
        String::new()
    };
    Error::new(Kind::Config, format!("{}, line {line}{key}: {message}", path.display()))
}

/// The file under check: what every refusal names.
struct File<'a> {
    text: &'a str,
    path: &'a Path,
}

impl File<'_> {
    fn refuse(&self, offset: usize, key: &str, value: &str, valid: &str) -> Error {
        let (path, line) = (self.path.display(), line_of(self.text, offset));
        Error::new(
            Kind::Config,
            format!("{path}, line {line}: {key} = {value} is not valid; it must be {valid}"),
        )
    }

    fn word(&self, key: &str, value: &str, offset: usize) -> Result<()> {
        let fits = (1..=63).contains(&value.len());
        if fits && value.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)) {
            return Ok(());
        }
        Err(self.refuse(
            offset,
            key,
            &format!("{value:?}"),
            "1 to 63 characters of A-Z a-z 0-9 . _ -",
        ))
    }

    fn number(&self, key: &str, given: &Given<u64>, default: usize, min: u64, max: u64) -> Result<usize> {
        let Some(given) = given else { return Ok(default) };
        let n = *given.get_ref();
        match usize::try_from(n) {
            Ok(value) if (min..=max).contains(&n) => Ok(value),
            _ => Err(self.refuse(given.span().start, key, &n.to_string(), &format!("{min} to {max}"))),
        }
    }

    fn size(&self, key: &str, given: &Given<Size>, default: u64, min: u64, max: u64) -> Result<u64> {
        let Some(given) = given else { return Ok(default) };
        let bytes = given.get_ref().0;
        if (min..=max).contains(&bytes) {
            return Ok(bytes);
        }
        let valid = format!("{} to {}", size_text(min), size_text(max));
        Err(self.refuse(given.span().start, key, &size_text(bytes), &valid))
    }

    fn time(&self, key: &str, given: &Given<Time>, default: Duration, min_ms: u64, max_ms: u64) -> Result<Duration> {
        let Some(given) = given else { return Ok(default) };
        let time = given.get_ref().0;
        let (min, max) = (Duration::from_millis(min_ms), Duration::from_millis(max_ms));
        if (min..=max).contains(&time) {
            return Ok(time);
        }
        let valid = format!("{} to {}", time_text(min), time_text(max));
        Err(self.refuse(given.span().start, key, &time_text(time), &valid))
    }

    /// Relative paths are anchored at the folder of the configuration file, not at wherever the host runs.
    fn path_of(&self, given: &Spanned<String>) -> PathBuf {
        self.path.parent().unwrap_or(Path::new("")).join(given.get_ref())
    }

    fn path_or(&self, given: Option<&Spanned<String>>, default: &str) -> PathBuf {
        given.map_or_else(|| PathBuf::from(default), |given| self.path_of(given))
    }

    fn server(&self, key: &str, name: String, raw: RawServer) -> Result<Server> {
        let urls = raw.endpoints.get_ref();
        let endpoint = Endpoint::parse(urls).map_err(|valid| {
            // A URL with a user part may hold a password.
            let shown = if urls.iter().any(|url| url.contains('@')) {
                "[…]".into()
            } else {
                format!("{urls:?}")
            };
            self.refuse(raw.endpoints.span().start, &format!("{key}.endpoints"), &shown, &valid)
        })?;
        let credentials = match &raw.credentials {
            Some(given) => self.credentials(&format!("{key}.credentials"), given)?,
            None => Source::NetBackup,
        };
        let bucket_prefix = raw.bucket_prefix.map(Spanned::into_inner);
        let lsus = self.lsus(key, raw.lsu, bucket_prefix.as_deref())?;
        Ok(Server {
            name,
            endpoint,
            region: raw.region.map_or_else(|| "us-east-1".into(), Spanned::into_inner),
            tls: Tls {
                ca_file: raw.tls.ca_file.as_ref().map(|file| self.path_of(file)),
                server_name: raw.tls.server_name.map(Spanned::into_inner),
            },
            credentials,
            lsus,
            bucket_prefix,
        })
    }

    fn credentials(&self, key: &str, given: &Spanned<RawCredentials>) -> Result<Source> {
        let raw = given.get_ref();
        let start = raw.source.span().start;
        let source = match (raw.source.get_ref().as_str(), &raw.file, &raw.profile) {
            ("netbackup", None, None) => Source::NetBackup,
            ("aws", None, None) => Source::Aws,
            ("file", Some(file), None) => Source::File(self.path_of(file)),
            ("profile", None, Some(profile)) => Source::Profile(profile.get_ref().clone()),
            (other, ..) => {
                let valid = "\"netbackup\", \"aws\", \"file\" with file = \"…\", or \"profile\" with profile = \"…\"";
                return Err(self.refuse(start, &format!("{key}.source"), &format!("{other:?}"), valid));
            }
        };
        Ok(source)
    }

    fn lsus(&self, key: &str, raw: Vec<Spanned<RawLsu>>, discovered: Option<&str>) -> Result<Vec<Lsu>> {
        let mut lsus: Vec<Lsu> = Vec::with_capacity(raw.len());
        for given in raw {
            let start = given.span().start;
            let lsu = self.lsu(&format!("{key}.lsu"), given.into_inner())?;
            if lsus.len() == 1024 || lsus.iter().any(|other| other.name == lsu.name) {
                let value = format!("{:?}", lsu.name);
                return Err(self.refuse(
                    start,
                    &format!("{key}.lsu.name"),
                    &value,
                    "unique, and at most 1024 LSUs",
                ));
            }
            let twin = lsus
                .iter()
                .find(|other| other.bucket == lsu.bucket && other.prefix == lsu.prefix);
            if let Some(twin) = twin {
                let value = format!("{:?}", lsu.bucket);
                let valid = format!("another bucket or prefix than that of LSU {}", twin.name);
                return Err(self.refuse(start, &format!("{key}.lsu.bucket"), &value, &valid));
            }
            if let Some((value, valid)) = overlap(&lsu, &lsus, discovered) {
                return Err(self.refuse(start, &format!("{key}.lsu.prefix"), &value, &valid));
            }
            lsus.push(lsu);
        }
        Ok(lsus)
    }

    fn lsu(&self, key: &str, raw: RawLsu) -> Result<Lsu> {
        let start = raw.name.span().start;
        let name = raw.name.into_inner();
        self.word(&format!("{key}.name"), &name, start)?;
        let bucket = raw.bucket.map_or_else(|| name.clone(), Spanned::into_inner);
        if !is_bucket_name(&bucket) {
            let valid = "an S3 bucket name: 3 to 63 characters of a-z 0-9 . -";
            return Err(self.refuse(start, &format!("{key}.bucket"), &format!("{bucket:?}"), valid));
        }
        let prefix = raw.prefix.map(Spanned::into_inner).unwrap_or_default();
        let prefix = if prefix.is_empty() || prefix.ends_with('/') {
            prefix
        } else {
            format!("{prefix}/")
        };
        let portable = |b: u8| b.is_ascii_alphanumeric() || b"._-/=".contains(&b);
        if prefix.starts_with('/') || prefix.contains("//") || prefix.len() > 256 || !prefix.bytes().all(portable) {
            let valid = "segments of A-Z a-z 0-9 . _ = - joined by single slashes, at most 256 bytes";
            return Err(self.refuse(start, &format!("{key}.prefix"), &format!("{prefix:?}"), valid));
        }
        Ok(Lsu {
            name,
            bucket,
            prefix,
            description: raw.description.map(Spanned::into_inner).unwrap_or_default(),
            capacity_bytes: raw.capacity.map_or(0, |size| size.get_ref().0),
        })
    }

    fn transfer(&self, raw: &RawTransfer) -> Result<Transfer> {
        let d = Transfer::default();
        let image_max = PART_SIZE_MAX * u64::from(PARTS_MAX);
        let (part_size, image_size) = ("transfer.part_size", "transfer.image_size_max");
        let (least, most) = ("transfer.parts_in_flight", "transfer.parts_in_flight_max");
        let in_flight = self.number(least, &raw.parts_in_flight, d.parts_in_flight, 1, 256)?;
        let in_flight_max = in_flight.max(d.parts_in_flight_max);
        let in_flight_max = self.number(most, &raw.parts_in_flight_max, in_flight_max, in_flight as u64, 256)?;
        Ok(Transfer {
            part_size_bytes: self.size(part_size, &raw.part_size, d.part_size_bytes, PART_SIZE_MIN, 1 << 30)?,
            image_size_max_bytes: self.size(image_size, &raw.image_size_max, d.image_size_max_bytes, 1, image_max)?,
            parts_in_flight: in_flight,
            parts_in_flight_max: in_flight_max,
            read_ahead_parts: self.number(
                "transfer.read_ahead_parts",
                &raw.read_ahead_parts,
                d.read_ahead_parts,
                1,
                256,
            )?,
            connections: self.number("transfer.connections", &raw.connections, d.connections, 1, 4096)?,
            connection_max_age: self.time(
                "transfer.connection_max_age",
                &raw.connection_max_age,
                d.connection_max_age,
                1_000,
                86_400_000,
            )?,
            connection_idle: self.time(
                "transfer.connection_idle",
                &raw.connection_idle,
                d.connection_idle,
                100,
                3_600_000,
            )?,
            connect_timeout: self.time(
                "transfer.connect_timeout",
                &raw.connect_timeout,
                d.connect_timeout,
                10,
                60_000,
            )?,
            ack_timeout: self.time("transfer.ack_timeout", &raw.ack_timeout, d.ack_timeout, 1_000, 600_000)?,
            io_threads: self.number("transfer.io_threads", &raw.io_threads, d.io_threads, 1, 64)?,
            writer_lease: self.time(
                "transfer.writer_lease",
                &raw.writer_lease,
                d.writer_lease,
                1_000,
                86_400_000,
            )?,
        })
    }

    fn pool(&self, raw: &RawPool, transfer: &Transfer) -> Result<Pool> {
        let plan = PartPlan::new(transfer.part_size_bytes, transfer.image_size_max_bytes);
        // One stream fills a part while another is under way: less could not move a single image of the largest size.
        let least = 2 * plan.largest_part_bytes();
        let given = raw.budget.as_ref().map(|given| given.get_ref().0);
        let budget = given.unwrap_or_else(|| Pool::default().budget_bytes.max(least));
        if budget < least || budget > 1 << 40 {
            let start = raw.budget.as_ref().map_or(0, |given| given.span().start);
            let largest = size_text(transfer.image_size_max_bytes);
            let valid = format!(
                "{} (two of the largest parts that an image of {largest} needs) to 1 TiB",
                size_text(least)
            );
            return Err(self.refuse(start, "pool.budget", &size_text(budget), &valid));
        }
        Ok(Pool { budget_bytes: budget })
    }

    fn integrity(&self, raw: &RawIntegrity) -> Result<Integrity> {
        let d = Integrity::default();
        Ok(Integrity {
            wire: raw.wire.as_ref().map_or(Ok(d.wire), |given| self.wire(given))?,
            second_look: self.time("integrity.second_look", &raw.second_look, d.second_look, 100, 60_000)?,
        })
    }

    fn wire(&self, given: &Spanned<String>) -> Result<WireChoice> {
        Ok(match given.get_ref().as_str() {
            "auto" => WireChoice::Auto,
            "crc64nvme" => WireChoice::Crc64Nvme,
            "md5" => WireChoice::Md5,
            "none" => WireChoice::None,
            other => {
                let valid = "\"auto\", \"crc64nvme\", \"md5\" or \"none\"";
                return Err(self.refuse(given.span().start, "integrity.wire", &format!("{other:?}"), valid));
            }
        })
    }

    fn retry(&self, raw: &RawRetry) -> Result<Retry> {
        let d = Retry::default();
        let attempts = self.number("retry.attempts", &raw.attempts, d.attempts as usize, 1, 100)?;
        let hedge = self.number(
            "retry.hedge_percent",
            &raw.hedge_percent,
            d.hedge_percent as usize,
            0,
            100,
        )?;
        Ok(Retry {
            hedge_percent: u32::try_from(hedge).unwrap_or(d.hedge_percent),
            attempts: u32::try_from(attempts).unwrap_or(d.attempts),
            backoff_initial: self.time(
                "retry.backoff_initial",
                &raw.backoff_initial,
                d.backoff_initial,
                1,
                60_000,
            )?,
            backoff_max: self.time("retry.backoff_max", &raw.backoff_max, d.backoff_max, 1, 600_000)?,
            token_bucket: self.number("retry.token_bucket", &raw.token_bucket, d.token_bucket, 1, 1_000_000)?,
            floor_rate_bytes: self.size("retry.floor_rate", &raw.floor_rate, d.floor_rate_bytes, 1, 1 << 40)?,
            attempt_timeout: self.time(
                "retry.attempt_timeout",
                &raw.attempt_timeout,
                d.attempt_timeout,
                100,
                3_600_000,
            )?,
            stall_timeout: self.time(
                "retry.stall_timeout",
                &raw.stall_timeout,
                d.stall_timeout,
                100,
                3_600_000,
            )?,
            operation_timeout: self.time(
                "retry.operation_timeout",
                &raw.operation_timeout,
                d.operation_timeout,
                1_000,
                86_400_000,
            )?,
        })
    }

    fn metrics(&self, raw: &RawMetrics) -> Result<Metrics> {
        let d = Metrics::default();
        // Well below the time after which a file counts as one of an ended process, see metrics/export.rs.
        let interval = self.time("metrics.interval", &raw.interval, d.interval, 1_000, 300_000)?;
        Ok(Metrics {
            dir: raw.dir.as_ref().map(|dir| self.path_of(dir)),
            interval,
        })
    }

    fn log(&self, raw: &RawLog) -> Result<Log> {
        let d = Log::default();
        let level = match &raw.level {
            None => d.level,
            Some(given) if ["error", "warn", "info", "debug", "trace"].contains(&given.get_ref().as_str()) => {
                given.get_ref().clone()
            }
            Some(given) => {
                let valid = "\"error\", \"warn\", \"info\", \"debug\" or \"trace\"";
                return Err(self.refuse(
                    given.span().start,
                    "log.level",
                    &format!("{:?}", given.get_ref()),
                    valid,
                ));
            }
        };
        let format = match raw.format.as_ref().map(|given| (given, given.get_ref().as_str())) {
            None => d.format,
            Some((_, "text")) => LogFormat::Text,
            Some((_, "json")) => LogFormat::Json,
            Some((given, other)) => {
                return Err(self.refuse(
                    given.span().start,
                    "log.format",
                    &format!("{other:?}"),
                    "\"text\" or \"json\"",
                ));
            }
        };
        let (file, keep) = (
            raw.file.as_ref().map(|file| self.path_of(file)),
            self.number("log.keep", &raw.keep, d.keep, 0, 10_000)?,
        );
        Ok(Log {
            file,
            level,
            format,
            rotate: self.rotation(&raw.rotate, d.rotate)?,
            keep,
        })
    }

    fn rotation(&self, given: &Given<String>, default: Rotation) -> Result<Rotation> {
        let Some(given) = given else { return Ok(default) };
        match (given.get_ref().as_str(), parse_size(given.get_ref())) {
            ("daily", _) => Ok(Rotation::Daily),
            ("never", _) => Ok(Rotation::Never),
            (_, Some(bytes)) if (LOG_SIZE_MIN..=1 << 40).contains(&bytes) => Ok(Rotation::Size(bytes)),
            (other, _) => {
                let valid = format!(
                    "\"daily\", \"never\" or a size from {} to 1 TiB",
                    size_text(LOG_SIZE_MIN)
                );
                Err(self.refuse(given.span().start, "log.rotate", &format!("{other:?}"), &valid))
            }
        }
    }
}

/// The prefix of an LSU that lies in a folder of another one, and what would be valid. A bucket that discovery takes is
/// an LSU without a prefix.
fn overlap(lsu: &Lsu, others: &[Lsu], discovered: Option<&str>) -> Option<(String, String)> {
    let inside = |inner: &Lsu, outer_name: &str, outer_prefix: &str| {
        let folder = folder_around(&inner.prefix, outer_prefix)?;
        let valid = format!(
            "outside {outer_prefix}{folder}/, where LSU {outer_name} keeps its objects in bucket {}: give LSU {} a prefix whose part behind \"{outer_prefix}\" begins with none of {}",
            inner.bucket,
            inner.name,
            LSU_FOLDERS.join(", ")
        );
        Some((format!("{:?}", inner.prefix), valid))
    };
    let found = discovered.is_some_and(|prefix| lsu.bucket.starts_with(prefix));
    let discovery = found.then(|| inside(lsu, &lsu.bucket, "")).flatten();
    let mut same_bucket = others.iter().filter(|other| other.bucket == lsu.bucket);
    discovery.or_else(|| {
        same_bucket
            .find_map(|other| inside(lsu, &other.name, &other.prefix).or_else(|| inside(other, &lsu.name, &lsu.prefix)))
    })
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
