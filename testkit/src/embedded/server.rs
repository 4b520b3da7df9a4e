//! The server: a port, a runtime of its own, and what a test may set while it runs.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use s3s::service::S3ServiceBuilder;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

use super::access::{Access, Guard, Keys, Places};
use super::faults::{Fault, Faults};
use super::ingest::Engine;
use super::operations::Backend;
use super::record::Settings;
use super::service::Answering;
use super::store::Store;
use vastost::config::credentials::KeyPair;
use vastost::engine::md5_lanes::Md5Lanes;
use vastost::error::{Error, Kind, Result, ResultExt};

/// What a connection may have read or not yet written: many small pieces cost more than the memory.
const CONNECTION_BYTES: usize = 1 << 20;

/// How long the end of a server waits for its port.
const PORT_FREE: Duration = Duration::from_secs(10);

/// A running server; dropped, it stops, and what was answered is in the folder.
pub struct EmbeddedServer {
    /// Its threads are the server's own, so that it never takes any, or a signal mask, from the plug-in's.
    runtime: Option<tokio::runtime::Runtime>,
    accepting: AbortHandle,
    /// Ends when the port is free again.
    port_held: Mutex<Receiver<()>>,
    address: SocketAddr,
    store: Arc<Store>,
    access: Arc<Access>,
    faults: Arc<Faults>,
    checksums: Arc<AtomicBool>,
    md5: Arc<Md5Lanes>,
}

