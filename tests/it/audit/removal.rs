//! Deletes that ask before they act, in buckets with locks, versions, quotas and missing rights; and what brings images back.

use std::time::{Duration, SystemTime};

use aws_sdk_s3::primitives::DateTime;
use aws_sdk_s3::types::{
    DefaultRetention, ObjectLockConfiguration, ObjectLockEnabled, ObjectLockRetention, ObjectLockRetentionMode,
    ObjectLockRule,
};
use serde_json::json;
use vastost::catalog::audit::report::Level;
use vastost::ost::abi::STSP_CLOSEF_COMPLETE;
use vastost::ost::status::STSP_EWORM;
use vastost_testkit::embedded::{Fault, Trouble};

use super::{Kept, Yard, somebody_else};
use crate::conformance::on_every_server;
use crate::sdk::Sdk;
use vastost_testkit::proxy::{Action, Answer, Proxy, Reply, Request};
use vastost_testkit::test_store::{PART, Wish, image, pattern};

on_every_server!(
    a_locked_image_stays_complete_listed_and_readable,
    the_mark_of_a_delete_that_is_refused_is_taken_back_after_a_crash,
    a_delete_leaves_no_version_behind_whatever_was_put_over_it,
    what_was_deleted_or_overwritten_past_us_comes_back,
    what_markers_hide_is_not_removed,
    a_bucket_that_locks_what_is_put_keeps_no_mark,
    a_sidecar_that_has_older_versions_is_not_rebuilt,
    a_delete_that_was_only_marked_is_taken_back,
    a_finished_delete_is_final,
    a_delete_looks_again_at_what_it_has_removed,
    a_delete_without_effect_is_no_delete,
    a_delete_leaves_no_earlier_image_of_its_name,
    undelete_says_what_is_back,
);

/// Every version and marker below a prefix, as `key id`.
pub fn versions(sdk: &Sdk, prefix: &str) -> Vec<String> {
    let list = sdk.client.list_object_versions().bucket(&sdk.bucket).prefix(prefix);
    let list = sdk.run(list.send()).expect("versions");
    let pair = |key: Option<&str>, id: Option<&str>| format!("{} {}", key.unwrap(), id.unwrap());
    let versions = list
        .versions()
        .iter()
        .map(|version| pair(version.key(), version.version_id()));
    let markers = list
        .delete_markers()
        .iter()
        .map(|marker| pair(marker.key(), marker.version_id()));
    versions.chain(markers).collect()
}

fn retain(sdk: &Sdk, key: &str) {
    let until = DateTime::from(SystemTime::now() + Duration::from_secs(3_600));
    let retention = ObjectLockRetention::builder()
        .mode(ObjectLockRetentionMode::Governance)
        .retain_until_date(until);
    let put = sdk
        .client
        .put_object_retention()
        .bucket(&sdk.bucket)
        .key(key)
        .retention(retention.build());
    sdk.run(put.send()).expect("retention");
}

/// Ends all locks, so that the bucket can be emptied.
fn release(sdk: &Sdk, key: &str) {
    for pair in versions(sdk, key) {
        let (key, id) = pair.split_once(' ').unwrap();
        let delete = sdk.client.delete_object().bucket(&sdk.bucket).key(key).version_id(id);
        sdk.run(delete.bypass_governance_retention(true).send())
            .expect("release");
    }
}

pub fn target(kept: &Kept) -> String {
    format!("main/{}:{}", String::from_utf8_lossy(&kept.def.basename), kept.def.date)
}

pub fn assert_whole(yard: &Yard, kept: &Kept) {
    yard.assert_restores(kept);
    assert!(
        yard.run(&["-q", "ls", "main"])
            .expect(0)
            .text()
            .contains(&*String::from_utf8_lossy(&kept.def.basename))
    );
    assert_eq!(yard.findings(Level::Deep), []);
}

