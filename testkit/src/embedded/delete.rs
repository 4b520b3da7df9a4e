//! DeleteObject and DeleteObjects: delete markers where the bucket keeps versions, else the object itself.

use s3s::auth::Credentials;
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result};

use super::errors::{locked, no_such_key, not_implemented, precondition_failed};
use super::index::Bucket;
use super::operations::Backend;
use super::record::{Lock, Version, Versioning};
use super::store::now;
use super::write::matches;

/// What a delete did.
#[derive(Default)]
struct Deleted {
    /// The marker that was made or removed, or None.
    marker: bool,
    /// The version that was made or removed.
    version_id: Option<String>,
}

fn delete(
    bucket: &Bucket,
    key: &str,
    version_id: Option<&str>,
    bypass: bool,
    if_match: Option<&ETagCondition>,
) -> S3Result<Deleted> {
    let mut state = bucket.lock();
    if let Some(condition) = if_match {
        let stored = match version_id {
            Some(id) => state.version(key, id),
            None => state.current(key),
        };
        if !matches(condition, &stored.ok_or_else(no_such_key)?.version.etag) {
            return Err(precondition_failed());
        }
    }

    if let Some(id) = version_id {
        if state
            .version(key, id)
            .is_some_and(|stored| stored.version.lock.holds(&now(), bypass))
        {
            return Err(locked());
        }
        // A version that is not there is deleted: no error.
        let removed = bucket.remove(&mut state, key, id)?;
        let marker = removed.is_some_and(|stored| stored.version.marker);
        return Ok(Deleted {
            marker,
            version_id: Some(id.to_owned()),
        });
    }

    if state.settings.versioning == Versioning::Never {
        bucket.remove(&mut state, key, "null")?;
        return Ok(Deleted::default());
    }
    let made = bucket.insert(&mut state, marker(key))?;
    Ok(Deleted {
        marker: true,
        version_id: Some(made.version.shown_id().to_owned()),
    })
}

fn marker(key: &str) -> Version {
    Version {
        key: key.to_owned(),
        id: String::new(),
        null: false,
        marker: true,
        modified: now(),
        size: 0,
        etag: String::new(),
        crc64: None,
        content_type: None,
        metadata: Default::default(),
        parts: Vec::new(),
        upload: None,
        lock: Lock::default(),
    }
}

pub async fn one(backend: &Backend, request: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
    let input = request.input;
    if input.if_match_last_modified_time.is_some() || input.if_match_size.is_some() {
        return Err(not_implemented("conditions on time and size of a delete"));
    }
    let bucket = backend.bucket(&input.bucket)?;
    let bypass = input.bypass_governance_retention == Some(true);
    let deleted = delete(
        &bucket,
        &input.key,
        input.version_id.as_deref(),
        bypass,
        input.if_match.as_ref(),
    )?;
    Ok(S3Response::new(DeleteObjectOutput {
        delete_marker: deleted.marker.then_some(true),
        version_id: deleted.version_id,
        ..DeleteObjectOutput::default()
    }))
}

pub async fn many(
    backend: &Backend,
    request: S3Request<DeleteObjectsInput>,
) -> S3Result<S3Response<DeleteObjectsOutput>> {
    let input = request.input;
    let who = request.credentials.as_ref();
    let bucket = backend.bucket(&input.bucket)?;
    let bypass = input.bypass_governance_retention == Some(true);
    let quiet = input.delete.quiet == Some(true);
    let mut output = DeleteObjectsOutput {
        deleted: Some(Vec::new()),
        errors: Some(Vec::new()),
        ..Default::default()
    };
    for object in input.delete.objects {
        match delete_of_many(backend, &bucket, &object, bypass, who) {
            Err(error) => output.errors.get_or_insert_default().push(Error {
                code: Some(error.code().as_str().to_owned()),
                key: Some(object.key),
                message: error.message().map(ToOwned::to_owned),
                version_id: object.version_id,
            }),
            Ok(_) if quiet => {}
            Ok(deleted) => output.deleted.get_or_insert_default().push(DeletedObject {
                delete_marker: deleted.marker.then_some(true),
                delete_marker_version_id: deleted.version_id.filter(|_| deleted.marker),
                key: Some(object.key),
                version_id: object.version_id,
            }),
        }
    }

    Ok(S3Response::new(output))
}

fn delete_of_many(
    backend: &Backend,
    bucket: &Bucket,
    object: &ObjectIdentifier,
    bypass: bool,
    who: Option<&Credentials>,
) -> S3Result<Deleted> {
    let action = if object.version_id.is_some() {
        "DeleteObjectVersion"
    } else {
        "DeleteObject"
    };
    backend.access.check(who, action, Some(&object.key))?;
    if object.e_tag.is_some() || object.last_modified_time.is_some() || object.size.is_some() {
        return Err(not_implemented("conditions of a delete of many"));
    }
    delete(bucket, &object.key, object.version_id.as_deref(), bypass, None)
}
