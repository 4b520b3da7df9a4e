//! The folders that an LSU has below its prefix, those of today and those that are kept free for later.
//!
//! What lies in them is taken for the LSU's own, and what is left over there is removed: no other LSU may lie inside one.

/// Names directly below an LSU's prefix.
pub const LSU_FOLDERS: [&str; 15] = [
    "backups", "catalog", "pending", "meta", "replaced", "probe", "crc", "extents", "refs", "held", "events", "origin",
    "proofs", "tmp", "records",
];

/// The folder of an LSU with the prefix `outer` in which the prefix `inner` lies. Prefixes are empty or end with a slash.
pub fn folder_around(inner: &str, outer: &str) -> Option<&'static str> {
    let first = inner.strip_prefix(outer)?.split_once('/')?.0;
    LSU_FOLDERS.into_iter().find(|folder| *folder == first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_inside_a_folder_at_any_depth_and_beside_it_when_only_the_name_begins_so() {
        assert_eq!(folder_around("probe/", ""), Some("probe"));
        assert_eq!(folder_around("a/catalog/b/", "a/"), Some("catalog"));
        for (inner, outer) in [
            ("", ""),
            ("probe2/", ""),
            ("a/", "a/"),
            ("b/probe/", "a/"),
            ("a/b/probe/", "a/"),
        ] {
            assert_eq!(folder_around(inner, outer), None, "{inner} in {outer}");
        }
    }
}
