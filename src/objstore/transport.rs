//! HTTP/1.1 connections under the SDK: dialled over every address of the endpoint, evenly used, bounded, aged.
//!
//! The SDK signs, retries and parses; this connector only carries one request at a time on one connection. A request
//! goes to the address with the fewest requests under way; an idle connection there is reused, else one is dialled.
//! Names are resolved whenever a connection is dialled (answers are kept for five seconds), since VAST moves its VIPs.
//! Host, SNI and signature keep the configured name. An address that cannot be dialled is passed over for five seconds.
//! Other hosts (the AWS chain's credential services) are reached through the same code by their own name.

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
use hyper::client::conn::http1::SendRequest;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::dial::{Dialler, Origin};
use super::server_clock::{self, ServerClock};
use crate::config::Transfer;
use crate::metrics::request::{RequestWatch, ServerMetrics};

/// The response header in which the connector tells the error path which address answered.
pub const ADDRESS_HEADER: &str = "x-vastost-address";

/// The response header that tells the retry rules that a refused request was signed far from the server's time.
pub const SKEWED_HEADER: &str = "x-vastost-skewed";

/// Servers refuse signatures 15 minutes off; the SDK corrects its time from here on.
const SKEW_MAX_SECONDS: u64 = 4 * 60;
/// A dead address is not dialled again for so long while others answer.
const AVOID: Duration = Duration::from_secs(5);
/// A request that is dropped after so long without an answer speaks against its address; sooner, only against its caller.
const SILENT: Duration = Duration::from_secs(2);

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The connector; clones share the connections.
#[derive(Clone)]
pub struct Transport {
    shared: Arc<Shared>,
}

struct Shared {
    dialler: Dialler,
    clock: ServerClock,
    permits: Arc<Semaphore>,
    metrics: Arc<ServerMetrics>,
    idle_max: Duration,
    age_max: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    idle: HashMap<(Origin, SocketAddr), Vec<Connection>>,
    load: HashMap<SocketAddr, Load>,
    /// Rotates the choice among equally loaded addresses.
    turn: usize,
}

/// How an address is doing.
#[derive(Clone, Copy, Default)]
struct Load {
    requests: usize,
    avoid_until: Option<Instant>,
}

struct Connection {
    sender: SendRequest<SdkBody>,
    born: Instant,
    idle_since: Instant,
    /// Has served a request: its server may have closed it since, which says nothing about the server.
    used: bool,
}

/// A connection in use; it counts as load until dropped and goes back to the pool by [`Lease::give_back`].
struct Lease {
    shared: Arc<Shared>,
    origin: Origin,
    address: SocketAddr,
    connection: Option<Connection>,
    /// Since when a request waits for its answer.
    waiting: Option<Instant>,
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
            metrics,
            permits: Arc::new(Semaphore::new(transfer.connections)),
            idle_max: transfer.connection_idle,
            age_max: transfer.connection_max_age,
            state: Mutex::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// The clock of the server, as the answers tell it.
    pub fn clock(&self) -> ServerClock {
        self.shared.clock.clone()
    }

