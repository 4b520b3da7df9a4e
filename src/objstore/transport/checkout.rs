//! A connection with a request on it: chosen, dialled, answered, given back.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::retry::ErrorKind;
use http::header::{HeaderMap, HeaderValue};
use tokio::sync::OwnedSemaphorePermit;

use super::balancer::{InFlightGuard, PACE_BYTES_MIN};
use super::connections::{BoxError, Connection, Shared};
use super::context::{ADDRESS_HEADER, LAST_HEADER, SKEWED_HEADER};
use super::effort::Effort;
use super::health::{Cause, LATE};
use crate::error::{Error, Kind, chain};
use crate::metrics::request::RequestWatch;
use crate::net::dialer::Origin;
use crate::net::http1::Line;
use crate::net::server_clock;

/// Servers refuse signatures 15 minutes off; the SDK corrects its time from here on.
const SKEW_MAX_SECONDS: u64 = 4 * 60;

/// A connection in use; it goes back to the pool by [`Checkout::give_back`].
pub struct Checkout {
    pub(super) shared: Arc<Shared>,
    pub origin: Origin,
    pub ticket: InFlightGuard,
    pub connection: Option<Connection>,
    /// When the connection was dialled.
    born: Instant,
    /// Since when the request is on the line.
    sending: Option<Instant>,
    pub(super) stage: Stage,
    /// Bytes of the request's body.
    pub sent: u64,
    /// When the request was signed, seconds since 1970.
    pub signed: Option<u64>,
    pub(super) watch: RequestWatch,
    /// Counts what the request's operation may still cost.
    pub(super) effort: Option<Effort>,
    _permit: OwnedSemaphorePermit,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Not on the line, or through with it.
    Idle,
    /// The request waits for its answer.
    Waiting,
    /// The answer's body is coming.
    Receiving,
}

/// Counts a refusal that has come as an answer, and marks the last that is taken.
pub(super) fn count_refusal(effort: Option<&Effort>, headers: &mut HeaderMap) {
    if effort.is_some_and(Effort::refused) {
        headers.insert(LAST_HEADER, HeaderValue::from_static("true"));
    }
}

/// No address of the server could be reached. That is no refusal: as long as the operation has time, it is tried again.
pub fn unreached(effort: Option<&Effort>, error: impl Into<BoxError>) -> ConnectorError {
    let error = Error::with_source(Kind::Network, "no connection", error);
    let again = !effort.is_some_and(Effort::is_over);
    ConnectorError::other(error.into(), again.then_some(ErrorKind::TransientError)).never_connected()
}

impl Checkout {
    /// Waits for the address of a request, and for a connection to it.
    pub async fn check_out(
        shared: &Arc<Shared>,
        origin: Origin,
        permit: OwnedSemaphorePermit,
        watch: RequestWatch,
        effort: Option<Effort>,
    ) -> Result<Self, ConnectorError> {
        let addresses = shared
            .dialler
            .addresses(&origin)
            .await
            .map_err(|e| unreached(effort.as_ref(), e))?;
        let none = || unreached(effort.as_ref(), format!("{origin} resolves to no address"));
        let ticket = shared.choose(&origin, &addresses).ok_or_else(none)?;
        let checkout = Checkout::new(Arc::clone(shared), origin, ticket, watch, effort, permit);
        match shared.reuse(&checkout.origin, checkout.ticket.address()) {
            Some(connection) => Ok(checkout.with(connection)),
            None => checkout.dial(&addresses).await,
        }
    }

    pub fn new(
        shared: Arc<Shared>,
        origin: Origin,
        ticket: InFlightGuard,
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
    pub(super) fn doubted(&self, error: Error) -> ConnectorError {
        let again = !self.effort.as_ref().is_some_and(Effort::refused);
        ConnectorError::other(error.into(), again.then_some(ErrorKind::ServerError))
    }

    /// The server and its address, for messages.
    pub fn place(&self) -> String {
        let origin = self.origin.to_string();
        let address = self.ticket.address().to_string();
        if origin == address {
            address
        } else {
            format!("{origin} at {address}")
        }
    }

    /// The time that an answer of the endpoint tells.
    pub(super) fn date(&self, headers: &HeaderMap) -> Option<u64> {
        server_clock::date_of(headers).filter(|_| self.shared.dialler.is_endpoint(&self.origin))
    }

    /// Tells the error path and the retry rules what they want to know, in headers.
    pub(super) fn mark(&self, status: http::StatusCode, now: Option<u64>, headers: &mut HeaderMap) {
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

    /// A line on the stream that [`Checkout::take_line`] gave away.
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

impl Drop for Checkout {
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
