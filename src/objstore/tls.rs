//! TLS: whom we trust, under which name, HTTP/1.1 only.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};

use crate::config::credentials::Source;
use crate::config::{Endpoint, Server, Tls};
use crate::error::{Error, Kind, Result, ResultExt};

/// What a dialler needs to speak TLS to one endpoint.
#[derive(Clone)]
pub struct TlsSetup {
    pub config: Arc<ClientConfig>,
    /// The configured name: what SNI carries and the certificate must match, whichever address is dialled.
    pub server_name: ServerName<'static>,
}

/// Whom one server's dialler trusts.
#[derive(Clone, Default)]
pub struct Trust {
    /// None: the endpoint is reached by http.
    pub endpoint: Option<TlsSetup>,
    /// For services that give credentials, each under its own name; None where nobody asks any.
    pub services: Option<Arc<ClientConfig>>,
}

/// The AWS chain, and profiles with single sign-on or a role to assume, ask services by https, whatever the endpoint is
/// reached by. Most of them never do, so there a failure is none yet: should one be dialled, that is an error.
pub fn for_server(server: &Server) -> Result<Trust> {
    let endpoint = server.endpoint.https.then(|| setup(&server.endpoint, &server.tls)).transpose()?;
    let services = match (&server.credentials, &endpoint) {
        (Source::NetBackup | Source::File(_), _) => None,
        // Both trust the system: its authorities are read once.
        (Source::Aws | Source::Profile(_), Some(endpoint)) if server.tls.ca_file.is_none() => {
            Some(Arc::clone(&endpoint.config))
        }
        (Source::Aws | Source::Profile(_), _) => for_services(&server.tls)
            .inspect_err(|error| tracing::warn!("credential services cannot be reached by https: {error}"))
            .ok(),
    };
    Ok(Trust { endpoint, services })
}

/// Reads the trust store and checks the server name.
pub fn setup(endpoint: &Endpoint, tls: &Tls) -> Result<TlsSetup> {
    let name = tls.server_name.as_deref().unwrap_or(&endpoint.host).to_owned();
    let server_name =
        ServerName::try_from(name.clone()).or_kind(Kind::Config, || format!("use {name} as TLS server name"))?;
    Ok(TlsSetup { config: client_config(tls)?, server_name })
}

/// A client configuration that trusts `tls.ca_file`, or the system's authorities when none is given.
fn client_config(tls: &Tls) -> Result<Arc<ClientConfig>> {
    with_roots(match &tls.ca_file {
        Some(file) => roots_of(file)?,
        None => system_roots()?,
    })
}

/// Trusts both: a service on the premises may have the cluster's authority, those of AWS have the public ones.
fn for_services(tls: &Tls) -> Result<Arc<ClientConfig>> {
    let own = tls.ca_file.as_deref().map(roots_of).transpose()?;
    with_roots(match (own, system_roots()) {
        (None, system) => system?,
        (Some(own), Err(_)) => own,
        (Some(own), Ok(mut both)) => {
            both.roots.extend(own.roots);
            both
        }
    })
}

fn with_roots(roots: RootCertStore) -> Result<Arc<ClientConfig>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .or_kind(Kind::Internal, || "choose TLS versions".into())?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    // One HTTP/2 connection would funnel every part through one socket to one node.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn roots_of(file: &Path) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let what = || format!("read CA file {}", file.display());
    for certificate in CertificateDer::pem_file_iter(file).or_kind(Kind::Config, what)? {
        roots.add(certificate.or_kind(Kind::Config, what)?).or_kind(Kind::Config, what)?;
    }
    if roots.is_empty() {
        return Err(Error::new(Kind::Config, format!("CA file {} holds no PEM certificate", file.display())));
    }
    Ok(roots)
}

fn system_roots() -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let causes: Vec<_> = found.errors.iter().map(ToString::to_string).collect();
        let what = format!("the system has no trusted authorities ({}); set tls.ca_file", causes.join("; "));
        return Err(Error::new(Kind::Config, what));
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn trust(url: &str, credentials: &str) -> Trust {
        let folder = tempfile::tempdir().unwrap();
        let authority = rcgen::generate_simple_self_signed(["vast.example".to_owned()]).unwrap();
        std::fs::write(folder.path().join("ca.pem"), authority.cert.pem()).unwrap();
        let text = format!(
            "[server.v]\nendpoints = [\"{url}\"]\ncredentials = {credentials}\ntls = {{ ca_file = \"ca.pem\" }}\n"
        );
        let config = Config::parse(&text, &folder.path().join("vastost.toml")).unwrap();
        for_server(config.server("v").unwrap()).unwrap()
    }

    #[test]
    fn services_are_trusted_where_credentials_may_come_from_them_over_an_http_endpoint_too() {
        let has = |url: &str, credentials: &str| {
            let trust = trust(url, credentials);
            (trust.endpoint.is_some(), trust.services.is_some())
        };
        assert_eq!(has("http://10.0.0.1", "{ source = \"profile\", profile = \"sso\" }"), (false, true));
        assert_eq!(has("http://10.0.0.1", "{ source = \"aws\" }"), (false, true));
        assert_eq!(has("http://10.0.0.1", "{ source = \"netbackup\" }"), (false, false));
        assert_eq!(has("https://10.0.0.1", "{ source = \"netbackup\" }"), (true, false));
        assert_eq!(has("https://10.0.0.1", "{ source = \"aws\" }"), (true, true));
    }
}
