//! The same store over https: what TLS proves, and what it does not.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use vastost::ost::abi::STSP_OPEN_READ;
use vastost::ost::status::STSP_ENETWORK;
use vastost_testkit::host::HostImage;
use vastost_testkit::test_store::{CALL, PART, Site, Wish, backup, image, pattern, restore};

use crate::sdk::Sdk;

/// A block of small reads, see src/objstore/download/blocks.rs.
const BLOCK: usize = 128 << 10;

/// TLS in front of a server that has none, as a load balancer is.
struct Front {
    address: SocketAddr,
    /// Bytes that went to clients, before they were encrypted.
    sent: Arc<AtomicUsize>,
    _runtime: tokio::runtime::Runtime,
}

impl Front {
    /// In front of `site`, which is pointed at it; its certificate, of itself, is written to `ca_file`.
    fn before(site: &Site, ca_file: &Path) -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
        std::fs::write(ca_file, made.cert.pem()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(made.signing_key.serialize_pem().as_bytes()).unwrap();
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let sent = Arc::<AtomicUsize>::default();
        let server = site.url.trim_start_matches("http://").to_owned();
        let counted = Arc::clone(&sent);
        runtime.spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(relay(client, acceptor.clone(), server.clone(), Arc::clone(&counted)));
            }
        });
        site.point_at(&[format!("https://{address}")]);
        Self {
            address,
            sent,
            _runtime: runtime,
        }
    }

    fn sent(&self) -> usize {
        self.sent.load(Ordering::Relaxed)
    }
}

async fn relay(client: TcpStream, acceptor: TlsAcceptor, server: String, sent: Arc<AtomicUsize>) {
    // A client that does not trust the certificate ends here.
    let Ok(client) = acceptor.accept(client).await else {
        return;
    };
    let upstream = TcpStream::connect(server).await.unwrap();
    let (mut from_client, mut to_client) = tokio::io::split(client);
    let (mut from_server, mut to_server) = upstream.into_split();
    let up = async {
        let _ = tokio::io::copy(&mut from_client, &mut to_server).await;
        let _ = to_server.shutdown().await;
    };
    let down = async {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(len @ 1..) = from_server.read(&mut buffer).await {
            sent.fetch_add(len, Ordering::Relaxed);
            if to_client.write_all(&buffer[..len]).await.is_err() {
                break;
            }
        }
        let _ = to_client.shutdown().await;
    };
    tokio::join!(up, down);
}

/// A site whose server is asked over https.
fn site() -> (Site, Front) {
    let site = Site::new(
        &Wish::default()
            .small_parts()
            .with("[server.t.tls]\nca_file = \"ca.pem\"\n"),
    );
    let front = Front::before(&site, &site.folder.path().join("ca.pem"));
    (site, front)
}

/// Reads 512 bytes in the middle of each part, the last one first.
fn small_reads(image: &HostImage, data: &[u8]) {
    for part in (0..data.len() / PART).rev() {
        let at = part * PART + PART / 2 + 100;
        let mut to = vec![0; 512];
        assert_eq!(image.read(&mut to, at as u64).unwrap(), 512);
        assert!(to == data[at..at + 512], "at {at}");
    }
}

#[test]
fn images_are_written_and_restored_over_https() {
    let (site, front) = site();
    let server = site.open();
    let data = pattern(2 * PART + 4321, 3);
    backup(&server, &image("tls", 1), &data, CALL);
    assert!(restore(&server, &image("tls", 1), CALL) == data);
    assert!(front.sent() > data.len(), "it went another way");
}

#[test]
fn small_reads_over_https_fetch_blocks_and_not_parts() {
    let (site, front) = site();
    let server = site.open();
    let data = pattern(4 * PART, 5);
    backup(&server, &image("tls", 2), &data, CALL);
    let opened = server.open("main", &image("tls", 2), STSP_OPEN_READ).unwrap();
    let before = front.sent();
    small_reads(&opened, &data);
    let sent = front.sent() - before;
    assert!((4 * BLOCK..PART).contains(&sent), "{sent} bytes for four small reads");
}

#[test]
fn small_reads_of_a_copy_over_https_are_answered_from_checked_parts() {
    let (site, front) = site();
    let server = site.open();
    let data = pattern(4 * PART, 7);
    backup(&server, &image("tls", 3), &data, CALL);
    // What copies a bucket leaves another ETag: no block of it proves that these are the bytes that were written.
    let key = site.keys_under("backups/").pop().unwrap();
    let sdk = Sdk::new(&site);
    sdk.put(&key, &data);
    let opened = server.open("main", &image("tls", 3), STSP_OPEN_READ).unwrap();
    let before = front.sent();
    small_reads(&opened, &data);
    let sent = front.sent() - before;
    assert!(sent > 4 * PART, "{sent} bytes for a small read in each of four parts");

    // Other bytes of the same size, which TLS brings as faithfully.
    let mut other = data.clone();
    other[PART / 2 + 100] ^= 1;
    sdk.put(&key, &other);
    let opened = server.open("main", &image("tls", 3), STSP_OPEN_READ).unwrap();
    let error = opened.read(&mut [0; 512], (PART / 2 + 100) as u64).unwrap_err();
    assert_eq!(error.code, vastost::ost::status::STSP_ECORRUPT, "{error}");
    assert!(error.message.contains(&key), "{error}");
}

#[test]
fn a_certificate_that_nobody_vouches_for_is_refused_by_name() {
    let (site, front) = site();
    let other = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    std::fs::write(site.folder.path().join("ca.pem"), other.cert.pem()).unwrap();
    let error = site.open().lsu("main").unwrap_err();
    assert_eq!(error.code, STSP_ENETWORK, "{error}");
    assert!(error.message.contains(&front.address.to_string()), "{error}");
    assert!(
        error.message.contains("certificate") && error.message.contains("tls.ca_file"),
        "{error}"
    );
}

#[test]
fn a_port_without_tls_is_called_one() {
    let (site, _front) = site();
    let plain = site.url.replace("http://", "https://");
    let text = std::fs::read_to_string(&site.direct).unwrap();
    std::fs::write(&site.config, text.replace(&site.url, &plain)).unwrap();
    let error = site.open().lsu("main").unwrap_err();
    assert_eq!(error.code, STSP_ENETWORK, "{error}");
    assert!(
        error.message.contains("speaks no TLS") && error.message.contains("http://"),
        "{error}"
    );
}
