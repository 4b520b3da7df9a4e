use serde_json::{Value, json};
use vastost::catalog::audit::report::{Class, Level};

use super::{Kept, MD5, Yard, place};
use crate::conformance::on_every_server;
use vastost_testkit::test_store::{PART, Wish, image, pattern};

on_every_server!(
    sidecars_are_rebuilt_from_the_bytes_where_the_server_knows_no_crcs,
    a_good_sidecar_is_never_touched,
    repair_without_yes_changes_nothing,
    a_half_done_delete_is_finished,
    an_image_whose_writer_died_while_it_completed_it_is_completed,
    data_whose_metadata_do_not_fit_are_refused,
    data_without_metadata_are_what_their_key_says,
    of_several_data_objects_none_is_taken_for_the_image,
    a_sidecar_of_a_later_version_is_left_to_that_version,
    metadata_that_had_an_object_of_their_own_are_found_again,
    the_etag_of_a_copy_is_recorded_when_every_byte_is_right,
);

/// What can become of a sidecar; None: it is deleted.
type Damage = fn(&Kept, &Kept) -> Option<Vec<u8>>;

/// What can become of an object's own metadata.
type Change = fn(&mut Vec<(String, String)>);

const DAMAGES: [Damage; 5] = [
    |_, _| None,
    |_, _| Some(b"\x00garbage\xff".to_vec()),
    |_, _| Some(Vec::new()),
    |image, _| Some(text(image)[..400].to_vec()),
    |_, other| Some(text(other)),
];

fn text(image: &Kept) -> Vec<u8> {
    serde_json::to_vec(&image.record).unwrap()
}

fn repair(yard: &Yard, more: &[&str], code: i32) -> Value {
    yard.run(&[&["--json", "repair", "main", "--older-than", "0s"], more].concat())
        .expect(code)
        .json()
}

/// One image for each way to damage a sidecar, of one part and of several, all damaged.
fn damaged(yard: &Yard) -> Vec<Kept> {
    let other = yard.keep(&image("other", 900), pattern(700, 900), b"");
    let mut images = Vec::new();
    for (number, damage) in (1..).zip(DAMAGES) {
        for (step, size) in [(0, 5_000), (100, 2 * PART + 77)] {
            let kept = yard.keep(&image("lost", number + step), pattern(size, number + step), b"");
            match damage(&kept, &other) {
                None => yard.foreign.delete(&kept.sidecar_key),
                Some(bytes) => yard.foreign.put(&kept.sidecar_key, &bytes, &[]),
            }
            images.push(kept);
        }
    }
    images
}

/// All of the old sidecar is in the new one. Servers that know the parts' CRCs do not tell the ETags that they had.
fn assert_rebuilt(yard: &Yard, images: &[Kept], etags: bool) {
    assert_eq!(yard.findings(Level::Deep), []);
    for image in images {
        yard.assert_restores(image);
        let now = yard.foreign.get_json(&image.sidecar_key);
        for field in ["image", "data", "crc64nvme", "created"] {
            assert_eq!(now[field], image.record[field], "{field} of {}", image.name);
        }
        assert_eq!(
            parts(&now, etags),
            parts(&image.record, etags),
            "parts of {}",
            image.name
        );
        assert!(now["rebuilt"].is_string(), "{now}");
    }
    // What was there before is kept: all but those that were deleted.
    let replaced = yard.foreign.list("replaced/").len();
    assert_eq!(replaced, images.len() - 2);
}

fn sidecars_are_rebuilt_from_the_bytes_where_the_server_knows_no_crcs(wish: &Wish) {
    let yard = Yard::new(&wish.with(MD5));
    let images = damaged(&yard);
    let before = yard.foreign.list("");
    let refused = repair(&yard, &["--yes"], 1);
    let actions = refused["actions"].as_array().unwrap();
    assert_eq!(actions.len(), images.len());
    for action in actions {
        let detail = action["detail"].as_str().unwrap();
        assert!(
            action["outcome"] == "failed" && detail.contains("run repair with --deep"),
            "{action}"
        );
    }
    assert_eq!(yard.foreign.list(""), before);
    repair(&yard, &["--yes", "--deep"], 0);
    assert_rebuilt(&yard, &images, true);
}

#[cfg(feature = "minio-tests")]
#[test]
fn sidecars_are_rebuilt_without_reading_where_the_server_knows_the_crcs() {
    let yard = Yard::new(
        &Wish {
            minio: true,
            ..Wish::default()
        }
        .with(super::CRC),
    );
    let images = damaged(&yard);
    repair(&yard, &["--yes"], 0);
    assert_rebuilt(&yard, &images, false);
}

fn parts(record: &Value, etags: bool) -> Value {
    let mut parts = record["parts"].clone();
    if !etags {
        parts
            .as_array_mut()
            .unwrap()
            .iter_mut()
            .for_each(|part| part["etag"] = Value::Null);
    }
    parts
}

