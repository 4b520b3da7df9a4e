//! The one place where a call of the host waits for work on our threads.
//!
//! The catalog is async throughout. Here its work is spawned on the engine's runtime, and the host's thread sleeps until it
//! has ended: it polls no socket, so neither SIGPIPE nor a deep stack can reach it. What the work changes is lent to it
//! whole and comes back with the result. After terminate, and after a panic inside the work, it does not come back.

use futures::future::BoxFuture;

use crate::catalog::cluster::Cluster;
use crate::catalog::lsu::Lsu;
use crate::engine::runtime::run_on;
use crate::error::{Error, Kind, Result};

/// Runs work on an LSU and waits for its end.
pub fn run<T, F>(lsu: &Lsu, work: impl FnOnce(Lsu) -> F) -> Result<T>
where
    T: Send + 'static,
    F: Future<Output = Result<T>> + Send + 'static,
{
    run_on(lsu.runtime(), work(lsu.clone()))
}

/// Runs work on a cluster and waits for its end.
pub fn run_cluster<T, F>(cluster: &Cluster, work: impl FnOnce(Cluster) -> F) -> Result<T>
where
    T: Send + 'static,
    F: Future<Output = Result<T>> + Send + 'static,
{
    run_on(cluster.runtime(), work(cluster.clone()))
}

/// Lends what is in `place` to `work` and waits for its end; the place is empty when the work was cut off.
pub fn lend<O, T>(
    lsu: &Lsu,
    place: &mut Option<Box<O>>,
    work: impl for<'a> FnOnce(&'a mut O) -> BoxFuture<'a, Result<T>> + Send + 'static,
) -> Result<T>
where
    O: Send + 'static,
    T: Send + 'static,
{
    let mut lent = place.take().ok_or_else(broken)?;
    let (returned, result) = run_on(lsu.runtime(), async move {
        let result = work(&mut lent).await;
        Ok((lent, result))
    })?;
    *place = Some(returned);
    result
}

/// What a call finds whose predecessor on the same handle was cut off.
pub fn broken() -> Error {
    Error::new(
        Kind::Internal,
        "an earlier call on this image failed inside the plug-in; close it",
    )
}
