//! Buckets: made, looked at, removed; versioning.

use s3s::dto::*;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result};

use super::errors::{invalid_argument, not_implemented};
use super::operations::Backend;
use super::record::{Settings, Versioning};
use super::store::now;

type Answer<T> = S3Result<S3Response<T>>;

pub async fn create(backend: &Backend, request: S3Request<CreateBucketInput>) -> Answer<CreateBucketOutput> {
    let input = request.input;
    let object_lock = input.object_lock_enabled_for_bucket == Some(true);
    // Object Lock needs versions, so they come with it and stay.
    let versioning = if object_lock {
        Versioning::Enabled
    } else {
        Versioning::Never
    };
    let settings = Settings {
        created: Some(now()),
        versioning,
        object_lock,
        ..Settings::default()
    };

    if !backend.store.create_bucket(&input.bucket, &settings)? {
        let text = "Your previous request to create the named bucket succeeded and you already own it.";
        return Err(S3Error::with_message(S3ErrorCode::BucketAlreadyOwnedByYou, text));
    }
    Ok(S3Response::new(CreateBucketOutput {
        location: Some(format!("/{}", input.bucket)),
    }))
}

pub async fn delete(backend: &Backend, request: S3Request<DeleteBucketInput>) -> Answer<DeleteBucketOutput> {
    if !backend.store.delete_bucket(&request.input.bucket)? {
        let text = "The bucket you tried to delete is not empty";
        return Err(S3Error::with_message(S3ErrorCode::BucketNotEmpty, text));
    }
    Ok(S3Response::new(DeleteBucketOutput::default()))
}

pub async fn head(backend: &Backend, request: S3Request<HeadBucketInput>) -> Answer<HeadBucketOutput> {
    backend.bucket(&request.input.bucket)?;
    Ok(S3Response::new(HeadBucketOutput {
        bucket_region: Some("us-east-1".to_owned()),
        ..Default::default()
    }))
}

pub async fn list(backend: &Backend, request: S3Request<ListBucketsInput>) -> Answer<ListBucketsOutput> {
    let input = request.input;
    if input.continuation_token.is_some() || input.max_buckets.is_some() {
        return Err(not_implemented("pages of ListBuckets"));
    }
    let wanted = |name: &str| input.prefix.as_deref().is_none_or(|prefix| name.starts_with(prefix));
    let named = backend.store.buckets().into_iter().filter(|(name, _)| wanted(name));
    let buckets = named.map(|(name, bucket)| Bucket {
        creation_date: bucket.lock().settings.created.clone(),
        name: Some(name),
        ..Bucket::default()
    });
    let output = ListBucketsOutput {
        buckets: Some(buckets.collect()),
        prefix: input.prefix.clone(),
        ..Default::default()
    };
    Ok(S3Response::new(output))
}

pub async fn location(
    backend: &Backend,
    request: S3Request<GetBucketLocationInput>,
) -> Answer<GetBucketLocationOutput> {
    backend.bucket(&request.input.bucket)?;
    Ok(S3Response::new(GetBucketLocationOutput::default()))
}

pub async fn versioning(
    backend: &Backend,
    request: S3Request<GetBucketVersioningInput>,
) -> Answer<GetBucketVersioningOutput> {
    let status = match backend.bucket(&request.input.bucket)?.lock().settings.versioning {
        Versioning::Never => None,
        Versioning::Enabled => Some(BucketVersioningStatus::ENABLED),
        Versioning::Suspended => Some(BucketVersioningStatus::SUSPENDED),
    };
    let status = status.map(BucketVersioningStatus::from_static);
    Ok(S3Response::new(GetBucketVersioningOutput {
        status,
        ..Default::default()
    }))
}

pub async fn set_versioning(
    backend: &Backend,
    request: S3Request<PutBucketVersioningInput>,
) -> Answer<PutBucketVersioningOutput> {
    let bucket = backend.bucket(&request.input.bucket)?;
    let wanted = request.input.versioning_configuration;
    let versioning = match wanted.status.as_ref().map(BucketVersioningStatus::as_str) {
        Some(BucketVersioningStatus::ENABLED) => Versioning::Enabled,
        Some(BucketVersioningStatus::SUSPENDED) => Versioning::Suspended,
        _ => return Err(invalid_argument("The versioning status must be Enabled or Suspended")),
    };
    let mut state = bucket.lock();
    if state.settings.object_lock && versioning != Versioning::Enabled {
        let text = "An Object Lock configuration is present on this bucket, so the versioning state cannot be changed.";
        return Err(S3Error::with_message(S3ErrorCode::InvalidBucketState, text));
    }
    let settings = Settings {
        versioning,
        ..state.settings.clone()
    };
    bucket.save_settings(&mut state, settings)?;
    Ok(S3Response::new(PutBucketVersioningOutput::default()))
}
