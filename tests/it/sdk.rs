//! The SDK as it comes, for what the plug-in never asks of a store: cases that hold the embedded server against a real one.

use std::fmt::Debug;

use aws_sdk_s3::Client;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::RequestId;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use vastost::config::Bucket;
use vastost::config::credentials::KeyPair;

use vastost_testkit::test_store::{Site, current_thread_runtime, sdk_client};

/// A client of one bucket.
pub struct Sdk {
    runtime: tokio::runtime::Runtime,
    pub client: Client,
    pub bucket: Bucket,
}

/// Why a store refused: status, S3 code (none of a HEAD), headers.
#[derive(Debug)]
pub struct Refusal {
    pub status: u16,
    pub code: String,
    pub headers: Vec<(String, String)>,
}

impl Sdk {
    pub fn new(site: &Site) -> Self {
        Self::with_keys(site, &site.keys)
    }

    pub fn with_keys(site: &Site, keys: &KeyPair) -> Self {
        Self {
            runtime: current_thread_runtime(),
            client: sdk_client(&site.url, keys),
            bucket: site.bucket.clone(),
        }
    }

    /// The same client with a bucket that has Object Lock.
    pub fn with_lock(site: &Site) -> Self {
        let mut sdk = Self::new(site);
        sdk.bucket = format!("{}-lock", site.bucket).into();
        sdk.create_locked_bucket();
        sdk
    }

    /// The client of a bucket that keeps versions from now on.
    pub fn with_versions(site: &Site) -> Self {
        let sdk = Self::new(site);
        sdk.set_versioning(BucketVersioningStatus::Enabled);
        sdk
    }

    /// Creates the client's bucket, with Object Lock.
    pub fn create_locked_bucket(&self) {
        let made = self
            .client
            .create_bucket()
            .bucket(&self.bucket)
            .object_lock_enabled_for_bucket(true);
        self.run(made.send()).expect("a bucket with Object Lock");
    }

    pub fn set_versioning(&self, status: BucketVersioningStatus) {
        let configuration = VersioningConfiguration::builder().status(status).build();
        let set = self
            .client
            .put_bucket_versioning()
            .bucket(&self.bucket)
            .versioning_configuration(configuration);
        self.run(set.send()).expect("versioning");
    }

    pub fn run<F: Future>(&self, request: F) -> F::Output {
        self.runtime.block_on(request)
    }

    /// Puts an object; gives its version id, empty where there is none.
    pub fn put(&self, key: &str, body: &[u8]) -> String {
        let md5 = vastost::engine::checksum::Md5Sum::of(body).to_base64();
        let put = || {
            self.client
                .put_object()
                .bucket(&self.bucket)
                .key(key)
                .body(ByteStream::from(body.to_vec()))
        };
        // VersityGW answers some puts that meet others in one folder with 409; AWS says the same of conditional ones.
        let mut sent = refused(self.run(put().content_md5(&md5).send()));
        for _ in 0..20 {
            if !sent.as_ref().is_err_and(|refusal| refusal.status == 409) {
                break;
            }
            sent = refused(self.run(put().content_md5(&md5).send()));
        }
        sent.expect("put").version_id().unwrap_or_default().to_owned()
    }

    pub fn get(&self, key: &str, version_id: Option<&str>) -> Result<Vec<u8>, Refusal> {
        let get = self
            .client
            .get_object()
            .bucket(&self.bucket)
            .key(key)
            .set_version_id(version_id.map(Into::into));
        let answer = refused(self.run(get.send()))?;
        Ok(self.run(answer.body.collect()).expect("the whole body").to_vec())
    }

    /// Removes the current version, or one; gives whether it is or was a marker, and which.
    pub fn delete(&self, key: &str, version_id: Option<&str>) -> Result<(bool, String), Refusal> {
        let delete = self
            .client
            .delete_object()
            .bucket(&self.bucket)
            .key(key)
            .set_version_id(version_id.map(Into::into));
        let answer = refused(self.run(delete.send()))?;
        Ok((
            answer.delete_marker().unwrap_or_default(),
            answer.version_id().unwrap_or_default().to_owned(),
        ))
    }
}

/// The answer, or why there was none. A request that never came through fails the test.
pub fn refused<T, E>(sent: Result<T, SdkError<E, HttpResponse>>) -> Result<T, Refusal>
where
    E: ProvideErrorMetadata + Debug,
    SdkError<E, HttpResponse>: RequestId,
{
    sent.map_err(|error| {
        let response = error.raw_response().unwrap_or_else(|| panic!("no answer: {error:?}"));
        let headers = response
            .headers()
            .iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let code = error
            .as_service_error()
            .and_then(ProvideErrorMetadata::code)
            .unwrap_or_default();
        Refusal {
            status: response.status().as_u16(),
            code: code.to_owned(),
            headers: headers.collect(),
        }
    })
}

impl Refusal {
    pub fn is(&self, status: u16, code: &str) -> bool {
        (self.status, self.code.as_str()) == (status, code)
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers
            .iter()
            .find(|(is, _)| is == name)
            .map_or("", |(_, value)| value)
    }
}
