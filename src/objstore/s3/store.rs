//! [`Store`]: one method per S3 operation, all async, all idempotent under the SDK's retries. Those of multipart uploads are
//! in [`super::multipart`], the GETs in [`super::get`].

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::{ReconnectMode, RetryConfig, RetryPartition};
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, IdentityCache, Region, RequestChecksumCalculation, ResponseChecksumValidation,
    StalledStreamProtectionConfig,
};
use aws_sdk_s3::types::ChecksumMode;
use aws_smithy_async::rt::sleep::{SharedAsyncSleep, TokioSleep};
use aws_smithy_runtime::client::retries::TokenBucket;
use futures::FutureExt;

use super::capabilities::{Buckets, Capabilities};
use super::credentials::Keys;
use super::hedge::Hedges;
use super::retry::ServerHints;
use super::sdk_error;
use super::types::ObjectInfo;
use crate::config::credentials::KeyPair;
use crate::config::{Bucket, Config, QUERY_ATTEMPTS_MAX, Retry, Server, Transfer};
use crate::engine::md5_lanes::Md5Lanes;
use crate::engine::pool::BufferPool;
use crate::engine::process::Engine;
use crate::error::{Error, Found, Kind, Result};
use crate::metrics::request::ServerMetrics;
use crate::net::dialer::Dialler;
use crate::net::server_clock::ServerClock;
use crate::net::tls;
use crate::objstore::transport::connector::Transport;
use crate::objstore::transport::effort::{Effort, longest_wait};

/// A user has 10,000 buckets on AWS at most, which are ten pages.
const BUCKET_PAGES_MAX: u32 = 100;
/// Tries of a request whose end its effort decides.
const TRIES_MAX: u32 = 100_000;

/// How often a fresh object that is not found is asked for before that may be true.
const FRESH_ASKS: u32 = 6;

/// One server's buckets; clones share connections, retries and buffers.
#[derive(Clone)]
pub struct Store {
    pub(in crate::objstore) shared: Arc<Shared>,
}

pub(in crate::objstore) struct Shared {
    pub(in crate::objstore) client: Client,
    runtime: tokio::runtime::Handle,
    pool: Arc<BufferPool>,
    md5: Arc<Md5Lanes>,
    transfer: Transfer,
    pub(in crate::objstore) retry: Retry,
    endpoint: String,
    https: bool,
    clock: ServerClock,
    pub(in crate::objstore) hedges: Hedges,
    metrics: Arc<ServerMetrics>,
    pub(in crate::objstore) buckets: Buckets,
}

