//! What a store proves, and what becomes of an image where it does not.

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use serde_json::Value;
use vastost::engine::checksum::{Crc64, Md5Sum};
use vastost::objstore::s3::multipart::UploadRef;
use vastost::objstore::s3::types::{SentPart, WireCheck};
use vastost::ost::abi::{STSP_CLOSEF_COMPLETE, STSP_OPEN_WRITE};
use vastost::ost::status::{STSP_EBUSY, STSP_ECORRUPT, STSP_ENOENT};
use vastost_testkit::host::Definition;

use super::{Fault, Field, RETRY, several_parts};
use crate::cli::{command, run};
use crate::conformance::on_every_server;
use crate::conformance::takeover::parts_on;
use crate::foreign::Foreign;
use crate::writer::{Writer, until};
use vastost_testkit::proxy::{Action, Answer, Proxy, Reply, Request};
use vastost_testkit::test_store::{CALL, PART, Site, Wish, backup, image, pattern, restore, write_all};

on_every_server!(
    images_live_in_a_bucket_whose_etags_are_no_md5s,
    a_writer_whose_record_was_taken_over_notices_where_all_etags_are_alike,
    records_and_images_with_an_etag_of_another_making_are_read,
    a_completion_that_tells_no_etag_is_settled_by_head,
    an_etag_that_contradicts_is_answered_by_the_bytes,
    what_nothing_proves_is_read_back,
    a_close_that_cannot_be_proven_keeps_the_image_for_repair,
    a_kept_image_can_be_deleted,
    a_gateway_that_refuses_checksums_later_costs_no_image,
    a_store_that_gets_the_crc_of_several_parts_wrong_is_noticed,
    a_store_that_insists_on_a_checksum_takes_every_put,
    no_header_is_empty,
    only_a_writer_probes,
    a_probe_that_meets_a_busy_store_or_a_firewall_is_not_kept,
    a_conflict_with_another_request_is_waited_out,
    a_part_that_landed_twice_is_completed_and_read_back,
    a_version_with_a_flipped_byte_is_read_again,
    a_list_of_parts_that_lacks_what_was_sent_loses_nothing,
    one_list_of_parts_is_no_verdict,
    a_record_of_the_future_is_named,
);

/// VAST's own ETag of an object that was written over NFS.
const CONSTANT: &str = "48ed760a74d2bd1ef0d7ea3e2ccb1ad2";

/// The operations whose answers tell an object's ETag, but for UploadPart, whose ETag the client must repeat.
fn tells_etag(request: &Request) -> bool {
    ["PutObject", "HeadObject", "GetObject", "CompleteMultipartUpload"].contains(&request.operation())
}

fn constant_etag(reply: &mut Reply) {
    if reply.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("etag")) {
        reply.set("ETag", format!("\"{CONSTANT}\""));
    }
    edit_xml(reply, "ETag", CONSTANT);
}

/// Puts another text between the tags of an element that occurs once.
fn edit_xml(reply: &mut Reply, tag: &str, text: &str) {
    if !reply.body.starts_with(b"<?xml") {
        return;
    }
    let body = String::from_utf8_lossy(&reply.body).into_owned();
    let open = format!("<{tag}>");
    let close = format!("</{tag}>");
    if let Some((before, rest)) = body.split_once(&open)
        && let Some((_, after)) = rest.split_once(&close)
    {
        reply.body = format!("{before}{open}{text}{close}{after}").into_bytes();
    }
}

/// As a bucket with SSE-KMS is: no CRCs told either.
fn encrypted(request: &Request) -> Action {
    if !tells_etag(request) {
        return Action::Forward;
    }
    Action::edit(|reply| {
        constant_etag(reply);
        edit_xml(reply, "ChecksumCRC64NVME", "");
        if reply.body.starts_with(b"<?xml") {
            let body = String::from_utf8_lossy(&reply.body).replace("<ChecksumCRC64NVME></ChecksumCRC64NVME>", "");
            reply.body = body.into_bytes();
        }
        reply.drop("x-amz-checksum-crc64nvme");
    })
}

/// A site behind a proxy that nothing has probed yet.
fn behind_proxy(wish: &Wish) -> (Site, Proxy) {
    let site = Site::new(&wish.small_parts().with(RETRY));
    let proxy = Proxy::start(&site.url);
    site.point_at(&[proxy.url()]);
    (site, proxy)
}

