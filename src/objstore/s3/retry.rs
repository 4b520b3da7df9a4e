//! What the SDK's own retry rules leave out: `Retry-After`, and answers without an S3 code.
//!
//! The SDK knows `x-amz-retry-after` alone; web servers and load balancers before a store send the header of RFC 9110,
//! 10.2.3. Either is obeyed up to `[retry] backoff_max`.

use std::time::Duration;

use aws_smithy_runtime_api::client::interceptors::context::InterceptorContext;
use aws_smithy_runtime_api::client::retries::classifiers::{
    ClassifyRetry, RetryAction, RetryClassifierPriority, RetryReason,
};
use aws_smithy_types::retry::ErrorKind;

use crate::objstore::transport::context::{LAST_HEADER, SKEWED_HEADER};

/// What S3 answers when another request for the object is under way: to be sent again, as its documentation says.
const CONFLICTS: [&str; 2] = [
    "<Code>ConditionalRequestConflict</Code>",
    "<Code>OperationAborted</Code>",
];

/// Refines what the SDK's classifiers decide; runs after them.
#[derive(Debug)]
pub struct ServerHints;

impl ClassifyRetry for ServerHints {
    fn classify_retry(&self, ctx: &InterceptorContext) -> RetryAction {
        self.classify_retry_v2(ctx, &RetryAction::NoActionIndicated)
    }

    fn classify_retry_v2(&self, ctx: &InterceptorContext, previous: &RetryAction) -> RetryAction {
        let (Some(response), Some(Err(_))) = (ctx.response(), ctx.output_or_error()) else {
            return RetryAction::NoActionIndicated;
        };
        let after = response.headers().get("retry-after").and_then(parse_retry_after);
        let skewed = response.headers().get(SKEWED_HEADER).is_some();
        if response.headers().get(LAST_HEADER).is_some() {
            return RetryAction::RetryForbidden;
        }
        match (previous, response.status().as_u16()) {
            // What a store answers is no silence, which costs no tokens.
            (RetryAction::RetryIndicated(RetryReason::RetryableError { kind, retry_after }), _) => {
                let kind = if *kind == ErrorKind::TransientError {
                    ErrorKind::ServerError
                } else {
                    *kind
                };
                retry(kind, retry_after.or(after))
            }
            (RetryAction::NoActionIndicated, 408) => retry(ErrorKind::TransientError, after),
            (RetryAction::NoActionIndicated, 409) if is_conflict(response.body().bytes()) => {
                retry(ErrorKind::ServerError, after)
            }
            (RetryAction::NoActionIndicated, 429) => retry(ErrorKind::ThrottlingError, after),
            // The SDK has learned the server's time from this very answer and signs the next attempt with it. It retries
            // by the S3 code, which an answer to HEAD cannot have.
            (RetryAction::NoActionIndicated, 403) if skewed => retry(ErrorKind::ServerError, after),
            _ => RetryAction::NoActionIndicated,
        }
    }

    fn name(&self) -> &'static str {
        "vastost server hints"
    }

    fn priority(&self) -> RetryClassifierPriority {
        // The last of the SDK's own.
        RetryClassifierPriority::run_after(RetryClassifierPriority::transient_error_classifier())
    }
}

fn is_conflict(body: Option<&[u8]>) -> bool {
    let text = String::from_utf8_lossy(body.unwrap_or_default());
    CONFLICTS.iter().any(|code| text.contains(code))
}

fn retry(kind: ErrorKind, retry_after: Option<Duration>) -> RetryAction {
    RetryAction::RetryIndicated(RetryReason::RetryableError { kind, retry_after })
}

/// Seconds; the form with a date is not sent by any S3 server that we know.
fn parse_retry_after(text: &str) -> Option<Duration> {
    text.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_smithy_runtime_api::client::interceptors::context::{Error, Input};
    use aws_smithy_runtime_api::client::orchestrator::{HttpResponse, OrchestratorError};
    use aws_smithy_types::body::SdkBody;

    fn classify(status: u16, header: Option<(&'static str, &'static str)>, previous: &RetryAction) -> RetryAction {
        classify_body(status, "", header, previous)
    }

    fn classify_body(
        status: u16,
        body: &'static str,
        header: Option<(&'static str, &'static str)>,
        previous: &RetryAction,
    ) -> RetryAction {
        let mut response = HttpResponse::new(status.try_into().unwrap(), SdkBody::from(body));
        if let Some((name, value)) = header {
            response.headers_mut().insert(name, value);
        }
        let mut ctx = InterceptorContext::new(Input::doesnt_matter());
        ctx.set_output_or_error(Err(OrchestratorError::operation(Error::doesnt_matter())));
        ctx.set_response(response);
        ServerHints.classify_retry_v2(&ctx, previous)
    }

    #[test]
    fn retry_after_delays_what_is_retried_and_makes_nothing_else_so() {
        let after = Some(("retry-after", "7"));
        let none = RetryAction::NoActionIndicated;
        let delayed = retry(ErrorKind::ThrottlingError, Some(Duration::from_secs(7)));
        assert_eq!(classify(503, after, &RetryAction::throttling_error()), delayed);
        let at_once = retry(ErrorKind::ThrottlingError, None);
        assert_eq!(classify(503, None, &RetryAction::throttling_error()), at_once);
        assert_eq!(
            classify(503, Some(("retry-after", "soon")), &RetryAction::throttling_error()),
            at_once
        );
        assert_eq!(classify(400, after, &none), none);
        assert_eq!(classify(429, after, &none), delayed);
    }

    #[test]
    fn the_last_refusal_ends_the_operation_and_every_other_costs_a_token() {
        let refused = RetryAction::transient_error();
        assert_eq!(classify(500, None, &refused), retry(ErrorKind::ServerError, None));
        assert_eq!(
            classify(500, Some((LAST_HEADER, "true")), &refused),
            RetryAction::RetryForbidden
        );
    }

    #[test]
    fn a_conflict_with_another_request_is_tried_again_and_no_other_conflict() {
        let none = RetryAction::NoActionIndicated;
        for (status, code, again) in [
            (409, "<Error><Code>ConditionalRequestConflict</Code></Error>", true),
            (409, "<Error><Code>OperationAborted</Code></Error>", true),
            (409, "<Error><Code>BucketNotEmpty</Code></Error>", false),
            (409, "", false),
            (412, "<Error><Code>PreconditionFailed</Code></Error>", false),
        ] {
            assert_eq!(
                classify_body(status, code, None, &none).should_retry(),
                again,
                "{status} {code}"
            );
        }
        let last = Some((LAST_HEADER, "true"));
        assert_eq!(
            classify_body(409, CONFLICTS[0], last, &none),
            RetryAction::RetryForbidden
        );
    }

    #[test]
    fn a_refusal_is_tried_again_only_when_it_was_signed_at_the_wrong_time() {
        let none = RetryAction::NoActionIndicated;
        assert_eq!(classify(403, None, &none), none);
        assert!(classify(403, Some((SKEWED_HEADER, "true")), &none).should_retry());
        assert_eq!(
            classify(403, Some((SKEWED_HEADER, "true")), &RetryAction::RetryForbidden),
            none
        );
    }
}
