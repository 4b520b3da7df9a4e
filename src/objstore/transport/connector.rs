//! HTTP/1.1 connections under the SDK: dialled over every address of the endpoint, evenly used, bounded, aged.
//!
//! The SDK signs, retries and parses; this connector only carries one request at a time on one connection. A request
//! goes to the address that [`super::balancer`] chooses; an idle connection there is reused, else one is dialled.
//! Names are looked up for every request ([`crate::net::resolver`] says what is kept), since VAST moves its VIPs. Host, SNI and
//! signature keep the configured name. Other hosts (the AWS chain's credential services) are reached through the same
//! code by their own name.

use std::fmt;
use std::sync::Arc;

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use http::header::{CONTENT_LENGTH, HOST, HeaderValue};

use super::balancer::Addresses;
use super::body::BodySlot;
use super::checkout::Checkout;
use super::connections::{BoxError, Shared};
use super::effort::Effort;
use super::expected::Asked;
use crate::config::Transfer;
use crate::metrics::request::ServerMetrics;
use crate::net::dialer::{Dialler, Origin};
use crate::net::server_clock::{self, ServerClock};

/// The connector; clones share the connections.
#[derive(Clone)]
pub struct Transport {
    shared: Arc<Shared>,
}

impl Transport {
    pub fn new(dialler: Dialler, transfer: &Transfer, metrics: Arc<ServerMetrics>) -> Self {
        let shared = Shared::new(dialler, transfer, metrics);
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
        let landing = request.extensions_mut().remove::<BodySlot>();
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
        let mut checkout = Checkout::check_out(&self.shared, origin, permit, watch, effort).await?;
        checkout.sent = request.body().content_length().unwrap_or_default();
        checkout.signed = request
            .headers()
            .get("x-amz-date")
            .and_then(server_clock::parse_amz_date);

        loop {
            let Some(connection) = checkout.connection.as_mut() else {
                checkout = checkout.redial().await?;
                continue;
            };
            let used = connection.used;
            // The end of the last body may have reached us before the connection task was done with it.
            match connection.line.sender.ready().await {
                Ok(()) => {}
                Err(_) if used => {
                    checkout.connection = None;
                    continue;
                }
                Err(error) => return Err(checkout.broken(&error)),
            }
            let sent = connection.line.sender.try_send_request(request);
            checkout.begin();
            match sent.await {
                Ok(response) => return checkout.respond(response, asked, landing).await,
                Err(mut error) => match error.take_message() {
                    // Nothing was sent: the server closed an idle connection. Another one costs no attempt.
                    Some(unsent) if used => {
                        request = unsent;
                        checkout.was_closed();
                    }
                    _ => return Err(checkout.broken(error.error())),
                },
            }
        }
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
