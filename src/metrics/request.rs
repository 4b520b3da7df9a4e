//! Each try of a request, by server, LSU, address and operation. What it was is read from its method, path and query,
//! so that the transport below the SDK need not be told.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use http::Method;
use http::header::CONTENT_LENGTH;
use percent_encoding::percent_decode_str;

use super::current;
use super::registry::{AddressLabels, AnswerLabels, HedgeLabels, Metrics, RequestLabels, seconds};
use crate::config::{Bucket, Server};

/// The counters of a process, as one of its servers adds to them.
pub struct ServerMetrics {
    pub(super) metrics: Arc<Metrics>,
    pub(super) server: Arc<str>,
    /// Bucket, prefix and name of the configured LSUs.
    lsus: Vec<(Bucket, String, Arc<str>)>,
}

/// One request on its way. Dropped before it was answered, it counts as a request without an answer.
pub struct RequestWatch {
    of: Arc<ServerMetrics>,
    operation: &'static str,
    lsu: Arc<str>,
    body_bytes: u64,
    is_retry: bool,
    sent: Option<(Instant, SocketAddr)>,
    answered: bool,
    received_bytes: u64,
}

/// What stands behind the question mark of a request's URL.
#[derive(Clone, Copy)]
struct Query<'a>(&'a str);

impl ServerMetrics {
    pub fn new(metrics: &Arc<Metrics>, server: &Server) -> Arc<Self> {
        let lsus = server
            .lsus
            .iter()
            .map(|lsu| (lsu.bucket.clone(), lsu.prefix.clone(), lsu.name.as_str().into()));
        Arc::new(Self {
            metrics: Arc::clone(metrics),
            server: server.name.as_str().into(),
            lsus: lsus.collect(),
        })
    }

    /// Begins with a request that is about to be sent; `is_endpoint` is false for the hosts of credential services.
    pub fn watch<B>(self: &Arc<Self>, request: &http::Request<B>, is_endpoint: bool) -> RequestWatch {
        let query = Query(request.uri().query().unwrap_or_default());
        let (bucket, key) = split(request.uri().path());
        let copies = request.headers().contains_key("x-amz-copy-source");
        let operation = if is_endpoint {
            operation(request.method(), &bucket, &key, query, copies)
        } else {
            "Other"
        };
        let place = if key.is_empty() {
            query.get("prefix").unwrap_or_default()
        } else {
            key
        };
        let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
        let attempt = header("amz-sdk-request").and_then(|text| text.strip_prefix("attempt=")?.split(';').next());
        RequestWatch {
            lsu: if is_endpoint {
                self.lsu(&bucket, &place)
            } else {
                "".into()
            },
            of: Arc::clone(self),
            operation,
            body_bytes: header(CONTENT_LENGTH.as_str())
                .and_then(|text| text.parse().ok())
                .unwrap_or(0),
            is_retry: attempt.is_some_and(|number| number != "1"),
            sent: None,
            answered: false,
            received_bytes: 0,
        }
    }

    /// The LSU that a key belongs to: the one of that bucket with the longest fitting prefix, else the bucket's name.
    pub fn lsu(&self, bucket: &Bucket, key: &str) -> Arc<str> {
        let fitting = self
            .lsus
            .iter()
            .filter(|(of, prefix, _)| of == bucket && key.starts_with(prefix.as_str()));
        let best = fitting.max_by_key(|(_, prefix, _)| prefix.len());
        best.map_or_else(|| (**bucket).into(), |(_, _, name)| Arc::clone(name))
    }

    /// An address is put aside for a while.
    pub fn avoided(&self, address: SocketAddr) {
        let labels = AddressLabels {
            server: Arc::clone(&self.server),
            address: address.to_string().into(),
        };
        self.metrics.avoided.get_or_create(&labels).inc();
    }

    /// A request is sent a second time while its first try waits.
    pub fn hedged(&self, operation: &'static str) {
        self.metrics.hedges.get_or_create(&self.hedge_labels(operation)).inc();
    }

    /// The second try had the answer.
    pub fn hedge_won(&self, operation: &'static str) {
        self.metrics
            .hedges_won
            .get_or_create(&self.hedge_labels(operation))
            .inc();
    }

