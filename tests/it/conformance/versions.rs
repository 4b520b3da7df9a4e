//! Buckets that keep versions, as the SDK sees them.

use aws_sdk_s3::types::BucketVersioningStatus;

use super::on_every_server;
use crate::sdk::{Sdk, refused};
use vastost_testkit::test_store::{Site, Wish};

on_every_server!(
    each_put_makes_a_version_and_each_can_be_read,
    a_delete_makes_a_marker_and_a_marker_can_be_removed,
    a_removed_version_leaves_the_others,
    versions_are_listed_newest_first_in_pages,
    a_suspended_bucket_has_one_null_version_beside_the_old_ones,
    a_bucket_without_versions_has_null_versions,
);

/// Key, version id, whether it is a marker, whether it is the latest; as the list has them, versions before markers of a key
/// whose times are the same.
fn listed(sdk: &Sdk, prefix: &str) -> Vec<(String, String, bool, bool)> {
    let list = sdk
        .run(
            sdk.client
                .list_object_versions()
                .bucket(&sdk.bucket)
                .prefix(prefix)
                .send(),
        )
        .unwrap();
    assert_eq!(list.is_truncated(), Some(false));
    let own = |text: Option<&str>| text.unwrap_or_default().to_owned();
    let versions = list.versions().iter();
    let versions = versions.map(|v| {
        (
            own(v.key()),
            own(v.version_id()),
            false,
            v.is_latest().unwrap_or_default(),
        )
    });
    let markers = list.delete_markers().iter();
    let markers = markers.map(|m| {
        (
            own(m.key()),
            own(m.version_id()),
            true,
            m.is_latest().unwrap_or_default(),
        )
    });
    versions.chain(markers).collect()
}

fn each_put_makes_a_version_and_each_can_be_read(wish: &Wish) {
    let site = Site::new(wish);
    let sdk = Sdk::with_versions(&site);
    let ids: Vec<_> = ["one", "two", "three"]
        .iter()
        .map(|text| sdk.put("a", text.as_bytes()))
        .collect();
    assert_eq!(sdk.get("a", None).unwrap(), b"three");
    for (id, text) in ids.iter().zip(["one", "two", "three"]) {
        assert_eq!(sdk.get("a", Some(id)).unwrap(), text.as_bytes());
        let head = sdk
            .run(
                sdk.client
                    .head_object()
                    .bucket(&sdk.bucket)
                    .key("a")
                    .version_id(id)
                    .send(),
            )
            .unwrap();
        assert_eq!(
            (head.version_id(), head.content_length()),
            (Some(id.as_str()), Some(text.len() as i64))
        );
    }
    let shown: Vec<_> = listed(&sdk, "")
        .into_iter()
        .map(|(_, id, marker, latest)| (id, marker, latest))
        .collect();
    let newest_first: Vec<_> = ids.iter().rev().cloned().zip([true, false, false]).collect();
    assert_eq!(
        shown,
        newest_first
            .into_iter()
            .map(|(id, latest)| (id, false, latest))
            .collect::<Vec<_>>()
    );
}

fn a_delete_makes_a_marker_and_a_marker_can_be_removed(wish: &Wish) {
    let site = Site::new(wish);
    let sdk = Sdk::with_versions(&site);
    let id = sdk.put("a", b"bytes");
    let (is_marker, marker) = sdk.delete("a", None).unwrap();
    assert!(is_marker && !marker.is_empty() && marker != id);
    let gone = sdk.get("a", None).unwrap_err();
    assert!(gone.is(404, "NoSuchKey"), "{gone:?}");
    assert_eq!(
        (gone.header("x-amz-delete-marker"), gone.header("x-amz-version-id")),
        ("true", marker.as_str())
    );
    let head = refused(sdk.run(sdk.client.head_object().bucket(&sdk.bucket).key("a").send())).unwrap_err();
    assert_eq!((head.status, head.header("x-amz-delete-marker")), (404, "true"));
    assert_eq!(sdk.get("a", Some(&marker)).unwrap_err().status, 405);
    assert_eq!(sdk.get("a", Some(&id)).unwrap(), b"bytes");
    let plain = sdk
        .run(sdk.client.list_objects_v2().bucket(&sdk.bucket).send())
        .unwrap();
    assert_eq!(plain.contents().len(), 0);
    let expected = [
        ("a".into(), id.clone(), false, false),
        ("a".into(), marker.clone(), true, true),
    ];
    assert_eq!(listed(&sdk, ""), expected);

    assert_eq!(sdk.delete("a", Some(&marker)).unwrap(), (true, marker));
    assert_eq!(sdk.get("a", None).unwrap(), b"bytes");
}

