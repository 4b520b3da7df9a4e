use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use vastost::ost::abi::{STSP_CLOSEF_COMPLETE, STSP_OPEN_READ, STSP_OPEN_WRITE};
use vastost::ost::status::{STSP_EACCESS, STSP_EINVAL, STSP_ENETWORK, STSP_ENOTSUP, STSP_EUNAVAIL, STSP_EWORM};
use vastost_testkit::host::{HostFilter, HostResult};

use super::{Fault, Field, RETRY, several_parts};
use crate::conformance::on_every_server;
use vastost_testkit::proxy::{Action, Answer, Framed, Proxy, Reply};
use vastost_testkit::test_store::{CALL, PART, Site, Wish, backup, image, pattern, restore, write_all};

on_every_server!(
    a_cut_list_is_never_taken_for_a_whole_one,
    a_list_that_contradicts_itself_is_asked_for_again,
    a_listing_without_end_is_given_up,
    a_proxy_that_takes_lengths_away_costs_nothing,
    a_body_without_an_end_is_refused_and_costs_no_data,
    bytes_of_another_range_are_never_returned,
    bodies_that_are_too_long_are_given_up,
    a_completion_that_never_ends_is_settled_in_its_time,
    a_completion_under_way_is_waited_for,
    the_words_of_a_store_forge_no_line_and_hold_no_signature,
    a_silent_store_is_asked_for_a_record_as_often_as_configured,
    a_refusal_is_never_an_invalid_argument,
    a_not_found_of_another_server_is_no_answer,
    an_answer_of_another_kind_is_named,
    requests_without_a_body_say_so,
    without_a_date_header_only_ages_are_unknown,
    a_store_that_pauses_within_a_body_is_waited_for,
    a_list_of_versions_that_contradicts_itself_deletes_nothing,
);

/// Ends the text before the `nth` occurrence of a tag.
fn cut_before(text: &str, tag: &str, nth: usize) -> String {
    let at = text.match_indices(tag).nth(nth).map_or(text.len(), |(at, _)| at);
    text[..at].to_owned()
}

/// A list that ends at an element's boundary, as when the connection that ends the body was cut.
fn cut_list(nth: usize, framed: Framed) -> Action {
    Action::edit(move |reply: &mut Reply| {
        reply.body = cut_before(&String::from_utf8_lossy(&reply.body), "<Contents>", nth).into_bytes();
        reply.framed = framed;
    })
}

const CUT_LISTS: [(&str, Fault); 4] = [
    ("cut by the end of the connection", || cut_list(3, Framed::UntilClose)),
    ("cut before the first entry", || cut_list(0, Framed::UntilClose)),
    ("cut, with a length", || cut_list(3, Framed::Length)),
    ("cut, in chunks", || cut_list(3, Framed::Chunked)),
];

fn listed(field: &Field) -> HostResult<usize> {
    let filter = HostFilter {
        client: b"listed".into(),
        ..HostFilter::default()
    };
    field.server.list("main", &filter).map(|images| images.len())
}

/// A field with eight images of client `listed`.
fn with_images(wish: &Wish) -> Field {
    let field = Field::new(wish);
    (1..=8).for_each(|number| backup(&field.server, &image("listed", number), b"x", CALL));
    field
}

fn a_cut_list_is_never_taken_for_a_whole_one(wish: &Wish) {
    let field = with_images(wish);
    for (name, fault) in CUT_LISTS {
        field.fail_first(1, "ListObjectsV2", "catalog", fault);
        assert_eq!(listed(&field).unwrap_or_else(|e| panic!("{name}: {e}")), 8, "{name}");
        field.fail_all("ListObjectsV2", "catalog", fault);
        let error = listed(&field).unwrap_err();
        assert_eq!(error.code, STSP_ENETWORK, "{name}: {error}");
        assert!(error.message.contains("was cut"), "{name}: {error}");
    }
    field.proxy.forward_all();
    assert_eq!(listed(&field).unwrap(), 8);
}

