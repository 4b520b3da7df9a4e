use std::os::unix::fs::PermissionsExt;

use super::*;

const ALL: Capabilities = Capabilities {
    crc64nvme: true,
    content_md5: true,
    etag_is_md5: true,
    composite_etag: true,
    etag_changes: true,
    conditional_put: true,
    user_metadata: true,
};

fn buckets() -> (tempfile::TempDir, Buckets) {
    let folder = tempfile::tempdir().unwrap();
    let buckets = Buckets::new("http://vast:9000".into(), &folder.path().join("state"));
    (folder, buckets)
}

fn save_at(buckets: &Buckets, probed: u64) {
    let endpoint = buckets.endpoint.clone();
    let bucket = "one".to_owned();
    let record = Record {
        format: FORMAT,
        endpoint,
        bucket,
        probed,
        capabilities: ALL,
    };
    write_file(&buckets.file(&"one".into(), RECORD), &record).unwrap();
}

#[test]
fn what_is_known_of_a_bucket_counts_for_no_other_one() {
    let (_folder, buckets) = buckets();
    buckets.save(&"one".into(), ALL);
    let load = |bucket: &str| buckets.load(&bucket.into()).map(|known| known.capabilities);
    assert_eq!((load("one"), load("two")), (Some(ALL), None));
    let other = Buckets::new("http://vast:9001".into(), &buckets.state_dir);
    assert_eq!(other.load(&"one".into()), None);
    buckets.discard(&"one".into());
    assert_eq!(buckets.load(&"one".into()), None);
}

#[test]
fn what_is_a_week_old_or_of_the_future_is_asked_again() {
    let (_folder, buckets) = buckets();
    for (probed, known) in [
        (now(), true),
        (now() - VALID.as_secs(), false),
        (now() + 100, false),
        (u64::MAX, false),
    ] {
        save_at(&buckets, probed);
        assert_eq!(buckets.load(&"one".into()).is_some(), known, "{probed}");
    }
}

#[test]
fn a_process_that_lives_on_asks_again_when_the_week_is_over() {
    let (_folder, buckets) = buckets();
    save_at(&buckets, now() - VALID.as_secs() + 10);
    let loaded = buckets.load(&"one".into()).unwrap();
    let bucket = BucketState::default();
    // What came from a file is not good for another week.
    assert!(loaded.until <= Instant::now() + Duration::from_secs(10));
    for (known, valid) in [(loaded, Some(ALL)), (Known::good_for(Duration::ZERO, ALL), None)] {
        *bucket.lock() = Some(known);
        assert_eq!(bucket.valid(), valid);
    }
}

#[test]
fn files_of_another_form_and_links_are_not_read() {
    let (folder, buckets) = buckets();
    buckets.save(&"one".into(), ALL);
    let file = buckets.file(&"one".into(), RECORD);
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o644);
    let old = r#"{"endpoint":"http://vast:9000","probed":1,"capabilities":{"crc64nvme":true,"etag_is_md5":true,"conditional_put":true}}"#;
    for text in [old, "", "{}", "null"] {
        std::fs::write(&file, text).unwrap();
        assert_eq!(buckets.load(&"one".into()), None, "{text}");
    }
    buckets.save(&"one".into(), ALL);
    let elsewhere = folder.path().join("elsewhere");
    std::fs::rename(&file, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &file).unwrap();
    assert_eq!(buckets.load(&"one".into()), None);
    // Saving leaves the link and what it names alone: each process probes for itself until somebody removes it.
    buckets.save(&"one".into(), Capabilities::default());
    assert_eq!(buckets.load(&"one".into()), None);
    assert!(
        std::fs::read_to_string(elsewhere)
            .unwrap()
            .contains("\"crc64nvme\":true")
    );
}

#[tokio::test]
async fn a_bucket_is_probed_by_one_process_at_a_time() {
    let (_folder, buckets) = buckets();
    let held = buckets.lock(&"one".into()).await;
    assert!(held.is_some() && buckets.lock(&"two".into()).await.is_some());
    let waits = tokio::time::timeout(3 * LOCK_POLL, buckets.lock(&"one".into())).await;
    assert!(waits.is_err());
    drop(held);
    assert!(buckets.lock(&"one".into()).await.is_some());
}