impl EmbeddedServer {
    /// Serves `folder` (it must exist) with one access key at `address`; for port 0, on a free one.
    pub fn start(folder: &Path, keys: &KeyPair, address: impl Into<SocketAddr>) -> Result<Self> {
        let address = address.into();
        let what = || format!("serve {} at {address}", folder.display());
        let store = Store::open(folder).or_kind(Kind::Io, what)?;
        let access = Arc::<Access>::default();
        let faults = Arc::<Faults>::default();
        let md5 = Arc::new(Md5Lanes::start()?);
        let checksums = Arc::new(AtomicBool::new(true));
        access.add(keys);
        let backend = Backend {
            store: Arc::clone(&store),
            engine: Engine::new(Arc::clone(&md5)),
            access: Arc::clone(&access),
            checksums: Arc::clone(&checksums),
        };
        let mut builder = S3ServiceBuilder::new(backend);
        builder.set_auth(Keys(Arc::clone(&access)));
        builder.set_access(Guard(Arc::clone(&access), Arc::clone(&faults)));
        let service = Answering {
            service: builder.build(),
            count: Arc::<AtomicU64>::default(),
        };

        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build();
        let runtime = runtime.or_kind(Kind::Io, what)?;
        let listener = runtime.block_on(TcpListener::bind(address)).or_kind(Kind::Io, what)?;
        let address = listener.local_addr().or_kind(Kind::Io, what)?;
        let (holds_port, port_held) = channel();
        let port = Port {
            listener,
            _held: holds_port,
        };
        let accepting = runtime.spawn(async move {
            while let Ok((stream, _)) = port.listener.accept().await {
                let _ = stream.set_nodelay(true);
                tokio::spawn(serve(stream, service.clone()));
            }
        });
        Ok(Self {
            runtime: Some(runtime),
            accepting: accepting.abort_handle(),
            port_held: Mutex::new(port_held),
            address,
            store,
            access,
            faults,
            checksums,
            md5,
        })
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A further access key, which may do everything.
    pub fn add_keys(&self, keys: &KeyPair) {
        self.access.add(keys);
    }

    /// From now on this key may not do `action`: an action of IAM without `s3:` (`DeleteObjectVersion`), or the name of
    /// an operation (`UploadPartCopy`).
    pub fn deny(&self, access_key_id: &str, action: &str) {
        self.access.deny(access_key_id, action, Places::Everywhere);
    }

    /// Takes [`EmbeddedServer::deny`] back.
    pub fn allow(&self, access_key_id: &str, action: &str) {
        self.access.allow(access_key_id, action);
    }

    /// As [`EmbeddedServer::deny`], but for keys, and prefixes of lists, that begin with `prefix`.
    pub fn deny_outside(&self, access_key_id: &str, action: &str, prefix: &str) {
        self.access
            .deny(access_key_id, action, Places::Outside(prefix.to_owned()));
    }

    /// As [`EmbeddedServer::deny`], but for one key of any bucket.
    pub fn deny_key(&self, access_key_id: &str, action: &str, key: &str) {
        self.access.deny(access_key_id, action, Places::Key(key.to_owned()));
    }

    /// What all versions of the bucket may hold together; None: as much as there is room for.
    pub fn set_quota(&self, bucket: &str, quota_bytes: Option<u64>) -> Result<()> {
        let wrong = |error| Error::new(Kind::Io, format!("set the quota of bucket {bucket}: {error:?}"));
        let bucket = self.store.bucket(bucket).map_err(wrong)?;
        let mut state = bucket.lock();
        let settings = Settings {
            quota_bytes,
            ..state.settings.clone()
        };
        bucket.save_settings(&mut state, settings).map_err(wrong)
    }

    /// From now on checksum headers are neither checked nor answered, as by a store that does not know them.
    pub fn ignore_checksums(&self) {
        self.checksums.store(false, Ordering::Relaxed);
    }

    /// Something that goes wrong from now on.
    pub fn plan(&self, fault: Fault) {
        self.faults.plan(fault);
    }

    /// How many requests have met a fault since the faults were cleared.
    pub fn faults_met(&self) -> u64 {
        self.faults.met()
    }

    /// Nothing goes wrong any more.
    pub fn clear_faults(&self) {
        self.faults.clear();
    }

    /// How many requests of an operation came that were allowed.
    pub fn requests(&self, operation: &str) -> u64 {
        self.faults.requests(operation)
    }
}

/// What accepts connections; the port is free before it is told to be.
struct Port {
    listener: TcpListener,
    _held: Sender<()>,
}

impl Drop for EmbeddedServer {
    /// Who starts a server where this one was finds the port free.
    fn drop(&mut self) {
        self.accepting.abort();
        let port_held = self.port_held.get_mut().unwrap_or_else(PoisonError::into_inner);
        let _ = port_held.recv_timeout(PORT_FREE);
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
        self.md5.stop();
    }
}

/// Serves one connection, each request in a task of its own: hyper drops the handler of a client that has gone. What began
/// is ended, as a real server does.
async fn serve<S, B>(stream: TcpStream, service: S)
where
    S: Service<http::Request<Incoming>, Response = http::Response<B>>,
    S::Future: Send + 'static,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send + 'static,
    B: Body + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let to_the_end = service_fn(move |request| {
        let handled = tokio::spawn(service.call(request));
        async { handled.await.map_err(io::Error::other)?.map_err(io::Error::other) }
    });
    // A connection that breaks concerns nobody here.
    let mut http = hyper::server::conn::http1::Builder::new();
    let _ = http
        .max_buf_size(CONNECTION_BYTES)
        .serve_connection(TokioIo::new(stream), to_the_end)
        .await;
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::io::AsyncWriteExt;
    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn a_request_whose_client_has_gone_is_ended_all_the_same() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let began = Arc::new(Notify::new());
        let gone = Arc::new(Notify::new());
        let ended = Arc::new(Notify::new());
        let marks = (Arc::clone(&began), Arc::clone(&gone), Arc::clone(&ended));
        let service = service_fn(move |_| {
            let (began, gone, ended) = marks.clone();
            async move {
                began.notify_one();
                gone.notified().await;
                ended.notify_one();
                Ok::<_, io::Error>(http::Response::new(String::new()))
            }
        });
        let served = tokio::spawn(serve(listener.accept().await.unwrap().0, service));
        client.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
        began.notified().await;
        drop(client);
        served.await.unwrap();
        gone.notify_one();
        tokio::time::timeout(Duration::from_secs(10), ended.notified())
            .await
            .expect("the handler goes on");
    }
}
