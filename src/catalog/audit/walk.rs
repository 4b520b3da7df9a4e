//! All images of an LSU in the order of their keys: sidecars and data objects are listed side by side and joined.
//!
//! Both listings are in the order of their keys, which is that of `<client>/<day>/<stem>.` but for rare pairs of
//! basenames of which one continues the other with a dot. Such an image comes in two groups, one of data and one of a
//! sidecar; the checks ask the store again before they believe that something is missing, so nothing is misjudged.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Scope;
use super::report::Foreign;
use crate::catalog::format::image_id::ImageId;
use crate::catalog::format::keys::{Attempt, Folder};
use crate::catalog::list::pages;
use crate::catalog::pages::Pages;
use crate::error::Result;
use crate::objstore::s3::types::ListedObject;

/// What the listings have of one image.
#[derive(Debug)]
pub struct Group {
    pub id: ImageId,
    pub sidecar: Option<ListedObject>,
    pub data: Vec<(Attempt, ListedObject)>,
}

/// The walk under way.
pub struct Groups {
    scope: Arc<Scope>,
    catalog: Cursor,
    data: Cursor,
    elsewhere: bool,
}

/// One folder's objects, one by one.
struct Cursor {
    folder: Folder,
    pages: Pages,
    ready: VecDeque<ListedObject>,
    foreign: Foreign,
    /// The last key that was taken out.
    last: Option<String>,
}

/// The next object of a cursor: where it belongs in the order, and whose it is.
struct Head {
    place: String,
    id: ImageId,
    attempt: Option<Attempt>,
}

/// Where a walk can be taken up again: the last keys of both listings that have been dealt with.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Position {
    pub catalog: Option<String>,
    pub data: Option<String>,
}

impl Groups {
    /// Begins behind `position`.
    pub fn new(scope: &Arc<Scope>, position: &Position) -> Self {
        let cursor = |folder, from: &Option<String>| Cursor::new(scope, folder, from.clone());
        let catalog = cursor(Folder::Catalog, &position.catalog);
        let data = cursor(Folder::Data, &position.data);
        Self {
            scope: Arc::clone(scope),
            catalog,
            data,
            elsewhere: false,
        }
    }

    /// The next image that was asked for, with the position behind it.
    pub async fn next_group(&mut self) -> Result<Option<(Group, Position)>> {
        loop {
            let catalog = self.catalog.peek(&self.scope).await?;
            let data = self.data.peek(&self.scope).await?;
            let first = match (&catalog, &data) {
                (None, None) => return Ok(None),
                (Some(only), None) | (None, Some(only)) => only,
                (Some(sidecar), Some(data)) => {
                    if data.place < sidecar.place {
                        data
                    } else {
                        sidecar
                    }
                }
            };
            let place = first.place.clone();
            let id = first.id.clone();
            let group = self.take(&place, id).await?;
            if self.scope.has(&group.id) {
                return Ok(Some((group, self.position())));
            }
            self.elsewhere |= self.scope.options.filter.accepts(&group.id);
        }
    }

    async fn take(&mut self, place: &str, id: ImageId) -> Result<Group> {
        let mut group = Group {
            id,
            sidecar: None,
            data: Vec::new(),
        };
        if self
            .catalog
            .peek(&self.scope)
            .await?
            .is_some_and(|head| head.place == place)
        {
            group.sidecar = self.catalog.pop();
        }
        while let Some(head) = self.data.peek(&self.scope).await?.filter(|head| head.place == place) {
            let object = self.data.pop();
            group.data.extend(head.attempt.zip(object));
        }
        Ok(group)
    }

    fn position(&self) -> Position {
        Position {
            catalog: self.catalog.last.clone(),
            data: self.data.last.clone(),
        }
    }

    /// Keys in the two folders that are not ours: those that were passed since this was asked last.
    pub fn take_foreign(&mut self) -> Foreign {
        let mut foreign = std::mem::take(&mut self.catalog.foreign);
        let data = std::mem::take(&mut self.data.foreign);
        foreign.count += data.count;
        foreign.named.extend(data.named);
        foreign
    }

    /// True when the selection has images that are another shard's.
    pub fn elsewhere(&self) -> bool {
        self.elsewhere
    }

    pub fn requests(&self) -> u64 {
        self.catalog.pages.requests() + self.data.pages.requests()
    }
}

impl Cursor {
    fn new(scope: &Scope, folder: Folder, from: Option<String>) -> Self {
        let pages = match &from {
            None => pages(&scope.lsu, &scope.options.filter, folder),
            Some(_) => {
                let prefix = scope.lsu.keys().folder(folder, scope.options.filter.client.as_ref());
                Pages::new(scope.lsu.store(), scope.lsu.bucket(), prefix, from.clone())
            }
        };
        Self {
            folder,
            pages,
            ready: VecDeque::new(),
            foreign: Foreign::default(),
            last: from,
        }
    }

    async fn peek(&mut self, scope: &Scope) -> Result<Option<Head>> {
        loop {
            while let Some(object) = self.ready.front() {
                if let Some((id, attempt)) = scope.lsu.keys().parse(self.folder, &object.key) {
                    return Ok(Some(Head {
                        place: scope.lsu.keys().place(&id),
                        id,
                        attempt,
                    }));
                }
                if let Some(object) = self.pop() {
                    self.foreign.add(|| object.key);
                }
            }
            match self.pages.next_page().await? {
                Some(page) => self.ready.extend(page),
                None => return Ok(None),
            }
        }
    }

    fn pop(&mut self) -> Option<ListedObject> {
        let object = self.ready.pop_front()?;
        self.last = Some(object.key.clone());
        Some(object)
    }
}
