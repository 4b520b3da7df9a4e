//! The answer to a request: what of it goes to the SDK, and what is believed of it.

use std::sync::Arc;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use hyper::body::Incoming;

use super::answer::{Doubt, Form, Success, evaluate_body};
use super::body::{BodySlot, ResponseBody, collect, too_long};
use super::checkout::{Checkout, Stage, count_refusal};
use super::expected::{Asked, ERROR_BODY_MAX};
use crate::clean::{WORDS_MAX, words};
use crate::error::{Error, Kind};

impl Checkout {
    /// The answer for the SDK. The body goes to `landing`, if there is one and nothing was refused; all others are taken in
    /// here, whole and bounded, and handed on when they are what they should be.
    pub async fn respond(
        mut self,
        response: http::Response<Incoming>,
        asked: Asked,
        landing: Option<BodySlot>,
    ) -> Result<HttpResponse, ConnectorError> {
        self.stage = Stage::Receiving;
        self.watch.answered(response.status());
        let (mut parts, body) = response.into_parts();
        self.ticket.answered(parts.status.as_u16());
        let date = self.date(&parts.headers);
        self.mark(parts.status, date, &mut parts.headers);
        let shared = Arc::clone(&self.shared);
        let address = self.ticket.address();
        // A refusal tells nothing about the pace of what was sent.
        self.sent = if parts.status.is_success() { self.sent } else { 0 };
        let body = match landing.filter(|_| parts.status.is_success()) {
            Some(landing) => {
                if let Some(body) = ResponseBody::take(self, &parts, body, landing.chunked_max()).await? {
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
        let (checkout, bytes) = collect(self, body, max).await?;
        let Some(bytes) = bytes else {
            return Err(too_long(&checkout, max, foreign));
        };
        let doubt = evaluate_body(asked.success(), status.as_u16(), &bytes)
            .err()
            .filter(|_| is_endpoint);
        let Some(doubt) = doubt.filter(|_| !asked.is_head()) else {
            checkout.give_back();
            return Ok(bytes);
        };
        let what = format!("HTTP {} from {}: {doubt}", status.as_u16(), checkout.place());
        if let Doubt::Cut(_) = doubt {
            return Err(checkout.cut(&what));
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
            checkout.doubted(error)
        })
    }
}

/// True for a success, and for a refusal in S3's own words or, as HEAD has none, in no words at all.
fn is_of_the_store(status: http::StatusCode, body: &[u8]) -> bool {
    let refuses = status.is_client_error() && (body.is_empty() || Form::of(body) == Form::Whole("Error"));
    status.is_success() || refuses
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
