//! A connection with a request on it: chosen, dialled, answered, given back.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::retry::ErrorKind;
use bytes::Bytes;
use http::header::{HeaderMap, HeaderValue};
use hyper::body::Incoming;
use tokio::sync::OwnedSemaphorePermit;

use super::answer::{Doubt, Form, Success, judge_body};
use super::balancer::{Cause, LATE, PACE_BYTES_MIN, Ticket};
use super::body::{Landed, Landing, collect, too_long};
use super::connector::Shared;
use super::context::{ADDRESS_HEADER, LAST_HEADER, SKEWED_HEADER};
use super::effort::Effort;
use super::expected::{Asked, ERROR_BODY_MAX};
use crate::clean::{WORDS_MAX, words};
use crate::error::chain;
use crate::error::{Error, Kind};
use crate::metrics::request::RequestWatch;
use crate::net::dialer::Origin;
use crate::net::http1::Line;
use crate::net::server_clock;

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
    /// Counts what the request's operation may still cost.
    effort: Option<Effort>,
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

/// Counts a refusal that has come as an answer, and marks the last that is taken.
fn count_refusal(effort: Option<&Effort>, headers: &mut HeaderMap) {
    if effort.is_some_and(Effort::refused) {
        headers.insert(LAST_HEADER, HeaderValue::from_static("true"));
    }
}

/// True for a success, and for a refusal in S3's own words or, as HEAD has none, in no words at all.
fn is_of_the_store(status: http::StatusCode, body: &[u8]) -> bool {
    let refuses = status.is_client_error() && (body.is_empty() || Form::of(body) == Form::Whole("Error"));
    status.is_success() || refuses
}

/// No address of the server could be reached. That is no refusal: as long as the operation has time, it is tried again.
pub fn unreached(effort: Option<&Effort>, error: impl Into<BoxError>) -> ConnectorError {
    let error = Error::with_source(Kind::Network, "nothing answers", error);
    let again = !effort.is_some_and(Effort::is_over);
    ConnectorError::other(error.into(), again.then_some(ErrorKind::TransientError)).never_connected()
}

impl Connection {
    pub fn fresh(line: Line) -> Self {
        let now = Instant::now();
        Self {
            line,
            born: now,
            idle_since: now,
            used: false,
        }
    }
}

impl Lease {
    pub fn new(
        shared: Arc<Shared>,
        origin: Origin,
        ticket: Ticket,
        watch: RequestWatch,
        effort: Option<Effort>,
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
            effort,
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
                        return Err(unreached(self.effort.as_ref(), error));
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
        let what = format!("{}: {}", self.place(), chain(error));
        if error.is_timeout() {
            self.ticket.shut(Cause::Lost, &what);
            return ConnectorError::timeout(what.into());
        }
        self.cut(&what)
    }

    /// The connection, or what came over it, broke off: the request is tried again as long as its effort lasts.
    pub fn cut(&self, what: &str) -> ConnectorError {
        self.ticket.shut(Cause::Lost, what);
        self.doubted(Error::new(Kind::Network, what))
    }

    /// The same for an answer that came and is not believed, of which the address need not be guilty.
    fn doubted(&self, error: Error) -> ConnectorError {
        let again = !self.effort.as_ref().is_some_and(Effort::refused);
        ConnectorError::other(error.into(), again.then_some(ErrorKind::ServerError))
    }

    /// The server and its address, for messages.
    pub fn place(&self) -> String {
        let (origin, address) = (self.origin.to_string(), self.ticket.address().to_string());
        if origin == address {
            address
        } else {
            format!("{origin} at {address}")
        }
    }

    /// The answer for the SDK. The body goes to `landing`, if there is one and nothing was refused; all others are taken in
    /// here, whole and bounded, and handed on when they are what they should be.
    pub async fn respond(
        mut self,
        response: http::Response<Incoming>,
        asked: Asked,
        landing: Option<Landing>,
    ) -> Result<HttpResponse, ConnectorError> {
        self.stage = Stage::Receiving;
        self.watch.answered(response.status());
        let (mut parts, body) = response.into_parts();
        self.ticket.answered(parts.status.as_u16());
        let date = self.date(&parts.headers);
        self.mark(parts.status, date, &mut parts.headers);
        let (shared, address) = (Arc::clone(&self.shared), self.ticket.address());
        // A refusal tells nothing about the pace of what was sent.
        self.sent = if parts.status.is_success() { self.sent } else { 0 };
        let body = match landing.filter(|_| parts.status.is_success()) {
            Some(landing) => {
                if let Some(body) = Landed::take(self, &parts, body, landing.chunked_max()).await? {
                    landing.put(body);
                }
                date.into_iter().for_each(|date| shared.clock.hear(address, date));
                SdkBody::empty()
            }
            None => {
                let effort = self.effort.clone();
                let bytes = self.take_in(body, asked, parts.status).await?;
                // The server began to answer before it knew: a refusal like any other.
                let may_refuse = parts.status.is_success() && asked.success() == Success::DocumentOrError;
                if may_refuse && Form::of(&bytes) == Form::Whole("Error") {
                    count_refusal(effort.as_ref(), &mut parts.headers);
                }
                // Believed by now. The errors of a proxy tell the proxy's time.
                if is_of_the_store(parts.status, &bytes) {
                    date.into_iter().for_each(|date| shared.clock.hear(address, date));
                }
                SdkBody::from(bytes)
            }
        };
        let response = http::Response::from_parts(parts, body);
        // The conversion fails only for headers that are no UTF-8, which `HttpResponse` cannot hold.
        Ok(HttpResponse::try_from(response).unwrap_or_else(|_| {
            let status = http::StatusCode::BAD_GATEWAY;
            HttpResponse::new(status.into(), SdkBody::from("response headers are not valid UTF-8"))
        }))
    }

