//! A small object as a whole: a record, a label, image metadata.
//!
//! Over plain http nothing but the ETag tells whether a byte flipped on the way, and not every ETag is an MD5. What
//! comes twice alike, the second time in two pieces, is believed all the same. Limit: the caller's own, above which
//! nothing is read. How it fails: with what went wrong last, once tries or time are used up.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::Source;
use super::drain::{Target, drain, pause};
use super::range::read_range;
use super::request::ask;
use crate::config::{Bucket, QUERY_ATTEMPTS_MAX};
use crate::engine::checksum::{Md5Sum, bare_etag};
use crate::engine::memory;
use crate::error::{Error, Kind, Result};
use crate::objstore::s3::store::{Store, path};
use crate::objstore::s3::versions::ObjectVersion;
use crate::objstore::transport::body::BodySlot;
use crate::objstore::transport::effort::{Effort, is_patient};

/// What one try at a small object brought.
enum Small {
    Whole {
        bytes: Bytes,
        /// False when nothing tells yet that no byte flipped on the way.
        is_proven: bool,
    },
    /// The answer came, its body did not.
    Broken(Error),
    /// More bytes than may come; none was read.
    TooLong(u64),
}

impl Store {
    /// A small object as a whole, refused above `size_max` bytes. Its requests are counted together, those for an
    /// answer and those for a body that broke.
    pub async fn get_small(&self, bucket: &Bucket, key: &str, size_max: u64) -> Result<Bytes> {
        let read = self.get_small_or_size(bucket, key, size_max).await?;
        read.map_err(|len| too_long(bucket, key, len, size_max))
    }

    /// The same for a caller who has room for `size_max` bytes and can make more: of a larger object the size comes
    /// back, and none of its bytes was read.
    pub async fn get_small_or_size(
        &self,
        bucket: &Bucket,
        key: &str,
        size_max: u64,
    ) -> Result<std::result::Result<Bytes, u64>> {
        let retry = &self.shared.retry;
        let patient = is_patient();
        let attempts = if patient {
            retry.attempts
        } else {
            retry.attempts.min(QUERY_ATTEMPTS_MAX)
        };

        let deadline = Instant::now() + retry.operation_timeout;
        let effort = Effort::new(retry, attempts, retry.operation_timeout);
        let mut unproven: Option<Bytes> = None;

        loop {
            let left = attempts.saturating_sub(effort.tries()).max(1);
            let time = deadline.saturating_duration_since(Instant::now());
            let deadlines = || match patient {
                true => self.deadlines_within(Duration::ZERO, time, &effort),
                false => self.tries_within(Duration::ZERO, time, left, &effort),
            };

            let ask = || self.try_get_small(bucket, key, None, size_max, deadlines());
            let error = match self.shared.hedges.ask("GetObject", ask).await? {
                Small::Whole { bytes, is_proven: true } => return Ok(Ok(bytes)),
                Small::TooLong(len) => return Ok(Err(len)),
                Small::Whole {
                    bytes,
                    is_proven: false,
                } => {
                    // Not every ETag is an MD5. What comes twice alike, and in two pieces, did not change on the way.
                    if unproven.as_ref() == Some(&bytes)
                        && (self.shared.buckets.has_other_etags(bucket)
                            || self.is_same_in_pieces(bucket, key, &bytes).await?)
                    {
                        self.shared.buckets.note_other_etags(bucket);
                        return Ok(Ok(bytes));
                    }
                    unproven = Some(bytes);
                    let what = format!("get {}: the bytes do not have the ETag for MD5", path(bucket, key));
                    Error::new(Kind::Corrupt, what)
                }
                Small::Broken(error) => error,
            };

            if effort.refused() || (!patient && effort.tries() >= attempts) {
                return Err(error);
            }

            tracing::debug!("try again: {error}");
            pause(retry).await;
        }
    }

