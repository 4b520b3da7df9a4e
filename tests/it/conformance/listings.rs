//! ListObjectsV2, ListMultipartUploads and ListParts, as the SDK sees them.

use aws_sdk_s3::types::EncodingType;

use super::on_every_server;
use crate::sdk::{Sdk, refused};
use vastost_testkit::test_store::{PART, Site, Wish, pattern};

on_every_server!(
    keys_are_listed_in_the_order_of_their_bytes,
    folders_are_rolled_up_and_count_as_one,
    pages_go_on_where_the_last_one_ended,
    keys_with_control_characters_come_encoded,
    uploads_of_one_key_are_listed_in_pages_until_they_end,
    parts_are_listed_in_pages,
);

/// Uploads by a folder as prefix, which MinIO takes for the name of one key.
#[test]
fn uploads_are_listed_by_prefix_and_marker() {
    let site = Site::new(&Wish::default());
    let sdk = Sdk::new(&site);
    for key in ["a/1", "a/2", "b/1", "b/2", "c"] {
        sdk.run(sdk.client.create_multipart_upload().bucket(&sdk.bucket).key(key).send())
            .unwrap();
    }
    let keys = |prefix: &str, delimiter: Option<&str>| {
        let list = sdk.client.list_multipart_uploads().bucket(&sdk.bucket).prefix(prefix);
        let list = sdk.run(list.set_delimiter(delimiter.map(Into::into)).send()).unwrap();
        let uploads = list.uploads().iter().filter_map(|upload| upload.key());
        let folders = list.common_prefixes().iter().filter_map(|folder| folder.prefix());
        uploads.chain(folders).map(ToOwned::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(keys("a/", None), ["a/1", "a/2"]);
    assert_eq!(keys("", Some("/")), ["c", "a/", "b/"]);
    let after = sdk
        .client
        .list_multipart_uploads()
        .bucket(&sdk.bucket)
        .key_marker("a/2")
        .max_uploads(2);
    let page = sdk.run(after.send()).unwrap();
    let shown: Vec<_> = page.uploads().iter().filter_map(|upload| upload.key()).collect();
    assert_eq!(
        (shown, page.is_truncated(), page.next_key_marker()),
        (vec!["b/1", "b/2"], Some(true), Some("b/2"))
    );
}

/// Keys and folders of all pages, a page at a time.
fn pages(sdk: &Sdk, prefix: &str, delimiter: Option<&str>, most: i32) -> Vec<Vec<String>> {
    let mut pages = Vec::new();
    let mut token = None;
    loop {
        let list = sdk
            .client
            .list_objects_v2()
            .bucket(&sdk.bucket)
            .prefix(prefix)
            .max_keys(most);
        let list = list
            .set_delimiter(delimiter.map(Into::into))
            .set_continuation_token(token);
        let page = sdk.run(list.send()).unwrap();
        let keys = page.contents().iter().filter_map(|object| object.key());
        let folders = page.common_prefixes().iter().filter_map(|folder| folder.prefix());
        let mut lines: Vec<_> = keys.chain(folders).map(ToOwned::to_owned).collect();
        lines.sort();
        assert_eq!(page.key_count(), i32::try_from(lines.len()).ok());
        pages.push(lines);
        token = page.next_continuation_token().map(ToOwned::to_owned);
        assert_eq!(page.is_truncated(), Some(token.is_some()));
        if token.is_none() {
            return pages;
        }
    }
}

fn keys_are_listed_in_the_order_of_their_bytes(wish: &Wish) {
    let site = Site::new(wish);
    let sdk = Sdk::new(&site);
    let mut keys = [
        "B",
        "a",
        "a!",
        "a-b",
        "a0",
        "aa",
        "b",
        "é",
        "z",
        "\u{ff5e}",
        "\u{1f600}",
    ];
    keys.iter().for_each(|key| drop(sdk.put(key, b"x")));
    keys.sort_by_key(|key| key.as_bytes());
    assert_eq!(pages(&sdk, "", None, 1000), [keys]);
    let list = sdk.client.list_objects_v2().bucket(&sdk.bucket).start_after("a0");
    let after = sdk.run(list.send()).unwrap();
    assert_eq!(after.contents().first().and_then(|object| object.key()), Some("aa"));
}

fn folders_are_rolled_up_and_count_as_one(wish: &Wish) {
    let site = Site::new(wish);
    let sdk = Sdk::new(&site);
    for key in ["a/1", "a/2", "a/b/3", "a0", "b/1", "c"] {
        sdk.put(key, b"x");
    }
    assert_eq!(pages(&sdk, "", Some("/"), 1000), [["a/", "a0", "b/", "c"]]);
    assert_eq!(pages(&sdk, "", Some("/"), 2), [["a/", "a0"], ["b/", "c"]]);
    assert_eq!(pages(&sdk, "", Some("/"), 1), [["a/"], ["a0"], ["b/"], ["c"]]);
    assert_eq!(pages(&sdk, "a/", Some("/"), 1000), [["a/1", "a/2", "a/b/"]]);
    assert_eq!(pages(&sdk, "a/b/", Some("/"), 1000), [["a/b/3"]]);
    assert_eq!(pages(&sdk, "x", Some("/"), 1000), [[""; 0]]);
}

fn pages_go_on_where_the_last_one_ended(wish: &Wish) {
    let site = Site::new(wish);
    let sdk = Sdk::new(&site);
    let keys: Vec<_> = (0..25).map(|n| format!("k{n:02}")).collect();
    keys.iter().for_each(|key| drop(sdk.put(key, b"x")));
    let seen = pages(&sdk, "k", None, 10);
    assert_eq!(seen.iter().map(Vec::len).collect::<Vec<_>>(), [10, 10, 5]);
    assert_eq!(seen.concat(), keys);
    // What is put and removed between pages neither repeats a key nor hides one.
    let first = sdk.client.list_objects_v2().bucket(&sdk.bucket).max_keys(10);
    let first = sdk.run(first.send()).unwrap();
    sdk.delete("k09", None).unwrap();
    sdk.put("k05x", b"x");
    let rest = sdk.client.list_objects_v2().bucket(&sdk.bucket);
    let rest = sdk
        .run(
            rest.set_continuation_token(first.next_continuation_token().map(Into::into))
                .send(),
        )
        .unwrap();
    assert_eq!(rest.contents().first().and_then(|object| object.key()), Some("k10"));
}

fn keys_with_control_characters_come_encoded(wish: &Wish) {
    let site = Site::new(wish);
    let sdk = Sdk::new(&site);
    for key in ["a b", "a+b", "a\u{1}b", "a/b=c"] {
        sdk.put(key, b"x");
    }
    let list = sdk
        .client
        .list_objects_v2()
        .bucket(&sdk.bucket)
        .encoding_type(EncodingType::Url)
        .send();
    let list = sdk.run(list).unwrap();
    let keys: Vec<_> = list.contents().iter().filter_map(|object| object.key()).collect();
    assert_eq!(
        (keys, list.encoding_type()),
        (vec!["a%01b", "a+b", "a%2Bb", "a/b%3Dc"], Some(&EncodingType::Url))
    );
}

fn uploads_of_one_key_are_listed_in_pages_until_they_end(wish: &Wish) {
    let site = Site::new(wish);
    let sdk = Sdk::new(&site);
    let begin = || {
        let begun = sdk
            .run(sdk.client.create_multipart_upload().bucket(&sdk.bucket).key("a").send())
            .unwrap();
        begun.upload_id().unwrap().to_owned()
    };
    let mut ids: Vec<_> = (0..3).map(|_| begin()).collect();
    let listed = || {
        let list = sdk
            .run(
                sdk.client
                    .list_multipart_uploads()
                    .bucket(&sdk.bucket)
                    .prefix("a")
                    .send(),
            )
            .unwrap();
        let mut ids: Vec<_> = list
            .uploads()
            .iter()
            .map(|upload| upload.upload_id().unwrap().to_owned())
            .collect();
        ids.sort();
        ids
    };
    ids.sort();
    assert_eq!(listed(), ids);
    for id in &ids {
        sdk.run(
            sdk.client
                .abort_multipart_upload()
                .bucket(&sdk.bucket)
                .key("a")
                .upload_id(id)
                .send(),
        )
        .unwrap();
    }
    assert_eq!(listed(), [""; 0]);
    // What is gone already is no error for MinIO.
    let again = sdk
        .client
        .abort_multipart_upload()
        .bucket(&sdk.bucket)
        .key("a")
        .upload_id(&ids[0])
        .send();
    let again = refused(sdk.run(again));
    assert!(
        again.is_ok() || again.as_ref().is_err_and(|refusal| refusal.is(404, "NoSuchUpload")),
        "{again:?}"
    );
}

fn parts_are_listed_in_pages(wish: &Wish) {
    let site = Site::new(wish);
    let sdk = Sdk::new(&site);
    let begun = sdk
        .run(sdk.client.create_multipart_upload().bucket(&sdk.bucket).key("a").send())
        .unwrap();
    let id = begun.upload_id().unwrap();
    for number in [1, 2, 5, 9] {
        let part = sdk
            .client
            .upload_part()
            .bucket(&sdk.bucket)
            .key("a")
            .upload_id(id)
            .part_number(number);
        sdk.run(part.body(pattern(PART / 1000, number as u64).into()).send())
            .unwrap();
    }
    let mut pages = Vec::new();
    let mut marker = None;
    loop {
        let list = sdk
            .client
            .list_parts()
            .bucket(&sdk.bucket)
            .key("a")
            .upload_id(id)
            .max_parts(2);
        let list = sdk.run(list.set_part_number_marker(marker).send()).unwrap();
        pages.push(
            list.parts()
                .iter()
                .filter_map(|part| part.part_number())
                .collect::<Vec<_>>(),
        );
        if list.is_truncated() != Some(true) {
            break;
        }
        marker = list.next_part_number_marker().map(ToOwned::to_owned);
    }
    assert_eq!(pages, [[1, 2], [5, 9]]);
    sdk.run(
        sdk.client
            .abort_multipart_upload()
            .bucket(&sdk.bucket)
            .key("a")
            .upload_id(id)
            .send(),
    )
    .unwrap();
}
