//! A connection with a request on it: chosen, dialled, answered, given back.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use http::header::{CONNECTION, HeaderMap, HeaderValue};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::sync::OwnedSemaphorePermit;

use super::addresses::{Cause, LATE, PACE_BYTES_MIN, Ticket};
use super::dial::Origin;
use super::landing::{Landed, Landing};
use super::line::Line;
use super::transport::{ADDRESS_HEADER, SKEWED_HEADER, Shared, chain};
use crate::metrics::request::RequestWatch;

/// Servers refuse signatures 15 minutes off; the SDK corrects its time from here on.
const SKEW_MAX_SECONDS: u64 = 4 * 60;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

pub struct Connection {
    pub line: Line,
    pub born: Instant,
    pub idle_since: Instant,
    /// Has served a request: its server may have closed it since, which says nothing about the server.
    pub used: bool,
}

/// A connection in use; it goes back to the pool by [`Lease::give_back`].
pub struct Lease {
    shared: Arc<Shared>,
    pub origin: Origin,
    pub ticket: Ticket,
    pub connection: Option<Connection>,
    /// When the connection was dialled.
    born: Instant,
    /// Since when the request is on the line.
    sending: Option<Instant>,
    stage: Stage,
    /// Bytes of the request's body.
    pub sent: u64,
    /// When the request was signed, seconds since 1970.
    pub signed: Option<u64>,
    watch: RequestWatch,
    _permit: OwnedSemaphorePermit,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Not on the line, or through with it.
    Idle,
    /// The request waits for its answer.
    Waiting,
    /// The answer's body is coming.
    Receiving,
}

impl Connection {
    pub fn fresh(line: Line) -> Self {
        let now = Instant::now();
        Self { line, born: now, idle_since: now, used: false }
    }
}

impl Lease {
    pub fn new(
        shared: Arc<Shared>,
        origin: Origin,
        ticket: Ticket,
        watch: RequestWatch,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        Self {
            shared,
            origin,
            ticket,
            connection: None,
            born: Instant::now(),
            sending: None,
            stage: Stage::Idle,
            sent: 0,
            signed: None,
            watch,
            _permit: permit,
        }
    }

    pub fn with(mut self, connection: Connection) -> Self {
        self.born = connection.born;
        self.connection = Some(connection);
        self
    }

