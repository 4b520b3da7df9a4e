//! The files of a metrics folder, taken together.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::ErrorKind;
use std::path::Path;

use serde::Serialize;
use vastost::files;
use vastost::metrics::export;
use vastost::metrics::exposition::{Buckets, Sample, parse};

use crate::output::{complain, utc};

/// A file that the plug-in writes has some kilobytes for each operation and address.
const METRICS_MAX: u64 = 64 << 20;

/// The contents of the folder at one moment; the document of `stats --json`.
#[derive(Default, Serialize)]
pub struct Reading {
    schema: u32,
    pub processes: Vec<Process>,
    pub operations: Vec<Operation>,
    pub stalls: Vec<Stall>,
    pub quarantines: Vec<Quarantine>,
    pub hedges: Vec<Hedges>,
    pub images: Vec<Images>,
    /// Files that could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// One file.
#[derive(Clone, Default, Serialize)]
pub struct Process {
    pub process: String,
    pub started: String,
    pub written: String,
    #[serde(skip)]
    started_seconds: f64,
    #[serde(skip)]
    written_seconds: f64,
}

/// One kind of request of one process to one address.
#[derive(Clone, Default, Serialize)]
pub struct Operation {
    #[serde(flatten)]
    pub key: OperationKey,
    pub requests: u64,
    /// No answer, or a status that is neither a success nor an expected answer such as 404.
    pub errors: u64,
    pub retries: u64,
    pub sent_bytes: u64,
    pub received_bytes: u64,
    /// Both directions: over the life of the process, or since the previous reading.
    pub bytes_per_second: f64,
    pub p50_ms: Option<f64>,
    pub p99_ms: Option<f64>,
    #[serde(skip)]
    latency: Buckets,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct OperationKey {
    pub process: String,
    pub server: String,
    pub lsu: String,
    pub address: String,
    pub operation: String,
}

#[derive(Serialize)]
pub struct Stall {
    pub process: String,
    pub server: String,
    pub lsu: String,
    pub reason: String,
    pub count: u64,
    pub seconds: f64,
}

#[derive(Serialize)]
pub struct Quarantine {
    pub process: String,
    pub server: String,
    pub address: String,
    pub count: u64,
}

/// Second tries of one operation.
#[derive(Default, Serialize)]
pub struct Hedges {
    pub process: String,
    pub server: String,
    pub operation: String,
    pub count: u64,
    pub won: u64,
}

#[derive(Serialize)]
pub struct Images {
    pub process: String,
    pub server: String,
    pub lsu: String,
    pub direction: String,
    pub outcome: String,
    pub count: u64,
}

impl Reading {
    pub fn take(dir: &Path) -> Result<Self, Box<dyn Error>> {
        let exported = export::files(dir).map_err(|error| format!("read metrics folder {}: {error}", dir.display()))?;
        let mut reading = Self {
            schema: 1,
            ..Self::default()
        };
        let mut failures = Vec::new();
        for file in exported {
            match files::read_given(&file, METRICS_MAX) {
                Ok((text, _)) => reading.add(&parse(&String::from_utf8_lossy(&text))),
                // Its process has ended long ago, and another one has just removed it.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => failures.push(format!("read {}: {error}", file.display())),
            }
        }
        failures.iter().for_each(|failure| complain(failure));
        reading.error = (!failures.is_empty()).then(|| failures.join("; "));
        Ok(reading)
    }

    /// The same with rates over the time since `before`, where a process has written again since.
    pub fn since(mut self, before: &Self) -> Self {
        let written = |reading: &Self, process: &str| {
            reading
                .processes
                .iter()
                .find(|other| other.process == process)
                .map(|process| process.written_seconds)
        };

        let earlier: BTreeMap<_, _> = before
            .operations
            .iter()
            .map(|operation| (&operation.key, operation))
            .collect();
        let times: BTreeMap<_, _> = self
            .processes
            .iter()
            .filter_map(|now| {
                let then = written(before, &now.process)?;
                Some((now.process.clone(), now.written_seconds - then))
            })
            .collect();

        for operation in &mut self.operations {
            let Some(time) = times.get(&operation.key.process).copied() else {
                continue;
            };
            let then = earlier.get(&operation.key);
            operation.bytes_per_second = match then {
                Some(then) if time <= 0.0 => then.bytes_per_second,
                then => rate(
                    operation.bytes().saturating_sub(then.map_or(0, |then| then.bytes())),
                    time,
                ),
            };
        }

        self
    }

