//! The discard/zero S3 server: a thread for each connection, blocking sockets, large bodies dropped or zeros.
//!
//! It leaves out signatures, versions, copies and everything else that no client here needs. It ends with its standard
//! input, so it never outlives the harness.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use bytes::Bytes;
use jiff::Timestamp;
use nix::sys::resource::{UsageWho, getrusage};
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::channel::{Channel, Plain, Tls};
use super::listing;
use super::request::{Incoming, Request};
use super::s3;
use super::s3::{Answer, Content};
use super::store::Store;

/// Where the harness asks how many requests came and what CPU time they took, and by `/fill/<bucket>/<images>` for images
/// that nobody has to write; not counted itself.
pub const CONTROL: &str = "-";
static ZEROS: [u8; 1 << 20] = [0; 1 << 20];

#[derive(Default)]
struct Server {
    store: Mutex<Store>,
    requests: AtomicU64,
}

/// Prints the port of http, and that of https, with the certificate of a folder, on a second line.
pub fn serve(certificate: &Path) {
    let server = Arc::new(Server::default());
    listen(Arc::clone(&server), |socket| Ok(Box::new(Plain::new(socket))));
    let config = Arc::new(tls_config(certificate));
    listen(server, move |socket| {
        Ok(Box::new(Tls::new(socket, Arc::clone(&config))?))
    });
    io::stdin().read_to_end(&mut Vec::new()).expect("standard input");
}

fn tls_config(folder: &Path) -> ServerConfig {
    let chain = vec![CertificateDer::from_pem_file(folder.join("cert.pem")).expect("cert.pem")];
    let key = PrivateKeyDer::from_pem_file(folder.join("key.pem")).expect("key.pem");
    // Clients differ in what they would like best: one suite for all.
    let suites = vec![rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_256_GCM_SHA384];
    let provider = Arc::new(CryptoProvider {
        cipher_suites: suites,
        ..rustls::crypto::aws_lc_rs::default_provider()
    });
    let builder = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions");
    builder
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("a key that fits the certificate")
}

fn listen(server: Arc<Server>, open: impl Fn(TcpStream) -> io::Result<Box<dyn Channel>> + Clone + Send + 'static) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    println!("{}", listener.local_addr().expect("its address").port());
    thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let server = Arc::clone(&server);
            let open = open.clone();
            thread::spawn(move || {
                socket.set_nodelay(true).expect("set TCP_NODELAY");
                // Clients close connections whenever they like.
                if let Err(error) = open(socket).and_then(|channel| converse(&server, Incoming::new(channel)))
                    && error.kind() == io::ErrorKind::Unsupported
                {
                    eprintln!("server: {error}");
                }
            });
        }
    });
}

fn converse(server: &Server, mut incoming: Incoming) -> io::Result<()> {
    while let Some(request) = incoming.receive()? {
        if request.bucket == CONTROL {
            let text = control(server, &request.key);
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}",
                text.len()
            );
            return incoming.channel.write_all(head.as_bytes());
        }
        server.requests.fetch_add(1, Ordering::Relaxed);
        let answer = s3::answer(&request, &server.store);
        send(&mut *incoming.channel, &request, &answer)?;
        if request
            .header("connection")
            .is_some_and(|value| value.eq_ignore_ascii_case("close"))
        {
            return Ok(());
        }
    }
    Ok(())
}

fn control(server: &Server, key: &str) -> String {
    if let Some((bucket, images)) = key.strip_prefix("fill/").and_then(|rest| rest.split_once('/')) {
        listing::fill(&mut server.store.lock().unwrap(), bucket, images.parse().unwrap_or(0));
    }
    figures(server)
}

/// Requests so far, and microseconds of CPU.
fn figures(server: &Server) -> String {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("own usage");
    let micros = |time: nix::sys::time::TimeVal| time.tv_sec() * 1_000_000 + time.tv_usec();
    let cpu = micros(usage.user_time()) + micros(usage.system_time());
    format!("{} {cpu}", server.requests.load(Ordering::Relaxed))
}

fn send(channel: &mut dyn Channel, request: &Request, answer: &Answer) -> io::Result<()> {
    let here = match &answer.content {
        Content::Bytes(bytes) => bytes.len() as u64,
        Content::Zeros(len) => *len,
    };
    let length = answer.length.unwrap_or(here);
    let mut head = format!("HTTP/1.1 {} {}\r\n", answer.status, reason(answer.status));
    for (name, value) in &answer.headers {
        head += &format!("{name}: {value}\r\n");
    }
    if answer.status != 204 {
        head += &format!("Content-Length: {length}\r\n");
    }
    let date = s3::http_date(Timestamp::now());
    head += &format!("Date: {date}\r\nServer: transfer\r\nx-amz-request-id: transfer\r\n\r\n");
    let mut message = head.into_bytes();
    let content = if request.method == "HEAD" {
        &Content::Bytes(Bytes::new())
    } else {
        &answer.content
    };
    let mut zeros = 0;
    match content {
        Content::Bytes(bytes) => message.extend_from_slice(bytes),
        Content::Zeros(len) => zeros = *len,
    }
    channel.write_all(&message)?;
    while zeros > 0 {
        let len = usize::try_from(zeros).unwrap_or(ZEROS.len()).min(ZEROS.len());
        channel.write_all(&ZEROS[..len])?;
        zeros -= len as u64;
    }
    channel.flush()
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        204 => "No Content",
        206 => "Partial Content",
        400 => "Bad Request",
        404 => "Not Found",
        412 => "Precondition Failed",
        _ => "Not Implemented",
    }
}