fn a_locked_image_stays_complete_listed_and_readable(wish: &Wish) {
    for (number, locked) in [(1, "data"), (2, "sidecar")] {
        let yard = Yard::new(&wish.locked());
        let sdk = Sdk::new(&yard.site);
        let kept = yard.keep(&image("worm", number), pattern(PART + 9, number), b"meta");
        let key = if locked == "data" {
            &kept.data_key
        } else {
            &kept.sidecar_key
        };
        retain(&sdk, key);
        let before = versions(&sdk, "");
        let error = yard.server.delete("main", &kept.def).unwrap_err();
        assert_eq!(error.code, STSP_EWORM, "{error}");
        assert!(error.to_string().contains("nothing was changed"), "{error}");
        assert_ne!(yard.run(&["rm", "--yes", &target(&kept)]).code, 0);
        assert_eq!(versions(&sdk, ""), before);
        assert_whole(&yard, &kept);
        release(&sdk, key);
    }
}

/// The writer of the mark died before it heard of the lock.
fn the_mark_of_a_delete_that_is_refused_is_taken_back_after_a_crash(wish: &Wish) {
    let yard = Yard::new(&wish.locked());
    let sdk = Sdk::new(&yard.site);
    let mut kept = yard.keep(&image("worm", 1), pattern(900, 1), b"");
    retain(&sdk, &kept.data_key);
    kept.record["state"] = "deleting".into();
    sdk.put(&kept.sidecar_key, kept.record.to_string().as_bytes());
    let done = yard
        .run(&["--json", "repair", "main", "--older-than", "0s", "--yes"])
        .expect(0)
        .json();
    assert!(
        done["actions"][0]["detail"]
            .as_str()
            .unwrap()
            .contains("complete again"),
        "{done}"
    );
    assert_whole(&yard, &kept);
    release(&sdk, &kept.data_key);
}

fn a_delete_leaves_no_version_behind_whatever_was_put_over_it(wish: &Wish) {
    let yard = Yard::new(wish);
    let sdk = Sdk::with_versions(&yard.site);
    let plain = yard.keep(&image("v", 1), pattern(900, 1), &pattern(100_000, 2));
    let over = yard.keep(&image("v", 2), pattern(900, 2), b"");
    sdk.put(&over.data_key, b"junk over it");
    let mut stale = yard.keep(&image("v", 3), pattern(900, 3), b"");
    stale.record["data"]["version_id"] = "0123456789abcdef0123456789abcdef".into();
    sdk.put(&stale.sidecar_key, stale.record.to_string().as_bytes());
    let hidden = yard.keep(&image("v", 4), pattern(900, 4), b"");
    sdk.delete(&hidden.data_key, None).unwrap();
    for kept in [&plain, &over, &stale, &hidden] {
        yard.server.delete("main", &kept.def).expect("delete");
    }
    for folder in ["backups/", "catalog/", "meta/", "pending/"] {
        assert_eq!(versions(&sdk, folder), [""; 0]);
    }
    assert_eq!(
        yard.run(&["repair", "main", "--older-than", "0s", "--deep", "--yes"])
            .code,
        0
    );
    assert!(yard.foreign.list("catalog/").is_empty(), "no deleted image comes back");
}

fn what_was_deleted_or_overwritten_past_us_comes_back(wish: &Wish) {
    let yard = Yard::new(wish);
    let sdk = Sdk::with_versions(&yard.site);
    let images: Vec<_> = (1..=5)
        .map(|number| yard.keep(&image("v", number), pattern(2 * PART + 7, number), &pattern(100_000, 2)))
        .collect();
    let [data, sidecar, both, over, junk] = images.as_slice() else {
        panic!("five images")
    };
    sdk.delete(&data.data_key, None).unwrap();
    sdk.delete(&sidecar.sidecar_key, None).unwrap();
    sdk.delete(&both.data_key, None).unwrap();
    sdk.delete(&both.sidecar_key, None).unwrap();
    sdk.delete(both.record["meta"]["key"].as_str().unwrap(), None).unwrap();
    sdk.put(&over.data_key, &pattern(2 * PART + 7, 99));
    sdk.put(&junk.sidecar_key, b"{");
    for kept in &images {
        yard.run(&["undelete", &target(kept)]).expect(0);
        yard.assert_restores(kept);
    }
    assert_eq!(yard.findings(Level::Deep), []);
    let again = yard.run(&["--json", "undelete", &target(data)]).expect(0).json();
    assert_eq!(again["images"][0]["outcome"], "not-needed", "{again}");
}