    /// Dials the chosen address, then the others in the order of their load.
    pub async fn dial(mut self, addresses: &[SocketAddr]) -> Result<Self, ConnectorError> {
        let mut tried = Vec::with_capacity(addresses.len());
        loop {
            let address = self.ticket.address();
            match self.shared.dialler.dial(&self.origin, address).await {
                Ok(line) => return Ok(self.with(Connection::fresh(line))),
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

    pub async fn redial(self) -> Result<Self, ConnectorError> {
        let addresses = [self.ticket.address()];
        self.dial(&addresses).await
    }

    /// The request goes on the line.
    pub fn begin(&mut self) {
        (self.sending, self.stage) = (Some(Instant::now()), Stage::Waiting);
        self.watch.sent(self.ticket.address());
    }

    /// Nothing of the request was sent: the connection had ended.
    pub fn was_closed(&mut self) {
        self.stage = Stage::Idle;
        self.connection = None;
    }

    pub fn broken(&mut self, error: &hyper::Error) -> ConnectorError {
        self.stage = Stage::Idle;
        let what = format!("{} at {}: {}", self.origin, self.ticket.address(), chain(error));
        self.ticket.shut(Cause::Lost, &what);
        let kind = if error.is_timeout() { ConnectorError::timeout } else { ConnectorError::io };
        kind(what.into())
    }

    /// The answer for the SDK. A body whose length is known goes to `landing`, if there is one and nothing was refused.
    pub async fn respond(mut self, response: http::Response<Incoming>, landing: Option<Landing>) -> HttpResponse {
        self.stage = Stage::Receiving;
        self.watch.answered(response.status());
        let keeps_alive = keeps_alive(&response);
        let (mut parts, body) = response.into_parts();
        self.ticket.answered(parts.status.as_u16());
        self.mark(parts.status, &mut parts.headers);
        // A refusal tells nothing about the pace of what was sent.
        self.sent = if parts.status.is_success() { self.sent } else { 0 };
        let landing = landing.filter(|_| parts.status.is_success()).zip(body.size_hint().exact());
        let body = match landing {
            Some((landing, len)) => {
                landing.put(Landed::new(self, body, len, keeps_alive).await);
                SdkBody::empty()
            }
            None => SdkBody::from_body_1_x(LeasedBody { body, lease: Some(self) }.release_if_empty()),
        };
        let response = http::Response::from_parts(parts, body);
        // The conversion fails only for headers that are no UTF-8, which `HttpResponse` cannot hold.
        HttpResponse::try_from(response).unwrap_or_else(|_| {
            let status = http::StatusCode::BAD_GATEWAY;
            HttpResponse::new(status.into(), SdkBody::from("response headers are not valid UTF-8"))
        })
    }

    /// Tells the error path and the retry rules what they want to know, in headers.
    fn mark(&self, status: http::StatusCode, headers: &mut HeaderMap) {
        let is_endpoint = self.shared.dialler.is_endpoint(&self.origin);
        let now = if is_endpoint { self.shared.clock.hear(headers) } else { None };
        if let (http::StatusCode::FORBIDDEN, Some(now), Some(signed)) = (status, now, self.signed)
            && now.abs_diff(signed) > SKEW_MAX_SECONDS
        {
            headers.insert(SKEWED_HEADER, HeaderValue::from_static("true"));
        }
        if let Ok(value) = HeaderValue::from_str(&self.ticket.address().to_string()) {
            headers.insert(ADDRESS_HEADER, value);
        }
    }

    /// A piece of the answer's body has come.
    pub fn received(&mut self, bytes: usize) {
        self.watch.received(bytes);
    }

    pub fn shut(&self, cause: Cause, why: &str) {
        self.ticket.shut(cause, why);
    }

    pub fn take_line(&mut self) -> Option<Line> {
        self.connection.take().map(|connection| connection.line)
    }

    /// A line on the stream that [`Lease::take_line`] gave away.
    pub fn put_line(&mut self, line: Line) {
        self.connection = Some(Connection { born: self.born, ..Connection::fresh(line) });
    }

    /// Keeps the connection for the next request of this address.
    pub fn give_back(mut self) {
        let Some(mut connection) = self.connection.take() else { return };
        connection.idle_since = Instant::now();
        connection.used = true;
        self.shared.keep(&self.origin, self.ticket.address(), connection);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(time) = self.sending.map(|since| since.elapsed()) else { return };
        match self.stage {
            Stage::Idle => {}
            // Given up: a deadline passed, or another address was faster, if it waited long; sooner, its caller had
            // enough. The next attempt must not come here first.
            Stage::Waiting if time > LATE && !self.ticket.is_moot() => {
                let cause = if self.sent < PACE_BYTES_MIN { Cause::Lost } else { Cause::Slow };
                self.ticket.shut(cause, "a request was not answered in its time");
            }
            Stage::Waiting => {}
            // How fast the address moved what the request was for, also if that was cut because it came too slowly.
            Stage::Receiving => self.ticket.moved(self.sent.max(self.watch.received_bytes()), time),
        }
    }
}

/// HTTP/1.1 keeps a connection unless it says otherwise.
fn keeps_alive<B>(response: &http::Response<B>) -> bool {
    let values = response.headers().get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let closes = values.flat_map(|value| value.split(',')).any(|word| word.trim().eq_ignore_ascii_case("close"));
    response.version() == http::Version::HTTP_11 && !closes
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
            lease.received(frame.data_ref().map_or(0, Bytes::len));
        }
        match &frame {
            Some(Ok(_)) if self.body.is_end_stream() => self.finish(),
            Some(Ok(_)) => {}
            Some(Err(error)) => {
                if let Some(lease) = &self.lease {
                    lease.shut(Cause::Lost, &format!("a body broke off: {}", chain(error)));
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
