//! A server's cluster as the catalog sees it: its buckets, and the LSUs in them.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::lsu::Lsu;
use crate::config;
use crate::config::credentials::KeyPair;
use crate::config::{Bucket, Config, Server};
use crate::engine::process::Engine;
use crate::error::{Error, Kind, Result};
use crate::objstore::s3::store::Store;

/// An open server; clones share its connections and what is known of its LSUs.
#[derive(Clone)]
pub struct Cluster {
    shared: Arc<Shared>,
}

struct Shared {
    store: Store,
    config: Config,
    server: Server,
    lsus: Mutex<HashMap<String, Lsu>>,
}

impl Cluster {
    /// Sends nothing. `keys` are those that the host passed; None takes them from where the configuration says.
    pub fn open(engine: &Engine, config: &Config, server: &Server, keys: Option<KeyPair>) -> Result<Self> {
        let shared = Shared {
            store: Store::new(engine, config, server, keys)?,
            config: config.clone(),
            server: server.clone(),
            lsus: Mutex::default(),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    pub fn endpoint(&self) -> &str {
        self.shared.store.endpoint()
    }

    /// Where its work runs.
    pub fn runtime(&self) -> &tokio::runtime::Handle {
        self.shared.store.runtime()
    }

    /// An LSU by name, as [`find_lsu`].
    pub fn lsu(&self, name: &str) -> Result<Lsu> {
        let Shared { config, server, .. } = &*self.shared;
        let mut lsus = self.shared.lsus.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lsu) = lsus.get(name) {
            return Ok(lsu.clone());
        }
        let found = find_lsu(config, server, name)?;
        let lsu = Lsu::new(self.shared.store.clone(), config, server, &found);
        lsus.insert(name.to_owned(), lsu.clone());
        Ok(lsu)
    }

    /// An LSU in `folder` of another one, with usage figures of its own in `state_dir`. Sends nothing.
    pub(super) fn lsu_below(&self, name: &str, folder: &str, state_dir: &Path) -> Result<Lsu> {
        let Shared {
            store, config, server, ..
        } = &*self.shared;
        let outer = find_lsu(config, server, name)?;
        let inner = config::Lsu {
            prefix: format!("{}{folder}", outer.prefix),
            ..outer
        };
        let own = Config {
            state_dir: state_dir.into(),
            ..config.clone()
        };
        Ok(Lsu::new(store.clone(), &own, server, &inner))
    }

    /// Buckets that the keys may see.
    pub async fn buckets(&self) -> Result<Vec<Bucket>> {
        self.shared.store.list_buckets().await
    }

    /// The LSUs that are buckets which discovery takes, beside those of the configuration.
    pub async fn discover(&self) -> Result<Vec<config::Lsu>> {
        let server = &self.shared.server;
        if server.bucket_prefix.is_none() {
            return Ok(Vec::new());
        }
        Ok(server.discoveries(self.buckets().await?))
    }

    /// Every LSU: those of the configuration in its order, then those that discovery finds.
    pub async fn lsus(&self) -> Result<Vec<Lsu>> {
        let found = self.discover().await?;
        let all = self.shared.server.lsus.iter().chain(&found);
        all.map(|lsu| self.lsu(&lsu.name)).collect()
    }
}

/// An LSU by name: configured, or any bucket that discovery takes. Sends nothing.
///
/// # Errors
/// [`Kind::LsuNotFound`] with what the server has.
pub fn find_lsu(config: &Config, server: &Server, name: &str) -> Result<config::Lsu> {
    let found = server.lsu(name).cloned().or_else(|| server.discovered(name));
    found.ok_or_else(|| {
        let known: Vec<_> = server.lsus.iter().map(|lsu| lsu.name.as_str()).collect();
        let path = config.path.display();
        let what = format!("LSU {name} is not configured for server {} in {path}", server.name);
        Error::new(Kind::LsuNotFound, format!("{what}; it has: {}", known.join(", ")))
    })
}
