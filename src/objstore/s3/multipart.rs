//! The S3 operations of multipart uploads.

use std::time::{Duration, Instant};

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    ChecksumAlgorithm, ChecksumType, CompletedMultipartUpload, CompletedPart, EncodingType, ObjectAttributes,
};
use bytes::Bytes;
use futures::FutureExt;

use super::list::{is_of, url_decode};
use super::sdk_error;
use super::store::{Store, len_i64, path};
use crate::clean::words;
use crate::config::PARTS_MAX;
use crate::engine::checksum::{Crc64, bare_etag};
use crate::error::{Error, Found, Kind, Result};
use crate::objstore::s3::resend::resend;
use crate::objstore::s3::types::{ObjectInfo, PartSpan, SentPart, WireCheck, seconds};
use crate::objstore::transport::effort::Effort;

/// One attempt at completing an upload gets this share of `operation_timeout`.
const COMPLETE_SHARES: u32 = 3;

/// The first wait for a cluster that lists parts and does not find them; doubles.
const SETTLE_FIRST: Duration = Duration::from_millis(500);

/// An object that may still appear is looked for so often at least, however much time the completion has taken.
const SETTLE_ASKS_MIN: u32 = 3;

/// Pages of uploads in a row that bring no upload, or none of a further key.
const IDLE_PAGES_MAX: u32 = 1_000;

/// An upload that was begun and neither completed nor aborted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedUpload {
    pub key: String,
    pub id: String,
    /// Seconds since 1970 by the server's clock.
    pub initiated: u64,
}

/// Where the next page of uploads begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadMarker {
    key: String,
    id: Option<String>,
    /// Pages in a row that brought no upload, or no further key.
    idle: u32,
}

impl UploadMarker {
    /// True when no later page can name an upload to `key`.
    pub fn is_behind(&self, key: &str) -> bool {
        self.key.as_str() > key
    }
}

#[derive(Debug)]
pub struct UploadPage {
    pub uploads: Vec<ListedUpload>,
    pub next: Option<UploadMarker>,
}

/// What UploadPart is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartAnswer {
    pub etag: String,
    /// As base64, where the server tells it.
    pub crc64: Option<String>,
}

/// A part as the server tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredPart {
    pub number: u32,
    pub size: u64,
    /// Empty where the call does not tell.
    pub etag: String,
    pub crc64: Option<Crc64>,
}

impl Store {
    /// CreateMultipartUpload; gives the upload id.
    pub async fn begin_upload(
        &self,
        bucket: &str,
        key: &str,
        metadata: &[(String, String)],
        crc64: bool,
    ) -> Result<String> {
        let mut request = self.shared.client.create_multipart_upload().bucket(bucket).key(key);
        for (name, value) in metadata {
            request = request.metadata(name, value);
        }
        if crc64 {
            request = request
                .checksum_algorithm(ChecksumAlgorithm::Crc64Nvme)
                .checksum_type(ChecksumType::FullObject);
        }
        let sent = request
            .customize()
            .config_override(self.patience(0))
            .send()
            .boxed()
            .await;
        let reply = sent.map_err(|e| sdk_error::convert("begin upload of", &path(bucket, key), &e))?;
        let id = reply.upload_id().unwrap_or_default();
        if id.is_empty() {
            return Err(Error::new(
                Kind::Unavailable,
                format!("begin upload of {}: no upload id came back", path(bucket, key)),
            ));
        }
        Ok(id.to_owned())
    }

    /// UploadPart; gives what the store tells of the part.
    pub async fn upload_part(
        &self,
        bucket: &str,
        key: &str,
        upload: &str,
        number: u32,
        body: Bytes,
        check: WireCheck,
    ) -> Result<PartAnswer> {
        let (hedges, size) = (&self.shared.hedges, body.len() as u64);
        let send = || self.try_upload_part(bucket, key, upload, number, body.clone(), check);
        // Where an ETag is no MD5 each try may have its own: the loser that lands last would make ours wrong.
        let is_same_twice = self.known(bucket).etag_is_md5;
        let race = || async {
            if is_same_twice {
                hedges.race("UploadPart", size, send).await
            } else {
                send().await
            }
        };
        let sent = self
            .send_until_clear(bucket, check, |part: &PartAnswer| &part.etag, race)
            .await;
        sent.inspect(|_| hedges.earn(size))
    }