/// A tool that was stopped on its way through the keys: what is left visible is no debris.
fn what_markers_hide_is_not_removed(wish: &Wish) {
    let yard = Yard::new(wish);
    let sdk = Sdk::with_versions(&yard.site);
    let images: Vec<_> = (1..=2)
        .map(|number| yard.keep(&image("v", number), pattern(900, number), &pattern(100_000, 2)))
        .collect();
    sdk.delete(&images[0].data_key, None).unwrap();
    images
        .iter()
        .for_each(|kept| drop(sdk.delete(&kept.sidecar_key, None).unwrap()));
    yard.run(&["gc", "main", "--older-than", "0s", "--orphan-data", "--yes"]);
    for kept in &images {
        yard.run(&["undelete", &target(kept)]).expect(0);
    }
    images.iter().for_each(|kept| assert_whole(&yard, kept));
}

fn refuse(yard: &Yard, operation: &str, key_prefix: &str, times: u32, after: bool) {
    let status = 403;
    let code = "AccessDenied".to_owned();
    let trouble = if after {
        Trouble::RefuseAfter { status, code }
    } else {
        Trouble::Refuse { status, code }
    };
    let operation = operation.to_owned();
    let key_prefix = key_prefix.to_owned();
    yard.site.embedded().plan(Fault {
        operation,
        key_prefix,
        skip: 0,
        times,
        trouble,
    });
}

/// The first try was done and its answer lost, and the second one refused.
#[test]
fn a_delete_that_was_done_and_called_refused_is_not_taken_back() {
    let yard = Yard::new(&Wish::default());
    let kept = yard.keep(&image("v", 1), pattern(900, 1), b"");
    refuse(&yard, "DeleteObject", &kept.data_key, 1, true);
    let error = yard.server.delete("main", &kept.def).unwrap_err();
    assert!(!error.to_string().contains("as before"), "{error}");
    assert_eq!(yard.foreign.get_json(&kept.sidecar_key)["state"], "deleting");
    yard.server.delete("main", &kept.def).expect("delete");
    assert!(yard.foreign.list("catalog/").is_empty());
}

/// The mark is refused, the sidecar goes, and then the data may not.
#[test]
fn a_sidecar_that_went_first_is_put_back_when_the_data_stay() {
    let yard = Yard::new(&Wish::default());
    let kept = yard.keep(&image("v", 1), pattern(900, 1), b"inline metadata");
    // With a CRC, and once more without.
    refuse(&yard, "PutObject", &kept.sidecar_key, 2, false);
    refuse(&yard, "DeleteObject", &kept.data_key, u32::MAX, false);
    let error = yard.server.delete("main", &kept.def).unwrap_err();
    assert!(error.to_string().contains("put back"), "{error}");
    yard.site.embedded().clear_faults();
    assert_eq!(yard.foreign.get_json(&kept.sidecar_key), kept.record);
    assert_whole(&yard, &kept);
}

/// The same, but the data went although the store said no.
#[test]
fn a_sidecar_that_went_first_is_not_put_back_without_data() {
    let yard = Yard::new(&Wish::default());
    let kept = yard.keep(&image("v", 1), pattern(900, 1), b"");
    refuse(&yard, "PutObject", &kept.sidecar_key, 2, false);
    refuse(&yard, "DeleteObject", &kept.data_key, 1, true);
    let error = yard.server.delete("main", &kept.def).unwrap_err();
    assert!(!error.to_string().contains("put back"), "{error}");
    for folder in ["backups/", "catalog/"] {
        assert!(yard.foreign.list(folder).is_empty(), "{folder}");
    }
}

