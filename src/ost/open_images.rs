//! The images that this process has open: one writer alone, or any number of readers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::catalog::format::image_id::ImageId;
use crate::config::Bucket;
use crate::error::{Error, Kind, Result};

/// The open images of one process.
#[derive(Default)]
pub struct OpenImages {
    open: Mutex<HashMap<OpenKey, OpenCount>>,
}

/// An image by server, bucket, prefix and identity.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct OpenKey {
    pub endpoint: String,
    pub bucket: Bucket,
    pub prefix: String,
    pub id: ImageId,
}

#[derive(Default)]
struct OpenCount {
    writers: usize,
    readers: usize,
}

/// What a handle does with its image.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Use {
    Write,
    Read,
    Delete,
}

/// An entry among the open images; dropped with its handle.
pub struct OpenImage {
    images: Arc<OpenImages>,
    key: OpenKey,
    purpose: Use,
}

impl OpenImages {
    /// Enters a use of an image, if those there are allow it: one writer alone, or any number of readers.
    pub fn open(self: &Arc<Self>, key: OpenKey, purpose: Use) -> Result<OpenImage> {
        let mut open = self.lock();
        let count = open.entry(key.clone()).or_default();
        let busy = match purpose {
            Use::Read => count.writers > 0,
            Use::Write | Use::Delete => count.writers + count.readers > 0,
        };
        if busy {
            let what = format!(
                "image {} is open in this process: {} writing, {} reading",
                key.id, count.writers, count.readers
            );
            return Err(Error::new(Kind::Busy, what));
        }

        match purpose {
            Use::Read => count.readers += 1,
            Use::Write | Use::Delete => count.writers += 1,
        }
        drop(open);
        Ok(OpenImage {
            images: Arc::clone(self),
            key,
            purpose,
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<OpenKey, OpenCount>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for OpenImage {
    fn drop(&mut self) {
        let mut open = self.images.lock();
        let Some(count) = open.get_mut(&self.key) else { return };
        match self.purpose {
            Use::Read => count.readers = count.readers.saturating_sub(1),
            Use::Write | Use::Delete => count.writers = count.writers.saturating_sub(1),
        }
        if count.writers + count.readers == 0 {
            open.remove(&self.key);
        }
    }
}
