//! A folder of the bucket, page by page, in the server's order; the next page is under way while one is being used.

use crate::config::Bucket;
use crate::error::{Error, Kind, Result};
use crate::objstore::s3::list::Course;
use crate::objstore::s3::store::Store;
use crate::objstore::s3::types::{ListedObject, Page};

/// A listing under way: never more than two pages in memory.
pub struct Pages {
    store: Store,
    bucket: Bucket,
    prefix: String,
    start_after: Option<String>,
    under_way: Option<tokio::task::JoinHandle<Result<Page>>>,
    /// The token of the page under way, which is asked for again after an error.
    token: Option<String>,
    /// What holds the pages to their order, and the listing to an end.
    course: Course,
    ended: bool,
    requests: u64,
}

impl Pages {
    /// Nothing is asked for before the first [`Pages::next_page`].
    pub fn new(store: &Store, bucket: &Bucket, prefix: String, start_after: Option<String>) -> Self {
        let course = Course::new(store, bucket, &prefix, start_after.as_deref());
        Self {
            store: store.clone(),
            bucket: bucket.clone(),
            prefix,
            start_after,
            under_way: None,
            token: None,
            course,
            ended: false,
            requests: 0,
        }
    }

    /// The next page, at most 1,000 objects; None at the end.
    pub async fn next_page(&mut self) -> Result<Option<Vec<ListedObject>>> {
        if self.ended {
            return Ok(None);
        }
        let asked = match self.under_way.take() {
            Some(asked) => asked,
            None => self.ask(),
        };
        let page = asked.await;
        let page = page
            .map_err(|_| Error::new(Kind::Aborted, "list images: the plug-in was terminated"))
            .flatten()?;
        self.course.take(&page)?;

        match page.next {
            Some(token) => {
                self.token = Some(token);
                self.under_way = Some(self.ask());
            }
            None => self.ended = true,
        }

        Ok(Some(page.objects))
    }

    /// Requests sent so far.
    pub fn requests(&self) -> u64 {
        self.requests
    }

    fn ask(&mut self) -> tokio::task::JoinHandle<Result<Page>> {
        self.requests += 1;
        let store = self.store.clone();
        let bucket = self.bucket.clone();
        let prefix = self.prefix.clone();
        let token = self.token.clone();
        let start = self.start_after.clone().filter(|_| token.is_none());
        self.store
            .runtime()
            .spawn(async move { store.list(&bucket, &prefix, false, start.as_deref(), token).await })
    }
}