/// A close that fails at the image's metadata still tells the CRCs of what it wrote.
#[test]
fn what_a_failed_close_keeps_has_the_crcs_of_its_parts() {
    let yard = Yard::new(&Wish::default());
    let def = image("v", 1);
    let data = pattern(2 * PART + 7, 1);
    let written = yard.server.create("main", &def).unwrap();
    vastost_testkit::test_store::write_all(&written, &data, 0, vastost_testkit::test_store::CALL);
    written.write_meta(&pattern(100_000, 2), 0).unwrap();
    refuse(&yard, "PutObject", "meta/", u32::MAX, false);
    written.close(STSP_CLOSEF_COMPLETE).unwrap_err();
    let key = yard
        .foreign
        .list("pending/")
        .into_keys()
        .next()
        .expect("a pending record");
    let sizes: u64 = yard.foreign.get_json(&key)["sent"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|part| part["crc64nvme"].is_string())
        .map(|part| part["size"].as_u64().unwrap())
        .sum();
    assert_eq!(sizes, data.len() as u64);
}

/// The bucket got a default retention after the image: a mark would be locked, and is not put.
fn a_bucket_that_locks_what_is_put_keeps_no_mark(wish: &Wish) {
    let yard = Yard::new(&wish.locked());
    let sdk = Sdk::new(&yard.site);
    let kept = yard.keep(&image("worm", 1), pattern(900, 1), b"meta");
    let set = |days: Option<i32>| {
        let retention = DefaultRetention::builder()
            .mode(ObjectLockRetentionMode::Governance)
            .set_days(days)
            .build();
        let rule = days.map(|_| ObjectLockRule::builder().default_retention(retention).build());
        let rules = ObjectLockConfiguration::builder()
            .object_lock_enabled(ObjectLockEnabled::Enabled)
            .set_rule(rule);
        let put = sdk.client.put_object_lock_configuration().bucket(&sdk.bucket);
        sdk.run(put.object_lock_configuration(rules.build()).send())
            .expect("a default retention");
    };
    set(Some(1));
    yard.server.delete("main", &kept.def).expect("delete");
    set(None);
    for folder in ["backups/", "catalog/", "meta/"] {
        assert_eq!(versions(&sdk, folder), [""; 0]);
    }
}

fn a_delete_that_was_only_marked_is_taken_back(wish: &Wish) {
    let yard = Yard::new(wish);
    let mut kept = yard.keep(&image("v", 1), pattern(900, 1), b"");
    kept.record["state"] = "deleting".into();
    yard.foreign
        .put(&kept.sidecar_key, kept.record.to_string().as_bytes(), &[]);
    yard.run(&["undelete", &target(&kept)]).expect(0);
    assert_whole(&yard, &kept);
}

fn a_finished_delete_is_final(wish: &Wish) {
    let yard = Yard::new(wish);
    Sdk::with_versions(&yard.site);
    let kept = yard.keep(&image("v", 1), pattern(900, 1), b"");
    yard.run(&["rm", "--yes", &target(&kept)]).expect(0);
    let told = yard.run(&["undelete", &target(&kept)]);
    assert!(
        told.code == 2 && told.stderr.contains("a finished delete is final"),
        "{}",
        told.stderr
    );
}

#[test]
fn without_the_right_to_delete_versions_nothing_changes() {
    let yard = Yard::new(&Wish::default());
    Sdk::with_versions(&yard.site);
    let kept = yard.keep(&image("v", 1), pattern(900, 1), b"");
    let config = somebody_else(&yard, &[("DeleteObjectVersion", None)]);
    let told = crate::cli::to_run(
        crate::cli::command(&config)
            .args(["rm", "--yes", &target(&kept)])
            .output()
            .unwrap(),
    );
    assert!(
        told.code != 0 && told.stderr.contains("s3:DeleteObjectVersion"),
        "{}",
        told.stderr
    );
    assert_whole(&yard, &kept);
}

#[test]
fn deletes_free_a_bucket_whose_quota_is_full() {
    let yard = Yard::new(&Wish::default());
    let images: Vec<_> = (1..=2)
        .map(|number| yard.keep(&image("q", number), pattern(9_000, number), b"m"))
        .collect();
    let stale = json!({
        "schema": 1, "state": "incomplete", "attempt": "8899aabbccddeeff",
        "key": format!("backups/{}.8899aabbccddeeff.nbk", super::place(&image("q", 3))),
        "image": { "basename": String::from_utf8_lossy(&image("q", 3).basename), "date": image("q", 3).date },
        "created": "2026-11-22T00:00:00Z", "started": "2026-11-22T00:00:00Z",
        "writer": { "host": "gone", "pid": 7, "version": "0.1.0" },
    });
    let key = format!("pending/{}.8899aabbccddeeff.json", super::place(&image("q", 3)));
    yard.foreign.put(&key, stale.to_string().as_bytes(), &[]);
    yard.site
        .embedded()
        .set_quota(&yard.site.bucket, Some(1))
        .expect("a quota");
    yard.server.delete("main", &images[0].def).expect("delete");
    yard.run(&["rm", "--yes", &target(&images[1])]).expect(0);
    yard.run(&["gc", "main", "--older-than", "0s", "--yes"]).expect(0);
    for folder in ["backups/", "catalog/", "pending/"] {
        assert!(yard.foreign.list(folder).is_empty(), "{folder}");
    }
}

