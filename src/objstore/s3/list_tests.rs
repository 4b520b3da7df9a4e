use aws_sdk_s3::operation::list_objects_v2::builders::ListObjectsV2OutputBuilder;
use aws_sdk_s3::primitives::DateTime;
use aws_sdk_s3::types::{CommonPrefix, Object};

use super::*;

fn object(key: &str) -> Object {
    Object::builder()
        .key(key)
        .size(1)
        .last_modified(DateTime::from_secs(1_000))
        .build()
}

fn listing(keys: &[&str]) -> ListObjectsV2OutputBuilder {
    let builder = ListObjectsV2Output::builder()
        .prefix("p/")
        .is_truncated(false)
        .key_count(keys.len() as i32);
    builder.set_contents(Some(keys.iter().copied().map(object).collect()))
}

fn page(builder: ListObjectsV2OutputBuilder) -> std::result::Result<Page, String> {
    page_of(&builder.build(), (&"b".into(), "p/"), Some("p/a"))
}

#[test]
fn a_page_that_contradicts_itself_is_refused_and_says_why() {
    for (builder, why) in [
        (listing(&["p/c", "p/b"]), "p/c comes before p/b"),
        (listing(&["p/b", "p/b"]), "keys do not rise"),
        (listing(&["p/a"]), "keys do not rise"),
        (listing(&["q/b"]), "q/b was not asked for"),
        (listing(&["p/b"]).prefix("q/"), "it is of prefix q/"),
        (listing(&["p/b"]).name("other"), "it is of bucket other"),
        (listing(&["p/b"]).key_count(8), "it counts 8 keys and has 1"),
        (listing(&["p/b"]).is_truncated(true), "names no next page"),
        (
            listing(&["p/b"]).is_truncated(true).next_continuation_token(""),
            "names no next page",
        ),
        (
            listing(&["p/b"]).set_is_truncated(None),
            "does not say whether it is whole",
        ),
        (listing(&[]).contents(Object::builder().size(1).build()), "no key"),
        (
            listing(&[]).contents(
                Object::builder()
                    .key("p/b")
                    .last_modified(DateTime::from_secs(9))
                    .build(),
            ),
            "no size",
        ),
        (
            listing(&[]).contents(Object::builder().key("p/b").size(1).build()),
            "no LastModified",
        ),
        (
            listing(&["p/b"]).common_prefixes(CommonPrefix::builder().prefix("q/").build()),
            "was not asked for",
        ),
        (
            listing(&["p/b"]).common_prefixes(CommonPrefix::builder().build()),
            "no name",
        ),
    ] {
        let error = page(builder).unwrap_err();
        assert!(error.contains(why), "{error}, not {why}");
    }
}

#[test]
fn pages_as_servers_send_them_are_believed() {
    let seen = page(listing(&["p/b", "p/b.c", "p/bc"])).unwrap();
    assert_eq!((seen.objects.len(), seen.next), (3, None));
    // Some repeat an empty token at the end, leave the flag out, or do not count.
    assert_eq!(page(listing(&["p/b"]).next_continuation_token("x")).unwrap().next, None);
    assert_eq!(
        page(listing(&[]).set_is_truncated(None).next_continuation_token("x"))
            .unwrap()
            .next
            .as_deref(),
        Some("x")
    );
    assert!(page(listing(&["p/b"]).set_key_count(None).set_prefix(None)).is_ok());
}

#[test]
fn keys_are_decoded_where_the_server_says_so_and_only_there() {
    let keys = ["p%2Fa%01%0Ab", "p%2Fc%2Bd+e", "p%2Fz%FF"];
    let seen = page(listing(&keys).prefix("p%2F").encoding_type(EncodingType::Url)).unwrap();
    let seen: Vec<_> = seen.objects.into_iter().map(|object| object.key).collect();
    assert_eq!(seen, ["p/a\u{1}\nb", "p/c+d e", "p/z\u{fffd}"]);
    assert_eq!(page(listing(&["p/b100%25+"])).unwrap().objects[0].key, "p/b100%25+");
}

fn course(silence_max: Duration) -> Course {
    Course {
        what: "b/p/".into(),
        last: None,
        token: None,
        empty: 0,
        brought: Instant::now(),
        silence_max,
    }
}

fn bare_page(keys: &[&str], next: Option<usize>) -> Page {
    let object = |key: &&str| ListedObject {
        key: (*key).into(),
        ..ListedObject::default()
    };
    let bytes = |key: &&str| key.as_bytes().to_vec();
    let bounds = keys.first().map(bytes).zip(keys.last().map(bytes));
    Page {
        objects: keys.iter().map(object).collect(),
        next: next.map(|n| n.to_string()),
        bounds,
        ..Page::default()
    }
}

#[test]
fn a_listing_goes_forward_and_ends() {
    let mut listing = course(Duration::from_secs(60));
    listing.take(&bare_page(&["a", "c"], Some(1))).unwrap();
    assert!(
        listing
            .take(&bare_page(&["b"], None))
            .unwrap_err()
            .to_string()
            .contains("begins with key b")
    );
    assert!(
        listing
            .take(&bare_page(&["d"], Some(1)))
            .unwrap_err()
            .to_string()
            .contains("repeats")
    );
    for number in 0..EMPTY_PAGES_MAX as usize {
        listing.take(&bare_page(&[], Some(10 + number))).unwrap();
    }
    let error = listing.take(&bare_page(&[], Some(9))).unwrap_err();
    assert!(error.to_string().contains("had no key"), "{error}");
    // The end is the end, however long it was waited for.
    listing.take(&bare_page(&[], None)).unwrap();
    let mut slow = course(Duration::ZERO);
    slow.take(&bare_page(&[], Some(1))).unwrap();
    assert!(slow.take(&bare_page(&[], Some(2))).is_err());
}

proptest::proptest! {
    #[test]
    fn the_checks_of_keys_hold_for_any_text(text in "[ab%0\\n]{0,40}") {
        hold_to_rules(&text);
    }
}

#[test]
fn a_time_before_1970_is_as_old_as_can_be_and_none_is_no_time() {
    for (time, modified) in [(0, Some(1)), (-5, Some(1)), (7, Some(7))] {
        let object = Object::builder()
            .key("p/b")
            .size(1)
            .last_modified(DateTime::from_secs(time))
            .build();
        let read = page(listing(&["p/b"]).set_contents(Some(vec![object]))).unwrap();
        assert_eq!(read.objects.first().map(|object| object.modified), modified, "{time}");
    }
    let object = Object::builder().key("p/b").size(1).build();
    assert!(
        page(listing(&["p/b"]).set_contents(Some(vec![object])))
            .unwrap_err()
            .contains("no LastModified")
    );
}