/// What is known of the site's bucket.
fn known(site: &Site) -> Option<Value> {
    let folder = std::fs::read_dir(site.folder.path().join("state")).ok()?;
    let mut files = folder.map(|entry| entry.unwrap().path()).filter(|path| {
        path.file_name().unwrap().to_string_lossy().starts_with("probe-") && path.extension().unwrap() == "json"
    });
    let file = files.next()?;
    assert_eq!(files.next(), None, "one file for each bucket");
    let record: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    Some(record["capabilities"].clone())
}

fn close_incomplete_and_resume(server: &vastost_testkit::host::HostServer, def: &Definition, data: &[u8]) {
    let first = server.create("main", def).unwrap();
    write_all(&first, &data[..2 * PART + 10], 0, CALL);
    first.close(0).unwrap();
    let again = server.open("main", def, STSP_OPEN_WRITE).unwrap();
    write_all(&again, &data[2 * PART + 10..], 2 * PART as u64 + 10, CALL);
    again.close(STSP_CLOSEF_COMPLETE).unwrap();
}

fn images_live_in_a_bucket_whose_etags_are_no_md5s(wish: &Wish) {
    let (site, proxy) = behind_proxy(wish);
    proxy.script(encrypted);
    let server = site.open();
    for (number, data) in [(1, pattern(70_000, 1)), (2, several_parts(2)), (3, Vec::new())] {
        backup(&server, &image("kms", number), &data, CALL);
        assert!(restore(&server, &image("kms", number), CALL) == data, "{number}");
    }
    let data = pattern(3 * PART, 4);
    close_incomplete_and_resume(&server, &image("kms", 4), &data);
    assert!(restore(&server, &image("kms", 4), CALL) == data);
    assert_eq!(known(&site).unwrap()["etag_is_md5"], false);
    let report = run(&site, &["--json", "verify", "main", "--deep"]).expect(0).json();
    assert_eq!(report["findings"], serde_json::json!([]));
    server.delete("main", &image("kms", 2)).unwrap();
    assert_eq!(server.info("main", &image("kms", 2)).unwrap_err().code, STSP_ENOENT);
}

fn a_writer_whose_record_was_taken_over_notices_where_all_etags_are_alike(wish: &Wish) {
    let (site, proxy) = behind_proxy(wish);
    proxy.script(encrypted);
    let server = site.open();
    let def = image("taken", 1);
    let image = server.create("main", &def).unwrap();
    write_all(&image, &pattern(70_000, 1), 0, CALL);
    let bucket = site.bucket.clone();
    let key = site.keys_under("pending/").remove(0);
    let taken = site.with_store(move |store| async move {
        let mut record: Value = serde_json::from_slice(&store.get_small(&bucket, &key, 1 << 20).await?).unwrap();
        record["writer"]["host"] = "another".into();
        let body = serde_json::to_vec(&record).unwrap().into();
        store.put(&bucket, &key, body, WireCheck::None, &[], false).await
    });
    taken.unwrap();
    assert_eq!(image.close(STSP_CLOSEF_COMPLETE).unwrap_err().code, STSP_EBUSY);
    assert_eq!(site.keys_under("catalog/"), [""; 0]);
    assert_eq!(site.keys_under("pending/").len(), 1, "it is the other one's now");
}

fn records_and_images_with_an_etag_of_another_making_are_read(wish: &Wish) {
    let field = Field::new(wish);
    let def = image("nfs", 1);
    let data = several_parts(1);
    backup(&field.server, &def, &data, CALL);
    // Somebody has copied the LSU by NFS since.
    field.proxy.script(|request| {
        let read = ["HeadObject", "GetObject"].contains(&request.operation());
        if read {
            Action::edit(constant_etag)
        } else {
            Action::Forward
        }
    });
    assert!(restore(&field.server, &def, CALL) == data);
    assert_eq!(field.server.info("main", &def).unwrap().size, data.len() as u64);
}