/// A close that could not put its sidecar keeps data and record; a marker over the data is not their end.
#[test]
fn what_a_close_keeps_is_not_gone_below_a_marker() {
    let yard = Yard::new(&Wish::default());
    let sdk = Sdk::with_versions(&yard.site);
    let def = image("v", 1);
    let data = pattern(900, 1);
    let written = yard.server.create("main", &def).unwrap();
    vastost_testkit::test_store::write_all(&written, &data, 0, vastost_testkit::test_store::CALL);
    refuse(&yard, "PutObject", "catalog/", u32::MAX, false);
    written.close(STSP_CLOSEF_COMPLETE).unwrap_err();
    yard.site.embedded().clear_faults();
    let key = yard.foreign.list("backups/").into_keys().next().expect("the data");
    sdk.delete(&key, None).unwrap();
    yard.run(&["gc", "main", "--older-than", "0s", "--orphan-data", "--yes"])
        .expect(0);
    assert_eq!(versions(&sdk, "backups/").len(), 2, "the data and the marker");
    assert_eq!(yard.foreign.list("pending/").len(), 1);
    let marker = versions(&sdk, &key).pop().expect("a marker");
    sdk.delete(&key, marker.split(' ').next_back()).unwrap();
    yard.run(&["repair", "main", "--older-than", "0s", "--yes"]).expect(0);
    assert!(vastost_testkit::test_store::restore(&yard.server, &def, vastost_testkit::test_store::CALL) == data);
}

/// Whatever a store calls its refusal.
#[test]
fn a_delete_that_is_refused_by_any_name_leaves_the_image_complete() {
    let yard = Yard::new(&Wish::default());
    let kept = yard.keep(&image("v", 1), pattern(900, 1), b"inline metadata");
    for (status, code) in [
        (423, "Locked"),
        (409, "Conflict"),
        (412, "SomethingNew"),
        (451, ""),
        (400, "SomethingNew"),
    ] {
        let trouble = Trouble::Refuse {
            status,
            code: code.to_owned(),
        };
        let operation = "DeleteObject".to_owned();
        let key_prefix = kept.data_key.clone();
        yard.site.embedded().plan(Fault {
            operation,
            key_prefix,
            skip: 0,
            times: u32::MAX,
            trouble,
        });
        let error = yard.server.delete("main", &kept.def).unwrap_err();
        assert!(error.to_string().contains("as before"), "{status} {code}: {error}");
        yard.site.embedded().clear_faults();
        assert_whole(&yard, &kept);
    }
}

/// What was written first is better than what could be rebuilt.
fn a_sidecar_that_has_older_versions_is_not_rebuilt(wish: &Wish) {
    let yard = Yard::new(wish);
    let sdk = Sdk::with_versions(&yard.site);
    let images: Vec<_> = (1..=2)
        .map(|number| yard.keep(&image("v", number), pattern(900, number), b"inline"))
        .collect();
    sdk.delete(&images[0].sidecar_key, None).unwrap();
    sdk.put(&images[1].sidecar_key, b"{");
    yard.run(&["repair", "main", "--older-than", "0s", "--yes"]).expect(0);
    for kept in &images {
        assert_eq!(yard.foreign.get_json(&kept.sidecar_key), kept.record);
        assert_whole(&yard, kept);
    }
    // One that contradicts its object is moved away, and must not come back.
    let mut other = images[0].record.clone();
    other["image"]["type"] = 9.into();
    sdk.put(&images[0].sidecar_key, other.to_string().as_bytes());
    assert!(!yard.findings(Level::Default).is_empty());
    sdk.delete(&images[0].sidecar_key, None).unwrap();
    yard.run(&["repair", "main", "--older-than", "0s", "--yes"]).expect(0);
    assert_eq!(
        yard.foreign.get_json(&images[0].sidecar_key)["image"],
        images[0].record["image"]
    );
    assert_whole(&yard, &images[0]);
}

