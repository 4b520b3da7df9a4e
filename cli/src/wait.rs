//! The one place where a command waits for the catalog, which is async.

use vastost::catalog::cluster::Cluster;
use vastost::catalog::lsu::Lsu;

/// Runs work on an LSU to its end.
pub fn wait<T>(lsu: &Lsu, work: impl Future<Output = T>) -> T {
    lsu.runtime().block_on(work)
}

/// Runs work on a cluster to its end.
pub fn wait_for<T>(cluster: &Cluster, work: impl Future<Output = T>) -> T {
    cluster.runtime().block_on(work)
}