    /// [`Store::upload_part`] that takes no for an answer.
    pub(in crate::objstore) async fn try_upload_part(
        &self,
        bucket: &str,
        key: &str,
        upload: &str,
        number: u32,
        body: Bytes,
        check: WireCheck,
    ) -> Result<PartAnswer> {
        let size = body.len() as u64;
        let request = self
            .shared
            .client
            .upload_part()
            .bucket(bucket)
            .key(key)
            .upload_id(upload);
        let request = request.part_number(number_i32(number)).content_length(len_i64(size));
        let request = match check {
            WireCheck::None => request,
            WireCheck::Crc64(crc) => request.checksum_crc64_nvme(crc.to_base64()),
            WireCheck::Md5(md5) => request.content_md5(md5.to_base64()),
        };
        let sent = request
            .body(ByteStream::from(body))
            .customize()
            .disable_payload_signing();
        let sent = sent.config_override(self.patience(size)).send().boxed().await;
        let what = format!("send part {number} of");
        let reply = sent.map_err(|e| sdk_error::convert(&what, &path(bucket, key), &e))?;
        let etag = etag_of(reply.e_tag(), &what, bucket, key)?;
        Ok(PartAnswer {
            etag,
            crc64: reply.checksum_crc64_nvme().map(ToOwned::to_owned),
        })
    }

    /// UploadPartCopy of one part of object `from` of the same bucket, under its own number; gives the part's ETag.
    pub async fn copy_part(&self, bucket: &str, key: &str, upload: &str, from: &str, span: PartSpan) -> Result<String> {
        let PartSpan {
            number,
            offset,
            size: len,
            ..
        } = span;
        let request = self
            .shared
            .client
            .upload_part_copy()
            .bucket(bucket)
            .key(key)
            .upload_id(upload);
        let request = request
            .part_number(number_i32(number))
            .copy_source(format!("{bucket}/{}", escape_path(from)));
        let request = request.copy_source_range(format!("bytes={offset}-{}", offset + len.saturating_sub(1)));
        let sent = request
            .customize()
            .config_override(self.patience(len))
            .send()
            .boxed()
            .await;
        let what = format!("copy part {number} of");
        let reply = sent.map_err(|e| sdk_error::convert(&what, &path(bucket, key), &e))?;
        etag_of(reply.copy_part_result().and_then(|r| r.e_tag()), &what, bucket, key)
    }

    /// CompleteMultipartUpload; an answer lost on the way is settled by HEAD. The caller compares ETag and CRC, which may
    /// be those of HEAD.
    ///
    /// A server may go on putting the object together when nobody waits for it any more, and says meanwhile that there is no
    /// such upload, or nothing at all. So an object that is not there yet is asked for until the operation's time is over; when
    /// it still is not, nobody knows, and the error says so: [`Error::outcome_is_unknown`]. Only a refusal of the one and only
    /// request is an end that is known.
    pub async fn complete_upload(
        &self,
        bucket: &str,
        key: &str,
        upload: &str,
        parts: &[SentPart],
        crc64: Option<Crc64>,
    ) -> Result<ObjectInfo> {
        let completion = Completion {
            bucket,
            key,
            upload,
            crc64,
            before: None,
        };
        self.complete(completion, parts, false).await.map(|(object, _)| object)
    }

    /// The same of a key that has an object already, as HEAD showed it `before` the upload was begun, or none: HEAD settles
    /// a lost answer only when it shows another one, by version or by ETag.
    pub async fn complete_upload_over(
        &self,
        bucket: &str,
        key: &str,
        upload: &str,
        parts: &[SentPart],
        before: Option<&ObjectInfo>,
    ) -> Result<ObjectInfo> {
        let completion = Completion {
            bucket,
            key,
            upload,
            crc64: None,
            before,
        };
        self.complete(completion, parts, false).await.map(|(object, _)| object)
    }