    /// A body that the SDK reads: to its end, no longer than such a body can be, and a whole document where one belongs.
    async fn take_in(self, body: Incoming, asked: Asked, status: http::StatusCode) -> Result<Bytes, ConnectorError> {
        let success = (asked.body_max(), asked.foreign());
        let (max, foreign) = if status.is_success() {
            success
        } else {
            (ERROR_BODY_MAX, Kind::Unavailable)
        };
        let is_endpoint = self.shared.dialler.is_endpoint(&self.origin);
        let (lease, bytes) = collect(self, body, max).await?;
        let Some(bytes) = bytes else {
            return Err(too_long(&lease, max, foreign));
        };
        let doubt = judge_body(asked.success(), status.as_u16(), &bytes)
            .err()
            .filter(|_| is_endpoint);
        let Some(doubt) = doubt.filter(|_| !asked.is_head()) else {
            lease.give_back();
            return Ok(bytes);
        };
        let what = format!("HTTP {} from {}: {doubt}", status.as_u16(), lease.place());
        if let Doubt::Cut(_) = doubt {
            return Err(lease.cut(&what));
        }
        let words = words(&String::from_utf8_lossy(
            bytes.get(..bytes.len().min(WORDS_MAX)).unwrap_or_default(),
        ));
        let what = if words.trim().is_empty() {
            what
        } else {
            format!("{what}; it begins with: {words}")
        };
        let error = Error::new(foreign, what);
        // Asked again, a store that does not know the call says the same.
        let is_final = foreign == Kind::Unsupported;
        Err(if is_final {
            ConnectorError::other(error.into(), None)
        } else {
            lease.doubted(error)
        })
    }

    /// The time that an answer of the endpoint tells.
    fn date(&self, headers: &HeaderMap) -> Option<u64> {
        server_clock::date_of(headers).filter(|_| self.shared.dialler.is_endpoint(&self.origin))
    }

    /// Tells the error path and the retry rules what they want to know, in headers.
    fn mark(&self, status: http::StatusCode, now: Option<u64>, headers: &mut HeaderMap) {
        if let (http::StatusCode::FORBIDDEN, Some(now), Some(signed)) = (status, now, self.signed)
            && now.abs_diff(signed) > SKEW_MAX_SECONDS
        {
            headers.insert(SKEWED_HEADER, HeaderValue::from_static("true"));
        } else {
            headers.remove(SKEWED_HEADER);
        }
        if let Ok(value) = HeaderValue::from_str(&self.ticket.address().to_string()) {
            headers.insert(ADDRESS_HEADER, value);
        }
        headers.remove(LAST_HEADER);
        if !status.is_success() {
            count_refusal(self.effort.as_ref(), headers);
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
        self.connection = Some(Connection {
            born: self.born,
            ..Connection::fresh(line)
        });
    }

    /// Keeps the connection for the next request of this address.
    pub fn give_back(mut self) {
        let Some(mut connection) = self.connection.take() else {
            return;
        };
        connection.idle_since = Instant::now();
        connection.used = true;
        self.shared.keep(&self.origin, self.ticket.address(), connection);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(time) = self.sending.map(|since| since.elapsed()) else {
            return;
        };
        match self.stage {
            Stage::Idle => {}
            // Given up: a deadline passed, or another address was faster, if it waited long; sooner, its caller had
            // enough. The next attempt must not come here first.
            Stage::Waiting if time > LATE && !self.ticket.is_moot() => {
                let cause = if self.sent < PACE_BYTES_MIN {
                    Cause::Lost
                } else {
                    Cause::Slow
                };
                self.ticket.shut(cause, "a request was not answered in its time");
            }
            Stage::Waiting => {}
            // How fast the address moved what the request was for, also if that was cut because it came too slowly.
            Stage::Receiving => self.ticket.moved(self.sent.max(self.watch.received_bytes()), time),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_proxy_is_not_the_stores() {
        let status = |code: u16| http::StatusCode::from_u16(code).unwrap();
        let error: &[u8] = b"<Error><Code>SlowDown</Code></Error>";
        for (code, body) in [
            (200, &b"<ListBucketResult/>"[..]),
            (204, b""),
            (404, b""),
            (404, error),
            (412, error),
        ] {
            assert!(is_of_the_store(status(code), body), "{code}");
        }
        for (code, body) in [
            (502, &b""[..]),
            (503, error),
            (403, b"<html>blocked</html>"),
            (302, b""),
        ] {
            assert!(!is_of_the_store(status(code), body), "{code}");
        }
    }
}
