//! HTTP/1.1 connections under the SDK: dialled over every address of the endpoint, evenly used, bounded, aged.
//!
//! The SDK signs, retries and parses; this connector only carries one request at a time on one connection. A request
//! goes to the address that [`super::balancer`] chooses; an idle connection there is reused, else one is dialled.
//! Names are looked up for every request ([`crate::net::resolver`] says what is kept), since VAST moves its VIPs. Host, SNI and
//! signature keep the configured name. Other hosts (the AWS chain's credential services) are reached through the same
//! code by their own name.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use http::header::{CONTENT_LENGTH, HOST, HeaderValue};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::balancer::{Addresses, Ticket};
use super::body::Landing;
use super::checkout::{Connection, Lease, unreached};
use super::effort::Effort;
use super::expected::Asked;
use crate::config::Transfer;
use crate::metrics::request::{RequestWatch, ServerMetrics};
use crate::net::dialer::{Dialler, Origin};
use crate::net::server_clock;
use crate::net::server_clock::ServerClock;

/// A probe that is not answered in this time failed.
const PROBE: Duration = Duration::from_secs(3);

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The connector; clones share the connections.
#[derive(Clone)]
pub struct Transport {
    shared: Arc<Shared>,
}

pub struct Shared {
    pub dialler: Dialler,
    pub clock: ServerClock,
    addresses: Addresses,
    permits: Arc<Semaphore>,
    metrics: Arc<ServerMetrics>,
    idle_max: Duration,
    age_max: Duration,
    idle: Mutex<Idle>,
}

#[derive(Default)]
struct Idle {
    connections: HashMap<(Origin, SocketAddr), Vec<Connection>>,
    /// When those that are too old were let go, at all addresses.
    swept: Option<Instant>,
}

