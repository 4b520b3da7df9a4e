//! CompleteMultipartUpload, until it is clear what the store has.
//!
//! The answer may be lost while the server goes on putting the object together, so the object itself is asked for. For
//! instance, with an `operation_timeout` of 600 s: an attempt at the request gets 200 s, all of them together 400 s,
//! and the last 200 s are for HEAD, which is asked after 0.5 s, 1 s, 2 s and so on. Left out: whether ETag and CRC are
//! those that the caller expects. How it fails: with the store's refusal of the only request that was ever sent, or
//! with an error that says that nobody knows.

use std::time::{Duration, Instant};

use aws_sdk_s3::types::{ChecksumType, CompletedMultipartUpload, CompletedPart};
use futures::FutureExt;

use super::send::number_i32;
use super::{StoredPart, UploadRef};
use crate::engine::checksum::{Crc64, bare_etag};
use crate::error::{Error, Kind, Result};
use crate::objstore::s3::resend::resend;
use crate::objstore::s3::sdk_error;
use crate::objstore::s3::store::{Store, path};
use crate::objstore::s3::types::{ObjectInfo, SentPart};
use crate::objstore::transport::effort::Effort;

/// One attempt at completing an upload gets this share of `operation_timeout`.
const COMPLETE_SHARES: u32 = 3;

/// The first wait for a cluster that lists parts and does not find them; doubles.
const SETTLE_FIRST: Duration = Duration::from_millis(500);

/// An object that may still appear is looked for so often at least, however much time the completion has taken.
const SETTLE_ASKS_MIN: u32 = 3;

/// What is to be completed.
#[derive(Clone, Copy)]
struct Completion<'a> {
    upload: UploadRef<'a>,
    crc64: Option<Crc64>,
    /// What the key showed before the upload was begun.
    before: Option<&'a ObjectInfo>,
}

impl Store {
    /// CompleteMultipartUpload; an answer lost on the way is settled by HEAD. The caller compares ETag and CRC, which
    /// may be those of HEAD.
    ///
    /// A server may go on putting the object together when nobody waits for it any more, and says meanwhile that there
    /// is no such upload, or nothing at all. So an object that is not there yet is asked for until the operation's time
    /// is over; when it still is not, nobody knows, and the error says so: [`Error::outcome_is_unknown`]. Only a
    /// refusal of the one and only request is an end that is known.
    pub async fn complete_upload(
        &self,
        upload: UploadRef<'_>,
        parts: &[SentPart],
        crc64: Option<Crc64>,
    ) -> Result<ObjectInfo> {
        let completion = Completion {
            upload,
            crc64,
            before: None,
        };
        self.complete(completion, parts, false).await.map(|(object, _)| object)
    }

    /// The same of a key that has an object already, as HEAD showed it `before` the upload was begun, or none: HEAD
    /// settles a lost answer only when it shows another one, by version or by ETag.
    pub async fn complete_upload_over(
        &self,
        upload: UploadRef<'_>,
        parts: &[SentPart],
        before: Option<&ObjectInfo>,
    ) -> Result<ObjectInfo> {
        let completion = Completion {
            upload,
            crc64: None,
            before,
        };
        self.complete(completion, parts, false).await.map(|(object, _)| object)
    }

    /// [`Store::complete_upload`] for a caller who reads parts back. A try of a part that was given up may land after
    /// the one that was answered, with an ETag of its own. So where the server lists the same parts with other ETags,
    /// they are what is completed: given back in place of what was sent, for the bytes to prove.
    pub(in crate::objstore) async fn complete_upload_or_doubt(
        &self,
        upload: UploadRef<'_>,
        parts: &[SentPart],
        crc64: Option<Crc64>,
    ) -> Result<(ObjectInfo, Option<Vec<SentPart>>)> {
        let completion = Completion {
            upload,
            crc64,
            before: None,
        };
        self.complete(completion, parts, true).await
    }

