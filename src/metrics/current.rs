//! The image that a task of ours works for: its requests, which know nothing of images, count their retries with it.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

tokio::task_local! {
    static RETRIES: Arc<AtomicU64>;
}

/// Does `work` for the image whose retries are counted in `retries`.
pub(super) fn scope<F: Future>(retries: Arc<AtomicU64>, work: F) -> impl Future<Output = F::Output> {
    RETRIES.scope(retries, work)
}

/// Counts a retry for the image that the current task works for, if it does.
pub(super) fn count_retry() {
    let _ = RETRIES.try_with(|retries| retries.fetch_add(1, Relaxed));
}