impl Transport {
    pub fn new(dialler: Dialler, transfer: &Transfer, metrics: Arc<ServerMetrics>) -> Self {
        let shared = Shared {
            dialler,
            clock: ServerClock::default(),
            addresses: Addresses::new(Arc::clone(&metrics)),
            metrics,
            permits: Arc::new(Semaphore::new(transfer.connections)),
            idle_max: transfer.connection_idle,
            age_max: transfer.connection_max_age,
            idle: Mutex::default(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// The clock of the server, as the answers tell it.
    pub fn clock(&self) -> ServerClock {
        self.shared.clock.clone()
    }

    /// How the addresses are doing.
    pub fn addresses(&self) -> Addresses {
        self.shared.addresses.clone()
    }

    async fn send(self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let request = request.try_into_http1x().map_err(|e| ConnectorError::user(e.into()))?;
        let (origin, mut request) = to_origin_form(request).map_err(ConnectorError::user)?;
        let landing = request.extensions_mut().remove::<Landing>();
        let effort = request.extensions_mut().remove::<Effort>();
        let asked = Asked::of(&request);
        effort.iter().for_each(Effort::tried);
        let permits = Arc::clone(&self.shared.permits);
        let permit = permits
            .acquire_owned()
            .await
            .map_err(|e| ConnectorError::other(e.into(), None))?;
        let watch = self
            .shared
            .metrics
            .watch(&request, self.shared.dialler.is_endpoint(&origin));
        let mut lease = self.shared.lease(origin, permit, watch, effort).await?;
        lease.sent = request.body().content_length().unwrap_or_default();
        lease.signed = request
            .headers()
            .get("x-amz-date")
            .and_then(server_clock::parse_amz_date);
        loop {
            let Some(connection) = lease.connection.as_mut() else {
                lease = lease.redial().await?;
                continue;
            };
            let used = connection.used;
            // The end of the last body may have reached us before the connection task was done with it.
            match connection.line.sender.ready().await {
                Ok(()) => {}
                Err(_) if used => {
                    lease.connection = None;
                    continue;
                }
                Err(error) => return Err(lease.broken(&error)),
            }
            let sent = connection.line.sender.try_send_request(request);
            lease.begin();
            match sent.await {
                Ok(response) => return lease.respond(response, asked, landing).await,
                Err(mut error) => match error.take_message() {
                    // Nothing was sent: the server closed an idle connection. Another one costs no attempt.
                    Some(unsent) if used => {
                        request = unsent;
                        lease.was_closed();
                    }
                    _ => return Err(lease.broken(error.error())),
                },
            }
        }
    }
}

impl Shared {
    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn lease(
        self: &Arc<Self>,
        origin: Origin,
        permit: OwnedSemaphorePermit,
        watch: RequestWatch,
        effort: Option<Effort>,
    ) -> Result<Lease, ConnectorError> {
        let addresses = self
            .dialler
            .addresses(&origin)
            .await
            .map_err(|e| unreached(effort.as_ref(), e))?;
        let none = || unreached(effort.as_ref(), format!("{origin} resolves to no address"));
        let ticket = self.choose(&origin, &addresses).ok_or_else(none)?;
        let lease = Lease::new(Arc::clone(self), origin, ticket, watch, effort, permit);
        match self.reuse(&lease.origin, lease.ticket.address()) {
            Some(connection) => Ok(lease.with(connection)),
            None => lease.dial(&addresses).await,
        }
    }

    /// The address for a request, if there is one; those that are due are probed on the way.
    pub fn choose(self: &Arc<Self>, origin: &Origin, addresses: &[SocketAddr]) -> Option<Ticket> {
        let (ticket, due) = self.addresses.choose(addresses);
        for address in due {
            tokio::spawn(Arc::clone(self).probe(origin.clone(), address));
        }
        ticket
    }

    /// Asks an address in quarantine for anything: whatever it answers but an error of its own, it is there again.
    async fn probe(self: Arc<Self>, origin: Origin, address: SocketAddr) {
        let asked = tokio::time::timeout(PROBE, self.ask(&origin, address)).await;
        let alive = matches!(asked, Ok(Ok(status)) if !status.is_server_error());
        self.addresses.probed(address, alive);
    }

    async fn ask(&self, origin: &Origin, address: SocketAddr) -> Result<http::StatusCode, BoxError> {
        let mut line = self.dialler.dial(origin, address).await?;
        let request = http::Request::head("/")
            .header(HOST, origin.authority())
            .body(SdkBody::empty())?;
        Ok(line.sender.send_request(request).await?.status())
    }

    fn reuse(&self, origin: &Origin, address: SocketAddr) -> Option<Connection> {
        let (now, mut idle) = (Instant::now(), self.idle());
        let fresh = |connection: &Connection| {
            let used_lately = now.duration_since(connection.idle_since) < self.idle_max;
            used_lately && now.duration_since(connection.born) < self.age_max && !connection.line.sender.is_closed()
        };
        // An address that the name does not mean any more is never asked for again: its connections end here.
        if idle.swept.is_none_or(|swept| now.duration_since(swept) > self.idle_max) {
            idle.swept = Some(now);
            idle.connections.retain(|_, connections| {
                connections.retain(fresh);
                !connections.is_empty()
            });
        }
        let connections = idle.connections.get_mut(&(origin.clone(), address))?;
        connections.retain(fresh);
        connections.pop()
    }

    /// Takes a connection in for the next request of its address.
    pub fn keep(&self, origin: &Origin, address: SocketAddr, connection: Connection) {
        self.idle()
            .connections
            .entry((origin.clone(), address))
            .or_default()
            .push(connection);
    }
}

impl HttpConnector for Transport {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::new(self.clone().send(request))
    }
}

impl HttpClient for Transport {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Transport")
    }
}

/// Splits the target from the request: on a direct connection the URI is the path, and Host names the server.
fn to_origin_form(mut request: http::Request<SdkBody>) -> Result<(Origin, http::Request<SdkBody>), BoxError> {
    let uri = request.uri();
    let origin = Origin::of(uri)?;
    let authority = uri.authority().map(ToString::to_string).unwrap_or_default();
    let path: http::Uri = uri
        .path_and_query()
        .map_or("/", http::uri::PathAndQuery::as_str)
        .parse()?;
    *request.uri_mut() = path;
    if !request.headers().contains_key(HOST) {
        request.headers_mut().insert(HOST, HeaderValue::from_str(&authority)?);
    }
    // RFC 9110, 8.6: a request whose method takes a body says so when there is none. Some servers insist.
    let takes_body = matches!(*request.method(), http::Method::POST | http::Method::PUT);
    if takes_body && request.body().content_length() == Some(0) {
        request
            .headers_mut()
            .entry(CONTENT_LENGTH)
            .or_insert(HeaderValue::from_static("0"));
    }
    Ok((origin, request))
}