    async fn complete(
        &self,
        completion: Completion<'_>,
        sent: &[SentPart],
        may_doubt: bool,
    ) -> Result<(ObjectInfo, Option<Vec<SentPart>>)> {
        let Completion { upload, crc64, .. } = completion;

        let size: u64 = sent.iter().map(|part| part.size).sum();
        let began = Instant::now();
        let mut wait = SETTLE_FIRST;
        let mut other = None::<Vec<SentPart>>;
        let time = self.shared.retry.operation_timeout;

        // A share of the time stays for looking whether the object has appeared.
        let effort = self.effort(time - time / COMPLETE_SHARES);

        loop {
            let parts = other.as_deref().unwrap_or(sent);
            let error = match resend(|| self.try_complete_upload(upload, parts, crc64, &effort)).await {
                Ok(object) => return Ok((object, other)),
                Err(error) => error,
            };

            // The answer may have been lost; then the upload is gone, which each server says in its own way. Nothing
            // but its completion makes an object of this key, so the object itself tells.
            if let Some(found) = self.completed(&completion, size).await {
                return Ok((found, other));
            }

            let in_time = began.elapsed() + wait < time / COMPLETE_SHARES;
            let listed = match error.kind() {
                Kind::Corrupt if in_time => self.listed_as(&completion, parts).await,
                _ => None,
            };
            match listed {
                // The parts are there as they were sent: a node that is back from an outage refuses a completion until
                // it has caught up.
                Some(listed) if listed == parts => {
                    tracing::warn!("the parts are there; again in {wait:?}: {error}");
                    tokio::time::sleep(wait).await;
                    wait *= 2;
                }
                Some(listed) if may_doubt && other.is_none() => {
                    tracing::warn!("parts have other ETags by now; with these, and then read back: {error}");
                    other = Some(listed);
                }
                _ if is_final(&error, effort.tries()) => return Err(error),
                _ => {
                    let found = self.settle_completion(&completion, size, began + time, error).await?;
                    return Ok((found, other));
                }
            }
        }
    }

    /// The parts as the server lists them, if they are those that were sent.
    async fn listed_as(&self, completion: &Completion<'_>, sent: &[SentPart]) -> Option<Vec<SentPart>> {
        let listed = self.list_parts(completion.upload).await.ok().flatten();
        same_parts(sent, &listed.unwrap_or_default())
    }

    /// The object, if it has appeared.
    async fn completed(&self, completion: &Completion<'_>, size: u64) -> Option<ObjectInfo> {
        let found = self.head(completion.upload.bucket, completion.upload.key).await.ok()?;
        let is_new = completion.before.is_none_or(|before| is_another(before, &found));
        (found.size == size && is_new).then_some(found)
    }

    /// Waits for an object that may still be put together; `error` is why that is not known.
    async fn settle_completion(
        &self,
        completion: &Completion<'_>,
        size: u64,
        until: Instant,
        error: Error,
    ) -> Result<ObjectInfo> {
        tracing::warn!("the outcome is unknown, the object is looked for: {error}");
        let mut wait = SETTLE_FIRST;
        for asks in 0.. {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() && asks >= SETTLE_ASKS_MIN {
                break;
            }
            tokio::time::sleep(wait.min(left.max(SETTLE_FIRST))).await;
            if let Some(found) = self.completed(completion, size).await {
                return Ok(found);
            }
            wait = (wait * 2).min(self.shared.retry.backoff_max.max(SETTLE_FIRST));
        }

        // "No such upload" would be taken for an image that is not there.
        let kind = if error.kind() == Kind::NotFound {
            Kind::Unavailable
        } else {
            error.kind()
        };

        let place = path(completion.upload.bucket, completion.upload.key);
        let what = format!("complete {place}: no object has appeared, but it still may");

        Err(error.context(what).with_kind(kind).with_unknown_outcome())
    }

