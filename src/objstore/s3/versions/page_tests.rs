use aws_sdk_s3::operation::list_object_versions::builders::ListObjectVersionsOutputBuilder;
use aws_sdk_s3::types::{DeleteMarkerEntry, ObjectVersion as Listed};

use super::*;

fn listed(key: &str, id: &str) -> Listed {
    Listed::builder()
        .key(key)
        .version_id(id)
        .size(1)
        .last_modified(DateTime::from_secs(1_000))
        .build()
}

fn marker(key: &str, id: &str) -> DeleteMarkerEntry {
    DeleteMarkerEntry::builder()
        .key(key)
        .version_id(id)
        .last_modified(DateTime::from_secs(1_000))
        .build()
}

fn listing(versions: &[(&str, &str)]) -> ListObjectVersionsOutputBuilder {
    let versions = versions.iter().map(|(key, id)| listed(key, id)).collect();
    ListObjectVersionsOutput::builder()
        .prefix("p/")
        .is_truncated(false)
        .set_versions(Some(versions))
}

fn page(builder: ListObjectVersionsOutputBuilder) -> std::result::Result<VersionPage, String> {
    page_of(&builder.build(), (&"b".into(), "p/"), Some("p/b"))
}

#[test]
fn a_page_of_versions_that_contradicts_itself_is_refused() {
    let bare = |id: Option<&str>| Listed::builder().key("p/c").set_version_id(id.map(Into::into));
    let time = DateTime::from_secs(9);
    for (builder, why) in [
        (listing(&[("p/d", "1"), ("p/c", "2")]), "p/d comes before p/c"),
        (listing(&[("p/a", "1")]), "keys fall"),
        (listing(&[("q/c", "1")]), "q/c was not asked for"),
        (
            listing(&[])
                .delete_markers(marker("p/d", "1"))
                .delete_markers(marker("p/c", "2")),
            "keys fall",
        ),
        (listing(&[("p/c", "1")]).prefix("q/"), "it is of prefix q/"),
        (listing(&[("p/c", "1")]).is_truncated(true), "names no next page"),
        (
            listing(&[("p/c", "1")]).is_truncated(true).next_key_marker(""),
            "names no next page",
        ),
        (
            listing(&[("p/c", "1")]).is_truncated(true).next_key_marker("p/a"),
            "it goes back to key p/a",
        ),
        (
            listing(&[]).versions(bare(None).size(1).last_modified(time).build()),
            "no VersionId",
        ),
        (
            listing(&[]).versions(bare(Some("")).size(1).last_modified(time).build()),
            "no VersionId",
        ),
        (
            listing(&[]).versions(bare(Some("1")).last_modified(time).build()),
            "no size",
        ),
        (
            listing(&[]).versions(bare(Some("1")).size(1).build()),
            "no LastModified",
        ),
        (
            listing(&[]).versions(Listed::builder().version_id("1").build()),
            "no key",
        ),
    ] {
        let error = page(builder).unwrap_err();
        assert!(error.contains(why), "{error}, not {why}");
    }
}

#[test]
fn pages_of_versions_as_servers_send_them_are_believed() {
    // Many of one key, and more of the key that the page before ended with.
    let seen = page(listing(&[("p/b", "2"), ("p/c", "4"), ("p/c", "3")]).delete_markers(marker("p/b", "1"))).unwrap();
    assert_eq!((seen.entries.len(), seen.next), (4, None));
    let seen = page(
        listing(&[])
            .set_is_truncated(None)
            .next_key_marker("p/c")
            .next_version_id_marker("3"),
    )
    .unwrap();

    assert_eq!(
        seen.next,
        Some(VersionMarker {
            key: "p/c".into(),
            id: Some("3".into())
        })
    );

    let encoded = listing(&[("p%2Fc%2Bd+e", "1")])
        .prefix("p%2F")
        .encoding_type(EncodingType::Url);
    let seen = page(encoded.is_truncated(true).next_key_marker("p%2Fc%01")).unwrap();

    assert_eq!(
        (seen.entries[0].0.as_str(), seen.next.unwrap().key),
        ("p/c+d e", "p/c\u{1}".into())
    );
}

#[test]
fn versions_of_the_same_second_keep_the_order_of_the_list() {
    let entry = |id: &str, modified, is_latest, is_marker| {
        let id = id.to_owned();
        let etag = String::new();
        ObjectVersion {
            id,
            is_marker,
            is_latest,
            size: 1,
            etag,
            modified,
        }
    };

    let newest_first = vec![
        entry("5", 20, true, false),
        entry("4", 20, false, false),
        entry("3", 20, false, false),
        entry("1", 10, false, false),
        entry("2", 10, false, true),
    ];

    let ids: Vec<_> = oldest_first(newest_first)
        .into_iter()
        .map(|version| version.id)
        .collect();

    assert_eq!(ids, ["1", "2", "3", "4", "5"]);
}
