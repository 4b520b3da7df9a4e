//! A record speaks for its own place only: LSUs that were copied or moved, records that name something else, and what cannot
//! be read. Nothing that an image needs is removed, and every state has a way out.

use serde_json::{Value, json};
use vastost::catalog::audit::report::{Class, Level};
use vastost::engine::checksum::{Crc64, Md5Sum};
use vastost::objstore::s3::multipart::UploadRef;
use vastost::objstore::s3::types::WireCheck;

use super::{Kept, MD5, Yard, place};
use crate::conformance::on_every_server;
use vastost_testkit::test_store::{PART, Wish, image, pattern};

on_every_server!(
    a_moved_lsu_is_whole_where_it_lies_now,
    deletes_in_a_copied_lsu_touch_only_the_copy,
    data_stay_while_the_sidecar_of_their_image_contradicts_itself,
    a_record_that_names_another_image_removes_and_reads_nothing_of_it,
    foreign_objects_below_probe_stay,
    a_pending_record_of_a_later_version_is_left_to_that_version,
    a_pending_record_that_cannot_be_read_costs_no_data,
    parts_with_other_etags_are_proven_by_their_crcs,
    an_upload_that_lists_fewer_parts_than_were_sent_is_left_as_it_is,
    a_pending_record_that_breaks_off_costs_no_parts,
    a_pending_record_that_contradicts_costs_no_parts,
    metadata_stay_while_the_sidecar_lost_their_name,
    gc_keeps_what_repair_completes,
    repair_makes_no_other_image_out_of_a_record_that_tells_size_and_crc,
    repair_keeps_metadata_that_can_still_be_read,
    a_sidecar_without_data_that_cannot_be_read_has_a_way_out,
    a_lease_beyond_all_bounds_ends_all_the_same,
);

const GC_ALL: [&str; 4] = ["--older-than", "0s", "--orphan-data", "--yes"];

fn images(yard: &Yard) -> [Kept; 3] {
    [
        yard.keep(&image("a", 1), pattern(3_000, 1), b"small"),
        yard.keep(&image("a", 2), pattern(2 * PART + 5, 2), &pattern(100_000, 3)),
        yard.keep(&image("b", 3), Vec::new(), b""),
    ]
}

/// What any S3 tool does with `cp --recursive`.
fn copy_lsu(yard: &Yard, to: &str) -> Vec<String> {
    let keys: Vec<String> = yard.foreign.list("").into_keys().collect();
    for key in &keys {
        yard.foreign.put(
            &format!("{to}{key}"),
            &yard.foreign.get(key),
            &yard.foreign.metadata(key),
        );
    }
    keys
}

/// Everything that repairs and cleans, in the order of the documentation and with all that it can be asked for.
fn clean_up(yard: &Yard, lsu: &str) {
    yard.run(&["repair", lsu, "--older-than", "0s", "--deep", "--yes"]);
    yard.run(&[&["gc", lsu], &GC_ALL[..]].concat());
}

fn assert_restores(yard: &Yard, lsu: &str, kept: &Kept) {
    let target = format!(
        "{lsu}/{}:{}",
        String::from_utf8_lossy(&kept.def.basename),
        kept.def.date
    );
    assert!(
        yard.run(&["get", &target, "-"]).expect(0).stdout() == kept.data,
        "{target} is not what was written"
    );
}

fn a_moved_lsu_is_whole_where_it_lies_now(wish: &Wish) {
    let yard = Yard::new(&wish.with(MD5));
    let images = images(&yard);
    copy_lsu(&yard, "side/").iter().for_each(|key| yard.foreign.delete(key));
    let verify = |more: &[&str]| yard.audit(&[&["side", "--older-than", "0s"], more].concat());
    let (code, report) = verify(&[]);
    let found: Vec<_> = report.findings.iter().map(|finding| finding.class).collect();
    // The image of three parts came as one: its ETag is a question.
    assert_eq!((code, found), (0, vec![Class::DataEtag]));
    assert_eq!(verify(&["--deep"]).0, 0);
    clean_up(&yard, "side");
    images.iter().for_each(|kept| assert_restores(&yard, "side", kept));
    let (code, report) = verify(&["--deep", "--strict"]);
    assert_eq!((code, report.findings), (0, vec![]), "repair recorded the new values");
}

