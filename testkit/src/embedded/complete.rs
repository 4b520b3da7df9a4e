//! CompleteMultipartUpload and AbortMultipartUpload.

use std::collections::HashSet;

use s3s::dto::*;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result};

use super::errors::{PART_BYTES_MIN, bad_digest, invalid_part, invalid_request};
use super::index::State;
use super::lock;
use super::multipart::part_number;
use super::operations::Backend;
use super::read::full_object;
use super::record::{FromUpload, Part, Upload, Version};
use super::write::{Conditions, crc64_of, version_header};
use vastost::engine::checksum::{Crc64, composite_etag};

pub async fn complete(
    backend: &Backend,
    request: S3Request<CompleteMultipartUploadInput>,
) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
    let mut input = request.input;
    if !backend.knows_checksums() {
        input.checksum_crc64nvme = None;
    }
    let other = [
        &input.checksum_crc32,
        &input.checksum_crc32c,
        &input.checksum_sha1,
        &input.checksum_sha256,
    ];
    if other.into_iter().any(Option::is_some) {
        return Err(super::errors::not_implemented(
            "a completion with another checksum than CRC64NVME",
        ));
    }
    let bucket = backend.bucket(&input.bucket)?;
    let conditions = Conditions::new(input.if_match, input.if_none_match)?;
    let expected = crc64_of(input.checksum_crc64nvme.as_deref())?;
    let given = input
        .multipart_upload
        .and_then(|upload| upload.parts)
        .unwrap_or_default();

    // One lock from the look to the end: of two completions of an upload one finds it gone.
    let mut state = bucket.lock();
    let upload = state.upload(&input.key, &input.upload_id)?.clone();
    let parts = chosen(&upload, &given)?;
    let version = assembled(&upload, parts)?;
    let size = i64::try_from(version.size).ok();
    if input.mpu_object_size.is_some() && input.mpu_object_size != size {
        let text = "The provided 'x-amz-mp-object-size' header value does not match what was computed";
        return Err(invalid_request(text));
    }
    if expected.is_some() && (!upload.with_checksum || expected != version.crc64) {
        return Err(bad_digest("CRC64NVME"));
    }
    conditions.check(&state, &input.key)?;
    let version = settle(&bucket, &mut state, version, &upload)?;
    drop(state);
    Ok(S3Response::new(CompleteMultipartUploadOutput {
        bucket: Some(input.bucket.clone()),
        key: Some(input.key.clone()),
        location: Some(format!("/{}/{}", input.bucket, input.key)),
        e_tag: Some(ETag::Strong(version.etag.clone())),
        checksum_crc64nvme: version.crc64.map(Crc64::to_base64),
        checksum_type: version.crc64.map(|_| full_object()),
        version_id: version_header(&bucket, &version),
        ..CompleteMultipartUploadOutput::default()
    }))
}

/// Object first, then the upload goes: a server that is killed between them finds the upload in the object's record.
fn settle(
    bucket: &super::index::Bucket,
    state: &mut State,
    mut version: Version,
    upload: &Upload,
) -> S3Result<Version> {
    lock::apply_default(&state.settings, &mut version);
    let stored = bucket.insert(state, version)?;
    let used: HashSet<String> = stored.version.parts.iter().map(|part| part.file.clone()).collect();
    bucket.remove_upload(state, &upload.key, &upload.id, &used)?;
    Ok(stored.version.clone())
}

/// The parts that the request names, checked against what was sent.
fn chosen(upload: &Upload, given: &[CompletedPart]) -> S3Result<Vec<Part>> {
    if given.is_empty() {
        let text = "The XML you provided was not well-formed or did not validate against our published schema";
        return Err(S3Error::with_message(S3ErrorCode::MalformedXML, text));
    }
    let mut parts: Vec<Part> = Vec::with_capacity(given.len());

    for wanted in given {
        let number = part_number(wanted.part_number.unwrap_or_default())?;
        if parts.last().is_some_and(|last| last.number >= number) {
            let text = "The list of parts was not in ascending order. The parts list must be specified in order by part \
                        number.";
            return Err(S3Error::with_message(S3ErrorCode::InvalidPartOrder, text));
        }
        let part = upload.parts.get(&number).ok_or_else(invalid_part)?;
        let etag = wanted.e_tag.as_ref().map(ETag::value);
        let crc64 = wanted.checksum_crc64nvme.as_deref();
        if etag != Some(&part.etag) || crc64.is_some_and(|crc64| crc64 != part.crc64.to_base64()) {
            return Err(invalid_part());
        }
        parts.push(part.clone());
    }

    let all_but_last = parts.split_last().map(|(_, rest)| rest).unwrap_or_default();
    if all_but_last.iter().any(|part| part.size < PART_BYTES_MIN) {
        let text = "Your proposed upload is smaller than the minimum allowed size";
        return Err(S3Error::with_message(S3ErrorCode::EntityTooSmall, text));
    }
    Ok(parts)
}

fn assembled(upload: &Upload, parts: Vec<Part>) -> S3Result<Version> {
    let etag = composite_etag(parts.iter().map(|part| part.etag.as_str())).ok_or_else(invalid_part)?;
    let crc64 = parts
        .iter()
        .fold(Crc64::of(&[]), |crc64, part| crc64.then(part.crc64, part.size));
    Ok(Version {
        key: upload.key.clone(),
        id: String::new(),
        null: false,
        marker: false,
        modified: upload.initiated.clone(),
        size: parts.iter().map(|part| part.size).sum(),
        etag,
        crc64: upload.with_checksum.then_some(crc64),
        content_type: upload.content_type.clone(),
        metadata: upload.metadata.clone(),
        parts,
        upload: Some(FromUpload {
            id: upload.id.clone(),
            with_checksum: upload.with_checksum,
        }),
        lock: upload.lock.clone(),
    })
}

pub async fn abort(
    backend: &Backend,
    request: S3Request<AbortMultipartUploadInput>,
) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
    let input = request.input;
    let bucket = backend.bucket(&input.bucket)?;
    bucket.remove_upload(&mut bucket.lock(), &input.key, &input.upload_id, &HashSet::new())?;
    Ok(S3Response::new(AbortMultipartUploadOutput::default()))
}
