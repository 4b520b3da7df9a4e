//! One pending record: somebody's while its writer holds it; debris, or an image to be completed, once nobody does.

use super::closing::may_have_been_complete;
use super::evaluated::Evaluated;
use crate::catalog::audit::fix::{Fix, JudgedPending};
use crate::catalog::audit::read::{Read, read_sidecar_alone};
use crate::catalog::audit::report::Class;
use crate::catalog::audit::{Found, Scope};
use crate::catalog::format::image_id::ImageId;
use crate::catalog::format::keys::Attempt;
use crate::catalog::format::parse::parse_pending;
use crate::catalog::format::record::{Closing, ImageState, LEASE_SECONDS_MAX, Pending, PendingState, seconds_text};
use crate::catalog::records::{PendingEntry, is_of_the_future};
use crate::catalog::write::recover::{There, what_is_there};
use crate::error::{Error, Kind, Result};
use crate::objstore::s3::types::ListedObject;

/// A pending record as it was read.
enum Record {
    Entry(Box<PendingEntry>),
    /// It cannot be used; what follows from that.
    Unreadable(Evaluated),
    Gone,
}

pub(super) async fn judge_pending(
    scope: &Scope,
    id: &ImageId,
    attempt: &Attempt,
    object: &ListedObject,
) -> Result<Evaluated> {
    let entry = match read_record(scope, id, attempt, object).await? {
        Record::Entry(entry) => entry,
        Record::Unreadable(judged) => return Ok(judged),
        Record::Gone => return Ok(Evaluated::default()),
    };

    let mut judged = Evaluated {
        found: Vec::new(),
        pending: Some((id.clone(), size_of(&entry.pending))),
    };
    judged.found.extend(lease_too_long(scope, id, &entry));
    judged.found.extend(dated_ahead(scope, id, &entry));

    // Without a lease no writer has it, however young it is: a close or a repair gave it back, and it waits for
    // somebody.
    let waits = entry.pending.closing == Some(Closing::Complete) && entry.pending.lease_seconds == 0;
    let is_old = scope.is_old(entry.modified);
    if entry.is_held(scope.now()) || !(is_old || waits) {
        return Ok(judged);
    }

    // Somebody who goes on with the image builds on what this attempt left.
    let siblings = scope.lsu.all_pendings(id).await?.entries;
    if siblings.iter().any(|sibling| sibling.is_held(scope.now())) {
        return Ok(judged);
    }

    if let Read::Valid(sidecar) = read_sidecar_alone(scope, id).await?
        && sidecar.state == ImageState::Complete
    {
        judged.pending = None;
        if !is_old {
            return Ok(judged);
        }
    }

    let is_complete = judged.pending.is_none();
    judged.found.push(judge_left(scope, id, *entry, is_complete).await);

    Ok(judged)
}

async fn read_record(scope: &Scope, id: &ImageId, attempt: &Attempt, object: &ListedObject) -> Result<Record> {
    let lsu = &scope.lsu;
    let key = object.key.as_str();
    let room = lsu.room().take(object.size).await?;
    let read = match lsu.record(key).await {
        Ok(None) => return Ok(Record::Gone),
        Ok(Some(bytes)) => Ok(bytes),
        Err(error) if error.kind() == Kind::Corrupt => Err(error),
        Err(error) => return Err(error),
    };

    let parsed = read
        .as_ref()
        .map_err(Error::repeat)
        .and_then(|bytes| parse_pending(lsu.keys(), id, attempt, bytes));
    drop(room);

    Ok(match parsed {
        Ok(pending) => Record::Entry(Box::new(PendingEntry {
            key: key.into(),
            modified: object.modified,
            etag: object.etag.clone(),
            pending,
        })),
        Err(error) => {
            let bytes = read.ok();
            Record::Unreadable(judge_unreadable(scope, id, attempt, object, &error, bytes.as_deref()))
        }
    })
}

/// The bytes that a pending image keeps.
fn size_of(pending: &Pending) -> u64 {
    pending.content.as_ref().map_or_else(
        || pending.sent.iter().map(|part| part.size).sum(),
        |content| content.data.size,
    )
}