impl Store {
    /// Sets the client up; sends nothing. `given` are keys that the host passed.
    pub fn new(engine: &Engine, config: &Config, server: &Server, given: Option<KeyPair>) -> Result<Self> {
        let trust = tls::for_server(server)?;
        let dialler = Dialler::new(&server.endpoint, trust, &config.transfer, &config.retry);
        let metrics = ServerMetrics::new(&engine.metrics, server);
        let transport = Transport::new(dialler, &config.transfer, Arc::clone(&metrics));
        let hedges = Hedges::new(
            transport.addresses(),
            Arc::clone(&metrics),
            &config.retry,
            &config.transfer,
        );
        let runtime = engine.runtime.handle().clone();
        let clock = transport.clock();
        let keys = Keys::new(server, given, &transport)?;
        let settings = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .http_client(transport)
            .sleep_impl(SharedAsyncSleep::new(TokioSleep::new()))
            .endpoint_url(server.endpoint.url())
            .region(Region::new(server.region.clone()))
            // Names of buckets in the host part would need wildcard DNS and certificates.
            .force_path_style(true)
            .credentials_provider(keys.clone())
            // They keep themselves, and are read again when the store refuses them.
            .identity_cache(IdentityCache::no_cache())
            // The defaults add a CRC32 pass and aws-chunked bodies that VAST does not document.
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            // It kills healthy uploads to slow servers; deadlines per attempt and stall are ours.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .retry_config(retry_config(
                &config.retry,
                config.retry.attempts.min(QUERY_ATTEMPTS_MAX),
            ))
            .retry_classifier(ServerHints)
            .retry_classifier(keys)
            .retry_partition(retry_partition(&server.name, &config.retry))
            .timeout_config(timeouts(&config.retry, Duration::ZERO, config.retry.operation_timeout));
        let shared = Shared {
            client: Client::from_conf(settings.build()),
            runtime,
            pool: Arc::clone(&engine.pool),
            md5: Arc::clone(&engine.md5),
            transfer: config.transfer.clone(),
            retry: config.retry.clone(),
            endpoint: server.endpoint.url(),
            https: server.endpoint.https,
            clock,
            hedges,
            metrics,
            buckets: Buckets::new(server.endpoint.url(), &config.state_dir),
        };

        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    pub(crate) fn runtime(&self) -> &tokio::runtime::Handle {
        &self.shared.runtime
    }

    pub(crate) fn pool(&self) -> &Arc<BufferPool> {
        &self.shared.pool
    }

    pub(crate) fn md5(&self) -> &Arc<Md5Lanes> {
        &self.shared.md5
    }

    pub fn metrics(&self) -> &Arc<ServerMetrics> {
        &self.shared.metrics
    }

    pub fn transfer(&self) -> &Transfer {
        &self.shared.transfer
    }

    pub fn retry(&self) -> &Retry {
        &self.shared.retry
    }

    pub fn endpoint(&self) -> &str {
        &self.shared.endpoint
    }

    /// True when TLS proves every byte that comes; over plain http one may have flipped on the way.
    pub(in crate::objstore) fn is_authenticated(&self) -> bool {
        self.shared.https
    }

    /// What is known of the bucket now, without asking; nothing is proven where nothing is known. A job goes on with what
    /// it began with, however old that gets meanwhile.
    pub fn known(&self, bucket: &Bucket) -> Capabilities {
        self.shared.buckets.known(bucket)
    }

    /// See [`Buckets::contradicted`].
    pub fn contradicted(&self, bucket: &Bucket, what: &str, correct: impl FnOnce(&mut Capabilities)) {
        self.shared.buckets.contradicted(bucket, what, correct);
    }

    /// Now by the server's clock, seconds since 1970, as its last answer told; None before the first one. Ages of
    /// objects are counted with it alone, since clocks of hosts may be wrong.
    pub fn server_now(&self) -> Option<u64> {
        self.shared.clock.now()
    }

    pub async fn head(&self, bucket: &Bucket, key: &str) -> Result<ObjectInfo> {
        self.shared
            .hedges
            .ask("HeadObject", || self.try_head(bucket, key))
            .await
    }

    async fn try_head(&self, bucket: &Bucket, key: &str) -> Result<ObjectInfo> {
        // Without the mode a server that knows the object's checksum does not tell it.
        let request = self
            .shared
            .client
            .head_object()
            .bucket(bucket)
            .key(key)
            .checksum_mode(ChecksumMode::Enabled);
        let sent = request
            .customize()
            .config_override(self.deadlines(0))
            .send()
            .boxed()
            .await;
        let reply = sent.map_err(|e| sdk_error::convert("head", &path(bucket, key), &e))?;
        let size = match reply.content_length().and_then(|len| u64::try_from(len).ok()) {
            Some(size) => size,
            None => self.size_by_range(bucket, key, reply.e_tag()).await?,
        };
        Ok(ObjectInfo {
            size,
            ..ObjectInfo::of_head(&reply)
        })
    }

    /// HEAD of an object that was just put. One front-end of a cluster may not know yet what another has taken, so that
    /// the object is not there is believed only when it was asked for some times and no listing has it either.
    pub async fn head_fresh(&self, bucket: &Bucket, key: &str) -> Result<ObjectInfo> {
        let mut wait = self.shared.retry.backoff_initial;
        for _ in 0..FRESH_ASKS {
            match self.head(bucket, key).await {
                Err(error) if error.kind() == Kind::NotFound => tracing::debug!("ask again: {error}"),
                other => return other,
            }
            tokio::time::sleep(wait.min(self.shared.retry.backoff_max)).await;
            wait *= 2;
        }
        let listed = self.find(bucket, key).await?.is_some();
        match self.head(bucket, key).await {
            Err(error) if listed && error.kind() == Kind::NotFound => {
                Err(error.context("a listing has the object").with_kind(Kind::Unavailable))
            }
            other => other,
        }
    }

    /// DeleteObject; deleting what is not there is no error.
    pub async fn delete(&self, bucket: &Bucket, key: &str, version_id: Option<&str>) -> Result<()> {
        self.try_delete(bucket, key, version_id).await.map(drop)
    }

    /// [`Store::delete`] of no version; true when the answer says that this made a delete marker.
    pub async fn delete_told(&self, bucket: &Bucket, key: &str) -> Result<bool> {
        self.try_delete(bucket, key, None).await
    }

    async fn try_delete(&self, bucket: &Bucket, key: &str, version_id: Option<&str>) -> Result<bool> {
        let request = self.shared.client.delete_object().bucket(bucket).key(key);
        let request = request.set_version_id(version_id.map(ToOwned::to_owned));
        let sent = request
            .customize()
            .config_override(self.deadlines(0))
            .send()
            .boxed()
            .await;
        let reply = sent
            .map_err(|e| sdk_error::convert("delete", &path(bucket, key), &e))
            .if_found()?;
        Ok(reply.is_some_and(|reply| reply.delete_marker().unwrap_or_default()))
    }

    pub async fn head_bucket(&self, bucket: &Bucket) -> Result<()> {
        self.shared
            .hedges
            .ask("HeadBucket", || self.try_head_bucket(bucket))
            .await
    }

    async fn try_head_bucket(&self, bucket: &Bucket) -> Result<()> {
        let sent = self.shared.client.head_bucket().bucket(bucket).send().boxed().await;
        sent.map(drop)
            .map_err(|e| match sdk_error::convert("head bucket", bucket, &e) {
                // HEAD has no body, so no S3 code: the status alone says it.
                error if error.kind() == Kind::NotFound => error.with_kind(Kind::LsuNotFound),
                error => error,
            })
    }

    pub async fn create_bucket(&self, bucket: &Bucket) -> Result<()> {
        let sent = self.shared.client.create_bucket().bucket(bucket).send().boxed().await;
        sent.map(drop)
            .map_err(|e| sdk_error::convert("create bucket", bucket, &e))
    }

    pub async fn list_buckets(&self) -> Result<Vec<Bucket>> {
        self.shared.hedges.ask("ListBuckets", || self.try_list_buckets()).await
    }

    async fn try_list_buckets(&self) -> Result<Vec<Bucket>> {
        let mut buckets = Vec::new();
        let mut token = None;
        for _ in 0..BUCKET_PAGES_MAX {
            let sent = self
                .shared
                .client
                .list_buckets()
                .set_continuation_token(token)
                .send()
                .boxed()
                .await;
            let reply = sent.map_err(|e| sdk_error::convert("list buckets of", &self.shared.endpoint, &e))?;
            for bucket in reply.buckets() {
                let nameless = || Error::new(Kind::Unavailable, "list buckets: one has no name");
                buckets.push(bucket.name().ok_or_else(nameless)?.into());
            }
            token = reply
                .continuation_token()
                .filter(|token| !token.is_empty())
                .map(ToOwned::to_owned);
            if token.is_none() {
                return Ok(buckets);
            }
        }

        let what = format!("list buckets of {}: the list does not end", self.shared.endpoint);
        Err(Error::new(Kind::Unavailable, what))
    }

    /// For requests that move or change something: each try gets the time that `bytes` need at the floor rate, refusals
    /// are counted up to `attempts`, and silence is waited out as long as `operation_timeout` lasts.
    pub(in crate::objstore) fn deadlines(&self, bytes: u64) -> aws_sdk_s3::config::Builder {
        let retry = &self.shared.retry;
        let attempt = Duration::from_secs(bytes / retry.floor_rate_bytes.max(1));
        self.deadlines_within(
            attempt,
            retry.operation_timeout.max(attempt),
            &self.effort(retry.operation_timeout.max(attempt)),
        )
    }

    /// What an operation of so much time may cost.
    pub(in crate::objstore) fn effort(&self, time: Duration) -> Effort {
        Effort::new(&self.shared.retry, self.shared.retry.attempts, time)
    }

    /// The same for tries of at least `attempt`, all within `time`, which share the `effort` with others.
    pub(in crate::objstore) fn deadlines_within(
        &self,
        attempt: Duration,
        time: Duration,
        effort: &Effort,
    ) -> aws_sdk_s3::config::Builder {
        let retry = &self.shared.retry;
        // Who configures one attempt wants to hear of the first failure, whatever it is.
        let attempts = if retry.attempts == 1 { 1 } else { TRIES_MAX };
        self.tries_within(attempt, time, attempts, effort)
    }

    /// The same for at most so many tries.
    pub(in crate::objstore) fn tries_within(
        &self,
        attempt: Duration,
        time: Duration,
        attempts: u32,
        effort: &Effort,
    ) -> aws_sdk_s3::config::Builder {
        let retry = &self.shared.retry;
        aws_sdk_s3::Config::builder()
            .timeout_config(timeouts(retry, attempt, time))
            .retry_config(retry_config(retry, attempts).with_max_backoff(longest_wait(retry, time)))
            .interceptor(effort.clone())
    }
}

