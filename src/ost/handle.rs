//! Handles: numbers in a table, never pointers. `kind << 56 | copy << 36 | generation`; a generation is never used twice.
//!
//! A process may load two copies of the plug-in, of one version or of two: each has a table of its own, and `copy` tells
//! whose a handle is, so that none closes or deletes what the other one has open.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::image::ImageHandle;
use super::image_list::ImageList;
use super::lsu::LsuList;
use super::server::{Child, Server};
use crate::error::{Error, Kind, Result};
use crate::thread::copy_in_process;

const KIND_SHIFT: u32 = 56;
const COPY_SHIFT: u32 = 36;
/// One process never opens so many.
const GENERATIONS: u64 = 1 << COPY_SHIFT;

/// Counts on over terminate and fork, so that a handle of before is stale and not another one's.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// What a handle can stand for.
#[derive(Clone)]
pub enum Object {
    Server(Arc<Server>),
    LsuList(Arc<Mutex<LsuList>>),
    Image(Arc<ImageHandle>),
    ImageList(Arc<Mutex<ImageList>>),
}

/// The open handles of one process.
#[derive(Default)]
pub struct HandleTable {
    state: RwLock<State>,
}

#[derive(Default)]
struct State {
    objects: HashMap<u64, Object>,
    /// Drained by terminate: a call that was under way in another thread must leave nothing behind it.
    shut: bool,
}

impl Object {
    fn kind(&self) -> u64 {
        match self {
            Self::Server(_) => 1,
            Self::LsuList(_) => 2,
            Self::Image(_) => 3,
            Self::ImageList(_) => 4,
        }
    }

    pub fn as_server(&self) -> Option<Arc<Server>> {
        match self {
            Self::Server(server) => Some(Arc::clone(server)),
            _ => None,
        }
    }
}

impl HandleTable {
    /// Enters an object; gives its handle. After terminate it is refused, and ends as if it had been open then.
    pub fn open(&self, object: Object) -> Result<u64> {
        let generation = NEXT.fetch_add(1, Ordering::Relaxed);
        if generation >= GENERATIONS {
            return Err(Error::new(
                Kind::Internal,
                "this process has no handle left; start it again",
            ));
        }
        let handle = object.kind() << KIND_SHIFT | copy_tag() << COPY_SHIFT | generation;
        let mut state = self.write();
        if state.shut {
            // The object goes with the call, and terminate waits for that.
            return Err(Error::new(Kind::Aborted, "the plug-in was terminated during the call"));
        }
        state.objects.insert(handle, object);
        Ok(handle)
    }