fn a_good_sidecar_is_never_touched(wish: &Wish) {
    let yard = Yard::new(wish);
    let images: Vec<_> = (1..=3)
        .map(|number| yard.keep(&image("good", number), pattern(900, number), b"m"))
        .collect();
    let lost = yard.keep(&image("lost", 4), pattern(900, 4), b"");
    yard.foreign.delete(&lost.sidecar_key);
    let before = yard.foreign.list("");
    repair(&yard, &["--yes", "--deep"], 0);
    let mut after = yard.foreign.list("");
    assert!(after.remove(&lost.sidecar_key).is_some());
    assert_eq!(after, before);
    assert_eq!(repair(&yard, &["--yes", "--deep"], 0)["actions"], json!([]));
    images
        .iter()
        .chain([&lost])
        .for_each(|image| yard.assert_restores(image));
}

fn repair_without_yes_changes_nothing(wish: &Wish) {
    let yard = Yard::new(&wish.with(MD5));
    let images = damaged(&yard);
    let before = yard.foreign.list("");
    let planned = repair(&yard, &["--deep"], 0);
    assert_eq!(planned["dry_run"], true);
    let actions = planned["actions"].as_array().unwrap();
    assert!(
        actions.len() == images.len() && actions.iter().all(|action| action["outcome"] == "planned"),
        "{planned}"
    );
    assert_eq!(yard.foreign.list(""), before);
}

fn a_half_done_delete_is_finished(wish: &Wish) {
    let yard = Yard::new(wish);
    let before = yard.foreign.list("");
    let mut image = yard.keep(&image("gone", 1), pattern(900, 1), &pattern(100_000, 2));
    image.record["state"] = "deleting".into();
    yard.foreign.put(&image.sidecar_key, &text(&image), &[]);
    // The delete came as far as the data.
    yard.foreign.delete(&image.data_key);
    let done = repair(&yard, &["--yes"], 0);
    assert_eq!(done["actions"][0]["class"], "delete-unfinished");
    assert_eq!(yard.foreign.list(""), before);
}

/// The pending record that the writer of `image` had just before the sidecar, if it had died there.
fn closing(image: &Kept) -> (String, Value) {
    let attempt = image.data_key.rsplit('.').nth(1).unwrap();
    let mut writer = image.record["writer"].clone();
    // Another process than the one that has this number now, on the same host: known to be dead.
    writer["process"] = format!("{}1", writer["process"].as_str().unwrap()).into();
    let record = json!({
        "schema": 1, "state": "writing", "closing": "complete", "attempt": attempt, "key": image.data_key,
        "image": image.record["image"], "sent": image.record["parts"], "lease_seconds": 600,
        "created": image.record["created"], "started": image.record["created"], "writer": writer,
    });
    (format!("pending/{}.{attempt}.json", place(&image.def)), record)
}

fn an_image_whose_writer_died_while_it_completed_it_is_completed(wish: &Wish) {
    let yard = Yard::new(wish);
    let image = yard.keep(&image("late", 1), pattern(2 * PART + 7, 1), b"");
    let (key, record) = closing(&image);
    yard.foreign.put(&key, &serde_json::to_vec(&record).unwrap(), &[]);
    yard.foreign.delete(&image.sidecar_key);
    let stale: Vec<_> = yard
        .findings(Level::Default)
        .into_iter()
        .map(|seen| (seen.class, seen.key))
        .collect();
    assert_eq!(stale, [(Class::PendingStale, Some(key))]);
    let done = repair(&yard, &["--yes"], 0);
    assert_eq!(done["actions"][0]["outcome"], "done");
    assert_eq!(yard.findings(Level::Deep), []);
    yard.assert_restores(&image);
    assert_eq!(
        yard.foreign.get_json(&image.sidecar_key)["parts"],
        image.record["parts"]
    );
    assert!(yard.foreign.list("pending/").is_empty());
}

fn data_whose_metadata_do_not_fit_are_refused(wish: &Wish) {
    let yard = Yard::new(wish);
    let others: [Change; 2] = [
        |metadata| set(metadata, "basename", "lost_1795305699_C1_F1"),
        |metadata| set(metadata, "schema", "2"),
    ];
    for (number, change) in (1..).zip(others) {
        let kept = yard.keep(&image("lost", number), pattern(900, number), b"");
        let mut metadata = yard.foreign.metadata(&kept.data_key);
        change(&mut metadata);
        yard.foreign.put(&kept.data_key, &kept.data, &metadata);
        yard.foreign.delete(&kept.sidecar_key);
    }
    let before = yard.foreign.list("");
    let refused = repair(&yard, &["--yes", "--deep"], 1);
    let actions = refused["actions"].as_array().unwrap();
    assert_eq!(actions.len(), others.len());
    for action in actions {
        let detail = action["detail"].as_str().unwrap();
        assert!(
            action["outcome"] == "failed" && detail.contains("the metadata of backups/"),
            "{action}"
        );
    }
    assert_eq!(yard.foreign.list(""), before);
}

