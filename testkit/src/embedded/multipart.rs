//! CreateMultipartUpload and UploadPart.

use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result};

use super::errors::{PARTS_MAX, invalid_argument, invalid_request, not_implemented};
use super::lock;
use super::operations::Backend;
use super::read::full_object;
use super::record::{Part, Upload};
use super::store::now;
use super::write::{metadata_of, proofs_of};

pub async fn begin(
    backend: &Backend,
    request: S3Request<CreateMultipartUploadInput>,
) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
    let mut input = request.input;
    if !backend.knows_checksums() {
        (input.checksum_algorithm, input.checksum_type) = (None, None);
    }
    if input.tagging.is_some() || input.sse_customer_key.is_some() {
        return Err(not_implemented("tags, keys of the customer"));
    }
    let algorithm = input.checksum_algorithm.as_ref().map(ChecksumAlgorithm::as_str);
    let kind = input.checksum_type.as_ref().map(ChecksumType::as_str);
    let with_checksum = match (algorithm, kind) {
        (None, None) => false,
        (Some(ChecksumAlgorithm::CRC64NVME), None | Some(ChecksumType::FULL_OBJECT)) => true,
        (None, Some(_)) => {
            let text = "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.";
            return Err(invalid_request(text));
        }
        (Some(ChecksumAlgorithm::CRC64NVME), Some(_)) => {
            return Err(invalid_request(
                "The COMPOSITE checksum type cannot be used with the crc64nvme algorithm.",
            ));
        }
        (Some(_), _) => return Err(not_implemented("uploads with another checksum than CRC64NVME")),
    };

    let bucket = backend.bucket(&input.bucket)?;
    let wish = lock::Wish {
        mode: input.object_lock_mode,
        until: input.object_lock_retain_until_date,
        hold: input.object_lock_legal_hold_status,
    };
    let lock = wish.check(&backend.access, request.credentials.as_ref(), &bucket, &input.key)?;
    let upload = Upload {
        key: input.key.clone(),
        id: bucket.next_id(),
        initiated: now(),
        with_checksum,
        content_type: input.content_type,
        metadata: metadata_of(input.metadata),
        lock,
        parts: Default::default(),
    };

    let id = upload.id.clone();
    bucket.insert_upload(upload)?;
    Ok(S3Response::new(CreateMultipartUploadOutput {
        bucket: Some(input.bucket),
        key: Some(input.key),
        upload_id: Some(id),
        checksum_algorithm: input.checksum_algorithm,
        checksum_type: with_checksum.then(full_object),
        ..CreateMultipartUploadOutput::default()
    }))
}

pub async fn part(
    backend: &Backend,
    mut request: S3Request<UploadPartInput>,
) -> S3Result<S3Response<UploadPartOutput>> {
    let mut proofs = proofs_of!(backend, request);
    let input = request.input;
    let number = part_number(input.part_number)?;
    let bucket = backend.bucket(&input.bucket)?;
    let len = u64::try_from(input.content_length.unwrap_or_default()).unwrap_or_default();
    let upload_lock = {
        let state = bucket.lock();
        let upload = state.upload(&input.key, &input.upload_id)?;
        if proofs.has_crc64() && !upload.with_checksum {
            let text = "Checksum Type mismatch occurred, expected checksum Type: null, actual checksum Type: crc64nvme";
            return Err(invalid_request(text));
        }
        state.check_quota(len)?;
        upload.lock.clone()
    };
    lock::require_proof("Upload Part", &bucket, &upload_lock, &proofs)?;

    let file = bucket.new_file();
    let sums = backend.engine.ingest(input.body, len, &file, proofs.extra()).await?;
    proofs.check(&sums)?;
    let part = Part {
        number,
        size: sums.size,
        etag: sums.md5.to_hex(),
        crc64: sums.crc64,
        file: file.name(),
        modified: now(),
    };
    let etag = part.etag.clone();
    let with_checksum = bucket.lock().upload(&input.key, &input.upload_id)?.with_checksum;
    bucket.insert_part(&input.key, &input.upload_id, part)?;
    file.keep();
    let sum = proofs.answer();
    Ok(S3Response::new(UploadPartOutput {
        e_tag: Some(ETag::Strong(etag)),
        checksum_crc64nvme: with_checksum.then(|| sums.crc64.to_base64()),
        checksum_crc32: sum.checksum_crc32,
        checksum_crc32c: sum.checksum_crc32c,
        ..UploadPartOutput::default()
    }))
}

pub fn part_number(number: i32) -> S3Result<u16> {
    let text = "Part number must be an integer between 1 and 10000, inclusive";
    u16::try_from(number)
        .ok()
        .filter(|n| (1..=PARTS_MAX).contains(n))
        .ok_or_else(|| invalid_argument(text))
}