/// The third entry stands where the first was.
fn reordered(text: &str) -> String {
    let starts: Vec<_> = text.match_indices("<Contents>").map(|(at, _)| at).collect();
    let [first, second, third, fourth] = starts[..4] else {
        panic!("four entries")
    };
    [
        &text[..first],
        &text[third..fourth],
        &text[second..third],
        &text[first..second],
        &text[fourth..],
    ]
    .concat()
}

fn a_list_that_contradicts_itself_is_asked_for_again(wish: &Wish) {
    let field = with_images(wish);
    let faults: [(&str, Fault, &str); 4] = [
        (
            "order",
            || Action::edit_text(|text| reordered(&text)),
            "keys do not rise",
        ),
        (
            "prefix",
            || Action::edit_text(|text| text.replace("listed", "other")),
            "not asked for",
        ),
        (
            "no next page",
            || Action::edit_text(|text| text.replace("<IsTruncated>false", "<IsTruncated>true")),
            "names no next page",
        ),
        (
            "no age",
            || Action::edit_text(|text| text.replace("LastModified>", "Modified>")),
            "no LastModified",
        ),
    ];
    for (name, fault, why) in faults {
        field.fail_first(1, "ListObjectsV2", "catalog", fault);
        assert_eq!(listed(&field).unwrap_or_else(|e| panic!("{name}: {e}")), 8, "{name}");
        field.fail_all("ListObjectsV2", "catalog", fault);
        let error = listed(&field).unwrap_err();
        assert_eq!(error.code, STSP_EUNAVAIL, "{name}: {error}");
        assert!(error.message.contains(why) || name == "prefix", "{name}: {error}");
    }
}

fn a_listing_without_end_is_given_up(wish: &Wish) {
    let field = Field::new(wish);
    let tokens = Arc::new(AtomicUsize::new(0));
    field.proxy.script(move |request| {
        if request.operation() != "ListObjectsV2" {
            return Action::Forward;
        }
        let token = tokens.fetch_add(1, Ordering::SeqCst);
        let body = format!(
            "<?xml version=\"1.0\"?><ListBucketResult><IsTruncated>true</IsTruncated><KeyCount>0</KeyCount>\
             <NextContinuationToken>t{token}</NextContinuationToken></ListBucketResult>"
        );
        Action::Answer(Answer {
            status: 200,
            headers: Vec::new(),
            body,
        })
    });
    let began = Instant::now();
    let error = field.server.list("main", &HostFilter::default()).unwrap_err();
    assert_eq!(error.code, STSP_EUNAVAIL, "{error}");
    let error = field.server.create("main", &image("endless", 1)).err().unwrap();
    assert_eq!(error.code, STSP_EUNAVAIL, "{error}");
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
}

fn a_proxy_that_takes_lengths_away_costs_nothing(wish: &Wish) {
    let field = Field::new(wish);
    let def = image("chunked", 1);
    let data = several_parts(1);
    field.proxy.script(|request| match request.operation() {
        "HeadObject" => Action::edit(|reply| reply.drop("content-length")),
        "GetObject" => Action::edit(|reply| reply.framed = Framed::Chunked),
        _ => Action::Forward,
    });
    backup(&field.server, &def, &data, CALL);
    assert!(restore(&field.server, &def, CALL) == data);
    backup(&field.server, &image("chunked", 2), b"", CALL);
    assert!(restore(&field.server, &image("chunked", 2), CALL).is_empty());
    // A sidecar that is longer than what is asked for first.
    let def = image("chunked", 3);
    let meta = pattern(60_000, 3);
    let written = field.server.create("main", &def).unwrap();
    write_all(&written, b"data", 0, CALL);
    written.write_meta(&meta, 0).unwrap();
    written.close(STSP_CLOSEF_COMPLETE).unwrap();
    let opened = field.server.open("main", &def, STSP_OPEN_READ).unwrap();
    let mut read = vec![0; 60_000];
    assert_eq!(opened.read_meta(&mut read, 0).unwrap(), 60_000);
    assert!(read == meta);
}

