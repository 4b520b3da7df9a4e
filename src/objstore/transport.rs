//! HTTP/1.1 connections under the SDK: dialled over every address of the endpoint, evenly used, bounded, aged.
//!
//! The SDK signs, retries and parses; this connector only carries one request at a time on one connection. A request
//! goes to the address that [`super::addresses`] chooses; an idle connection there is reused, else one is dialled.
//! Names are looked up for every request ([`super::names`] says what is kept), since VAST moves its VIPs. Host, SNI and
//! signature keep the configured name. Other hosts (the AWS chain's credential services) are reached through the same
//! code by their own name.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use http::header::{HOST, HeaderValue};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::addresses::{Addresses, Cause, LATE, PACE_BYTES_MIN, Ticket};
use super::dial::{Dialler, Line, Origin};
use super::server_clock::{self, ServerClock};
use crate::config::Transfer;
use crate::metrics::request::{RequestWatch, ServerMetrics};

/// The response header in which the connector tells the error path which address answered.
pub const ADDRESS_HEADER: &str = "x-vastost-address";

/// The response header that tells the retry rules that a refused request was signed far from the server's time.
pub const SKEWED_HEADER: &str = "x-vastost-skewed";

/// Servers refuse signatures 15 minutes off; the SDK corrects its time from here on.
const SKEW_MAX_SECONDS: u64 = 4 * 60;
/// A probe that is not answered in this time failed.
const PROBE: Duration = Duration::from_secs(3);

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The connector; clones share the connections.
#[derive(Clone)]
pub struct Transport {
    shared: Arc<Shared>,
}

