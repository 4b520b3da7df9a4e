//! The metrics of this process as a file for Prometheus's textfile collector: `vastost-<pid>-<start in ms>.prom`.
//!
//! Written under another name and renamed, so that nobody reads half of it: every `[metrics] interval` while the engine
//! runs, and once more when it stops, so that the job's last seconds are in it. A file stays for [`KEEP`] after it was
//! last written, long enough for every scrape to see the end of a job; then the next process that writes removes it. A
//! living process writes far more often than that, so a file's age alone tells, also where processes in containers
//! share the folder and cannot see each other.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, SystemTime};

use super::registry::Metrics;
use crate::error::{Kind, Result, ResultExt};
use crate::{config, files, log};

/// How long the file of a process that has ended stays.
pub const KEEP: Duration = Duration::from_secs(600);
/// Ours begin so, whatever else lies in the folder.
const PREFIX: &str = "vastost-";
/// What the collector reads.
pub const SUFFIX: &str = ".prom";
/// The end of a draft's name; the collector passes it over.
const PARTIAL: &str = ".tmp";

/// Writes the file of one engine; clones write the same one.
#[derive(Clone)]
pub struct Exporter {
    shared: Arc<Shared>,
}

struct Shared {
    metrics: Arc<Metrics>,
    dir: PathBuf,
    interval: Duration,
    /// A failure is told once and not at every interval.
    failed: AtomicBool,
}

impl Exporter {
    /// None when the configuration names no folder.
    pub fn new(config: &config::Metrics, metrics: &Arc<Metrics>) -> Option<Self> {
        let metrics = Arc::clone(metrics);
        let failed = AtomicBool::new(false);
        let shared = Shared {
            metrics,
            dir: config.dir.clone()?,
            interval: config.interval,
            failed,
        };
        Some(Self {
            shared: Arc::new(shared),
        })
    }

    /// Writes again and again, on a thread that moves no bytes.
    pub async fn run(self) {
        loop {
            tokio::time::sleep(self.shared.interval).await;
            let one = self.clone();
            if tokio::task::spawn_blocking(move || one.write()).await.is_err() {
                return;
            }
        }
    }

    /// Writes once, and removes what ended processes left. Nothing is written before the first request.
    pub fn write(&self) {
        let shared = &self.shared;
        if shared.metrics.is_idle() {
            return;
        }
        match shared.try_write() {
            Ok(()) => shared.failed.store(false, Relaxed),
            Err(error) if !shared.failed.swap(true, Relaxed) => {
                tracing::warn!("{error}");
                log::tell_host(&error.to_string());
            }
            Err(_) => {}
        }
        remove_stale(&shared.dir, SystemTime::now());
    }
}

impl Shared {
    fn try_write(&self) -> Result<()> {
        let whole = self.dir.join(format!("{PREFIX}{}{SUFFIX}", self.metrics.process()));
        let what = || format!("write metrics to {}", whole.display());
        files::make_folder(&self.dir).or_kind(Kind::Io, what)?;
        files::replace(&whole, self.metrics.text().as_bytes(), files::STATE_MODE).or_kind(Kind::Io, what)
    }
}

/// Removes files of ours that were not written for [`KEEP`]. Several processes may do so at once: who comes late finds
/// nothing, and what cannot be removed is tried again.
fn remove_stale(dir: &Path, now: SystemTime) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str().filter(|name| is_ours(name)) else {
            continue;
        };
        let written = entry.metadata().and_then(|metadata| metadata.modified());
        if written.is_ok_and(|written| now.duration_since(written).is_ok_and(|age| age > KEEP)) {
            let removed = fs::remove_file(entry.path());
            tracing::debug!("metrics of an ended process, {name}: {removed:?}");
        }
    }
}

/// `vastost-<pid>-<ms>.prom`, or a draft of it, `vastost-<pid>-<ms>.prom.<pid>-<number>.tmp`.
fn is_ours(name: &str) -> bool {
    let Some((process, rest)) = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once(SUFFIX)) else {
        return false;
    };
    let draft = rest
        .strip_suffix(PARTIAL)
        .map(|rest| rest.strip_prefix('.').unwrap_or(rest));
    let is_pair = |text: &str| {
        let parts = text.split_once('-').map(|(one, other)| [one, other]);
        parts.is_some_and(|parts| {
            parts
                .iter()
                .all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
        })
    };
    is_pair(process) && (rest.is_empty() || draft.is_some_and(|draft| draft.is_empty() || is_pair(draft)))
}

/// The files of ours in a folder.
pub fn files(dir: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files: Vec<_> = fs::read_dir(dir)?.flatten().map(|entry| entry.path()).collect();
    files.retain(|path| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| is_ours(name) && name.ends_with(SUFFIX))
    });
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_old_files_of_ours_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let drafts = ["vastost-1-2.prom.tmp", "vastost-1-2.prom.1-0.tmp"];
        let others = [
            "vastost-notes.prom",
            "node.prom",
            "vastost-1-.prom",
            "vastost-1-2.prom.old",
        ];
        let names: Vec<_> = ["vastost-1-2.prom"].into_iter().chain(drafts).chain(others).collect();
        for name in &names {
            fs::write(folder.path().join(name), "x 1\n").unwrap();
        }
        remove_stale(folder.path(), SystemTime::now() + KEEP - Duration::from_secs(5));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), names.len());
        remove_stale(folder.path(), SystemTime::now() + KEEP + Duration::from_secs(5));
        let mut left: Vec<_> = fs::read_dir(folder.path())
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        left.sort();
        assert_eq!(
            left,
            [
                "node.prom",
                "vastost-1-.prom",
                "vastost-1-2.prom.old",
                "vastost-notes.prom"
            ]
        );
    }
}
