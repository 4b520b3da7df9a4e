//! The connections of one server: those that wait for a request, how many there may be, and how its addresses are doing.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aws_smithy_types::body::SdkBody;
use http::header::HOST;
use tokio::sync::Semaphore;

use super::balancer::{Addresses, InFlightGuard};
use crate::config::Transfer;
use crate::metrics::request::ServerMetrics;
use crate::net::dialer::{Dialler, Origin};
use crate::net::http1::Line;
use crate::net::server_clock::ServerClock;

/// A probe that is not answered in this time failed.
const PROBE: Duration = Duration::from_secs(3);

pub(super) type BoxError = Box<dyn std::error::Error + Send + Sync>;

pub struct Connection {
    pub line: Line,
    pub born: Instant,
    pub idle_since: Instant,
    /// Has served a request: its server may have closed it since, which says nothing about the server.
    pub used: bool,
}

/// What the connector and the requests under way share.
pub struct Shared {
    pub dialler: Dialler,
    pub clock: ServerClock,
    pub addresses: Addresses,
    pub permits: Arc<Semaphore>,
    pub metrics: Arc<ServerMetrics>,
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

impl Shared {
    pub fn new(dialler: Dialler, transfer: &Transfer, metrics: Arc<ServerMetrics>) -> Self {
        Self {
            dialler,
            clock: ServerClock::default(),
            addresses: Addresses::new(Arc::clone(&metrics)),
            metrics,
            permits: Arc::new(Semaphore::new(transfer.connections)),
            idle_max: transfer.connection_idle,
            age_max: transfer.connection_max_age,
            idle: Mutex::default(),
        }
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The address for a request, if there is one; those that are due are probed on the way.
    pub fn choose(self: &Arc<Self>, origin: &Origin, addresses: &[SocketAddr]) -> Option<InFlightGuard> {
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

    pub fn reuse(&self, origin: &Origin, address: SocketAddr) -> Option<Connection> {
        let now = Instant::now();
        let mut idle = self.idle();
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
