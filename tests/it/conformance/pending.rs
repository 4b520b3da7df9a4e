use bytes::Bytes;
use vastost::objstore::s3::types::WireCheck;
use vastost::ost::abi::{
    STSP_CLOSEF_COMPLETE, STSP_II_BUSY_WRITE, STSP_II_IMAGE_CREATED, STSP_II_IMAGE_PENDING, STSP_LISTF_PENDING,
    STSP_OPEN_READ, STSP_OPEN_WRITE,
};
use vastost::ost::status::{STSP_EACCESS, STSP_EBUSY, STSP_ECORRUPT, STSP_EEXIST, STSP_ENOENT};
use vastost_testkit::host::HostFilter;

use super::on_every_server;
use vastost_testkit::test_store::{CALL, PART, Site, Wish, image, pattern, read_all, restore, write_all};

on_every_server!(
    an_image_closed_incomplete_is_read_reopened_and_finished_elsewhere,
    an_image_is_reopened_many_times,
    flags_follow_the_life_of_an_image,
    a_pending_image_can_be_deleted,
    an_image_that_is_completed_while_a_list_is_read_is_not_named_pending,
    a_complete_image_is_never_writable_again,
    an_image_whose_data_were_cut_is_not_gone_on_with,
    an_image_deleted_elsewhere_while_it_is_written_is_not_complete_without_data,
);

fn an_image_closed_incomplete_is_read_reopened_and_finished_elsewhere(wish: &Wish) {
    let site = Site::new(&wish.small_parts());
    for (number, first) in (1..).zip([0, 100, PART, 2 * PART + 1000]) {
        let def = image("check", number);
        let data = pattern(4 * PART + 7, number);
        let here = site.open();
        let written = here.create("main", &def).unwrap();
        write_all(&written, &data[..first], 0, CALL);
        written.write_meta(b"kept", 0).unwrap();
        written.close(0).unwrap();
        assert!(restore(&here, &def, CALL) == data[..first], "pending, {first} bytes");
        let elsewhere = site.open();
        let again = elsewhere.open("main", &def, STSP_OPEN_WRITE).unwrap();
        assert_eq!(again.info().unwrap().size, first as u64);
        write_all(&again, &data[first..], first as u64, CALL);
        again.close(STSP_CLOSEF_COMPLETE).unwrap();
        let opened = here.open("main", &def, STSP_OPEN_READ).unwrap();
        let mut meta = [0; 10];
        assert_eq!(opened.read_meta(&mut meta, 0).unwrap(), 4);
        assert!(read_all(&opened, CALL) == data, "first {first} bytes");
    }
    assert_eq!(site.keys_under("pending/"), [""; 0]);
    assert_eq!(site.keys_under("backups/").len(), 4);
}

fn an_image_is_reopened_many_times(wish: &Wish) {
    let site = Site::new(&wish.small_parts());
    let server = site.open();
    let def = image("steps", 1);
    let data = pattern(2 * PART, 4);
    server.create("main", &def).unwrap().close(0).unwrap();
    let step = PART / 3;
    for (index, piece) in data.chunks(step).enumerate() {
        let again = server.open("main", &def, STSP_OPEN_WRITE).unwrap();
        write_all(&again, piece, (index * step) as u64, CALL);
        again.close(0).unwrap();
    }
    assert_eq!(site.keys_under("pending/").len(), 1);
    server
        .open("main", &def, STSP_OPEN_WRITE)
        .unwrap()
        .close(STSP_CLOSEF_COMPLETE)
        .unwrap();
    assert!(restore(&server, &def, CALL) == data);
    assert_eq!(site.keys_under("").len(), 2);
}

fn flags_follow_the_life_of_an_image(wish: &Wish) {
    let site = Site::new(wish);
    let server = site.open();
    let def = image("life", 1);
    let written = server.create("main", &def).unwrap();
    written.write(b"12345", 0).unwrap();
    let info = written.info().unwrap();
    assert_eq!(
        (info.flags, info.size, info.completed),
        (STSP_II_IMAGE_PENDING | STSP_II_BUSY_WRITE, 5, 0)
    );
    assert_eq!(
        site.open().info("main", &def).unwrap().flags,
        STSP_II_IMAGE_PENDING | STSP_II_BUSY_WRITE
    );
    written.close(0).unwrap();
    let info = server.info("main", &def).unwrap();
    assert_eq!((info.flags, info.size), (STSP_II_IMAGE_PENDING, 5));
    server
        .open("main", &def, STSP_OPEN_WRITE)
        .unwrap()
        .close(STSP_CLOSEF_COMPLETE)
        .unwrap();
    let info = server.info("main", &def).unwrap();
    assert_eq!((info.flags, info.size), (STSP_II_IMAGE_CREATED, 5));
    assert!(info.completed > 0);
}

