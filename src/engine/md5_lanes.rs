//! MD5 of whole parts in SIMD lanes.
//!
//! One MD5 stream cannot be vectorised, but independent parts can: a thread of ours takes what is queued, groups parts
//! of equal length and hashes them side by side (16 lanes with AVX-512, 8 with AVX2). Eight parts side by side cost little
//! more than one alone, so it waits for lanes to fill:
//!
//! - as long as every queued part can wait, which is while its stream has others to send ([`Priority::Normal`]);
//! - else ([`Priority::Urgent`], or a [`Demand`]) until none has come for twice the usual time between two, and never
//!   longer than [`LINGER`].
//!
//! Without lanes, and for small bodies, it waits for nothing. Limit: one batch at a time, a part for each lane.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use md5_simd::Md5Engine;
use tokio::sync::oneshot;

use super::checksum::Md5Sum;
use crate::error::{Error, Kind, Result};
use crate::thread::spawn_thread;

/// What a part may wait for others at most when somebody needs it.
const LINGER: Duration = Duration::from_millis(100);
/// And when nobody does: a host that pauses leaves its last parts here.
const LINGER_MAX: Duration = Duration::from_secs(2);
/// Smaller bodies are records and last parts: hashed at once.
const LINGER_BYTES_MIN: usize = 1 << 20;

/// The hashing thread; [`Md5Lanes::stop`] joins it.
pub struct Md5Lanes {
    queue: Mutex<Option<mpsc::Sender<Message>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    pressing: Arc<AtomicUsize>,
}

/// Whether somebody needs a part's digest at once.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Priority {
    Urgent,
    /// Until there is a [`Demand`].
    Normal,
}

/// While it lives, no queued part waits for longer than a moment.
pub struct Demand(Arc<AtomicUsize>);

enum Message {
    Hash(Job),
    /// There is pressure now.
    Nudge,
}

struct Job {
    data: Bytes,
    priority: Priority,
    reply: oneshot::Sender<Md5Sum>,
}

impl Md5Lanes {
    pub fn start() -> Result<Self> {
        let (queue, messages) = mpsc::channel();
        let pressing = Arc::<AtomicUsize>::default();
        let lanes = Lanes {
            messages,
            pressing: Arc::clone(&pressing),
            width: width(),
            pace: Pace::default(),
        };
        let thread = spawn_thread("vastost-md5", move || lanes.work())?;
        Ok(Self {
            queue: Mutex::new(Some(queue)),
            thread: Mutex::new(Some(thread)),
            pressing,
        })
    }

    /// The MD5 of `data`, hashed beside whatever else is queued.
    pub async fn hash(&self, data: Bytes, priority: Priority) -> Result<Md5Sum> {
        let gone = || Error::new(Kind::Aborted, "hash a part: the plug-in was terminated");
        let (reply, answer) = oneshot::channel();
        if !self.send(Message::Hash(Job { data, priority, reply })) {
            return Err(gone());
        }
        answer.await.map_err(|_| gone())
    }

    /// Somebody waits for what is queued.
    pub fn demand(&self) -> Demand {
        self.pressing.fetch_add(1, Ordering::Relaxed);
        self.send(Message::Nudge);
        Demand(Arc::clone(&self.pressing))
    }

    fn send(&self, message: Message) -> bool {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.as_ref().is_some_and(|queue| queue.send(message).is_ok())
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

impl Drop for Demand {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Parts that are hashed side by side on this machine: the width of its kernel; 1 when there is none.
pub fn width() -> usize {
    Md5Engine::new().lanes().max(1)
}

/// The thread's side.
struct Lanes {
    messages: mpsc::Receiver<Message>,
    pressing: Arc<AtomicUsize>,
    width: usize,
    pace: Pace,
}

impl Lanes {
    fn work(mut self) {
        while let Ok(message) = self.messages.recv() {
            if let Message::Hash(first) = message {
                hash(self.batch(first));
            }
        }
    }

    /// The part and those that are queued behind it or come soon.
    fn batch(&mut self, first: Job) -> Vec<Job> {
        self.pace.came(&first);
        let mut batch = vec![first];
        let began = Instant::now();
        // More than one for each lane would be hashed in turns, and their lines push one another out of the cache: sixteen
        // parts in eight lanes take a third longer than twice eight.
        while batch.len() < self.width {
            // With a time of zero it takes what is there.
            match self.messages.recv_timeout(self.wait(&batch, began)) {
                Ok(Message::Hash(job)) => {
                    self.pace.came(&job);
                    batch.push(job);
                }
                Ok(Message::Nudge) => {}
                Err(_) => break,
            }
        }
        batch
    }

    /// How long to wait for one part more.
    fn wait(&self, batch: &[Job], began: Instant) -> Duration {
        if batch.iter().any(|job| job.data.len() < LINGER_BYTES_MIN) {
            return Duration::ZERO;
        }
        let pressing = batch.iter().any(|job| job.priority == Priority::Urgent);
        if pressing || self.pressing.load(Ordering::Relaxed) > 0 {
            (began + LINGER)
                .saturating_duration_since(Instant::now())
                .min(self.pace.gap * 2)
        } else {
            (began + LINGER_MAX).saturating_duration_since(Instant::now())
        }
    }
}

fn hash(mut batch: Vec<Job>) {
    batch.sort_by_key(|job| job.data.len());
    let inputs: Vec<&[u8]> = batch.iter().map(|job| &job.data[..]).collect();
    let mut sums = vec![[0u8; 16]; inputs.len()];
    Md5Engine::new().hash_many(&inputs, &mut sums);
    for (job, sum) in batch.into_iter().zip(sums) {
        // Give the buffer back before the waiter is told, so that it finds it in the pool.
        let Job { data, reply, .. } = job;
        drop(data);
        let _ = reply.send(Md5Sum(sum));
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queued_parts_of_mixed_lengths_get_their_own_md5() {
        let lanes = Md5Lanes::start().unwrap();
        let parts: Vec<Bytes> = (0..40u8)
            .map(|n| Bytes::from(vec![n; 1000 + 64 * usize::from(n % 3)]))
            .collect();
        let all = futures::future::join_all(parts.iter().map(|part| lanes.hash(part.clone(), Priority::Urgent)));
        let sums = futures::executor::block_on(all);
        for (part, sum) in parts.iter().zip(sums) {
            assert_eq!(sum.unwrap(), Md5Sum::of(part));
        }
        lanes.stop();
        assert!(futures::executor::block_on(lanes.hash(Bytes::new(), Priority::Urgent)).is_err());
    }
}
