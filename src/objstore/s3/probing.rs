//! Probes of buckets, one at a time, and what comes of them.

use super::capabilities::{Capabilities, Known, RECORD, UNSETTLED_VALID, VALID};
use super::probe::{Probed, probe};
use super::store::Store;
use crate::config::Bucket;
use crate::error::{Kind, Result};

/// Probes after one whose upload a clean-up of another host took away.
const PROBES_AGAIN: u32 = 10;

impl Store {
    /// What the bucket is proven to do: known to this process or this host, else probed under `prefix`.
    pub async fn capabilities(&self, bucket: &Bucket, prefix: &str) -> Result<Capabilities> {
        let state = self.shared.buckets.get(bucket);
        if let Some(known) = state.valid() {
            return Ok(known);
        }
        let _one = state.probing.lock().await;
        if let Some(known) = state.valid() {
            return Ok(known);
        }
        let mut found = self.shared.buckets.load(bucket);
        // What another process finds while it is waited for serves this one too.
        let mut lock = None;
        if found.is_none() {
            lock = self.shared.buckets.lock(bucket).await;
            found = self.shared.buckets.load(bucket);
        }
        let known = match found {
            Some(known) => known,
            None => self.probe_and_save(bucket, prefix, true).await?,
        };
        drop(lock);
        *state.lock() = Some(known);
        Ok(known.capabilities)
    }

    /// Probes whatever is known, and remembers what it finds; where this host has kept no file of the bucket and `keep`
    /// is false, no file is made.
    pub async fn probe_again(&self, bucket: &Bucket, prefix: &str, keep: bool) -> Result<Capabilities> {
        let state = self.shared.buckets.get(bucket);
        let _one = state.probing.lock().await;
        let known = self.probe_and_save(bucket, prefix, keep).await?;
        *state.lock() = Some(known);
        Ok(known.capabilities)
    }

    async fn probe_and_save(&self, bucket: &Bucket, prefix: &str, keep: bool) -> Result<Known> {
        let mut found = probe(self, bucket, prefix).await;
        for _ in 0..PROBES_AGAIN {
            match found {
                // A clean-up without a grace period took what was being probed with.
                Err(error) if error.kind() == Kind::NotFound => tracing::debug!("probe again: {error}"),
                _ => break,
            }
            found = probe(self, bucket, prefix).await;
        }

        let Probed {
            capabilities,
            is_settled,
        } = found?;
        let buckets = &self.shared.buckets;
        if !is_settled {
            // The other processes find out for themselves; what an earlier probe found does not count against this one.
            buckets.discard(bucket);
            return Ok(Known::good_for(UNSETTLED_VALID, capabilities));
        }
        if keep || buckets.file(bucket, RECORD).exists() {
            buckets.save(bucket, capabilities);
        }
        Ok(Known::good_for(VALID, capabilities))
    }
}
