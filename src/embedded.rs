//! An S3 server inside the process, for the demo and the tests: s3s-fs on a free loopback port, files in a folder.
//!
//! It has a runtime of its own, so that it never takes threads or masks from the plug-in's. It is no product feature:
//! it does not check CRC64NVME of parts and knows no ListMultipartUploads.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use hyper::body::{Body, Incoming};
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use s3s_fs::FileSystem;
use tokio::net::{TcpListener, TcpStream};

use crate::config::credentials::KeyPair;
use crate::error::{Error, Kind, Result, ResultExt};

/// A running server; dropped, it stops.
pub struct EmbeddedServer {
    runtime: Option<tokio::runtime::Runtime>,
    address: SocketAddr,
}

impl EmbeddedServer {
    /// Serves `folder` (it must exist) with one access key, on `port` or, for 0, on a free one.
    pub fn start(folder: &Path, keys: &KeyPair, port: u16) -> Result<Self> {
        let what = || format!("start the embedded S3 server on {}", folder.display());
        let files = FileSystem::new(folder).map_err(|e| Error::new(Kind::Io, format!("{}: {e:?}", what())))?;
        let service = {
            let mut builder = S3ServiceBuilder::new(files);
            builder.set_auth(SimpleAuth::from_single(keys.access_key_id.as_str(), keys.secret_access_key.as_str()));
            builder.build()
        };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.or_kind(Kind::Io, what)?;
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, port))).or_kind(Kind::Io, what)?;
        let address = listener.local_addr().or_kind(Kind::Io, what)?;
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                tokio::spawn(serve(stream, service.clone()));
            }
        });
        Ok(Self { runtime: Some(runtime), address })
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for EmbeddedServer {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Serves one connection, each request in a task of its own: hyper drops the handler of a client that has gone, and s3s-fs
/// writes an object and the record of its ETag one after the other. What began is ended, as a real server does.
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
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), to_the_end).await;
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::io::AsyncWriteExt;
    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn a_request_whose_client_has_gone_is_ended_all_the_same() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (began, gone, ended) = (Arc::new(Notify::new()), Arc::new(Notify::new()), Arc::new(Notify::new()));
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
        tokio::time::timeout(Duration::from_secs(10), ended.notified()).await.expect("the handler goes on");
    }
}
