//! A sidecar is put in the place of an older one, which is kept.

use bytes::Bytes;

use crate::catalog::format::keys::Attempt;
use crate::catalog::format::record::Sidecar;
use crate::catalog::lsu::Lsu;
use crate::catalog::write::commit::confirm_data;
use crate::error::Result;

/// Puts a sidecar in the place of `old`, which is kept, unless somebody has changed it since it was read or writes the
/// image; then looks whether its data are still there.
pub(super) async fn replace_sidecar(lsu: &Lsu, old: Option<Bytes>, new: Bytes, described: &Sidecar) -> Result<bool> {
    let id = &described.image.id;
    let key = lsu.keys().sidecar(id);
    let only_new = old.is_none() && lsu.capabilities().await?.conditional_put;

    if let Some(bytes) = old.clone() {
        lsu.put_record(&lsu.keys().replaced(id, &Attempt::new()), bytes, false)
            .await?;
    }

    let now = lsu.now().await?;
    let written = lsu
        .pendings(id)
        .await?
        .iter()
        .any(|entry| entry.is_held_by_another(now));
    if written || lsu.record(&key).await? != old {
        return Ok(false);
    }

    lsu.put_record(&key, new, only_new).await?;
    confirm_data(lsu, described).await?;

    Ok(true)
}
