//! GetObject, HeadObject, GetObjectAttributes.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue};
use s3s::auth::Credentials;
use s3s::dto::*;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result};

use super::errors::{
    access_denied, delete_marker, invalid_argument, no_such_key, no_such_version, not_implemented, precondition_failed,
};
use super::index::{Bucket, Stored};
use super::operations::Backend;
use super::outgest::Outgoing;
use super::record::Part;
use super::write::{matches, version_header};

/// Parts of GetObjectAttributes in one answer at most.
const PARTS_PAGE: i32 = 1_000;

/// Conditions of a read.
struct Conditions {
    if_match: Option<ETagCondition>,
    if_none_match: Option<ETagCondition>,
    modified_since: Option<Timestamp>,
    unmodified_since: Option<Timestamp>,
}

impl Conditions {
    /// By RFC 9110: a condition on the ETag goes before the one on the time.
    fn check(&self, stored: &Stored) -> S3Result<()> {
        let etag = &stored.version.etag;
        let modified = &stored.version.modified;
        let failed = match (&self.if_match, &self.unmodified_since) {
            (Some(condition), _) => !matches(condition, etag),
            (None, Some(since)) => modified > since,
            (None, None) => false,
        };
        if failed {
            return Err(precondition_failed());
        }
        let unchanged = match (&self.if_none_match, &self.modified_since) {
            (Some(condition), _) => matches(condition, etag),
            (None, Some(since)) => modified <= since,
            (None, None) => false,
        };
        if unchanged {
            Err(S3ErrorCode::NotModified.into())
        } else {
            Ok(())
        }
    }
}

/// The object that a read means; `who` is told less when it may not list the bucket, as S3 does.
pub fn find(
    backend: &Backend,
    bucket: &Bucket,
    key: &str,
    version_id: Option<&str>,
    who: Option<&Credentials>,
) -> S3Result<Arc<Stored>> {
    let state = bucket.lock();
    let stored = match version_id {
        Some(id) => state.version(key, id).ok_or_else(no_such_version)?,
        None => state.newest(key).ok_or_else(|| {
            let may_know = backend.access.permits(who, "ListBucket", Some(key));
            if may_know { no_such_key() } else { access_denied() }
        })?,
    };
    if stored.version.marker {
        return Err(delete_marker(stored.version.shown_id(), version_id.is_some()));
    }
    Ok(Arc::clone(stored))
}

pub async fn get(backend: &Backend, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
    let input = request.input;
    if input.part_number.is_some() {
        return Err(not_implemented("partNumber"));
    }
    let bucket = backend.bucket(&input.bucket)?;
    let who = request.credentials.as_ref();
    let stored = find(backend, &bucket, &input.key, input.version_id.as_deref(), who)?;
    let conditions = Conditions {
        if_match: input.if_match,
        if_none_match: input.if_none_match,
        modified_since: input.if_modified_since,
        unmodified_since: input.if_unmodified_since,
    };
    conditions.check(&stored)?;

    let version = &stored.version;
    let range = input
        .range
        .map(|range| range.check(version.size).map_err(|_| unsatisfiable(version.size)))
        .transpose()?;
    let (begin, end) = range
        .as_ref()
        .map_or((0, version.size), |range| (range.start, range.end));
    let len = end - begin;
    let crc64 = version
        .crc64
        .filter(|_| range.is_none() && input.checksum_mode.is_some());
    let retention = version.lock.retention.as_ref();
    let output = GetObjectOutput {
        accept_ranges: Some("bytes".to_owned()),
        body: Some(StreamingBlob::new(Outgoing::new(
            &stored,
            begin,
            len,
            &backend.engine.pieces,
        ))),
        checksum_crc64nvme: crc64.map(|crc| crc.to_base64()),
        checksum_type: crc64.map(|_| full_object()),
        content_length: i64::try_from(len).ok(),
        content_range: range.map(|_| format!("bytes {begin}-{}/{}", end - 1, version.size)),
        content_type: content_type(&stored),
        e_tag: Some(ETag::Strong(version.etag.clone())),
        last_modified: Some(version.modified.clone()),
        metadata: metadata(&stored),
        object_lock_legal_hold_status: hold(&stored),
        object_lock_mode: retention.map(|retention| retention.mode.as_str().to_owned().into()),
        object_lock_retain_until_date: retention.map(|retention| retention.until.clone()),
        version_id: version_header(&bucket, version),
        ..GetObjectOutput::default()
    };
    Ok(S3Response::new(output))
}

pub async fn head(backend: &Backend, request: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
    let input = request.input;
    if input.part_number.is_some() || input.range.is_some() {
        return Err(not_implemented("partNumber and Range of HeadObject"));
    }
    let bucket = backend.bucket(&input.bucket)?;
    let who = request.credentials.as_ref();
    let stored = find(backend, &bucket, &input.key, input.version_id.as_deref(), who)?;
    let conditions = Conditions {
        if_match: input.if_match,
        if_none_match: input.if_none_match,
        modified_since: input.if_modified_since,
        unmodified_since: input.if_unmodified_since,
    };
    conditions.check(&stored)?;

    let version = &stored.version;
    let crc64 = version.crc64.filter(|_| input.checksum_mode.is_some());
    let retention = version.lock.retention.as_ref();
    let output = HeadObjectOutput {
        accept_ranges: Some("bytes".to_owned()),
        checksum_crc64nvme: crc64.map(|crc| crc.to_base64()),
        checksum_type: crc64.map(|_| full_object()),
        content_length: i64::try_from(version.size).ok(),
        content_type: content_type(&stored),
        e_tag: Some(ETag::Strong(version.etag.clone())),
        last_modified: Some(version.modified.clone()),
        metadata: metadata(&stored),
        object_lock_legal_hold_status: hold(&stored),
        object_lock_mode: retention.map(|retention| retention.mode.as_str().to_owned().into()),
        object_lock_retain_until_date: retention.map(|retention| retention.until.clone()),
        version_id: version_header(&bucket, version),
        ..HeadObjectOutput::default()
    };
    Ok(S3Response::new(output))
}

