use std::io::Write;
use std::process::Stdio;

use serde_json::Value;
use vastost::catalog::audit::report::{Class, Level};
use vastost::ost::abi::STSP_CLOSEF_COMPLETE;

use super::plants::{PLANTS, Planted};
use super::{Kept, Yard, place};
use crate::cli::command;
use crate::conformance::on_every_server;
use vastost_testkit::test_store::{CALL, PART, Wish, image, pattern, write_all};

on_every_server!(
    gc_removes_all_debris_and_nothing_else,
    gc_without_yes_changes_nothing,
    data_without_a_record_go_only_when_they_are_asked_for,
    a_living_writers_image_stays_at_any_age,
    what_gc_does_is_told_as_json,
);

const ATTEMPT: &str = "8899aabbccddeeff";

fn plant(yard: &Yard, class: Class, number: u64) -> Planted {
    let row = PLANTS.iter().find(|plant| plant.class == class).unwrap();
    (row.plant)(yard, &image("debris", number))
}

fn healthy(yard: &Yard) -> [Kept; 3] {
    [
        yard.keep(&image("good", 1), pattern(3_000, 1), b"small"),
        yard.keep(&image("good", 2), pattern(2 * PART + 5, 2), &pattern(100_000, 3)),
        yard.keep(&image("good", 3), Vec::new(), b""),
    ]
}

/// All debris but data without a record; gives how many findings they are.
fn debris(yard: &Yard) -> usize {
    plant(yard, Class::PendingStale, 1);
    plant(yard, Class::DeleteUnfinished, 2);
    // A record that is none, and whose attempt has no data.
    let place = place(&image("debris", 3));
    let of = |folder: &str, suffix: &str| format!("{folder}/{place}.{ATTEMPT}.{suffix}");
    yard.foreign.put(&of("pending", "json"), b"{}", &[]);
    // Image metadata whose image is gone, and what a probe left.
    yard.foreign.put(
        &format!("meta/{}.{ATTEMPT}.bin", super::place(&image("debris", 4))),
        b"meta",
        &[],
    );
    yard.foreign
        .put("probe/0123456789abcdef0123456789abcdef-put", b"probe", &[]);
    killed_writer(yard);
    plant(yard, Class::OrphanUpload, 5);
    yard.foreign.begin_upload(&of("backups", "nbk"));
    7
}

