use std::sync::atomic::{AtomicU64, Ordering};

use vastost::ost::abi::{STSP_CLOSEF_COMPLETE, STSP_II_IMAGE_CREATED, STSP_OPEN_READ};
use vastost::ost::status::STSP_ENOENT;
use vastost_testkit::host::{Definition, HostFilter};

use super::on_every_server;
use vastost_testkit::test_store::{CALL, DATE, PART, Site, Wish, backup, fill, image, pattern, restore};

on_every_server!(
    images_of_awkward_sizes_come_back_byte_for_byte,
    three_gib_come_back_byte_for_byte,
    reads_at_any_offset_and_length_are_exact_and_short_at_the_end,
    names_may_hold_any_byte,
    thirty_two_images_are_written_at_once_by_eight_threads,
    metadata_are_kept_beside_the_image_small_and_large,
    a_deleted_image_leaves_nothing_in_the_bucket,
    properties_tell_definition_size_and_times,
);

fn images_of_awkward_sizes_come_back_byte_for_byte(wish: &Wish) {
    let site = Site::new(&wish.small_parts());
    let server = site.open();
    for (number, size) in (1..).zip([0, 1, 511, 512, 513, PART - 1, PART, PART + 1, 3 * PART, 4 * PART + 77]) {
        let def = image("sizes", number);
        let data = pattern(size, number);
        backup(&server, &def, &data, CALL);
        assert_eq!(server.info("main", &def).unwrap().size, size as u64);
        assert!(restore(&server, &def, CALL) == data, "size {size}");
    }
    assert_eq!(site.keys_under("pending/"), [""; 0]);
    server.close().unwrap();
}

fn three_gib_come_back_byte_for_byte(wish: &Wish) {
    const SIZE: u64 = 3 << 30;
    let site = Site::new(wish);
    let server = site.open();
    let def = image("large", 1);
    let mut expected = vec![0; 1 << 20];
    let mut buffer = vec![0; 1 << 20];
    let written = server.create("main", &def).unwrap();
    for offset in (0..SIZE).step_by(1 << 20) {
        fill(&mut buffer, 9, offset);
        written.write(&buffer, offset).unwrap();
    }
    written.close(STSP_CLOSEF_COMPLETE).unwrap();
    let opened = server.open("main", &def, STSP_OPEN_READ).unwrap();
    for offset in (0..SIZE).step_by(1 << 20) {
        fill(&mut expected, 9, offset);
        assert_eq!(opened.read(&mut buffer, offset).unwrap(), 1 << 20);
        assert!(buffer == expected, "offset {offset}");
    }
    assert_eq!(opened.read(&mut buffer, SIZE).unwrap(), 0);
    opened.close(0).unwrap();
    server.delete("main", &def).unwrap();
}

fn reads_at_any_offset_and_length_are_exact_and_short_at_the_end(wish: &Wish) {
    let site = Site::new(&wish.small_parts());
    let server = site.open();
    let def = image("random", 1);
    let data = pattern(3 * PART + 12_345, 3);
    backup(&server, &def, &data, CALL);
    let opened = server.open("main", &def, STSP_OPEN_READ).unwrap();
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    for round in 0..300 {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let offset = (state >> 20) as usize % (data.len() + 4096);
        let len = [1, 512, 4096, 131_072, 300_000, 2 << 20][round % 6];
        let mut buffer = vec![0xee; len];
        let read = opened.read(&mut buffer, offset as u64).unwrap() as usize;
        let expected = data.get(offset..).map_or(&[][..], |rest| &rest[..len.min(rest.len())]);
        assert!(buffer[..read] == *expected, "{len} bytes at offset {offset}");
    }
    assert_eq!(opened.read(&mut [0; 1], u64::MAX).unwrap(), 0);
    opened.close(0).unwrap();
}

fn names_may_hold_any_byte(wish: &Wish) {
    let site = Site::new(wish);
    let server = site.open();
    let bytes: Vec<u8> = (1..=255).collect();
    let mut defs: Vec<_> = bytes.chunks(16).map(|chunk| Definition::new(chunk, DATE)).collect();
    defs.extend(
        [".", "..", "a/../b", "_", " ", "=", "%2F", "db;rm -rf_1795305600_C1_F1"].map(|name| Definition::new(name, 0)),
    );
    for def in &defs {
        backup(&server, def, &def.basename, CALL);
    }
    for def in &defs {
        assert_eq!(restore(&server, def, 100), def.basename);
        assert_eq!(server.info("main", def).unwrap().def.basename, def.basename);
    }
    let mut listed: Vec<_> = server
        .list("main", &HostFilter::default())
        .unwrap()
        .into_iter()
        .map(|(def, _)| def)
        .collect();
    listed.sort_by(|a, b| a.basename.cmp(&b.basename));
    defs.sort_by(|a, b| a.basename.cmp(&b.basename));
    assert_eq!(listed, defs);
}

