//! The output of `bpimagelist -l`: read, or refused by line.

use std::collections::BTreeSet;

use vastost::catalog::audit::bpimagelist::{Expected, Known};

pub fn run(bytes: &[u8]) {
    match Expected::read(bytes, "list", &BTreeSet::new()) {
        Ok(expected) => {
            for (basename, image) in expected.iter() {
                let Known::Fragment(found) = expected.look_up(basename, image.backup_time) else {
                    panic!("a fragment is not found")
                };
                assert_eq!(found.size, image.size);
            }
        }
        Err(error) => assert!(error.to_string().starts_with("list: line "), "{error}"),
    }
}
