//! Listing images, page by page: first the complete ones, then the pending ones, each in the order of their keys.
//!
//! Names and dates come from the keys alone: one request per 1,000 images, the next page under way while one is being
//! read, never more than two pages in memory. A filter by client lists only that client's folder, from its first day on.

use std::collections::VecDeque;

use futures::future::FutureExt;

use super::format::escape::Name;
use super::format::image_id::{DATE_MAX, ImageId, day_of};
use super::format::keys::Folder;
use super::lsu::Lsu;
use super::pages::Pages;
use crate::error::{Found, Result};
use crate::objstore::s3::types::ListedObject;

/// Pending images of a page that are looked up at once.
const LOOKS_AT_ONCE: usize = 16;

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
    pages: Option<Pages>,
    last: Option<Listed>,
    /// Pending images of the page that may be complete ones.
    undecided: VecDeque<Listed>,
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
    /// Begins a listing; the first page is asked for by the first [`Listing::next_page`].
    pub fn new(lsu: &Lsu, filter: Filter) -> Self {
        let mut folders = VecDeque::new();
        folders.extend(filter.complete.then_some(Folder::Catalog));
        folders.extend(filter.pending.then_some(Folder::Pending));
        Self {
            lsu: lsu.clone(),
            filter,
            folders,
            pages: None,
            last: None,
            undecided: VecDeque::new(),
        }
    }

    /// The next images, at most 1,000 and at times none; None at the end.
    pub async fn next_page(&mut self) -> Result<Option<Vec<Listed>>> {
        if !self.undecided.is_empty() {
            return self.decide().await.map(Some);
        }
        let Some(folder) = self.folders.front().copied() else {
            return Ok(None);
        };
        let pages = self.pages.get_or_insert_with(|| pages(&self.lsu, &self.filter, folder));
        let page = pages.next_page().await?;
        let images = page.as_ref().map_or_else(Vec::new, |page| self.images_of(folder, page));
        if page.is_none_or(|page| self.is_past_end(folder, &page)) {
            self.pages = None;
            self.folders.pop_front();
        }
        if folder != Folder::Pending {
            return Ok(Some(images));
        }
        self.undecided = images.into();
        self.decide().await.map(Some)
    }

    /// Every image that is left, for those who want all.
    pub async fn all(&mut self) -> Result<Vec<Listed>> {
        let mut all = Vec::new();
        while let Some(page) = self.next_page().await? {
            all.extend(page);
        }
        Ok(all)
    }

    /// Several attempts at one image, which follow each other, are one image.
    fn images_of(&mut self, folder: Folder, page: &[ListedObject]) -> Vec<Listed> {
        let pending = folder == Folder::Pending;
        let mut images = Vec::with_capacity(page.len());
        for object in page {
            let Some((id, _)) = self.lsu.keys().parse(folder, &object.key) else {
                continue;
            };
            let listed = Listed { id, pending };
            if self.filter.accepts(&listed.id) && self.last.as_ref() != Some(&listed) {
                self.last = Some(listed.clone());
                images.push(listed);
            }
        }
        images
    }

    /// Days order a client's folder, so a later day ends it.
    fn is_past_end(&self, folder: Folder, page: &[ListedObject]) -> bool {
        let last = page
            .last()
            .and_then(|object| self.lsu.keys().parse(folder, &object.key));
        self.filter.client.is_some() && last.is_some_and(|(id, _)| id.day() > day_of(self.filter.date_to))
    }

    /// A complete image is not pending too. Asked whatever the filter says, and not much before it is given out: what is
    /// named pending may be removed on that word. The one that cannot be asked about is left out of what follows its error.
    async fn decide(&mut self) -> Result<Vec<Listed>> {
        let count = self.undecided.len().min(LOOKS_AT_ONCE);
        let looks = self.undecided.iter().take(count);
        let looks: Vec<_> = looks.map(|listed| is_pending(&self.lsu, listed).boxed()).collect();
        let mut pending = Vec::new();
        for (at, looked) in futures::future::join_all(looks).await.into_iter().enumerate() {
            match looked {
                Ok(listed) => pending.extend(listed),
                Err(error) => {
                    self.undecided.remove(at);
                    return Err(error);
                }
            }
        }
        self.undecided.drain(..count);
        Ok(pending)
    }
}

/// The image, unless it is complete.
async fn is_pending(lsu: &Lsu, listed: &Listed) -> Result<Option<Listed>> {
    let sidecar = lsu.keys().sidecar(&listed.id);
    let there = lsu.store().head(lsu.bucket(), &sidecar).await.if_found()?;
    Ok(there.is_none().then(|| listed.clone()))
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
