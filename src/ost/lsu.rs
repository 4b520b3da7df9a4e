//! LSUs: listing them, their properties, their label.

use std::collections::VecDeque;
use std::sync::Arc;

use super::abi::to_field;
use super::abi::{STSP_LSUF_ACTIVE, STSP_LSUF_CAPACITY_KNOWN, STSP_LSUF_DISK, STSP_LSUF_USED_KNOWN, stsp_lsu_prop_t};
use super::bridge;
use super::engine_slot::EngineSlot;
use super::server::{Child, Server};
use crate::catalog::lsu::Lsu;
use crate::error::{Error, Kind, Result};

/// A list of LSUs: the names are taken when it is opened, the properties when they are read.
pub struct LsuList {
    names: VecDeque<String>,
    child: Child,
}

impl LsuList {
    /// Configured LSUs in the order of the file, then discovered buckets.
    pub fn open(engine: &EngineSlot, child: Child) -> Result<Self> {
        let server = child.server().config();
        let mut names: VecDeque<_> = server.lsus.iter().map(|lsu| lsu.name.clone()).collect();
        if server.bucket_prefix.is_some() {
            let cluster = child.server().cluster(engine)?;
            let found = bridge::run_cluster(&cluster, async move |cluster| cluster.discover().await)?;
            names.extend(found.into_iter().map(|lsu| lsu.name));
        }
        Ok(Self { names, child })
    }

    /// The next LSU; one whose bucket is missing or refused is listed without STSP_LSUF_ACTIVE.
    pub fn next_lsu(&mut self, engine: &EngineSlot) -> Result<stsp_lsu_prop_t> {
        let end = || Error::new(Kind::NoMoreEntries, "the LSU list has no further entry");
        let name = self.names.front().cloned().ok_or_else(end)?;
        let lsu = self.child.server().lsu(engine, &name)?;
        let prop = match label(&lsu) {
            Ok(label) => to_prop(&lsu, &label, STSP_LSUF_ACTIVE),
            Err(error) if matches!(error.kind(), Kind::LsuNotFound | Kind::AccessDenied) => {
                tracing::warn!("LSU {name} is not active: {error}");
                to_prop(&lsu, "", 0)
            }
            Err(error) => return Err(error),
        };
        self.names.pop_front();
        Ok(prop)
    }

    pub fn server(&self) -> &Arc<Server> {
        self.child.server()
    }
}

/// The properties of an LSU, with one request to the store.
pub fn prop(lsu: &Lsu) -> Result<stsp_lsu_prop_t> {
    Ok(to_prop(lsu, &label(lsu)?, STSP_LSUF_ACTIVE))
}

/// Sets what `label` shows, for all hosts.
pub fn set_label(lsu: &Lsu, label: &[u8]) -> Result<()> {
    let label = String::from_utf8(label.to_vec());
    let label = label.map_err(|_| Error::new(Kind::InvalidArgument, "the label is not UTF-8"))?;
    bridge::run(lsu, async move |lsu| lsu.set_label(label).await)
}

fn label(lsu: &Lsu) -> Result<String> {
    bridge::run(lsu, async |lsu| lsu.label().await)
}

fn to_prop(lsu: &Lsu, label: &str, active: u32) -> stsp_lsu_prop_t {
    let config = lsu.config();
    let usage = lsu.usage();
    let capacity = if config.capacity_bytes > 0 {
        STSP_LSUF_CAPACITY_KNOWN
    } else {
        0
    };
    let used = if usage.is_some() { STSP_LSUF_USED_KNOWN } else { 0 };
    let usage = usage.unwrap_or_default();
    stsp_lsu_prop_t {
        struct_size: 0,
        flags: STSP_LSUF_DISK | active | capacity | used,
        capacity_bytes: config.capacity_bytes,
        used_bytes: usage.bytes,
        images: usage.images,
        name: to_field(config.name.as_bytes()),
        bucket: to_field(config.bucket.as_bytes()),
        label: to_field(label.as_bytes()),
        description: to_field(config.description.as_bytes()),
    }
}
