//! What the subcommands work with: the configuration with one server chosen, its catalog, and the plug-in.

use std::error::Error;

use vastost::catalog::lsu::Lsu;
use vastost::config;
use vastost::config::{Config, Server};
use vastost::engine::process::Engine;
use vastost::objstore::s3::store::Store;
use vastost::ost::abi::STSP_PREFIX;
use vastost_testkit::host::{self, HostServer};

use crate::args::Global;
use crate::{configuration, credentials};

/// The configuration and one server of it.
pub struct Site {
    pub config: Config,
    pub server: Server,
}

/// The records on the store, read without the plug-in.
pub struct Catalog {
    engine: Option<Engine>,
    site: Site,
    store: Store,
}

/// The plug-in with a server open; closed and terminated when dropped.
pub struct Plugin {
    pub server: HostServer,
}

impl Site {
    /// The configuration file that `global` means, and the server it names or the only one there is.
    pub fn open(global: &Global) -> Result<Self, Box<dyn Error>> {
        let config = configuration::find(global)?;
        let server = choose(&config, global.server.as_deref())?;
        Ok(Self { config, server })
    }

    /// An LSU by name: configured, or a discovered bucket.
    pub fn lsu(&self, name: &str) -> Result<config::Lsu, Box<dyn Error>> {
        let server = &self.server;
        let found = server.lsu(name).cloned().or_else(|| server.discovered(name));
        found.ok_or_else(|| {
            let known: Vec<_> = server.lsus.iter().map(|lsu| lsu.name.as_str()).collect();
            let path = self.config.path.display();
            let what = format!("LSU {name} is not configured for server {} in {path}", server.name);
            format!("{what}; it has: {}", known.join(", ")).into()
        })
    }

    pub fn catalog(self) -> Result<Catalog, Box<dyn Error>> {
        let keys = credentials::for_server(&self.server)?;
        let engine = Engine::start(&self.config)?;
        let store = Store::new(&engine, &self.config, &self.server, keys)?;
        Ok(Catalog {
            engine: Some(engine),
            site: self,
            store,
        })
    }

    pub fn plugin(&self) -> Result<Plugin, Box<dyn Error>> {
        let keys = credentials::for_server(&self.server)?;
        host::init()?;
        let name = format!("{STSP_PREFIX}{}", self.server.name);
        Ok(Plugin {
            server: host::open_server(&name, &self.config.path, keys.as_ref())?,
        })
    }
}

impl Catalog {
    /// An LSU by name, as [`Site::lsu`].
    pub fn lsu(&self, name: &str) -> Result<Lsu, Box<dyn Error>> {
        let site = &self.site;
        Ok(Lsu::new(
            self.store.clone(),
            &site.config,
            &site.server,
            &site.lsu(name)?,
        ))
    }

    /// The named LSUs, or all: those of the file, then the discovered buckets.
    pub fn lsus(&self, names: &[String]) -> Result<Vec<Lsu>, Box<dyn Error>> {
        if !names.is_empty() {
            return names.iter().map(|name| self.lsu(name)).collect();
        }
        let server = &self.site.server;
        let mut all: Vec<_> = server.lsus.clone();
        if server.bucket_prefix.is_some() {
            let store = self.store.clone();
            let buckets = self.store.run(async move { store.list_buckets().await })?;
            all.extend(server.discoveries(buckets));
        }
        if all.is_empty() {
            return Err(format!("server {} has no LSU", server.name).into());
        }
        Ok(all
            .iter()
            .map(|lsu| Lsu::new(self.store.clone(), &self.site.config, server, lsu))
            .collect())
    }

    pub fn server(&self) -> &Server {
        &self.site.server
    }

    pub fn endpoint(&self) -> &str {
        self.store.endpoint()
    }
}

impl Drop for Catalog {
    fn drop(&mut self) {
        if let Some(engine) = self.engine.take() {
            engine.stop();
        }
    }
}

impl Drop for Plugin {
    fn drop(&mut self) {
        // Everything opened is closed by now or given up: terminate frees the rest and joins the threads.
        let _ = self.server.close();
        host::terminate();
    }
}

fn choose(config: &Config, asked: Option<&str>) -> Result<Server, Box<dyn Error>> {
    if let Some(name) = asked {
        return Ok(config.server(name.strip_prefix(STSP_PREFIX).unwrap_or(name))?.clone());
    }
    let mut servers = config.servers.values();
    match (servers.next(), servers.next()) {
        (Some(only), None) => Ok(only.clone()),
        _ => {
            let names: Vec<_> = config.servers.keys().map(String::as_str).collect();
            let path = config.path.display();
            Err(format!(
                "{path} has several servers, choose one with --server: {}",
                names.join(", ")
            )
            .into())
        }
    }
}
