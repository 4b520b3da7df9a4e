//! A whole object read part by part to see whether it is what was written: nothing is copied, no part is skipped.
//!
//! Parts come through the read-ahead of a restore, each checked against its CRC; their MD5s are computed in the hash
//! lanes while the next parts arrive. A bad part does not end the scan.

use std::collections::VecDeque;
use std::sync::Arc;

use super::checksum::Md5Sum;
use super::client::Store;
use super::download::ReadSpec;
use super::md5_lanes::Patience;
use super::sequential::ReadAhead;
use crate::error::{Error, Kind, Result};
use crate::metrics::image::{Direction, Tally};

/// One part as it was found.
#[derive(Debug)]
pub struct ScannedPart {
    /// Its place in the list of parts, from 0.
    pub index: usize,
    /// The MD5 of a part whose CRC is right.
    pub md5: Result<Md5Sum>,
}

/// Reads every part on the caller's thread until the object is read, `each` returns false, or the store cannot be
/// asked. `before` is called with each part's size before it is asked for.
pub fn scan(
    store: &Store,
    spec: ReadSpec,
    mut before: impl FnMut(u64),
    mut each: impl FnMut(ScannedPart) -> bool,
) -> Result<()> {
    let spec = Arc::new(spec);
    let promise = store.pool().try_promise(spec.parts.iter().map(|part| part.size).max().unwrap_or_default())?;
    let tally = Tally::new(store.metrics(), &spec.bucket, &spec.key, Direction::Read);
    let mut ahead = ReadAhead::new(store.clone(), Arc::clone(&spec), tally);
    let mut hashing = VecDeque::new();
    for (index, part) in spec.parts.iter().enumerate() {
        before(part.size);
        match ahead.take(&promise, index) {
            Ok(buffer) => {
                let (owned, len) = (store.clone(), usize::try_from(part.size).unwrap_or(usize::MAX));
                let hash = async move { owned.md5().hash(buffer.freeze(len), Patience::Pressing).await };
                hashing.push_back((index, store.runtime().spawn(hash)));
            }
            Err(error) if error.kind() == Kind::Corrupt => {
                if !each(ScannedPart { index, md5: Err(error) }) {
                    return Ok(());
                }
            }
            Err(error) => return Err(error),
        }
        while hashing.len() >= store.transfer().parts_in_flight {
            if !hand_over(&mut hashing, &mut each) {
                return Ok(());
            }
        }
    }
    while !hashing.is_empty() {
        if !hand_over(&mut hashing, &mut each) {
            return Ok(());
        }
    }
    Ok(())
}

type Hashing = VecDeque<(usize, tokio::task::JoinHandle<Result<Md5Sum>>)>;

fn hand_over(hashing: &mut Hashing, each: &mut impl FnMut(ScannedPart) -> bool) -> bool {
    let Some((index, task)) = hashing.pop_front() else { return true };
    let md5 = futures::executor::block_on(task);
    let md5 = md5.map_err(|_| Error::new(Kind::Aborted, "hash a part: the plug-in was terminated")).flatten();
    each(ScannedPart { index, md5 })
}
