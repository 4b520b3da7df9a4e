//! Names to addresses, and addresses to HTTP/1.1 connections.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::BufReader;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::line::{Line, Stream};
use super::tls::TlsSetup;
use super::transport::chain;
use crate::config::{Endpoint, Target, Transfer};

/// Answers of the resolver are used for so long; VAST's own DNS answers with a TTL near zero.
const ANSWER_AGE: Duration = Duration::from_secs(5);
/// Rustls asks its transport for 4 KiB at a time: a buffer below it saves 63 of 64 system calls.
const TLS_READ_BYTES: usize = 256 << 10;

/// Scheme, host and port that a connection serves.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    https: bool,
    host: String,
    port: u16,
}

/// Dials the configured endpoint over all its targets, and any other origin by its own name.
pub struct Dialler {
    endpoint: Origin,
    targets: Vec<Target>,
    tls: Option<TlsSetup>,
    connect_timeout: Duration,
    ack_timeout: Duration,
    answers: Mutex<HashMap<Target, (Instant, Vec<SocketAddr>)>>,
}

impl Origin {
    /// As a Host header has it.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        format!("{host}:{}", self.port)
    }

    pub fn of(uri: &http::Uri) -> Result<Self, String> {
        let https = uri.scheme_str() == Some("https");
        let host = uri.host().ok_or_else(|| format!("no host in {uri}"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Self { https, host, port: uri.port_u16().unwrap_or(if https { 443 } else { 80 }) })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl Dialler {
    pub fn new(endpoint: &Endpoint, tls: Option<TlsSetup>, transfer: &Transfer) -> Self {
        Self {
            endpoint: Origin { https: endpoint.https, host: endpoint.host.clone(), port: endpoint.port },
            targets: endpoint.targets.clone(),
            tls,
            connect_timeout: transfer.connect_timeout,
            ack_timeout: transfer.ack_timeout,
            answers: Mutex::default(),
        }
    }

    /// False for the hosts of credential services.
    pub fn is_endpoint(&self, origin: &Origin) -> bool {
        *origin == self.endpoint
    }

    /// Every address of `origin` now: the union over its targets, without repeats.
    pub async fn addresses(&self, origin: &Origin) -> io::Result<Vec<SocketAddr>> {
        let own = [Target { host: origin.host.clone(), port: origin.port }];
        let targets = if self.is_endpoint(origin) { &self.targets[..] } else { &own[..] };
        let mut all = Vec::new();
        let mut failed = None;
        for target in targets {
            match self.resolve(target).await {
                Ok(addresses) => all.extend(addresses.into_iter().filter(|a| !all.contains(a)).collect::<Vec<_>>()),
                Err(error) => failed = Some(error),
            }
        }
        // One name that does not resolve must not keep us from the addresses that are known.
        match failed {
            Some(error) if all.is_empty() => Err(error),
            _ => Ok(all),
        }
    }

    async fn resolve(&self, target: &Target) -> io::Result<Vec<SocketAddr>> {
        if let Ok(ip) = target.host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(ip, target.port)]);
        }
        let known = self.answers.lock().unwrap_or_else(PoisonError::into_inner).get(target).cloned();
        if let Some((when, addresses)) = &known
            && when.elapsed() < ANSWER_AGE
        {
            return Ok(addresses.clone());
        }
        let asked = tokio::net::lookup_host((target.host.as_str(), target.port));
        let found = tokio::time::timeout(self.connect_timeout, asked).await;
        let found = found.map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "no answer in time")).flatten();
        // A resolver that is out must not stop what worked a moment ago.
        if let (Err(error), Some((_, addresses))) = (&found, known) {
            tracing::warn!("resolve {}: {error}; using the last answer", target.host);
            return Ok(addresses);
        }
        let found: Vec<_> =
            found.map_err(|e| io::Error::new(e.kind(), format!("resolve {}: {e}", target.host)))?.collect();
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.insert(target.clone(), (Instant::now(), found.clone()));
        Ok(found)
    }

    /// A connection to `address` that is ready for its first request.
    pub async fn dial(&self, origin: &Origin, address: SocketAddr) -> io::Result<Line> {
        let dialled = tokio::time::timeout(self.connect_timeout, self.connect(origin, address)).await;
        let late =
            || io::Error::new(io::ErrorKind::TimedOut, format!("no connection within {:?}", self.connect_timeout));
        let result = dialled.map_err(|_| late()).flatten();
        result.map_err(|e| io::Error::new(e.kind(), format!("connect to {origin} at {address}: {}", chain(&e))))
    }

    async fn connect(&self, origin: &Origin, address: SocketAddr) -> io::Result<Line> {
        let tcp = TcpStream::connect(address).await?;
        tcp.set_nodelay(true)?;
        let socket = SockRef::from(&tcp);
        socket.set_tcp_keepalive(
            &TcpKeepalive::new().with_time(Duration::from_secs(30)).with_interval(Duration::from_secs(10)),
        )?;
        // A node that loses power or its network resets nothing: without this, what was sent to it waits for minutes.
        socket.set_tcp_user_timeout(Some(self.ack_timeout))?;
        let stream: Stream = match &self.tls {
            Some(tls) if origin.https => {
                let name = self.server_name(origin, tls)?;
                let connector = TlsConnector::from(std::sync::Arc::clone(&tls.config));
                Box::new(connector.connect(name, BufReader::with_capacity(TLS_READ_BYTES, tcp)).await?)
            }
            _ => Box::new(tcp),
        };
        Line::open(stream).await
    }

    fn server_name(&self, origin: &Origin, tls: &TlsSetup) -> io::Result<ServerName<'static>> {
        if *origin == self.endpoint {
            return Ok(tls.server_name.clone());
        }
        ServerName::try_from(origin.host.clone()).map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))
    }
}
