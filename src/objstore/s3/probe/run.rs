//! One run of the probe: the objects that it made and removes again, and what an answer says of what was tried.
//!
//! Refused for its checksum, a request proves that the store looks; refused for anything else, or taken, it proves
//! nothing. An answer that a busy store or a firewall may give leaves the run unsettled.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::config::Bucket;
use crate::engine::checksum::Crc64;
use crate::error::{Error, Kind, Result};
use crate::objstore::s3::resend::is_refusal;
use crate::objstore::s3::store::Store;
use crate::objstore::s3::types::ObjectInfo;

/// User metadata of the probe's objects, as images have them.
pub(super) const METADATA: (&str, &str) = ("vastost-schema", "probe");

pub(super) struct Probe<'a> {
    pub store: &'a Store,
    pub bucket: &'a Bucket,
    pub metadata: Vec<(String, String)>,
    /// Keys and versions that puts have made: in a bucket that keeps versions each is removed by itself.
    versions: Mutex<Vec<(String, String)>>,
    /// An answer came that may not be about what was tried.
    is_unsettled: AtomicBool,
}

impl<'a> Probe<'a> {
    pub fn new(store: &'a Store, bucket: &'a Bucket) -> Self {
        Self {
            store,
            bucket,
            metadata: vec![(METADATA.0.to_owned(), METADATA.1.to_owned())],
            versions: Mutex::default(),
            is_unsettled: AtomicBool::new(false),
        }
    }

    pub fn is_settled(&self) -> bool {
        !self.is_unsettled.load(Ordering::Relaxed)
    }

    /// Remembers the version that a put has made.
    pub(super) fn keep(&self, key: &str, object: &ObjectInfo) {
        if let Some(version) = &object.version_id {
            let mut versions = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
            versions.push((key.to_owned(), version.clone()));
        }
    }

    pub(super) async fn remove(&self, key: &str) -> Result<()> {
        let made = self.versions.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let versions: Vec<_> = made.into_iter().filter(|(of, _)| of == key).collect();
        for (_, version) in &versions {
            match self.store.delete(self.bucket, key, Some(version)).await {
                // Then a marker must do.
                Err(error) if error.kind() == Kind::AccessDenied => {
                    return self.store.delete(self.bucket, key, None).await;
                }
                other => other?,
            }
        }

        if versions.is_empty() {
            self.store.delete(self.bucket, key, None).await
        } else {
            Ok(())
        }
    }

    /// True when what was sent with a wrong checksum was refused for that, false when it was taken, or refused for
    /// anything else: then nothing is proven.
    pub(super) fn is_called_wrong<T>(&self, answer: Result<T>) -> Result<bool> {
        match answer {
            Err(error) if calls_wrong(&error) => Ok(true),
            other => self.accepted(other).map(|_| false),
        }
    }

    /// None when it was refused, or met a conflict that lasts: what was tried is left out then.
    pub(super) fn accepted<T>(&self, answer: Result<T>) -> Result<Option<T>> {
        match answer {
            Err(error) if is_refusal(&error) || error.status() == Some(409) => {
                self.note(&error);
                Ok(None)
            }
            other => other.map(Some),
        }
    }

    pub(super) fn note(&self, error: &Error) {
        if error.status().is_none_or(is_beside_the_point) {
            tracing::warn!("probe bucket {}: what it does is not settled: {error}", self.bucket);
            self.is_unsettled.store(true, Ordering::Relaxed);
        }
    }
}

/// Right, or not told.
pub(super) fn is_right(told: Option<&str>, crc64: Crc64) -> bool {
    told.is_none_or(|told| told == crc64.to_base64())
}

/// True for answers that a busy store, or something before it, gives whatever was asked. 501 is no such answer: it says
/// that the store does not know what was tried.
fn is_beside_the_point(status: u16) -> bool {
    matches!(status, 401 | 403 | 409 | 500 | 502..)
}

/// True when the store says that the bytes are not those of the checksum.
fn calls_wrong(error: &Error) -> bool {
    error.status() == Some(400) || (error.kind() == Kind::Corrupt && !error.status().is_some_and(is_beside_the_point))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_is_called_wrong_by_400_or_its_code_alone() {
        let error = |kind, status| Error::new(kind, "put b/k").with_status(status);
        for yes in [
            error(Kind::Corrupt, 400),
            error(Kind::Unavailable, 400),
            error(Kind::Corrupt, 422),
        ] {
            assert!(calls_wrong(&yes), "{yes:?}");
        }

        for no in [
            error(Kind::PreconditionFailed, 409),
            error(Kind::AccessDenied, 403),
            error(Kind::Unsupported, 501),
            error(Kind::Unavailable, 503),
            Error::new(Kind::Unsupported, "a success that cannot be read"),
        ] {
            assert!(!calls_wrong(&no), "{no:?}");
        }
    }
}
