//! Taking over what a dead writer left on the store: afterwards the attempt is one that was closed incomplete.
//!
//! The upload is asked for its parts (ListParts), those from the first on without a gap that agree with what the record
//! knows are completed to an object, and the record is put with that object as its content. A writer that was not dead
//! after all finds its upload gone, and its next part, its close and its next renewal fail.

use super::lease::Record;
use super::stored_parts::{parts_of, prove, sent};
use crate::catalog::format::record::{Content, PartRecord, Pending, PendingState};
use crate::catalog::lsu::Lsu;
use crate::catalog::records::PendingEntry;
use crate::catalog::remove::is_hidden;
use crate::config::PARTS_MAX;
use crate::engine::checksum::{Crc64, composite_etag};
use crate::error::{Error, Found, Kind, Result};
use crate::objstore::s3::capabilities::Capabilities;
use crate::objstore::s3::multipart::{StoredPart, UploadRef};
use crate::objstore::s3::types::ObjectInfo;

/// Parts of an object that are not proven yet: some lack their CRC, or their ETag because nothing of it can be trusted.
type Unproven = (ObjectInfo, Vec<StoredPart>);

/// Makes `entry`, which no living writer holds, an attempt that was closed incomplete.
pub async fn recover(lsu: &Lsu, entry: PendingEntry) -> Result<PendingEntry> {
    let Pending { image, writer, .. } = &entry.pending;
    tracing::info!(
        "image {}: taking over what {}:{} left",
        image.id,
        writer.host,
        writer.pid
    );
    // From here on other processes see a living writer, and a writer that was not dead sees that it lost its claim.
    let (mut record, ours) = Record::take(&entry, lsu).await?;
    let content = match recover_content(lsu, &entry.pending).await {
        Ok(content) => content,
        Err(error) => {
            record.give_back(&entry.pending).await;
            return Err(error.context(format!("take over image {}", image.id)));
        }
    };

    let adopted = incomplete(ours, content);
    record.confirm(&adopted).await?;
    let etag = record.put_again(&adopted).await?;
    Ok(PendingEntry {
        etag,
        pending: adopted,
        ..entry
    })
}

/// The record of an attempt whose object has `content`.
fn incomplete(pending: Pending, content: Option<Content>) -> Pending {
    let state = PendingState::Incomplete;
    Pending {
        state,
        upload_id: None,
        sent: Vec::new(),
        closing: None,
        content,
        ..pending
    }
}

/// The object of a dead attempt, completed if it was not, with what it consists of; None when there is nothing.
pub async fn recover_content(lsu: &Lsu, pending: &Pending) -> Result<Option<Content>> {
    // Closed incomplete already: somebody who had taken it died before it changed anything.
    if let Some(content) = &pending.content {
        return Ok(Some(content.clone()));
    }
    let uploaded = match pending.upload(lsu.bucket()) {
        Some(upload) => uploaded_parts(lsu, pending, upload).await?.map(|parts| (upload, parts)),
        None => None,
    };
    let unproven = match uploaded {
        Some((upload, parts)) => complete(lsu, pending, upload, parts).await?,
        None => finished_object(lsu, pending).await?,
    };
    // A completion may still be under way at the store: its record must be there when the object comes.
    if unproven.is_none() && pending.closing.is_some() {
        let what = format!(
            "{}/{}: neither the upload that was being completed is there nor its object; nothing was changed",
            lsu.bucket(),
            pending.key
        );
        return Err(Error::new(Kind::Unavailable, what));
    }

    let Some((object, mut parts)) = unproven else {
        return Ok(None);
    };
    let known = lsu.capabilities().await?;
    if !lsu.wire_mode().is_proven_by(known) || !is_consistent(known, &object, &parts) {
        // Nothing proves the parts, or that the object is made of them: the bytes must tell.
        parts.iter_mut().for_each(|part| part.etag.clear());
    }
    let parts = prove(lsu, &pending.key, parts, &pending.sent).await?;
    Ok(Some(Content::new(&pending.key, &object, &parts)))
}

/// The parts of an attempt's upload; None when there is no such upload. What is not used of an upload is lost, so one answer
/// is no verdict: of two the longer list counts, and it must have every part that the record knows.
async fn uploaded_parts(lsu: &Lsu, pending: &Pending, upload: UploadRef<'_>) -> Result<Option<Vec<StoredPart>>> {
    let store = lsu.store();
    let bucket = lsu.bucket();
    let key = pending.key.as_str();
    let first = store.list_parts(upload).await?;
    if first.is_none() && store.head(bucket, key).await.if_found()?.is_some() {
        return Ok(None);
    }
    let second = store.list_parts(upload).await?;
    let gone = first.is_none() && second.is_none();
    if gone && lsu.uploads_to(key).await?.iter().all(|listed| listed.id != upload.id) {
        return Ok(None);
    }
    let listed = [first, second]
        .into_iter()
        .flatten()
        .max_by_key(Vec::len)
        .unwrap_or_default();
    let lacks = pending
        .sent
        .iter()
        .filter(|record| listed.iter().all(|part| part.number != record.number))
        .count();

    if gone || lacks > 0 {
        let what = format!(
            "{bucket}/{key}: {lacks} of {} parts that were sent are not listed",
            pending.sent.len()
        );
        let way_out = "nothing was changed: try again later; a delete gives the image up";
        return Err(Error::new(Kind::Unavailable, format!("{what}; {way_out}")));
    }

    Ok(Some(listed))
}

