use super::*;
use crate::catalog::escape::Name;
use crate::catalog::image_id::ImageId;
use proptest::prelude::*;

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
    let object = ObjectInfo { size: sizes.iter().sum(), etag: "e-2".into(), ..ObjectInfo::default() };
    Sidecar {
        schema: SCHEMA,
        state: ImageState::Complete,
        image: ImageDef {
            id: ImageId::new(Name::new("db01_1795305600_C1_F1"), 1_795_305_600).unwrap(),
            policy: Name::new(policy),
            image_type: 4,
        },
        content: Content::new("backups/x.nbk", &object, &parts),
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
    let schema: Value = serde_json::from_str(include_str!("../../docs/sidecar.schema.json")).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let mut value = serde_json::to_value(sidecar(&[5, 7], b"daily")).unwrap();
    let errors: Vec<_> = validator.iter_errors(&value).map(|e| e.to_string()).collect();
    assert!(errors.is_empty(), "{errors:?}");
    value["parts"][0]["crc64nvme"] = Value::from("xyz");
    assert!(!validator.is_valid(&value));
}

#[test]
fn records_that_no_reader_could_work_with_are_refused() {
    let key = "catalog/x.json";
    let good = serde_json::to_value(sidecar(&[5, 7], b"")).unwrap();
    let damage: [(&str, Value, &str); 5] = [
        ("/parts/1/offset", 6.into(), "lies at offset 6"),
        ("/data/size", 13.into(), "parts cover 12 bytes of 13"),
        ("/crc64nvme", "0000000000000000".into(), "CRCs"),
        ("/schema", 2.into(), "schema 2"),
        ("/image/basename", "a b".into(), "escaping"),
    ];
    for (pointer, value, why) in damage {
        let mut bad = good.clone();
        *bad.pointer_mut(pointer).unwrap() = value;
        let error = parse_sidecar(key, bad.to_string().as_bytes()).unwrap_err().to_string();
        assert!(error.contains(key) && error.contains(why), "{pointer}: {error}");
    }
    assert_eq!(parse_sidecar(key, b"{\"schema\":1").unwrap_err().kind(), Kind::Corrupt);
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
        let key = "catalog/x.json";
        prop_assert_eq!(&parse_sidecar(key, value.to_string().as_bytes()).unwrap(), &before);
        let rewritten = rewrite(key, value.to_string().as_bytes(), [("state", Some(Value::from("deleting")))]).unwrap();
        let after = parse_sidecar(key, &rewritten).unwrap();
        prop_assert_eq!(after.state, ImageState::Deleting);
        let after: Value = serde_json::from_slice(&rewritten).unwrap();
        prop_assert_eq!(&after[&field], &value[&field]);
        prop_assert_eq!(&after["image"], &value["image"]);
    }
}
