//! Access keys for the SDK, from each source that the configuration can name, read again when they may be others by
//! now.
//!
//! Keys are kept until one of these: they are about to expire; the file that they came from has changed (looked at once
//! a second, where there is one); they never expire and are five minutes old; the store has refused them. A refusal
//! asks the source at once, one request for all, a service no more often than every [`RATE`]; a request that was
//! refused is tried again when the source may have other keys, so that a job survives a rotation. Keys that cannot be
//! read again stay in use until they expire. The SDK's own cache is switched off: it cannot be told that keys were
//! refused.

use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, future};
use aws_sdk_s3::config::Region;
use aws_smithy_async::rt::sleep::TokioSleep;
use aws_smithy_runtime_api::client::interceptors::context::InterceptorContext;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::retries::classifiers::{
    ClassifyRetry, RetryAction, RetryClassifierPriority, RetryReason,
};
use aws_smithy_types::retry::ErrorKind;

use crate::config::Server;
use crate::config::credentials::{KeyPair, Source};
use crate::error::{Error, Kind, Result};
use crate::objstore::transport::connector::Transport;

/// Keys that never expire are read again after so long, should a change of the file have gone unnoticed.
const AGE_MAX: Duration = Duration::from_secs(300);
/// How long a source may take.
const ASK_MAX: Duration = Duration::from_secs(10);
/// Between two looks at the files that keys come from.
const LOOK: Duration = Duration::from_secs(1);
/// Temporary keys are asked for anew so long before they end.
const BEFORE_EXPIRY: Duration = Duration::from_secs(60);
/// Between two times that a refusal asks the source.
const RATE: Duration = Duration::from_secs(5);
/// Requests that were on their way with the old keys come back within this time after a change.
const UNDER_WAY: Duration = Duration::from_secs(30);
/// How much of an answer is searched for the store's code.
const BODY_MAX: usize = 4096;
/// Refusals of keys that do not come with 401 or 403.
const REFUSALS: [&str; 4] = [
    "ExpiredToken",
    "InvalidToken",
    "TokenRefreshRequired",
    "InvalidAccessKeyId",
];

/// The keys of one server; clones share them.
#[derive(Clone)]
pub struct Keys {
    shared: Arc<Shared>,
}

struct Shared {
    source: Source,
    /// What NetBackup passed.
    given: Option<Credentials>,
    transport: Transport,
    region: String,
    held: Mutex<Held>,
    /// Held by the one request that asks the source.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Held {
    credentials: Option<Credentials>,
    read: Option<Instant>,
    looked: Option<Instant>,
    stamps: Vec<Stamp>,
    /// When other keys than before came.
    changed: Option<Instant>,
    refused: bool,
}

/// What tells one state of a file from another.
#[derive(PartialEq, Eq)]
struct Stamp(Option<(u64, u64, i64, i64)>);

