//! The counters and histograms of one process, and their text.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus_client::encoding::text::encode_registry;
use prometheus_client::encoding::{EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// One kind of request to one address.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RequestLabels {
    pub server: Arc<str>,
    pub lsu: Arc<str>,
    pub address: Arc<str>,
    pub operation: &'static str,
}

/// The same with how it ended: the HTTP status, or `none` when no answer came.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct AnswerLabels {
    pub server: Arc<str>,
    pub lsu: Arc<str>,
    pub address: Arc<str>,
    pub operation: &'static str,
    pub status: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct AddressLabels {
    pub server: Arc<str>,
    pub address: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct HedgeLabels {
    pub server: Arc<str>,
    pub operation: &'static str,
}

/// `direction` is `write` or `read`, as the host sees it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct DirectionLabels {
    pub server: Arc<str>,
    pub lsu: Arc<str>,
    pub direction: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ImageLabels {
    pub server: Arc<str>,
    pub lsu: Arc<str>,
    pub direction: &'static str,
    pub outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct StallLabels {
    pub server: Arc<str>,
    pub lsu: Arc<str>,
    pub reason: &'static str,
}

type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// All that a process counts.
pub struct Metrics {
    registry: Registry,
    /// Unique among all engines of this host.
    process: String,
    written: Gauge<f64, AtomicU64>,
    pub(super) requests: Family<AnswerLabels, Counter>,
    pub(super) retries: Family<RequestLabels, Counter>,
    pub(super) sent_bytes: Family<RequestLabels, Counter>,
    pub(super) received_bytes: Family<RequestLabels, Counter>,
    pub(super) request_seconds: Histograms<RequestLabels>,
    pub(super) avoided: Family<AddressLabels, Counter>,
    pub(super) hedges: Family<HedgeLabels, Counter>,
    pub(super) hedges_won: Family<HedgeLabels, Counter>,
    pub(super) part_seconds: Histograms<DirectionLabels>,
    pub(super) stall_seconds: Histograms<StallLabels>,
    pub(super) images: Family<ImageLabels, Counter>,
    pub(super) image_bytes: Family<DirectionLabels, Counter>,
}

impl Metrics {
    /// Everything at zero.
    pub fn new() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        // A PID alone comes again, and one process may start several engines.
        let process = format!("{}-{}", std::process::id(), now.as_millis());
        let labels = [("process".into(), process.clone().into())];
        let mut registry = Registry::with_prefix_and_labels("vastost", labels.into_iter());
        let started = Gauge::<f64, AtomicU64>::default();
        started.set(now.as_secs_f64());
        let metrics = Self {
            process,
            written: Gauge::default(),
            requests: Family::default(),
            retries: Family::default(),
            sent_bytes: Family::default(),
            received_bytes: Family::default(),
            request_seconds: Family::new_with_constructor(histogram),
            avoided: Family::default(),
            hedges: Family::default(),
            hedges_won: Family::default(),
            part_seconds: Family::new_with_constructor(histogram),
            stall_seconds: Family::new_with_constructor(histogram),
            images: Family::default(),
            image_bytes: Family::default(),
            registry: Registry::default(),
        };

        registry.register("start_time_seconds", "When counting began, seconds since 1970", started);
        metrics.register(&mut registry);
        Self { registry, ..metrics }
    }

    fn register(&self, to: &mut Registry) {
        to.register(
            "written_time_seconds",
            "When this file was written, seconds since 1970",
            self.written.clone(),
        );
        to.register(
            "requests",
            "Tries of requests that were sent, by status",
            self.requests.clone(),
        );
        to.register("retries", "Tries that repeated an earlier one", self.retries.clone());
        to.register(
            "sent_bytes",
            "Bytes of request bodies that the store took",
            self.sent_bytes.clone(),
        );
        to.register(
            "received_bytes",
            "Bytes of answers' bodies that came",
            self.received_bytes.clone(),
        );
        let help = "From a request to the head of its answer, the request's body included";
        to.register("request_seconds", help, self.request_seconds.clone());
        let help = "Times that an address was put aside because it broke, refused or stayed silent";
        to.register("address_quarantines", help, self.avoided.clone());
        let help = "Second tries of requests whose first one took far longer than usual";
        to.register("hedges", help, self.hedges.clone());
        to.register(
            "hedges_won",
            "Second tries that had the answer first",
            self.hedges_won.clone(),
        );
        let help = "From a full buffer to a part on the store, or from asking to a checked part, with all retries";
        to.register("part_seconds", help, self.part_seconds.clone());
        let help = "Calls of the host that had to wait: for a buffer, a place in flight, bytes to read, the close";
        to.register("stall_seconds", help, self.stall_seconds.clone());
        to.register("images", "Images that were closed", self.images.clone());
        to.register(
            "image_bytes",
            "Bytes that the host wrote to or read from images closed",
            self.image_bytes.clone(),
        );
    }

    /// `<pid>-<start in ms since 1970>`.
    pub fn process(&self) -> &str {
        &self.process
    }

    /// True until the first request: a process that did nothing leaves no file.
    pub fn is_idle(&self) -> bool {
        self.requests.is_empty()
    }

    /// All values in Prometheus's text format.
    pub fn text(&self) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.written.set(now.as_secs_f64());
        let mut text = String::new();
        // A String takes all that is written to it.
        let _ = encode_registry(&mut text, &self.registry);
        to_classic(&text)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// 0.5 ms, doubling up to 131 s: an attempt's usual deadlines are within.
fn histogram() -> Histogram {
    Histogram::new(exponential_buckets(0.0005, 2.0, 19))
}

/// Seconds as histograms take them.
pub(super) fn seconds(time: Duration) -> f64 {
    time.as_secs_f64()
}

/// From OpenMetrics, the crate's text format, to the older one that the textfile collector reads: there a counter's help
/// and type bear its whole name.
fn to_classic(text: &str) -> String {
    let mut classic = String::with_capacity(text.len());
    let mut help = None;
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ');
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            let suffix = if kind == "counter" { "_total" } else { "" };
            let help = help.take().map_or("", |(_, help)| help);
            classic.push_str(&format!("# HELP {name}{suffix} {help}\n# TYPE {name}{suffix} {kind}\n"));
        } else if !line.starts_with('#') {
            classic.push_str(line);
            classic.push('\n');
        }
    }
    classic
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_and_type_of_a_counter_bear_the_name_of_its_values() {
        let metrics = Metrics::new();
        let labels = AddressLabels {
            server: "v".into(),
            address: "[::1]:9000".into(),
        };
        metrics.avoided.get_or_create(&labels).inc();
        let text = metrics.text();
        assert!(
            text.contains("# TYPE vastost_address_quarantines_total counter\n"),
            "{text}"
        );
        let line = text
            .lines()
            .find(|line| line.starts_with("vastost_address_quarantines_total{"))
            .unwrap();
        assert!(
            line.contains("address=\"[::1]:9000\"") && line.ends_with("} 1"),
            "{line}"
        );
        assert!(line.contains(&format!("process=\"{}\"", metrics.process())), "{line}");
        assert!(!text.contains("# EOF") && !text.contains("# UNIT"));
    }
}