/// No attempt gets less than `attempt_timeout`, and none more than the whole.
fn timeouts(retry: &Retry, attempt: Duration, operation: Duration) -> TimeoutConfig {
    let attempt = attempt.max(retry.attempt_timeout).min(operation);
    TimeoutConfig::builder()
        .operation_attempt_timeout(attempt)
        .operation_timeout(operation)
        .build()
}

fn retry_config(retry: &Retry, attempts: u32) -> RetryConfig {
    RetryConfig::standard()
        .with_max_attempts(attempts)
        .with_initial_backoff(retry.backoff_initial)
        .with_max_backoff(retry.backoff_max)
        // The default closes connections exactly when the server is overloaded; broken ones are noticed anyway.
        .with_reconnect_mode(ReconnectMode::ReuseAllConnections)
}

/// The SDK's own bucket is shared by the whole process and empty after fifty failures.
fn retry_partition(server: &str, retry: &Retry) -> RetryPartition {
    // The tokens keep a store that refuses from being asked too much; silence costs none, its time is bounded anyway.
    let bucket = TokenBucket::builder()
        .capacity(retry.token_bucket)
        .timeout_retry_cost(0)
        .build();
    RetryPartition::custom(format!("vastost-{server}"))
        .token_bucket(bucket)
        .build()
}

pub(in crate::objstore) fn path(bucket: &Bucket, key: &str) -> String {
    format!("{bucket}/{key}")
}

pub(in crate::objstore) fn len_i64(len: u64) -> i64 {
    i64::try_from(len).unwrap_or(i64::MAX)
}