fn deletes_in_a_copied_lsu_touch_only_the_copy(wish: &Wish) {
    let yard = Yard::new(wish);
    let images = images(&yard);
    copy_lsu(&yard, "side/");
    let before = yard.foreign.list("backups/");
    clean_up(&yard, "side");
    for kept in &images {
        let target = format!("side/{}:{}", String::from_utf8_lossy(&kept.def.basename), kept.def.date);
        yard.run(&["rm", "--yes", &target]).expect(0);
    }
    clean_up(&yard, "side");
    assert_eq!(yard.foreign.list("backups/"), before);
    assert_eq!(yard.findings(Level::Deep), []);
    images.iter().for_each(|kept| assert_restores(&yard, "main", kept));
    assert!(yard.foreign.list("side/backups/").is_empty());
}

fn put_record(yard: &Yard, key: &str, record: &Value) {
    yard.foreign.put(key, &serde_json::to_vec(record).unwrap(), &[]);
}

fn data_stay_while_the_sidecar_of_their_image_contradicts_itself(wish: &Wish) {
    let yard = Yard::new(wish);
    let kept = yard.keep(&image("a", 1), pattern(3_000, 1), b"");
    let mut wrong = kept.record.clone();
    for key in [
        "backups/elsewhere.nbk".into(),
        kept.data_key.replace(".nbk", ""),
        String::new(),
    ] {
        wrong["data"]["key"] = key.into();
        put_record(&yard, &kept.sidecar_key, &wrong);
        yard.run(&[&["gc", "main"], &GC_ALL[..]].concat());
        assert_eq!(yard.foreign.get(&kept.data_key), kept.data);
    }
    // One that is in order and names another attempt, which is not there.
    let attempt = kept.data_key.rsplit('.').nth(1).unwrap();
    wrong["data"]["key"] = kept.data_key.replace(attempt, "00112233445566ff").into();
    put_record(&yard, &kept.sidecar_key, &wrong);
    yard.run(&[&["gc", "main"], &GC_ALL[..]].concat());
    assert_eq!(yard.foreign.get(&kept.data_key), kept.data);
}

fn a_record_that_names_another_image_removes_and_reads_nothing_of_it(wish: &Wish) {
    let yard = Yard::new(wish);
    let good = yard.keep(&image("a", 1), pattern(3_000, 1), b"");
    let other = yard.keep(&image("a", 2), pattern(3_000, 2), b"");
    let mut stolen = other.record.clone();
    stolen["data"] = good.record["data"].clone();
    (stolen["parts"], stolen["crc64nvme"]) = (good.record["parts"].clone(), good.record["crc64nvme"].clone());
    let target = format!(
        "main/{}:{}",
        String::from_utf8_lossy(&other.def.basename),
        other.def.date
    );
    for state in ["complete", "deleting"] {
        stolen["state"] = state.into();
        put_record(&yard, &other.sidecar_key, &stolen);
        assert_ne!(yard.run(&["get", &target, "-"]).code, 0);
        yard.run(&["rm", "--yes", &target]);
        clean_up(&yard, "main");
        assert_restores(&yard, "main", &good);
    }
    // A pending record of a third image.
    let third = image("a", 3);
    let attempt = "8899aabbccddeeff";
    let record = json!({
        "schema": 1, "state": "incomplete", "attempt": attempt, "key": good.data_key,
        "content": { "data": good.record["data"], "crc64nvme": good.record["crc64nvme"], "parts": good.record["parts"] },
        "image": { "basename": String::from_utf8_lossy(&third.basename), "date": third.date, "policy": "", "type": 0 },
        "created": "2026-11-22T00:00:00Z", "started": "2026-11-22T00:00:00Z",
        "writer": { "host": "gone", "pid": 7, "version": "0.1.0" },
    });
    put_record(&yard, &format!("pending/{}.{attempt}.json", place(&third)), &record);
    yard.run(&[
        "rm",
        "--yes",
        &format!("main/{}:{}", String::from_utf8_lossy(&third.basename), third.date),
    ]);
    clean_up(&yard, "main");
    assert_restores(&yard, "main", &good);
}

