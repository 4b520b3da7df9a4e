use vastost::objstore::s3::types::WireCheck;
use vastost::ost::abi::STSP_OPEN_READ;
use vastost::ost::status::{STSP_ECORRUPT, STSP_ENOENT};

use super::on_every_server;
use vastost_testkit::test_store::{CALL, PART, Site, Wish, backup, image, pattern, restore};

on_every_server!(
    every_wire_mode_stores_the_same_image,
    a_byte_changed_on_the_store_is_never_returned_as_good,
    data_that_are_gone_are_said_to_be,
    a_damaged_sidecar_is_said_to_be,
);

fn every_wire_mode_stores_the_same_image(wish: &Wish) {
    for mode in ["auto", "crc64nvme", "md5", "none"] {
        let site = Site::new(&wish.small_parts().with(&format!("[integrity]\nwire = \"{mode}\"\n")));
        let server = site.open();
        for (number, size) in [(1, 100), (2, 2 * PART + 5)] {
            let def = image(mode, number);
            let data = pattern(size, number);
            backup(&server, &def, &data, CALL);
            assert!(restore(&server, &def, CALL) == data, "{mode}, {size} bytes");
        }
        server.close().unwrap();
    }
}

/// Puts other bytes in the place of an image's data.
fn replace_data(site: &Site, data: Vec<u8>) {
    let bucket = site.bucket.clone();
    let key = site.keys_under("backups/").remove(0);
    let put = site.with_store(move |store| async move {
        store.put(&bucket, &key, data.into(), WireCheck::None, &[], false).await
    });
    put.unwrap();
}

fn a_byte_changed_on_the_store_is_never_returned_as_good(wish: &Wish) {
    let site = Site::new(&wish.small_parts());
    let server = site.open();
    let def = image("flip", 1);
    let mut data = pattern(3 * PART, 1);
    backup(&server, &def, &data, CALL);
    data[PART + 1000] ^= 1;
    replace_data(&site, data.clone());
    let opened = server.open("main", &def, STSP_OPEN_READ).unwrap();
    let mut buffer = vec![0; CALL];
    for offset in (0..PART).step_by(CALL) {
        opened.read(&mut buffer, offset as u64).unwrap();
        assert!(buffer == data[offset..offset + CALL], "the first part is whole");
    }
    let error = opened.read(&mut buffer, PART as u64).unwrap_err();
    assert_eq!(error.code, STSP_ECORRUPT);
    assert!(
        error.message.contains("part 2") && error.message.contains("CRC64NVME"),
        "{error}"
    );
    opened.close(0).unwrap();
}

fn data_that_are_gone_are_said_to_be(wish: &Wish) {
    let site = Site::new(wish);
    let server = site.open();
    let def = image("lost", 1);
    backup(&server, &def, b"some bytes", CALL);
    let bucket = site.bucket.clone();
    let key = site.keys_under("backups/").remove(0);
    site.with_store(move |store| async move { store.delete(&bucket, &key, None).await })
        .unwrap();
    let opened = server.open("main", &def, STSP_OPEN_READ).unwrap();
    assert_eq!(opened.read(&mut [0; 10], 0).unwrap_err().code, STSP_ENOENT);
    opened.close(0).unwrap();
}

fn a_damaged_sidecar_is_said_to_be(wish: &Wish) {
    let site = Site::new(wish);
    let server = site.open();
    let def = image("torn", 1);
    backup(&server, &def, b"some bytes", CALL);
    let bucket = site.bucket.clone();
    let key = site.keys_under("catalog/").remove(0);
    let put = site.with_store(move |store| async move {
        store
            .put(&bucket, &key, "{\"schema\":1,".into(), WireCheck::None, &[], false)
            .await
    });
    put.unwrap();
    let error = server.open("main", &def, STSP_OPEN_READ).err().unwrap();
    assert_eq!(error.code, STSP_ECORRUPT);
    assert!(error.message.contains("catalog/torn/20261122/"), "{error}");
}
