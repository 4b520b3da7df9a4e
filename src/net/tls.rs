//! TLS: whom we trust, under which name, HTTP/1.1 only.
//!
//! `tls.ca_file` holds authorities, or the very certificate that the server presents: VAST makes one that signs itself, and
//! is marked as an authority, which no server may present by the rules of the web. It is accepted byte for byte, while it
//! is valid and for its own names.

use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::config::credentials::Source;
use crate::config::{Endpoint, Server, Tls};
use crate::error::{Error, Kind, Result, ResultExt};
use crate::files;

/// All public authorities are a quarter of a megabyte.
const CA_FILE_MAX: u64 = 16 << 20;

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
    let endpoint = server
        .endpoint
        .https
        .then(|| setup(&server.endpoint, &server.tls))
        .transpose()?;
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
    Ok(TlsSetup {
        config: client_config(tls)?,
        server_name,
    })
}

/// A client configuration that trusts `tls.ca_file`, or the system's authorities when none is given.
fn client_config(tls: &Tls) -> Result<Arc<ClientConfig>> {
    trusting(match &tls.ca_file {
        Some(file) => given(file)?,
        None => Given {
            roots: system_roots()?,
            certificates: Vec::new(),
        },
    })
}

/// Trusts both: a service on the premises may have the cluster's authority, those of AWS have the public ones.
fn for_services(tls: &Tls) -> Result<Arc<ClientConfig>> {
    let own = tls.ca_file.as_deref().map(given).transpose()?;
    trusting(match (own, system_roots()) {
        (None, system) => Given {
            roots: system?,
            certificates: Vec::new(),
        },
        (Some(own), Err(_)) => own,
        (Some(mut own), Ok(system)) => {
            own.roots.roots.extend(system.roots);
            own
        }
    })
}

/// What `tls.ca_file` holds.
struct Given {
    roots: RootCertStore,
    certificates: Vec<CertificateDer<'static>>,
}

fn trusting(given: Given) -> Result<Arc<ClientConfig>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(given.roots), Arc::clone(&provider)).build();
    let inner = inner.or_kind(Kind::Config, || "set up the check of certificates".into())?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .or_kind(Kind::Internal, || "choose TLS versions".into())?;
    let verifier = Arc::new(Verifier {
        inner,
        certificates: given.certificates,
    });
    let mut config = builder
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    // One HTTP/2 connection would funnel every part through one socket to one node.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// The usual rules, and beside them the certificates that an administrator has named themselves.
#[derive(Debug)]
struct Verifier {
    inner: Arc<WebPkiServerVerifier>,
    certificates: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        let refused = match self
            .inner
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
        {
            Err(rustls::Error::InvalidCertificate(refused)) => refused,
            other => return other,
        };
        // Its time was looked at before its issuer and its role.
        let is_named = self.certificates.iter().any(|named| named == end_entity);
        if !is_named || !(refused == CertificateError::UnknownIssuer || is_authority(&refused)) {
            return Err(refused.into());
        }
        rustls::client::verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// A server presents a certificate that is marked as an authority: mostly one that signed itself.
fn is_authority(refused: &CertificateError) -> bool {
    matches!(refused, CertificateError::Other(other) if other.0.to_string().contains("CaUsedAsEndEntity"))
}

/// What to do about a connection that TLS has refused.
pub fn advice(error: &std::io::Error) -> &'static str {
    let refused = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    if let Some(rustls::Error::InvalidMessage(_)) = refused {
        return "what answers there speaks no TLS: correct the port, or write http:// in `endpoints`";
    }
    let Some(rustls::Error::InvalidCertificate(refused)) = refused else {
        return "check that the port speaks TLS 1.2 or 1.3, and that nothing in between ends it";
    };
    match refused {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "renew the cluster's certificate, which has expired; if it has not, set this host's clock"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "set this host's clock: by it the cluster's certificate is not valid yet"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "set tls.server_name to a name in the certificate, or have it issued for the name of the first endpoint"
        }
        refused if is_authority(refused) => {
            "the cluster's certificate signed itself: save that very certificate as a PEM file and set tls.ca_file to it"
        }
        CertificateError::UnknownIssuer => {
            "set tls.ca_file to the PEM file of the authority that issued the cluster's certificate, with those in between, or to the certificate itself if it signed itself"
        }
        CertificateError::BadSignature => {
            "tls.ca_file holds another authority of the same name: take the one that issued the cluster's certificate"
        }
        _ => {
            "have the cluster's certificate issued for a TLS server (key usage, names, dates), or see what the error names"
        }
    }
}

/// The error of a handshake, with what to do about it.
pub fn with_advice(error: std::io::Error) -> std::io::Error {
    let is_refused = error.get_ref().is_some_and(|cause| cause.is::<rustls::Error>());
    if !is_refused {
        return error;
    }
    let text = format!("{error}; {}", advice(&error));
    std::io::Error::new(error.kind(), text)
}

