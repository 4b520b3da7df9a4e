use serde_json::{Value, json};
use vastost::catalog::audit::report::Level;

use super::{Yard, flags, report_of, seen};
use vastost_testkit::test_store::{PART, Wish, image, pattern};

/// What an auditor needs: to list, and to read all objects but those that are hidden.
pub fn reader(bucket: &str, hidden: &[&str]) -> Value {
    let objects =
        |keys: &[&str]| -> Vec<String> { keys.iter().map(|key| format!("arn:aws:s3:::{bucket}/{key}")).collect() };
    let mut statements = vec![
        json!({ "Effect": "Allow", "Action": ["s3:ListBucket", "s3:ListBucketMultipartUploads"],
                "Resource": [format!("arn:aws:s3:::{bucket}")] }),
        json!({ "Effect": "Allow", "Action": ["s3:GetObject", "s3:ListMultipartUploadParts"], "Resource": objects(&["*"]) }),
    ];
    if !hidden.is_empty() {
        statements.push(json!({ "Effect": "Deny", "Action": ["s3:GetObject"], "Resource": objects(hidden) }));
    }
    json!({ "Version": "2012-10-17", "Statement": statements })
}

/// The same without the right to list uploads.
fn without_uploads(bucket: &str) -> Value {
    let mut policy = reader(bucket, &[]);
    policy["Statement"][0]["Action"] = json!(["s3:ListBucket"]);
    policy
}

fn yard() -> Yard {
    let yard = Yard::new(&Wish {
        minio: true,
        ..Wish::default()
    });
    yard.keep(&image("small", 1), pattern(1_000, 1), b"");
    yard.keep(&image("large", 2), pattern(2 * PART + 5, 2), &pattern(100_000, 3));
    yard.foreign.begin_upload(&format!(
        "backups/{}.00112233445566ff.nbk",
        super::place(&image("up", 3))
    ));
    yard
}

#[test]
fn a_readers_keys_are_enough_for_every_level_and_can_change_nothing() {
    let yard = yard();
    let keys = yard.foreign.assume_role(&reader(&yard.site.bucket, &[]));
    let before = yard.foreign.list("");
    for level in [Level::Quick, Level::Default, Level::Deep] {
        let args = [&["--json", "verify", "main", "--older-than", "0s"], flags(level)].concat();
        let (code, report) = report_of(yard.run_as(&keys, &args));
        assert_eq!((code, seen(&report)), (0, yard.findings(level)), "{level:?}");
        assert_eq!(report.summary.lsus["main"].states.good.images, 2);
        assert_eq!(report.summary.lsus["main"].notes, [""; 0]);
    }
    assert_eq!(yard.foreign.list(""), before);
    // The keys are those of a reader indeed: with them nothing can be removed.
    let refused = yard
        .run_as(&keys, &["gc", "main", "--older-than", "0s", "--yes"])
        .expect(1);
    assert!(refused.text().contains("AccessDenied"), "{}", refused.text());
    assert_eq!(yard.foreign.uploads().len(), 1);
}

#[test]
fn without_the_right_to_list_uploads_there_is_a_note_and_no_failure() {
    let yard = yard();
    let keys = yard.foreign.assume_role(&without_uploads(&yard.site.bucket));
    let (code, report) = report_of(yard.run_as(&keys, &["--json", "verify", "main", "--older-than", "0s"]));
    assert_eq!((code, seen(&report)), (0, vec![]));
    let notes = &report.summary.lsus["main"].notes;
    assert_eq!(
        *notes,
        ["unfinished uploads were not looked for: these keys may not list them"]
    );
    assert!(!report.summary.interrupted);
}
