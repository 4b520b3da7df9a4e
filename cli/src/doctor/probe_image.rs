//! One image of a part and one byte, written as a job writes it: by the same code, with the configured part size and
//! the same rules.
//!
//! It has its own folder below `probe/`, so that it cannot touch another image; the folder is always emptied.

use std::error::Error as StdError;

use vastost::catalog::delete;
use vastost::catalog::format::escape::Name;
use vastost::catalog::format::image_id::{ImageDef, ImageId};
use vastost::catalog::lsu::Lsu;
use vastost::catalog::restore::Restore;
use vastost::catalog::write::backup::Backup;
use vastost::config;
use vastost::config::{Config, Server};
use vastost::error::{Error, Kind, Result};
use vastost::objstore::s3::store::Store;

use crate::temporary::TemporaryFolder;

/// Bytes of one call, as bptm makes them.
const CALL: usize = 256 << 10;
/// Rounds of emptying the folder: a listing has up to 1,000 keys, and there are a few.
const SWEEPS: usize = 3;

/// The image and its LSU of one run.
pub struct ProbeImage {
    lsu: Lsu,
    def: ImageDef,
    size: u64,
    /// Its usage figures are not used.
    _state: TemporaryFolder,
}

impl ProbeImage {
    pub fn new(
        config: &Config,
        server: &Server,
        store: &Store,
        lsu: &config::Lsu,
    ) -> std::result::Result<Self, Box<dyn StdError>> {
        let state = TemporaryFolder::new("doctor")?;
        // As `gc` knows a probe's objects, should this process be killed.
        let run = uuid::Uuid::new_v4().simple();
        let lsu = config::Lsu {
            prefix: format!("{}probe/{run}-image/", lsu.prefix),
            ..lsu.clone()
        };
        let date = crate::name::now();
        let basename = Name::new("doctor");
        let def = ImageDef {
            id: ImageId::new(basename, date)?,
            policy: Name::new("vastost-doctor"),
            image_type: 1,
        };
        let own = Config {
            state_dir: state.path(),
            ..config.clone()
        };
        let size = config.transfer.part_size_bytes + 1;
        Ok(Self {
            lsu: Lsu::new(store.clone(), &own, server, &lsu),
            def,
            size,
            _state: state,
        })
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    /// Written as a whole, and closed incomplete: an upload of two parts.
    pub fn write(&self) -> Result<()> {
        let mut backup = Backup::create(&self.lsu, self.def.clone())?;
        let mut offset = 0;
        while offset < self.size {
            let piece = piece(offset, self.size);
            backup.write(&piece, offset)?;
            offset += piece.len() as u64;
        }
        backup.incomplete().map(drop)
    }

    /// Opened for write again, which copies the first part on the server, and completed.
    pub fn complete(&self) -> Result<()> {
        let backup = Backup::reopen(&self.lsu, &self.def)?;
        let size = backup.complete()?;
        if size == self.size {
            return Ok(());
        }
        let what = format!("the image was completed with {size} bytes, {} were written", self.size);
        Err(Error::new(Kind::Corrupt, what))
    }

    /// Compares every byte.
    pub fn read(&self) -> Result<()> {
        let mut image = Restore::open(&self.lsu, &self.def.id)?;
        let (mut got, mut offset) = (vec![0; CALL], 0);
        loop {
            let len = image.read(&mut got, offset)?;
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

    /// Deletes it as NetBackup does; nothing of it may be left.
    pub fn delete(&self) -> Result<()> {
        let (lsu, def) = (self.lsu.clone(), self.def.clone());
        self.lsu.store().run(async move {
            delete::delete(&lsu, &def).await?;
            let (bucket, prefix) = (lsu.bucket(), lsu.keys().prefix());
            let left = lsu.store().list(bucket, prefix, false, None, None).await?.objects;
            if let Some(object) = left.first() {
                let what = format!("{bucket}/{} is still there after the image was deleted", object.key);
                return Err(Error::new(Kind::Corrupt, what));
            }
            match lsu.store().count_versions(bucket, prefix).await {
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
        })
    }

    /// Removes what a failed step left.
    pub fn sweep(&self) -> Result<()> {
        let (lsu, def) = (self.lsu.clone(), self.def.clone());
        self.lsu.store().run(async move {
            match delete::delete(&lsu, &def).await {
                Err(error) if error.kind() != Kind::NotFound => tracing::debug!("{error}"),
                _ => {}
            }
            for _ in 0..SWEEPS {
                let left = lsu
                    .store()
                    .list(lsu.bucket(), lsu.keys().prefix(), false, None, None)
                    .await?
                    .objects;
                if left.is_empty() {
                    break;
                }
                for object in left {
                    lsu.store().delete(lsu.bucket(), &object.key, None).await?;
                }
            }
            // What a bucket keeps of them; a store without versions does not know the request.
            if let Err(error) = lsu.store().remove_versions(lsu.bucket(), lsu.keys().prefix()).await {
                tracing::debug!("{error}");
            }
            Ok(())
        })
    }
}

/// The bytes of a call at `offset`: each byte depends on its offset.
fn piece(offset: u64, size: u64) -> Vec<u8> {
    let len = usize::try_from(size.saturating_sub(offset))
        .unwrap_or(usize::MAX)
        .min(CALL);
    (offset..)
        .take(len)
        .map(|at| (at % 251) as u8 ^ (at >> 18) as u8)
        .collect()
}
