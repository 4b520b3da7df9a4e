//! Keys of records: one that is taken for ours is the very key that its image has.

use vastost::catalog::format::escape::{escape, unescape};
use vastost::catalog::format::image_id::ImageId;
use vastost::catalog::format::keys::{Attempt, Folder, Keys};

type Spell = fn(&Keys, &ImageId, &Attempt) -> String;

pub fn run(bytes: &[u8]) {
    let Ok(key) = std::str::from_utf8(bytes) else { return };
    for prefix in ["", "site/"] {
        let keys = Keys::new(prefix);
        if let Some((id, None)) = keys.parse(Folder::Catalog, key) {
            assert_eq!(keys.sidecar(&id), key);
        }
        for (folder, spell) in [
            (Folder::Pending, Keys::pending as Spell),
            (Folder::Data, Keys::data),
            (Folder::Meta, Keys::meta),
        ] {
            if let Some((id, Some(attempt))) = keys.parse(folder, key) {
                assert_eq!(spell(&keys, &id, &attempt), key);
                assert!(key.starts_with(&keys.of_image(folder, &id)));
            }
        }
    }
    if let Some(bytes) = unescape(key) {
        assert_eq!(escape(&bytes), key);
    }
    assert_eq!(unescape(&escape(key.as_bytes())).as_deref(), Some(key.as_bytes()));
}
