//! Listing images, page by page: first the complete ones, then the pending ones, each in the order of their keys.
//!
//! Names and dates come from the keys alone: one request per 1,000 images, the next page under way while one is being
//! read, never more than two pages in memory. A filter by client lists only that client's folder, from its first day on.

use std::collections::VecDeque;

use super::escape::Name;
use super::image_id::{DATE_MAX, ImageId, day_of};
use super::keys::RecordKind;
use super::lsu::Lsu;
use crate::error::{Error, Kind, Result};
use crate::objstore::client::Page;

/// Which images to list; the default is all.
#[derive(Clone, Debug)]
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
        Self { client: None, basename_prefix, date_from: 0, date_to: DATE_MAX, complete: true, pending: true }
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
    kinds: VecDeque<RecordKind>,
    ready: VecDeque<Listed>,
    next_page: Option<tokio::task::JoinHandle<Result<Page>>>,
    /// The token of the page under way, which is asked for again after an error. A server that repeats one would have
    /// us list for ever.
    token: Option<String>,
    last: Option<Listed>,
}

impl Filter {
    fn accepts(&self, id: &ImageId) -> bool {
        let client = self.client.as_ref().is_none_or(|client| client.as_bytes() == id.client());
        let name = id.basename.as_bytes().starts_with(self.basename_prefix.as_bytes());
        client && name && (self.date_from..=self.date_to).contains(&id.date)
    }
}

impl Listing {
    /// Begins a listing; the first page is asked for by the first [`Listing::next_image`].
    pub fn new(lsu: &Lsu, filter: Filter) -> Self {
        let mut kinds = VecDeque::new();
        kinds.extend(filter.complete.then_some(RecordKind::Catalog));
        kinds.extend(filter.pending.then_some(RecordKind::Pending));
        let (ready, next_page, token, last) = (VecDeque::new(), None, None, None);
        Self { lsu: lsu.clone(), filter, kinds, ready, next_page, token, last }
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

    /// Takes in one page and asks for the one after it; false when there is none left.
    fn fetch(&mut self) -> Result<bool> {
        let Some(kind) = self.kinds.front().copied() else { return Ok(false) };
        let asked = self.next_page.take().unwrap_or_else(|| self.ask(kind, self.token.clone()));
        let page = futures::executor::block_on(asked);
        let page = page.map_err(|_| Error::new(Kind::Aborted, "list images: the plug-in was terminated")).flatten()?;
        let past_end = self.take(kind, &page);
        match page.next {
            Some(token) if !past_end => {
                if self.token.as_ref() == Some(&token) {
                    let what = format!("list bucket {}: the server repeats a continuation token", self.lsu.bucket());
                    return Err(Error::new(Kind::Unavailable, what));
                }
                self.token = Some(token.clone());
                self.next_page = Some(self.ask(kind, Some(token)));
            }
            _ => {
                self.token = None;
                self.kinds.pop_front();
            }
        }
        Ok(true)
    }

    fn take(&mut self, kind: RecordKind, page: &Page) -> bool {
        let pending = kind == RecordKind::Pending;
        let ids = page.keys.iter().filter_map(|(key, _)| self.lsu.keys().parse(kind, key));
        let fits = ids.filter(|id| self.filter.accepts(id)).map(|id| Listed { id, pending });
        self.ready.extend(fits);
        // Days order a client's folder, so a later day ends it.
        let last = page.keys.last().and_then(|(key, _)| self.lsu.keys().parse(kind, key));
        self.filter.client.is_some() && last.is_some_and(|id| id.day() > day_of(self.filter.date_to))
    }

    fn ask(&self, kind: RecordKind, token: Option<String>) -> tokio::task::JoinHandle<Result<Page>> {
        let (lsu, prefix) = (self.lsu.clone(), self.lsu.keys().folder(kind, self.filter.client.as_ref()));
        let from = self.filter.client.is_some().then(|| format!("{prefix}{}", day_of(self.filter.date_from)));
        self.lsu.store().runtime().spawn(async move {
            let start = from.filter(|_| token.is_none());
            lsu.store().list(lsu.bucket(), &prefix, false, start.as_deref(), token).await
        })
    }

    fn is_complete(&self, id: &ImageId) -> Result<bool> {
        if !self.filter.complete {
            return Ok(false);
        }
        let (lsu, key) = (self.lsu.clone(), self.lsu.keys().sidecar(id));
        self.lsu.store().run(async move {
            match lsu.store().head(lsu.bucket(), &key).await {
                Ok(_) => Ok(true),
                Err(error) if error.kind() == Kind::NotFound => Ok(false),
                Err(error) => Err(error),
            }
        })
    }
}
