//! CopyObject and UploadPartCopy: bytes that come from another object of this server.

use std::sync::Arc;

use s3s::auth::Credentials;
use s3s::dto::*;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result};

use super::disk;
use super::disk::NewFile;
use super::errors::{OrInternal, invalid_argument, invalid_request, not_implemented, precondition_failed};
use super::index::{Bucket, Stored};
use super::lock;
use super::multipart::part_number;
use super::operations::Backend;
use super::outgest;
use super::outgest::Copied;
use super::read::{find, full_object};
use super::record::{Part, Version};
use super::store::now;
use super::write::{Conditions, commit, matches, metadata_of, version_header};
use vastost::engine::checksum::Md5Sum;

/// Where a copy comes from.
struct Source {
    stored: Arc<Stored>,
    bucket: Arc<Bucket>,
}

/// Conditions on the source.
struct SourceConditions {
    if_match: Option<ETagCondition>,
    if_none_match: Option<ETagCondition>,
    modified_since: Option<Timestamp>,
    unmodified_since: Option<Timestamp>,
}

impl SourceConditions {
    fn check(&self, stored: &Stored) -> S3Result<()> {
        let etag = &stored.version.etag;
        let modified = &stored.version.modified;
        let holds = self.if_match.as_ref().is_none_or(|condition| matches(condition, etag))
            && self
                .if_none_match
                .as_ref()
                .is_none_or(|condition| !matches(condition, etag))
            && self.modified_since.as_ref().is_none_or(|since| modified > since)
            && self.unmodified_since.as_ref().is_none_or(|since| modified <= since);
        if holds { Ok(()) } else { Err(precondition_failed()) }
    }
}

fn source(backend: &Backend, from: &CopySource, who: Option<&Credentials>) -> S3Result<Source> {
    let CopySource::Bucket {
        bucket,
        key,
        version_id,
    } = from
    else {
        return Err(not_implemented("a copy source that is no bucket"));
    };
    let action = if version_id.is_some() {
        "GetObjectVersion"
    } else {
        "GetObject"
    };
    backend.access.check(who, action, Some(key))?;
    let bucket = backend.bucket(bucket)?;
    let stored = find(backend, &bucket, key, version_id.as_deref(), who)?;
    Ok(Source { stored, bucket })
}

impl Source {
    /// Bytes `offset..offset + len` in a file of `to`: the same file where they are one.
    async fn copy(&self, backend: &Backend, to: &Bucket, offset: u64, len: u64) -> S3Result<(NewFile, Copied)> {
        let file = to.new_file();
        let mut at = 0;
        for part in &self.stored.version.parts {
            if (at, part.size) == (offset, len)
                && let Some(md5) = Md5Sum::from_etag(&part.etag)
            {
                disk::share(&self.bucket.data(&part.file), file.path()).or_internal("copy an object")?;
                return Ok((file, Copied { md5, crc64: part.crc64 }));
            }
            at += part.size;
        }
        let copied = outgest::copy(Arc::clone(&self.stored), offset, len, &file, &backend.engine.pieces).await?;
        Ok((file, copied))
    }
}

/// A file with the bytes of one part or object.
fn piece(number: u16, size: u64, copied: &Copied, file: &NewFile) -> Part {
    let etag = copied.md5.to_hex();
    let crc64 = copied.crc64;
    Part {
        number,
        size,
        etag,
        crc64,
        file: file.name(),
        modified: now(),
    }
}

