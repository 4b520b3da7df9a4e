//! An image whose writer ended between its last part and its sidecar is completed: all that the sidecar needs is in the
//! pending record, which is taken over first.

use crate::catalog::audit::fix::JudgedPending;
use crate::catalog::format::record::{Closing, Pending, Writer};
use crate::catalog::lsu::Lsu;
use crate::catalog::maintain::gc::take_judged;
use crate::catalog::records::PendingEntry;
use crate::catalog::remove::remove_record;
use crate::catalog::write::commit::{commit, sidecar};
use crate::catalog::write::lease::Record;
use crate::catalog::write::recover::recover_content;
use crate::error::{Error, Kind, Result};

/// An image whose writer ended between the last part and the sidecar: all that the sidecar needs is in the record.
pub(super) async fn finish_completion(lsu: &Lsu, judged: &JudgedPending) -> Result<Option<String>> {
    let id = &judged.id;
    if judged.closing != Some(Closing::Complete) {
        return Ok(None);
    }

    // Beside a sidecar it is not needed, and must not be taken, which would make it new.
    if lsu.sidecar(id).await?.is_some() {
        return Ok(None);
    }

    let Some((record, entry)) = take_judged(lsu, judged).await? else {
        return Ok(None);
    };

    let Some(mut record) = record else {
        return Err(Error::new(
            Kind::NoSpace,
            format!("finish image {id}: the store takes no record"),
        ));
    };

    let wanted: u64 = entry.pending.sent.iter().map(|part| part.size).sum();
    let done = complete(lsu, &entry, &mut record, wanted).await;
    if !matches!(done, Ok(true)) {
        // Whoever tries again, wherever, need not wait for us.
        record.give_back(&entry.pending).await;
        return done.map(|_| None);
    }

    lsu.count_in(wanted).await;
    remove_record(lsu, &entry.key).await?;

    Ok(Some(format!("the image is complete with {wanted} bytes")))
}

/// Makes a taken attempt of `wanted` bytes the image; false where there is a sidecar by now.
async fn complete(lsu: &Lsu, entry: &PendingEntry, record: &mut Record, wanted: u64) -> Result<bool> {
    let id = &entry.pending.image.id;
    if lsu.sidecar(id).await?.is_some() {
        return Ok(false);
    }

    let capabilities = lsu.capabilities().await?;
    let content = recover_content(lsu, &entry.pending)
        .await?
        .filter(|content| content.data.size == wanted);
    let content = content.ok_or_else(|| {
        let what = format!("finish image {id}: not all of its {wanted} bytes are on the store any more");
        Error::new(Kind::NotFound, what)
    })?;

    record
        .confirm(&Pending {
            writer: Writer::this(),
            ..entry.pending.clone()
        })
        .await?;

    commit(lsu, &sidecar(&entry.pending, content), capabilities.conditional_put).await?;
    Ok(true)
}