fn foreign_objects_below_probe_stay(wish: &Wish) {
    let yard = Yard::new(wish);
    for key in ["probe/thesis.pdf", "probe/backups/x.nbk", "probe/0123"] {
        yard.foreign.put(key, b"not ours", &[]);
    }
    let before = yard.foreign.list("probe/");
    clean_up(&yard, "main");
    assert_eq!(yard.foreign.list("probe/"), before);
}

/// A pending record by a dead writer of the same host, and the data that it speaks of.
pub fn pending(yard: &Yard, number: u64, change: impl Fn(&mut Value)) -> (Kept, String) {
    let kept = yard.keep(&image("late", number), pattern(PART + 7, number), b"");
    let attempt = kept.data_key.rsplit('.').nth(1).unwrap();
    let mut writer = kept.record["writer"].clone();
    writer["process"] = format!("{}1", writer["process"].as_str().unwrap()).into();
    let mut record = json!({
        "schema": 1, "state": "writing", "closing": "complete", "attempt": attempt, "key": kept.data_key,
        "image": kept.record["image"], "sent": kept.record["parts"], "lease_seconds": 600,
        "created": kept.record["created"], "started": kept.record["created"], "writer": writer,
    });
    change(&mut record);
    let key = format!("pending/{}.{attempt}.json", place(&kept.def));
    put_record(yard, &key, &record);
    yard.foreign.delete(&kept.sidecar_key);
    (kept, key)
}

fn a_pending_record_of_a_later_version_is_left_to_that_version(wish: &Wish) {
    let yard = Yard::new(wish);
    pending(&yard, 1, |record| record["schema"] = 2.into());
    let before = yard.foreign.list("");
    clean_up(&yard, "main");
    assert_eq!(yard.foreign.list(""), before);
    assert!(
        yard.verify(&[])
            .1
            .findings
            .iter()
            .any(|finding| finding.advice.contains("upgrade"))
    );
}

fn a_pending_record_that_cannot_be_read_costs_no_data(wish: &Wish) {
    let yard = Yard::new(wish);
    let (kept, key) = pending(&yard, 1, |record| {
        record["closing"] = Value::Null;
        record["writer"] = Value::Null;
    });
    yard.run(&["gc", "main", "--older-than", "0s", "--yes"]).expect(0);
    assert!(!yard.foreign.list("pending/").contains_key(&key));
    let set_aside = yard
        .foreign
        .list("replaced/")
        .into_keys()
        .next()
        .expect("the record is kept");
    // Nothing says that it ever was an image: that is for somebody to decide.
    let told = yard
        .run(&["--json", "repair", "main", "--older-than", "0s", "--deep", "--yes"])
        .expect(1)
        .json();
    assert!(
        told["actions"][0]["detail"].as_str().unwrap().contains(&set_aside),
        "{told}"
    );
    assert_eq!(yard.foreign.get(&kept.data_key), kept.data);
    yard.foreign.delete(&set_aside);
    yard.run(&["repair", "main", "--older-than", "0s", "--deep", "--yes"])
        .expect(0);
    assert_restores(&yard, "main", &kept);
    assert_eq!(yard.findings(Level::Deep), []);
}