    fn add(&mut self, samples: &[Sample]) {
        let process = Process::of(samples);
        let mut operations: BTreeMap<OperationKey, Operation> = BTreeMap::new();
        for sample in samples {
            self.add_counts(sample);
            if !sample.label("operation").is_empty() && !sample.label("address").is_empty() {
                let key = OperationKey::of(sample);
                let operation = operations.entry(key.clone()).or_insert_with(|| Operation {
                    key,
                    ..Operation::default()
                });
                operation.add(sample);
            }
        }
        let life = process.written_seconds - process.started_seconds;
        self.operations
            .extend(operations.into_values().map(|operation| operation.finish(life)));
        self.processes.push(process);
    }

    /// What the sample's labels name; made at its first sample.
    fn stall(&mut self, sample: &Sample) -> &mut Stall {
        let new = Stall::of(sample);
        let found = self.stalls.iter().position(|stall| stall.key() == new.key());
        let at = found.unwrap_or_else(|| {
            self.stalls.push(new);
            self.stalls.len() - 1
        });
        self.stalls.get_mut(at).expect("found or pushed above")
    }

    /// The same for second tries.
    fn hedges(&mut self, sample: &Sample) -> &mut Hedges {
        let label = |name: &str| sample.label(name).to_owned();
        let process = label("process");
        let server = label("server");
        let operation = label("operation");
        let same = |it: &Hedges| (&it.process, &it.server, &it.operation) == (&process, &server, &operation);
        let at = self.hedges.iter().position(same).unwrap_or_else(|| {
            self.hedges.push(Hedges {
                process,
                server,
                operation,
                ..Hedges::default()
            });
            self.hedges.len() - 1
        });
        self.hedges.get_mut(at).expect("found or pushed above")
    }

    fn add_counts(&mut self, sample: &Sample) {
        let label = |name: &str| sample.label(name).to_owned();
        let process = label("process");
        let server = label("server");
        let lsu = label("lsu");

        match sample.name.as_str() {
            "vastost_stall_seconds_count" => self.stall(sample).count = whole(sample.value),
            "vastost_stall_seconds_sum" => self.stall(sample).seconds = sample.value,
            "vastost_address_quarantines_total" => {
                let address = label("address");
                let count = whole(sample.value);
                self.quarantines.push(Quarantine {
                    process,
                    server,
                    address,
                    count,
                });
            }
            "vastost_hedges_total" => self.hedges(sample).count = whole(sample.value),
            "vastost_hedges_won_total" => self.hedges(sample).won = whole(sample.value),
            "vastost_images_total" => {
                let direction = label("direction");
                let outcome = label("outcome");
                let count = whole(sample.value);
                self.images.push(Images {
                    process,
                    server,
                    lsu,
                    direction,
                    outcome,
                    count,
                });
            }
            _ => {}
        }
    }
}

impl Stall {
    fn of(sample: &Sample) -> Self {
        let label = |name: &str| sample.label(name).to_owned();
        let process = label("process");
        let server = label("server");
        let lsu = label("lsu");
        let reason = label("reason");
        Self {
            process,
            server,
            lsu,
            reason,
            count: 0,
            seconds: 0.0,
        }
    }

