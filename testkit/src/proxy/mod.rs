//! An HTTP/1.1 proxy in front of an S3 server that records every request and does to it what a script says.
//!
//! Nothing in the product knows of it: the configuration's endpoint is [`Proxy::url`]. Bytes are passed on as they came,
//! Host header included, so signatures stay valid. One thread for each connection of the client; each request has an
//! upstream connection of its own, so a fault of one never shows in the next.

// Each test binary uses the faults that it needs.
#![allow(dead_code)]

mod exchange;
pub mod meeting;
mod request;
mod wire;

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use request::Request;
use wire::Wire;

/// What becomes of one request.
pub enum Action {
    /// Passed on, and the answer passed back.
    Forward,
    /// The client's connection is reset; what part of the request was passed on, says [`When`].
    ResetRequest(When),
    /// Passed on; the client's connection is reset when the answer has come: the effect took place, the answer is lost.
    DropAnswer,
    /// Passed on; the client's connection is reset in the middle of the answer.
    ResetAnswer,
    /// The proxy answers; nothing is passed on.
    Answer(Answer),
    /// Passed on; the connection ends after half of the answer's body.
    TruncateAnswer,
    /// Passed on; so many bytes too many follow the answer's body. `announced`: Content-Length tells of them.
    LengthenAnswer { bytes: usize, announced: bool },
    /// One bit of the request's body byte at this offset is turned over.
    FlipRequest(u64),
    /// One bit of the answer's body byte at this offset is turned over; the offset wraps at the body's end.
    FlipAnswer(u64),
    /// Nothing is passed on and nothing is answered while the client waits.
    Hold,
    /// Passed on, but nothing is answered while the client waits.
    HoldAnswer,
    /// Passed on; the answer's body comes byte by byte, each after this time.
    Trickle(Duration),
    /// The callback runs, nothing is passed on, the client's connection is reset.
    Before(Box<dyn FnOnce() + Send>),
    /// Passed on; the callback runs when the whole answer has come, then the answer is passed back.
    After(Box<dyn FnOnce() + Send>),
    /// Passed on; the callback changes the answer as it likes.
    Edit(Box<dyn FnOnce(&mut Reply) + Send>),
    /// After so many bytes of the request's body, nothing is read for a while; then it is passed on.
    StallRequest(u64, Duration),
    /// Passed on without this header, whose name is in lower case.
    WithoutHeader(&'static str),
}

impl Action {
    /// [`Action::Edit`].
    pub fn edit(change: impl FnOnce(&mut Reply) + Send + 'static) -> Self {
        Self::Edit(Box::new(change))
    }

    /// [`Action::Edit`] of a body that is text.
    pub fn edit_text(change: impl FnOnce(String) -> String + Send + 'static) -> Self {
        Self::edit(move |reply| reply.body = change(String::from_utf8_lossy(&reply.body).into_owned()).into_bytes())
    }
}

/// The server's answer on its way back.
pub struct Reply {
    pub status: u16,
    /// Names as the server wrote them, without those that frame the body; to HEAD, with them.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub framed: Framed,
    /// The connection ends after so many bytes of the body.
    pub cut: Option<usize>,
    /// Nothing more comes for this time after so many bytes of the body.
    pub stall: Option<(usize, Duration)>,
}

/// How the client learns where the body of a [`Reply`] ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framed {
    Length,
    Chunked,
    /// By the end of the connection, as in HTTP/1.0.
    UntilClose,
}

impl Reply {
    /// Takes a header away.
    pub fn drop(&mut self, name: &str) {
        self.headers.retain(|(have, _)| !have.eq_ignore_ascii_case(name));
    }

    /// Gives a header this value.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.drop(name);
        self.headers.push((name.into(), value.into()));
    }
}

/// When a request's connection is reset: before, within or after its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// The head was read; nothing is passed on.
    Before,
    /// The server gets the first half of the body and then its end, too.
    Within,
    /// The whole request was read; nothing is passed on.
    After,
}

/// An answer that the proxy gives by itself.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    /// An S3 error.
    pub fn error(status: u16, code: &str) -> Self {
        let head = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>";
        let body = format!("{head}<Error><Code>{code}</Code><Message>scripted</Message></Error>");
        Self {
            status,
            headers: vec![("Content-Type".into(), "application/xml".into())],
            body,
        }
    }

    #[must_use]
    pub fn body(mut self, body: String) -> Self {
        self.body = body;
        self
    }

    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }
}

type Script = dyn Fn(&Request) -> Action + Send + Sync;

/// A running proxy; dropped, it closes its connections.
pub struct Proxy {
    shared: Arc<Shared>,
    address: SocketAddr,
}

struct Shared {
    upstream: String,
    script: Mutex<Arc<Script>>,
    record: Mutex<Record>,
    stop: Arc<AtomicBool>,
    /// Clients' connections that are being served.
    open: AtomicUsize,
    /// All that ever were.
    accepted: AtomicUsize,
}

#[derive(Default)]
struct Record {
    requests: Vec<Request>,
    /// Where the count of a request's kind begins: requests before the script was set do not count.
    since: usize,
    faults: usize,
}

