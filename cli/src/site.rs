//! What the subcommands work with: the configuration with one server chosen, its catalog, and the plug-in.

use std::error::Error;

use vastost::catalog::cluster::{Cluster, find_lsu};
use vastost::catalog::lsu::Lsu;
use vastost::config;
use vastost::config::{Config, Server};
use vastost::engine::process::Engine;
use vastost::ost::abi::STSP_PREFIX;
use vastost_testkit::host::{self, HostServer};

use crate::args::Global;
use crate::wait::wait_for;
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
    cluster: Cluster,
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
        Ok(find_lsu(&self.config, &self.server, name)?)
    }

    pub fn catalog(self) -> Result<Catalog, Box<dyn Error>> {
        let keys = credentials::for_server(&self.server)?;
        let engine = Engine::start(&self.config)?;
        let cluster = Cluster::open(&engine, &self.config, &self.server, keys)?;
        Ok(Catalog {
            engine: Some(engine),
            site: self,
            cluster,
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
    /// An LSU by name: configured, or a bucket that discovery takes.
    pub fn lsu(&self, name: &str) -> Result<Lsu, Box<dyn Error>> {
        Ok(self.cluster.lsu(name)?)
    }

    /// The named LSUs, or all: those of the file, then the discovered buckets.
    pub fn lsus(&self, names: &[String]) -> Result<Vec<Lsu>, Box<dyn Error>> {
        if !names.is_empty() {
            return names.iter().map(|name| self.lsu(name)).collect();
        }
        let all = wait_for(&self.cluster, self.cluster.lsus())?;
        if all.is_empty() {
            return Err(format!("server {} has no LSU", self.site.server.name).into());
        }
        Ok(all)
    }

    pub fn server(&self) -> &Server {
        &self.site.server
    }

    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    pub fn endpoint(&self) -> &str {
        self.cluster.endpoint()
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