/// It names the image metadata of the attempt that has become the image.
#[test]
fn a_dead_record_does_not_take_the_metadata_of_the_image() {
    let yard = Yard::new(&Wish::default());
    let kept = yard.keep(&image("v", 1), pattern(900, 1), &pattern(100_000, 2));
    let place = super::place(&kept.def);
    let stale = json!({
        "schema": 1, "state": "writing", "attempt": "8899aabbccddeeff", "lease_seconds": 0,
        "key": format!("backups/{place}.8899aabbccddeeff.nbk"), "image": kept.record["image"], "meta": kept.record["meta"],
        "created": "2026-11-22T00:00:00Z", "started": "2026-11-22T00:00:00Z",
        "writer": { "host": "gone", "pid": 7, "version": "0.1.0" },
    });
    yard.foreign.put(
        &format!("pending/{place}.8899aabbccddeeff.json"),
        stale.to_string().as_bytes(),
        &[],
    );
    yard.run(&["gc", "main", "--older-than", "0s", "--orphan-data", "--yes"])
        .expect(0);
    assert_whole(&yard, &kept);
}

/// The command line goes through a proxy that changes answers; the yard itself does not.
pub fn beside(yard: &Yard) -> Proxy {
    let proxy = Proxy::start(&yard.site.url);
    yard.site.point_at(&[proxy.url()]);
    proxy
}

fn edited(change: fn(String) -> String) -> Action {
    Action::edit(move |reply: &mut Reply| {
        reply.body = change(String::from_utf8_lossy(&reply.body).into_owned()).into_bytes();
    })
}

/// The first `<Version>` of a list alone.
fn first_version(body: String) -> String {
    let (Some(first), Some(last)) = (body.find("</Version>"), body.rfind("</Version>")) else {
        return body;
    };
    format!("{}{}", &body[..first], &body[last..])
}

/// Whatever one answer says of versions: what was deleted stays gone.
fn a_delete_looks_again_at_what_it_has_removed(wish: &Wish) {
    let yard = Yard::new(wish);
    let sdk = Sdk::with_versions(&yard.site);
    let proxy = beside(&yard);
    let scripts: [fn(&Request) -> bool; 2] = [
        |request| request.is("ListObjectVersions", "catalog"),
        |request| request.operation() == "GetBucketVersioning",
    ];
    for (number, is_asked) in (1..).zip(scripts) {
        let kept = yard.keep(&image("v", number), pattern(900, number), b"meta");
        sdk.put(&kept.sidecar_key, kept.record.to_string().as_bytes());
        proxy.script(move |request| match (is_asked(request), request.operation()) {
            // Two lists before it ask for locks.
            (true, "ListObjectVersions") if request.nth == 3 => edited(first_version),
            (true, "GetBucketVersioning") => edited(|body| body.replace("Enabled", "")),
            _ => Action::Forward,
        });
        yard.run(&["rm", "--yes", &target(&kept)]).expect(0);
        assert!(proxy.faults() > 0, "{number}");
        let lists = proxy
            .recent()
            .iter()
            .filter(|request| request.is("ListObjectVersions", "catalog"))
            .count();
        assert!(lists > 3, "{number}: {lists}");
        for folder in ["backups/", "catalog/"] {
            assert_eq!(versions(&sdk, folder), [""; 0], "{number}");
        }
    }
}

