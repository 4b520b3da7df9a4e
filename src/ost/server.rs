//! An open storage server: its configuration, its store, its LSUs.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::abi::to_field;
use super::abi::{STSP_PREFIX, STSP_SRV_CRED, STSP_SRV_DISK, STSP_SRV_IMAGE_META, STSP_SRV_REOPEN, stsp_server_prop_t};
use super::engine_slot::EngineSlot;
use super::session::Session;
use crate::catalog::lsu::Lsu;
use crate::config;
use crate::config::Config;
use crate::config::credentials::{KeyPair, Source};
use crate::config::warnings::warnings;
use crate::error::{Error, Kind, Result};
use crate::objstore::s3::store::Store;

/// What `stsp_open_server` opens.
pub struct Server {
    config: Arc<Config>,
    server: config::Server,
    keys: Option<KeyPair>,
    pub session: Arc<Session>,
    /// Connected by the first call that needs the store: opening sends nothing and starts no thread.
    store: Mutex<Option<Store>>,
    lsus: Mutex<HashMap<String, Lsu>>,
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
        let (store, lsus, children) = (Mutex::default(), Mutex::default(), AtomicUsize::new(0));
        Ok(Self {
            config,
            server,
            keys,
            session: Arc::new(session),
            store,
            lsus,
            children,
        })
    }

    /// The same server in the child of a fork: nothing of the parent's connections is used.
    pub fn after_fork(parent: &Self) -> Self {
        Self {
            config: Arc::clone(&parent.config),
            server: parent.server.clone(),
            keys: parent.keys.clone(),
            session: Arc::new(parent.session.after_fork()),
            store: Mutex::default(),
            lsus: Mutex::default(),
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

    /// The store, set up by the first call.
    pub fn store(&self, engine: &EngineSlot) -> Result<Store> {
        let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = store.as_ref() {
            return Ok(store.clone());
        }
        let made = engine.with_engine(&self.config, |engine| {
            Store::new(engine, &self.config, &self.server, self.keys.clone())
        })?;
        Ok(store.insert(made).clone())
    }

    /// An LSU by name: configured, or any bucket that discovery takes.
    pub fn lsu(&self, engine: &EngineSlot, name: &str) -> Result<Lsu> {
        let store = self.store(engine)?;
        let mut lsus = self.lsus.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lsu) = lsus.get(name) {
            return Ok(lsu.clone());
        }
        let found = self.server.lsu(name).cloned().or_else(|| self.server.discovered(name));
        let found = found.ok_or_else(|| {
            let what = format!(
                "LSU {name} is not configured for server {} in {}",
                self.server.name,
                self.config.path.display()
            );
            Error::new(Kind::LsuNotFound, what)
        })?;
        let lsu = Lsu::new(store, &self.config, &self.server, &found);
        lsus.insert(name.to_owned(), lsu.clone());
        Ok(lsu)
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