/// What is on the store of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum There {
    /// Every part of its record by number and size, in its upload or as its object. ETags are hints, and decide nothing.
    All,
    /// Something that is not what the record says.
    Some,
    /// Neither an upload nor an object, as two questions say, nor a version of one below a delete marker.
    Nothing,
}

/// What is on the store of an attempt that was being completed. One answer alone never says that nothing is.
pub async fn what_is_there(lsu: &Lsu, pending: &Pending) -> Result<There> {
    let store = lsu.store();
    let bucket = lsu.bucket();
    let key = pending.key.as_str();
    let wanted: u64 = pending.sent.iter().map(|part| part.size).sum();

    if let Some(upload) = pending.upload(bucket)
        && !pending.sent.is_empty()
        && let Some(parts) = store.list_parts(upload).await?
    {
        return Ok(if has_all(&parts, &pending.sent) {
            There::All
        } else {
            There::Some
        });
    }

    if let Some(object) = store.head(bucket, key).await.if_found()? {
        return Ok(if object.size == wanted { There::All } else { There::Some });
    }
    let listed = store.find(bucket, key).await?.is_some();
    // Whatever is uploaded to this key is of this attempt, also where its record has lost the upload's name.
    let uploading = !lsu.uploads_to(key).await?.is_empty();
    Ok(if listed || uploading || is_hidden(lsu, key).await? {
        There::Some
    } else {
        There::Nothing
    })
}

/// True when the object says itself that it is made of these parts: by its CRC, or by its ETag where the bucket is known to
/// make those by the usual rule.
fn is_consistent(known: Capabilities, object: &ObjectInfo, parts: &[StoredPart]) -> bool {
    let whole = parts
        .iter()
        .try_fold(Crc64(0), |crc, part| part.crc64.map(|next| crc.then(next, part.size)));
    if let (true, Some(told), Some(whole)) = (known.crc64nvme, &object.crc64, whole) {
        return *told == whole.to_base64();
    }
    match parts {
        [only] if !object.etag.contains('-') => known.etag_is_md5 && only.etag == object.etag,
        _ => {
            known.composite_etag
                && composite_etag(parts.iter().map(|part| part.etag.as_str())) == Some(object.etag.clone())
        }
    }
}

/// True when `listed` has every part of `sent`.
fn has_all(listed: &[StoredPart], sent: &[PartRecord]) -> bool {
    sent.iter().all(|record| {
        listed
            .iter()
            .any(|part| (part.number, part.size) == (record.number, record.size))
    })
}

/// Completes the upload with the parts that can be used; aborts it when there are none. An upload that was being completed
/// is completed with exactly the parts of its record, whose CRCs prove them afterwards, or left as it is.
async fn complete(
    lsu: &Lsu,
    pending: &Pending,
    upload: UploadRef<'_>,
    parts: Vec<StoredPart>,
) -> Result<Option<Unproven>> {
    let store = lsu.store();
    let bucket = lsu.bucket();
    let key = pending.key.as_str();
    let listed = parts.len();
    let has_first = parts.iter().any(|part| part.number == 1);
    let parts = if pending.closing.is_some() {
        if !has_all(&parts, &pending.sent) {
            let sent = pending.sent.len();
            let what = format!("{bucket}/{key}: {listed} parts are listed, {sent} were sent; nothing was changed");
            return Err(Error::new(Kind::Unavailable, what));
        }
        let of_record = |part: &StoredPart| pending.sent.iter().any(|record| record.number == part.number);
        parts.into_iter().filter(of_record).collect()
    } else {
        usable(parts, &pending.sent)
    };

    if parts.is_empty() {
        // Parts that were listed are bytes of a backup, and one that disagrees with its record is a question.
        if has_first || (pending.closing.is_some() && listed > 0) {
            let what =
                format!("{bucket}/{key}: {listed} parts are listed, and the first is not the one that was recorded");
            let way_out = "nothing was changed: a delete gives the image up";
            return Err(Error::new(Kind::Unavailable, format!("{what}; {way_out}")));
        }
        store.abort_upload(upload).await?;
        return Ok(None);
    }

    let (object, trusted) = complete_with_crc(lsu, upload, &parts).await?;
    // The ETag that everybody sees later: some completions tell none, or another one.
    let object = store.head_fresh(bucket, key).await.map(|seen| ObjectInfo {
        version_id: object.version_id.or(seen.version_id),
        ..seen
    })?;
    let size: u64 = parts.iter().map(|part| part.size).sum();
    if object.size != size {
        let what = format!(
            "complete {bucket}/{key}: {size} bytes in parts, {} on the store",
            object.size
        );
        return Err(Error::new(Kind::Corrupt, what));
    }

    let doubted = |part: StoredPart| StoredPart {
        etag: if trusted { part.etag } else { String::new() },
        ..part
    };
    Ok(Some((object, parts.into_iter().map(doubted).collect())))
}

