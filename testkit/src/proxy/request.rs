//! One request as the proxy records it.

use std::time::Instant;

/// The head of a request, taken apart.
#[derive(Clone, Debug)]
pub struct Request {
    /// From 1, over the proxy's life.
    pub number: usize,
    /// From 1, among requests of the same operation and folder since the script was set.
    pub nth: usize,
    /// When its head had come.
    pub received: Instant,
    pub method: String,
    /// As it was sent, without the query.
    pub path: String,
    pub queries: Vec<(String, String)>,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// Content-Length, where it was sent.
    pub length: Option<u64>,
}

impl Request {
    pub(super) fn parse(head: &[u8], number: usize) -> Self {
        let text = String::from_utf8_lossy(head);
        let mut lines = text.split("\r\n");
        let mut first = lines.next().unwrap_or_default().split(' ');
        let method = first.next().unwrap_or_default();
        let target = first.next().unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let pair = |text: &str, at: char| {
            let (name, value) = text.split_once(at).unwrap_or((text, ""));
            (name.trim().to_owned(), value.trim().to_owned())
        };
        let headers = lines.filter(|line| !line.is_empty()).map(|line| pair(line, ':'));
        let mut request = Self {
            number,
            nth: 0,
            received: Instant::now(),
            method: method.to_owned(),
            path: path.to_owned(),
            queries: query
                .split('&')
                .filter(|part| !part.is_empty())
                .map(|part| pair(part, '='))
                .collect(),
            headers: headers
                .map(|(name, value)| (name.to_ascii_lowercase(), value))
                .collect(),
            length: None,
        };

        request.length = request.header("content-length").and_then(|value| value.parse().ok());
        request
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(have, _)| have == name)
            .map(|(_, value)| value.as_str())
    }

    /// A query parameter, percent-encoded as it came.
    pub fn query(&self, name: &str) -> Option<&str> {
        self.queries
            .iter()
            .find(|(have, _)| have == name)
            .map(|(_, value)| value.as_str())
    }

    /// The object's key, percent-encoded as it came; empty for a request on a bucket. Path style only.
    pub fn key(&self) -> &str {
        self.path
            .trim_start_matches('/')
            .split_once('/')
            .map_or("", |(_, key)| key)
    }

    /// The first folder of the key or, for a listing, of its prefix: `backups`, `catalog`, `pending`, ...
    pub fn folder(&self) -> &str {
        let name = if self.key().is_empty() {
            self.query("prefix").unwrap_or_default()
        } else {
            self.key()
        };
        name.split('/')
            .next()
            .unwrap_or_default()
            .split("%2F")
            .next()
            .unwrap_or_default()
    }

    /// The name of the S3 operation.
    pub fn operation(&self) -> &'static str {
        let on_key = !self.key().is_empty();
        let has = |name| self.query(name).is_some();
        let copies = self.header("x-amz-copy-source").is_some();
        match (self.method.as_str(), on_key) {
            ("PUT", true) if has("partNumber") && copies => "UploadPartCopy",
            ("PUT", true) if has("partNumber") => "UploadPart",
            ("PUT", true) if copies => "CopyObject",
            ("PUT", true) => "PutObject",
            ("PUT", false) => "CreateBucket",
            ("POST", true) if has("uploads") => "CreateMultipartUpload",
            ("POST", true) => "CompleteMultipartUpload",
            ("POST", false) => "DeleteObjects",
            ("GET", true) if has("uploadId") => "ListParts",
            ("GET", true) if has("attributes") => "GetObjectAttributes",
            ("GET", true) => "GetObject",
            ("GET", false) if has("uploads") => "ListMultipartUploads",
            ("GET", false) if has("list-type") => "ListObjectsV2",
            ("GET", false) if has("versions") => "ListObjectVersions",
            ("GET", false) if has("versioning") => "GetBucketVersioning",
            ("GET", false) => "ListBuckets",
            ("HEAD", true) => "HeadObject",
            ("HEAD", false) => "HeadBucket",
            ("DELETE", true) if has("uploadId") => "AbortMultipartUpload",
            ("DELETE", true) => "DeleteObject",
            _ => "other",
        }
    }

    pub fn is(&self, operation: &str, folder: &str) -> bool {
        self.operation() == operation && self.folder() == folder
    }
}
