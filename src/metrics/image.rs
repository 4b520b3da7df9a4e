//! What one open image did and waited for: its line in NetBackup's job log, and its share of the process's counters.
//!
//! [`ImageStats`] is shared with the tasks that move its parts; [`CallTimer`] belongs to the handle, whose calls come one after
//! the other, so it is plain numbers. Time between calls is the host's; time that a call was blocked is the store's.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tracing::{Instrument, Span};

use super::current;
use super::registry::{DirectionLabels, ImageLabels, StallLabels, seconds};
use super::request::ServerMetrics;
use crate::config::Bucket;

/// Shorter waits are no stalls: they are added up, but get no place in the histogram.
const STALL_MIN: Duration = Duration::from_millis(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Write,
    Read,
}

/// What a call of the host may wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stall {
    /// A part buffer, while others hold the budget.
    Buffer,
    /// A place among the parts in flight, or all of them to arrive.
    Parts,
    /// Bytes to read.
    Data,
    /// All that a close does.
    Close,
}

/// What an image's tasks add up.
pub struct ImageStats {
    server: Arc<ServerMetrics>,
    lsu: Arc<str>,
    direction: Direction,
    /// What log lines about the image are under.
    span: Span,
    parts: AtomicU64,
    /// Shared with the tasks that work for the image, see [`super::current`].
    retries: Arc<AtomicU64>,
    buffer_ns: AtomicU64,
    parts_ns: AtomicU64,
    data_ns: AtomicU64,
}

/// When the calls on one handle came and went.
pub struct CallTimer {
    opened: Instant,
    returned: Instant,
    host: Duration,
    bytes: u64,
}

/// The one line about an image.
pub struct Summary {
    direction: Direction,
    outcome: &'static str,
    bytes: u64,
    took: Duration,
    parts: u64,
    retries: u64,
    host: Duration,
    buffer: Duration,
    part: Duration,
    data: Duration,
    close: Duration,
}

impl ImageStats {
    /// For the object `key`; log lines of its tasks are under the span that is entered now.
    pub fn new(server: &Arc<ServerMetrics>, bucket: &Bucket, key: &str, direction: Direction) -> Arc<Self> {
        Arc::new(Self {
            lsu: server.lsu(bucket, key),
            server: Arc::clone(server),
            direction,
            span: Span::current(),
            parts: AtomicU64::new(0),
            retries: Arc::default(),
            buffer_ns: AtomicU64::new(0),
            parts_ns: AtomicU64::new(0),
            data_ns: AtomicU64::new(0),
        })
    }

    /// Lets `work` count its retries here and log under the image's span.
    pub fn scope<F: Future>(self: &Arc<Self>, work: F) -> impl Future<Output = F::Output> + use<F> {
        current::scope(Arc::clone(&self.retries), work).instrument(self.span.clone())
    }

    /// A part is on the store, or was read and checked.
    pub fn part(&self, since: Instant) {
        self.parts.fetch_add(1, Relaxed);
        let labels = self.labels();
        self.server
            .metrics
            .part_seconds
            .get_or_create(&labels)
            .observe(seconds(since.elapsed()));
    }

    /// A call of the host waited from `since` until now.
    pub fn waited(&self, reason: Stall, since: Instant) {
        let waited = since.elapsed();
        let ns = u64::try_from(waited.as_nanos()).unwrap_or(u64::MAX);
        let (reason, sum) = match reason {
            Stall::Buffer => ("buffer", Some(&self.buffer_ns)),
            Stall::Parts => ("parts", Some(&self.parts_ns)),
            Stall::Data => ("data", Some(&self.data_ns)),
            Stall::Close => ("close", None),
        };

        if let Some(sum) = sum {
            sum.fetch_add(ns, Relaxed);
        }
        if waited >= STALL_MIN {
            let labels = StallLabels {
                server: Arc::clone(&self.server.server),
                lsu: Arc::clone(&self.lsu),
                reason,
            };
            self.server
                .metrics
                .stall_seconds
                .get_or_create(&labels)
                .observe(seconds(waited));
        }
    }

    fn labels(&self) -> DirectionLabels {
        DirectionLabels {
            server: Arc::clone(&self.server.server),
            lsu: Arc::clone(&self.lsu),
            direction: self.direction.name(),
        }
    }

