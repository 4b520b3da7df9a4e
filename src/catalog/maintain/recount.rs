//! What an LSU holds, counted: images and bytes by client and by day, and the figure that NetBackup's polls are given.
//!
//! Two listings side by side, one request for 1,000 objects each; a sidecar is read only where the listings leave a
//! doubt (several data objects of one image, or none).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

use super::usage::Usage;
use crate::catalog::audit::report::{Count, Level};
use crate::catalog::audit::walk::{Group, Groups, Position};
use crate::catalog::audit::{Options, Scope};
use crate::catalog::format::image_id::ImageId;
use crate::catalog::format::record::{ImageState, Sidecar};
use crate::catalog::list::Filter;
use crate::catalog::lsu::Lsu;
use crate::error::{Kind, Result};

/// The figures of one LSU.
#[derive(Clone, Debug, Default)]
pub struct Recount {
    pub complete: Count,
    /// Data that no sidecar names: of images being written or closed incomplete, and debris.
    pub other: Count,
    /// By client, as keys spell it.
    pub clients: BTreeMap<String, Count>,
    /// By the day of the image date, `yyyymmdd`.
    pub days: BTreeMap<String, Count>,
    pub list_requests: u64,
}

/// Counts a whole LSU and keeps the figure for polls; what this host completed and deleted meanwhile stays counted.
pub async fn take(lsu: &Lsu) -> Result<Recount> {
    let options = Options {
        level: Level::Quick,
        leftovers: false,
        filter: Filter::default(),
        shard: None,
        grace_seconds: 0,
        jobs: 1,
        limit_rate: None,
    };

    let before = lsu.usage().unwrap_or_default();
    let cancel = Arc::new(AtomicBool::new(false));
    let scope = Arc::new(Scope {
        lsu: lsu.clone(),
        options,
        began: 0,
        cancel,
        limiter: None,
        slowest_ms: AtomicU64::default(),
    });
    let mut groups = Groups::new(&scope, &Position::default());
    let mut recount = Recount::default();
    while let Some((group, _)) = groups.next_group().await? {
        recount.add(lsu, group).await?;
    }
    recount.list_requests = groups.requests();
    let Count { bytes, images } = recount.complete;
    lsu.change_usage(move |usage| usage.counted(before, Usage { bytes, images }))
        .await;
    Ok(recount)
}

impl Recount {
    async fn add(&mut self, lsu: &Lsu, group: Group) -> Result<()> {
        let bytes: u64 = group.data.iter().map(|(_, object)| object.size).sum();
        let known = match (&group.sidecar, group.data.as_slice()) {
            (None, _) => None,
            (Some(_), [(_, only)]) => Some(only.size),
            (Some(_), _) => match lsu.sidecar(&group.id).await {
                // Which of the data it meant cannot be told, and a figure is not worth stopping for.
                Err(error) if error.kind() == Kind::Corrupt => None,
                other => other?.and_then(|(sidecar, _)| complete_size(&sidecar)),
            },
        };
        if let Some(size) = known {
            self.count(&group.id, size);
        }
        let rest = bytes.saturating_sub(known.unwrap_or_default());
        if rest > 0 || (known.is_none() && !group.data.is_empty()) {
            self.other.add(rest);
        }
        Ok(())
    }

    fn count(&mut self, id: &ImageId, bytes: u64) {
        self.complete.add(bytes);
        self.clients
            .entry(crate::catalog::format::escape::escape(id.client()))
            .or_default()
            .add(bytes);
        self.days.entry(id.day()).or_default().add(bytes);
    }
}

fn complete_size(sidecar: &Sidecar) -> Option<u64> {
    (sidecar.state == ImageState::Complete).then_some(sidecar.content.data.size)
}
