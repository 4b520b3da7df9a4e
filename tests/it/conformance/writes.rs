use vastost::ost::abi::{STSP_CLOSEF_COMPLETE, STSP_OPEN_READ, STSP_OPEN_WRITE};
use vastost::ost::status::{STSP_EHANDLE, STSP_ENETWORK, STSP_ENOSPC, STSP_EOFFSET};

use super::on_every_server;
use vastost_testkit::test_store::{CALL, PART, Site, Wish, backup, image, pattern, restore, write_all};

on_every_server!(
    bytes_of_the_open_part_can_be_rewritten,
    other_offsets_are_refused_and_the_image_stays_usable,
    an_image_beyond_the_configured_size_is_refused,
    flush_waits_for_the_full_parts,
);

fn bytes_of_the_open_part_can_be_rewritten(wish: &Wish) {
    let site = Site::new(&wish.small_parts());
    let server = site.open();
    let def = image("rewrite", 1);
    let mut data = pattern(2 * PART + 3000, 1);
    let written = server.create("main", &def).unwrap();
    write_all(&written, &data[..PART + 2000], 0, CALL);
    // Over bytes of the open part, and from its middle beyond its end.
    data[PART..PART + 512].fill(7);
    written.write(&data[PART..PART + 512], PART as u64).unwrap();
    data[PART + 1500..PART + 2600].fill(8);
    written
        .write(&data[PART + 1500..PART + 2600], PART as u64 + 1500)
        .unwrap();
    write_all(&written, &data[PART + 2600..], PART as u64 + 2600, CALL);
    written.close(STSP_CLOSEF_COMPLETE).unwrap();
    assert!(restore(&server, &def, CALL) == data);
}

fn other_offsets_are_refused_and_the_image_stays_usable(wish: &Wish) {
    let site = Site::new(&wish.small_parts());
    let server = site.open();
    let def = image("offset", 1);
    let data = pattern(PART + 100, 1);
    let written = server.create("main", &def).unwrap();
    write_all(&written, &data, 0, CALL);
    for offset in [0, PART as u64 - 1, PART as u64 + 101, u64::MAX] {
        assert_eq!(
            written.write(b"x", offset).unwrap_err().code,
            STSP_EOFFSET,
            "offset {offset}"
        );
    }
    written.write(b"tail", data.len() as u64).unwrap();
    written.close(STSP_CLOSEF_COMPLETE).unwrap();
    assert_eq!(restore(&server, &def, CALL), [&data[..], b"tail"].concat());
}

fn an_image_beyond_the_configured_size_is_refused(wish: &Wish) {
    let site = Site::new(&wish.with("[transfer]\nimage_size_max = \"1 MB\"\n"));
    let server = site.open();
    let def = image("big", 1);
    let written = server.create("main", &def).unwrap();
    written.write(&[1; 1_000_000], 0).unwrap();
    assert_eq!(written.write(b"x", 1_000_000).unwrap_err().code, STSP_ENOSPC);
    written.close(STSP_CLOSEF_COMPLETE).unwrap();
    assert_eq!(server.info("main", &def).unwrap().size, 1_000_000);
}

fn flush_waits_for_the_full_parts(wish: &Wish) {
    let site = Site::new(&wish.small_parts());
    let server = site.open();
    let def = image("flush", 1);
    let data = pattern(2 * PART + 1, 1);
    let written = server.create("main", &def).unwrap();
    write_all(&written, &data, 0, CALL);
    written.flush().unwrap();
    written.flush().unwrap();
    written.close(STSP_CLOSEF_COMPLETE).unwrap();
    assert!(restore(&server, &def, CALL) == data);
}

const IMPATIENT: &str = "[retry]\nattempts = 2\noperation_timeout = \"5 s\"\n";