fn a_removed_version_leaves_the_others(wish: &Wish) {
    let site = Site::new(wish);
    let sdk = Sdk::with_versions(&site);
    let one = sdk.put("a", b"one");
    let two = sdk.put("a", b"two");
    assert_eq!(sdk.delete("a", Some(&two)).unwrap(), (false, two.clone()));
    assert_eq!(sdk.get("a", None).unwrap(), b"one");
    let gone = sdk.get("a", Some(&two)).unwrap_err();
    assert!(gone.is(404, "NoSuchVersion"), "{gone:?}");
    // What is gone already is no error.
    sdk.delete("a", Some(&two)).unwrap();
    sdk.delete("a", Some(&one)).unwrap();
    assert_eq!(listed(&sdk, ""), []);
}

fn versions_are_listed_newest_first_in_pages(wish: &Wish) {
    let site = Site::new(wish);
    let sdk = Sdk::with_versions(&site);
    let mut expected = Vec::new();
    for key in ["a", "b/1", "b/2", "c"] {
        let ids: Vec<_> = (0..3).map(|n| sdk.put(key, &[n])).collect();
        expected.extend(ids.into_iter().rev().map(|id| (key.to_owned(), id)));
    }
    let mut seen = Vec::new();
    let mut key_marker = None;
    let mut id_marker = None;
    loop {
        let list = sdk.client.list_object_versions().bucket(&sdk.bucket).max_keys(5);
        let list = sdk
            .run(list.set_key_marker(key_marker).set_version_id_marker(id_marker).send())
            .unwrap();
        assert!(list.versions().len() <= 5);
        let page = list.versions().iter();
        seen.extend(page.map(|v| (v.key().unwrap().to_owned(), v.version_id().unwrap().to_owned())));
        if list.is_truncated() != Some(true) {
            break;
        }
        (key_marker, id_marker) = (
            list.next_key_marker().map(Into::into),
            list.next_version_id_marker().map(Into::into),
        );
    }
    assert_eq!(seen, expected);
    let folders = sdk
        .run(
            sdk.client
                .list_object_versions()
                .bucket(&sdk.bucket)
                .delimiter("/")
                .send(),
        )
        .unwrap();
    let prefixes: Vec<_> = folders
        .common_prefixes()
        .iter()
        .filter_map(|folder| folder.prefix())
        .collect();
    assert_eq!((folders.versions().len(), prefixes), (6, vec!["b/"]));
}

fn a_suspended_bucket_has_one_null_version_beside_the_old_ones(wish: &Wish) {
    let site = Site::new(wish);
    let sdk = Sdk::with_versions(&site);
    let kept = sdk.put("a", b"kept");
    sdk.set_versioning(BucketVersioningStatus::Suspended);
    sdk.put("a", b"null");
    sdk.put("a", b"null again");
    let ids: Vec<_> = listed(&sdk, "").into_iter().map(|(_, id, ..)| id).collect();
    assert_eq!(ids, ["null", kept.as_str()]);
    assert_eq!(sdk.get("a", Some("null")).unwrap(), b"null again");
    // The marker is a null version too, and takes the place of the object's. MinIO does not say so in its answer.
    sdk.delete("a", None).unwrap();
    assert!(sdk.get("a", None).unwrap_err().is(404, "NoSuchKey"));
    assert!(
        listed(&sdk, "")
            .iter()
            .all(|(_, id, marker, _)| id != "null" || *marker)
    );
    assert_eq!(sdk.get("a", Some(&kept)).unwrap(), b"kept");
}

fn a_bucket_without_versions_has_null_versions(wish: &Wish) {
    let site = Site::new(wish);
    let sdk = Sdk::new(&site);
    assert_eq!(sdk.put("a", b"one"), "");
    assert_eq!(sdk.put("a", b"two"), "");
    assert_eq!(listed(&sdk, ""), [("a".into(), "null".into(), false, true)]);
    let status = sdk
        .run(sdk.client.get_bucket_versioning().bucket(&sdk.bucket).send())
        .unwrap();
    assert_eq!(status.status(), None);
    sdk.delete("a", Some("null")).unwrap();
    assert_eq!(listed(&sdk, ""), []);
}