impl Keys {
    /// Checks what can be checked at once; `given` are the user and password that the host passed, if any.
    pub fn new(server: &Server, given: Option<KeyPair>, transport: &Transport) -> Result<Self> {
        let given = match (&server.credentials, given) {
            (Source::NetBackup, None) => return Err(missing(&server.name)),
            (Source::NetBackup, Some(pair)) => Some(from_pair(pair, "netbackup")),
            (Source::File(path), _) => KeyPair::load(path).map(|_| None)?,
            (Source::Profile(_) | Source::Aws, _) => None,
        };

        let shared = Shared {
            source: server.credentials.clone(),
            given,
            transport: transport.clone(),
            region: server.region.clone(),
            held: Mutex::default(),
            asking: tokio::sync::Mutex::default(),
        };

        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    async fn credentials(&self) -> std::result::Result<Credentials, CredentialsError> {
        if let Some(credentials) = self.fresh() {
            return Ok(credentials);
        }

        let _one = self.shared.asking.lock().await;

        // Another request has asked meanwhile.
        if let Some(credentials) = self.fresh() {
            return Ok(credentials);
        }

        let stamps = self.stamps();
        let late = |_| Err(CredentialsError::provider_timed_out(ASK_MAX));

        match tokio::time::timeout(ASK_MAX, self.ask()).await.unwrap_or_else(late) {
            Ok(credentials) => Ok(self.keep(credentials, stamps)),
            Err(error) => self.keep_old(error),
        }
    }

    /// The keys that are held, while nothing says that there may be others.
    fn fresh(&self) -> Option<Credentials> {
        let mut held = self.held();
        let credentials = held.credentials.clone()?;
        let read = held.read?;
        let now = Instant::now();
        let old = match credentials.expiry() {
            Some(end) => end < SystemTime::now() + BEFORE_EXPIRY && now - read > RATE,
            None => now - read > AGE_MAX,
        };

        if old || held.refused {
            return None;
        }

        if held.looked.is_none_or(|looked| now - looked > LOOK) {
            held.looked = Some(now);
            if self.stamps() != held.stamps {
                // Until they have been asked for: whoever waits for that must not take the old ones either.
                held.refused = true;
                return None;
            }
        }

        Some(credentials)
    }

    async fn ask(&self) -> std::result::Result<Credentials, CredentialsError> {
        // Built anew each time: the SDK's providers read their files once.
        let environment = ProviderConfig::empty()
            .with_http_client(self.shared.transport.clone())
            .with_sleep_impl(TokioSleep::new())
            .with_region(Some(Region::new(self.shared.region.clone())));

        match (&self.shared.source, &self.shared.given) {
            (_, Some(given)) => Ok(given.clone()),
            (Source::NetBackup, None) => Err(CredentialsError::not_loaded("NetBackup passed no keys")),
            (Source::File(path), _) => {
                let pair = KeyPair::load(path).map_err(CredentialsError::provider_error)?;
                Ok(from_pair(pair, "vastost file"))
            }
            (Source::Profile(name), _) => {
                let builder = ProfileFileCredentialsProvider::builder().configure(&environment);
                builder.profile_name(name).build().provide_credentials().await
            }
            (Source::Aws, _) => {
                let chain = DefaultCredentialsChain::builder().configure(environment).build().await;
                chain.provide_credentials().await
            }
        }
    }

    fn keep(&self, credentials: Credentials, stamps: Vec<Stamp>) -> Credentials {
        let mut held = self.held();
        let now = Instant::now();
        if held
            .credentials
            .as_ref()
            .is_some_and(|before| !same(before, &credentials))
        {
            tracing::info!("the access key is {} from now on", credentials.access_key_id());
            held.changed = Some(now);
        }

        held.credentials = Some(credentials.clone());
        held.read = Some(now);
        held.looked = Some(now);
        held.stamps = stamps;
        held.refused = false;

        credentials
    }

    /// Keys that have not ended serve on while the source gives none.
    fn keep_old(&self, error: CredentialsError) -> std::result::Result<Credentials, CredentialsError> {
        let mut held = self.held();
        let valid = |old: &Credentials| old.expiry().is_none_or(|end| end > SystemTime::now());
        let Some(old) = held.credentials.clone().filter(valid) else {
            return Err(error);
        };
        tracing::warn!("read access keys again: {}", crate::error::chain(&error));
        held.read = Some(Instant::now());
        held.refused = false;
        // Looked at again, so that a file that is being replaced is taken as soon as it is whole.
        held.stamps = Vec::new();
        Ok(old)
    }

    /// The store has refused the keys; true when the request is worth another try.
    fn were_refused(&self) -> bool {
        let source = &self.shared.source;
        let mut held = self.held();
        if *source == Source::NetBackup {
            return false;
        }

        let lately = |at: Option<Instant>, within| at.is_some_and(|at| at.elapsed() < within);
        if held.refused || lately(held.changed, UNDER_WAY) {
            return true;
        }

        // A file that has not changed has no other keys; behind a profile there may be a service that has.
        let may_be_others = match source {
            Source::File(_) => false,
            _ => !lately(held.read, RATE),
        };

        held.refused = may_be_others || self.stamps() != held.stamps;
        held.refused
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.shared.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stamps(&self) -> Vec<Stamp> {
        files(&self.shared.source).iter().map(Stamp::of).collect()
    }
}

impl Stamp {
    fn of(path: &PathBuf) -> Self {
        let metadata = std::fs::metadata(path).ok();
        Self(metadata.map(|file| (file.ino(), file.size(), file.mtime(), file.mtime_nsec())))
    }
}

impl ProvideCredentials for Keys {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.credentials())
    }
}

impl ClassifyRetry for Keys {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        let refused = matches!(context.output_or_error(), Some(Err(_))) && context.response().is_some_and(refuses_keys);
        if !refused || !self.were_refused() {
            return RetryAction::NoActionIndicated;
        }
        tracing::info!("the store refused the access key; it is read again");
        RetryAction::RetryIndicated(RetryReason::RetryableError {
            kind: ErrorKind::ServerError,
            retry_after: None,
        })
    }

    fn name(&self) -> &'static str {
        "vastost access keys"
    }

    fn priority(&self) -> RetryClassifierPriority {
        RetryClassifierPriority::run_after(RetryClassifierPriority::transient_error_classifier())
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys")
            .field("source", &self.shared.source)
            .finish_non_exhaustive()
    }
}

/// By the status, or by the code where a store sends 400.
fn refuses_keys(response: &HttpResponse) -> bool {
    match response.status().as_u16() {
        401 | 403 => true,
        400 => {
            let body = response.body().bytes().unwrap_or_default();
            let text = String::from_utf8_lossy(body.get(..body.len().min(BODY_MAX)).unwrap_or_default());
            REFUSALS
                .iter()
                .any(|code| text.contains(&format!("<Code>{code}</Code>")))
        }
        _ => false,
    }
}

/// The files that a source reads: a change of one may mean other keys.
fn files(source: &Source) -> Vec<PathBuf> {
    let of_aws = |variable: &str, name: &str| {
        let named = std::env::var_os(variable)
            .filter(|path| !path.is_empty())
            .map(PathBuf::from);
        named.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".aws").join(name)))
    };

    match source {
        Source::NetBackup => Vec::new(),
        Source::File(path) => vec![path.clone()],
        Source::Profile(_) | Source::Aws => {
            let both = [
                of_aws("AWS_SHARED_CREDENTIALS_FILE", "credentials"),
                of_aws("AWS_CONFIG_FILE", "config"),
            ];
            both.into_iter().flatten().collect()
        }
    }
}

fn from_pair(pair: KeyPair, name: &'static str) -> Credentials {
    Credentials::new(
        pair.access_key_id,
        pair.secret_access_key,
        pair.session_token,
        None,
        name,
    )
}

fn same(one: &Credentials, other: &Credentials) -> bool {
    one.access_key_id() == other.access_key_id()
        && one.secret_access_key() == other.secret_access_key()
        && one.session_token() == other.session_token()
}

fn missing(server: &str) -> Error {
    let what = format!(
        "server {server} takes its keys from NetBackup, and the call brought none: add them with tpconfig, or set server.{server}.credentials"
    );
    Error::new(Kind::Unauthorized, what)
}

#[cfg(test)]
#[path = "credentials_tests.rs"]
mod tests;