/// Completes an upload with the CRC of the whole, where every part has one. False where the store calls that wrong, and has
/// completed it without: the bytes must tell.
async fn complete_with_crc(lsu: &Lsu, upload: UploadRef<'_>, parts: &[StoredPart]) -> Result<(ObjectInfo, bool)> {
    let store = lsu.store();
    let crcs: Option<Vec<Crc64>> = parts.iter().map(|part| part.crc64).collect();
    let whole = crcs.map(|crcs| {
        let sizes = parts.iter().map(|part| part.size);
        crcs.into_iter()
            .zip(sizes)
            .fold(Crc64(0), |crc, (part, size)| crc.then(part, size))
    });
    let listed = parts.iter().map(|part| sent(part, part.crc64.unwrap_or(Crc64(0))));
    let listed: Vec<_> = listed.collect();
    match store.complete_upload(upload, &listed, whole).await {
        // Some stores get the CRC of several parts wrong.
        Err(error) if error.kind() == Kind::Corrupt && whole.is_some() => {
            tracing::warn!("without the CRC64NVME of the whole, and then read back: {error}");
            let again = store.complete_upload(upload, &listed, None).await;
            again.map(|object| (object, false)).map_err(|_| error)
        }
        other => other.map(|object| (object, true)),
    }
}

/// The parts from the first on without a gap. Where the record knows a part, the server must tell of the same one: a
/// part that somebody sent again is not trusted, nor is what follows it. The CRC decides where the server tells it.
fn usable(parts: Vec<StoredPart>, known: &[PartRecord]) -> Vec<StoredPart> {
    let agrees = |part: &StoredPart| {
        let record = known.iter().find(|record| record.number == part.number);
        record.is_none_or(|record| {
            let same = match part.crc64 {
                Some(crc) => crc == record.crc64nvme,
                None => part.etag.is_empty() || record.etag.is_empty() || record.etag == part.etag,
            };
            record.size == part.size && same
        })
    };
    let numbered = (1..=PARTS_MAX).zip(parts);
    numbered
        .take_while(|(number, part)| part.number == *number && agrees(part))
        .map(|(_, part)| part)
        .collect()
}

/// An object that is there already: the writer died after it had completed it, or it was put in one piece.
async fn finished_object(lsu: &Lsu, pending: &Pending) -> Result<Option<Unproven>> {
    let store = lsu.store();
    let bucket = lsu.bucket();
    let key = pending.key.as_str();
    let Some(object) = store.head(bucket, key).await.if_found()? else {
        return Ok(None);
    };
    let parts = parts_of(lsu, key, &object, &pending.sent).await?;
    Ok(Some((object, parts)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(number: u32, etag: &str) -> StoredPart {
        StoredPart {
            number,
            size: 10,
            etag: etag.into(),
            crc64: Some(Crc64(u64::from(number))),
        }
    }

    fn known(number: u32, etag: &str) -> PartRecord {
        let crc64nvme = Crc64(u64::from(number));
        PartRecord {
            number,
            offset: u64::from(number - 1) * 10,
            size: 10,
            etag: etag.into(),
            crc64nvme,
        }
    }

    #[test]
    fn parts_are_used_up_to_the_first_gap_or_doubt() {
        let count = |parts: Vec<StoredPart>, known: &[PartRecord]| usable(parts, known).len();
        assert_eq!(count(vec![part(1, "a"), part(2, "b"), part(4, "d")], &[]), 2);
        assert_eq!(count(vec![part(2, "b")], &[]), 0);
        assert_eq!(count(vec![part(1, "a"), part(2, "b")], &[known(1, "a")]), 2);
        let untold = |number, etag| StoredPart {
            crc64: None,
            ..part(number, etag)
        };
        let three = || vec![untold(1, "a"), untold(2, "b"), untold(3, "c")];
        assert_eq!(count(three(), &[known(1, "a"), known(2, "x")]), 1);
        let other_crc = StoredPart {
            crc64: Some(Crc64(9)),
            ..part(1, "a")
        };
        assert_eq!(count(vec![other_crc], &[known(1, "a")]), 0);
        // An ETag is no verdict against a CRC that holds.
        assert_eq!(count(vec![part(1, "x"), part(2, "b")], &[known(1, "a")]), 2);
    }
}