fn a_body_without_an_end_is_refused_and_costs_no_data(wish: &Wish) {
    let field = Field::new(wish);
    let def = image("endless", 1);
    let data = several_parts(2);
    backup(&field.server, &def, &data, CALL);
    for folder in ["catalog", "backups"] {
        field.fail_all("GetObject", folder, || {
            Action::edit(|reply| reply.framed = Framed::UntilClose)
        });
        let error = field.try_restore(&def, CALL).unwrap_err();
        assert_eq!(error.code, STSP_EUNAVAIL, "{error}");
        assert!(error.message.contains("neither a length nor chunks"), "{error}");
    }
    field.proxy.forward_all();
    assert!(restore(&field.server, &def, CALL) == data);
}

fn bytes_of_another_range_are_never_returned(wish: &Wish) {
    let field = Field::new(wish);
    let def = image("range", 1);
    let data = several_parts(3);
    backup(&field.server, &def, &data, CALL);
    let faults: [(&str, Fault); 4] = [
        ("other bytes", || {
            Action::edit(|reply| {
                let last = reply.body.len() - 1;
                reply.set("Content-Range", format!("bytes 0-{last}/{}", 2 * PART + 1000));
                reply.body.rotate_left(7);
            })
        }),
        ("status 200", || {
            Action::edit(|reply| {
                reply.status = 200;
                reply.drop("content-range");
                reply.body.rotate_left(7);
                reply.body.push(0);
            })
        }),
        ("no range named", || Action::edit(|reply| reply.drop("content-range"))),
        ("another length", || {
            Action::edit(|reply| reply.body.truncate(reply.body.len() - 1))
        }),
    ];
    for (name, fault) in faults {
        field.fail_first(1, "GetObject", "backups", fault);
        let whole = restore(&field.server, &def, CALL) == data;
        assert!(whole, "{name}");
        // The first part may well be the one that begins at byte 0: the others never are.
        field.fail_all("GetObject", "backups", fault);
        let error = field.try_restore(&def, CALL).unwrap_err();
        assert_ne!(error.code, 0, "{name}: {error}");
        assert!(error.code != STSP_EINVAL, "{name}: {error}");
    }
    field.proxy.forward_all();
    assert!(restore(&field.server, &def, CALL) == data);
}

fn bodies_that_are_too_long_are_given_up(wish: &Wish) {
    let field = with_images(wish);
    field.fail_all("ListObjectsV2", "catalog", || {
        Action::edit(|reply| {
            reply.status = 400;
            reply.body = vec![b'x'; 8 << 20];
        })
    });
    let error = listed(&field).unwrap_err();
    assert_eq!(error.code, STSP_EUNAVAIL, "{error}");
    assert!(error.message.len() < 2_000, "{}", error.message.len());
    field.fail_all("ListObjectsV2", "catalog", || {
        Action::edit(|reply| {
            let space = vec![b' '; 40 << 20];
            reply.body.splice(40..40, space);
        })
    });
    assert_eq!(listed(&field).unwrap_err().code, STSP_EUNAVAIL);
}

fn a_completion_that_never_ends_is_settled_in_its_time(wish: &Wish) {
    let field = Field::new(wish);
    // White space, as servers send it while they are busy, and then nothing for far longer than the operation has.
    field.fail_all("CompleteMultipartUpload", "backups", || {
        Action::edit(|reply| {
            let space = [b" ".repeat(1_000), std::mem::take(&mut reply.body)].concat();
            (reply.body, reply.framed, reply.stall) = (space, Framed::Chunked, Some((900, Duration::from_secs(40))));
        })
    });
    let began = Instant::now();
    field.survives(&image("space", 1), &several_parts(4), "white space");
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
}

fn a_completion_under_way_is_waited_for(wish: &Wish) {
    let field = Field::new(wish);
    field
        .proxy
        .script(|request| match (request.operation(), request.folder()) {
            ("CompleteMultipartUpload", _) if request.nth == 1 => Action::HoldAnswer,
            ("CompleteMultipartUpload", _) => Action::Answer(Answer::error(404, "NoSuchUpload")),
            ("HeadObject", "backups") if request.nth <= 3 => Action::Answer(Answer {
                status: 404,
                ..Answer::default()
            }),
            _ => Action::Forward,
        });
    field.survives(&image("slow", 1), &several_parts(5), "put together for long");
}

