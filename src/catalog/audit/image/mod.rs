//! One image by its records: sidecar, data object, object metadata, image metadata.
//!
//! | file | what it is |
//! |---|---|
//! | `object` | what HEAD tells of the data object, held against the sidecar; nothing is asked here |
//! | `complete` | a complete image: its data, its part list, its image metadata |
//!
//! What no record names is judged by [`super::orphans`]. How it fails: what cannot be read becomes a finding.

mod object;
mod complete;

use self::complete::{Data, check_complete};
use super::orphans::data::{has_pending, judge_data};
use super::read::{Read, head, read_listed, read_sidecar, read_sidecar_alone, unreadable};
use super::report::{Class, Level};
use super::walk::Group;
use super::{Found, Scope};
use crate::catalog::audit::fix::Fix;
use crate::catalog::format::image_id::ImageId;
use crate::catalog::format::record::{ImageState, Sidecar};
use crate::error::Result;

/// What the records of one image tell.
#[derive(Debug, Default)]
pub struct Checked {
    pub found: Vec<Found>,
    /// Present when the image is complete and its data object is there.
    pub sidecar: Option<Box<Sidecar>>,
    pub deleting: bool,
    /// Deleted since it was listed.
    pub gone: bool,
    /// True when the size is that of a sidecar that could be read.
    pub known: bool,
    /// The sidecar is one that `repair` made.
    pub rebuilt: bool,
    /// The data's size, by the sidecar where there is one.
    pub bytes: u64,
    /// There are data, and neither a sidecar nor a pending record.
    pub unrecorded: bool,
    /// It has a sidecar, which the list of them lacks.
    pub unlisted: bool,
}

/// Checks one image; what cannot be read becomes a finding.
pub(super) async fn check(scope: &Scope, group: &Group) -> Checked {
    let mut checked = Checked::default();
    if let Err(error) = check_group(scope, group, &mut checked).await {
        checked.found.push(unreadable(scope, &group.id, &error));
    }
    checked
}

async fn check_group(scope: &Scope, group: &Group, checked: &mut Checked) -> Result<()> {
    // Kept as long as the sidecar is.
    let _room = match &group.sidecar {
        Some(listed) => Some(scope.lsu.room().take(listed.size).await?),
        None => None,
    };

    let mut ours = None;
    if let Some(listed) = &group.sidecar {
        match read_listed(scope, &group.id).await? {
            Read::Valid(sidecar) => {
                ours = Some(sidecar.content.data.key.clone());
                check_sidecar(scope, group, sidecar, listed.modified, checked).await?;
            }
            Read::Gone => checked.gone = true,
            Read::Invalid(why) => {
                note_invalid(scope, group, why, None, checked);
                // Which data it meant cannot be told.
                return Ok(());
            }
            Read::Newer(why) => {
                let advice = "a newer version wrote it: upgrade this one; nothing is changed until then";
                note_invalid(scope, group, why, Some(advice), checked);
                return Ok(());
            }
        }
    } else if !group.data.is_empty() {
        ours = check_unlisted(scope, group, checked).await?;
    }

    if scope.options.leftovers {
        let is_ours = |key: &String| ours.as_ref() == Some(key);
        for (attempt, object) in group.data.iter().filter(|(_, object)| !is_ours(&object.key)) {
            let found = judge_data(scope, &group.id, attempt, object).await?;
            checked.found.extend(found);
        }
    }
    Ok(())
}

/// The finding of a sidecar that cannot be used, with `advice` in place of the usual one.
fn note_invalid(scope: &Scope, group: &Group, why: String, advice: Option<&str>, checked: &mut Checked) {
    let sizes = group.data.iter().map(|(_, object)| object.size);
    checked.bytes = sizes.max().unwrap_or_default();

    let key = scope.lsu.keys().sidecar(&group.id);
    let expected = "a sidecar of schema 1";
    let mut found = scope.found(Class::SidecarInvalid, Some(&group.id), Some(&key), expected, why);
    if let Some(advice) = advice {
        found.finding.advice = advice.into();
    }
    // `repair` says of a newer one that it must be left alone.
    checked.found.push(found.with(Fix::Rebuild(group.id.clone())));
}

/// A sidecar that can be read: of a complete image, or of one whose delete was begun.
async fn check_sidecar(
    scope: &Scope,
    group: &Group,
    sidecar: Box<Sidecar>,
    modified: u64,
    checked: &mut Checked,
) -> Result<()> {
    checked.take_in(&sidecar);
    if sidecar.state != ImageState::Deleting {
        return check_data(scope, group, sidecar, checked).await;
    }

    checked.deleting = true;
    if scope.is_old(modified) && is_left(scope, &group.id, modified).await? {
        let key = scope.lsu.keys().sidecar(&group.id);
        let found = "marked as deleted, and still there";
        let class = Class::DeleteUnfinished;
        let found = scope.found(class, Some(&group.id), Some(&key), "no sidecar", found);
        checked.found.push(found.with(Fix::FinishDelete(group.id.clone())));
    }
    Ok(())
}

/// Data without a sidecar in the list of them; gives the key of those that one names all the same.
async fn check_unlisted(scope: &Scope, group: &Group, checked: &mut Checked) -> Result<Option<String>> {
    checked.unrecorded = !has_any_pending(scope, group).await? && is_unrecorded(scope, group).await?;

    // A list of sidecars that lacks one is no reason to pass its image by.
    if !checked.unrecorded
        && let Read::Valid(sidecar) = read_sidecar_alone(scope, &group.id).await?
        && sidecar.state == ImageState::Complete
    {
        let key = sidecar.content.data.key.clone();
        checked.take_in(&sidecar);
        checked.unlisted = true;
        check_data(scope, group, sidecar, checked).await?;
        return Ok(Some(key));
    }
    Ok(None)
}

async fn check_data(scope: &Scope, group: &Group, sidecar: Box<Sidecar>, checked: &mut Checked) -> Result<()> {
    match check_complete(scope, group, &sidecar, &mut checked.found).await? {
        Data::Gone => checked.gone = true,
        // Only what is read needs its part list any further.
        Data::Readable if scope.options.level == Level::Deep => checked.sidecar = Some(sidecar),
        Data::Readable | Data::Unreadable => {}
    }
    Ok(())
}

/// True when an image of which no pending record was to be found has no sidecar either. A writer puts its pending
/// record before its data, and removes it after its sidecar.
async fn is_unrecorded(scope: &Scope, group: &Group) -> Result<bool> {
    let key = scope.lsu.keys().sidecar(&group.id);
    let Some((_, object)) = group.data.first() else {
        return Ok(false);
    };
    Ok(head(scope, &key).await?.is_none() && head(scope, &object.key).await?.is_some())
}

async fn has_any_pending(scope: &Scope, group: &Group) -> Result<bool> {
    for (attempt, _) in &group.data {
        if has_pending(scope, &group.id, attempt).await? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// False when the delete was under way: a mark that is only just there is looked at again after a while.
async fn is_left(scope: &Scope, id: &ImageId, modified: u64) -> Result<bool> {
    if !scope.is_just_now(modified) {
        return Ok(true);
    }
    scope.wait_for_second_look().await;
    Ok(matches!(read_sidecar(scope, id).await?, Read::Valid(sidecar) if sidecar.state == ImageState::Deleting))
}

impl Checked {
    fn take_in(&mut self, sidecar: &Sidecar) {
        self.bytes = sidecar.content.data.size;
        self.known = true;
        self.rebuilt = sidecar.rebuilt.is_some();
    }
}
