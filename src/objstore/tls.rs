//! The TLS side of an endpoint: trust, server name, HTTP/1.1 only.

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

/// What TLS needs, also for an http endpoint whose keys come from services that are reached by https: the AWS chain, and
/// profiles with single sign-on or a role to assume. Most of them never do, so there a failure is none yet: should one be
/// dialled, that is an error.
pub fn for_server(server: &Server) -> Result<Option<TlsSetup>> {
    let setup = || setup(&server.endpoint, &server.tls);
    match (server.endpoint.https, &server.credentials) {
        (true, _) => setup().map(Some),
        (false, Source::Aws | Source::Profile(_)) => Ok(setup()
            .inspect_err(|error| tracing::warn!("credential services cannot be reached by https: {error}"))
            .ok()),
        (false, Source::NetBackup | Source::File(_)) => Ok(None),
    }
}

/// Reads the trust store and checks the server name.
pub fn setup(endpoint: &Endpoint, tls: &Tls) -> Result<TlsSetup> {
    let name = tls.server_name.as_deref().unwrap_or(&endpoint.host).to_owned();
    let server_name =
        ServerName::try_from(name.clone()).or_kind(Kind::Config, || format!("use {name} as TLS server name"))?;
    Ok(TlsSetup { config: client_config(tls)?, server_name })
}

/// A client configuration that trusts `tls.ca_file`, or the system's authorities when none is given.
pub fn client_config(tls: &Tls) -> Result<Arc<ClientConfig>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .or_kind(Kind::Internal, || "choose TLS versions".into())?;
    let mut config = builder.with_root_certificates(roots(tls)?).with_no_client_auth();
    // One HTTP/2 connection would funnel every part through one socket to one node.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn roots(tls: &Tls) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    if let Some(file) = &tls.ca_file {
        let what = || format!("read CA file {}", file.display());
        for certificate in CertificateDer::pem_file_iter(file).or_kind(Kind::Config, what)? {
            roots.add(certificate.or_kind(Kind::Config, what)?).or_kind(Kind::Config, what)?;
        }
        if roots.is_empty() {
            return Err(Error::new(Kind::Config, format!("CA file {} holds no PEM certificate", file.display())));
        }
        return Ok(roots);
    }
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

    #[test]
    fn sources_that_may_ask_services_by_https_have_trust_over_an_http_endpoint_too() {
        let folder = tempfile::tempdir().unwrap();
        let authority = rcgen::generate_simple_self_signed(["vast.example".to_owned()]).unwrap();
        std::fs::write(folder.path().join("ca.pem"), authority.cert.pem()).unwrap();
        let has_trust = |url: &str, credentials: &str| {
            let text = format!(
                "[server.v]\nendpoints = [\"{url}\"]\ncredentials = {credentials}\ntls = {{ ca_file = \"ca.pem\" }}\n"
            );
            let config = Config::parse(&text, &folder.path().join("vastost.toml")).unwrap();
            for_server(config.server("v").unwrap()).unwrap().is_some()
        };
        assert!(has_trust("http://10.0.0.1", "{ source = \"profile\", profile = \"sso\" }"));
        assert!(has_trust("http://10.0.0.1", "{ source = \"aws\" }"));
        assert!(!has_trust("http://10.0.0.1", "{ source = \"netbackup\" }"));
        assert!(has_trust("https://10.0.0.1", "{ source = \"netbackup\" }"));
    }
}