    fn hedge_labels(&self, operation: &'static str) -> HedgeLabels {
        HedgeLabels {
            server: Arc::clone(&self.server),
            operation,
        }
    }
}

impl RequestWatch {
    /// The request goes to `address` now, for the first time or on a fresh connection.
    pub fn sent(&mut self, address: SocketAddr) {
        if self.is_retry && self.sent.is_none() {
            self.of.metrics.retries.get_or_create(&self.labels(address)).inc();
            current::count_retry();
        }
        self.sent = Some((Instant::now(), address));
    }

    /// The head of the answer is there.
    pub fn answered(&mut self, status: http::StatusCode) {
        let Some((since, address)) = self.sent else { return };
        self.answered = true;
        let labels = self.labels(address);
        let metrics = &self.of.metrics;
        metrics
            .request_seconds
            .get_or_create(&labels)
            .observe(seconds(since.elapsed()));
        if status.is_success() && self.body_bytes > 0 {
            metrics.sent_bytes.get_or_create(&labels).inc_by(self.body_bytes);
        }
        self.count(labels, status.as_str());
    }

    /// A piece of the answer's body has come; added up here and counted at the body's end.
    pub fn received(&mut self, bytes: usize) {
        self.received_bytes += bytes as u64;
    }

    pub fn received_bytes(&self) -> u64 {
        self.received_bytes
    }

    fn labels(&self, address: SocketAddr) -> RequestLabels {
        RequestLabels {
            server: Arc::clone(&self.of.server),
            lsu: Arc::clone(&self.lsu),
            address: address.to_string().into(),
            operation: self.operation,
        }
    }

    fn count(&self, labels: RequestLabels, status: &str) {
        let RequestLabels {
            server,
            lsu,
            address,
            operation,
        } = labels;
        let labels = AnswerLabels {
            server,
            lsu,
            address,
            operation,
            status: status.into(),
        };
        self.of.metrics.requests.get_or_create(&labels).inc();
    }
}

impl Drop for RequestWatch {
    fn drop(&mut self) {
        let Some((_, address)) = self.sent else { return };
        let labels = self.labels(address);
        if self.received_bytes > 0 {
            self.of
                .metrics
                .received_bytes
                .get_or_create(&labels)
                .inc_by(self.received_bytes);
        }
        if !self.answered {
            self.count(labels, "none");
        }
    }
}

/// Bucket and key of a path-style request.
fn split(path: &str) -> (Bucket, String) {
    let path = path.strip_prefix('/').unwrap_or(path);
    let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
    (bucket.into(), percent_decode_str(key).decode_utf8_lossy().into_owned())
}

impl Query<'_> {
    /// The decoded value of a parameter; empty when it has none.
    fn get(self, name: &str) -> Option<String> {
        let pairs = self.0.split('&');
        let mut pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        let (_, value) = pairs.find(|(key, _)| *key == name)?;
        Some(percent_decode_str(value).decode_utf8_lossy().into_owned())
    }
}

