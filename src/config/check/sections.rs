//! `[transfer]`, `[pool]`, `[integrity]`, `[retry]`, `[metrics]`, `[log]`: each key with its bounds, or its default.

use toml::Spanned;

use super::file::File;
use super::raw::{Given, RawIntegrity, RawLog, RawMetrics, RawPool, RawRetry, RawTransfer};
use crate::config::part_plan::PartPlan;
use crate::config::value::{parse_size, size_text};
use crate::config::{Integrity, Log, LogFormat, Metrics, Pool, Retry, Rotation, Transfer, WireChoice};
use crate::config::{PART_SIZE_MAX, PART_SIZE_MIN, PARTS_MAX};
use crate::error::Result;

/// Smaller log files would be rotated away while somebody reads them.
const LOG_SIZE_MIN: u64 = 64 << 10;

impl File<'_> {
    pub fn transfer(&self, raw: &RawTransfer) -> Result<Transfer> {
        let d = Transfer::default();
        let image_max = PART_SIZE_MAX * u64::from(PARTS_MAX);
        let part_size = "transfer.part_size";
        let image_size = "transfer.image_size_max";
        let least = "transfer.parts_in_flight";
        let most = "transfer.parts_in_flight_max";
        let in_flight = self.number(least, &raw.parts_in_flight, d.parts_in_flight, 1..=256)?;
        let in_flight_max = in_flight.max(d.parts_in_flight_max);
        let in_flight_max = self.number(most, &raw.parts_in_flight_max, in_flight_max, in_flight as u64..=256)?;

        Ok(Transfer {
            part_size_bytes: self.size(part_size, &raw.part_size, d.part_size_bytes, PART_SIZE_MIN..=1 << 30)?,
            image_size_max_bytes: self.size(image_size, &raw.image_size_max, d.image_size_max_bytes, 1..=image_max)?,
            parts_in_flight: in_flight,
            parts_in_flight_max: in_flight_max,
            read_ahead_parts: self.number(
                "transfer.read_ahead_parts",
                &raw.read_ahead_parts,
                d.read_ahead_parts,
                1..=256,
            )?,
            connections: self.number("transfer.connections", &raw.connections, d.connections, 1..=4096)?,
            connection_max_age: self.time(
                "transfer.connection_max_age",
                &raw.connection_max_age,
                d.connection_max_age,
                1_000..=86_400_000,
            )?,
            connection_idle: self.time(
                "transfer.connection_idle",
                &raw.connection_idle,
                d.connection_idle,
                100..=3_600_000,
            )?,
            connect_timeout: self.time(
                "transfer.connect_timeout",
                &raw.connect_timeout,
                d.connect_timeout,
                10..=60_000,
            )?,
            ack_timeout: self.time("transfer.ack_timeout", &raw.ack_timeout, d.ack_timeout, 1_000..=600_000)?,
            io_threads: self.number("transfer.io_threads", &raw.io_threads, d.io_threads, 1..=64)?,
            writer_lease: self.time(
                "transfer.writer_lease",
                &raw.writer_lease,
                d.writer_lease,
                1_000..=86_400_000,
            )?,
        })
    }

    pub fn pool(&self, raw: &RawPool, transfer: &Transfer) -> Result<Pool> {
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

    pub fn integrity(&self, raw: &RawIntegrity) -> Result<Integrity> {
        let d = Integrity::default();
        Ok(Integrity {
            wire: raw.wire.as_ref().map_or(Ok(d.wire), |given| self.wire(given))?,
            second_look: self.time("integrity.second_look", &raw.second_look, d.second_look, 100..=60_000)?,
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

    pub fn retry(&self, raw: &RawRetry) -> Result<Retry> {
        let d = Retry::default();
        let attempts = self.number("retry.attempts", &raw.attempts, d.attempts as usize, 1..=100)?;
        let hedge = self.number(
            "retry.hedge_percent",
            &raw.hedge_percent,
            d.hedge_percent as usize,
            0..=100,
        )?;

        Ok(Retry {
            hedge_percent: u32::try_from(hedge).unwrap_or(d.hedge_percent),
            attempts: u32::try_from(attempts).unwrap_or(d.attempts),
            backoff_initial: self.time(
                "retry.backoff_initial",
                &raw.backoff_initial,
                d.backoff_initial,
                1..=60_000,
            )?,
            backoff_max: self.time("retry.backoff_max", &raw.backoff_max, d.backoff_max, 1..=600_000)?,
            token_bucket: self.number("retry.token_bucket", &raw.token_bucket, d.token_bucket, 1..=1_000_000)?,
            floor_rate_bytes: self.size("retry.floor_rate", &raw.floor_rate, d.floor_rate_bytes, 1..=1 << 40)?,
            attempt_timeout: self.time(
                "retry.attempt_timeout",
                &raw.attempt_timeout,
                d.attempt_timeout,
                100..=3_600_000,
            )?,
            stall_timeout: self.time(
                "retry.stall_timeout",
                &raw.stall_timeout,
                d.stall_timeout,
                100..=3_600_000,
            )?,
            operation_timeout: self.time(
                "retry.operation_timeout",
                &raw.operation_timeout,
                d.operation_timeout,
                1_000..=86_400_000,
            )?,
        })
    }

    pub fn metrics(&self, raw: &RawMetrics) -> Result<Metrics> {
        let d = Metrics::default();
        // Well below the time after which a file counts as one of an ended process, see metrics/export.rs.
        let interval = self.time("metrics.interval", &raw.interval, d.interval, 1_000..=300_000)?;
        Ok(Metrics {
            dir: raw.dir.as_ref().map(|dir| self.path_of(dir)),
            interval,
        })
    }

    pub fn log(&self, raw: &RawLog) -> Result<Log> {
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

        let file = raw.file.as_ref().map(|file| self.path_of(file));
        let keep = self.number("log.keep", &raw.keep, d.keep, 0..=10_000)?;

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