fn a_completion_that_tells_no_etag_is_settled_by_head(wish: &Wish) {
    let (site, proxy) = behind_proxy(wish);
    proxy.script(|request| {
        let done = request.operation() == "CompleteMultipartUpload";
        if done {
            Action::edit(|reply| edit_xml(reply, "ETag", ""))
        } else {
            Action::Forward
        }
    });
    let server = site.open();
    let def = image("empty", 1);
    let data = several_parts(1);
    backup(&server, &def, &data, CALL);
    assert!(restore(&server, &def, CALL) == data);
    assert_eq!(known(&site).unwrap()["composite_etag"], true);
    let pendings = site.keys_under("pending/");
    assert_eq!(pendings, [""; 0]);
    let report = run(&site, &["--json", "verify", "main"]).expect(0).json();
    assert_eq!(report["findings"], serde_json::json!([]));
}

fn reads_of(proxy: &Proxy, folder: &str) -> usize {
    proxy
        .recent()
        .iter()
        .filter(|request| request.is("GetObject", folder))
        .count()
}

fn an_etag_that_contradicts_is_answered_by_the_bytes(wish: &Wish) {
    let (site, proxy) = behind_proxy(&wish.with("[integrity]\nwire = \"md5\"\n"));
    let server = site.open();
    backup(&server, &image("before", 1), b"x", CALL);
    assert_eq!(known(&site).unwrap()["composite_etag"], true);
    // From now on images are encrypted.
    let images = |request: &Request| {
        if request.folder() == "backups" {
            encrypted(request)
        } else {
            Action::Forward
        }
    };
    // One byte reads otherwise, so that the close fails; the image is kept, and its bytes prove it later.
    proxy.script(move |request| match request.is("GetObject", "backups") {
        true => Action::FlipAnswer(4000),
        false => images(request),
    });
    let def = image("since", 3);
    let data = several_parts(3);
    let written = server.create("main", &def).unwrap();
    write_all(&written, &data, 0, CALL);
    let error = written.close(STSP_CLOSEF_COMPLETE).unwrap_err();
    assert_eq!(error.code, STSP_ECORRUPT, "{error}");
    assert!(
        error.message.contains("part ") && error.message.contains("repair main"),
        "{error}"
    );
    proxy.script(images);
    run(&site, &["repair", "main", "--older-than", "0s", "--yes"]).expect(0);
    assert!(restore(&server, &def, CALL) == data);
    proxy.script(images);
    let def = image("since", 1);
    let data = several_parts(1);
    backup(&server, &def, &data, CALL);
    assert_eq!(known(&site), None, "the next job asks again");
    assert!(reads_of(&proxy, "backups") >= 3);
    assert!(restore(&server, &def, CALL) == data);
    // And what is known now contradicts nothing.
    proxy.script(images);
    backup(&server, &image("since", 2), &data, CALL);
    assert_eq!(reads_of(&proxy, "backups"), 0);
}

/// A store that checks neither checksum and whose ETags say nothing: what the probe damages on purpose is taken.
fn unproven(request: &Request) -> Action {
    let has = |name: &str| request.header(name).is_some();
    let checks = has("content-md5") || has("x-amz-checksum-crc64nvme");
    if request.is("PutObject", "probe") && checks && request.nth > 2 {
        return Action::Answer(
            Answer {
                status: 200,
                ..Answer::default()
            }
            .header("ETag", format!("\"{CONSTANT}\"")),
        );
    }
    encrypted(request)
}

fn what_nothing_proves_is_read_back(wish: &Wish) {
    let (site, proxy) = behind_proxy(wish);
    proxy.script(unproven);
    let server = site.open();
    let data = pattern(70_000, 1);
    backup(&server, &image("blind", 1), &data, CALL);
    let found = known(&site).unwrap();
    assert_eq!(
        (&found["crc64nvme"], &found["content_md5"]),
        (&false.into(), &false.into()),
        "{found}"
    );
    assert!(reads_of(&proxy, "backups") >= 1, "it is read back");
    assert!(restore(&server, &image("blind", 1), CALL) == data);
    // One byte of what was stored is another one, as far as can be read.
    for (number, data) in [(2, pattern(100, 2)), (3, pattern(70_000, 3))] {
        let def = image("blind", number);
        proxy.script(|request| match request.is("GetObject", "backups") {
            true => Action::FlipAnswer(40),
            false => unproven(request),
        });
        let written = server.create("main", &def).unwrap();
        write_all(&written, &data, 0, CALL);
        let error = written.close(STSP_CLOSEF_COMPLETE).unwrap_err();
        assert_eq!(error.code, STSP_ECORRUPT, "{error}");
        assert!(
            error.message.contains("part 1") && error.message.contains("repair main"),
            "{error}"
        );
        proxy.script(unproven);
        run(&site, &["repair", "main", "--older-than", "0s", "--yes"]).expect(0);
        assert!(restore(&server, &def, CALL) == data, "{number}");
    }
}

