//! TLS to each address, and the server's clock against ours: signatures of another time are refused.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use vastost::config::{Config, Server};
use vastost::engine::process::Engine;
use vastost::error::Error as LibraryError;
use vastost::net::tls::{TlsSetup, advice, setup};

use super::Done;
use super::report::Report;

/// S3 refuses signatures that are 15 minutes off; a clock that is 5 off will get there.
const SKEW_FAIL: i64 = 300;
const SKEW_WARN: i64 = 60;
/// A certificate that ends sooner is worth a warning.
const EXPIRY_WARN_DAYS: i64 = 30;
/// The longest head of an answer that is read.
const HEAD_MAX: usize = 64 << 10;
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// What one address answered.
struct Answer {
    /// The end of the certificate, seconds since 1970.
    not_after: Option<i64>,
    head: Result<String, String>,
}

/// Why there is no connection to an address.
struct Refused {
    why: String,
    advice: &'static str,
}

impl From<String> for Refused {
    fn from(why: String) -> Self {
        Self {
            why,
            advice: "check that the cluster's address is up and no firewall is in between",
        }
    }
}

/// False when no address can be used.
pub fn check(
    config: &Config,
    server: &Server,
    engine: &Engine,
    addresses: &[SocketAddr],
    report: &mut Report,
) -> Result<bool, Box<dyn Error>> {
    let tls = if server.endpoint.https {
        Some(setup(&server.endpoint, &server.tls))
    } else {
        None
    };
    let tls = match tls.transpose() {
        Ok(tls) => tls,
        Err(error) => {
            report.fail("tls", error.to_string(), "correct tls.ca_file or tls.server_name")?;
            return Ok(false);
        }
    };

    let mut date = None;
    for address in addresses {
        match ask(config, server, engine, *address, tls.clone())? {
            Err(Refused { why, advice }) => report.fail("tls", format!("{address}: {why}"), advice)?,
            Ok(answer) => {
                if let Some(not_after) = answer.not_after {
                    expiry(*address, not_after, report)?;
                }
                date = date.or(Some((*address, answer.head)));
            }
        }
    }

    let Some((address, head)) = date else { return Ok(false) };
    skew(address, head, report)?;
    Ok(true)
}

fn expiry(address: SocketAddr, not_after: i64, report: &mut Report) -> Done {
    let days = (not_after - jiff::Timestamp::now().as_second()).div_euclid(86_400);
    let end = crate::output::utc(u64::try_from(not_after).unwrap_or_default());
    let seen = format!("{address}: certificate is trusted until {end}, {days} days");
    if days < EXPIRY_WARN_DAYS {
        return report.warn("tls", seen, "renew the cluster's certificate before it ends");
    }
    report.pass("tls", seen)
}

fn skew(address: SocketAddr, head: Result<String, String>, report: &mut Report) -> Done {
    let head = match head {
        Ok(head) => head,
        Err(why) => {
            return report.fail(
                "clock",
                format!("{address}: {why}"),
                "check that an S3 service answers at the endpoint",
            );
        }
    };

    let field = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("date"));
    let parsed = field.and_then(|(_, date)| {
        jiff::fmt::rfc2822::DateTimeParser::new()
            .parse_timestamp(date.trim())
            .ok()
    });
    let Some(theirs) = parsed else {
        return report.warn(
            "clock",
            format!("{address} answers without a date"),
            "compare the clocks by hand",
        );
    };

    let off = theirs.as_second() - jiff::Timestamp::now().as_second();
    let seen = match off {
        0 => "the server's is ours to the second".to_owned(),
        off => format!(
            "the server's is {} s {} ours",
            off.abs(),
            if off > 0 { "ahead of" } else { "behind" }
        ),
    };

    let advice = "set the clocks of this host and the cluster by NTP; signatures 15 min off are refused";
    match off.abs() {
        SKEW_FAIL.. => report.fail("clock", seen, advice),
        SKEW_WARN.. => report.warn("clock", seen, advice),
        _ => report.pass("clock", seen),
    }
}

/// One unauthenticated request, or why there is no connection to make it on.
fn ask(
    config: &Config,
    server: &Server,
    engine: &Engine,
    address: SocketAddr,
    tls: Option<TlsSetup>,
) -> Result<Result<Answer, Refused>, Box<dyn Error>> {
    let host = server.endpoint.authority();
    let limit = config.transfer.connect_timeout + ANSWER_TIMEOUT;
    Ok(engine.runtime().run(async move {
        let asked = tokio::time::timeout(limit, talk(address, tls, &host)).await;
        Ok::<_, LibraryError>(asked.unwrap_or_else(|_| Err(format!("no answer within {limit:?}").into())))
    })?)
}

async fn talk(address: SocketAddr, tls: Option<TlsSetup>, host: &str) -> Result<Answer, Refused> {
    let tcp = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
    let Some(tls) = tls else {
        return Ok(Answer {
            not_after: None,
            head: head_of(tcp, host).await,
        });
    };

    let connector = TlsConnector::from(Arc::clone(&tls.config));
    let refused = |error: std::io::Error| Refused {
        advice: advice(&error),
        why: error.to_string(),
    };
    let stream = connector.connect(tls.server_name, tcp).await.map_err(refused)?;
    let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    let not_after = certificate.and_then(|der| {
        let (_, parsed) = x509_parser::parse_x509_certificate(der).ok()?;
        Some(parsed.validity().not_after.timestamp())
    });
    Ok(Answer {
        not_after,
        head: head_of(stream, host).await,
    })
}

async fn head_of(mut stream: impl AsyncRead + AsyncWrite + Unpin, host: &str) -> Result<String, String> {
    let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nUser-Agent: vastost-s3\r\nConnection: close\r\n\r\n");
    stream
        .write_all(request.as_bytes())
        .await
        .map_err(|error| error.to_string())?;
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") && head.len() < HEAD_MAX {
        let len = stream.read_buf(&mut head).await.map_err(|error| error.to_string())?;
        if len == 0 {
            break;
        }
    }
    let text = String::from_utf8_lossy(&head).into_owned();
    if text.starts_with("HTTP/1.") {
        Ok(text)
    } else {
        Err("what answers speaks no HTTP".into())
    }
}