    /// [`Store::complete_upload`] for a caller who reads parts back. A try of a part that was given up may land after the
    /// one that was answered, with an ETag of its own. So where the server lists the same parts with other ETags, they are
    /// what is completed: given back in place of what was sent, for the bytes to prove.
    pub(in crate::objstore) async fn complete_upload_or_doubt(
        &self,
        (bucket, key, upload): (&str, &str, &str),
        parts: &[SentPart],
        crc64: Option<Crc64>,
    ) -> Result<(ObjectInfo, Option<Vec<SentPart>>)> {
        let completion = Completion {
            bucket,
            key,
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
        let Completion {
            bucket,
            key,
            upload,
            crc64,
            ..
        } = completion;
        let size: u64 = sent.iter().map(|part| part.size).sum();
        let (began, mut wait, mut other) = (Instant::now(), SETTLE_FIRST, None::<Vec<SentPart>>);
        let time = self.shared.retry.operation_timeout;
        // A share of the time stays for looking whether the object has appeared.
        let effort = self.effort(time - time / COMPLETE_SHARES);
        loop {
            let parts = other.as_deref().unwrap_or(sent);
            let error = match resend(|| self.try_complete_upload(bucket, key, upload, parts, crc64, &effort)).await {
                Ok(object) => return Ok((object, other)),
                Err(error) => error,
            };
            // The answer may have been lost; then the upload is gone, which each server says in its own way. Nothing but
            // its completion makes an object of this key, so the object itself tells.
            if let Some(found) = self.completed(&completion, size).await {
                return Ok((found, other));
            }
            let in_time = began.elapsed() + wait < time / COMPLETE_SHARES;
            let listed = if error.kind() == Kind::Corrupt && in_time {
                same_parts(
                    parts,
                    &self
                        .list_parts(bucket, key, upload)
                        .await
                        .ok()
                        .flatten()
                        .unwrap_or_default(),
                )
            } else {
                None
            };
            match listed {
                // The parts are there as they were sent: a node that is back from an outage refuses a completion until it
                // has caught up.
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

    /// The object, if it has appeared.
    async fn completed(&self, completion: &Completion<'_>, size: u64) -> Option<ObjectInfo> {
        let found = self.head(completion.bucket, completion.key).await.ok()?;
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
        let place = path(completion.bucket, completion.key);
        let what = format!("complete {place}: no object has appeared, but it still may");
        Err(error.context(what).with_kind(kind).with_unknown_outcome())
    }

    /// One request to complete an upload; the answer may have no ETag.
    pub(in crate::objstore) async fn try_complete_upload(
        &self,
        bucket: &str,
        key: &str,
        upload: &str,
        parts: &[SentPart],
        crc64: Option<Crc64>,
        effort: &Effort,
    ) -> Result<ObjectInfo> {
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
            .upload_id(upload);
        if let Some(crc64) = crc64 {
            request = request
                .checksum_type(ChecksumType::FullObject)
                .checksum_crc64_nvme(crc64.to_base64());
        }
        // Servers may put the object together before they answer; how long is not a matter of our line. A part of the
        // time is kept for those that were never asked: their address died with the request.
        let time = self.shared.retry.operation_timeout;
        let patience = self.patience_within(time / COMPLETE_SHARES, time - time / COMPLETE_SHARES, effort);
        let sent = request
            .multipart_upload(list)
            .customize()
            .config_override(patience)
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

    /// AbortMultipartUpload; aborting what is not there is no error.
    pub async fn abort_upload(&self, bucket: &str, key: &str, upload: &str) -> Result<()> {
        let request = self
            .shared
            .client
            .abort_multipart_upload()
            .bucket(bucket)
            .key(key)
            .upload_id(upload);
        let sent = request
            .customize()
            .config_override(self.patience(0))
            .send()
            .boxed()
            .await;
        sent.map_err(|e| sdk_error::convert("abort upload of", &path(bucket, key), &e))
            .if_found()
            .map(drop)
    }

    /// One page of ListMultipartUploads of the whole bucket, at most 1,000. No prefix is sent: MinIO takes one for a key.
    pub async fn list_uploads(&self, bucket: &str, after: Option<UploadMarker>) -> Result<UploadPage> {
        let page = || async {
            let request = self.shared.client.list_multipart_uploads().bucket(bucket);
            let mut request = request.encoding_type(EncodingType::Url);
            if let Some(UploadMarker { key, id, .. }) = after.clone() {
                request = request.key_marker(key).set_upload_id_marker(id);
            }
            request
                .send()
                .boxed()
                .await
                .map_err(|e| sdk_error::convert("list uploads of", bucket, &e))
        };
        let reply = self.shared.hedges.ask("ListMultipartUploads", page).await?;
        let decoded = |text: &str| match reply.encoding_type() {
            Some(EncodingType::Url) => String::from_utf8_lossy(&url_decode(text)).into_owned(),
            _ => text.to_owned(),
        };
        let refuse = |why: &str| Error::new(Kind::Unavailable, format!("list uploads of {bucket}: {why}"));
        is_of(bucket, reply.bucket()).map_err(|why| refuse(&why))?;
        let mut uploads = Vec::with_capacity(reply.uploads().len());
        for upload in reply.uploads() {
            let (Some(key), Some(id)) = (upload.key(), upload.upload_id()) else {
                return Err(refuse("an upload has no key or no id"));
            };
            // An age is counted from it: what has none would seem to be as old as can be.
            let initiated = seconds(upload.initiated());
            if initiated == 0 {
                return Err(refuse(&format!("upload {} does not say when it was begun", words(id))));
            }
            uploads.push(ListedUpload {
                key: decoded(key),
                id: id.to_owned(),
                initiated,
            });
        }
        match reply.is_truncated() {
            None => return Err(refuse("it does not say whether it is whole")),
            Some(false) => return Ok(UploadPage { uploads, next: None }),
            Some(true) => {}
        }
        let Some(key) = reply.next_key_marker().filter(|key| !key.is_empty()).map(decoded) else {
            return Err(refuse("it is truncated and names no next page"));
        };
        let id = reply.next_upload_id_marker().map(ToOwned::to_owned);
        // Uploads of one key come in any order, keys do not.
        let forward = after.as_ref().is_none_or(|after| key > after.key);
        let idle = after.as_ref().map_or(0, |after| after.idle);
        let next = UploadMarker {
            key,
            id,
            idle: if forward && !uploads.is_empty() { 0 } else { idle + 1 },
        };
        match &after {
            Some(after) if next.key < after.key => Err(refuse("the server goes back to an earlier key")),
            Some(after) if (&next.key, &next.id) == (&after.key, &after.id) => {
                Err(refuse("the server repeats a marker"))
            }
            _ if next.idle > IDLE_PAGES_MAX => Err(refuse("page after page brings nothing new")),
            _ => Ok(UploadPage {
                uploads,
                next: Some(next),
            }),
        }
    }

    /// ListParts: all parts of an upload, in order; None when there is no such upload.
    pub async fn list_parts(&self, bucket: &str, key: &str, upload: &str) -> Result<Option<Vec<StoredPart>>> {
        let what = format!("list parts of {}", path(bucket, key));
        let mut list = PartPages::new(what, self.shared.retry.operation_timeout);
        loop {
            let page = || async {
                let request = self
                    .shared
                    .client
                    .list_parts()
                    .bucket(bucket)
                    .key(key)
                    .upload_id(upload);
                let sent = request.set_part_number_marker(list.marker()).send().boxed().await;
                sent.map_err(|e| sdk_error::convert("list parts of", &path(bucket, key), &e))
            };
            let asked = self.shared.hedges.ask("ListParts", page).await;
            let Some(reply) = asked.if_found()? else {
                return Ok(None);
            };
            let of_another = reply.upload_id().filter(|id| !id.is_empty() && *id != upload);
            let is_other = of_another.map_or(Ok(()), |id| Err(format!("it is of upload {}", words(id))));
            is_of(bucket, reply.bucket())
                .and(is_other)
                .map_err(|why| Error::new(Kind::Unavailable, format!("list parts of {}: {why}", path(bucket, key))))?;
            if reply.is_truncated().is_none() {
                let what = format!(
                    "list parts of {}: it does not say whether it is whole",
                    path(bucket, key)
                );
                return Err(Error::new(Kind::Unavailable, what));
            }
            let parts = reply.parts().iter().map(StoredPart::of);
            let next = (reply.is_truncated(), reply.next_part_number_marker());
            if let Some(parts) = list.take(parts, next)? {
                return Ok(Some(parts));
            }
        }
    }

    /// GetObjectAttributes: the parts that a finished object was made of. None where the server does not tell: VAST
    /// does not document the call, Ceph RGW sends the object itself, and of an object put in one piece there are none.
    pub async fn object_parts(&self, bucket: &str, key: &str) -> Result<Option<Vec<StoredPart>>> {
        let what = format!("get attributes of {}", path(bucket, key));
        let mut list = PartPages::new(what, self.shared.retry.operation_timeout);
        loop {
            let page = || async {
                let request = self.shared.client.get_object_attributes().bucket(bucket).key(key);
                let request = request
                    .object_attributes(ObjectAttributes::ObjectParts)
                    .max_parts(1_000);
                let sent = request.set_part_number_marker(list.marker()).send().boxed().await;
                sent.map_err(|e| sdk_error::convert("get attributes of", &path(bucket, key), &e))
            };
            let reply = match self.shared.hedges.ask("GetObjectAttributes", page).await {
                Err(error) if error.kind() == Kind::Unsupported => return Ok(None),
                other => other?,
            };
            let Some(page) = reply.object_parts() else {
                return Ok(None);
            };
            // The bare number of parts is all that some servers tell.
            if page.parts().is_empty() && list.is_empty() {
                return Ok(None);
            }
            let parts = page.parts().iter().map(StoredPart::of_object);
            if let Some(parts) = list.take(parts, (page.is_truncated(), page.next_part_number_marker()))? {
                return Ok(Some(parts));
            }
        }
    }
}

/// The pages of a list of parts, as they come.
struct PartPages {
    what: String,
    parts: Vec<StoredPart>,
    /// The last part of the last page.
    marker: Option<u32>,
    deadline: Instant,
}

impl PartPages {
    fn new(what: String, time: Duration) -> Self {
        Self {
            what,
            parts: Vec::new(),
            marker: None,
            deadline: Instant::now() + time,
        }
    }

    fn marker(&self) -> Option<String> {
        self.marker.map(|marker| marker.to_string())
    }

    fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Takes a page in; gives all parts behind the last one, in order.
    fn take(
        &mut self,
        page: impl Iterator<Item = Option<StoredPart>>,
        (is_truncated, next): (Option<bool>, Option<&str>),
    ) -> Result<Option<Vec<StoredPart>>> {
        for part in page {
            let Some(part) = part else {
                return self.refuse("a part has no number or no size");
            };
            self.parts.push(part);
        }
        if self.parts.len() > PARTS_MAX as usize {
            return self.refuse("there are more parts than an upload can have");
        }
        if is_truncated.unwrap_or_default() {
            let next = next.and_then(|next| next.parse().ok());
            let forward = next.filter(|next| self.marker.is_none_or(|marker| *next > marker));
            if forward.is_none() {
                return self.refuse("it is truncated and names no later part to go on from");
            }
            if Instant::now() > self.deadline {
                return self.refuse("the list does not come to its end in the time of an operation");
            }
            self.marker = forward;
            return Ok(None);
        }
        // S3 orders them; a server that does not must not make us see gaps.
        self.parts.sort_by_key(|part| part.number);
        if self
            .parts
            .windows(2)
            .any(|pair| matches!(pair, [a, b] if a.number == b.number))
        {
            return self.refuse("a part is listed twice");
        }
        Ok(Some(std::mem::take(&mut self.parts)))
    }

    fn refuse(&self, why: &str) -> Result<Option<Vec<StoredPart>>> {
        Err(Error::new(Kind::Unavailable, format!("{}: {why}", self.what)))
    }
}

/// What is to be completed.
#[derive(Clone, Copy)]
struct Completion<'a> {
    bucket: &'a str,
    key: &'a str,
    upload: &'a str,
    crc64: Option<Crc64>,
    /// What the key showed before the upload was begun.
    before: Option<&'a ObjectInfo>,
}

/// The parts that were sent with the ETags that the server lists, if it lists these numbers with these sizes and CRCs. It
/// may list others too, of tries that were given up.
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

impl StoredPart {
    fn of(part: &aws_sdk_s3::types::Part) -> Option<Self> {
        let etag = bare_etag(part.e_tag().unwrap_or_default()).to_owned();
        let (number, size) = (number_u32(part.part_number())?, u64::try_from(part.size()?).ok()?);
        Some(Self {
            number,
            size,
            etag,
            crc64: part.checksum_crc64_nvme().and_then(Crc64::from_base64),
        })
    }

    fn of_object(part: &aws_sdk_s3::types::ObjectPart) -> Option<Self> {
        let (number, size) = (number_u32(part.part_number())?, u64::try_from(part.size()?).ok()?);
        let crc64 = part.checksum_crc64_nvme().and_then(Crc64::from_base64);
        Some(Self {
            number,
            size,
            etag: String::new(),
            crc64,
        })
    }
}

fn number_u32(number: Option<i32>) -> Option<u32> {
    number.and_then(|number| u32::try_from(number).ok())
}

pub(in crate::objstore) fn etag_of(etag: Option<&str>, what: &str, bucket: &str, key: &str) -> Result<String> {
    let etag = bare_etag(etag.unwrap_or_default());
    if etag.is_empty() {
        return Err(Error::new(
            Kind::Unavailable,
            format!("{what} {}: no ETag came back", path(bucket, key)),
        ));
    }
    Ok(etag.to_owned())
}

/// Keys use a portable alphabet; only `=` needs care in a copy-source header.
pub(in crate::objstore) fn escape_path(key: &str) -> String {
    key.replace('%', "%25").replace('=', "%3D").replace('+', "%2B")
}

fn number_i32(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
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