fn thirty_two_images_are_written_at_once_by_eight_threads(wish: &Wish) {
    let site = Site::new(&wish.small_parts());
    let server = site.open();
    let next = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let numbers: Vec<_> = (0..4).map(|_| next.fetch_add(1, Ordering::Relaxed)).collect();
                let defs: Vec<_> = numbers.iter().map(|number| image("many", *number)).collect();
                let images: Vec<_> = defs.iter().map(|def| server.create("main", def).unwrap()).collect();
                let data: Vec<_> = numbers.iter().map(|number| pattern(2 * PART + 99, *number)).collect();
                // The four of a thread take turns, as multiplexed jobs do.
                for offset in (0..data[0].len()).step_by(CALL) {
                    for (image, data) in images.iter().zip(&data) {
                        image
                            .write(&data[offset..data.len().min(offset + CALL)], offset as u64)
                            .unwrap();
                    }
                }
                images
                    .iter()
                    .for_each(|image| image.close(STSP_CLOSEF_COMPLETE).unwrap());
                for (def, data) in defs.iter().zip(&data) {
                    assert!(restore(&server, def, CALL) == *data);
                }
            });
        }
    });
    assert_eq!(server.list("main", &HostFilter::default()).unwrap().len(), 32);
}

fn metadata_are_kept_beside_the_image_small_and_large(wish: &Wish) {
    let site = Site::new(wish);
    let server = site.open();
    for (number, size) in (1..).zip([0, 10, 64 << 10, 200_000]) {
        let def = image("meta", number);
        let meta = pattern(size, number);
        let written = server.create("main", &def).unwrap();
        written.write_meta(&meta, 0).unwrap();
        written.write(b"data", 0).unwrap();
        written.close(STSP_CLOSEF_COMPLETE).unwrap();
        let opened = server.open("main", &def, STSP_OPEN_READ).unwrap();
        let mut seen = vec![0; size + 10];
        assert_eq!(opened.read_meta(&mut seen, 0).unwrap() as usize, size);
        assert!(seen[..size] == meta[..]);
        // A complete image keeps its data but may get other metadata.
        opened.write_meta(b"new", 0).unwrap();
        opened.close(0).unwrap();
        let again = server.open("main", &def, STSP_OPEN_READ).unwrap();
        again.read_meta(&mut seen, 0).unwrap();
        assert_eq!(&seen[..3], b"new");
        again.close(0).unwrap();
    }
    assert_eq!(site.keys_under("meta/").len(), 1);
}

fn a_deleted_image_leaves_nothing_in_the_bucket(wish: &Wish) {
    let site = Site::new(&wish.small_parts());
    let server = site.open();
    let def = image("gone", 1);
    let written = server.create("main", &def).unwrap();
    written.write(&pattern(PART + 1, 1), 0).unwrap();
    written.write_meta(&pattern(100_000, 1), 0).unwrap();
    written.close(STSP_CLOSEF_COMPLETE).unwrap();
    assert_eq!(site.keys_under("").len(), 3);
    server.delete("main", &def).unwrap();
    assert_eq!(site.keys_under(""), [""; 0]);
    assert_eq!(server.info("main", &def).unwrap_err().code, STSP_ENOENT);
}

fn properties_tell_definition_size_and_times(wish: &Wish) {
    let site = Site::new(wish);
    let server = site.open();
    let def = Definition {
        policy: b"daily full".into(),
        image_type: 4,
        ..image("prop", 1)
    };
    backup(&server, &def, b"0123456789", 3);
    let info = server
        .info("main", &Definition::new(def.basename.clone(), def.date))
        .unwrap();
    assert_eq!(
        (&info.def, info.size, info.flags, info.lsu.as_str()),
        (&def, 10, STSP_II_IMAGE_CREATED, "main")
    );
    assert!(info.created > DATE - 86_400 * 365 && info.completed >= info.created);
    let opened = server.open("main", &def, STSP_OPEN_READ).unwrap();
    assert_eq!(opened.info().unwrap(), info);
    opened.close(0).unwrap();
    let other = Definition {
        policy: b"weekly".into(),
        ..def
    };
    assert_eq!(server.info("main", &other).unwrap_err().code, STSP_ENOENT);
}
