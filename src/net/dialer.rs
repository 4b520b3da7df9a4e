//! Addresses to HTTP/1.1 connections, in clear text or by TLS as the origin says.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::BufReader;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::http1::{Line, Stream};
use super::resolver::Names;
use super::tls::{Trust, with_advice};
use crate::config::{Endpoint, Retry, Target, Transfer};
use crate::error::chain;

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
    trust: Trust,
    connect_timeout: Duration,
    ack_timeout: Duration,
    names: Names,
}

impl Origin {
    /// As a Host header has it.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        };
        format!("{host}:{}", self.port)
    }

    pub fn of(uri: &http::Uri) -> Result<Self, String> {
        let https = uri.scheme_str() == Some("https");
        let host = uri.host().ok_or_else(|| format!("no host in {uri}"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Self {
            https,
            host,
            port: uri.port_u16().unwrap_or(if https { 443 } else { 80 }),
        })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl Dialler {
    pub fn new(endpoint: &Endpoint, trust: Trust, transfer: &Transfer, retry: &Retry) -> Self {
        Self {
            endpoint: Origin {
                https: endpoint.https,
                host: endpoint.host.clone(),
                port: endpoint.port,
            },
            targets: endpoint.targets.clone(),
            trust,
            connect_timeout: transfer.connect_timeout,
            // The kernel takes a store that stops reading for a while for one that is gone, though it answers every
            // question for room: what an attempt may take, that store may take too.
            ack_timeout: transfer.ack_timeout.max(retry.attempt_timeout),
            names: Names::new(transfer.connect_timeout),
        }
    }

    /// False for the hosts of credential services.
    pub fn is_endpoint(&self, origin: &Origin) -> bool {
        *origin == self.endpoint
    }

    /// Every address of `origin` now: the union over its targets, without repeats.
    pub async fn addresses(&self, origin: &Origin) -> io::Result<Vec<SocketAddr>> {
        let own = [Target {
            host: origin.host.clone(),
            port: origin.port,
        }];
        let targets = if self.is_endpoint(origin) {
            &self.targets[..]
        } else {
            &own[..]
        };
        self.names.addresses(targets).await
    }

    /// A connection to `address` that is ready for its first request.
    pub async fn dial(&self, origin: &Origin, address: SocketAddr) -> io::Result<Line> {
        let dialled = tokio::time::timeout(self.connect_timeout, self.connect(origin, address)).await;
        let late = || {
            io::Error::new(
                io::ErrorKind::TimedOut,
                format!("no connection within {:?}", self.connect_timeout),
            )
        };
        let result = dialled.map_err(|_| late()).flatten();
        let origin = origin.to_string();
        // An endpoint that is given by its address is not named twice.
        let place = if origin.contains(&address.to_string()) {
            origin
        } else {
            format!("{origin} at {address}")
        };
        result.map_err(|e| io::Error::new(e.kind(), format!("connect to {place}: {}", chain(&e))))
    }

    async fn connect(&self, origin: &Origin, address: SocketAddr) -> io::Result<Line> {
        let tls = if origin.https { Some(self.tls(origin)?) } else { None };
        let tcp = TcpStream::connect(address).await?;
        tcp.set_nodelay(true)?;
        let socket = SockRef::from(&tcp);
        socket.set_tcp_keepalive(
            &TcpKeepalive::new()
                .with_time(Duration::from_secs(30))
                .with_interval(Duration::from_secs(10)),
        )?;
        // A node that loses power or its network resets nothing: without this, what was sent to it waits for minutes.
        socket.set_tcp_user_timeout(Some(self.ack_timeout))?;
        // What is given up must not arrive later: the kernel would go on sending what a closed connection still holds, and
        // a node that is back would carry out a request that was sent again elsewhere, or whose image is gone by now.
        socket.set_linger(Some(Duration::ZERO))?;
        let stream: Stream = match tls {
            None => Box::new(tcp),
            Some((config, name)) => {
                let connector = TlsConnector::from(config);
                Box::new(
                    connector
                        .connect(name, BufReader::with_capacity(TLS_READ_BYTES, tcp))
                        .await
                        .map_err(with_advice)?,
                )
            }
        };

        Line::open(stream).await
    }

    /// Whom to trust at an https origin, and by which name. Nothing that is meant for TLS may ever leave in clear text.
    fn tls(&self, origin: &Origin) -> io::Result<(Arc<ClientConfig>, ServerName<'static>)> {
        let none = || io::Error::new(io::ErrorKind::Unsupported, "TLS is not set up for this server");
        if self.is_endpoint(origin) {
            let setup = self.trust.endpoint.as_ref().ok_or_else(none)?;
            return Ok((Arc::clone(&setup.config), setup.server_name.clone()));
        }
        let config = self.trust.services.as_ref().ok_or_else(none)?;
        let name = ServerName::try_from(origin.host.clone());
        Ok((
            Arc::clone(config),
            name.map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))?,
        ))
    }
}

#[cfg(test)]
mod tests {
    use aws_smithy_types::body::SdkBody;
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::*;
    use crate::config::Config;

    fn dialler() -> Dialler {
        let text = "[server.v]\nendpoints = [\"http://127.0.0.1:9000\"]\n";
        let config = Config::parse(text, std::path::Path::new("/x/vastost.toml")).unwrap();
        Dialler::new(
            &config.server("v").unwrap().endpoint,
            Trust::default(),
            &config.transfer,
            &config.retry,
        )
    }

    #[tokio::test]
    async fn a_request_that_is_given_up_does_not_arrive_later() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let dialler = dialler();
        let address = listener.local_addr().unwrap();
        let origin = Origin::of(&format!("http://{address}").parse().unwrap()).unwrap();
        let mut line = dialler.dial(&origin, address).await.unwrap();
        let mut server = listener.accept().await.unwrap().0;
        // More than the kernel holds for a server that does not read.
        let request = http::Request::put("/").body(SdkBody::from(vec![7; 64 << 20])).unwrap();
        let sent = tokio::time::timeout(Duration::from_millis(300), line.sender.send_request(request)).await;
        assert!(sent.is_err(), "nobody answers");
        drop(line);
        let mut arrived = Vec::new();
        let end = server.read_to_end(&mut arrived).await;
        assert_eq!(
            end.unwrap_err().kind(),
            io::ErrorKind::ConnectionReset,
            "{} bytes came",
            arrived.len()
        );
    }

    #[tokio::test]
    async fn an_https_origin_is_never_spoken_to_in_clear_text() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let dialler = dialler();
        let address = listener.local_addr().unwrap();
        let dial = async |scheme: &str| {
            let uri = format!("{scheme}://{address}/latest").parse().unwrap();
            dialler.dial(&Origin::of(&uri).unwrap(), address).await
        };
        let error = dial("https").await.err().unwrap();
        assert!(error.to_string().contains("TLS is not set up"), "{error}");
        let mut line = dial("http").await.unwrap();
        let request = http::Request::get("/").body(SdkBody::empty()).unwrap();
        let sent = line.sender.send_request(request);
        let mut first = [0; 3];
        let (accepted, _) = tokio::join!(
            async { listener.accept().await.unwrap().0.read_exact(&mut first).await },
            sent
        );
        accepted.unwrap();
        assert_eq!(&first, b"GET", "the first connection that came");
    }
}
