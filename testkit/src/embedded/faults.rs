//! What goes wrong on request: a test names an operation, and what becomes of it. What happens on the wire, between bytes,
//! is the scripted proxy's business.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_body::Frame;
use s3s::{Body, HttpResponse, S3Error, S3ErrorCode, S3Result, StdError};

use super::store::lock;

/// Something that goes wrong with requests of one operation.
#[derive(Clone, Debug)]
pub struct Fault {
    /// As AWS names it: `PutObject`; `*` for all.
    pub operation: String,
    /// Only of keys that begin with this; empty: of all, and of requests without a key.
    pub key_prefix: String,
    /// So many requests go well before.
    pub skip: u32,
    /// And so many do not.
    pub times: u32,
    pub trouble: Trouble,
}

#[derive(Clone, Debug)]
pub enum Trouble {
    /// Refused before anything was done.
    Refuse { status: u16, code: String },
    /// Done, and answered as if it were not.
    RefuseAfter { status: u16, code: String },
    /// Done later than asked for.
    Delay(Duration),
    /// The answer's body ends after so many bytes, and the connection with it.
    Cut(u64),
}

#[derive(Default)]
pub struct Faults {
    planned: Mutex<Vec<Fault>>,
    met: AtomicU64,
    requests: Mutex<BTreeMap<String, u64>>,
}

/// What was found out about a request while it was served, and is due when its answer is ready.
#[derive(Clone, Default)]
pub struct Asked(Arc<Mutex<Option<Trouble>>>);

impl Faults {
    pub fn plan(&self, fault: Fault) {
        lock(&self.planned).push(fault);
    }

    pub fn clear(&self) {
        lock(&self.planned).clear();
        self.met.store(0, Ordering::Relaxed);
    }

    /// Requests that met a fault since the last clear.
    pub fn met(&self) -> u64 {
        self.met.load(Ordering::Relaxed)
    }

    /// How many requests of an operation were let in so far.
    pub fn requests(&self, operation: &str) -> u64 {
        lock(&self.requests).get(operation).copied().unwrap_or_default()
    }

    /// Before an operation does anything.
    pub async fn begin(&self, operation: &str, key: Option<&str>, asked: &Asked) -> S3Result<()> {
        *lock(&self.requests).entry(operation.to_owned()).or_default() += 1;
        match self.due(operation, key) {
            Some(Trouble::Refuse { status, code }) => return Err(refusal(status, &code)),
            Some(Trouble::Delay(time)) => tokio::time::sleep(time).await,
            later => *lock(&asked.0) = later,
        }
        Ok(())
    }

    fn due(&self, operation: &str, key: Option<&str>) -> Option<Trouble> {
        let mut planned = lock(&self.planned);
        let concerns = |fault: &&mut Fault| {
            let key = fault.key_prefix.is_empty() || key.is_some_and(|key| key.starts_with(&fault.key_prefix));
            let named = fault.operation == "*" || fault.operation == operation;
            named && key && fault.times > 0
        };
        let fault = planned.iter_mut().find(concerns)?;
        if fault.skip > 0 {
            fault.skip -= 1;
            return None;
        }
        fault.times -= 1;
        self.met.fetch_add(1, Ordering::Relaxed);
        Some(fault.trouble.clone())
    }
}

impl Asked {
    /// When the answer is ready.
    pub fn end(&self, answer: HttpResponse) -> HttpResponse {
        match lock(&self.0).take() {
            Some(Trouble::RefuseAfter { status, code }) => refusal(status, &code).to_http_response().unwrap_or(answer),
            Some(Trouble::Cut(left)) => answer.map(|body| Body::http_body_unsync(CutBody { body, left })),
            _ => answer,
        }
    }
}

fn refusal(status: u16, code: &str) -> S3Error {
    let known = S3ErrorCode::from_bytes(code.as_bytes()).unwrap_or(S3ErrorCode::InternalError);
    let mut error = S3Error::with_message(known, "A test asked for this.");
    error.set_status_code(StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR));
    error
}

/// A body that breaks off.
struct CutBody {
    body: Body,
    left: u64,
}

impl http_body::Body for CutBody {
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.left == 0 {
            return Poll::Ready(Some(Err("cut, as a test asked for it".into())));
        }
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(context));
        let cut = |mut data: Bytes| {
            data.truncate(left);
            data
        };
        let frame = frame.map(|frame| frame.map(|frame| frame.map_data(cut)));
        if let Some(Ok(frame)) = &frame {
            self.left -= frame.data_ref().map_or(0, Bytes::len) as u64;
        }
        Poll::Ready(frame)
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}