pub async fn object(backend: &Backend, request: S3Request<CopyObjectInput>) -> S3Result<S3Response<CopyObjectOutput>> {
    let input = request.input;
    if input.tagging.is_some() || input.sse_customer_key.is_some() || input.checksum_algorithm.is_some() {
        return Err(not_implemented(
            "tags, keys of the customer, another checksum in a copy",
        ));
    }
    let who = request.credentials.as_ref();
    let from = source(backend, &input.copy_source, who)?;
    let bucket = backend.bucket(&input.bucket)?;
    let conditions = SourceConditions {
        if_match: input.copy_source_if_match,
        if_none_match: input.copy_source_if_none_match,
        modified_since: input.copy_source_if_modified_since,
        unmodified_since: input.copy_source_if_unmodified_since,
    };
    conditions.check(&from.stored)?;
    let replace = input
        .metadata_directive
        .as_ref()
        .is_some_and(|d| d.as_str() == MetadataDirective::REPLACE);
    let onto_itself = Arc::ptr_eq(&from.bucket, &bucket) && from.stored.version.key == input.key;
    let is_current = bucket
        .lock()
        .current(&input.key)
        .is_some_and(|current| Arc::ptr_eq(current, &from.stored));
    if onto_itself && is_current && !replace {
        let text = "This copy request is illegal because it is trying to copy an object to itself without changing the \
                    object's metadata, storage class, website redirect location or encryption attributes.";
        return Err(invalid_request(text));
    }
    let wish = lock::Wish {
        mode: input.object_lock_mode,
        until: input.object_lock_retain_until_date,
        hold: input.object_lock_legal_hold_status,
    };
    let lock = wish.check(&backend.access, who, &bucket, &input.key)?;
    let old = &from.stored.version;
    bucket.lock().check_quota(old.size)?;

    let (file, copied) = from.copy(backend, &bucket, 0, old.size).await?;
    let version = Version {
        key: input.key,
        id: String::new(),
        null: false,
        marker: false,
        modified: now(),
        size: old.size,
        etag: copied.md5.to_hex(),
        crc64: old.crc64.map(|_| copied.crc64),
        content_type: if replace {
            input.content_type
        } else {
            old.content_type.clone()
        },
        metadata: if replace {
            metadata_of(input.metadata)
        } else {
            old.metadata.clone()
        },
        parts: vec![piece(1, old.size, &copied, &file)],
        upload: None,
        lock,
    };
    let version = commit(&bucket, version, &Conditions::default())?;
    file.keep();
    let result = CopyObjectResult {
        checksum_crc64nvme: version.crc64.map(|crc64| crc64.to_base64()),
        checksum_type: version.crc64.map(|_| full_object()),
        e_tag: Some(ETag::Strong(version.etag.clone())),
        last_modified: Some(version.modified.clone()),
        ..CopyObjectResult::default()
    };
    Ok(S3Response::new(CopyObjectOutput {
        copy_object_result: Some(result),
        copy_source_version_id: version_header(&from.bucket, old),
        version_id: version_header(&bucket, &version),
        ..CopyObjectOutput::default()
    }))
}

pub async fn part(
    backend: &Backend,
    request: S3Request<UploadPartCopyInput>,
) -> S3Result<S3Response<UploadPartCopyOutput>> {
    let input = request.input;
    let number = part_number(input.part_number)?;
    let bucket = backend.bucket(&input.bucket)?;
    let with_checksum = bucket.lock().upload(&input.key, &input.upload_id)?.with_checksum;
    let from = source(backend, &input.copy_source, request.credentials.as_ref())?;
    let conditions = SourceConditions {
        if_match: input.copy_source_if_match,
        if_none_match: input.copy_source_if_none_match,
        modified_since: input.copy_source_if_modified_since,
        unmodified_since: input.copy_source_if_unmodified_since,
    };
    conditions.check(&from.stored)?;
    let (offset, len) = match input.copy_source_range {
        None => (0, from.stored.version.size),
        Some(range) => byte_range(&range, from.stored.version.size)?,
    };

    let (file, copied) = from.copy(backend, &bucket, offset, len).await?;
    let part = piece(number, len, &copied, &file);
    let result = CopyPartResult {
        checksum_crc64nvme: with_checksum.then(|| copied.crc64.to_base64()),
        e_tag: Some(ETag::Strong(part.etag.clone())),
        last_modified: Some(part.modified.clone()),
        ..CopyPartResult::default()
    };
    bucket.insert_part(&input.key, &input.upload_id, part)?;
    file.keep();
    Ok(S3Response::new(UploadPartCopyOutput {
        copy_part_result: Some(result),
        copy_source_version_id: version_header(&from.bucket, &from.stored.version),
        ..UploadPartCopyOutput::default()
    }))
}

/// `bytes=first-last`, both given and within the source, as S3 insists: offset and length.
fn byte_range(text: &str, size: u64) -> S3Result<(u64, u64)> {
    let said = "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the \
                zero-based offsets of the first and last bytes to copy";
    let parsed = text.strip_prefix("bytes=").and_then(|range| {
        let (first, last) = range.split_once('-')?;
        Some((first.parse::<u64>().ok()?, last.parse::<u64>().ok()?))
    });
    let (first, last) = parsed
        .filter(|(first, last)| first <= last)
        .ok_or_else(|| invalid_argument(said))?;
    if last >= size {
        let text = format!("Range specified is not valid for source object of size: {size}");
        return Err(S3Error::with_message(S3ErrorCode::InvalidRange, text));
    }
    Ok((first, last - first + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copied_range_lies_within_its_source() {
        assert_eq!(byte_range("bytes=0-9", 10).unwrap(), (0, 10));
        assert_eq!(byte_range("bytes=3-3", 10).unwrap(), (3, 1));
        for wrong in [
            "bytes=0-10",
            "bytes=5-4",
            "bytes=-5",
            "bytes=5-",
            "0-4",
            "bytes=0-4,6-7",
        ] {
            assert!(byte_range(wrong, 10).is_err(), "{wrong}");
        }
    }
}
