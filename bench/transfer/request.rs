//! HTTP/1.1 requests as S3 clients send them: a head, and a body that is kept when it is small and dropped when it is not.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};

use super::channel::Channel;

/// Larger bodies of PUT are dropped; those of POST are documents.
const KEPT: u64 = 1 << 20;
const HEAD_MAX: usize = 64 << 10;

pub struct Request {
    pub method: String,
    pub bucket: String,
    pub key: String,
    pub query: BTreeMap<String, String>,
    headers: BTreeMap<String, String>,
    /// Bytes of the object or part, however they were wrapped on the wire.
    pub size: u64,
    /// None when they were dropped.
    pub body: Option<Vec<u8>>,
}

/// A connection with the bytes that came behind the last head.
pub struct Incoming {
    pub channel: Box<dyn Channel>,
    ahead: Vec<u8>,
}

impl Request {
    /// A header by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    pub fn headers_under<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a String, &'a String)> {
        self.headers.iter().filter(move |(name, _)| name.starts_with(prefix))
    }

    pub fn asks(&self, name: &str) -> bool {
        self.query.contains_key(name)
    }

    pub fn number(&self, name: &str) -> Option<u64> {
        self.query.get(name)?.parse().ok()
    }

    fn parse(head: &str) -> Option<Self> {
        let mut lines = head.split("\r\n");
        let mut first = lines.next()?.split(' ');
        let method = first.next()?.to_owned();
        let target = first.next()?;
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let path = path.trim_start_matches('/');
        let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let query = pairs.map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (unescape(name), unescape(value))
        });
        let headers = lines.filter_map(|line| line.split_once(':'));
        let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()));
        let bucket = unescape(bucket);
        let key = unescape(key);
        let query = query.collect();
        let headers = headers.collect();
        Some(Self {
            method,
            bucket,
            key,
            query,
            headers,
            size: 0,
            body: None,
        })
    }
}

impl Incoming {
    pub fn new(channel: Box<dyn Channel>) -> Self {
        Self {
            channel,
            ahead: Vec::new(),
        }
    }

    /// The next request with its body; None when the client has closed.
    pub fn receive(&mut self) -> io::Result<Option<Request>> {
        let Some(head) = self.head()? else { return Ok(None) };
        let mut request = Request::parse(&head).ok_or(ErrorKind::InvalidData)?;
        if request.header("expect").is_some() {
            self.channel.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
            self.channel.flush()?;
        }
        if request.header("transfer-encoding").is_some() {
            return Err(io::Error::new(
                ErrorKind::Unsupported,
                "no client here was seen to send chunks of HTTP",
            ));
        }
        let len = request
            .header("content-length")
            .and_then(|text| text.parse().ok())
            .unwrap_or(0);
        let decoded = request
            .header("x-amz-decoded-content-length")
            .and_then(|text| text.parse().ok());
        request.size = decoded.unwrap_or(len);
        if len > KEPT && request.method == "PUT" {
            self.skip(len)?;
        } else {
            let body = self.take(len)?;
            request.body = Some(if decoded.is_some() {
                unchunk(&body).ok_or(ErrorKind::InvalidData)?
            } else {
                body
            });
        }
        Ok(Some(request))
    }

    fn head(&mut self) -> io::Result<Option<String>> {
        let mut chunk = [0; 8 << 10];
        loop {
            if let Some(end) = self.ahead.windows(4).position(|window| window == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&self.ahead[..end]).into_owned();
                self.ahead.drain(..end + 4);
                return Ok(Some(head));
            }
            match self.channel.read(&mut chunk)? {
                0 if self.ahead.is_empty() => return Ok(None),
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                _ if self.ahead.len() > HEAD_MAX => return Err(ErrorKind::InvalidData.into()),
                len => self.ahead.extend_from_slice(&chunk[..len]),
            }
        }
    }

    fn skip(&mut self, len: u64) -> io::Result<()> {
        let here = self.ahead.len().min(usize::try_from(len).unwrap_or(usize::MAX));
        self.ahead.drain(..here);
        self.channel.skip(len - here as u64)
    }

    fn take(&mut self, len: u64) -> io::Result<Vec<u8>> {
        let len = usize::try_from(len).map_err(io::Error::other)?;
        let here = self.ahead.len().min(len);
        let mut body: Vec<u8> = self.ahead.drain(..here).collect();
        body.resize(len, 0);
        self.channel.read_exact(&mut body[here..])?;
        Ok(body)
    }
}

/// The bytes within `aws-chunked` framing; signatures and trailers are not looked at.
fn unchunk(mut wire: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(wire.len());
    loop {
        let end = wire.windows(2).position(|window| window == b"\r\n")?;
        let line = std::str::from_utf8(&wire[..end]).ok()?;
        let len = usize::from_str_radix(line.split(';').next()?, 16).ok()?;
        if len == 0 {
            return Some(bytes);
        }
        bytes.extend_from_slice(wire.get(end + 2..end + 2 + len)?);
        wire = wire.get(end + 2 + len + 2..)?;
    }
}

fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = tail
            .get(..2)
            .filter(|_| *first == b'%')
            .and_then(|hex| std::str::from_utf8(hex).ok());
        match escaped.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(if *first == b'+' { b' ' } else { *first });
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
