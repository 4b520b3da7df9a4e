//! ListParts and ListMultipartUploads.

use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result};

use super::list::{encoder, page_size};
use super::operations::Backend;
use super::read::full_object;
use super::record;
use super::record::Upload;

pub async fn of_upload(backend: &Backend, request: S3Request<ListPartsInput>) -> S3Result<S3Response<ListPartsOutput>> {
    let input = request.input;
    let bucket = backend.bucket(&input.bucket)?;
    let most = page_size("max-parts", input.max_parts)?;
    let after = input.part_number_marker.unwrap_or(0);
    let state = bucket.lock();
    let upload = state.upload(&input.key, &input.upload_id)?;
    let rest = || upload.parts.values().filter(|part| i32::from(part.number) > after);
    let page: Vec<&record::Part> = rest().take(most).collect();
    let part = |part: &&record::Part| Part {
        checksum_crc64nvme: upload.with_checksum.then(|| part.crc64.to_base64()),
        e_tag: Some(ETag::Strong(part.etag.clone())),
        last_modified: Some(part.modified.clone()),
        part_number: Some(part.number.into()),
        size: i64::try_from(part.size).ok(),
        ..Part::default()
    };

    Ok(S3Response::new(ListPartsOutput {
        bucket: Some(input.bucket),
        checksum_algorithm: algorithm(upload),
        checksum_type: upload.with_checksum.then(full_object),
        is_truncated: Some(page.len() < rest().count()),
        key: Some(input.key),
        max_parts: i32::try_from(most).ok(),
        next_part_number_marker: Some(page.last().map_or(after, |part| part.number.into())),
        part_number_marker: Some(after),
        parts: Some(page.iter().map(part).collect()),
        storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
        upload_id: Some(input.upload_id),
        ..ListPartsOutput::default()
    }))
}

fn algorithm(upload: &Upload) -> Option<ChecksumAlgorithm> {
    upload
        .with_checksum
        .then(|| ChecksumAlgorithm::from_static(ChecksumAlgorithm::CRC64NVME))
}

/// One line of a list of uploads.
enum Line<'a> {
    Upload(&'a Upload),
    Prefix(&'a str),
}

pub async fn uploads(
    backend: &Backend,
    request: S3Request<ListMultipartUploadsInput>,
) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
    let input = request.input;
    let bucket = backend.bucket(&input.bucket)?;
    let most = page_size("max-uploads", input.max_uploads)?;
    let encode = encoder(input.encoding_type.as_ref())?;
    let prefix = input.prefix.as_deref().unwrap_or_default();
    let key_marker = input.key_marker.as_deref().unwrap_or_default();
    // Without a key the marker of an id means nothing.
    let id_marker = input.upload_id_marker.as_deref().filter(|_| !key_marker.is_empty());
    let delimiter = input.delimiter.as_deref().filter(|delimiter| !delimiter.is_empty());

    let state = bucket.lock();
    let mut lines: Vec<Line<'_>> = Vec::new();
    for ((key, id), upload) in &state.uploads {
        let after = match id_marker {
            Some(marker) => (key.as_str(), id.as_str()) > (key_marker, marker),
            None => key.as_str() > key_marker,
        };
        if !after || !key.starts_with(prefix) {
            continue;
        }
        let rolled = delimiter.and_then(|delimiter| super::list::rolled(key, prefix, delimiter));
        match rolled {
            // One that the page before ended with is not shown again.
            Some(rolled) if rolled == key_marker => {}
            Some(rolled) if matches!(lines.last(), Some(Line::Prefix(last)) if *last == rolled) => {}
            Some(rolled) => lines.push(Line::Prefix(rolled)),
            None => lines.push(Line::Upload(upload)),
        }
        if lines.len() > most {
            break;
        }
    }
    let is_truncated = lines.len() > most && most > 0;
    lines.truncate(most);
    let (next_key, next_id) = match lines.last().filter(|_| is_truncated) {
        Some(Line::Upload(upload)) => (Some(upload.key.as_str()), Some(upload.id.clone())),
        Some(Line::Prefix(prefix)) => (Some(*prefix), None),
        None => (None, None),
    };
    let shown = |upload: &Upload| MultipartUpload {
        checksum_algorithm: algorithm(upload),
        checksum_type: upload.with_checksum.then(full_object),
        initiated: Some(upload.initiated.clone()),
        key: Some(encode(&upload.key)),
        storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
        upload_id: Some(upload.id.clone()),
        ..MultipartUpload::default()
    };
    let uploads = lines.iter().filter_map(|line| match line {
        Line::Upload(upload) => Some(shown(upload)),
        Line::Prefix(_) => None,
    });
    let prefixes = lines.iter().filter_map(|line| match line {
        Line::Upload(_) => None,
        Line::Prefix(prefix) => Some(CommonPrefix {
            prefix: Some(encode(prefix)),
        }),
    });
    Ok(S3Response::new(ListMultipartUploadsOutput {
        bucket: Some(input.bucket),
        common_prefixes: Some(prefixes.collect()),
        delimiter: input.delimiter.as_deref().map(&encode),
        encoding_type: input.encoding_type.clone(),
        is_truncated: Some(is_truncated),
        key_marker: Some(encode(key_marker)),
        max_uploads: i32::try_from(most).ok(),
        next_key_marker: next_key.map(&encode),
        next_upload_id_marker: next_id,
        prefix: Some(encode(prefix)),
        upload_id_marker: input.upload_id_marker.clone(),
        uploads: Some(uploads.collect()),
        ..ListMultipartUploadsOutput::default()
    }))
}