/// S3's name of the operation that a request is.
fn operation(method: &Method, bucket: &Bucket, key: &str, query: Query<'_>, copies: bool) -> &'static str {
    let has = |name: &str| query.get(name).is_some();
    let of_bucket = !bucket.is_empty() && key.is_empty();
    let of_key = !key.is_empty();
    match method.as_str() {
        "PUT" if of_key && has("partNumber") && copies => "UploadPartCopy",
        "PUT" if of_key && has("partNumber") => "UploadPart",
        "PUT" if of_key && copies => "CopyObject",
        "PUT" if of_key => "PutObject",
        "PUT" if of_bucket => "CreateBucket",
        "POST" if of_key && has("uploads") => "CreateMultipartUpload",
        "POST" if of_key && has("uploadId") => "CompleteMultipartUpload",
        "POST" if of_bucket && has("delete") => "DeleteObjects",
        "GET" if of_key && has("uploadId") => "ListParts",
        "GET" if of_key && has("attributes") => "GetObjectAttributes",
        "GET" if of_key => "GetObject",
        "GET" if of_bucket && has("uploads") => "ListMultipartUploads",
        "GET" if of_bucket && has("list-type") => "ListObjectsV2",
        "GET" if bucket.is_empty() => "ListBuckets",
        "HEAD" if of_key => "HeadObject",
        "HEAD" if of_bucket => "HeadBucket",
        "DELETE" if of_key && has("uploadId") => "AbortMultipartUpload",
        "DELETE" if of_key => "DeleteObject",
        _ => "Other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    const SERVER: &str = "[server.v]\nendpoints = [\"http://127.0.0.1:9000\"]\n\
        [[server.v.lsu]]\nname = \"all\"\nbucket = \"shared\"\n\
        [[server.v.lsu]]\nname = \"deep\"\nbucket = \"shared\"\nprefix = \"a=b/c\"\n";

    fn server() -> Arc<ServerMetrics> {
        let config = Config::parse(SERVER, std::path::Path::new("/x/vastost.toml")).unwrap();
        ServerMetrics::new(&Arc::new(Metrics::new()), config.server("v").unwrap())
    }

    fn watch(server: &Arc<ServerMetrics>, method: &str, uri: &str) -> RequestWatch {
        let request = http::Request::builder()
            .method(method)
            .uri(uri)
            .header("amz-sdk-request", "attempt=2; max=5");
        server.watch(&request.header("content-length", "7").body(()).unwrap(), true)
    }

    #[test]
    fn a_request_is_named_by_method_path_and_query() {
        let cases = [
            ("PUT", "/b/k?x-id=UploadPart&partNumber=1&uploadId=x", "UploadPart"),
            ("PUT", "/b/k?x-id=PutObject", "PutObject"),
            ("PUT", "/b", "CreateBucket"),
            ("POST", "/b/k?uploads", "CreateMultipartUpload"),
            ("POST", "/b/k?uploadId=x", "CompleteMultipartUpload"),
            ("GET", "/b/k?x-id=GetObject", "GetObject"),
            ("GET", "/b/k?uploadId=x&x-id=ListParts", "ListParts"),
            ("GET", "/b?list-type=2&prefix=k", "ListObjectsV2"),
            ("GET", "/b/?list-type=2&prefix=k", "ListObjectsV2"),
            ("GET", "/?x-id=ListBuckets", "ListBuckets"),
            ("HEAD", "/b", "HeadBucket"),
            ("DELETE", "/b/k?uploadId=x", "AbortMultipartUpload"),
            ("OPTIONS", "/b/k", "Other"),
        ];
        let server = server();
        for (method, uri, name) in cases {
            assert_eq!(watch(&server, method, uri).operation, name, "{method} {uri}");
        }
    }

    #[test]
    fn a_request_belongs_to_the_lsu_with_the_longest_prefix() {
        let server = server();
        let cases = [
            ("/shared/a%3Db/c/backups/x", "deep"),
            ("/shared/a%3Db/d", "all"),
            ("/shared?list-type=2&prefix=a%3Db%2Fc%2Fcatalog%2F", "deep"),
            ("/shared", "all"),
            ("/found/x", "found"),
        ];
        for (uri, lsu) in cases {
            assert_eq!(&*watch(&server, "GET", uri).lsu, lsu, "{uri}");
        }
    }

    #[test]
    fn an_answer_a_retry_and_a_silence_are_counted_once_each() {
        let server = server();
        let address = SocketAddr::from(([10, 0, 0, 1], 80));
        let mut answered = watch(&server, "PUT", "/shared/k");
        answered.sent(address);
        answered.sent(address);
        answered.answered(http::StatusCode::OK);
        answered.received(3);
        drop(answered);
        let mut silent = watch(&server, "GET", "/shared/k");
        silent.sent(address);
        drop(silent);
        drop(watch(&server, "GET", "/shared/never-sent"));
        let text = server.metrics.text();
        let value = |name: &str, label: &str| {
            let line = text.lines().find(|line| line.starts_with(name) && line.contains(label));
            line.and_then(|line| line.rsplit(' ').next())
                .unwrap_or("none")
                .to_owned()
        };

        assert_eq!(value("vastost_requests_total", "status=\"200\""), "1");
        assert_eq!(value("vastost_requests_total", "status=\"none\""), "1");
        assert_eq!(value("vastost_retries_total", "PutObject"), "1");
        assert_eq!(value("vastost_sent_bytes_total", "PutObject"), "7");
        assert_eq!(value("vastost_received_bytes_total", "PutObject"), "3");
        assert_eq!(value("vastost_request_seconds_count", "GetObject"), "none");
    }
}