#[test]
fn a_late_error_is_returned_by_the_next_write_and_the_close_never_says_complete() {
    let mut site = Site::new(&Wish::default().small_parts().with(IMPATIENT));
    let server = site.open();
    let def = image("late", 1);
    let data = pattern(PART, 1);
    backup(&server, &image("before", 1), b"x", CALL);
    let written = server.create("main", &def).unwrap();
    write_all(&written, &data, 0, CALL);
    written.write(b"one more", PART as u64).unwrap();
    written.flush().unwrap();
    site.stop_server();
    let mut offset = PART as u64 + 8;
    let error = loop {
        match written.write(&data[..CALL], offset) {
            Ok(len) => offset += len,
            Err(error) => break error,
        }
        assert!(offset < 40 * PART as u64, "no write ever failed");
    };
    assert_eq!(error.code, STSP_ENETWORK, "{error}");
    assert!(error.message.contains("LSU main, image late_"), "{error}");
    assert_eq!(written.close(STSP_CLOSEF_COMPLETE).unwrap_err().code, STSP_ENETWORK);
    assert_eq!(
        written.close(0).unwrap_err().code,
        STSP_EHANDLE,
        "a close that fails releases the handle"
    );
    server.close().unwrap();
}

#[test]
fn a_late_error_that_no_write_saw_is_returned_by_the_close() {
    let mut site = Site::new(&Wish::default().small_parts().with(IMPATIENT));
    let server = site.open();
    let def = image("late", 2);
    let data = pattern(PART, 1);
    backup(&server, &image("before", 2), b"x", CALL);
    let written = server.create("main", &def).unwrap();
    written.write(&data, 0).unwrap();
    written.write(&data, PART as u64).unwrap();
    written.flush().unwrap();
    site.stop_server();
    // Sends the second part, which fails behind the host's back.
    written.write(&data, 2 * PART as u64).unwrap();
    assert_eq!(written.close(0).unwrap_err().code, STSP_ENETWORK);
    assert_eq!(
        server.open("main", &def, STSP_OPEN_READ).err().unwrap().code,
        STSP_ENETWORK
    );
    server.close().unwrap();
}

#[test]
fn an_incomplete_close_after_a_failure_keeps_what_was_durable_and_says_so_once() {
    let mut site = Site::new(&Wish::default().small_parts().with(IMPATIENT));
    let server = site.open();
    let def = image("kept", 1);
    let data = pattern(PART, 1);
    let written = server.create("main", &def).unwrap();
    written.write(&data, 0).unwrap();
    written.write(&data, PART as u64).unwrap();
    written.flush().unwrap();
    site.stop_server();
    // Sends the second part, which fails behind the host's back.
    written.write(b"third", 2 * PART as u64).unwrap();
    assert_eq!(written.flush().unwrap_err().code, STSP_ENETWORK);
    site.start_server();
    written.close(0).unwrap();
    assert!(restore(&server, &def, CALL) == data, "the first part was on the store");
    server.close().unwrap();
}

#[test]
fn a_failure_after_a_reopen_never_costs_what_was_kept_before() {
    let mut site = Site::new(&Wish::default().small_parts().with(IMPATIENT));
    let server = site.open();
    let def = image("base", 1);
    let data = pattern(PART + 1000, 1);
    let written = server.create("main", &def).unwrap();
    write_all(&written, &data, 0, CALL);
    written.close(0).unwrap();
    let again = server.open("main", &def, STSP_OPEN_WRITE).unwrap();
    again.write(&pattern(PART - 1000, 2), data.len() as u64).unwrap();
    site.stop_server();
    // The part with the tail of what was there goes out, and fails.
    again.write(b"more", 2 * PART as u64).unwrap();
    assert_eq!(again.flush().unwrap_err().code, STSP_ENETWORK);
    site.start_server();
    again.close(0).unwrap();
    assert!(restore(&server, &def, CALL) == data);
    assert_eq!(
        site.keys_under("pending/").len(),
        1,
        "the failed attempt has left nothing"
    );
    assert_eq!(site.keys_under("backups/").len(), 1);
    server.close().unwrap();
}