/// The store, or what stands before it, says yes and does nothing.
fn a_delete_without_effect_is_no_delete(wish: &Wish) {
    let yard = Yard::new(wish);
    let kept = yard.keep(&image("v", 1), pattern(900, 1), b"meta");
    let proxy = beside(&yard);
    for folder in ["backups", "catalog"] {
        proxy.script(move |request| match request.is("DeleteObject", folder) {
            true => Action::Answer(Answer {
                status: 204,
                ..Answer::default()
            }),
            false => Action::Forward,
        });
        let told = yard.run(&["rm", "--yes", &target(&kept)]).expect(2).stderr;
        assert!(told.contains("is still there"), "{told}");
        assert!(
            yard.foreign.list("catalog/").contains_key(&kept.sidecar_key),
            "{folder}"
        );
    }
    proxy.forward_all();
    yard.run(&["rm", "--yes", &target(&kept)]).expect(0);
    assert!(yard.foreign.list("backups/").is_empty() && yard.foreign.list("catalog/").is_empty());
}

/// Somebody deleted an image past us, and another one of the same name and date was written.
fn a_delete_leaves_no_earlier_image_of_its_name(wish: &Wish) {
    let yard = Yard::new(wish);
    let sdk = Sdk::with_versions(&yard.site);
    let def = image("v", 1);
    let first = yard.keep(&def, pattern(900, 1), &pattern(100_000, 1));
    for key in [
        first.sidecar_key.as_str(),
        &first.data_key,
        first.record["meta"]["key"].as_str().unwrap(),
    ] {
        sdk.delete(key, None).unwrap();
    }
    let second = yard.keep(&def, pattern(800, 2), b"");
    yard.run(&["rm", "--yes", &target(&second)]).expect(0);
    for folder in ["backups/", "catalog/", "meta/"] {
        assert_eq!(versions(&sdk, folder), [""; 0]);
    }
}

/// Junk of the right size is not the image, and a copy that had no effect brings nothing back.
fn undelete_says_what_is_back(wish: &Wish) {
    let yard = Yard::new(wish);
    let sdk = Sdk::with_versions(&yard.site);
    let kept = yard.keep(&image("v", 1), pattern(900, 1), b"meta");
    let own = versions(&sdk, &kept.data_key).remove(0);
    sdk.put(&kept.data_key, b"junk");
    let proxy = beside(&yard);
    proxy.script(|request| match request.operation() {
        "CopyObject" => Action::Answer(
            Answer {
                status: 200,
                ..Answer::default()
            }
            .body(
                "<CopyObjectResult><ETag>x</ETag><LastModified>2026-11-27T00:00:00Z</LastModified></CopyObjectResult>"
                    .into(),
            ),
        ),
        _ => Action::Forward,
    });
    let told = yard.run(&["undelete", &target(&kept)]).expect(2).stderr;
    assert!(told.contains("as before"), "{told}");
    proxy.forward_all();
    // As a rule for older versions would.
    sdk.delete(&kept.data_key, own.split(' ').next_back()).unwrap();
    sdk.put(&kept.data_key, &pattern(900, 77));
    for junk in ["current", "below another one"] {
        let told = yard.run(&["undelete", &target(&kept)]).expect(2).stderr;
        assert!(
            told.contains("the image's bytes") || told.contains("no version of"),
            "{junk}: {told}"
        );
        sdk.put(&kept.data_key, b"other junk");
    }
}

/// A wrong time in one answer voids no grace period.
#[test]
fn what_is_young_by_its_own_answer_stays() {
    let yard = Yard::new(&Wish::default());
    let lost = yard.keep(&image("v", 1), pattern(900, 1), b"");
    yard.foreign.delete(&lost.sidecar_key);
    let proxy = beside(&yard);
    for operation in ["ListObjectsV2", "*"] {
        proxy.script(move |request| {
            let is_list = request.operation() == "ListObjectsV2";
            match (operation, request.is("ListObjectsV2", "backups")) {
                ("ListObjectsV2", true) => edited(|body| body.replace("<LastModified>2", "<LastModified>1")),
                ("*", _) if is_list && request.nth == 1 => {
                    Action::edit(|reply: &mut Reply| reply.set("Date", "Fri, 01 Jan 2100 00:00:00 GMT"))
                }
                _ => Action::Forward,
            }
        });
        yard.run(&["gc", "main", "--orphan-data", "--yes"]);
        assert!(
            yard.foreign.list("backups/").contains_key(&lost.data_key),
            "{operation}"
        );
    }
}
