//! Mending records from what the store still has: sidecars from data objects, half-done completions and deletes.
//!
//! | file | what it is |
//! |---|---|
//! | `replace` | a sidecar put in the place of an older one |
//! | `completion` | an image whose writer ended between its last part and its sidecar |
//! | `etag` | an image that was copied, and has another ETag by that |
//! | `sources` | what a sidecar is made of again: identity, parts, image metadata |
//! | `rebuild` | a sidecar made again, and what refuses that |
//!
//! Nothing that is good is ever overwritten, and a record that is replaced is kept under `replaced/`. How it fails:
//! with what is missing or contradicts itself, and with the way out; nothing was changed then.

mod replace;
mod completion;
mod etag;
mod sources;
mod rebuild;

use self::completion::finish_completion;
use self::etag::record_etag;
use self::rebuild::rebuild;
use super::gc::{Removed, finish_delete};
use crate::catalog::audit::fix::Fix;
use crate::catalog::format::image_id::ImageId;
use crate::catalog::format::record::{Closing, ImageState};
use crate::catalog::lsu::Lsu;
use crate::error::Result;

/// What became of one thing to mend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Repaired {
    /// In words.
    Yes(String),
    /// It is good now, or somebody is at work on it.
    NotNeeded,
}

/// What [`mend`] would do, in words; None for what cannot be mended.
pub fn plan(fix: &Fix) -> Option<&'static str> {
    match fix {
        Fix::Rebuild(_) => Some("rebuild the sidecar, and keep the one that is there under replaced/"),
        Fix::OrphanData { .. } => Some("rebuild the sidecar that the data have lost"),
        Fix::FinishDelete(_) => Some("finish the delete"),
        Fix::NewEtag(_) => Some("read the image, and record the object's ETag if every byte is right (with --deep)"),
        Fix::Pending(judged) if judged.closing == Some(Closing::Complete) => Some("finish the completion"),
        _ => None,
    }
}

/// Mends one thing. Without `deep` no image is read: what only its bytes could tell is refused, and says so.
pub async fn apply(lsu: &Lsu, fix: &Fix, deep: bool) -> Result<Repaired> {
    let done = match fix {
        Fix::Rebuild(id) => rebuild(lsu, id, None, deep).await?,
        Fix::OrphanData { id, key } => rebuild(lsu, id, Some(key), deep).await?,
        Fix::FinishDelete(id) => end_delete(lsu, id).await?,
        Fix::Pending(judged) => finish_completion(lsu, judged).await?,
        Fix::NewEtag(id) => record_etag(lsu, id, deep).await?,
        _ => None,
    };
    Ok(done.map_or(Repaired::NotNeeded, Repaired::Yes))
}

/// A delete that the store refuses is taken back. What was done in words; None where nothing was to be done.
async fn end_delete(lsu: &Lsu, id: &ImageId) -> Result<Option<String>> {
    match finish_delete(lsu, id).await {
        Ok(Removed::Yes) => Ok(Some("the delete is finished".into())),
        Ok(_) => Ok(None),
        Err(refused) => match lsu.sidecar(id).await? {
            Some((sidecar, _)) if sidecar.state == ImageState::Complete => Ok(Some(format!(
                "the store refuses the delete, so the image is complete again: {refused}"
            ))),
            _ => Err(refused),
        },
    }
}
