use serde_json::{Value, json};

use super::*;

fn full() -> Report {
    let count = Count { images: 3, bytes: 4096 };
    let states = States {
        good: count,
        damaged: count,
        pending: count,
        deleting: count,
    };

    let lsu = LsuSummary {
        bucket: "nightly".into(),
        prefix: "site/".into(),
        states,
        foreign_keys: 1,
        foreign_named: vec!["catalog/readme.txt".into()],
        rebuilt: 0,
        unrecorded: 2,
        elsewhere: true,
        list_requests: 2,
        bytes_read: 8192,
        days: BTreeMap::from([("20261122".into(), states)]),
        notes: vec!["uploads may not be listed".into()],
    };

    let selection = Selection {
        client: Some("db01".into()),
        image: Some("db01_".into()),
        since: Some(1),
        until: Some(2),
        shard: Some("1/2".into()),
        against: Some("images.txt".into()),
    };

    let summary = Summary {
        tool: "vastost-s3 0.1.0".into(),
        server: "vast1".into(),
        endpoint: "https://s3.vast1.example.com".into(),
        level: Level::Deep,
        selection,
        started: "2026-11-22T00:00:00Z".into(),
        finished: "2026-11-22T00:00:01.5Z".into(),
        seconds: 1.5,
        lsus: BTreeMap::from([("nightly".into(), lsu)]),
        ..Summary::default()
    };

    let finding = |class: Class| Finding {
        class,
        severity: class.severity(),
        lsu: "nightly".into(),
        image: Some("db01_1795305600_C1_F1:1795305600".into()),
        key: Some("site/backups/x.nbk".into()),
        expected: "4096 bytes".into(),
        found: "nothing".into(),
        advice: "look".into(),
    };

    let mut report = Report {
        schema: 0,
        summary,
        findings: Class::ALL.map(finding).to_vec(),
    };
    report.seal();
    report
}

fn validator() -> jsonschema::Validator {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/user/verify-report.schema.json");
    let schema: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    jsonschema::validator_for(&schema).unwrap()
}

#[test]
fn reports_are_what_the_schema_describes() {
    let validator = validator();
    for report in [
        full(),
        Report {
            schema: 1,
            summary: times(),
            findings: Vec::new(),
        },
    ] {
        let json = serde_json::to_value(&report).unwrap();
        let errors: Vec<_> = validator.iter_errors(&json).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{errors:?}");
        assert_eq!(serde_json::from_value::<Report>(json).unwrap(), report);
    }
}

fn times() -> Summary {
    let time = || "2026-11-22T00:00:00Z".to_string();
    Summary {
        started: time(),
        finished: time(),
        ..Summary::default()
    }
}

#[test]
fn the_schema_refuses_what_is_no_report() {
    let validator = validator();
    let good = serde_json::to_value(full()).unwrap();
    for (path, value) in [
        ("/schema", json!(2)),
        ("/summary/level", json!("thorough")),
        ("/summary/started", json!("yesterday")),
        ("/summary/errors", json!(-1)),
        ("/summary/classes", json!({ "odd": 1 })),
        ("/summary/selection/shard", json!("0/2")),
        ("/summary/lsus/nightly/good", json!({ "images": 1 })),
        ("/summary/lsus/nightly/days", json!({ "2026-11-22": null })),
        ("/findings/0/class", json!("odd")),
        ("/findings/0/severity", json!("fatal")),
        ("/findings/0/image", json!(1)),
    ] {
        let mut bad = good.clone();
        *bad.pointer_mut(path).unwrap() = value;
        assert!(!validator.is_valid(&bad), "{path}");
    }

    for (object, field) in [
        ("", "findings"),
        ("/summary", "lsus"),
        ("/findings/0", "advice"),
        ("/summary/lsus/nightly", "days"),
    ] {
        let mut bad = good.clone();
        bad.pointer_mut(object)
            .unwrap()
            .as_object_mut()
            .unwrap()
            .remove(field)
            .unwrap();
        assert!(!validator.is_valid(&bad), "{object} without {field}");
    }
}

#[test]
fn classes_have_one_name_in_text_and_json() {
    for class in Class::ALL {
        assert_eq!(serde_json::to_value(class).unwrap(), json!(class.name()));
    }
}

#[test]
fn every_class_has_a_section_in_the_handbook() {
    let handbook = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/user/verify.md")).unwrap();
    for class in Class::ALL {
        let heading = format!("\n### {}\n", class.name());
        let severity = class.severity();
        let (_, section) = handbook
            .split_once(&heading)
            .unwrap_or_else(|| panic!("no section {}", class.name()));
        assert!(
            section.starts_with(&format!("{severity:?}")),
            "{} is of severity {severity:?}",
            class.name()
        );
    }
}