    /// What a close that began at `since` and ended now leaves to say; `blocked` is [`ImageStats::blocked`] of before it.
    pub fn close(&self, timer: &CallTimer, blocked: Blocked, since: Instant, outcome: &'static str) -> Summary {
        self.waited(Stall::Close, since);
        let labels = self.labels();
        let metrics = &self.server.metrics;
        metrics.image_bytes.get_or_create(&labels).inc_by(timer.bytes);
        let DirectionLabels { server, lsu, direction } = labels;
        metrics
            .images
            .get_or_create(&ImageLabels {
                server,
                lsu,
                direction,
                outcome,
            })
            .inc();
        Summary {
            direction: self.direction,
            outcome,
            bytes: timer.bytes,
            took: timer.opened.elapsed(),
            parts: self.parts.load(Relaxed),
            retries: self.retries.load(Relaxed),
            host: timer.host,
            buffer: blocked.0,
            part: blocked.1,
            data: blocked.2,
            close: since.elapsed(),
        }
    }

    /// What calls have waited for until now: a close waits for the same things, and is told of as a whole.
    pub fn blocked(&self) -> Blocked {
        let time = |ns: &AtomicU64| Duration::from_nanos(ns.load(Relaxed));
        Blocked(time(&self.buffer_ns), time(&self.parts_ns), time(&self.data_ns))
    }
}

/// Time blocked on buffers, on parts in flight, on bytes to read.
#[derive(Clone, Copy)]
pub struct Blocked(Duration, Duration, Duration);

impl Direction {
    fn name(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::Read => "read",
        }
    }
}

impl CallTimer {
    pub fn new() -> Self {
        let now = Instant::now();
        Self {
            opened: now,
            returned: now,
            host: Duration::ZERO,
            bytes: 0,
        }
    }

    /// Runs a call of the host, which gives the bytes that it moved.
    pub fn call<E>(&mut self, body: impl FnOnce() -> Result<u64, E>) -> Result<u64, E> {
        self.begin();
        let moved = body();
        self.bytes += moved.as_ref().copied().unwrap_or(0);
        self.returned = Instant::now();
        moved
    }

    /// A call begins: the time since the last one was the host's.
    pub fn begin(&mut self) {
        self.host += self.returned.elapsed();
    }
}

impl Default for CallTimer {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            bytes,
            parts,
            retries,
            outcome,
            ..
        } = self;
        let [took, host, buffer, part, data, close] =
            [self.took, self.host, self.buffer, self.part, self.data, self.close].map(|time| time.as_secs_f64());
        let rate = *bytes as f64 / took.max(1e-9) / f64::from(1 << 20);
        write!(
            f,
            "{outcome}: {bytes} bytes in {took:.3} s, {rate:.1} MiB/s, parts {parts}, retries {retries}; "
        )?;

        match self.direction {
            Direction::Write => write!(
                f,
                "waited {host:.3} s for the host, {:.3} s for the store (buffers {buffer:.3} s, parts {part:.3} s, close {close:.3} s)",
                buffer + part + close
            ),
            Direction::Read => write!(
                f,
                "waited {host:.3} s for the host, {:.3} s for the store (buffers {buffer:.3} s, data {data:.3} s, close {close:.3} s)",
                buffer + data + close
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::metrics::registry::Metrics;

    fn stats() -> Arc<ImageStats> {
        let text = "[server.v]\nendpoints = [\"http://127.0.0.1:9000\"]\n";
        let config = Config::parse(text, std::path::Path::new("/x/vastost.toml")).unwrap();
        let server = ServerMetrics::new(&Arc::new(Metrics::new()), config.server("v").unwrap());
        ImageStats::new(&server, &"bucket".into(), "key", Direction::Write)
    }

    #[test]
    fn a_summary_tells_the_host_s_time_from_the_store_s() {
        let stats = stats();
        let mut timer = CallTimer::new();
        std::thread::sleep(Duration::from_millis(30));
        let written = timer.call(|| {
            let since = Instant::now();
            std::thread::sleep(Duration::from_millis(5));
            stats.waited(Stall::Parts, since);
            Ok::<_, ()>(1 << 20)
        });
        assert_eq!(written, Ok(1 << 20));
        let summary = stats.close(&timer, stats.blocked(), Instant::now(), "complete");
        assert!(summary.host >= Duration::from_millis(30) && summary.part >= Duration::from_millis(5));
        assert_eq!((summary.buffer, summary.bytes), (Duration::ZERO, 1 << 20));
        assert!(
            summary.to_string().starts_with("complete: 1048576 bytes in 0."),
            "{summary}"
        );
        let text = stats.server.metrics.text();
        assert!(
            text.contains("vastost_stall_seconds_count") && text.contains("reason=\"parts\""),
            "{text}"
        );
        assert!(!text.contains("reason=\"buffer\""), "{text}");
    }

    #[tokio::test]
    async fn retries_are_counted_for_the_image_that_a_task_works_for() {
        let stats = stats();
        current::count_retry();
        stats.scope(async { current::count_retry() }).await;
        assert_eq!(stats.retries.load(Relaxed), 1);
    }
}