fn set(metadata: &mut [(String, String)], name: &str, value: &str) {
    let name = format!("x-amz-meta-vastost-{name}");
    let (_, old) = metadata.iter_mut().find(|(have, _)| *have == name).unwrap();
    *old = value.into();
}

/// Copies and gateways lose an object's own metadata: key and bytes are enough, and policy and type are not known any more.
fn data_without_metadata_are_what_their_key_says(wish: &Wish) {
    let yard = Yard::new(wish);
    let kept = yard.keep(&image("lost", 1), pattern(900, 1), b"");
    yard.foreign.put(&kept.data_key, &kept.data, &[]);
    assert_eq!(yard.verify(&[]).0, 0, "a copy without metadata is a warning");
    yard.foreign.delete(&kept.sidecar_key);
    repair(&yard, &["--yes", "--deep"], 0);
    yard.assert_restores(&kept);
    let now = yard.foreign.get_json(&kept.sidecar_key);
    assert_eq!(
        (&now["crc64nvme"], &now["image"]["policy"]),
        (&kept.record["crc64nvme"], &json!(""))
    );
}

/// A copy under another attempt's key: nobody can tell which of the two was completed.
fn of_several_data_objects_none_is_taken_for_the_image(wish: &Wish) {
    let yard = Yard::new(wish);
    let kept = yard.keep(&image("lost", 1), pattern(900, 1), b"");
    let copy = format!("backups/{}.00112233445566ff.nbk", place(&kept.def));
    yard.foreign
        .put(&copy, &pattern(900, 2), &yard.foreign.metadata(&kept.data_key));
    yard.foreign.delete(&kept.sidecar_key);
    let refused = repair(&yard, &["--yes", "--deep"], 1);
    for action in refused["actions"].as_array().unwrap() {
        let detail = action["detail"].as_str().unwrap();
        assert!(
            detail.contains("several data objects") && detail.contains(&copy),
            "{action}"
        );
    }
    assert!(yard.foreign.list("catalog/").is_empty());
    // A person removes the wrong one.
    yard.foreign.delete(&copy);
    repair(&yard, &["--yes", "--deep"], 0);
    yard.assert_restores(&kept);
}

fn a_sidecar_of_a_later_version_is_left_to_that_version(wish: &Wish) {
    let yard = Yard::new(wish);
    let mut image = yard.keep(&image("later", 1), pattern(900, 1), b"");
    image.record["schema"] = 2.into();
    yard.foreign.put(&image.sidecar_key, &text(&image), &[]);
    let before = yard.foreign.list("");
    let refused = repair(&yard, &["--yes", "--deep"], 1);
    let detail = refused["actions"][0]["detail"].as_str().unwrap();
    assert!(detail.contains("has schema 2, this version reads 1"), "{refused}");
    assert_eq!(yard.foreign.list(""), before);
}

fn metadata_that_had_an_object_of_their_own_are_found_again(wish: &Wish) {
    let yard = Yard::new(wish);
    let image = yard.keep(&image("lost", 1), pattern(900, 1), &pattern(100_000, 2));
    yard.foreign.delete(&image.sidecar_key);
    repair(&yard, &["--yes", "--deep"], 0);
    assert_eq!(yard.foreign.get_json(&image.sidecar_key)["meta"], image.record["meta"]);
    assert_eq!(yard.findings(Level::Deep), []);
}

fn the_etag_of_a_copy_is_recorded_when_every_byte_is_right(wish: &Wish) {
    let yard = Yard::new(wish);
    let data = pattern(2 * PART + 77, 1);
    let copied = yard.keep(&image("copy", 1), data.clone(), b"");
    let damaged = yard.keep(&image("copy", 2), data, b"");
    let mut other = copied.data.clone();
    other[PART] ^= 1;
    // Put again in one piece: the same size and metadata, another ETag.
    for (image, bytes) in [(&copied, &copied.data), (&damaged, &other)] {
        let headers: Vec<_> = yard.foreign.metadata(&image.data_key);
        yard.foreign.put(&image.data_key, bytes, &headers);
    }
    let told = repair(&yard, &["--yes"], 1).to_string();
    assert_eq!(told.matches("run repair with --deep").count(), 2, "{told}");
    let actions = repair(&yard, &["--yes", "--deep"], 1)["actions"].clone();
    let outcome = |image: &Kept| {
        let action = actions
            .as_array()
            .unwrap()
            .iter()
            .find(|action| action["key"] == image.data_key.as_str());
        action.unwrap()["outcome"].clone()
    };
    assert_eq!((outcome(&copied), outcome(&damaged)), (json!("done"), json!("failed")));
    let seen = yard.findings(Level::Deep);
    assert!(
        !seen.is_empty()
            && seen
                .iter()
                .all(|finding| format!("{finding:?}").contains(&damaged.name)),
        "{seen:?}"
    );
    yard.assert_restores(&copied);
    assert_eq!(yard.foreign.list("replaced/").len(), 1);
}
