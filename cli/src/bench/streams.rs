//! Concurrent streams, each in its own thread, like several backup or restore jobs in one process.

use std::error::Error;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use vastost::ost::abi::{STSP_CLOSEF_COMPLETE, STSP_OPEN_READ};
use vastost_testkit::host::{Definition, HostImage, HostResult, HostServer};

use super::CALL;
use super::noise::Noise;
use crate::interrupt;
use crate::progress::Progress;

/// How often the figures on the screen change.
const TICK: Duration = Duration::from_millis(50);
/// Longer calls count as this long, ns; latencies keep three digits.
const LATENCY_MAX_NS: u64 = 3_600_000_000_000;

/// What one stream did.
pub struct Stream {
    pub bytes: u64,
    pub ended: Instant,
    /// Latencies of the calls, ns.
    pub calls: Histogram<u64>,
}

/// What the streams of one run share.
pub struct Watch<'a> {
    /// No call begins later.
    pub until: Instant,
    pub progress: &'a Progress,
    moved: AtomicU64,
    failed: AtomicBool,
}

/// Why a stream failed, or None if it only ended because another one did.
type Failed = Option<String>;

impl<'a> Watch<'a> {
    pub fn new(until: Instant, progress: &'a Progress) -> Self {
        Self {
            until,
            progress,
            moved: AtomicU64::new(0),
            failed: AtomicBool::new(false),
        }
    }

    /// False when time is up.
    fn goes_on(&self) -> Result<bool, Failed> {
        if self.failed.load(Ordering::Relaxed) {
            return Err(None);
        }
        interrupt::check().map_err(|error| Some(error.to_string()))?;
        Ok(Instant::now() < self.until)
    }
}

/// Writes an image of up to `size` bytes for each name, and closes it complete.
pub fn write(
    server: &HostServer,
    lsu: &str,
    defs: &[Definition],
    size: u64,
    noise: &Noise,
    watch: &Watch<'_>,
) -> Result<(Instant, Vec<Stream>), Box<dyn Error>> {
    let images = open_all(defs, |def| server.create(lsu, def))?;
    let work = |image: &HostImage, _| {
        let mut source = noise.source();
        let mut stream = Stream::new()?;
        while stream.bytes < size && watch.goes_on()? {
            let len = call_len(size, stream.bytes);
            let data = source.next_call().get(..len).unwrap_or_default();
            stream.call(watch, |offset| image.write(data, offset))?;
        }
        Ok(stream)
    };
    in_parallel(&images, &vec![size; images.len()], STSP_CLOSEF_COMPLETE, watch, work)
}

/// Reads the images, whose sizes are in `sizes`, from start to end.
pub fn read(
    server: &HostServer,
    lsu: &str,
    defs: &[Definition],
    sizes: &[u64],
    watch: &Watch<'_>,
) -> Result<(Instant, Vec<Stream>), Box<dyn Error>> {
    let images = open_all(defs, |def| server.open(lsu, def, STSP_OPEN_READ))?;
    let work = |image: &HostImage, size| {
        let mut buffer = vec![0; CALL];
        let mut stream = Stream::new()?;
        while stream.bytes < size && watch.goes_on()? {
            if stream.call(watch, |offset| image.read(&mut buffer, offset))? == 0 {
                return Err(Some(format!(
                    "an image ended after {} bytes; {size} were written",
                    stream.bytes
                )));
            }
        }
        Ok(stream)
    };

    in_parallel(&images, sizes, 0, watch, work)
}

impl Stream {
    fn new() -> Result<Self, Failed> {
        let calls = Histogram::new_with_bounds(1, LATENCY_MAX_NS, 3).map_err(|error| Some(error.to_string()))?;
        Ok(Self {
            bytes: 0,
            ended: Instant::now(),
            calls,
        })
    }

    /// One call at the offset where the last one ended.
    fn call(&mut self, watch: &Watch<'_>, call: impl FnOnce(u64) -> HostResult<u64>) -> Result<u64, Failed> {
        let began = Instant::now();
        let len = call(self.bytes).map_err(|error| Some(error.to_string()))?;
        self.calls
            .saturating_record(u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX).max(1));
        self.bytes += len;
        watch.moved.fetch_add(len, Ordering::Relaxed);
        Ok(len)
    }
}

/// Opens the image of each name, or none.
fn open_all(
    defs: &[Definition],
    open: impl Fn(&Definition) -> HostResult<HostImage>,
) -> Result<Vec<HostImage>, Box<dyn Error>> {
    let mut images = Vec::with_capacity(defs.len());
    for def in defs {
        match open(def) {
            Ok(image) => images.push(image),
            Err(error) => {
                // The first error is the one to report.
                images.iter().for_each(|image| drop(image.close(0)));
                return Err(error.into());
            }
        }
    }
    Ok(images)
}

/// Runs `work` concurrently with every image and its size, and closes them; returns the start, and the result of each
/// stream.
fn in_parallel(
    images: &[HostImage],
    sizes: &[u64],
    close: u32,
    watch: &Watch<'_>,
    work: impl Fn(&HostImage, u64) -> Result<Stream, Failed> + Sync,
) -> Result<(Instant, Vec<Stream>), Box<dyn Error>> {
    let began = Instant::now();
    let one = |image: &HostImage, size: u64| {
        let done = end(image, close, work(image, size));
        watch.failed.fetch_or(done.is_err(), Ordering::Relaxed);
        done
    };
    let results: Vec<Result<Stream, Failed>> = std::thread::scope(|scope| {
        let one = &one;
        let threads: Vec<_> = images
            .iter()
            .zip(sizes)
            .map(|(image, size)| scope.spawn(move || one(image, *size)))
            .collect();
        show_progress(&threads, watch);
        let died = |_| Err(Some("a stream's thread failed".to_owned()));
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(died))
            .collect()
    });
    let mut streams = Vec::new();
    let mut failures = Vec::new();

    for result in results {
        match result {
            Ok(stream) => streams.push(stream),
            Err(failed) => failures.extend(failed),
        }
    }

    match failures.into_iter().next() {
        None => Ok((began, streams)),
        Some(first) => Err(first.into()),
    }
}

/// Closes the image: then the stream's data are on the store, or were read. A failed one is only dropped.
fn end(image: &HostImage, close: u32, done: Result<Stream, Failed>) -> Result<Stream, Failed> {
    match done {
        Ok(mut stream) => {
            image.close(close).map_err(|error| Some(error.to_string()))?;
            stream.ended = Instant::now();
            Ok(stream)
        }
        Err(failed) => {
            drop(image.close(0));
            Err(failed)
        }
    }
}

fn show_progress<T>(threads: &[ScopedJoinHandle<'_, T>], watch: &Watch<'_>) {
    while !threads.iter().all(ScopedJoinHandle::is_finished) {
        watch.progress.set(watch.moved.load(Ordering::Relaxed));
        std::thread::sleep(TICK);
    }
}

fn call_len(size: u64, offset: u64) -> usize {
    usize::try_from(size - offset).unwrap_or(CALL).min(CALL)
}