    /// One request to complete an upload; the answer may have no ETag.
    pub(in crate::objstore) async fn try_complete_upload(
        &self,
        upload: UploadRef<'_>,
        parts: &[SentPart],
        crc64: Option<Crc64>,
        effort: &Effort,
    ) -> Result<ObjectInfo> {
        let UploadRef { bucket, key, id } = upload;
        let listed = parts.iter().map(|part| {
            let own = crc64.is_some().then(|| part.crc64.to_base64());
            let built = CompletedPart::builder()
                .part_number(number_i32(part.number))
                .e_tag(&part.etag);
            built.set_checksum_crc64_nvme(own).build()
        });

        let list = CompletedMultipartUpload::builder()
            .set_parts(Some(listed.collect()))
            .build();
        let mut request = self
            .shared
            .client
            .complete_multipart_upload()
            .bucket(bucket)
            .key(key)
            .upload_id(id);

        if let Some(crc64) = crc64 {
            request = request
                .checksum_type(ChecksumType::FullObject)
                .checksum_crc64_nvme(crc64.to_base64());
        }

        // Servers may put the object together before they answer; how long is not a matter of our line. A part of the
        // time is kept for those that were never asked: their address died with the request.
        let time = self.shared.retry.operation_timeout;
        let deadlines = self.deadlines_within(time / COMPLETE_SHARES, time - time / COMPLETE_SHARES, effort);
        let sent = request
            .multipart_upload(list)
            .customize()
            .config_override(deadlines)
            .send()
            .boxed()
            .await;

        let reply = sent.map_err(|e| sdk_error::convert("complete upload of", &path(bucket, key), &e))?;

        Ok(ObjectInfo {
            size: parts.iter().map(|part| part.size).sum(),
            etag: bare_etag(reply.e_tag().unwrap_or_default()).to_owned(),
            version_id: reply.version_id().map(ToOwned::to_owned),
            crc64: reply.checksum_crc64_nvme().map(ToOwned::to_owned),
            ..ObjectInfo::default()
        })
    }
}

/// The parts that were sent with the ETags that the server lists, if it lists these numbers with these sizes and CRCs.
/// It may list others too, of tries that were given up.
fn same_parts(sent: &[SentPart], listed: &[StoredPart]) -> Option<Vec<SentPart>> {
    let same = |part: &SentPart| {
        let listed = listed.iter().find(|listed| listed.number == part.number)?;
        let agrees = listed.size == part.size && listed.crc64.is_none_or(|crc64| crc64 == part.crc64);
        let etag = Some(listed.etag.clone()).filter(|etag| agrees && !etag.is_empty())?;
        Some(SentPart { etag, ..part.clone() })
    };
    sent.iter().map(same).collect()
}

/// True when it is certain that an object is not the one that was there before.
fn is_another(before: &ObjectInfo, now: &ObjectInfo) -> bool {
    let versions = before.version_id.as_ref().zip(now.version_id.as_ref());
    let etags = !before.etag.is_empty() && !now.etag.is_empty() && before.etag != now.etag;
    etags || versions.is_some_and(|(before, now)| before != now)
}

/// True when the store has said no to the only completion that was ever sent: none can be under way.
fn is_final(error: &Error, tries: u32) -> bool {
    let answered = !matches!(error.kind(), Kind::Network | Kind::Timeout | Kind::Unavailable);
    answered && tries <= 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(number: u32, etag: &str) -> SentPart {
        SentPart {
            number,
            size: 5,
            etag: etag.into(),
            crc64: Crc64(u64::from(number)),
        }
    }

    fn listed(number: u32, etag: &str, crc64: Option<u64>) -> StoredPart {
        StoredPart {
            number,
            size: 5,
            etag: etag.into(),
            crc64: crc64.map(Crc64),
        }
    }

    #[test]
    fn listed_parts_take_the_place_of_the_same_parts_alone() {
        let ours = [sent(1, "a"), sent(2, "b")];
        let same = same_parts(
            &ours,
            &[listed(1, "a", Some(1)), listed(2, "x", None), listed(3, "y", None)],
        );
        assert_eq!(same, Some(vec![sent(1, "a"), sent(2, "x")]));

        for others in [
            vec![listed(1, "a", None)],
            vec![listed(1, "a", None), listed(3, "b", None)],
            vec![
                listed(1, "a", None),
                StoredPart {
                    size: 6,
                    ..listed(2, "b", None)
                },
            ],
            vec![listed(1, "a", None), listed(2, "b", Some(7))],
            vec![listed(1, "a", None), listed(2, "", None)],
        ] {
            assert_eq!(same_parts(&ours, &others), None, "{others:?}");
        }
    }

    #[test]
    fn an_object_is_another_one_by_its_etag_or_its_version() {
        let object = |etag: &str, version: Option<&str>| ObjectInfo {
            etag: etag.into(),
            version_id: version.map(Into::into),
            ..ObjectInfo::default()
        };
        let before = object("a", Some("1"));
        assert!(is_another(&before, &object("a", Some("2"))) && is_another(&before, &object("b", None)));
        for same in [object("a", Some("1")), object("a", None), object("", None)] {
            assert!(!is_another(&before, &same), "{same:?}");
        }
    }
}
