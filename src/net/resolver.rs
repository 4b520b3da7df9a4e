//! Names to addresses, without waiting for a resolver where its last answer will do.
//!
//! An answer is used alone for [`FRESH`]; for [`KNOWN`] it is used at once while one task asks again; only an older one,
//! or none, is waited for. Names are asked side by side, and once one has answered the others get [`GRACE`]. A resolver
//! that is out takes nothing away: its last answer stays in use, and is not waited for either.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;

use crate::config::Target;

/// VAST's own DNS answers with a TTL near zero.
const FRESH: Duration = Duration::from_secs(5);
/// VIPs move within a cluster: most of an answer this old is still right, and what is not costs a dial.
const KNOWN: Duration = Duration::from_secs(60);
/// What slow names get once there is an address to go to.
const GRACE: Duration = Duration::from_millis(200);
/// A name that does not resolve is warned of so often.
const WARN_EVERY: Duration = Duration::from_secs(60);

type Ask = dyn Fn(Target) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> + Send + Sync;

/// What is known of names; clones share it.
#[derive(Clone)]
pub struct Names {
    shared: Arc<Shared>,
}

struct Shared {
    ask: Box<Ask>,
    /// How long a resolver is waited for; the question itself goes on.
    patience: Duration,
    names: Mutex<HashMap<Target, Name>>,
}

#[derive(Default)]
struct Name {
    /// The last good answer.
    addresses: Vec<SocketAddr>,
    /// When a question ended last, well or not, or was not waited for any longer.
    asked: Option<Instant>,
    /// Why the last question had no answer.
    failure: String,
    warned: Option<Instant>,
    /// Held by the one task that asks.
    asking: Arc<tokio::sync::Mutex<()>>,
}

impl Names {
    /// By the system's resolver.
    pub fn new(patience: Duration) -> Self {
        Self::with(patience, |target: Target| {
            Box::pin(async move {
                Ok(tokio::net::lookup_host((target.host.as_str(), target.port))
                    .await?
                    .collect())
            })
        })
    }