fn of_another_size() -> Action {
    // The body of an answer to HEAD is its length alone.
    Action::Answer(Answer {
        status: 200,
        body: "12345".into(),
        ..Answer::default()
    })
}

/// What hides from a close whether its object is there, and right.
const VEILS: [(&str, &str, bool, Fault); 5] = [
    (
        "CompleteMultipartUpload",
        "a completion refused as damaged",
        false,
        || Action::Answer(Answer::error(400, "BadDigest")),
    ),
    ("CompleteMultipartUpload", "a completion that fails", false, || {
        Action::Answer(Answer::error(500, "InternalError"))
    }),
    ("HeadObject", "HEAD of another size", false, of_another_size),
    ("HeadObject", "HEAD of another size, one part", true, of_another_size),
    ("HeadObject", "HEAD that fails, one part", true, || {
        Action::Answer(Answer {
            status: 500,
            ..Answer::default()
        })
    }),
];

fn a_close_that_cannot_be_proven_keeps_the_image_for_repair(wish: &Wish) {
    let field = Field::new(wish);
    for (number, (operation, what, small, fault)) in (1..).zip(VEILS) {
        let def = image("kept", number);
        let data = if small {
            pattern(70_000, number)
        } else {
            several_parts(number)
        };
        field.fail_all(operation, "backups", fault);
        let error = field.try_backup(&def, &data).unwrap_err();
        assert!(error.message.contains("repair main"), "{what}: {error}");
        field.proxy.forward_all();
        assert!(field.server.info("main", &def).is_ok(), "{what}: it is pending");
        run(&field.site, &["repair", "main", "--older-than", "0s", "--yes"]).expect(0);
        assert!(restore(&field.server, &def, CALL) == data, "{what}");
        assert_eq!(field.site.keys_under("pending/"), [""; 0], "{what}");
    }
}

fn a_kept_image_can_be_deleted(wish: &Wish) {
    let field = Field::new(wish);
    let before = field.site.keys_under("");
    // An outcome that stays unknown takes its time, and is kept as the others are.
    let veils = VEILS.into_iter().filter(|(_, what, ..)| !what.contains("that fails"));
    for (number, (operation, what, small, fault)) in (1..).zip(veils) {
        let def = image("doomed", number);
        let data = if small { pattern(70_000, 1) } else { several_parts(1) };
        field.fail_all(operation, "backups", fault);
        field.try_backup(&def, &data).unwrap_err();
        field.proxy.forward_all();
        field
            .server
            .delete("main", &def)
            .unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(field.site.keys_under(""), before, "{what}");
    }
}

fn a_gateway_that_refuses_checksums_later_costs_no_image(wish: &Wish) {
    for header in ["x-amz-checksum-crc64nvme", "x-amz-checksum-algorithm"] {
        let field = Field::new(wish);
        field.proxy.script(move |request| match request.header(header) {
            Some(_) => Action::Answer(Answer::error(400, "InvalidRequest")),
            None => Action::Forward,
        });
        for (number, data) in [(1, several_parts(1)), (2, pattern(70_000, 2))] {
            let def = image("gateway", number);
            let done = field.try_backup(&def, &data);
            assert!(done.is_ok(), "{header}: {done:?}");
            assert!(restore(&field.server, &def, CALL) == data);
        }
        assert_eq!(known(&field.site).unwrap()["crc64nvme"], false, "{header}");
    }
}

fn a_store_that_gets_the_crc_of_several_parts_wrong_is_noticed(wish: &Wish) {
    let (site, proxy) = behind_proxy(wish);
    proxy.script(|request| {
        let whole = request.operation() == "CompleteMultipartUpload";
        match request.header("x-amz-checksum-crc64nvme") {
            Some(_) if whole => Action::Answer(Answer::error(400, "BadDigest")),
            _ => Action::Forward,
        }
    });
    let server = site.open();
    let def = image("wrong", 1);
    let data = several_parts(1);
    backup(&server, &def, &data, CALL);
    assert!(restore(&server, &def, CALL) == data);
    assert_eq!(known(&site).unwrap()["crc64nvme"], false);
    let completions = proxy
        .recent()
        .iter()
        .filter(|r| r.is("CompleteMultipartUpload", "backups"))
        .count();
    assert_eq!(completions, 1);
}