    fn key(&self) -> [&str; 4] {
        [&self.process, &self.server, &self.lsu, &self.reason]
    }
}

impl Process {
    fn of(samples: &[Sample]) -> Self {
        let find = |name: &str| samples.iter().find(|sample| sample.name == name);
        let value = |name: &str| find(name).map_or(0.0, |sample| sample.value);
        let process = find("vastost_start_time_seconds").map(|sample| sample.label("process").to_owned());
        let started = value("vastost_start_time_seconds");
        let written = value("vastost_written_time_seconds");
        Self {
            process: process.unwrap_or_default(),
            started: utc(whole(started)),
            written: utc(whole(written)),
            started_seconds: started,
            written_seconds: written,
        }
    }
}

impl OperationKey {
    fn of(sample: &Sample) -> Self {
        let label = |name: &str| sample.label(name).to_owned();
        Self {
            process: label("process"),
            server: label("server"),
            lsu: label("lsu"),
            address: label("address"),
            operation: label("operation"),
        }
    }
}

impl Operation {
    fn add(&mut self, sample: &Sample) {
        let count = whole(sample.value);
        match sample.name.as_str() {
            "vastost_requests_total" => {
                self.requests += count;
                self.errors += if is_error(sample.label("status")) { count } else { 0 };
            }
            "vastost_retries_total" => self.retries += count,
            "vastost_sent_bytes_total" => self.sent_bytes += count,
            "vastost_received_bytes_total" => self.received_bytes += count,
            "vastost_request_seconds_bucket" => {
                let bound = sample.label("le").parse().unwrap_or(f64::INFINITY);
                self.latency.add(bound, sample.value);
            }
            _ => {}
        }
    }

    fn finish(mut self, seconds: f64) -> Self {
        let ms = |share| {
            self.latency
                .quantile(share)
                .map(|seconds| (seconds * 1e6).round() / 1e3)
        };
        (self.p50_ms, self.p99_ms) = (ms(0.5), ms(0.99));
        self.bytes_per_second = rate(self.bytes(), seconds);
        self
    }

    pub fn bytes(&self) -> u64 {
        self.sent_bytes + self.received_bytes
    }
}

/// 404 and 412 are answers to our questions, and a redirection is not an error of ours.
fn is_error(status: &str) -> bool {
    !matches!(status.parse::<u16>(), Ok(200..400 | 404 | 412))
}

fn rate(bytes: u64, seconds: f64) -> f64 {
    if seconds > 0.0 {
        (bytes as f64 / seconds).round()
    } else {
        0.0
    }
}

/// Counters are whole numbers below 2^53; anything else counts as 0.
fn whole(value: f64) -> u64 {
    value.max(0.0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: u64, written: u64) -> String {
        let labels = "process=\"7-1\",server=\"v\",lsu=\"l\",address=\"h:1\",operation=\"UploadPart\"";
        format!(
            "vastost_start_time_seconds{{process=\"7-1\"}} 100.0\n\
             vastost_written_time_seconds{{process=\"7-1\"}} {written}\n\
             vastost_requests_total{{{labels},status=\"200\"}} 3\nvastost_requests_total{{{labels},status=\"503\"}} 1\n\
             vastost_requests_total{{{labels},status=\"404\"}} 1\nvastost_requests_total{{{labels},status=\"none\"}} 1\n\
             vastost_sent_bytes_total{{{labels}}} {bytes}\n\
             vastost_request_seconds_bucket{{le=\"0.5\",{labels}}} 2\n\
             vastost_request_seconds_bucket{{le=\"+Inf\",{labels}}} 4\n"
        )
    }

    fn reading(bytes: u64, written: u64) -> Reading {
        let mut reading = Reading::default();
        reading.add(&parse(&text(bytes, written)));
        reading
    }

    #[test]
    fn requests_errors_and_latency_add_up_and_the_rate_is_over_the_process_s_life() {
        let reading = reading(4000, 140);
        let [operation] = &reading.operations[..] else {
            panic!("one operation")
        };
        assert_eq!((operation.requests, operation.errors), (6, 2));
        assert_eq!((operation.p50_ms, operation.p99_ms), (Some(500.0), Some(500.0)));
        assert_eq!((operation.bytes_per_second, operation.key.lsu.as_str()), (100.0, "l"));
    }

    #[test]
    fn a_further_reading_has_the_rate_since_the_one_before() {
        let first = reading(4000, 140);
        let second = reading(14_000, 150);
        let second = second.since(&first);
        assert_eq!(second.operations[0].bytes_per_second, 1000.0);
        // Nothing was written meanwhile: the rate stays.
        let third = reading(14_000, 150).since(&second);
        assert_eq!(third.operations[0].bytes_per_second, 1000.0);
    }
}