struct Shared {
    dialler: Dialler,
    clock: ServerClock,
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

struct Connection {
    sender: Line,
    born: Instant,
    idle_since: Instant,
    /// Has served a request: its server may have closed it since, which says nothing about the server.
    used: bool,
}

/// A connection in use; it goes back to the pool by [`Lease::give_back`].
struct Lease {
    shared: Arc<Shared>,
    origin: Origin,
    ticket: Ticket,
    connection: Option<Connection>,
    /// Since when the request is on the line.
    sending: Option<Instant>,
    /// True while it waits for its answer.
    waiting: bool,
    /// Bytes of the request's body.
    sent: u64,
    /// When the request was signed, seconds since 1970.
    signed: Option<u64>,
    watch: RequestWatch,
    _permit: OwnedSemaphorePermit,
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
        Self { shared: Arc::new(shared) }
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
        let permits = Arc::clone(&self.shared.permits);
        let permit = permits.acquire_owned().await.map_err(|e| ConnectorError::other(e.into(), None))?;
        let watch = self.shared.metrics.watch(&request, self.shared.dialler.is_endpoint(&origin));
        let mut lease = self.shared.lease(origin, permit, watch).await?;
        lease.sent = request.body().content_length().unwrap_or_default();
        lease.signed = request.headers().get("x-amz-date").and_then(server_clock::parse_amz_date);
        loop {
            let Some(connection) = lease.connection.as_mut() else {
                lease = lease.redial().await?;
                continue;
            };
            let used = connection.used;
            // The end of the last body may have reached us before the connection task was done with it.
            match connection.sender.ready().await {
                Ok(()) => {}
                Err(_) if used => {
                    lease.connection = None;
                    continue;
                }
                Err(error) => return Err(lease.broken(&error)),
            }
            (lease.sending, lease.waiting) = (Some(Instant::now()), true);
            lease.watch.sent(lease.ticket.address());
            match connection.sender.try_send_request(request).await {
                Ok(response) => return Ok(lease.respond(response)),
                Err(mut error) => match error.take_message() {
                    // Nothing was sent: the server closed an idle connection. Another one costs no attempt.
                    Some(unsent) if used => {
                        request = unsent;
                        lease.waiting = false;
                        lease.connection = None;
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
    ) -> Result<Lease, ConnectorError> {
        let addresses = self.dialler.addresses(&origin).await.map_err(|e| ConnectorError::io(e.into()))?;
        let ticket = self.choose(&origin, &addresses).ok_or_else(|| no_address(&origin))?;
        let lease = Lease {
            shared: Arc::clone(self),
            origin,
            ticket,
            connection: None,
            sending: None,
            waiting: false,
            sent: 0,
            signed: None,
            watch,
            _permit: permit,
        };
        match self.reuse(&lease.origin, lease.ticket.address()) {
            Some(connection) => Ok(lease.with(connection)),
            None => lease.dial(&addresses).await,
        }
    }

    fn choose(self: &Arc<Self>, origin: &Origin, addresses: &[SocketAddr]) -> Option<Ticket> {
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
        let mut sender = self.dialler.dial(origin, address).await?;
        let request = http::Request::head("/").header(HOST, origin.authority()).body(SdkBody::empty())?;
        Ok(sender.send_request(request).await?.status())
    }

    fn reuse(&self, origin: &Origin, address: SocketAddr) -> Option<Connection> {
        let (now, mut idle) = (Instant::now(), self.idle());
        let fresh = |connection: &Connection| {
            let used_lately = now.duration_since(connection.idle_since) < self.idle_max;
            used_lately && now.duration_since(connection.born) < self.age_max && !connection.sender.is_closed()
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
}

impl Lease {
    fn with(mut self, connection: Connection) -> Self {
        self.connection = Some(connection);
        self
    }

    /// Dials the chosen address, then the others in the order of their load.
    async fn dial(mut self, addresses: &[SocketAddr]) -> Result<Self, ConnectorError> {
        let mut tried = Vec::with_capacity(addresses.len());
        loop {
            let address = self.ticket.address();
            match self.shared.dialler.dial(&self.origin, address).await {
                Ok(sender) => {
                    let now = Instant::now();
                    return Ok(self.with(Connection { sender, born: now, idle_since: now, used: false }));
                }
                Err(error) => {
                    self.ticket.shut(Cause::Lost, &error.to_string());
                    tried.push(address);
                    let left: Vec<_> = addresses.iter().filter(|a| !tried.contains(a)).copied().collect();
                    let Some(next) = self.shared.choose(&self.origin, &left) else {
                        return Err(ConnectorError::io(Box::new(error)).never_connected());
                    };
                    self.ticket = next;
                }
            }
        }
    }

    async fn redial(self) -> Result<Self, ConnectorError> {
        let addresses = [self.ticket.address()];
        self.dial(&addresses).await
    }

    fn broken(&mut self, error: &hyper::Error) -> ConnectorError {
        self.waiting = false;
        let what = format!("{} at {}: {}", self.origin, self.ticket.address(), chain(error));
        self.ticket.shut(Cause::Lost, &what);
        let kind = if error.is_timeout() { ConnectorError::timeout } else { ConnectorError::io };
        kind(what.into())
    }

    fn respond(mut self, response: http::Response<Incoming>) -> HttpResponse {
        self.waiting = false;
        self.watch.answered(response.status());
        let (mut parts, body) = response.into_parts();
        self.ticket.answered(parts.status.as_u16());
        let is_endpoint = self.shared.dialler.is_endpoint(&self.origin);
        let now = if is_endpoint { self.shared.clock.hear(&parts.headers) } else { None };
        if let (http::StatusCode::FORBIDDEN, Some(now), Some(signed)) = (parts.status, now, self.signed)
            && now.abs_diff(signed) > SKEW_MAX_SECONDS
        {
            parts.headers.insert(SKEWED_HEADER, HeaderValue::from_static("true"));
        }
        if let Ok(value) = HeaderValue::from_str(&self.ticket.address().to_string()) {
            parts.headers.insert(ADDRESS_HEADER, value);
        }
        // A refusal tells nothing about the pace of what was sent.
        self.sent = if parts.status.is_success() { self.sent } else { 0 };
        let body = LeasedBody { body, lease: Some(self) };
        let response = http::Response::from_parts(parts, SdkBody::from_body_1_x(body.release_if_empty()));
        // The conversion fails only for headers that are no UTF-8, which `HttpResponse` cannot hold.
        HttpResponse::try_from(response).unwrap_or_else(|_| {
            let status = http::StatusCode::BAD_GATEWAY;
            HttpResponse::new(status.into(), SdkBody::from("response headers are not valid UTF-8"))
        })
    }

    /// Tells how fast the address moved what the request was for.
    fn moved(&self) {
        if let Some(since) = self.sending {
            self.ticket.moved(self.sent.max(self.watch.received_bytes()), since.elapsed());
        }
    }

    /// Keeps the connection for the next request of this address.
    fn give_back(mut self) {
        let Some(mut connection) = self.connection.take() else { return };
        connection.idle_since = Instant::now();
        connection.used = true;
        let key = (self.origin.clone(), self.ticket.address());
        self.shared.idle().connections.entry(key).or_default().push(connection);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // Given up while it waited: a deadline passed, or another address was faster, if it waited long; sooner, its caller
        // had enough. The next attempt must not come here first.
        if self.waiting && !self.ticket.is_moot() && self.sending.is_some_and(|since| since.elapsed() > LATE) {
            let cause = if self.sent < PACE_BYTES_MIN { Cause::Lost } else { Cause::Slow };
            self.ticket.shut(cause, "a request was not answered in its time");
        }
    }
}

/// A response body that returns its connection at its end; dropped before, it closes the connection.
struct LeasedBody {
    body: Incoming,
    lease: Option<Lease>,
}

impl LeasedBody {
    fn release_if_empty(mut self) -> Self {
        if self.body.is_end_stream() {
            self.finish();
        }
        self
    }

    fn finish(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.moved();
            lease.give_back();
        }
    }
}

impl Drop for LeasedBody {
    fn drop(&mut self) {
        // Cut because it came too slowly, if much of it came at all.
        if let Some(lease) = &self.lease {
            lease.moved();
        }
    }
}

impl Body for LeasedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let (Some(lease), Some(Ok(frame))) = (&mut self.lease, &frame) {
            lease.watch.received(frame.data_ref().map_or(0, Bytes::len));
        }
        match &frame {
            Some(Ok(_)) if self.body.is_end_stream() => self.finish(),
            Some(Ok(_)) => {}
            Some(Err(error)) => {
                if let Some(lease) = &self.lease {
                    lease.ticket.shut(Cause::Lost, &format!("a body broke off: {}", chain(error)));
                }
            }
            None => self.finish(),
        }
        Poll::Ready(frame.map(|frame| frame.map_err(|error| format!("body broken off: {}", chain(&error)).into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
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
    let path: http::Uri = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str).parse()?;
    *request.uri_mut() = path;
    if !request.headers().contains_key(HOST) {
        request.headers_mut().insert(HOST, HeaderValue::from_str(&authority)?);
    }
    Ok((origin, request))
}

fn no_address(origin: &Origin) -> ConnectorError {
    ConnectorError::io(format!("{origin} resolves to no address").into()).never_connected()
}

/// An error with its causes, which hyper leaves out of its own text.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}