fn a_store_that_insists_on_a_checksum_takes_every_put(wish: &Wish) {
    let (site, proxy) = behind_proxy(wish);
    proxy.script(|request| {
        let puts = ["PutObject", "UploadPart"].contains(&request.operation());
        let proven = ["content-md5", "x-amz-checksum-crc64nvme"]
            .iter()
            .any(|name| request.header(name).is_some());
        if puts && !proven {
            Action::Answer(Answer::error(400, "InvalidRequest"))
        } else {
            Action::Forward
        }
    });
    let server = site.open();
    let def = image("strict", 1);
    let data = several_parts(1);
    backup(&server, &def, &data, CALL);
    assert!(restore(&server, &def, CALL) == data);
    run(&site, &["--server", "t", "doctor"]);
    assert_eq!(proxy.faults(), 0);
}

fn no_header_is_empty(wish: &Wish) {
    let (site, proxy) = behind_proxy(wish);
    let server = site.open();
    let def = Definition::new("plain_1795305600_C1_F1", 1_795_305_600);
    backup(&server, &def, &several_parts(1), CALL);
    assert_eq!(restore(&server, &def, CALL), several_parts(1));
    for request in proxy.requests() {
        let empty: Vec<_> = request.headers.iter().filter(|(_, value)| value.is_empty()).collect();
        assert!(empty.is_empty(), "{} {}: {empty:?}", request.operation(), request.key());
    }
}

fn only_a_writer_probes(wish: &Wish) {
    let (site, proxy) = behind_proxy(wish);
    let server = site.open();
    let def = image("read", 1);
    backup(&server, &def, b"some bytes", CALL);
    server.close().unwrap();
    std::fs::remove_dir_all(site.folder.path().join("state")).unwrap();
    proxy.forward_all();
    for args in [
        &["ls", "main"][..],
        &["verify", "main", "--deep"],
        &["gc", "main", "--yes"],
        &["usage", "main"],
    ] {
        run(&site, args).expect(0);
    }
    let writes = |request: &Request| request.folder() == "probe" && ["PUT", "POST"].contains(&request.method.as_str());
    assert!(!proxy.recent().iter().any(writes));
}

fn a_probe_that_meets_a_busy_store_or_a_firewall_is_not_kept(wish: &Wish) {
    for (number, status, code) in [(1, 403, "AccessDenied"), (2, 409, "Conflict"), (3, 401, "Denied")] {
        let (site, proxy) = behind_proxy(wish);
        // The third put of the probe has a wrong MD5.
        proxy.script(
            move |request| match request.is("PutObject", "probe") && request.nth == 3 {
                true => Action::Answer(Answer::error(status, code)),
                false => Action::Forward,
            },
        );
        let server = site.open();
        let data = pattern(70_000, number);
        backup(&server, &image("busy", number), &data, CALL);
        assert_eq!(proxy.faults(), 1, "{status}");
        assert_eq!(known(&site), None, "{status} proves nothing for a week");
        assert!(restore(&server, &image("busy", number), CALL) == data);
    }
    let (site, proxy) = behind_proxy(wish);
    proxy.forward_all();
    backup(&site.open(), &image("calm", 1), b"x", CALL);
    let found = known(&site).unwrap();
    assert_eq!(
        (&found["content_md5"], &found["conditional_put"]),
        (&true.into(), &true.into()),
        "{found}"
    );
}

fn a_conflict_with_another_request_is_waited_out(wish: &Wish) {
    let field = Field::new(wish);
    for (number, code) in [(1, "ConditionalRequestConflict"), (2, "OperationAborted")] {
        field.proxy.script(
            move |request| match request.is("PutObject", "catalog") && request.nth <= 2 {
                true => Action::Answer(Answer::error(409, code)),
                false => Action::Forward,
            },
        );
        field.survives(&image("conflict", number), &pattern(70_000, number), code);
    }
}