    fn with(
        patience: Duration,
        ask: impl Fn(Target) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> + Send + Sync + 'static,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                ask: Box::new(ask),
                patience,
                names: Mutex::default(),
            }),
        }
    }

    /// The union of what `targets` mean now, in their order; an error when that is nothing.
    pub async fn addresses(&self, targets: &[Target]) -> io::Result<Vec<SocketAddr>> {
        let found = self.resolve_all(targets, Self::resolve).await;
        if found.is_ok() {
            return found;
        }
        // Names that did not resolve a moment ago are all that there is.
        self.resolve_all(targets, Self::ask).await
    }

    async fn resolve_all<'a, F>(
        &'a self,
        targets: &'a [Target],
        resolve: impl Fn(&'a Self, &'a Target) -> F,
    ) -> io::Result<Vec<SocketAddr>>
    where
        F: Future<Output = io::Result<Vec<SocketAddr>>> + 'a,
    {
        let each = |(at, target)| {
            let answer = resolve(self, target);
            async move { (at, answer.await) }
        };
        let mut under_way: FuturesUnordered<_> = targets.iter().enumerate().map(each).collect();
        let mut answers = vec![None; targets.len()];
        let mut failed = None;

        loop {
            let known = answers.iter().flatten().any(|addresses: &Vec<_>| !addresses.is_empty());
            let wait = if known { GRACE } else { Duration::MAX };
            let Ok(Some((at, answer))) = tokio::time::timeout(wait, under_way.next()).await else {
                break;
            };
            let answer = answer.unwrap_or_else(|error| {
                failed = Some(error);
                Vec::new()
            });
            answers
                .get_mut(at)
                .into_iter()
                .for_each(|slot| *slot = Some(answer.clone()));
        }

        drop(under_way);
        let mut all: Vec<SocketAddr> = Vec::new();
        for (target, answer) in targets.iter().zip(answers) {
            // Its question goes on, and the next request does not wait for it again.
            let answer = answer.unwrap_or_else(|| self.failed(target, "it takes longer than the other names"));
            all.extend(
                answer
                    .into_iter()
                    .filter(|address| !all.contains(address))
                    .collect::<Vec<_>>(),
            );
        }

        match failed {
            _ if !all.is_empty() => Ok(all),
            Some(error) => Err(error),
            None => Err(io::Error::new(io::ErrorKind::NotFound, "no name resolves")),
        }
    }

    /// What is known of a name if that is young enough, else what the resolver says.
    async fn resolve(&self, target: &Target) -> io::Result<Vec<SocketAddr>> {
        if let Ok(ip) = target.host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(ip, target.port)]);
        }
        let known = self.known(target, KNOWN);
        let Some(addresses) = known else {
            return self.ask(target).await;
        };
        if self.known(target, FRESH).is_none() {
            self.ask_behind(target);
        }
        Ok(addresses)
    }

    /// The last answer, if a question ended within `age`; empty when it has never been answered.
    fn known(&self, target: &Target, age: Duration) -> Option<Vec<SocketAddr>> {
        let names = self.lock();
        let name = names.get(target)?;
        name.asked
            .filter(|asked| asked.elapsed() < age)
            .map(|_| name.addresses.clone())
    }

    /// Starts a question unless one is under way.
    fn ask_behind(&self, target: &Target) {
        let Ok(turn) = self.turn(target).try_lock_owned() else {
            return;
        };
        let names = self.clone();
        let target = target.clone();
        tokio::spawn(async move {
            names.ask_now(&target).await;
            drop(turn);
        });
    }

    /// Waits for an answer, be it to a question of somebody else; after a failure gives the last one there was.
    async fn ask(&self, target: &Target) -> io::Result<Vec<SocketAddr>> {
        if target.host.parse::<IpAddr>().is_ok() {
            return Ok(Vec::new());
        }
        let began = Instant::now();
        let names = self.clone();
        let owned = target.clone();
        let turn = self.turn(target);
        // A task of its own: a resolver that hangs holds one thread for each name, however often it is given up.
        let answer = tokio::spawn(async move {
            let turn = turn.lock_owned().await;
            if names
                .lock()
                .get(&owned)
                .is_none_or(|name| name.asked.is_none_or(|asked| asked < began))
            {
                names.ask_now(&owned).await;
            }
            drop(turn);
        });
        let known = match tokio::time::timeout(self.shared.patience, answer).await {
            Ok(_) => self
                .lock()
                .get(target)
                .map(|name| name.addresses.clone())
                .unwrap_or_default(),
            Err(_) => self.failed(target, "no answer in time"),
        };

        if known.is_empty() {
            let why = self
                .lock()
                .get(target)
                .map(|name| name.failure.clone())
                .unwrap_or_default();
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                format!("resolve {}: {why}", target.host),
            ));
        }

        Ok(known)
    }

    async fn ask_now(&self, target: &Target) {
        match (self.shared.ask)(target.clone()).await {
            Ok(addresses) if !addresses.is_empty() => {
                let mut names = self.lock();
                let name = names.entry(target.clone()).or_default();
                (name.addresses, name.asked) = (addresses, Some(Instant::now()));
            }
            Ok(_) => drop(self.failed(target, "it has no address")),
            Err(error) => drop(self.failed(target, &error.to_string())),
        }
    }

    /// A question had no answer; gives the last one there was.
    fn failed(&self, target: &Target, why: &str) -> Vec<SocketAddr> {
        let now = Instant::now();
        let mut names = self.lock();
        let name = names.entry(target.clone()).or_default();
        name.asked = Some(now);
        why.clone_into(&mut name.failure);
        if name.warned.is_none_or(|warned| now.duration_since(warned) > WARN_EVERY) {
            name.warned = Some(now);
            let then = if name.addresses.is_empty() {
                ""
            } else {
                "; the last answer stays in use"
            };
            tracing::warn!("resolve {}: {why}{then}", target.host);
        }
        name.addresses.clone()
    }

    fn turn(&self, target: &Target) -> Arc<tokio::sync::Mutex<()>> {
        Arc::clone(&self.lock().entry(target.clone()).or_default().asking)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Target, Name>> {
        self.shared.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[path = "resolver_tests.rs"]
mod tests;