/// Parts of an upload that was being completed, and the record of it.
fn closing(yard: &Yard, number: u64, sent: usize) -> (Kept, String) {
    let (kept, key) = pending(yard, number, |record| {
        record["sent"] = (0..sent).map(|at| part_record(at, number)).collect::<Vec<_>>().into();
    });
    yard.foreign.delete(&kept.data_key);
    let bucket = yard.site.bucket.clone();
    let data_key = kept.data_key.clone();
    let begun = yard.site.with_store(move |store| async move {
        let id = store.begin_upload(&bucket, &data_key, &[], false).await?;
        let upload = UploadRef {
            bucket: &bucket,
            key: &data_key,
            id: &id,
        };
        for at in 0..2 {
            let body = bytes::Bytes::from(part(at, number));
            let check = WireCheck::Md5(Md5Sum::of(&body));
            store.upload_part(upload, at as u32 + 1, body, check).await?;
        }
        Ok(id)
    });
    let mut record = yard.foreign.get_json(&key);
    record["upload_id"] = begun.expect("an upload").into();
    put_record(yard, &key, &record);
    let data = [part(0, number), part(1, number)].concat();
    (Kept { data, ..kept }, key)
}

fn part(at: usize, number: u64) -> Vec<u8> {
    pattern(PART + at, number * 10 + at as u64)
}

/// With an ETag of another making, as a bucket has whose objects are encrypted.
fn part_record(at: usize, number: u64) -> Value {
    let bytes = part(at, number);
    let crc = format!("{:016x}", Crc64::of(&bytes).0);
    json!({
        "number": at + 1, "offset": (0..at).map(|at| PART + at).sum::<usize>(), "size": bytes.len(), "crc64nvme": crc,
        "etag": "48ed760a74d2bd1ef0d7ea3e2ccb1ad2",
    })
}

fn parts_with_other_etags_are_proven_by_their_crcs(wish: &Wish) {
    let yard = Yard::new(wish);
    let (kept, _) = closing(&yard, 1, 2);
    yard.run(&["gc", "main", "--older-than", "0s", "--yes"]).expect(0);
    yard.run(&["repair", "main", "--older-than", "0s", "--yes"]).expect(0);
    assert_restores(&yard, "main", &kept);
}

fn an_upload_that_lists_fewer_parts_than_were_sent_is_left_as_it_is(wish: &Wish) {
    let yard = Yard::new(wish);
    let (kept, key) = closing(&yard, 1, 3);
    let told = yard
        .run(&["--json", "repair", "main", "--older-than", "0s", "--yes"])
        .expect(1)
        .json();
    assert!(
        told["actions"][0]["detail"]
            .as_str()
            .unwrap()
            .contains("nothing was changed"),
        "{told}"
    );
    assert_eq!(yard.foreign.uploads().len(), 1);
    assert_eq!(yard.foreign.get_json(&key)["sent"].as_array().unwrap().len(), 3);
    assert!(!yard.foreign.list("backups/").contains_key(&kept.data_key));
    // It has no lease any more, and is named however young it is.
    let (_, report) = yard.audit(&["main"]);
    assert_eq!(
        report.findings.iter().map(|found| found.class).collect::<Vec<_>>(),
        [Class::PendingStale]
    );
    assert!(report.findings[0].advice.contains("--older-than 0s"), "{report:?}");
}

