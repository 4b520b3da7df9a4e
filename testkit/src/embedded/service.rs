//! One request: its id, and the fault that a test asked for.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::{HeaderValue, Request, Response};
use hyper::body::Incoming;
use hyper::service::Service;
use s3s::service::S3Service;
use s3s::{Body, HttpError};

use super::faults::Asked;

/// `s3s` with what stands before and behind it.
#[derive(Clone)]
pub struct Answering {
    pub service: S3Service,
    pub count: Arc<AtomicU64>,
}

impl Service<Request<Incoming>> for Answering {
    type Response = Response<Body>;
    type Error = HttpError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, HttpError>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let service = self.service.clone();
        let asked = Asked::default();
        let id = format!("{:016X}", self.count.fetch_add(1, Ordering::Relaxed) + 1);
        let mut request = request.map(Body::from);
        request.extensions_mut().insert(asked.clone());
        Box::pin(async move {
            let mut answer = asked.end(service.call(request).await?);
            if let Ok(id) = HeaderValue::from_str(&id) {
                answer.headers_mut().insert("x-amz-request-id", id);
            }
            Ok(answer)
        })
    }
}
