use std::time::Duration;

use nix::sys::signal::Signal;
use vastost::objstore::s3::multipart::UploadRef;
use vastost::ost::abi::{
    STSP_CLOSEF_COMPLETE, STSP_II_BUSY_WRITE, STSP_II_IMAGE_PENDING, STSP_OPEN_READ, STSP_OPEN_WRITE,
};
use vastost::ost::status::{STSP_EBUSY, STSP_EEXIST};
use vastost_testkit::host::Definition;

use super::on_every_server;
use crate::cli::{command, run};
use crate::writer::{Writer, until};
use vastost_testkit::test_store::{CALL, DATE, PART, Site, Wish, pattern, restore, write_all};

on_every_server!(
    an_image_whose_writer_was_killed_goes_on_at_its_last_part,
    an_image_whose_writer_died_before_its_first_part_goes_on_from_the_start,
    a_living_writer_keeps_its_image,
    a_writer_that_was_silent_for_its_lease_loses_its_image_and_notices,
    renewals_keep_a_slow_writer_alive,
    a_writer_of_one_part_that_was_silent_for_its_lease_leaves_its_successor_alone,
    what_a_living_writer_builds_on_is_left_alone,
);

const NAME: &str = "db01_1795305600_C1_F1";

fn start(site: &Site) -> Writer {
    Writer::start(site, command(&site.config), NAME)
}

fn def() -> Definition {
    Definition::new(NAME, DATE)
}

/// How many parts the server has of the one upload that the pending record names.
pub fn parts_on(site: &Site) -> usize {
    let bucket = site.bucket.clone();
    let keys = site.keys_under("pending/");
    let counted = site.with_store(move |store| async move {
        let Some(key) = keys.first() else { return Ok(0) };
        let record: serde_json::Value = serde_json::from_slice(&store.get_small(&bucket, key, 1 << 20).await?).unwrap();
        let (Some(key), Some(upload)) = (record["key"].as_str(), record["upload_id"].as_str()) else {
            return Ok(0);
        };
        Ok(store
            .list_parts(UploadRef {
                bucket: &bucket,
                key,
                id: upload,
            })
            .await?
            .map_or(0, |parts| parts.len()))
    });
    counted.unwrap()
}

fn site(wish: &Wish, lease: &str) -> Site {
    let transfer =
        format!("[transfer]\npart_size = \"5 MiB\"\nimage_size_max = \"8 GiB\"\nwriter_lease = \"{lease}\"\n");
    Site::new(&wish.with(&transfer))
}

fn an_image_whose_writer_was_killed_goes_on_at_its_last_part(wish: &Wish) {
    let site = site(wish, "10 min");
    let data = pattern(4 * PART + 77, 3);
    let mut writer = start(&site);
    writer.write(&data[..2 * PART + (3 << 20)]);
    until("two parts", || parts_on(&site) == 2);
    let server = site.open();
    assert_eq!(
        server.info("main", &def()).unwrap().flags,
        STSP_II_IMAGE_PENDING | STSP_II_BUSY_WRITE
    );
    writer.kill();
    // The writer's end is seen at once: it was a process of this host.
    assert_eq!(server.info("main", &def()).unwrap().flags, STSP_II_IMAGE_PENDING);
    assert_eq!(server.create("main", &def()).err().unwrap().code, STSP_EEXIST);
    assert_eq!(
        server.open("main", &def(), STSP_OPEN_READ).err().unwrap().code,
        STSP_EBUSY
    );
    let again = server.open("main", &def(), STSP_OPEN_WRITE).unwrap();
    assert_eq!(again.info().unwrap().size, 2 * PART as u64);
    write_all(&again, &data[2 * PART..], 2 * PART as u64, CALL);
    again.close(STSP_CLOSEF_COMPLETE).unwrap();
    assert!(restore(&server, &def(), CALL) == data);
    assert_eq!(site.keys_under("").len(), 2, "{:?}", site.keys_under(""));
}

