//! MD5 of whole parts in SIMD lanes.
//!
//! One MD5 stream cannot be vectorised, but independent parts can: a thread of ours takes what is queued, groups parts
//! of equal length and hashes them side by side (16 lanes with AVX-512, 8 with AVX2). Eight parts side by side cost little
//! more than one alone, so it waits for lanes to fill as long as parts keep coming: until none has come for twice the
//! usual time between two, and never longer than [`LINGER`]. Without lanes, and for small bodies, it waits for nothing.
//! Limit: one batch at a time, at most 16 parts each.

use std::sync::{Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use md5_simd::Md5Engine;
use tokio::sync::oneshot;

use super::checksum::Md5Sum;
use crate::error::{Error, Kind, Result};
use crate::runtime::spawn_thread;

/// The widest kernel there is: AVX-512.
const BATCH_MAX: usize = 16;
/// What a part may wait for others at most; far below what sending it takes where time matters.
const LINGER: Duration = Duration::from_millis(100);
/// Smaller bodies are records and last parts: hashed at once.
const LINGER_BYTES_MIN: usize = 1 << 20;

/// The hashing thread; [`Md5Lanes::stop`] joins it.
pub struct Md5Lanes {
    queue: Mutex<Option<mpsc::Sender<Job>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Job {
    data: Bytes,
    reply: oneshot::Sender<Md5Sum>,
}

impl Md5Lanes {
    pub fn start() -> Result<Self> {
        let (queue, jobs) = mpsc::channel();
        let thread = spawn_thread("vastost-md5", move || work(&jobs))?;
        Ok(Self { queue: Mutex::new(Some(queue)), thread: Mutex::new(Some(thread)) })
    }

    /// The MD5 of `data`, hashed beside whatever else is queued.
    pub async fn hash(&self, data: Bytes) -> Result<Md5Sum> {
        let gone = || Error::new(Kind::Aborted, "hash a part: the plug-in was terminated");
        let (reply, answer) = oneshot::channel();
        {
            let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
            queue.as_ref().ok_or_else(gone)?.send(Job { data, reply }).map_err(|_| gone())?;
        }
        answer.await.map_err(|_| gone())
    }

    /// Finishes what is queued and joins the thread.
    pub fn stop(&self) {
        drop(self.queue.lock().unwrap_or_else(PoisonError::into_inner).take());
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

fn work(jobs: &mpsc::Receiver<Job>) {
    let (lanes, mut pace) = (Md5Engine::new().lanes().min(BATCH_MAX), Pace::default());
    while let Ok(first) = jobs.recv() {
        pace.came(&first);
        let mut batch = vec![first];
        let until = Instant::now() + LINGER;
        while batch.len() < BATCH_MAX {
            let wait = if batch.len() < lanes { pace.wait(&batch, until) } else { Duration::ZERO };
            // With a time of zero it takes what is there.
            let Ok(job) = jobs.recv_timeout(wait) else { break };
            pace.came(&job);
            batch.push(job);
        }
        batch.sort_by_key(|job| job.data.len());
        let inputs: Vec<&[u8]> = batch.iter().map(|job| &job.data[..]).collect();
        let mut sums = vec![[0u8; 16]; inputs.len()];
        Md5Engine::new().hash_many(&inputs, &mut sums);
        for (job, sum) in batch.into_iter().zip(sums) {
            // Give the buffer back before the waiter is told, so that it finds it in the pool.
            let Job { data, reply } = job;
            drop(data);
            let _ = reply.send(Md5Sum(sum));
        }
    }
}

/// How fast parts follow one another.
#[derive(Default)]
struct Pace {
    last: Option<Instant>,
    gap: Duration,
}

impl Pace {
    fn came(&mut self, job: &Job) {
        if job.data.len() < LINGER_BYTES_MIN {
            return;
        }
        let now = Instant::now();
        if let Some(last) = self.last.replace(now) {
            // A pause of the host is no pace: without a bound it would count for many parts to come.
            self.gap = (self.gap * 3 + now.duration_since(last).min(LINGER)) / 4;
        }
    }

    /// How long to wait for one part more.
    fn wait(&self, batch: &[Job], until: Instant) -> Duration {
        let left = until.saturating_duration_since(Instant::now());
        let worth = batch.iter().all(|job| job.data.len() >= LINGER_BYTES_MIN);
        if worth { left.min(self.gap * 2) } else { Duration::ZERO }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queued_parts_of_mixed_lengths_get_their_own_md5() {
        let lanes = Md5Lanes::start().unwrap();
        let parts: Vec<Bytes> = (0..40u8).map(|n| Bytes::from(vec![n; 1000 + 64 * usize::from(n % 3)])).collect();
        let all = futures::future::join_all(parts.iter().map(|part| lanes.hash(part.clone())));
        let sums = futures::executor::block_on(all);
        for (part, sum) in parts.iter().zip(sums) {
            assert_eq!(sum.unwrap(), Md5Sum::of(part));
        }
        lanes.stop();
        assert!(futures::executor::block_on(lanes.hash(Bytes::new())).is_err());
    }
}