/// Records that are wrong in one field, or say two things: what they may have spoken for stays.
fn a_pending_record_that_contradicts_costs_no_parts(wish: &Wish) {
    let yard = Yard::new(wish);
    let mut uploads = 0;
    let edits: [fn(String) -> String; 10] = [
        |text| {
            text.replacen(
                "\"closing\":\"complete\"",
                "\"closing\":\n\t\"complete\",\"lease_seconds\":-1",
                1,
            )
        },
        |text| {
            text.replacen(
                "\"closing\":\"complete\"",
                "\"closin\\u0067\":\"complete\",\"lease_seconds\":-1",
                1,
            )
        },
        |text| text.replacen("\"closing\":", "\"closing\":\"incomplete\",\"closing\":", 1),
        |text| {
            text.replacen(
                "\"closing\":\"complete\"",
                "\"policy\":\"closing\",\"closing\":\"complete\",\"schema\":1",
                1,
            )
        },
        // Readable.
        |text| text.replacen(&format!("\"size\":{}", PART + 1), &format!("\"size\":{}", PART + 2), 1),
        |text| text.replacen("\"upload_id\":\"", "\"upload_id\":\"nonsense", 1),
        |text| text.replacen("\"sent\":", "\"nothing\":", 1),
        |text| text.replacen("\"upload_id\":", "\"upload_jd\":", 1),
        |text| text.replacen("\"upload_id\":", "\"no\":", 1),
        |text| text.replacen("\"closing\":", "\"cloSing\":", 1),
    ];
    for (number, edit) in (1..).zip(edits) {
        let (kept, key) = closing(&yard, number, 2);
        let text = String::from_utf8(yard.foreign.get(&key)).unwrap();
        let edited = edit(text.clone());
        assert_ne!(edited, text);
        yard.foreign.put(&key, edited.as_bytes(), &[]);
        uploads += 1;
        for command in ["gc", "repair"] {
            yard.run(&[command, "main", "--older-than", "0s", "--yes"]);
            if yard.foreign.list("catalog/").contains_key(&kept.sidecar_key) {
                // MinIO takes some other names for those of its uploads.
                assert_restores(&yard, "main", &kept);
                uploads = yard.foreign.uploads().len();
                break;
            }
            assert_eq!(yard.foreign.uploads().len(), uploads, "edit {number}, {command}");
            assert!(
                yard.foreign.list("pending/").contains_key(&key),
                "edit {number}, {command}"
            );
        }
    }
}

/// Cut within its parts, before the word that it was closing.
fn a_pending_record_that_breaks_off_costs_no_parts(wish: &Wish) {
    let yard = Yard::new(wish);
    let (kept, key) = closing(&yard, 1, 2);
    let whole = yard.foreign.get(&key);
    let text = String::from_utf8(whole.clone()).unwrap();
    let cut = text
        .find("\"offset\"")
        .expect("a part")
        .min(text.find("\"closing\"").expect("closing"));
    yard.foreign.put(&key, &whole[..cut], &[]);
    yard.run(&["gc", "main", "--older-than", "0s", "--yes"]).expect(0);
    assert_eq!(yard.foreign.uploads().len(), 1);
    yard.foreign.put(&key, &whole, &[]);
    yard.run(&["repair", "main", "--older-than", "0s", "--yes"]).expect(0);
    assert_restores(&yard, "main", &kept);
}

fn gc_keeps_what_repair_completes(wish: &Wish) {
    let yard = Yard::new(wish);
    let (kept, key) = pending(&yard, 1, |_| {});
    // Unreadable, and its text says the same.
    let (torn, torn_key) = pending(&yard, 2, |record| record["attempt"] = "junk".into());
    yard.run(&["gc", "main", "--older-than", "0s", "--yes"]).expect(0);
    assert!(yard.foreign.list("pending/").contains_key(&key) && yard.foreign.list("pending/").contains_key(&torn_key));
    assert_eq!(yard.foreign.get(&torn.data_key), torn.data);
    yard.run(&["repair", "main", "--older-than", "0s", "--yes"]).expect(0);
    assert_restores(&yard, "main", &kept);
}

