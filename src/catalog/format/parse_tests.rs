use proptest::prelude::*;
use serde_json::{Map, Value};

use super::*;
use crate::catalog::format::escape::Name;
use crate::catalog::format::image_id::ImageDef;
use crate::catalog::format::record::*;
use crate::engine::checksum::Crc64;
use crate::objstore::s3::types::{ObjectInfo, SentPart};

fn id() -> ImageId {
    ImageId::new(Name::new("db01_1795305600_C1_F1"), 1_795_305_600).unwrap()
}

fn read(bytes: &[u8]) -> Result<Sidecar> {
    parse_sidecar(&Keys::new(""), &id(), bytes)
}

fn sidecar(sizes: &[u64], policy: &[u8]) -> Sidecar {
    let parts: Vec<SentPart> = (1..)
        .zip(sizes)
        .map(|(number, size)| SentPart {
            number,
            size: *size,
            etag: format!("{number:032x}"),
            crc64: Crc64(u64::from(number) << 40 | size),
        })
        .collect();
    let object = ObjectInfo {
        size: sizes.iter().sum(),
        etag: "e-2".into(),
        ..ObjectInfo::default()
    };
    Sidecar {
        schema: SCHEMA,
        state: ImageState::Complete,
        image: ImageDef {
            id: id(),
            policy: Name::new(policy),
            image_type: 4,
        },
        content: Content::new(&Keys::new("").data(&id(), &Attempt::new()), &object, &parts),
        meta: None,
        created: now_text(),
        completed: now_text(),
        writer: Writer::this(),
        rebuilt: None,
        retention: None,
    }
}

#[test]
fn sidecars_are_valid_by_the_published_schema() {
    let schema: Value = serde_json::from_str(include_str!("../../../docs/user/sidecar.schema.json")).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let mut value = serde_json::to_value(sidecar(&[5, 7], b"daily")).unwrap();
    let errors: Vec<_> = validator.iter_errors(&value).map(|e| e.to_string()).collect();
    assert!(errors.is_empty(), "{errors:?}");
    value["parts"][0]["crc64nvme"] = Value::from("xyz");
    assert!(!validator.is_valid(&value));
}

#[test]
fn records_that_no_reader_could_work_with_are_refused() {
    let key = Keys::new("").sidecar(&id());
    let good = serde_json::to_value(sidecar(&[5, 7], b"")).unwrap();
    let damage: [(&str, Value, &str); 7] = [
        ("/parts/1/offset", 6.into(), "lies at offset 6"),
        ("/data/size", 13.into(), "parts cover 12 bytes of 13"),
        ("/crc64nvme", "0000000000000000".into(), "CRCs"),
        ("/schema", 2.into(), "schema 2"),
        ("/image/basename", "a b".into(), "escaping"),
        ("/image/date", 1.into(), "it describes image"),
        (
            "/data/key",
            "backups/db02/20261122/db02_1_C1_F1.1.0123456789abcdef.nbk".into(),
            "not of this image",
        ),
    ];

    for (pointer, value, why) in damage {
        let mut bad = good.clone();
        *bad.pointer_mut(pointer).unwrap() = value;
        let error = read(bad.to_string().as_bytes()).unwrap_err().to_string();
        assert!(error.contains(&key) && error.contains(why), "{pointer}: {error}");
    }

    assert_eq!(read(b"{\"schema\":1").unwrap_err().kind(), Kind::Corrupt);
}

#[test]
fn a_record_of_a_newer_version_is_one_whatever_else_is_in_it() {
    let values = "0,".repeat(300_000);
    for text in [
        "{\"schema\":2}".to_owned(),
        "{\"schema\":4294967297}".into(),
        "{\"schema\":1e30}".into(),
        "{\"schema\":1.5}".into(),
        format!("{{\"many\":[{values}0],\"schema\":2}}"),
    ] {
        assert_eq!(
            read(text.as_bytes()).unwrap_err().kind(),
            Kind::Unsupported,
            "{:.40}",
            text
        );
    }

    for text in [
        "{\"schema\":0}",
        "{\"schema\":-1}",
        "{\"schema\":\"2\"}",
        "{}",
        "{\"schema\":1,\"schema\":2}",
    ] {
        assert_eq!(read(text.as_bytes()).unwrap_err().kind(), Kind::Corrupt, "{text}");
    }

    assert_eq!(
        read(format!("{{\"schema\":1,\"many\":[{values}0]}}").as_bytes())
            .unwrap_err()
            .kind(),
        Kind::Corrupt
    );
}

#[test]
fn a_record_of_a_copied_lsu_is_read_and_rewritten_with_the_keys_of_where_it_lies() {
    let there = Keys::new("copy/of/");
    let text = serde_json::to_vec(&sidecar(&[5], b"")).unwrap();
    let read = parse_sidecar(&there, &id(), &text).unwrap();
    assert!(
        read.content
            .data
            .key
            .starts_with("copy/of/backups/db01/20261122/db01_1795305600_C1_F1.1795305600.")
    );
    let rewritten = rewrite(&read, &text, [("state", Some(Value::from("deleting")))]).unwrap();
    let value: Value = serde_json::from_slice(&rewritten).unwrap();
    assert_eq!(value["data"]["key"], Value::from(read.content.data.key));
}

