//! An open storage server: its configuration, its store, its LSUs.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::abi::to_field;
use super::abi::{STSP_PREFIX, STSP_SRV_CRED, STSP_SRV_DISK, STSP_SRV_IMAGE_META, STSP_SRV_REOPEN, stsp_server_prop_t};
use super::engine_slot::EngineSlot;
use super::session::Session;
use crate::catalog::cluster::Cluster;
use crate::catalog::lsu::Lsu;
use crate::config;
use crate::config::Config;
use crate::config::credentials::{KeyPair, Source};
use crate::config::warnings::warnings;
use crate::error::{Error, Kind, Result};

/// What `stsp_open_server` opens.
pub struct Server {
    config: Arc<Config>,
    server: config::Server,
    keys: Option<KeyPair>,
    pub session: Arc<Session>,
    /// Connected by the first call that needs the store: opening sends nothing and starts no thread.
    cluster: Mutex<Option<Cluster>>,
    children: AtomicUsize,
}

/// Keeps a server from being closed while something of it is open.
pub struct Child(Arc<Server>);

impl Child {
    pub fn of(server: &Arc<Server>) -> Self {
        server.children.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(server))
    }

    pub fn server(&self) -> &Arc<Server> {
        &self.0
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.0.children.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The part behind the prefix, when the name is this plug-in's.
pub fn claimed(name: &[u8]) -> Option<&str> {
    let name = std::str::from_utf8(name).ok()?;
    name.strip_prefix(STSP_PREFIX).filter(|rest| !rest.is_empty())
}

impl Server {
    /// Reads the configuration and checks the name; sends nothing.
    pub fn open(
        name: &[u8],
        config_file: Option<&std::path::Path>,
        keys: Option<KeyPair>,
        session: Session,
    ) -> Result<Self> {
        let name = claimed(name).ok_or_else(|| {
            let what = format!(
                "server name {} does not begin with {STSP_PREFIX}",
                String::from_utf8_lossy(name)
            );
            Error::new(Kind::ServerNotFound, what)
        })?;
        let config = Arc::new(Config::find(config_file)?);
        crate::log::start(&config.log);
        for warning in warnings(&config) {
            tracing::warn!("{warning}");
        }
        let server = config.server(name)?.clone();

        if server.credentials == Source::NetBackup && keys.is_none() {
            let what = format!(
                "server {name} takes its keys from NetBackup, and the call brought none: add them with tpconfig, or set server.{name}.credentials"
            );
            return Err(Error::new(Kind::Unauthorized, what));
        }

        Ok(Self {
            config,
            server,
            keys,
            session: Arc::new(session),
            cluster: Mutex::default(),
            children: AtomicUsize::new(0),
        })
    }

    /// The same server in the child of a fork: nothing of the parent's connections is used.
    pub fn after_fork(parent: &Self) -> Self {
        Self {
            config: Arc::clone(&parent.config),
            server: parent.server.clone(),
            keys: parent.keys.clone(),
            session: Arc::new(parent.session.after_fork()),
            cluster: Mutex::default(),
            children: AtomicUsize::new(0),
        }
    }

    pub fn config(&self) -> &config::Server {
        &self.server
    }

    /// True while anything of the server is open or a call on it is under way.
    pub fn is_busy(&self) -> bool {
        self.children.load(Ordering::Acquire) > 0
    }

    /// Refuses while anything of the server is open.
    pub fn may_close(&self) -> Result<()> {
        match self.children.load(Ordering::Acquire) {
            0 => Ok(()),
            open => {
                let what = format!(
                    "server {} has {open} open images, lists or calls; close them first",
                    self.server.name
                );
                Err(Error::new(Kind::Busy, what))
            }
        }
    }

    /// The cluster, connected by the first call.
    pub fn cluster(&self, engine: &EngineSlot) -> Result<Cluster> {
        let mut cluster = self.cluster.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cluster) = cluster.as_ref() {
            return Ok(cluster.clone());
        }
        let opened = engine.with_engine(&self.config, |engine| {
            Cluster::open(engine, &self.config, &self.server, self.keys.clone())
        })?;
        Ok(cluster.insert(opened).clone())
    }

    /// An LSU by name: configured, or any bucket that discovery takes.
    pub fn lsu(&self, engine: &EngineSlot, name: &str) -> Result<Lsu> {
        self.cluster(engine)?.lsu(name)
    }

    pub fn prop(&self) -> stsp_server_prop_t {
        let credentials = if self.server.credentials == Source::NetBackup {
            STSP_SRV_CRED
        } else {
            0
        };
        stsp_server_prop_t {
            struct_size: 0,
            reserved: 0,
            capabilities: STSP_SRV_DISK | STSP_SRV_IMAGE_META | STSP_SRV_REOPEN | credentials,
            image_size_max: self.config.transfer.image_size_max_bytes,
            transfer_max: i64::MAX as u64,
            block_size: 512,
            lsu_count: u32::try_from(self.server.lsus.len()).unwrap_or(u32::MAX),
            name: to_field(format!("{STSP_PREFIX}{}", self.server.name).as_bytes()),
            endpoint: to_field(self.server.endpoint.url().as_bytes()),
        }
    }
}