fn repair_makes_no_other_image_out_of_a_record_that_tells_size_and_crc(wish: &Wish) {
    let yard = Yard::new(wish);
    let mut half = pattern(6_000, 1);
    let kept = yard.keep(&image("a", 1), half.clone(), b"");
    let mut wrong = kept.record.clone();
    wrong["writer"] = Value::Null;
    put_record(&yard, &kept.sidecar_key, &wrong);
    let metadata = yard.foreign.metadata(&kept.data_key);
    half[17] ^= 1;
    for bytes in [&kept.data[..3_000], &half[..]] {
        yard.foreign.put(&kept.data_key, bytes, &metadata);
        let refused = yard
            .run(&["--json", "repair", "main", "--older-than", "0s", "--deep", "--yes"])
            .expect(1)
            .json();
        assert!(
            refused["actions"][0]["detail"]
                .as_str()
                .unwrap()
                .contains("nothing was changed"),
            "{refused}"
        );
        assert_eq!(yard.foreign.get_json(&kept.sidecar_key), wrong);
    }
    yard.foreign.put(&kept.data_key, &kept.data, &metadata);
    yard.run(&["repair", "main", "--older-than", "0s", "--deep", "--yes"])
        .expect(0);
    assert_restores(&yard, "main", &kept);
    assert!(yard.foreign.get_json(&kept.sidecar_key)["rebuilt"].is_string());
}

fn metadata_stay_while_the_sidecar_lost_their_name(wish: &Wish) {
    let yard = Yard::new(wish);
    let kept = yard.keep(&image("a", 1), pattern(600, 1), &pattern(100_000, 2));
    let meta = kept.record["meta"]["key"].as_str().expect("an object").to_owned();
    let attempt = kept.data_key.rsplit('.').nth(1).unwrap();
    let mut other = kept.record.clone();
    other["meta"]["key"] = meta.replace(attempt, "00112233445566ff").into();
    let mut without = kept.record.clone();
    without.as_object_mut().unwrap().remove("meta");
    for wrong in [other, without] {
        put_record(&yard, &kept.sidecar_key, &wrong);
        yard.run(&[&["gc", "main"], &GC_ALL[..]].concat());
        assert!(yard.foreign.list("meta/").contains_key(&meta));
    }
}

fn repair_keeps_metadata_that_can_still_be_read(wish: &Wish) {
    let yard = Yard::new(wish);
    let kept = yard.keep(&image("a", 1), pattern(600, 1), b"inline metadata");
    let mut wrong = kept.record.clone();
    (wrong["completed"], wrong["x-later"]) = (Value::Null, "unknown".into());
    put_record(&yard, &kept.sidecar_key, &wrong);
    yard.run(&["repair", "main", "--older-than", "0s", "--deep", "--yes"])
        .expect(0);
    let now = yard.foreign.get_json(&kept.sidecar_key);
    for field in ["meta", "image", "data", "parts", "crc64nvme", "created", "writer"] {
        assert_eq!(now[field], kept.record[field], "{field}");
    }
    assert_eq!(now["x-later"], "unknown");
}

fn a_sidecar_without_data_that_cannot_be_read_has_a_way_out(wish: &Wish) {
    let yard = Yard::new(wish);
    let kept = yard.keep(&image("a", 1), pattern(600, 1), b"");
    yard.foreign.put(&kept.sidecar_key, b"{", &[]);
    let rm = || yard.server.delete("main", &kept.def);
    // As long as the data are there they are worth more than the wish.
    assert!(rm().unwrap_err().to_string().contains("repair"));
    assert_eq!(yard.foreign.get(&kept.data_key), kept.data);
    yard.foreign.delete(&kept.data_key);
    rm().unwrap();
    assert!(yard.foreign.list("catalog/").is_empty());
    assert_eq!(yard.foreign.list("replaced/").len(), 1);
    yard.keep(&kept.def, pattern(700, 2), b"");
}

fn a_lease_beyond_all_bounds_ends_all_the_same(wish: &Wish) {
    let yard = Yard::new(wish);
    let (_, key) = pending(&yard, 1, |record| {
        record["lease_seconds"] = 1_000_000_000_000_000_000u64.into();
        record["writer"]["process"] = "another-boot/pid:[1]/1".into();
    });
    let found = yard.verify(&[]).1.findings;
    let named = found
        .iter()
        .any(|finding| finding.key.as_ref() == Some(&key) && finding.found.contains("lease"));
    assert!(named, "{found:?}");
}
