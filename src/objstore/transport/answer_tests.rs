use super::*;
use proptest::prelude::*;

const LIST: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!-- a > b --><ListBucketResult xmlns=\"http://x/?a>b\">\
    <Name>b</Name><Contents><Key>a&amp;b</Key><Owner/></Contents><E><![CDATA[</ListBucketResult>]]></E>\
    </ListBucketResult>\n";

#[test]
fn a_document_is_whole_only_with_its_last_tag() {
    assert_eq!(Form::of(LIST.as_bytes()), Form::Whole("ListBucketResult"));
    let end = LIST.trim_end().len();
    for cut in 1..end {
        assert!(
            !matches!(Form::of(&LIST.as_bytes()[..cut]), Form::Whole(_)),
            "{}",
            &LIST[..cut]
        );
    }
    let cut_at_elements = LIST.replace("</ListBucketResult>\n", "");
    assert_eq!(Form::of(cut_at_elements.as_bytes()), Form::Broken("ListBucketResult"));
}

#[test]
fn what_lacks_a_piece_in_its_middle_is_broken() {
    assert_eq!(
        Form::of(LIST.replace("</Contents>", "").as_bytes()),
        Form::Broken("ListBucketResult")
    );
    assert_eq!(
        Form::of(LIST.replace("<Contents>", "").as_bytes()),
        Form::Broken("ListBucketResult")
    );
    assert_eq!(
        Form::of(format!("{LIST}{LIST}").as_bytes()),
        Form::Broken("ListBucketResult")
    );
    assert_eq!(
        Form::of(format!("{LIST}x").as_bytes()),
        Form::Broken("ListBucketResult")
    );
    assert_eq!(Form::of(b"<!DOCTYPE a [<!ENTITY b \"c\">]><a></a>"), Form::Broken(""));
    assert_eq!(Form::of("<a>".repeat(DEPTH_MAX + 1).as_bytes()), Form::Broken("a"));
    for nameless in ["<s3:/>", "<-.:></-.:>", "<a\u{1}/>", "<a'<b'/>", "<a:b:'/>", "<0/>"] {
        assert!(!matches!(Form::of(nameless.as_bytes()), Form::Whole(_)), "{nameless}");
    }
}

#[test]
fn roots_are_named_without_prefix_and_pages_for_people_are_foreign() {
    assert_eq!(
        Form::of(b"\xef\xbb\xbf  <s3:Error><Code>X</Code></s3:Error >"),
        Form::Whole("Error")
    );
    assert_eq!(Form::of(b"<Empty a='>'/>"), Form::Whole("Empty"));
    for page in [
        &b""[..],
        b"   ",
        b"404 page not found",
        b"<html><body>502",
        b"<!DOCTYPE html>",
        b"{}",
        b"\xff",
    ] {
        assert_eq!(Form::of(page), Form::Foreign);
    }
}

#[test]
fn only_whole_answers_of_the_kind_that_belongs_here_are_believed() {
    let list = LIST.as_bytes();
    let cut = &LIST.as_bytes()[..200];
    let error = &b"<Error><Code>NoSuchKey</Code></Error>"[..];
    let part = &b"<Error><Code>NoSuchKey</Code>"[..];

    for (success, status, body, doubt) in [
        (Success::Document, 200, list, None),
        (Success::Document, 200, cut, Some(Doubt::Cut("ListBucketResult"))),
        (Success::Document, 200, b"", Some(Doubt::NoDocument)),
        (Success::Document, 200, b"<html>sorry</html>", Some(Doubt::NoDocument)),
        (Success::Document, 200, error, Some(Doubt::ErrorInside)),
        (Success::DocumentOrError, 200, error, None),
        (Success::DocumentOrError, 200, part, Some(Doubt::Cut("Error"))),
        (Success::Nothing, 200, error, Some(Doubt::ErrorInside)),
        (Success::Nothing, 200, b"", None),
        (Success::Nothing, 200, b" \n", None),
        (Success::Nothing, 200, b"<html>sorry</html>", Some(Doubt::Page)),
        (Success::Nothing, 204, b"whatever", Some(Doubt::Page)),
        (
            Success::Nothing,
            200,
            b"<?xml version=\"1.0\"?><html>sorry</html>",
            Some(Doubt::Page),
        ),
        (Success::Nothing, 404, error, None),
        (Success::Nothing, 404, part, Some(Doubt::Cut("Error"))),
        (Success::Nothing, 404, b"", None),
        (
            Success::Document,
            404,
            b"404 page not found\n",
            Some(Doubt::NotTheStore),
        ),
        (Success::Document, 403, b"<html>no</html>", None),
        (Success::Document, 503, b"<h1>busy", None),
    ] {
        assert_eq!(
            evaluate_body(success, status, body).err(),
            doubt,
            "{success:?} {status} {}",
            body.escape_ascii()
        );
    }
}

#[test]
fn ranges_are_read_as_they_are_written() {
    let range = |text| ContentRange::parse(text).map(|range| (range.first, range.last, range.total));
    assert_eq!(range("bytes 0-99/1000"), Some((0, 99, Some(1000))));
    assert_eq!(range("Bytes 5-5/*"), Some((5, 5, None)));
    for wrong in [
        "bytes */1000",
        "bytes 5-4/10",
        "bytes 0-10/10",
        "bytes +0-9/10",
        "items 0-9/10",
        "bytes 0-9",
        "",
    ] {
        assert_eq!(range(wrong), None, "{wrong}");
    }
    assert_eq!(range("bytes 0-18446744073709551615/*"), None);
}

#[test]
fn an_answer_to_a_range_is_right_only_for_the_very_bytes() {
    let evaluate = |status, range, body| evaluate_range(status, range, body, (100, 50), Some(1000));
    assert_eq!(evaluate(206, Some("bytes 100-149/1000"), 50), Ranged::Right);
    assert_eq!(evaluate(206, Some("bytes 100-149/*"), 50), Ranged::Right);
    assert_eq!(evaluate(206, Some("bytes 100-149/900"), 50), Ranged::OtherSize(900));
    assert_eq!(evaluate(200, None, 900), Ranged::OtherSize(900));

    for (status, range, body) in [
        (206, Some("bytes 0-49/1000"), 50),
        (206, Some("bytes 100-150/1000"), 50),
        (206, Some("bytes 100-149/1000"), 51),
        (206, None, 50),
        (200, Some("bytes 100-149/1000"), 50),
        (200, None, 1000),
        (204, None, 50),
    ] {
        assert!(
            matches!(evaluate(status, range, body), Ranged::Wrong(_)),
            "{status} {range:?} {body}"
        );
    }

    // All of an object may come as one.
    assert_eq!(evaluate_range(200, None, 50, (0, 50), Some(50)), Ranged::Right);
    assert_eq!(evaluate_range(200, None, 50, (0, 50), None), Ranged::Right);
}

proptest! {
    #[test]
    fn no_input_breaks_the_judges(bytes in "[<>/a!?\\-\" ]{0,60}", text in "bytes [0-9]{1,3}-[0-9]{1,3}/[0-9*]{1,4}") {
        hold_documents_to_rules(bytes.as_bytes());
        hold_ranges_to_rules(&text);
    }
}