fn the_words_of_a_store_forge_no_line_and_hold_no_signature(wish: &Wish) {
    let field = Field::new(wish);
    field.proxy.script(|request| {
        if !request.is("PutObject", "backups") {
            return Action::Forward;
        }
        let header = request.header("authorization").unwrap_or_default();
        let head = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>";
        let words = format!("no\nERROR forged\u{202e}cod\u{2028}: {header}");
        let body = format!("{head}<Error><Code>Odd\nCode</Code><Message>{words}</Message></Error>");
        Action::Answer(
            Answer {
                status: 403,
                ..Answer::default()
            }
            .header("x-amz-request-id", header)
            .body(body),
        )
    });
    let error = field.try_backup(&image("words", 1), &pattern(1000, 6)).unwrap_err();
    assert_eq!(error.code, STSP_EACCESS, "{error}");
    let sent = field
        .proxy
        .recent()
        .into_iter()
        .find(|r| r.is("PutObject", "backups"))
        .unwrap();
    let header = sent.header("authorization").unwrap().to_owned();
    let signature = header.rsplit("Signature=").next().unwrap().to_owned();
    assert_eq!(signature.len(), 64);
    assert!(error.message.contains("forged"), "{error}");
    for never in ["\n", "\r", "\u{1b}", "\u{202e}", "\u{2028}", "Credential=", &signature] {
        assert!(!error.message.contains(never), "{never:?} in {:?}", error.message);
    }
}

fn a_silent_store_is_asked_for_a_record_as_often_as_configured(wish: &Wish) {
    let field = Field::new(wish);
    let def = image("silent", 1);
    backup(&field.server, &def, b"some bytes", CALL);
    for (name, fault, most) in [
        ("silent", (|| Action::Hold) as Fault, 5),
        ("refused", || Action::Answer(Answer::error(503, "SlowDown")), 5),
        ("broken off", || Action::TruncateAnswer, 5),
    ] {
        field.fail_all("GetObject", "catalog", fault);
        let began = Instant::now();
        field.server.info("main", &def).unwrap_err();
        let asked = field
            .proxy
            .recent()
            .iter()
            .filter(|request| request.is("GetObject", "catalog"))
            .count();
        assert!(asked <= most, "{name}: {asked} requests");
        assert!(
            began.elapsed() < Duration::from_secs(10),
            "{name}: {:?}",
            began.elapsed()
        );
    }
}

fn a_refusal_is_never_an_invalid_argument(wish: &Wish) {
    let field = Field::new(wish);
    let refusals: [(Fault, i32); 6] = [
        (|| Action::Answer(Answer::error(418, "Teapot")), STSP_EUNAVAIL),
        (|| Action::Answer(Answer::error(400, "SomethingNew")), STSP_EUNAVAIL),
        (
            || {
                Action::Answer(Answer {
                    status: 413,
                    ..Answer::default()
                })
            },
            STSP_ENOTSUP,
        ),
        (
            || {
                Action::Answer(Answer {
                    status: 411,
                    ..Answer::default()
                })
            },
            STSP_ENOTSUP,
        ),
        (|| Action::Answer(Answer::error(400, "InvalidArgument")), STSP_ENOTSUP),
        (|| Action::Answer(Answer::error(400, "ObjectLocked")), STSP_EWORM),
    ];
    for (number, (fault, code)) in (1..).zip(refusals) {
        field.fail_all("PutObject", "backups", fault);
        let error = field.try_backup(&image("refused", number), b"some bytes").unwrap_err();
        assert_eq!(error.code, code, "{error}");
    }
}

fn a_not_found_of_another_server_is_no_answer(wish: &Wish) {
    let field = Field::new(wish);
    let def = image("nobody", 1);
    backup(&field.server, &def, b"some bytes", CALL);
    let page: Fault = || {
        Action::Answer(Answer {
            status: 404,
            body: "404 page not found\n".into(),
            ..Answer::default()
        })
    };
    field.fail_first(1, "GetObject", "catalog", page);
    assert!(restore(&field.server, &def, CALL) == b"some bytes");
    field.fail_all("GetObject", "catalog", page);
    assert_eq!(field.server.info("main", &def).unwrap_err().code, STSP_EUNAVAIL);
}

