//! A whole object read part by part to see whether it is what was written: nothing is copied, no part is skipped.
//!
//! Parts come through the read-ahead of a restore, each checked against its CRC. A bad part does not end the scan. MD5s are
//! not computed: an ETag that is none says nothing against a CRC that holds.

use std::sync::Arc;

use super::read_ahead::ReadAhead;
use crate::error::{Error, Kind, Result};
use crate::metrics::image::{Direction, Tally};
use crate::objstore::download::spec::ReadSpec;
use crate::objstore::s3::store::Store;

/// One part as it was found.
#[derive(Debug)]
pub struct ScannedPart {
    /// Its place in the list of parts, from 0.
    pub index: usize,
    /// Why its bytes are not what was written; None when they are.
    pub wrong: Option<Error>,
}

/// Reads every part on the caller's thread until the object is read, `each` returns false, or the store cannot be
/// asked. `before` is called with each part's size before it is asked for, and may say that it shall not be.
pub fn scan(
    store: &Store,
    spec: ReadSpec,
    mut before: impl FnMut(u64) -> bool,
    mut each: impl FnMut(ScannedPart) -> bool,
) -> Result<()> {
    let spec = Arc::new(spec);
    let promise = store
        .pool()
        .try_promise(spec.parts.iter().map(|part| part.size).max().unwrap_or_default())?;
    let tally = Tally::new(store.metrics(), &spec.bucket, &spec.key, Direction::Read);
    let mut ahead = ReadAhead::new(store.clone(), Arc::clone(&spec), tally);
    for (index, part) in spec.parts.iter().enumerate() {
        if !before(part.size) {
            return Ok(());
        }
        let wrong = match ahead.take(&promise, index) {
            Ok(_) => None,
            Err(error) if error.kind() == Kind::Corrupt => Some(error),
            Err(error) => return Err(error),
        };
        if !each(ScannedPart { index, wrong }) {
            return Ok(());
        }
    }
    Ok(())
}
