//! Which function answers which operation; what is not named here is `NotImplemented`.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use s3s::dto::*;
use s3s::{S3, S3Request, S3Response, S3Result};

use super::access::Access;
use super::index::Bucket;
use super::ingest::Engine;
use super::store::Store;
use super::{bucket, complete, copy, delete, list, lock, multipart, parts, read, versions, write};

pub type BoxFuture<'f, T> = Pin<Box<dyn Future<Output = T> + Send + 'f>>;

/// What every operation works on.
pub struct Backend {
    pub store: Arc<Store>,
    pub engine: Engine,
    pub access: Arc<Access>,
    /// Checksum headers are looked at; else they are passed over, as by a store that does not know them.
    pub checksums: Arc<AtomicBool>,
}

impl Backend {
    pub fn bucket(&self, name: &str) -> S3Result<Arc<Bucket>> {
        self.store.bucket(name)
    }

    pub fn knows_checksums(&self) -> bool {
        self.checksums.load(Ordering::Relaxed)
    }
}

/// Writes out what `#[async_trait]` would, for each line a method that hands the request on.
macro_rules! operations {
    ($($operation:ident: $input:ident => $output:ident, $answer:path;)*) => {
        impl S3 for Backend {
            $(
                fn $operation<'a, 'f>(
                    &'a self,
                    request: S3Request<$input>,
                ) -> BoxFuture<'f, S3Result<S3Response<$output>>>
                where
                    'a: 'f,
                    Self: 'f,
                {
                    Box::pin($answer(self, request))
                }
            )*
        }
    };
}

operations! {
    create_bucket: CreateBucketInput => CreateBucketOutput, bucket::create;
    delete_bucket: DeleteBucketInput => DeleteBucketOutput, bucket::delete;
    head_bucket: HeadBucketInput => HeadBucketOutput, bucket::head;
    list_buckets: ListBucketsInput => ListBucketsOutput, bucket::list;
    get_bucket_location: GetBucketLocationInput => GetBucketLocationOutput, bucket::location;
    get_bucket_versioning: GetBucketVersioningInput => GetBucketVersioningOutput, bucket::versioning;
    put_bucket_versioning: PutBucketVersioningInput => PutBucketVersioningOutput, bucket::set_versioning;

    put_object: PutObjectInput => PutObjectOutput, write::put;
    get_object: GetObjectInput => GetObjectOutput, read::get;
    head_object: HeadObjectInput => HeadObjectOutput, read::head;
    get_object_attributes: GetObjectAttributesInput => GetObjectAttributesOutput, read::attributes;
    copy_object: CopyObjectInput => CopyObjectOutput, copy::object;
    delete_object: DeleteObjectInput => DeleteObjectOutput, delete::one;
    delete_objects: DeleteObjectsInput => DeleteObjectsOutput, delete::many;

    create_multipart_upload: CreateMultipartUploadInput => CreateMultipartUploadOutput, multipart::begin;
    upload_part: UploadPartInput => UploadPartOutput, multipart::part;
    upload_part_copy: UploadPartCopyInput => UploadPartCopyOutput, copy::part;
    complete_multipart_upload: CompleteMultipartUploadInput => CompleteMultipartUploadOutput, complete::complete;
    abort_multipart_upload: AbortMultipartUploadInput => AbortMultipartUploadOutput, complete::abort;
    list_parts: ListPartsInput => ListPartsOutput, parts::of_upload;
    list_multipart_uploads: ListMultipartUploadsInput => ListMultipartUploadsOutput, parts::uploads;

    list_objects: ListObjectsInput => ListObjectsOutput, list::first_version;
    list_objects_v2: ListObjectsV2Input => ListObjectsV2Output, list::second_version;
    list_object_versions: ListObjectVersionsInput => ListObjectVersionsOutput, versions::list;

    get_object_lock_configuration: GetObjectLockConfigurationInput => GetObjectLockConfigurationOutput, lock::configuration;
    put_object_lock_configuration: PutObjectLockConfigurationInput => PutObjectLockConfigurationOutput, lock::configure;
    get_object_retention: GetObjectRetentionInput => GetObjectRetentionOutput, lock::retention;
    put_object_retention: PutObjectRetentionInput => PutObjectRetentionOutput, lock::retain;
    get_object_legal_hold: GetObjectLegalHoldInput => GetObjectLegalHoldOutput, lock::legal_hold;
    put_object_legal_hold: PutObjectLegalHoldInput => PutObjectLegalHoldOutput, lock::hold;
}