fn lease_too_long(scope: &Scope, id: &ImageId, entry: &PendingEntry) -> Option<Found> {
    let lease = entry.pending.lease_seconds;
    if lease <= LEASE_SECONDS_MAX || !scope.is_old(entry.modified) {
        return None;
    }
    let expected = "a lease of a day at most";
    let claimed = format!("a lease of {lease} seconds, which counts for {LEASE_SECONDS_MAX}");
    Some(scope.found(Class::PendingStale, Some(id), Some(&entry.key), expected, claimed))
}

fn dated_ahead(scope: &Scope, id: &ImageId, entry: &PendingEntry) -> Option<Found> {
    if !is_of_the_future(entry.modified, scope.now()) {
        return None;
    }

    let expected = "a time that has come";
    let date = seconds_text(entry.modified);
    let found = format!("a record dated {date}, whose writer counts as alive until then");
    let mut found = scope.found(Class::PendingStale, Some(id), Some(&entry.key), expected, found);
    found.finding.advice =
        "the store's clock was wrong when it was put: if no such backup runs, copy the record onto itself \
                            with an S3 tool, which gives it today's date; from then on it ages as any other"
            .into();
    Some(found)
}

/// A record that nobody holds: what is still there of its image, and what can be done about it.
async fn judge_left(scope: &Scope, id: &ImageId, entry: PendingEntry, is_complete: bool) -> Found {
    let closing = entry.pending.closing;
    let there = match !is_complete && closing == Some(Closing::Complete) {
        true => what_is_there(&scope.lsu, &entry.pending).await.unwrap_or(There::Some),
        false => There::Nothing,
    };

    let expected = "a living writer, or no record";
    let found = describe(&entry.pending, is_complete);
    let mut found = scope.found(Class::PendingStale, Some(id), Some(&entry.key), expected, found);

    match there {
        There::All => {
            found.finding.advice = "`vastost-s3 repair` completes it: all its parts are on the store".into();
        }
        There::Some => {
            let advice = "what is on the store is not what its record says: audit again later, or look at both; `vastost-s3 \
                          rm` gives it up";
            found.finding.advice = advice.into();
        }
        There::Nothing => {}
    }

    if !scope.is_old(entry.modified) {
        let way_out =
            "younger than the grace period: `vastost-s3 repair --older-than 0s` completes it if every byte is right";
        found.finding.advice = way_out.into();
        return found;
    }

    found.with(Fix::Pending(JudgedPending {
        id: id.clone(),
        key: entry.key,
        etag: entry.etag,
        closing,
        is_there: there != There::Nothing,
    }))
}

/// A record that cannot be read, or that contradicts its place, speaks for nothing. One of a newer version is left
/// alone.
fn judge_unreadable(
    scope: &Scope,
    id: &ImageId,
    attempt: &Attempt,
    object: &ListedObject,
    error: &Error,
    bytes: Option<&[u8]>,
) -> Evaluated {
    if !scope.is_old(object.modified) {
        return Evaluated::default();
    }

    let key = object.key.as_str();
    let mut found = scope.found(
        Class::PendingStale,
        Some(id),
        Some(key),
        "a pending record",
        error.to_string(),
    );

    if error.kind() == Kind::Unsupported {
        found.finding.advice = "a newer version wrote it: upgrade this one; nothing is removed until then".into();
        return Evaluated {
            found: vec![found],
            pending: None,
        };
    }

    let may_be_whole = may_have_been_complete(bytes.unwrap_or_default());
    found.finding.advice = if may_be_whole {
        "its image may be whole: look at it with an S3 tool; `vastost-s3 gc --orphan-data` sets it aside".into()
    } else {
        "`vastost-s3 gc` sets it aside under replaced/; its data stay".into()
    };

    let fix = Fix::BadPending {
        id: id.clone(),
        attempt: attempt.clone(),
        key: key.into(),
        may_be_whole,
    };

    Evaluated {
        found: vec![found.with(fix)],
        pending: None,
    }
}

fn describe(pending: &Pending, complete: bool) -> String {
    let who = format!(
        "{}:{} since {}",
        pending.writer.host, pending.writer.pid, pending.started
    );
    let what = match pending.state {
        _ if complete => "the image is complete, and this record of its writing was left",
        PendingState::Incomplete => "closed incomplete, and not resumed since",
        PendingState::Writing if pending.closing.is_some() => "its writer ended while it closed the image",
        PendingState::Writing => "its writer ended without closing it",
    };
    format!("{what}; written by {who}")
}
