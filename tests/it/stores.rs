//! Stores that earlier versions wrote, kept as small files: every later version restores, verifies and deletes them.
//!
//! `tests/stores/<schema>/store.json` lists objects, with their metadata, and what the images hold; large contents are named
//! by the seed and length that `pattern` makes them of. With `VASTOST_WRITE_STORE=FILE` the test of today's store writes
//! such a file.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use vastost::ost::abi::{STSP_CLOSEF_COMPLETE, STSP_OPEN_WRITE};

use crate::audit::{Yard, place};
use crate::conformance::on_every_server;
use vastost_testkit::test_store::{CALL, Wish, image, pattern, write_all};

on_every_server!(
    kept_stores_are_restored_verified_and_deleted,
    todays_store_is_read_back_from_its_objects
);

#[derive(Serialize, Deserialize)]
struct Store {
    objects: BTreeMap<String, Object>,
    /// Complete images: basename, date, content.
    images: Vec<(String, u64, Content)>,
    /// An image that was closed incomplete.
    pending: (String, u64, Content),
}

#[derive(Serialize, Deserialize)]
struct Object {
    metadata: Vec<(String, String)>,
    content: Content,
}

#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Content {
    Text(String),
    Pattern { length: usize, seed: u64 },
}

impl Content {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Text(text) => text.clone().into_bytes(),
            Self::Pattern { length, seed } => pattern(*length, *seed),
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Writes one image of each kind and takes the bucket down as a list of objects.
fn write(yard: &Yard) -> Store {
    let wanted = [(1, 3_000, 40), (2, 11_000_000, 100_000), (3, 0, 0)];
    let mut images = Vec::new();
    for (number, length, meta) in wanted {
        let def = image("kept", number);
        yard.keep(&def, pattern(length, number), &pattern(meta, number + 100));
        images.push((text(&def.basename), def.date, Content::Pattern { length, seed: number }));
    }
    let def = image("kept", 9);
    let open = yard.server.create("main", &def).expect("create");
    write_all(&open, &pattern(2_000, 9), 0, CALL);
    open.close(0).expect("an incomplete close");
    let pending = (
        text(&def.basename),
        def.date,
        Content::Pattern { length: 2_000, seed: 9 },
    );
    let known = |bytes: &[u8]| {
        let patterns = wanted
            .iter()
            .flat_map(|(seed, length, meta)| [(*length, *seed), (*meta, *seed + 100)]);
        let mut all = patterns.chain([(2_000, 9)]);
        let found = all.find(|(length, seed)| *length > 0 && pattern(*length, *seed) == bytes);
        found.map(|(length, seed)| Content::Pattern { length, seed })
    };
    let object = |key: String| {
        let bytes = yard.foreign.get(&key);
        let content = known(&bytes).unwrap_or_else(|| Content::Text(text(&bytes)));
        (
            key.clone(),
            Object {
                metadata: yard.foreign.metadata(&key),
                content,
            },
        )
    };
    let objects = yard.foreign.list("").into_keys().map(object).collect();
    Store {
        objects,
        images,
        pending,
    }
}

fn assert_serves(store: &Store, wish: &Wish) {
    let yard = Yard::new(wish);
    for (key, object) in &store.objects {
        yard.foreign.put(key, &object.content.bytes(), &object.metadata);
    }
    // The image of several parts came as one object: its ETag is a question, and no error.
    assert_eq!(yard.verify(&["--deep"]).0, 0);
    for (basename, date, content) in &store.images {
        let target = format!("main/{basename}:{date}");
        assert!(
            yard.run(&["get", &target, "-"]).expect(0).stdout() == content.bytes(),
            "{target}"
        );
    }
    let (basename, _, content) = &store.pending;
    let def = image("kept", 9);
    assert_eq!((basename, &place(&def)), (&text(&def.basename), &place(&def)));
    let open = yard
        .server
        .open("main", &def, STSP_OPEN_WRITE)
        .expect("go on with the pending image");
    let kept = content.bytes();
    let more = pattern(500, 10);
    write_all(&open, &more, kept.len() as u64, CALL);
    open.close(STSP_CLOSEF_COMPLETE).expect("close");
    assert!(vastost_testkit::test_store::restore(&yard.server, &def, CALL) == [kept, more].concat());
    for (basename, date) in store
        .images
        .iter()
        .map(|(basename, date, _)| (basename, *date))
        .chain([(basename, def.date)])
    {
        yard.run(&["rm", "--yes", &format!("main/{basename}:{date}")]).expect(0);
    }
    for folder in ["backups/", "catalog/", "pending/", "meta/"] {
        assert!(yard.foreign.list(folder).is_empty(), "{folder}");
    }
}

fn kept_stores_are_restored_verified_and_deleted(wish: &Wish) {
    let folder = vastost_testkit::repository("tests/stores");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).expect("tests/stores") {
        let text = std::fs::read(entry.expect("an entry").path().join("store.json")).expect("store.json");
        assert_serves(&serde_json::from_slice(&text).expect("a store"), wish);
        count += 1;
    }
    assert!(count > 0);
}

fn todays_store_is_read_back_from_its_objects(wish: &Wish) {
    let store = write(&Yard::new(wish));
    if let Some(file) = std::env::var_os("VASTOST_WRITE_STORE") {
        std::fs::write(file, serde_json::to_vec_pretty(&store).expect("JSON")).expect("write");
    }
    assert_serves(&store, wish);
}