/// A certificate that cannot be used does not take the others of the file away.
fn given(file: &Path) -> Result<Given> {
    let what = || format!("read CA file {}", file.display());
    let text = files::read_given(file, CA_FILE_MAX).or_kind(Kind::Config, what)?.0;
    let mut roots = RootCertStore::empty();
    let mut certificates = Vec::new();
    let mut refused = Vec::new();

    for (number, found) in (1..).zip(CertificateDer::pem_slice_iter(&text)) {
        match found {
            Ok(certificate) => {
                if let Err(error) = roots.add(certificate.clone()) {
                    refused.push(format!("certificate {number}: {error}"));
                }
                certificates.push(certificate.into_owned());
            }
            Err(error) => refused.push(format!("certificate {number}: {error}")),
        }
    }

    if roots.is_empty() {
        let why = if refused.is_empty() {
            "no PEM certificate".to_owned()
        } else {
            refused.join("; ")
        };
        return Err(Error::new(
            Kind::Config,
            format!("CA file {} cannot be used: {why}", file.display()),
        ));
    }

    for why in refused {
        tracing::warn!("CA file {}: left out {why}", file.display());
    }
    Ok(Given { roots, certificates })
}

fn system_roots() -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let causes: Vec<_> = found.errors.iter().map(ToString::to_string).collect();
        let what = format!(
            "the system has no trusted authorities ({}); set tls.ca_file",
            causes.join("; ")
        );
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

    /// Whom a file lets in: the outcome of a check of `presented` for `name`.
    fn check(ca_file: &str, presented: &CertificateDer<'static>, name: &str) -> std::result::Result<(), rustls::Error> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        std::fs::write(&file, ca_file).unwrap();
        let Given { roots, certificates } = given(&file).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .unwrap();
        let verifier = Verifier { inner, certificates };
        let name = ServerName::try_from(name.to_owned()).unwrap();
        verifier
            .verify_server_cert(presented, &[], &name, &[], UnixTime::now())
            .map(drop)
    }

    /// As VAST makes them: marked as an authority, signed by itself.
    fn self_signed(name: &str, years: (i32, i32)) -> rcgen::Certificate {
        let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.not_before = rcgen::date_time_ymd(years.0, 1, 1);
        params.not_after = rcgen::date_time_ymd(years.1, 1, 1);
        params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap()
    }

    fn advice_of(error: rustls::Error) -> &'static str {
        advice(&std::io::Error::new(std::io::ErrorKind::InvalidData, error))
    }

    #[test]
    fn the_very_certificate_that_is_presented_is_trusted_for_its_names_and_its_time() {
        let own = self_signed("vast.example", (2020, 4000));
        let other = self_signed("vast.example", (2020, 4000));
        let ended = self_signed("vast.example", (2020, 2021));
        assert!(check(&own.pem(), own.der(), "vast.example").is_ok());
        let name = check(&own.pem(), own.der(), "other.example").unwrap_err();
        assert!(advice_of(name.clone()).contains("tls.server_name"), "{name}");
        let foreign = check(&other.pem(), own.der(), "vast.example").unwrap_err();
        assert!(advice_of(foreign.clone()).contains("signed itself"), "{foreign}");
        let late = check(&ended.pem(), ended.der(), "vast.example").unwrap_err();
        assert!(advice_of(late.clone()).contains("renew"), "{late}");
        let early = self_signed("vast.example", (3000, 4000));
        let early = check(&early.pem(), early.der(), "vast.example").unwrap_err();
        assert!(advice_of(early.clone()).contains("clock"), "{early}");
        let plain = rcgen::generate_simple_self_signed(["vast.example".to_owned()])
            .unwrap()
            .cert;
        assert!(check(&plain.pem(), plain.der(), "vast.example").is_ok());
        let unknown = check(&own.pem(), plain.der(), "vast.example").unwrap_err();
        assert!(advice_of(unknown.clone()).contains("tls.ca_file"), "{unknown}");
    }

    #[test]
    fn one_bad_certificate_of_a_bundle_leaves_the_others() {
        let own = self_signed("vast.example", (2020, 4000));
        let bad = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(check(&format!("{bad}{}", own.pem()), own.der(), "vast.example").is_ok());
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        std::fs::write(&file, bad).unwrap();
        assert!(given(&file).err().unwrap().to_string().contains("certificate 1"));
    }

    #[test]
    fn services_are_trusted_where_credentials_may_come_from_them_over_an_http_endpoint_too() {
        let has = |url: &str, credentials: &str| {
            let trust = trust(url, credentials);
            (trust.endpoint.is_some(), trust.services.is_some())
        };
        assert_eq!(
            has("http://10.0.0.1", "{ source = \"profile\", profile = \"sso\" }"),
            (false, true)
        );
        assert_eq!(has("http://10.0.0.1", "{ source = \"aws\" }"), (false, true));
        assert_eq!(has("http://10.0.0.1", "{ source = \"netbackup\" }"), (false, false));
        assert_eq!(has("https://10.0.0.1", "{ source = \"netbackup\" }"), (true, false));
        assert_eq!(has("https://10.0.0.1", "{ source = \"aws\" }"), (true, true));
    }
}