    fn get(&self, handle: u64) -> Option<Object> {
        self.read().objects.get(&handle).cloned()
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn server(&self, handle: u64) -> Result<Arc<Server>> {
        match self.get(handle) {
            Some(Object::Server(server)) => Ok(server),
            other => Err(wrong(handle, "an open server", other.as_ref())),
        }
    }

    /// A server for the length of a call: it cannot be closed meanwhile.
    pub fn use_server(&self, handle: u64) -> Result<Child> {
        let state = self.read();
        match state.objects.get(&handle) {
            // Counted under the lock that a close needs.
            Some(Object::Server(server)) => Ok(Child::of(server)),
            other => Err(wrong(handle, "an open server", other)),
        }
    }

    pub fn lsu_list(&self, handle: u64) -> Result<Arc<Mutex<LsuList>>> {
        match self.get(handle) {
            Some(Object::LsuList(list)) => Ok(list),
            other => Err(wrong(handle, "an open LSU list", other.as_ref())),
        }
    }

    pub fn image(&self, handle: u64) -> Result<Arc<ImageHandle>> {
        match self.get(handle) {
            Some(Object::Image(image)) => Ok(image),
            other => Err(wrong(handle, "an open image", other.as_ref())),
        }
    }

    pub fn image_list(&self, handle: u64) -> Result<Arc<Mutex<ImageList>>> {
        match self.get(handle) {
            Some(Object::ImageList(list)) => Ok(list),
            other => Err(wrong(handle, "an open image list", other.as_ref())),
        }
    }

    /// Takes a handle out, if `may_close` agrees; of two closes at once one finds it and the other does not.
    pub fn close(&self, handle: u64, may_close: impl FnOnce(&Object) -> Result<()>) -> Result<()> {
        let mut state = self.write();
        let object = state
            .objects
            .get(&handle)
            .ok_or_else(|| wrong(handle, "an open handle", None))?;
        may_close(object)?;
        let closed = state.objects.remove(&handle);
        drop(state);
        drop(closed);
        Ok(())
    }

    /// Takes all out, children before servers, and lets nothing in any more: the next init makes a table of its own.
    pub fn drain(&self) -> Vec<Object> {
        let mut state = self.write();
        state.shut = true;
        let mut all: Vec<_> = state.objects.drain().map(|(_, object)| object).collect();
        all.sort_by_key(|object| std::cmp::Reverse(object.kind()));
        all
    }

    /// The servers of the parent process, under their numbers; none when another thread held the table at the fork.
    pub fn servers_after_fork(&self) -> Vec<(u64, Arc<Server>)> {
        let Ok(state) = self.state.try_read() else {
            return Vec::new();
        };
        let servers = state.objects.iter().filter_map(|(handle, object)| match object {
            Object::Server(server) => Some((*handle, Arc::clone(server))),
            _ => None,
        });
        servers.collect()
    }

    /// A table that begins with servers of the parent process.
    pub fn with_servers(servers: impl IntoIterator<Item = (u64, Arc<Server>)>) -> Self {
        let objects = servers
            .into_iter()
            .map(|(handle, server)| (handle, Object::Server(server)));
        Self {
            state: RwLock::new(State {
                objects: objects.collect(),
                shut: false,
            }),
        }
    }
}

/// Twenty bits of what tells this copy of the plug-in from others in the process.
fn copy_tag() -> u64 {
    copy_in_process() & ((1 << (KIND_SHIFT - COPY_SHIFT)) - 1)
}

fn wrong(handle: u64, expected: &str, found: Option<&Object>) -> Error {
    let is_foreign = handle >> COPY_SHIFT & ((1 << (KIND_SHIFT - COPY_SHIFT)) - 1) != copy_tag();
    let found = match found {
        None if is_foreign => "was not given by this copy of the plug-in",
        None => "is closed or never was",
        Some(Object::Server(_)) => "is a server",
        Some(Object::LsuList(_)) => "is an LSU list",
        Some(Object::Image(_)) => "is an image",
        Some(Object::ImageList(_)) => "is an image list",
    };
    Error::new(
        Kind::BadHandle,
        format!("handle {handle:#x} {found}; {expected} was expected"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ost::callback::LogCallback;
    use crate::ost::session::Session;

    fn server() -> Object {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("vastost.toml");
        let text = "[server.v]\nendpoints = [\"http://127.0.0.1:9000\"]\ncredentials = { source = \"aws\" }\n";
        std::fs::write(&config, text).unwrap();
        let session = Session::new(LogCallback::new(None, std::ptr::null_mut()), 0);
        Object::Server(Arc::new(
            Server::open(b"VastData:v", Some(&config), None, session).unwrap(),
        ))
    }

    #[test]
    fn what_comes_after_the_table_was_drained_is_refused_and_the_next_table_takes_it() {
        let table = HandleTable::default();
        let object = server();
        let before = table.open(object.clone()).unwrap();
        assert_eq!(table.drain().len(), 1);
        assert_eq!(table.open(object.clone()).unwrap_err().kind(), Kind::Aborted);
        assert!(table.drain().is_empty(), "nothing is left behind");
        let next = HandleTable::default();
        let after = next.open(object).unwrap();
        assert!(next.server(after).is_ok());
        assert_eq!(next.server(before).err().unwrap().kind(), Kind::BadHandle);
    }
}
