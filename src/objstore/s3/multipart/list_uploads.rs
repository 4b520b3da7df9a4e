//! The uploads of a bucket that were begun and neither completed nor aborted, page by page.
//!
//! Uploads of one key come in any order, keys do not: a page that goes back, repeats a marker, or does not say whether
//! it is the last one is an error. Pages without anything new are allowed, [`IDLE_PAGES_MAX`] in a row.

use aws_sdk_s3::operation::list_multipart_uploads::ListMultipartUploadsOutput;
use aws_sdk_s3::types::EncodingType;
use futures::FutureExt;

use super::ListedUpload;
use crate::clean::words;
use crate::config::Bucket;
use crate::error::{Error, Kind, Result};
use crate::objstore::s3::list::{is_of, url_decode};
use crate::objstore::s3::sdk_error;
use crate::objstore::s3::store::Store;
use crate::objstore::s3::types::seconds;

/// Pages of uploads in a row that bring no upload, or none of a further key.
const IDLE_PAGES_MAX: u32 = 1_000;

/// Where the next page of uploads begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadMarker {
    key: String,
    id: Option<String>,
    /// Pages in a row that brought no upload, or no further key.
    idle: u32,
}

impl UploadMarker {
    /// True when no later page can name an upload to `key`.
    pub fn is_behind(&self, key: &str) -> bool {
        self.key.as_str() > key
    }
}

#[derive(Debug)]
pub struct UploadPage {
    pub uploads: Vec<ListedUpload>,
    pub next: Option<UploadMarker>,
}

impl Store {
    /// One page of ListMultipartUploads of the whole bucket, at most 1,000. No prefix is sent: MinIO takes one for a
    /// key.
    pub async fn list_uploads(&self, bucket: &Bucket, after: Option<UploadMarker>) -> Result<UploadPage> {
        let page = || async {
            let request = self.shared.client.list_multipart_uploads().bucket(bucket);
            let mut request = request.encoding_type(EncodingType::Url);
            if let Some(UploadMarker { key, id, .. }) = after.clone() {
                request = request.key_marker(key).set_upload_id_marker(id);
            }
            request
                .send()
                .boxed()
                .await
                .map_err(|e| sdk_error::convert("list uploads of", bucket, &e))
        };

        let reply = self.shared.hedges.ask("ListMultipartUploads", page).await?;

        page_of(&reply, bucket, after.as_ref())
            .map_err(|why| Error::new(Kind::Unavailable, format!("list uploads of {bucket}: {why}")))
    }
}

/// The page, or what is wrong with it.
fn page_of(
    reply: &ListMultipartUploadsOutput,
    bucket: &Bucket,
    after: Option<&UploadMarker>,
) -> std::result::Result<UploadPage, String> {
    is_of(bucket, reply.bucket())?;
    let uploads = uploads_of(reply)?;

    match reply.is_truncated() {
        None => Err("it does not say whether it is whole".into()),
        Some(false) => Ok(UploadPage { uploads, next: None }),
        Some(true) => {
            let next = Some(next_of(reply, uploads.is_empty(), after)?);
            Ok(UploadPage { uploads, next })
        }
    }
}

fn uploads_of(reply: &ListMultipartUploadsOutput) -> std::result::Result<Vec<ListedUpload>, String> {
    let mut uploads = Vec::with_capacity(reply.uploads().len());

    for upload in reply.uploads() {
        let (Some(key), Some(id)) = (upload.key(), upload.upload_id()) else {
            return Err("an upload has no key or no id".into());
        };

        // An age is counted from it: what has none would seem to be as old as can be.
        let initiated = seconds(upload.initiated());
        if initiated == 0 {
            return Err(format!("upload {} does not say when it was begun", words(id)));
        }

        uploads.push(ListedUpload {
            key: decoded(reply, key),
            id: id.to_owned(),
            initiated,
        });
    }

    Ok(uploads)
}

/// Where a truncated page says that the next one begins.
fn next_of(
    reply: &ListMultipartUploadsOutput,
    is_empty: bool,
    after: Option<&UploadMarker>,
) -> std::result::Result<UploadMarker, String> {
    let marker = reply.next_key_marker().filter(|key| !key.is_empty());
    let key = decoded(reply, marker.ok_or("it is truncated and names no next page")?);

    // Uploads of one key come in any order, keys do not.
    let forward = after.is_none_or(|after| key > after.key);
    let idle = after.map_or(0, |after| after.idle);
    let next = UploadMarker {
        key,
        id: reply.next_upload_id_marker().map(ToOwned::to_owned),
        idle: if forward && !is_empty { 0 } else { idle + 1 },
    };

    match after {
        Some(after) if next.key < after.key => Err("the server goes back to an earlier key".into()),
        Some(after) if (&next.key, &next.id) == (&after.key, &after.id) => Err("the server repeats a marker".into()),
        _ if next.idle > IDLE_PAGES_MAX => Err("page after page brings nothing new".into()),
        _ => Ok(next),
    }
}

fn decoded(reply: &ListMultipartUploadsOutput, text: &str) -> String {
    match reply.encoding_type() {
        Some(EncodingType::Url) => String::from_utf8_lossy(&url_decode(text)).into_owned(),
        _ => text.to_owned(),
    }
}
