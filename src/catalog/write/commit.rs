//! Steps 6 and 7: the sidecar that makes an image complete, and a look at its data behind it.

use crate::catalog::format::image_id::ImageId;
use crate::catalog::format::parse::parse_sidecar;
use crate::catalog::format::record::{
    Content, ImageState, Pending, RECORD_SIZE_MAX, SCHEMA, Sidecar, Writer, now_text, to_bytes,
};
use crate::catalog::lsu::Lsu;
use crate::catalog::remove::{is_hidden, remove_record};
use crate::error::{Error, Kind, Result};

/// What a pending record becomes when its image is complete.
pub(in crate::catalog) fn sidecar(pending: &Pending, content: Content) -> Sidecar {
    Sidecar {
        schema: SCHEMA,
        state: ImageState::Complete,
        image: pending.image.clone(),
        content,
        meta: pending.meta.clone(),
        created: pending.created.clone(),
        completed: now_text(),
        writer: Writer::this(),
        rebuilt: None,
        retention: None,
    }
}

/// Steps 6 and 7. A lost answer may have been a success: then the sidecar that is there is our own.
pub(in crate::catalog) async fn commit(lsu: &Lsu, sidecar: &Sidecar, conditional: bool) -> Result<()> {
    let key = lsu.keys().sidecar(&sidecar.image.id);
    // A store that refuses no second record is asked before: two writers must come within one request to be both told
    // that they were first.
    let put = if !conditional && lsu.sidecar(&sidecar.image.id).await?.is_some() {
        Err(Error::new(Kind::PreconditionFailed, format!("put {key}: there is one")))
    } else {
        lsu.put_record(&key, to_bytes(sidecar)?, conditional).await
    };
    match put {
        Ok(_) => {}
        Err(error) if error.kind() == Kind::PreconditionFailed => {
            let bytes = lsu.store().get_small(lsu.bucket(), &key, RECORD_SIZE_MAX).await?;
            let there = parse_sidecar(lsu.keys(), &sidecar.image.id, &bytes)?;
            if there.content.data.key != sidecar.content.data.key {
                return Err(completed_elsewhere(&sidecar.image.id));
            }
        }
        Err(error) => return Err(error),
    }

    confirm_data(lsu, sidecar).await
}

/// Another process may have deleted the image between its data and its record: no record may stay without data. The
/// delete looks for a record once more after it has removed the data, so that one of the two sees the other.
pub(in crate::catalog) async fn confirm_data(lsu: &Lsu, sidecar: &Sidecar) -> Result<()> {
    let data = &sidecar.content.data.key;
    match lsu.store().head_fresh(lsu.bucket(), data).await {
        Err(error) if error.kind() == Kind::NotFound && is_hidden(lsu, data).await.unwrap_or(true) => {
            let what = format!(
                "image {} is complete, and somebody's delete marker hides its data: `vastost-s3 undelete` takes it away",
                sidecar.image.id
            );
            Err(error.context(what).with_kind(Kind::Unavailable))
        }
        Err(error) if error.kind() == Kind::NotFound => {
            // Only our own record: a successor's image has data of its own.
            if lsu
                .sidecar(&sidecar.image.id)
                .await?
                .is_some_and(|(now, _)| now.content.data.key == *data)
            {
                remove_record(lsu, &lsu.keys().sidecar(&sidecar.image.id)).await?;
            }
            Err(error.context(format!(
                "image {} was deleted by another process meanwhile",
                sidecar.image.id
            )))
        }
        other => other.map(drop),
    }
}

pub(in crate::catalog) fn completed_elsewhere(id: &ImageId) -> Error {
    Error::new(
        Kind::AlreadyExists,
        format!("image {id} was completed by another writer meanwhile"),
    )
}
