//! What all stores of one process share: threads, buffers, hash lanes, counters.

use std::sync::Arc;

use super::md5_lanes::Md5Lanes;
use super::pool::BufferPool;
use super::runtime::Runtime;
use crate::config::Config;
use crate::error::Result;
use crate::metrics::export::Exporter;
use crate::metrics::registry::Metrics;

/// Started by the first server that is opened, stopped by terminate.
pub struct Engine {
    pub(crate) runtime: Runtime,
    pub(crate) pool: Arc<BufferPool>,
    pub(crate) md5: Arc<Md5Lanes>,
    pub(crate) metrics: Arc<Metrics>,
    exporter: Option<Exporter>,
}

impl Engine {
    pub fn start(config: &Config) -> Result<Self> {
        // Joined again when the others cannot be had.
        let md5 = Arc::new(Md5Lanes::start()?);
        let runtime = Runtime::start(config.transfer.io_threads).inspect_err(|_| md5.stop())?;
        let pool = BufferPool::new(config.pool.budget_bytes);
        let metrics = Arc::new(Metrics::new());
        let exporter = Exporter::new(&config.metrics, &metrics);
        if let Some(exporter) = &exporter {
            runtime.handle().spawn(exporter.clone().run());
        }
        Ok(Self {
            runtime,
            pool,
            md5,
            metrics,
            exporter,
        })
    }

    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// The configuration opened last decides about the budget.
    pub fn set_budget(&self, budget_bytes: u64) {
        self.pool.set_budget(budget_bytes);
    }

    /// Gives the memory of buffers that nobody uses back to the system.
    pub fn release_idle(&self) {
        self.pool.release_idle();
    }

    /// Joins every thread, then writes what they have counted.
    pub fn stop(self) {
        self.runtime.stop();
        self.md5.stop();
        if let Some(exporter) = &self.exporter {
            exporter.write();
        }
    }

    /// On the child's side of a fork: none of the threads exist here, so nothing is joined and nothing freed.
    pub fn forget(self) {
        self.runtime.forget();
        std::mem::forget(self.md5);
    }
}
