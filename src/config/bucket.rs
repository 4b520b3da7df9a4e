//! The name of a bucket, as a type of its own: it cannot be swapped with a key, a prefix or the name of an LSU.
//!
//! A name is taken as it comes; [`is_bucket_name`] says whether S3 would allow it. A copy shares the text.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// The name of a bucket.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bucket(Arc<str>);

/// What S3 allows for new buckets, but for where dots and dashes may stand.
pub fn is_bucket_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte);
    (3..=63).contains(&name.len()) && name.bytes().all(fits)
}

impl From<&str> for Bucket {
    fn from(name: &str) -> Self {
        Self(name.into())
    }
}

impl From<String> for Bucket {
    fn from(name: String) -> Self {
        Self(name.into())
    }
}

/// The SDK's requests take a `String`.
impl From<&Bucket> for String {
    fn from(bucket: &Bucket) -> Self {
        bucket.0.as_ref().into()
    }
}

impl Deref for Bucket {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}
