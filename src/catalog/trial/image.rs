//! One image of a part and one byte, as a job writes it: by the writer's own code, with the configured part size, held to
//! the writer's own rules.
//!
//! It lies in a folder of its own below `probe/`, so that it meets no other image, and the folder is emptied whatever
//! happens.

use std::path::Path;

use crate::catalog::cluster::Cluster;
use crate::catalog::delete;
use crate::catalog::format::escape::Name;
use crate::catalog::format::image_id::{ImageDef, ImageId};
use crate::catalog::lsu::Lsu;
use crate::catalog::restore::Restore;
use crate::catalog::write::backup::Backup;
use crate::error::{Error, Kind, Result};

/// Bytes of one call, as bptm makes them.
const CALL: usize = 256 << 10;
/// Rounds of emptying the folder: a listing has up to 1,000 keys, and there are a few.
const SWEEPS: usize = 3;

/// The image and its LSU of one run.
pub struct TrialImage {
    lsu: Lsu,
    def: ImageDef,
    size: u64,
}

impl TrialImage {
    /// In a folder of LSU `name`; its usage figures, which are nobody's, go to `state_dir`. `date` is the image's, seconds
    /// since 1970.
    pub fn new(cluster: &Cluster, name: &str, state_dir: &Path, date: u64) -> Result<Self> {
        let def = ImageDef {
            id: ImageId::new(Name::new("doctor"), date)?,
            policy: Name::new("vastost-doctor"),
            image_type: 1,
        };
        // As `gc` knows a probe's objects, should this process be killed.
        let folder = format!("probe/{}-image/", uuid::Uuid::new_v4().simple());
        let lsu = cluster.lsu_below(name, &folder, state_dir)?;
        Ok(Self {
            size: lsu.store().transfer().part_size_bytes + 1,
            lsu,
            def,
        })
    }

    /// Bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Written as a whole, and closed incomplete: an upload of two parts.
    pub async fn write(&self) -> Result<()> {
        let mut backup = Backup::create(&self.lsu, self.def.clone()).await?;
        let mut offset = 0;
        while offset < self.size {
            let piece = piece(offset, self.size);
            backup.write(&piece, offset).await?;
            offset += piece.len() as u64;
        }
        backup.incomplete().await.map(drop)
    }

    /// Opened for write again, which copies the first part on the server, and completed.
    pub async fn complete(&self) -> Result<()> {
        let backup = Backup::reopen(&self.lsu, &self.def).await?;
        let size = backup.complete().await?;
        if size == self.size {
            return Ok(());
        }
        let what = format!("the image was completed with {size} bytes, {} were written", self.size);
        Err(Error::new(Kind::Corrupt, what))
    }

    /// Every byte, against what was written.
    pub async fn read(&self) -> Result<()> {
        let mut image = Restore::open(&self.lsu, &self.def.id).await?;
        let mut got = vec![0; CALL];
        let mut offset = 0;
        loop {
            let len = image.read(&mut got, offset).await?;
            let expected = piece(offset, self.size);
            if got.get(..len) != Some(&expected[..]) {
                let what = format!("at offset {offset} came other bytes than were written");
                return Err(Error::new(Kind::Corrupt, what));
            }
            offset += len as u64;
            if offset == self.size {
                return Ok(());
            }
        }
    }

    /// Deleted as NetBackup does it; nothing of it may be left.
    pub async fn delete(&self) -> Result<()> {
        delete::delete(&self.lsu, &self.def).await?;
        let store = self.lsu.store();
        let bucket = self.lsu.bucket();
        let prefix = self.lsu.keys().prefix();
        let left = store.list(bucket, prefix, false, None, None).await?.objects;
        if let Some(object) = left.first() {
            let what = format!("{bucket}/{} is still there after the image was deleted", object.key);
            return Err(Error::new(Kind::Corrupt, what));
        }
        match store.count_versions(bucket, prefix).await {
            Ok(0) => Ok(()),
            Ok(count) => {
                let what = format!(
                    "delete a version of {bucket}/{prefix}: {count} versions or markers of the deleted image are left"
                );
                Err(Error::new(Kind::AccessDenied, what))
            }
            // A store without versions, or keys that may not see them: then a delete could not remove them either.
            Err(error) if error.kind() == Kind::AccessDenied => Err(error),
            Err(_) => Ok(()),
        }
    }

    /// Removes whatever a failure has left.
    pub async fn sweep(&self) -> Result<()> {
        match delete::delete(&self.lsu, &self.def).await {
            Err(error) if error.kind() != Kind::NotFound => tracing::debug!("{error}"),
            _ => {}
        }
        let store = self.lsu.store();
        let bucket = self.lsu.bucket();
        let prefix = self.lsu.keys().prefix();

        for _ in 0..SWEEPS {
            let left = store.list(bucket, prefix, false, None, None).await?.objects;
            if left.is_empty() {
                break;
            }
            for object in left {
                store.delete(bucket, &object.key, None).await?;
            }
        }

        // What a bucket keeps of them; a store without versions does not know the request.
        if let Err(error) = store.remove_versions(bucket, prefix).await {
            tracing::debug!("{error}");
        }
        Ok(())
    }
}

/// The bytes of a call at `offset`: every place tells where it is.
fn piece(offset: u64, size: u64) -> Vec<u8> {
    let len = usize::try_from(size.saturating_sub(offset))
        .unwrap_or(usize::MAX)
        .min(CALL);
    (offset..)
        .take(len)
        .map(|at| (at % 251) as u8 ^ (at >> 18) as u8)
        .collect()
}