fn a_part_that_landed_twice_is_completed_and_read_back(wish: &Wish) {
    let (site, proxy) = behind_proxy(wish);
    proxy.script(encrypted);
    let server = site.open();
    backup(&server, &image("before", 1), b"x", CALL);
    assert_eq!(known(&site).unwrap()["etag_is_md5"], false);
    // The store has another ETag of part 1 than was answered, as of a try that was given up and landed last.
    let late = |request: &Request| match request.is("UploadPart", "backups") && request.query("partNumber") == Some("1")
    {
        true => Action::edit(constant_etag),
        false => encrypted(request),
    };
    proxy.script(late);
    let def = image("late", 1);
    let data = several_parts(1);
    backup(&server, &def, &data, CALL);
    assert!(reads_of(&proxy, "backups") >= 3, "only the bytes can tell");
    assert!(restore(&server, &def, CALL) == data);
    // And they do.
    proxy.script(move |request| match request.is("GetObject", "backups") {
        true => Action::FlipAnswer(40),
        false => late(request),
    });
    let written = server.create("main", &image("late", 2)).unwrap();
    write_all(&written, &data, 0, CALL);
    assert_eq!(written.close(STSP_CLOSEF_COMPLETE).unwrap_err().code, STSP_ECORRUPT);
}

fn a_version_with_a_flipped_byte_is_read_again(wish: &Wish) {
    let (site, proxy) = behind_proxy(wish);
    crate::sdk::Sdk::with_versions(&site);
    let server = site.open();
    let def = image("hidden", 1);
    let data = pattern(70_000, 1);
    backup(&server, &def, &data, CALL);
    let sidecar = site.keys_under("catalog/").remove(0);
    crate::sdk::Sdk::new(&site).delete(&sidecar, None).unwrap();
    let flipped = AtomicBool::new(false);
    proxy.script(move |request| {
        let reads = request.query("versionId").is_some() && request.is("GetObject", "catalog");
        if reads && !flipped.swap(true, Ordering::Relaxed) {
            Action::FlipAnswer(0)
        } else {
            Action::Forward
        }
    });
    let name = format!("main/{}:{}", String::from_utf8_lossy(&def.basename), def.date);
    run(&site, &["undelete", &name]).expect(0);
    assert_eq!(proxy.faults(), 1);
    assert!(restore(&server, &def, CALL) == data);
}

#[test]
fn what_lay_there_before_settles_no_completion() {
    use vastost_testkit::embedded::{Fault, Trouble};
    let site = Site::new(&Wish::default().with(RETRY));
    let refuse = Trouble::Refuse {
        status: 500,
        code: "InternalError".into(),
    };
    let operation = "CompleteMultipartUpload".into();
    site.embedded().plan(Fault {
        operation,
        key_prefix: String::new(),
        skip: 0,
        times: u32::MAX,
        trouble: refuse,
    });
    let bucket = site.bucket.clone();
    let done = site.with_store(move |store| async move {
        store
            .put(&bucket, "k", vec![1; 1000].into(), WireCheck::None, &[], false)
            .await?;
        let before = store.head(&bucket, "k").await?;
        let body = Bytes::from(vec![2; 1000]);
        let crc64 = Crc64::of(&[2; 1000]);
        let id = store.begin_upload(&bucket, "k", &[], false).await?;
        let upload = UploadRef {
            bucket: &bucket,
            key: "k",
            id: &id,
        };
        let etag = store.upload_part(upload, 1, body, WireCheck::None).await?.etag;
        let parts = [SentPart {
            number: 1,
            size: 1000,
            etag,
            crc64,
        }];
        // By its size alone the junk would be taken for what was completed.
        let by_size = store.complete_upload(upload, &parts, None).await?;
        Ok((
            by_size.etag == before.etag,
            store.complete_upload_over(upload, &parts, Some(&before)).await,
        ))
    });
    let (is_junk, over) = done.unwrap();
    assert!(is_junk && over.unwrap_err().outcome_is_unknown());
}

/// An image of two parts whose writer was killed, and the key of its record.
fn dead_writer(field: &Field, def: &Definition, data: &[u8]) -> String {
    let name = String::from_utf8_lossy(&def.basename).into_owned();
    let mut writer = Writer::start(&field.site, command(&field.site.config), &name);
    writer.write(data);
    writer.write(&[0; 1 << 20]);
    until("two parts", || parts_on(&field.site) == 2);
    writer.kill();
    Foreign::new(&field.site)
        .list("pending/")
        .into_keys()
        .next()
        .expect("a pending record")
}

