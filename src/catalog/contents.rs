//! What an LSU has of one image, found by listing: data, metadata objects, uploads, versions.

use std::time::Instant;

use super::format::escape::Name;
use super::format::image_id::ImageId;
use super::format::keys::Folder;
use super::lsu::Lsu;
use super::pages::Pages;
use crate::error::{Error, Kind, Result};
use crate::objstore::s3::multipart::ListedUpload;
use crate::objstore::s3::types::ListedObject;
impl Lsu {
    /// Images of a client that have a sidecar, or had one of which a version is kept.
    pub async fn images_in_history(&self, client: &Name) -> Result<Vec<ImageId>> {
        let folder = self.keys().folder(Folder::Catalog, Some(client));
        let keys = self.store().list_versioned_keys(self.bucket(), &folder).await?;
        let ids = keys.iter().filter_map(|key| self.keys().parse(Folder::Catalog, key));
        Ok(ids.map(|(id, _)| id).collect())
    }

    /// True when there is any data object of the image.
    pub(super) async fn has_data(&self, id: &ImageId) -> Result<bool> {
        Ok(!self.keys_of(Folder::Data, id).await?.is_empty())
    }

    /// The image's metadata objects.
    pub(super) async fn metas(&self, id: &ImageId) -> Result<Vec<String>> {
        self.keys_of(Folder::Meta, id).await
    }

    /// Whatever is being uploaded to `key`; none where uploads cannot be listed, which the next audit says.
    pub(super) async fn uploads_to(&self, key: &str) -> Result<Vec<ListedUpload>> {
        let mut found = Vec::new();
        let mut after = None;
        let deadline = self.list_deadline();
        loop {
            self.in_time(deadline, || format!("list the uploads to {key}"))?;
            let page = match self.store().list_uploads(self.bucket(), after).await {
                Err(error) if matches!(error.kind(), Kind::AccessDenied | Kind::Unsupported) => return Ok(found),
                other => other?,
            };
            found.extend(page.uploads.into_iter().filter(|upload| upload.key == key));
            match page.next {
                // Keys rise from page to page.
                Some(next) if !next.is_behind(key) => after = Some(next),
                _ => return Ok(found),
            }
        }
    }

    /// The keys of an image in a folder.
    pub(super) async fn keys_of(&self, folder: Folder, id: &ImageId) -> Result<Vec<String>> {
        Ok(self
            .objects_of(folder, id)
            .await?
            .into_iter()
            .map(|object| object.key)
            .collect())
    }

    /// What an image has in a folder; few, but many longer basenames can begin as this one does.
    pub(super) async fn objects_of(&self, folder: Folder, id: &ImageId) -> Result<Vec<ListedObject>> {
        let mut pages = Pages::new(self.store(), self.bucket(), self.keys().of_image(folder, id), None);
        let mut objects = Vec::new();
        let deadline = self.list_deadline();
        while let Some(page) = pages.next_page().await? {
            let ours = |object: &ListedObject| self.keys().parse(folder, &object.key).is_some_and(|(of, _)| of == *id);
            objects.extend(page.into_iter().filter(ours));
            self.in_time(deadline, || format!("list what image {id} has in {}", folder.name()))?;
        }
        Ok(objects)
    }

    /// When a list that a host's call waits for must have come to its end.
    fn list_deadline(&self) -> Instant {
        Instant::now() + self.store().retry().operation_timeout
    }

    fn in_time(&self, deadline: Instant, what: impl FnOnce() -> String) -> Result<()> {
        if Instant::now() <= deadline {
            return Ok(());
        }
        let what = format!(
            "{}: the list does not come to its end in the time of an operation",
            what()
        );
        Err(Error::new(Kind::Unavailable, what))
    }
}