pub async fn attributes(
    backend: &Backend,
    request: S3Request<GetObjectAttributesInput>,
) -> S3Result<S3Response<GetObjectAttributesOutput>> {
    let input = request.input;
    let bucket = backend.bucket(&input.bucket)?;
    let who = request.credentials.as_ref();
    let stored = find(backend, &bucket, &input.key, input.version_id.as_deref(), who)?;
    let version = &stored.version;
    let asked = |name: &str| {
        input
            .object_attributes
            .iter()
            .any(|attribute| attribute.as_str() == name)
    };

    let after = input.part_number_marker.unwrap_or(0);
    let most = input.max_parts.unwrap_or(PARTS_PAGE);
    if after < 0 || most < 0 {
        return Err(invalid_argument(
            "x-amz-max-parts and x-amz-part-number-marker cannot be negative",
        ));
    }
    let output = GetObjectAttributesOutput {
        checksum: version
            .crc64
            .filter(|_| asked(ObjectAttributes::CHECKSUM))
            .map(|crc64| Checksum {
                checksum_crc64nvme: Some(crc64.to_base64()),
                checksum_type: Some(full_object()),
                ..Checksum::default()
            }),
        e_tag: asked(ObjectAttributes::ETAG).then(|| ETag::Strong(version.etag.clone())),
        last_modified: Some(version.modified.clone()),
        object_parts: if asked(ObjectAttributes::OBJECT_PARTS) {
            object_parts(&stored, after, most)
        } else {
            None
        },
        object_size: asked(ObjectAttributes::OBJECT_SIZE).then(|| i64::try_from(version.size).unwrap_or(i64::MAX)),
        storage_class: asked(ObjectAttributes::STORAGE_CLASS)
            .then(|| StorageClass::from_static(StorageClass::STANDARD)),
        version_id: version_header(&bucket, version),
        ..GetObjectAttributesOutput::default()
    };

    Ok(S3Response::new(output))
}

/// None of an object that was put in one piece. The parts themselves are told of uploads with checksums only.
fn object_parts(stored: &Stored, after: i32, most: i32) -> Option<GetObjectAttributesParts> {
    let upload = stored.version.upload.as_ref()?;
    let total = i32::try_from(stored.version.parts.len()).ok();
    if !upload.with_checksum {
        return Some(GetObjectAttributesParts {
            total_parts_count: total,
            ..Default::default()
        });
    }

    let most = most.min(PARTS_PAGE);
    let rest: Vec<&Part> = stored
        .version
        .parts
        .iter()
        .filter(|part| i32::from(part.number) > after)
        .collect();
    let page: Vec<_> = rest.iter().take(usize::try_from(most).unwrap_or_default()).collect();
    let parts = page.iter().map(|part| ObjectPart {
        checksum_crc64nvme: Some(part.crc64.to_base64()),
        part_number: Some(part.number.into()),
        size: i64::try_from(part.size).ok(),
        ..ObjectPart::default()
    });
    Some(GetObjectAttributesParts {
        is_truncated: Some(page.len() < rest.len()),
        max_parts: Some(most),
        next_part_number_marker: Some(page.last().map_or(after, |part| part.number.into())),
        part_number_marker: Some(after),
        parts: Some(parts.collect()),
        total_parts_count: total,
    })
}

pub fn full_object() -> ChecksumType {
    ChecksumType::from_static(ChecksumType::FULL_OBJECT)
}

fn content_type(stored: &Stored) -> Option<String> {
    Some(
        stored
            .version
            .content_type
            .clone()
            .unwrap_or_else(|| "binary/octet-stream".to_owned()),
    )
}

fn metadata(stored: &Stored) -> Option<Metadata> {
    let metadata = &stored.version.metadata;
    (!metadata.is_empty()).then(|| metadata.clone().into_iter().collect())
}

fn hold(stored: &Stored) -> Option<ObjectLockLegalHoldStatus> {
    let status = |on| {
        if on {
            ObjectLockLegalHoldStatus::ON
        } else {
            ObjectLockLegalHoldStatus::OFF
        }
    };
    stored
        .version
        .lock
        .hold
        .map(|on| ObjectLockLegalHoldStatus::from_static(status(on)))
}

/// 416 with the size, as RFC 9110 14.4 asks for.
fn unsatisfiable(size: u64) -> S3Error {
    let mut error = S3Error::with_message(S3ErrorCode::InvalidRange, "The requested range is not satisfiable");
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("application/xml"));
    if let Ok(range) = HeaderValue::from_str(&format!("bytes */{size}")) {
        headers.insert("content-range", range);
    }
    error.set_headers(headers);
    error
}