/// A process that was killed in the middle of an image, behind its first part.
fn killed_writer(yard: &Yard) {
    let before = yard.foreign.list("pending/").len();
    let name = String::from_utf8(image("debris", 6).basename).unwrap();
    let mut child = command(&yard.site.config);
    let child = child.args(["put", "-", &format!("main/{name}")]).stdin(Stdio::piped());
    let mut child = child.spawn().unwrap();
    child
        .stdin
        .as_mut()
        .unwrap()
        .write_all(&pattern(PART + CALL, 6))
        .unwrap();
    let begun = || {
        let pending = yard.foreign.list("pending/");
        let ours = pending.keys().find(|key| key.contains(&name));
        assert!(pending.len() <= before + 1);
        ours.is_some_and(|key| yard.foreign.get_json(key)["upload_id"].is_string())
    };
    while !begun() {
        assert!(child.try_wait().unwrap().is_none(), "the writer ended");
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

fn gc_removes_all_debris_and_nothing_else(wish: &Wish) {
    let yard = Yard::new(wish);
    let healthy = healthy(&yard);
    let before = yard.foreign.list("");
    let count = debris(&yard);
    assert_eq!(yard.findings(Level::Default).len(), count);
    yard.run(&["gc", "main", "--older-than", "0s", "--yes"]).expect(0);
    let mut after = yard.foreign.list("");
    // The record that is none is kept.
    after.retain(|key, _| !key.starts_with("replaced/"));
    assert_eq!(after, before);
    assert_eq!(yard.findings(Level::Deep), []);
    healthy.iter().for_each(|image| yard.assert_restores(image));
    assert_eq!(yard.foreign.uploads(), [""; 0]);
}

fn gc_without_yes_changes_nothing(wish: &Wish) {
    let yard = Yard::new(wish);
    healthy(&yard);
    let count = debris(&yard);
    let before = (yard.foreign.list(""), yard.foreign.uploads());
    let told = yard.run(&["gc", "main", "--older-than", "0s"]).expect(0);
    assert_eq!(told.text().matches("  would ").count(), count, "{}", told.text());
    assert!(
        told.stderr
            .contains(&format!("{count} to do; nothing was changed: --yes does it")),
        "{}",
        told.stderr
    );
    // Fresh debris are left alone without being asked.
    yard.run(&["gc", "main", "--yes"]).expect(0);
    assert_eq!((yard.foreign.list(""), yard.foreign.uploads()), before);
}

fn data_without_a_record_go_only_when_they_are_asked_for(wish: &Wish) {
    let yard = Yard::new(wish);
    let before = yard.foreign.list("");
    let orphan = plant(&yard, Class::OrphanData, 1);
    yard.run(&["gc", "main", "--older-than", "0s", "--yes"]).expect(0);
    assert_eq!(yard.findings(Level::Default), orphan.at(Level::Default));
    yard.run(&["gc", "main", "--older-than", "0s", "--orphan-data", "--yes"])
        .expect(0);
    assert_eq!(yard.foreign.list(""), before);
}

fn a_living_writers_image_stays_at_any_age(wish: &Wish) {
    let yard = Yard::new(wish);
    let def = image("busy", 1);
    let data = pattern(2 * PART + 9, 1);
    let written = yard.server.create("main", &def).unwrap();
    let half = PART + CALL;
    write_all(&written, &data[..half], 0, CALL);
    written.flush().unwrap();
    assert_eq!(yard.findings(Level::Deep), []);
    yard.run(&["gc", "main", "--older-than", "0s", "--orphan-data", "--yes"])
        .expect(0);
    yard.run(&["repair", "main", "--older-than", "0s", "--deep", "--yes"])
        .expect(0);
    write_all(&written, &data[half..], half as u64, CALL);
    written.close(STSP_CLOSEF_COMPLETE).unwrap();
    assert!(vastost_testkit::test_store::restore(&yard.server, &def, CALL) == data);
    assert_eq!(yard.findings(Level::Deep), []);
}

fn what_gc_does_is_told_as_json(wish: &Wish) {
    let yard = Yard::new(wish);
    plant(&yard, Class::PendingStale, 1);
    let key = format!("pending/{}.00112233445566ff.json", place(&image("debris", 1)));
    let gc = |more: &[&str]| {
        yard.run(&[&["--json", "gc", "main", "--older-than", "0s"], more].concat())
            .expect(0)
            .json()
    };
    let action = |outcome: &str, told: &Value| {
        assert_eq!(
            (told["schema"].as_u64(), told["actions"].as_array().unwrap().len()),
            (Some(1), 1),
            "{told}"
        );
        let action = &told["actions"][0];
        assert_eq!(action["class"], "pending-stale");
        assert_eq!(
            (action["lsu"].as_str(), action["key"].as_str()),
            (Some("main"), Some(&*key))
        );
        assert_eq!(action["image"], super::name(&image("debris", 1)));
        assert_eq!(action["outcome"], outcome);
        assert!(action["action"].is_string() && action["reason"].is_string() && action["detail"].is_string());
    };
    let planned = gc(&[]);
    action("planned", &planned);
    let done = gc(&["--yes"]);
    action("done", &done);
    assert_eq!(
        (planned["dry_run"].as_bool(), done["dry_run"].as_bool()),
        (Some(true), Some(false))
    );
    assert_eq!(gc(&["--yes"])["actions"], serde_json::json!([]));
}
