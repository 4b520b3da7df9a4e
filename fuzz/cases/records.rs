//! Sidecars and pending records: whatever lies on the store is understood or refused, and what is understood is written
//! back as the same record.

use serde::Deserialize;
use vastost::catalog::format::escape::Name;
use vastost::catalog::format::image_id::{ImageDef, ImageId};
use vastost::catalog::format::keys::{Attempt, Folder, Keys};
use vastost::catalog::format::parse::{parse_pending, parse_sidecar};
use vastost::catalog::format::record::to_bytes;

/// Whom a record says that it speaks for; where it lies is made up of that.
#[derive(Deserialize)]
struct Named {
    image: ImageDef,
    attempt: Option<Attempt>,
}

pub fn run(bytes: &[u8]) {
    let named = serde_json::from_slice::<Named>(bytes).ok();
    let fallback = || ImageId::new(Name::new("x"), 1).expect("an image");
    let (id, attempt) = named.map_or_else(|| (fallback(), None), |named| (named.image.id, named.attempt));
    for keys in [Keys::new(""), Keys::new("copy/")] {
        if let Ok(mut sidecar) = parse_sidecar(&keys, &id, bytes) {
            // Any JSON is allowed there, also numbers of more digits than a double has.
            sidecar.retention = None;
            assert!(
                keys.parse(Folder::Data, &sidecar.content.data.key)
                    .is_some_and(|(of, _)| of == id)
            );
            let written = to_bytes(&sidecar).expect("a record can be written");
            assert_eq!(parse_sidecar(&keys, &id, &written).expect("and read again"), sidecar);
        }
        let attempt = attempt.clone().unwrap_or_default();
        if let Ok(pending) = parse_pending(&keys, &id, &attempt, bytes) {
            assert_eq!(pending.key, keys.data(&id, &attempt));
            let written = to_bytes(&pending).expect("a record can be written");
            assert_eq!(
                parse_pending(&keys, &id, &attempt, &written).expect("and read again"),
                pending
            );
        }
    }
}