    /// One version of a small object. A body that breaks is asked for again, and so is one of which nothing tells that
    /// no byte flipped on the way, until it comes twice alike.
    pub async fn get_version(&self, bucket: &Bucket, key: &str, version: &ObjectVersion) -> Result<Bytes> {
        let size = version.size;
        let mut left = QUERY_ATTEMPTS_MAX;
        let mut unproven: Option<Bytes> = None;
        loop {
            left -= 1;
            let error = match self
                .try_get_small(bucket, key, Some(&version.id), size, self.deadlines(size))
                .await?
            {
                Small::Whole { bytes, is_proven } if is_proven || unproven.as_ref() == Some(&bytes) => {
                    return Ok(bytes);
                }
                Small::Whole { bytes, .. } => {
                    unproven = Some(bytes);
                    let what = format!("get {}: the bytes do not have the ETag for MD5", path(bucket, key));
                    Error::new(Kind::Corrupt, what)
                }
                Small::Broken(error) => error,
                Small::TooLong(len) => return Err(too_long(bucket, key, len, size)),
            };

            if left == 0 {
                return Err(error);
            }

            tracing::debug!("try again: {error}");
            pause(&self.shared.retry).await;
        }
    }

    async fn try_get_small(
        &self,
        bucket: &Bucket,
        key: &str,
        version: Option<&str>,
        size_max: u64,
        deadlines: aws_sdk_s3::config::Builder,
    ) -> Result<Small> {
        let request = self.shared.client.get_object().bucket(bucket).key(key);
        let request = request.set_version_id(version.map(ToOwned::to_owned));
        let asked = ask(request, deadlines, BodySlot::of_at_most(size_max), bucket, key).await;

        // No range was asked for: whatever has gone wrong, it says nothing of the object.
        let asked = asked.map_err(|error| match error.status() {
            Some(416) => error.with_kind(Kind::Unavailable),
            _ => error,
        });

        let (reply, body) = asked?;
        let len = body.left();
        let status = body.status();

        if status != 200 {
            let what = format!(
                "get {}: HTTP {status} answers a request for the whole object",
                path(bucket, key)
            );
            return Err(Error::new(Kind::Unavailable, what));
        }

        if len > size_max {
            return Ok(Small::TooLong(len));
        }

        let etag = bare_etag(reply.e_tag().unwrap_or_default()).to_owned();
        let mut bytes = memory::zeroed(usize::try_from(len).unwrap_or_default(), || {
            format!("get {}", path(bucket, key))
        })?;
        let drained = drain(self, body, len, &mut 0, &mut Target::Keep(&mut bytes), &mut |_| {}).await;

        if let Err(broken) = drained {
            return Ok(Small::Broken(
                broken.into_error().context(format!("get {}", path(bucket, key))),
            ));
        }

        // Over plain http nothing but the ETag tells whether a byte of a record flipped on the way.
        let is_proven = self.is_authenticated() || Md5Sum::from_etag(&etag) == Some(Md5Sum::of(&bytes));

        Ok(Small::Whole {
            bytes: bytes.into(),
            is_proven,
        })
    }

    /// Asks for an object's halves one by one: a fault that turns the same place of each answer over shows by that.
    async fn is_same_in_pieces(&self, bucket: &Bucket, key: &str, bytes: &[u8]) -> Result<bool> {
        let (first, second) = bytes.split_at(bytes.len() / 2);
        for (offset, half) in [(0, first), (first.len(), second)] {
            let mut again = memory::zeroed(half.len(), || format!("get {}", path(bucket, key)))?;
            if !again.is_empty() {
                let range = (offset as u64, half.len() as u64);
                let source = Source {
                    bucket,
                    key,
                    version: None,
                    size: Some(bytes.len() as u64),
                    etag: None,
                };
                read_range(self, source, range, Target::Keep(&mut again), |_| {}).await?;
            }

            if again != half {
                return Ok(false);
            }
        }

        Ok(true)
    }
}

fn too_long(bucket: &Bucket, key: &str, len: u64, size_max: u64) -> Error {
    let what = format!(
        "get {}: {len} bytes; at most {size_max} are read here",
        path(bucket, key)
    );
    Error::new(Kind::Corrupt, what)
}