/// The record of an attempt that was closed incomplete.
fn pending(keys: &Keys, attempt: &Attempt) -> Pending {
    let whole = sidecar(&[5, 7], b"");
    let mut content = whole.content.clone();
    content.data.key = keys.data(&id(), attempt);
    Pending {
        schema: SCHEMA,
        state: PendingState::Incomplete,
        image: whole.image,
        attempt: attempt.clone(),
        key: keys.data(&id(), attempt),
        upload_id: None,
        sent: content.parts.clone(),
        closing: None,
        lease_seconds: 600,
        content: Some(content),
        meta: None,
        created: now_text(),
        started: now_text(),
        writer: Writer::this(),
        other: Map::new(),
    }
}

#[test]
fn a_pending_record_speaks_for_its_own_attempt_alone() {
    let keys = Keys::new("");
    let attempt = Attempt::new();
    let other = Attempt::new();
    let pending = pending(&keys, &attempt);
    let good = serde_json::to_value(&pending).unwrap();
    let parse = |value: &Value, attempt: &Attempt| parse_pending(&keys, &id(), attempt, value.to_string().as_bytes());
    let refusal = |value: &Value, attempt: &Attempt| parse(value, attempt).unwrap_err().to_string();
    assert_eq!(parse(&good, &attempt).unwrap(), pending);
    assert!(refusal(&good, &other).contains("it describes attempt"));

    let foreign = Value::from(keys.data(&id(), &other));
    for pointer in ["/key", "/content/data/key"] {
        let mut bad = good.clone();
        *bad.pointer_mut(pointer).unwrap() = foreign.clone();
        assert!(refusal(&bad, &attempt).contains("another attempt"), "{pointer}");
    }

    let mut bad = good;
    bad["meta"] = serde_json::json!({ "key": keys.meta(&id(), &other), "size": 1, "crc64nvme": "0000000000000000" });
    assert!(refusal(&bad, &attempt).contains("metadata of another attempt"));
    bad["meta"]["key"] = keys.meta(&id(), &attempt).into();
    assert!(parse(&bad, &attempt).is_ok());
}

#[test]
fn a_damaged_pending_record_is_refused_a_newer_kept() {
    let keys = Keys::new("");
    let attempt = Attempt::new();
    let good = serde_json::to_value(pending(&keys, &attempt)).unwrap();
    let parse = |value: &Value| parse_pending(&keys, &id(), &attempt, value.to_string().as_bytes());

    for (edit, why) in [
        (
            r#"{"closing":"complete","upload_id":"u","sent":[]}"#,
            "an upload without parts",
        ),
        (r#"{"clOsing":"complete"}"#, "looks like a damaged closing"),
        (r#"{"contenT":{},"content":null}"#, "looks like a damaged content"),
    ] {
        let mut bad = good.clone();
        let edit: Map<String, Value> = serde_json::from_str(edit).unwrap();
        bad.as_object_mut().unwrap().extend(edit);
        assert!(parse(&bad).unwrap_err().to_string().contains(why), "{why}");
    }

    let mut newer = good.clone();
    newer["protocol"] = "nfs".into();
    let kept = serde_json::to_value(parse(&newer).unwrap()).unwrap();
    assert_eq!(kept["protocol"], "nfs", "what this version does not know survives");

    let mut bad = good;
    *bad.pointer_mut("/sent/1/size").unwrap() = Value::from(u64::MAX);
    assert!(parse(&bad).unwrap_err().to_string().contains("64 bits"));
}

proptest! {
    #[test]
    fn sidecars_round_trip_and_keep_unknown_fields_over_a_rewrite(
        sizes in proptest::collection::vec(1u64..1 << 40, 0..20),
        policy in proptest::collection::vec(1u8.., 0..20),
        unknown in "[a-z]{1,8}",
    ) {
        let before = sidecar(&sizes, &policy);
        let mut value = serde_json::to_value(&before).unwrap();
        let field = format!("x-{unknown}");
        value[&field] = Value::from(unknown.clone());
        value["image"][&field] = Value::from(unknown);
        prop_assert_eq!(&read(value.to_string().as_bytes()).unwrap(), &before);
        let rewritten = rewrite(&before, value.to_string().as_bytes(), [("state", Some(Value::from("deleting")))]);
        let rewritten = rewritten.unwrap();
        let after = read(&rewritten).unwrap();
        prop_assert_eq!(after.state, ImageState::Deleting);
        let after: Value = serde_json::from_slice(&rewritten).unwrap();
        prop_assert_eq!(&after[&field], &value[&field]);
        prop_assert_eq!(&after["image"], &value["image"]);
    }
}