fn a_pending_image_can_be_deleted(wish: &Wish) {
    let site = Site::new(&wish.small_parts());
    let server = site.open();
    let def = image("drop", 1);
    let written = server.create("main", &def).unwrap();
    write_all(&written, &pattern(2 * PART, 1), 0, CALL);
    assert_eq!(server.delete("main", &def).unwrap_err().code, STSP_EBUSY);
    written.close(0).unwrap();
    server.delete("main", &def).unwrap();
    assert_eq!(site.keys_under(""), [""; 0]);
    assert_eq!(server.delete("main", &def).unwrap_err().code, STSP_ENOENT);
    assert!(server.list("main", &HostFilter::default()).unwrap().is_empty());
}

fn a_complete_image_is_never_writable_again(wish: &Wish) {
    let site = Site::new(wish);
    let server = site.open();
    let def = image("final", 1);
    server
        .create("main", &def)
        .unwrap()
        .close(STSP_CLOSEF_COMPLETE)
        .unwrap();
    assert_eq!(
        server.open("main", &def, STSP_OPEN_WRITE).err().unwrap().code,
        STSP_EACCESS
    );
    assert_eq!(server.create("main", &def).err().unwrap().code, STSP_EEXIST);
}

fn an_image_deleted_elsewhere_while_it_is_written_is_not_complete_without_data(wish: &Wish) {
    let site = Site::new(&wish.small_parts());
    let server = site.open();
    let def = image("race", 1);
    let written = server.create("main", &def).unwrap();
    write_all(&written, &pattern(PART + 5, 1), 0, CALL);
    written.flush().unwrap();
    // What a delete of another process does: everything of the attempt is removed.
    let bucket = site.bucket.clone();
    let keys = site.keys_under("pending/");
    let removed = site.with_store(move |store| async move {
        for upload in store.list_uploads(&bucket, None).await?.uploads {
            store.abort_upload(upload.in_bucket(&bucket)).await?;
        }
        store.delete(&bucket, &keys[0], None).await
    });
    removed.unwrap();
    written.close(STSP_CLOSEF_COMPLETE).unwrap_err();
    assert_eq!(server.info("main", &def).unwrap_err().code, STSP_ENOENT);
    assert_eq!(site.keys_under(""), [""; 0]);
}

fn an_image_whose_data_were_cut_is_not_gone_on_with(wish: &Wish) {
    let site = Site::new(&wish.small_parts());
    let server = site.open();
    let def = image("cut", 1);
    let data = pattern(2 * PART + 1000, 3);
    let written = server.create("main", &def).unwrap();
    write_all(&written, &data, 0, CALL);
    written.close(0).unwrap();
    let key = site.keys_under("backups/").remove(0);
    let cut = Bytes::from(data[..PART + 1].to_vec());
    let bucket = site.bucket.clone();
    site.with_store(|store| async move { store.put(&bucket, &key, cut, WireCheck::None, &[], false).await })
        .unwrap();
    let error = server.open("main", &def, STSP_OPEN_WRITE).map(drop).unwrap_err();
    assert_eq!(error.code, STSP_ECORRUPT, "{error}");
    assert!(error.message.contains(&format!("has {} bytes", PART + 1)), "{error}");
    // What is left of it stays, and can be removed.
    assert_eq!(site.keys_under("backups/").len(), 1);
    server.delete("main", &def).unwrap();
    assert_eq!(site.keys_under(""), [""; 0]);
}

fn an_image_that_is_completed_while_a_list_is_read_is_not_named_pending(wish: &Wish) {
    let site = Site::new(wish);
    let server = site.open();
    // More than are looked up at once.
    let count = 40;
    for number in 0..count {
        let written = server.create("main", &image("moving", number)).unwrap();
        written.write(b"bytes", 0).unwrap();
        written.close(0).unwrap();
    }
    let last = image("moving", count - 1);
    let filter = HostFilter {
        flags: STSP_LISTF_PENDING,
        ..HostFilter::default()
    };
    let mut names = Vec::new();
    let listed = server.for_each_image("main", &filter, |def, _| {
        if names.is_empty() {
            let again = server.open("main", &last, STSP_OPEN_WRITE).unwrap();
            again.close(STSP_CLOSEF_COMPLETE).unwrap();
        }
        names.push(def.basename);
    });
    listed.unwrap();
    assert_eq!(names.len() as u64, count - 1);
    assert!(!names.contains(&last.basename));
}
