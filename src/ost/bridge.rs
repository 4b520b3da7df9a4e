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

/// What calls of the host work on, one after the other, and what the work of a call has while the call waits.
pub enum Place<O> {
    Here(Box<O>),
    /// A call was cut off that had it: by terminate, or by a fault of ours.
    Lost(Kind),
}

impl<O> Place<O> {
    pub fn new(owned: O) -> Self {
        Self::Here(Box::new(owned))
    }

    pub fn get(&mut self) -> Result<&mut O> {
        match self {
            Self::Here(owned) => Ok(owned),
            Self::Lost(kind) => Err(lost(*kind)),
        }
    }

    pub fn take(self) -> Result<Box<O>> {
        match self {
            Self::Here(owned) => Ok(owned),
            Self::Lost(kind) => Err(lost(kind)),
        }
    }
}

/// Lends what is in `place` to `work` and waits for its end; the place has lost it when the work was cut off.
pub fn lend<O, T>(
    lsu: &Lsu,
    place: &mut Place<O>,
    work: impl for<'a> FnOnce(&'a mut O) -> BoxFuture<'a, Result<T>> + Send + 'static,
) -> Result<T>
where
    O: Send + 'static,
    T: Send + 'static,
{
    place.get()?;
    // Whatever happens on this thread until it is back is a fault of ours.
    let mut lent = std::mem::replace(place, Place::Lost(Kind::Internal)).take()?;
    let done = run_on(lsu.runtime(), async move {
        let result = work(&mut lent).await;
        Ok((lent, result))
    });
    let (returned, result) = done.inspect_err(|error| *place = Place::Lost(error.kind()))?;
    *place = Place::Here(returned);
    result
}

/// What a call finds whose predecessor on the same handle was cut off.
fn lost(kind: Kind) -> Error {
    let what = if kind == Kind::Aborted {
        "the plug-in was terminated during an earlier call on this handle"
    } else {
        "an earlier call on this handle failed inside the plug-in; close it"
    };
    Error::new(kind, what)
}