fn an_answer_of_another_kind_is_named(wish: &Wish) {
    let field = with_images(wish);
    field.fail_all("ListObjectsV2", "catalog", || {
        Action::edit_text(|text| text.replace("ListBucketResult", "ListVersionsResult"))
    });
    let error = listed(&field).unwrap_err();
    assert_eq!(error.code, STSP_ENOTSUP, "{error}");
    let words = "<ListBucketResult> was expected, <ListVersionsResult> came";
    assert!(error.message.contains(words), "{error}");
}

fn requests_without_a_body_say_so(wish: &Wish) {
    let field = Field::new(wish);
    let def = image("resumed", 1);
    let data = several_parts(7);
    let written = field.server.create("main", &def).unwrap();
    write_all(&written, &data, 0, CALL);
    written.close(0).unwrap();
    let again = field.server.open("main", &def, STSP_OPEN_WRITE).unwrap();
    again.close(STSP_CLOSEF_COMPLETE).unwrap();
    for operation in ["CreateMultipartUpload", "UploadPartCopy"] {
        let sent: Vec<_> = field
            .proxy
            .requests()
            .into_iter()
            .filter(|r| r.operation() == operation)
            .collect();
        assert!(!sent.is_empty(), "{operation}");
        assert!(sent.iter().all(|request| request.length == Some(0)), "{operation}");
    }
    assert!(restore(&field.server, &def, CALL) == data);
}

fn without_a_date_header_only_ages_are_unknown(wish: &Wish) {
    let field = Field::new(wish);
    let def = image("timeless", 1);
    let data = several_parts(8);
    field.proxy.script(|_| Action::edit(|reply| reply.drop("date")));
    let server = field.site.open();
    backup(&server, &def, &data, CALL);
    assert!(restore(&server, &def, CALL) == data);
    let written = server.create("main", &image("timeless", 2)).unwrap();
    written.write(b"some bytes", 0).unwrap();
    written.close(0).unwrap();
    // Who may be writing it, only an age could tell.
    let error = server.delete("main", &image("timeless", 2)).unwrap_err();
    assert_eq!(error.code, STSP_EUNAVAIL, "{error}");
    assert!(error.message.contains("no Date header"), "{error}");
    server.delete("main", &def).unwrap();
    field.proxy.forward_all();
    server.open("main", &def, STSP_OPEN_READ).map(drop).unwrap_err();
}

fn a_store_that_pauses_within_a_body_is_waited_for(wish: &Wish) {
    let wish = wish.with(&format!(
        "[transfer]\npart_size = \"48 MiB\"\nack_timeout = \"1 s\"\n{RETRY}"
    ));
    let wish = wish.replaced("attempt_timeout = \"2 s\"", "attempt_timeout = \"20 s\"");
    let wish = wish.replaced("operation_timeout = \"8 s\"", "operation_timeout = \"30 s\"");
    let site = Site::new(&wish);
    let proxy = Proxy::start(&site.url);
    site.point_at(&[proxy.url()]);
    let server = site.open();
    let data = pattern(40 << 20, 9);
    backup(&server, &image("probe", 1), b"x", CALL);
    // More than the kernel of either end holds.
    proxy.script(|request| match (request.operation(), request.folder()) {
        ("PutObject", "backups") => Action::StallRequest(1 << 20, Duration::from_secs(4)),
        _ => Action::Forward,
    });
    backup(&server, &image("paused", 1), &data, CALL);
    let puts = proxy
        .recent()
        .iter()
        .filter(|request| request.is("PutObject", "backups"))
        .count();
    assert_eq!(puts, 1, "the connection was broken by our own end");
    assert!(restore(&server, &image("paused", 1), CALL) == data);
}

