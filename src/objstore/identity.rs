//! Access keys for the SDK, from each source that the configuration can name.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use aws_sdk_s3::config::Region;
use aws_smithy_async::rt::sleep::TokioSleep;

use super::transport::Transport;
use crate::config::Server;
use crate::config::credentials::{KeyPair, Source};
use crate::error::{Error, Kind, Result};

/// A credentials file is read again after so long, so that keys can be rotated without a restart.
const FILE_AGE: Duration = Duration::from_secs(300);

/// The provider for `server`; `given` are the user and password that the host passed, if any.
pub async fn provider(
    server: &Server,
    given: Option<KeyPair>,
    transport: &Transport,
) -> Result<SharedCredentialsProvider> {
    let environment = || {
        ProviderConfig::empty()
            .with_http_client(transport.clone())
            .with_sleep_impl(TokioSleep::new())
            .with_region(Some(Region::new(server.region.clone())))
    };
    Ok(match &server.credentials {
        Source::NetBackup => {
            let pair = given.ok_or_else(|| missing(&server.name))?;
            SharedCredentialsProvider::new(Credentials::new(
                pair.access_key_id,
                pair.secret_access_key,
                None,
                None,
                "netbackup",
            ))
        }
        Source::File(path) => {
            KeyPair::load(path)?;
            SharedCredentialsProvider::new(FileKeys(path.clone()))
        }
        Source::Profile(name) => SharedCredentialsProvider::new(
            ProfileFileCredentialsProvider::builder().configure(&environment()).profile_name(name).build(),
        ),
        Source::Aws => {
            SharedCredentialsProvider::new(DefaultCredentialsChain::builder().configure(environment()).build().await)
        }
    })
}

fn missing(server: &str) -> Error {
    let what = format!(
        "server {server} takes its keys from NetBackup, and the call brought none: add them with tpconfig, or set server.{server}.credentials"
    );
    Error::new(Kind::Unauthorized, what)
}

#[derive(Debug)]
struct FileKeys(PathBuf);

impl ProvideCredentials for FileKeys {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let loaded = KeyPair::load(&self.0).map_err(CredentialsError::provider_error);
        let expiry = SystemTime::now() + FILE_AGE;
        future::ProvideCredentials::ready(loaded.map(|pair| {
            Credentials::new(pair.access_key_id, pair.secret_access_key, None, Some(expiry), "vastost file")
        }))
    }
}
