//! The S3 operations of buckets that keep versions, and what the store says of locks on an object.
//!
//! | file | what it is |
//! |---|---|
//! | `page` | one page of ListObjectVersions, held to the rules of [`super::list`] |
//! | `listing` | whether a bucket keeps versions, and which it has of a key or below a prefix |
//! | `one_version` | HEAD of one version, and copies of it |
//!
//! Locks are the store's own truth: retention (GOVERNANCE or COMPLIANCE, both respected) and legal hold, of each
//! version.

mod page;
mod listing;
mod one_version;

use super::types::ObjectInfo;
use crate::error::{Error, Kind};

/// Whether a bucket keeps what is overwritten or deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Versioning {
    /// It never did.
    Off,
    /// It does, or did: there may be older versions.
    On,
    /// The store does not tell, or these keys may not ask.
    Unknown,
}

/// One version of an object, or the marker that a delete without a version leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectVersion {
    pub id: String,
    pub is_marker: bool,
    /// What a request without a version gets.
    pub is_latest: bool,
    pub size: u64,
    pub etag: String,
    /// Seconds since 1970 by the server's clock.
    pub modified: u64,
}

/// Why a version cannot be deleted now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lock {
    /// Seconds since 1970.
    RetainedUntil(u64),
    LegalHold,
}

impl ObjectInfo {
    /// The lock that keeps this version from being deleted at `now`, seconds since 1970. A retention whose end nobody
    /// can tell, since the store tells no time, has not ended.
    pub fn lock(&self, now: Option<u64>) -> Option<Lock> {
        if self.legal_hold {
            return Some(Lock::LegalHold);
        }
        let retained = self.retained_until > now.unwrap_or_default();
        retained.then_some(Lock::RetainedUntil(self.retained_until))
    }
}

/// True for the refusals of stores without the call and of keys without the right. An answer of success that cannot be
/// read is none: it tells nothing of either.
pub fn does_not_tell(error: &Error) -> bool {
    let refused = error.status().is_some_and(|status| status >= 400);
    refused
        && matches!(
            error.kind(),
            Kind::AccessDenied | Kind::Unsupported | Kind::InvalidArgument
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_refusal_says_that_a_store_does_not_tell() {
        let error = |kind| Error::new(kind, "list versions of b/k");
        assert!(does_not_tell(&error(Kind::AccessDenied).with_status(403)));
        assert!(does_not_tell(&error(Kind::Unsupported).with_status(501)));
        assert!(
            !does_not_tell(&error(Kind::Unsupported)),
            "a success that cannot be read"
        );
        assert!(!does_not_tell(&error(Kind::Unavailable).with_status(400)));
    }
}