    async fn send(self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let request = request.try_into_http1x().map_err(|e| ConnectorError::user(e.into()))?;
        let (origin, mut request) = to_origin_form(request).map_err(ConnectorError::user)?;
        let permits = Arc::clone(&self.shared.permits);
        let permit = permits.acquire_owned().await.map_err(|e| ConnectorError::other(e.into(), None))?;
        let watch = self.shared.metrics.watch(&request, self.shared.dialler.is_endpoint(&origin));
        let mut lease = self.shared.lease(origin, permit, watch).await?;
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
            lease.waiting = Some(Instant::now());
            lease.watch.sent(lease.address);
            match connection.sender.try_send_request(request).await {
                Ok(response) => return Ok(lease.respond(response)),
                Err(mut error) => match error.take_message() {
                    // Nothing was sent: the server closed an idle connection. Another one costs no attempt.
                    Some(unsent) if used => {
                        request = unsent;
                        lease.waiting = None;
                        lease.connection = None;
                    }
                    _ => return Err(lease.broken(error.error())),
                },
            }
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn lease(
        self: &Arc<Self>,
        origin: Origin,
        permit: OwnedSemaphorePermit,
        watch: RequestWatch,
    ) -> Result<Lease, ConnectorError> {
        let addresses = self.dialler.addresses(&origin).await.map_err(|e| ConnectorError::io(e.into()))?;
        let address = self.choose(&addresses).ok_or_else(|| no_address(&origin))?;
        let lease = Lease {
            shared: Arc::clone(self),
            origin,
            address,
            connection: None,
            waiting: None,
            signed: None,
            watch,
            _permit: permit,
        };
        match self.reuse(&lease.origin, address) {
            Some(connection) => Ok(lease.with(connection)),
            None => lease.dial(&addresses).await,
        }
    }

    /// The address with the fewest requests under way that is not being avoided; counts the request on it.
    fn choose(&self, addresses: &[SocketAddr]) -> Option<SocketAddr> {
        let mut state = self.lock();
        let now = Instant::now();
        state.turn = state.turn.wrapping_add(1);
        let turn = state.turn;
        let rank = |(index, address): &(usize, &SocketAddr)| {
            let load = state.load.get(*address).copied().unwrap_or_default();
            let avoided = load.avoid_until.is_some_and(|until| now < until);
            (avoided, load.requests, (index + turn) % addresses.len().max(1))
        };
        let best = addresses.iter().enumerate().min_by_key(rank).map(|(_, address)| *address)?;
        state.load.entry(best).or_default().requests += 1;
        Some(best)
    }

    fn reuse(&self, origin: &Origin, address: SocketAddr) -> Option<Connection> {
        let mut state = self.lock();
        let idle = state.idle.get_mut(&(origin.clone(), address))?;
        let now = Instant::now();
        idle.retain(|connection| {
            let fresh = now.duration_since(connection.idle_since) < self.idle_max;
            fresh && now.duration_since(connection.born) < self.age_max && !connection.sender.is_closed()
        });
        idle.pop()
    }

    fn avoid(&self, address: SocketAddr) {
        self.metrics.avoided(address);
        self.lock().load.entry(address).or_default().avoid_until = Some(Instant::now() + AVOID);
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
            match self.shared.dialler.dial(&self.origin, self.address).await {
                Ok(sender) => {
                    let now = Instant::now();
                    return Ok(self.with(Connection { sender, born: now, idle_since: now, used: false }));
                }
                Err(error) => {
                    self.shared.avoid(self.address);
                    tried.push(self.address);
                    let left: Vec<_> = addresses.iter().filter(|a| !tried.contains(a)).copied().collect();
                    let Some(next) = self.shared.choose(&left) else {
                        return Err(ConnectorError::io(Box::new(error)).never_connected());
                    };
                    self.shared.release(self.address);
                    self.address = next;
                }
            }
        }
    }

    async fn redial(self) -> Result<Self, ConnectorError> {
        let addresses = [self.address];
        self.dial(&addresses).await
    }

    fn broken(&self, error: &hyper::Error) -> ConnectorError {
        self.shared.avoid(self.address);
        let kind = if error.is_timeout() { ConnectorError::timeout } else { ConnectorError::io };
        kind(format!("{} at {}: {}", self.origin, self.address, chain(error)).into())
    }

    fn respond(mut self, response: http::Response<Incoming>) -> HttpResponse {
        self.waiting = None;
        self.watch.answered(response.status());
        let (mut parts, body) = response.into_parts();
        let is_endpoint = self.shared.dialler.is_endpoint(&self.origin);
        let now = if is_endpoint { self.shared.clock.hear(&parts.headers) } else { None };
        if let (http::StatusCode::FORBIDDEN, Some(now), Some(signed)) = (parts.status, now, self.signed)
            && now.abs_diff(signed) > SKEW_MAX_SECONDS
        {
            parts.headers.insert(SKEWED_HEADER, HeaderValue::from_static("true"));
        }
        if let Ok(value) = HeaderValue::from_str(&self.address.to_string()) {
            parts.headers.insert(ADDRESS_HEADER, value);
        }
        let body = LeasedBody { body, lease: Some(self) };
        let response = http::Response::from_parts(parts, SdkBody::from_body_1_x(body.release_if_empty()));
        // The conversion fails only for headers that are no UTF-8, which `HttpResponse` cannot hold.
        HttpResponse::try_from(response).unwrap_or_else(|_| {
            let status = http::StatusCode::BAD_GATEWAY;
            HttpResponse::new(status.into(), SdkBody::from("response headers are not valid UTF-8"))
        })
    }

    /// Keeps the connection for the next request of this address.
    fn give_back(mut self) {
        let Some(mut connection) = self.connection.take() else { return };
        connection.idle_since = Instant::now();
        connection.used = true;
        let key = (self.origin.clone(), self.address);
        self.shared.lock().idle.entry(key).or_default().push(connection);
    }
}

impl Shared {
    fn release(&self, address: SocketAddr) {
        if let Some(load) = self.lock().load.get_mut(&address) {
            load.requests = load.requests.saturating_sub(1);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // Given up while it waited: a deadline passed, if it waited long. The next attempt must not come here first.
        if self.waiting.is_some_and(|since| since.elapsed() > SILENT) {
            self.shared.avoid(self.address);
        }
        self.shared.release(self.address);
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
            lease.give_back();
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
            None => self.finish(),
            _ => {}
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
