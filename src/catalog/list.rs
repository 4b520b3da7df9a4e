//! Listing images, page by page: first the complete ones, then the pending ones, each in the order of their keys.
//!
//! Names and dates come from the keys alone: one request per 1,000 images, the next page under way while one is being
//! read, never more than two pages in memory. A filter by client lists only that client's folder, from its first day on.

use std::collections::VecDeque;

use super::format::escape::Name;
use super::format::image_id::{DATE_MAX, ImageId, day_of};
use super::format::keys::Folder;
use super::lsu::Lsu;
use super::pages::Pages;
use crate::error::{Found, Result};
use crate::objstore::s3::types::ListedObject;

/// Which images to list; the default is all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    pub client: Option<Name>,
    /// Basenames that begin so.
    pub basename_prefix: Name,
    /// Seconds since 1970, both ends included.
    pub date_from: u64,
    pub date_to: u64,
    pub complete: bool,
    pub pending: bool,
}

impl Default for Filter {
    fn default() -> Self {
        let basename_prefix = Name::default();
        Self {
            client: None,
            basename_prefix,
            date_from: 0,
            date_to: DATE_MAX,
            complete: true,
            pending: true,
        }
    }
}

/// One image of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub id: ImageId,
    pub pending: bool,
}

/// A listing under way.
pub struct Listing {
    lsu: Lsu,
    filter: Filter,
    folders: VecDeque<Folder>,
    ready: VecDeque<Listed>,
    pages: Option<Pages>,
    last: Option<Listed>,
}

impl Filter {
    pub fn accepts(&self, id: &ImageId) -> bool {
        let client = self
            .client
            .as_ref()
            .is_none_or(|client| client.as_bytes() == id.client());
        let name = id.basename.as_bytes().starts_with(self.basename_prefix.as_bytes());
        client && name && (self.date_from..=self.date_to).contains(&id.date)
    }
}

impl Listing {
    /// Begins a listing; the first page is asked for by the first [`Listing::next_image`].
    pub fn new(lsu: &Lsu, filter: Filter) -> Self {
        let mut folders = VecDeque::new();
        folders.extend(filter.complete.then_some(Folder::Catalog));
        folders.extend(filter.pending.then_some(Folder::Pending));
        Self {
            lsu: lsu.clone(),
            filter,
            folders,
            ready: VecDeque::new(),
            pages: None,
            last: None,
        }
    }

    /// The next image, or None at the end.
    pub fn next_image(&mut self) -> Result<Option<Listed>> {
        loop {
            if let Some(listed) = self.ready.pop_front() {
                // Several attempts at one image are one image; a complete one is not pending too.
                if self.last.as_ref() == Some(&listed) || (listed.pending && self.is_complete(&listed.id)?) {
                    continue;
                }
                self.last = Some(listed.clone());
                return Ok(Some(listed));
            }
            if !self.fetch()? {
                return Ok(None);
            }
        }
    }

    /// Takes in one page; false when there is none left.
    fn fetch(&mut self) -> Result<bool> {
        let Some(folder) = self.folders.front().copied() else {
            return Ok(false);
        };
        let (lsu, filter) = (&self.lsu, &self.filter);
        let pages = self.pages.get_or_insert_with(|| pages(lsu, filter, folder));
        // The requests run on our threads; the caller's only waits for the join handle.
        let page = futures::executor::block_on(pages.next_page())?;
        let past_end = page.is_none_or(|page| self.take(folder, &page));
        if past_end {
            self.pages = None;
            self.folders.pop_front();
        }
        Ok(true)
    }

    fn take(&mut self, folder: Folder, page: &[ListedObject]) -> bool {
        let pending = folder == Folder::Pending;
        let id = |object: &ListedObject| self.lsu.keys().parse(folder, &object.key).map(|(id, _)| id);
        let fits = page.iter().filter_map(id).filter(|id| self.filter.accepts(id));
        self.ready.extend(fits.map(|id| Listed { id, pending }));
        // Days order a client's folder, so a later day ends it.
        let last = page.last().and_then(id);
        self.filter.client.is_some() && last.is_some_and(|id| id.day() > day_of(self.filter.date_to))
    }

    /// Asked whatever the filter says: what is named pending may be removed on that word.
    fn is_complete(&self, id: &ImageId) -> Result<bool> {
        let (lsu, key) = (self.lsu.clone(), self.lsu.keys().sidecar(id));
        self.lsu
            .store()
            .run(async move { Ok(lsu.store().head(lsu.bucket(), &key).await.if_found()?.is_some()) })
    }
}

/// The pages of a folder that can hold what the filter wants.
pub(super) fn pages(lsu: &Lsu, filter: &Filter, folder: Folder) -> Pages {
    let prefix = lsu.keys().folder(folder, filter.client.as_ref());
    let start = filter
        .client
        .is_some()
        .then(|| format!("{prefix}{}", day_of(filter.date_from)));
    Pages::new(lsu.store(), lsu.bucket(), prefix, start)
}