fn an_image_whose_writer_died_before_its_first_part_goes_on_from_the_start(wish: &Wish) {
    let site = site(wish, "10 min");
    let data = pattern(PART + 77, 4);
    let mut writer = start(&site);
    writer.write(&data[..1000]);
    writer.kill();
    let server = site.open();
    let again = server.open("main", &def(), STSP_OPEN_WRITE).unwrap();
    assert_eq!(again.info().unwrap().size, 0);
    write_all(&again, &data, 0, CALL);
    again.close(STSP_CLOSEF_COMPLETE).unwrap();
    assert!(restore(&server, &def(), CALL) == data);
    assert_eq!(site.keys_under("").len(), 2, "{:?}", site.keys_under(""));
}

fn a_living_writer_keeps_its_image(wish: &Wish) {
    let site = site(wish, "10 min");
    let data = pattern(2 * PART, 5);
    let mut writer = start(&site);
    writer.write(&data);
    let server = site.open();
    assert_eq!(
        server.open("main", &def(), STSP_OPEN_WRITE).err().unwrap().code,
        STSP_EBUSY
    );
    assert_eq!(server.delete("main", &def()).unwrap_err().code, STSP_EBUSY);
    run(&site, &["gc", "main", "--older-than", "0s", "--yes"]).expect(0);
    writer.finish().expect(0);
    assert!(restore(&server, &def(), CALL) == data);
}

/// Stops the writer for its lease; a successor goes on from `offset`; the writer goes on, too late.
fn a_successor_finishes(site: &Site, writer: Writer, data: &[u8], offset: usize) {
    writer.signal(Signal::SIGSTOP);
    let server = site.open();
    until("the end of the lease", || {
        server.info("main", &def()).unwrap().flags & STSP_II_BUSY_WRITE == 0
    });
    let again = server.open("main", &def(), STSP_OPEN_WRITE).unwrap();
    write_all(&again, &data[offset..], offset as u64, CALL);
    writer.signal(Signal::SIGCONT);
    let told = writer.finish().expect(2).stderr;
    assert!(told.contains(NAME), "{told}");
    again.close(STSP_CLOSEF_COMPLETE).unwrap();
    assert!(restore(&server, &def(), CALL) == *data);
    assert_eq!(site.keys_under("").len(), 2, "{:?}", site.keys_under(""));
}

fn a_writer_that_was_silent_for_its_lease_loses_its_image_and_notices(wish: &Wish) {
    let site = site(wish, "2 s");
    let data = pattern(4 * PART + 5, 6);
    let mut writer = start(&site);
    writer.write(&data[..2 * PART + (3 << 20)]);
    until("two parts", || parts_on(&site) == 2);
    a_successor_finishes(&site, writer, &data, 2 * PART);
}

fn renewals_keep_a_slow_writer_alive(wish: &Wish) {
    let site = site(wish, "2 s");
    let data = pattern(1000, 7);
    let mut writer = start(&site);
    writer.write(&data);
    let server = site.open();
    for _ in 0..10 {
        std::thread::sleep(Duration::from_millis(500));
        assert_ne!(server.info("main", &def()).unwrap().flags & STSP_II_BUSY_WRITE, 0);
    }
    writer.finish().expect(0);
    assert!(restore(&server, &def(), CALL) == data);
}

fn a_writer_of_one_part_that_was_silent_for_its_lease_leaves_its_successor_alone(wish: &Wish) {
    let site = site(wish, "2 s");
    let data = pattern(70_000, 8);
    let mut writer = start(&site);
    writer.write(&data[..1000]);
    a_successor_finishes(&site, writer, &data, 0);
}

fn what_a_living_writer_builds_on_is_left_alone(wish: &Wish) {
    let site = site(wish, "10 min");
    let data = pattern(3 * PART + 5, 9);
    let server = site.open();
    let image = server.create("main", &def()).unwrap();
    write_all(&image, &data[..2 * PART + 10], 0, CALL);
    image.close(0).unwrap();
    let again = server.open("main", &def(), STSP_OPEN_WRITE).unwrap();
    let before = site.keys_under("");
    let report = run(&site, &["--json", "verify", "main", "--older-than", "0s"])
        .expect(0)
        .json();
    assert_eq!(report["findings"], serde_json::json!([]));
    run(&site, &["gc", "main", "--older-than", "0s", "--yes"]).expect(0);
    assert_eq!(site.keys_under(""), before);
    write_all(&again, &data[2 * PART + 10..], 2 * PART as u64 + 10, CALL);
    again.close(STSP_CLOSEF_COMPLETE).unwrap();
    assert!(restore(&server, &def(), CALL) == data);
}
