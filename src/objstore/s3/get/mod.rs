//! GETs: small objects as a whole, ranges of large ones.
//!
//! | file | what it is |
//! |---|---|
//! | `request` | one GetObject whose body goes past the SDK |
//! | [`drain`] | a body taken in to its end, and when it counts as broken |
//! | [`range`] | the bytes from one place of an object to another, resumed where a body breaks |
//! | `small` | an object as a whole, until something tells that no byte flipped on the way |
//!
//! The SDK's attempts end with the answer's head, so the bodies are minded here. One rule for all: a body that brings
//! no byte for `stall_timeout`, or fewer than `floor_rate` over that time, is as good as broken; what broke is asked
//! for again until `attempts` in a row bring nothing or the operation's time is over
//! ([`crate::objstore::transport::effort`] counts). A body must have exactly the length that was asked for or
//! announced, and the head of an answer to a range must say that it is that range, of an object of the right size
//! ([`crate::objstore::transport::answer`]).

mod request;
pub mod drain;
pub mod range;
mod small;

use std::sync::OnceLock;

use crate::config::Bucket;

/// The ETag that the first answer to one reader had. Ranges of two objects do not make up one, and small ranges have no
/// checksum that would notice.
#[derive(Debug, Default)]
pub struct FirstEtag(OnceLock<String>);

impl FirstEtag {
    /// None before the first answer.
    pub fn get(&self) -> Option<&str> {
        self.0.get().map(String::as_str)
    }
}

/// One object, and what is known of it while it is read.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    pub bucket: &'a Bucket,
    pub key: &'a str,
    /// None for the latest.
    pub version: Option<&'a str>,
    /// None where it is not known.
    pub size: Option<u64>,
    /// None where every byte is checked otherwise.
    pub etag: Option<&'a FirstEtag>,
}