impl Proxy {
    /// Stands before the server at `upstream` (`http://host:port`) and passes everything on until [`Proxy::script`].
    pub fn start(upstream: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            upstream: upstream.trim_start_matches("http://").trim_end_matches('/').to_owned(),
            script: Mutex::new(Arc::new(|_: &Request| Action::Forward)),
            record: Mutex::default(),
            stop: Arc::default(),
            open: AtomicUsize::new(0),
            accepted: AtomicUsize::new(0),
        });
        let serving = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                if serving.stop.load(Ordering::Relaxed) {
                    return;
                }
                let (Ok(client), shared) = (client, Arc::clone(&serving)) else {
                    continue;
                };
                shared.open.fetch_add(1, Ordering::SeqCst);
                shared.accepted.fetch_add(1, Ordering::SeqCst);
                std::thread::spawn(move || {
                    // A broken connection is what this is for: its error concerns nobody.
                    drop(shared.serve(client));
                    shared.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { shared, address }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on `script` decides on every request; [`Request::nth`] begins at 1 again.
    pub fn script(&self, script: impl Fn(&Request) -> Action + Send + Sync + 'static) {
        *self.shared.script.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(script);
        let mut record = self.shared.record();
        (record.since, record.faults) = (record.requests.len(), 0);
    }

    /// Passes everything on again.
    pub fn forward_all(&self) {
        self.script(|_| Action::Forward);
    }

    /// Every request so far, in order.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.record().requests.clone()
    }

    /// The requests since the script was set.
    pub fn recent(&self) -> Vec<Request> {
        let record = self.shared.record();
        record.requests[record.since..].to_vec()
    }

    /// Connections that clients have opened so far.
    pub fn connections(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// Waits until all clients are gone, and with them what they had under way on the server.
    pub fn wait_idle(&self) {
        while self.shared.open.load(Ordering::SeqCst) > 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Requests since the script was set that it did not just pass on.
    pub fn faults(&self) -> usize {
        self.shared.record().faults
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        // Wakes the listener, so that it sees the flag.
        drop(std::net::TcpStream::connect(self.address));
    }
}

impl Shared {
    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records a request and asks the script.
    fn decide(&self, head: &[u8]) -> (Request, Action) {
        let request = {
            let mut record = self.record();
            let mut request = Request::parse(head, record.requests.len() + 1);
            let like = |earlier: &&Request| earlier.is(request.operation(), request.folder());
            request.nth = record.requests[record.since..].iter().filter(like).count() + 1;
            record.requests.push(request.clone());
            request
        };
        let script = Arc::clone(&self.script.lock().unwrap_or_else(PoisonError::into_inner));
        let action = script(&request);
        if !matches!(action, Action::Forward) {
            self.record().faults += 1;
        }
        (request, action)
    }

    fn serve(&self, client: std::net::TcpStream) -> std::io::Result<()> {
        let mut client = Wire::new(client, &self.stop)?;
        while let Some(head) = client.head()? {
            let (request, action) = self.decide(&head);
            let Some(kept) = exchange::run(client, &self.upstream, &head, &request, action)? else {
                return Ok(());
            };
            client = kept;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;

    use super::*;

    /// A server that answers each connection's one request with `answer`.
    fn server(answer: &'static [u8]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut wire = Wire::new(stream.unwrap(), &Arc::default()).unwrap();
                let head = wire.head().unwrap().unwrap();
                wire.body(wire::framing_of_request(&head), &mut |_, _| Ok(())).unwrap();
                wire.write(answer).unwrap();
            }
        });
        url
    }

    fn ask(proxy: &Proxy, request: &[u8]) -> Vec<u8> {
        let mut stream = TcpStream::connect(proxy.address).unwrap();
        stream.write_all(request).unwrap();
        let mut answer = Vec::new();
        // A reset is an end like any other here.
        let _ = stream.read_to_end(&mut answer);
        answer
    }

    const GET: &[u8] = b"GET /bucket/catalog/a.json?x=1&y HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    const CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    const PLAIN: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabcd";

    #[test]
    fn answers_pass_unchanged_whatever_their_framing() {
        for (answer, seen) in [(CHUNKED, CHUNKED), (PLAIN, &PLAIN[25..])] {
            let proxy = Proxy::start(&server(answer));
            assert_eq!(ask(&proxy, GET), seen);
        }
    }

    #[test]
    fn requests_are_recorded_and_counted_by_kind() {
        let proxy = Proxy::start(&server(PLAIN));
        ask(&proxy, GET);
        proxy.script(|_| Action::Answer(Answer::error(503, "SlowDown")));
        for _ in 0..2 {
            assert!(ask(&proxy, GET).starts_with(b"HTTP/1.1 503 "));
        }
        let seen = proxy.requests();
        assert_eq!(
            seen.iter()
                .map(|request| (request.number, request.nth))
                .collect::<Vec<_>>(),
            [(1, 1), (2, 1), (3, 2)]
        );
        assert_eq!(
            (seen[0].operation(), seen[0].key(), seen[0].folder()),
            ("GetObject", "catalog/a.json", "catalog")
        );
        assert_eq!(
            (seen[0].query("x"), seen[0].query("y"), seen[0].query("z")),
            (Some("1"), Some(""), None)
        );
        assert_eq!(proxy.faults(), 2);
    }

    #[test]
    fn answers_are_damaged_as_the_script_says() {
        let proxy = Proxy::start(&server(PLAIN));
        let answer = |action: fn() -> Action| {
            proxy.script(move |_| action());
            String::from_utf8(ask(&proxy, GET)).unwrap()
        };
        // 'b' with its lowest bit turned over; the offset wraps.
        assert!(answer(|| Action::FlipAnswer(5)).ends_with("\r\n\r\naccd"));
        assert!(answer(|| Action::TruncateAnswer).ends_with("Length: 4\r\n\r\nab"));
        assert!(
            answer(|| Action::LengthenAnswer {
                bytes: 2,
                announced: false
            })
            .ends_with("Length: 4\r\n\r\nabcdxx")
        );
        assert!(
            answer(|| Action::LengthenAnswer {
                bytes: 2,
                announced: true
            })
            .ends_with("Length: 6\r\n\r\nabcdxx")
        );
        assert_eq!(answer(|| Action::DropAnswer), "");
        assert_eq!(answer(|| Action::ResetRequest(When::Before)), "");
    }
}