#[test]
fn an_outage_is_outlasted_while_the_operation_has_time() {
    let settings = RETRY
        .replace("attempts = 5", "attempts = 2")
        .replace("\"8 s\"", "\"60 s\"");
    let settings = settings.replace("backoff_max = \"2 s\"", "backoff_max = \"200 ms\"");
    let mut site = Site::new(&Wish::default().small_parts().with(&settings));
    let server = site.open();
    let data = pattern(6 * PART, 10);
    backup(&server, &image("probe", 1), b"x", CALL);
    let written = server.create("main", &image("outage", 1)).unwrap();
    write_all(&written, &data[..2 * PART], 0, CALL);
    written.flush().unwrap();
    site.stop_server();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Connections are refused far longer than two tries take.
            std::thread::sleep(Duration::from_secs(4));
            site.start_server();
        });
        write_all(&written, &data[2 * PART..], 2 * PART as u64, CALL);
        written.flush().unwrap();
    });
    written.close(STSP_CLOSEF_COMPLETE).unwrap();
    assert!(restore(&server, &image("outage", 1), CALL) == data);
}

/// Names that clients of other kinds give cannot stand in XML as they are.
#[cfg(feature = "minio-tests")]
#[test]
fn minio_keys_with_control_characters_stop_no_listing() {
    let field = with_images(&Wish {
        minio: true,
        ..Wish::default()
    });
    let bucket = field.site.bucket.clone();
    let put = field.site.with_store(move |store| async move {
        let check = vastost::objstore::s3::types::WireCheck::None;
        store
            .put(
                &bucket,
                "catalog/listed/a\u{1}b c+d%41\n",
                bytes_of("x"),
                check,
                &[],
                false,
            )
            .await
    });
    put.unwrap();
    assert_eq!(listed(&field).unwrap(), 8);
    let keys = field.site.keys_under("catalog/listed/a");
    assert_eq!(keys, ["catalog/listed/a\u{1}b c+d%41\n"]);
}

#[cfg(feature = "minio-tests")]
fn bytes_of(text: &'static str) -> bytes::Bytes {
    bytes::Bytes::from_static(text.as_bytes())
}

fn a_list_of_versions_that_contradicts_itself_deletes_nothing(wish: &Wish) {
    let field = Field::new(wish);
    let def = image("versions", 1);
    let data = pattern(70_000, 9);
    crate::sdk::Sdk::with_versions(&field.site);
    // What a server handle was told of the bucket is good for a minute.
    let server = field.site.open();
    backup(&server, &def, &data, CALL);
    let faults: [(&str, Fault, i32, &str); 4] = [
        (
            "another document",
            || Action::edit_text(|text| text.replace("ListVersionsResult", "SomethingResult")),
            STSP_ENOTSUP,
            "<SomethingResult> came",
        ),
        (
            "no next page",
            || Action::edit_text(|text| text.replace("<IsTruncated>false", "<IsTruncated>true")),
            STSP_EUNAVAIL,
            "names no next page",
        ),
        (
            "no ids",
            || Action::edit_text(|text| text.replace("VersionId>", "OtherId>")),
            STSP_EUNAVAIL,
            "has no VersionId",
        ),
        (
            "prefix",
            || Action::edit_text(|text| text.replace("versions", "other")),
            STSP_EUNAVAIL,
            "",
        ),
    ];
    for (name, fault, code, why) in faults {
        field.proxy.script(move |request| {
            if request.query("versions").is_some() {
                fault()
            } else {
                Action::Forward
            }
        });
        let error = server.delete("main", &def).unwrap_err();
        assert_eq!(error.code, code, "{name}: {error}");
        assert!(
            error.message.contains(why) && !error.message.contains("s3:ListBucketVersions"),
            "{name}: {error}"
        );
        assert!(
            field
                .proxy
                .recent()
                .iter()
                .all(|request| !request.is("DeleteObject", "backups")),
            "{name}"
        );
        field.proxy.forward_all();
        assert!(restore(&server, &def, CALL) == data, "{name}");
    }
    server.delete("main", &def).unwrap();
    let listed: Vec<_> = field
        .proxy
        .requests()
        .into_iter()
        .filter(|r| r.query("versions").is_some())
        .collect();
    assert!(
        !listed.is_empty()
            && listed
                .iter()
                .all(|request| request.query("encoding-type") == Some("url"))
    );
}
