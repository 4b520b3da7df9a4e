//! What is asked again before it is believed, and what a process finds out that was silent for a while.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use vastost::catalog::audit::report::Class;
use vastost::ost::abi::{STSP_CLOSEF_COMPLETE, STSP_OPEN_WRITE};
use vastost_testkit::embedded::{Fault, Trouble};

use super::Yard;
use super::places::pending;
use super::removal::{assert_whole, beside, target, versions};
use crate::conformance::on_every_server;
use crate::sdk::Sdk;
use vastost_testkit::proxy::{Action, Answer, Reply};
use vastost_testkit::test_store::{CALL, PART, Wish, image, pattern, write_all};

on_every_server!(
    a_listed_sidecar_that_no_get_finds_is_a_finding,
    one_answer_damns_no_image,
    repair_makes_nothing_of_an_overwritten_image,
    a_newer_sidecar_that_cannot_be_had_is_not_passed_over,
    a_close_that_cannot_be_proven_holds_no_lease,
    a_left_record_beside_a_hidden_sidecar_can_go,
    a_pending_image_takes_no_hidden_one_with_it,
    a_delete_asks_for_versions_where_nothing_tells_of_them,
);

/// Long enough that another process does all that it has to do meanwhile.
const SILENCE: Duration = Duration::from_secs(8);

fn delay(yard: &Yard, operation: &str, key_prefix: &str) {
    let operation = operation.to_owned();
    let key_prefix = key_prefix.to_owned();
    yard.site.embedded().plan(Fault {
        operation,
        key_prefix,
        skip: 0,
        times: 1,
        trouble: Trouble::Delay(SILENCE),
    });
}

fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let since = Instant::now();
    while !done() {
        assert!(since.elapsed() < Duration::from_secs(60), "{what} did not come");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Another host finishes the delete meanwhile, and NetBackup writes the image again.
#[test]
fn a_delete_that_was_silent_spares_the_successor() {
    let yard = Yard::new(&Wish::default());
    let first = yard.keep(&image("v", 1), pattern(900, 1), b"meta");
    delay(&yard, "DeleteObject", "backups/");
    let second = std::thread::scope(|scope| {
        let silent = scope.spawn(|| yard.run(&["rm", "--yes", &target(&first)]));
        wait_for("the mark", || {
            yard.foreign.get_json(&first.sidecar_key)["state"] == "deleting"
        });
        yard.server.delete("main", &first.def).expect("the other host's delete");
        let second = yard.keep(&first.def, pattern(800, 2), b"");
        silent.join().unwrap().expect(0);
        second
    });
    assert_whole(&yard, &second);
}

/// `gc` has found an image that was closed incomplete; before it takes it, somebody goes on with it.
#[test]
fn gc_and_a_writer_that_pass_each_other_keep_the_image() {
    let yard = Yard::new(&Wish::default());
    let def = image("v", 1);
    let data = pattern(2 * PART + 7, 1);
    let writer = yard.server.create("main", &def).unwrap();
    write_all(&writer, &data[..2 * PART], 0, CALL);
    writer.close(0).unwrap();
    let (record, _) = yard.foreign.list("pending/").into_iter().next().expect("a record");
    delay(&yard, "PutObject", &record);
    delay(&yard, "UploadPartCopy", "backups/");
    let puts = yard.site.embedded().requests("PutObject");
    std::thread::scope(|scope| {
        let gc = scope.spawn(|| yard.run(&["gc", "main", "--older-than", "0s", "--yes"]));
        wait_for("gc's record", || yard.site.embedded().requests("PutObject") > puts);
        let writer = yard.server.open("main", &def, STSP_OPEN_WRITE).expect("open for write");
        gc.join().unwrap();
        write_all(&writer, &data[2 * PART..], 2 * PART as u64, CALL);
        writer.close(STSP_CLOSEF_COMPLETE).expect("close");
    });
    assert!(vastost_testkit::test_store::restore(&yard.server, &def, CALL) == data);
}

/// The listing goes on naming it; one front-end, or all of them, say that it is not there.
fn a_listed_sidecar_that_no_get_finds_is_a_finding(wish: &Wish) {
    let yard = Yard::new(wish);
    let kept = yard.keep(&image("v", 1), pattern(900, 1), b"");
    yard.keep(&image("w", 2), pattern(900, 2), b"");
    let proxy = beside(&yard);
    let place = kept.sidecar_key.clone();
    proxy.script(move |request| match request.operation() {
        "GetObject" | "HeadObject" if request.key().ends_with(&place) => Action::Answer(Answer {
            status: 404,
            ..Answer::default()
        }),
        _ => Action::Forward,
    });
    let (code, report) = yard.audit(&["main", "--quick"]);
    assert!(code != 0 && proxy.faults() > 1);
    assert!(
        report.findings.iter().any(|found| found.class == Class::Unreadable),
        "{report:?}"
    );
    let place = kept.sidecar_key.clone();
    let asked = AtomicUsize::new(0);
    proxy.script(move |request| {
        let is_asked = request.is("GetObject", "catalog") && request.key().ends_with(&place);
        match is_asked && asked.fetch_add(1, Ordering::Relaxed) == 0 {
            true => Action::Answer(Answer {
                status: 404,
                ..Answer::default()
            }),
            false => Action::Forward,
        }
    });
    let (_, report) = yard.audit(&["main", "--quick"]);
    assert_eq!(
        (report.findings.len(), report.summary.lsus["main"].states.good.images),
        (0, 2),
        "{report:?}"
    );
    assert!(proxy.faults() > 0);
}

/// A HEAD that was mixed up: of another object, as long as this one or not.
fn one_answer_damns_no_image(wish: &Wish) {
    let yard = Yard::new(wish);
    yard.keep(&image("v", 1), pattern(900, 1), &pattern(100_000, 2));
    let proxy = beside(&yard);
    type Edit = fn(&mut Reply);
    let edits: [(&str, Edit); 3] = [
        ("backups", |reply| {
            reply.set("ETag", "\"00000000000000000000000000000000\"");
            reply.set("x-amz-checksum-crc64nvme", "AAAAAAAAAAA=");
        }),
        ("backups", |reply| reply.set("Content-Length", "899")),
        ("meta", |reply| reply.set("Content-Length", "99999")),
    ];
    for (number, (folder, edit)) in edits.into_iter().enumerate() {
        proxy.script(
            move |request| match request.is("HeadObject", folder) && request.nth == 1 {
                true => Action::edit(edit),
                false => Action::Forward,
            },
        );
        let (code, report) = yard.audit(&["main"]);
        assert!(proxy.faults() > 0, "{number}");
        assert_eq!((code, report.findings.len()), (0, 0), "{number}: {report:?}");
    }
}

/// Somebody overwrote the data and deleted the record: no new record makes that a good image.
fn repair_makes_nothing_of_an_overwritten_image(wish: &Wish) {
    let yard = Yard::new(wish);
    let sdk = Sdk::with_versions(&yard.site);
    for (number, covered) in [(1, false), (2, true)] {
        let kept = yard.keep(&image("v", number), pattern(900, number), b"inline");
        sdk.put(&kept.data_key, b"not what was written");
        match covered {
            true => drop(sdk.put(&kept.sidecar_key, b"{")),
            false => drop(sdk.delete(&kept.sidecar_key, None).unwrap()),
        }
        let before = (versions(&sdk, "catalog/"), versions(&sdk, "backups/"));
        let told = yard
            .run(&["--json", "repair", "main", "--older-than", "0s", "--deep", "--yes"])
            .expect(1)
            .json();
        assert!(
            told["actions"][0]["detail"]
                .as_str()
                .unwrap()
                .contains("`vastost-s3 undelete`"),
            "{told}"
        );
        assert_eq!((versions(&sdk, "catalog/"), versions(&sdk, "backups/")), before);
        yard.run(&["undelete", &target(&kept)]).expect(0);
        assert_whole(&yard, &kept);
    }
}

/// What was written since the older one would be lost without a word.
fn a_newer_sidecar_that_cannot_be_had_is_not_passed_over(wish: &Wish) {
    let yard = Yard::new(wish);
    let sdk = Sdk::with_versions(&yard.site);
    let kept = yard.keep(&image("v", 1), pattern(900, 1), b"old");
    let mut newer = kept.record.clone();
    newer["meta"]["inline"] = "bmV3".into();
    let newest = sdk.put(&kept.sidecar_key, newer.to_string().as_bytes());
    sdk.delete(&kept.sidecar_key, None).unwrap();
    let proxy = beside(&yard);
    for (status, code) in [(403, "AccessDenied"), (404, "NoSuchVersion")] {
        let newest = newest.clone();
        proxy.script(move |request| {
            match request.is("GetObject", "catalog") && request.query("versionId") == Some(newest.as_str()) {
                true => Action::Answer(Answer::error(status, code)),
                false => Action::Forward,
            }
        });
        for command in [
            &["undelete", &target(&kept)][..],
            &["repair", "main", "--older-than", "0s", "--yes"],
        ] {
            let run = yard.run(command);
            assert_ne!(run.code, 0, "{status} {command:?}");
            assert!(
                !yard.foreign.list("catalog/").contains_key(&kept.sidecar_key),
                "{status} {command:?}"
            );
        }
        assert!(proxy.faults() > 0);
    }
    proxy.forward_all();
    yard.run(&["undelete", &target(&kept)]).expect(0);
    assert_eq!(yard.foreign.get_json(&kept.sidecar_key), newer);
}

/// The sidecar is there and nothing more can be asked: whoever deletes the image need not wait for the writer's lease.
fn a_close_that_cannot_be_proven_holds_no_lease(wish: &Wish) {
    let retry =
        "[retry]\nattempts = 2\nbackoff_initial = \"10 ms\"\nbackoff_max = \"50 ms\"\noperation_timeout = \"4 s\"\n";
    let yard = Yard::new(&wish.clone().with(retry));
    let proxy = beside(&yard);
    let server = yard.site.open();
    let image = image("v", 1);
    let writer = server.create("main", &image).unwrap();
    write_all(&writer, &pattern(900, 1), 0, CALL);
    let committed = std::sync::atomic::AtomicBool::new(false);
    proxy.script(move |request| {
        if request.is("PutObject", "catalog") {
            committed.store(true, std::sync::atomic::Ordering::Relaxed);
        }
        match request.is("HeadObject", "backups") && committed.load(std::sync::atomic::Ordering::Relaxed) {
            true => Action::Answer(Answer {
                status: 503,
                ..Answer::default()
            }),
            false => Action::Forward,
        }
    });
    let error = writer.close(STSP_CLOSEF_COMPLETE).unwrap_err().to_string();
    assert!(error.contains("is on the store with its sidecar"), "{error}");
    proxy.forward_all();
    let name = format!("main/{}:{}", String::from_utf8_lossy(&image.basename), image.date);
    yard.run(&["rm", "--yes", &name]).expect(0);
    assert!(yard.foreign.list("backups/").is_empty());
}

/// Its writer died before it removed its record, and then somebody deleted the sidecar past us.
fn a_left_record_beside_a_hidden_sidecar_can_go(wish: &Wish) {
    let yard = Yard::new(wish);
    let sdk = Sdk::with_versions(&yard.site);
    let (kept, _) = pending(&yard, 1, |record| {
        record["closing"] = serde_json::Value::Null;
        record["sent"] = serde_json::json!([]);
    });
    yard.run(&["gc", "main", "--older-than", "0s", "--orphan-data", "--yes"])
        .expect(0);
    assert_eq!(yard.foreign.get(&kept.data_key), kept.data);
    yard.run(&["rm", "--yes", &target(&kept)]).expect(0);
    for folder in ["backups/", "catalog/", "pending/"] {
        assert_eq!(versions(&sdk, folder), [""; 0], "{folder}");
    }
}

/// Somebody deleted the image past us, and a new one of its name was begun: to give up the new one is not to give up the old.
fn a_pending_image_takes_no_hidden_one_with_it(wish: &Wish) {
    let yard = Yard::new(wish);
    let sdk = Sdk::with_versions(&yard.site);
    let kept = yard.keep(&image("v", 1), pattern(900, 1), b"inline");
    sdk.delete(&kept.sidecar_key, None).unwrap();
    let writer = yard.server.create("main", &kept.def).unwrap();
    write_all(&writer, &pattern(700, 2), 0, CALL);
    writer.close(0).unwrap();
    let told = yard.run(&["rm", "--yes", &target(&kept)]).expect(2).stderr;
    assert!(told.contains("`vastost-s3 undelete`"), "{told}");
    yard.run(&["undelete", &target(&kept)]).expect(0);
    yard.assert_restores(&kept);
    yard.run(&["rm", "--yes", &target(&kept)]).expect(0);
    for folder in ["backups/", "catalog/", "pending/"] {
        assert_eq!(versions(&sdk, folder), [""; 0], "{folder}");
    }
}

/// As moto does: the answer has a root of another name.
fn a_delete_asks_for_versions_where_nothing_tells_of_them(wish: &Wish) {
    let yard = Yard::new(wish);
    let sdk = Sdk::with_versions(&yard.site);
    let kept = yard.keep(&image("v", 1), pattern(900, 1), b"");
    sdk.put(&kept.sidecar_key, kept.record.to_string().as_bytes());
    let proxy = beside(&yard);
    proxy.script(|request| match request.operation() {
        "GetBucketVersioning" => Action::edit(|reply: &mut Reply| {
            let body = String::from_utf8_lossy(&reply.body).replace("VersioningConfiguration", "OtherResponse");
            reply.body = body.into_bytes();
        }),
        _ => Action::Forward,
    });
    yard.run(&["rm", "--yes", &target(&kept)]).expect(0);
    assert!(proxy.faults() > 0);
    for folder in ["backups/", "catalog/"] {
        assert_eq!(versions(&sdk, folder), [""; 0], "{folder}");
    }
}