/// An answer to ListParts that ends before the part of this index.
fn without_parts(from: usize) -> Action {
    Action::edit(move |reply: &mut Reply| {
        let body = String::from_utf8_lossy(&reply.body).into_owned();
        let at = body.match_indices("<Part>").nth(from).map_or(body.len(), |(at, _)| at);
        reply.body = format!("{}</ListPartsResult>", &body[..at]).into_bytes();
    })
}

const PART_LISTS: [Fault; 3] = [
    || Action::Answer(Answer::error(404, "NoSuchUpload")),
    || without_parts(0),
    || without_parts(1),
];

/// The record of a dead writer knows of two parts.
fn a_list_of_parts_that_lacks_what_was_sent_loses_nothing(wish: &Wish) {
    let field = Field::new(wish);
    let def = image("parts", 1);
    let data = pattern(2 * PART, 8);
    let key = dead_writer(&field, &def, &data);
    let foreign = Foreign::new(&field.site);
    let mut record = foreign.get_json(&key);
    let part = |number: usize| {
        let bytes = &data[(number - 1) * PART..number * PART];
        let crc = format!("{:016x}", Crc64::of(bytes).0);
        let etag = Md5Sum::of(bytes).to_hex();
        serde_json::json!({ "number": number, "offset": (number - 1) * PART, "size": PART, "etag": etag, "crc64nvme": crc })
    };
    record["sent"] = Value::from(vec![part(1), part(2)]);
    foreign.put(&key, record.to_string().as_bytes(), &[]);
    for (index, fault) in PART_LISTS.into_iter().enumerate() {
        field.fail_all("ListParts", "backups", fault);
        let error = field.server.open("main", &def, STSP_OPEN_WRITE).map(drop).unwrap_err();
        assert!(error.message.contains("nothing was changed"), "{index}: {error:?}");
        assert_eq!(foreign.get_json(&key)["sent"], record["sent"], "{index}");
    }
    field.proxy.forward_all();
    let again = field.server.open("main", &def, STSP_OPEN_WRITE).unwrap();
    assert_eq!(again.info().unwrap().size, data.len() as u64);
    again.close(STSP_CLOSEF_COMPLETE).unwrap();
    assert!(restore(&field.server, &def, CALL) == data);
}

/// The record was put before the first part, and knows of none.
fn one_list_of_parts_is_no_verdict(wish: &Wish) {
    let field = Field::new(wish);
    for (number, fault) in (1..).zip(PART_LISTS) {
        let def = image("lists", number);
        let data = pattern(2 * PART, number);
        dead_writer(&field, &def, &data);
        field.fail_first(1, "ListParts", "backups", fault);
        let again = field.server.open("main", &def, STSP_OPEN_WRITE).unwrap();
        assert_eq!(again.info().unwrap().size, data.len() as u64, "{number}");
        again.close(STSP_CLOSEF_COMPLETE).unwrap();
        field.proxy.forward_all();
        assert!(restore(&field.server, &def, CALL) == data);
    }
}

/// The store's clock was years ahead when the record was put.
fn a_record_of_the_future_is_named(wish: &Wish) {
    let field = Field::new(wish);
    let def = image("ahead", 1);
    let place = crate::audit::place(&def);
    let key = format!("pending/{place}.8899aabbccddeeff.json");
    let record = serde_json::json!({
        "schema": 1, "state": "writing", "attempt": "8899aabbccddeeff", "lease_seconds": 600,
        "key": format!("backups/{place}.8899aabbccddeeff.nbk"),
        "image": { "basename": String::from_utf8_lossy(&def.basename), "date": def.date },
        "created": "2026-11-22T00:00:00Z", "started": "2026-11-22T00:00:00Z",
        "writer": { "host": "elsewhere", "pid": 7, "version": "0.1.0" },
    });
    Foreign::new(&field.site).put(&key, record.to_string().as_bytes(), &[]);
    assert_eq!(field.server.delete("main", &def).unwrap_err().code, STSP_EBUSY);
    let ahead = || Action::edit(|reply: &mut Reply| edit_xml(reply, "LastModified", "2099-01-01T00:00:00.000Z"));
    field.fail_all("ListObjectsV2", "pending", ahead);
    let told = run(&field.site, &["verify", "main"]).expect(0).text();
    assert!(
        told.contains("a record dated 2099-01-01T00:00:00Z") && told.contains("onto itself"),
        "{told}"
    );
    // It may be a living writer's all the same.
    assert_eq!(field.server.delete("main", &def).unwrap_err().code, STSP_EBUSY);
}
