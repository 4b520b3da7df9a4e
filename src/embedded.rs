//! An S3 server inside the process, for the demo and the tests: s3s-fs on a free loopback port, files in a folder.
//!
//! It has a runtime of its own, so that it never takes threads or masks from the plug-in's. It is no product feature:
//! it does not check CRC64NVME of parts and knows no ListMultipartUploads.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use hyper_util::rt::TokioIo;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use s3s_fs::FileSystem;
use tokio::net::TcpListener;

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
                let http = hyper::server::conn::http1::Builder::new();
                tokio::spawn(http.serve_connection(TokioIo::new(stream), service.clone()));
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
