use vastost::ost::abi::STSP_CLOSEF_COMPLETE;
use vastost::ost::status::{STSP_ECORRUPT, STSP_ENETWORK, STSP_ETIMEOUT, STSP_EUNAVAIL};

use super::{BROKEN, Fault, Field, REFUSED, RETRY, SILENT, several_parts};
use crate::conformance::on_every_server;
use vastost_testkit::proxy::{Action, Answer, Proxy, When};
use vastost_testkit::test_store::{CALL, PART, Site, Wish, image, pattern, restore, write_all};

on_every_server!(
    any_request_of_a_backup_may_break_once,
    any_request_of_a_backup_may_be_refused_for_a_while,
    any_request_of_a_backup_may_stay_unanswered_once,
    a_backup_that_cannot_be_finished_leaves_no_half_image,
    a_backup_to_a_silent_server_ends_at_the_deadline,
    a_byte_that_flips_once_on_the_way_out_is_sent_again,
    a_byte_that_always_flips_on_the_way_out_is_never_stored_as_good,
    image_metadata_survive_what_the_image_survives,
    a_record_that_is_not_found_at_first_ends_no_job,
    a_success_that_is_not_the_stores_is_not_believed,
);

/// The requests of a backup in their order, and whether the image is one part.
const REQUESTS: [(&str, &str, bool); 8] = [
    ("PutObject", "pending", false),
    ("CreateMultipartUpload", "backups", false),
    ("UploadPart", "backups", false),
    ("CompleteMultipartUpload", "backups", false),
    ("PutObject", "backups", true),
    ("HeadObject", "backups", false),
    ("PutObject", "catalog", false),
    ("DeleteObject", "pending", false),
];

fn data_of(small: bool, seed: u64) -> Vec<u8> {
    if small {
        pattern(70_000, seed)
    } else {
        several_parts(seed)
    }
}

/// One backup for each request and fault: the first `times` such requests meet it.
fn each_request_survives(wish: &Wish, faults: &[(&str, Fault)], times: usize) {
    let field = Field::new(wish);
    for (row, (operation, folder, small)) in REQUESTS.into_iter().enumerate() {
        for (column, (name, fault)) in faults.iter().enumerate() {
            let number = (row * 100 + column) as u64;
            field.fail_first(times, operation, folder, *fault);
            field.survives(
                &image("once", number),
                &data_of(small, number),
                &format!("{operation} {folder}, {name}"),
            );
        }
    }
    assert_eq!(field.site.keys_under("pending/"), [""; 0]);
}

fn any_request_of_a_backup_may_break_once(wish: &Wish) {
    each_request_survives(wish, &BROKEN, 1);
}

fn any_request_of_a_backup_may_be_refused_for_a_while(wish: &Wish) {
    each_request_survives(wish, &REFUSED, 2);
}

fn any_request_of_a_backup_may_stay_unanswered_once(wish: &Wish) {
    each_request_survives(wish, &SILENT, 1);
}

fn a_backup_that_cannot_be_finished_leaves_no_half_image(wish: &Wish) {
    let field = Field::new(wish);
    let faults: [(&str, Fault, i32); 4] = [
        ("reset", || Action::ResetRequest(When::After), STSP_ENETWORK),
        ("answers lost", || Action::DropAnswer, STSP_ENETWORK),
        (
            "500",
            || Action::Answer(Answer::error(500, "InternalError")),
            STSP_EUNAVAIL,
        ),
        ("503", || Action::Answer(Answer::error(503, "SlowDown")), STSP_EUNAVAIL),
    ];
    for (row, (operation, folder, small)) in REQUESTS.into_iter().enumerate() {
        for (column, (name, fault, code)) in faults.into_iter().enumerate() {
            let number = (row * 100 + column) as u64;
            let def = image("never", number);
            let data = data_of(small, number);
            let what = format!("{operation} {folder}, {name}");
            field.fail_all(operation, folder, fault);
            match field.try_backup(&def, &data) {
                // An effect that took place and is seen by other means is no failure.
                Ok(()) => {
                    let harmless = operation == "DeleteObject" || name == "answers lost";
                    assert!(harmless, "{what}: reported good");
                    field.proxy.forward_all();
                    assert!(restore(&field.server, &def, CALL) == data, "{what}");
                }
                Err(error) => assert_eq!(error.code, code, "{what}: {error}"),
            }
            field.is_consistent(&def, &data, &what);
        }
    }
}

fn a_backup_to_a_silent_server_ends_at_the_deadline(wish: &Wish) {
    let field = Field::new(wish);
    let requests = [
        ("UploadPart", "backups", false),
        ("CompleteMultipartUpload", "backups", false),
        ("PutObject", "catalog", true),
    ];
    for (number, (operation, folder, small)) in (1..).zip(requests) {
        let def = image("silent", number);
        let data = data_of(small, number);
        field.fail_all(operation, folder, || Action::Hold);
        let error = field.try_backup(&def, &data).unwrap_err();
        assert_eq!(error.code, STSP_ETIMEOUT, "{operation} {folder}: {error}");
        field.is_consistent(&def, &data, operation);
    }
}

/// Requests with a body that matters, and where in it the byte is.
const BODIES: [(&str, &str, bool, u64); 5] = [
    ("PutObject", "pending", false, 100),
    ("UploadPart", "backups", false, PART as u64 - 7),
    ("CompleteMultipartUpload", "backups", false, 120),
    ("PutObject", "backups", true, 69_999),
    ("PutObject", "catalog", false, 200),
];

fn flip_at(field: &Field, times: usize, operation: &'static str, folder: &'static str, at: u64) {
    field.proxy.script(move |request| {
        if request.is(operation, folder) && request.nth <= times {
            Action::FlipRequest(at)
        } else {
            Action::Forward
        }
    });
}

fn a_byte_that_flips_once_on_the_way_out_is_sent_again(wish: &Wish) {
    let field = Field::new(wish);
    for (number, (operation, folder, small, at)) in (1..).zip(BODIES) {
        flip_at(&field, 1, operation, folder, at);
        field.survives(
            &image("flip", number),
            &data_of(small, number),
            &format!("{operation} {folder}"),
        );
    }
}

fn a_byte_that_always_flips_on_the_way_out_is_never_stored_as_good(wish: &Wish) {
    let field = Field::new(wish);
    for (number, (operation, folder, small, at)) in (1..).zip(BODIES) {
        let def = image("flips", number);
        let data = data_of(small, number);
        flip_at(&field, usize::MAX, operation, folder, at);
        let error = field.try_backup(&def, &data).unwrap_err();
        // s3s calls a signed body with the wrong hash an error of its own.
        let codes = [STSP_ECORRUPT, if wish.minio { STSP_ECORRUPT } else { STSP_EUNAVAIL }];
        assert!(codes.contains(&error.code), "{operation} {folder}: {error}");
        field.is_consistent(&def, &data, operation);
    }
}

fn image_metadata_survive_what_the_image_survives(wish: &Wish) {
    let field = Field::new(wish);
    let meta = pattern(100_000, 5);
    for (number, (name, fault)) in (1..).zip(
        BROKEN
            .into_iter()
            .chain([("flip", (|| Action::FlipRequest(7)) as Fault)]),
    ) {
        let def = image("meta", number);
        field.fail_first(1, "PutObject", "meta", fault);
        let written = field.server.create("main", &def).unwrap();
        written.write_meta(&meta, 0).unwrap();
        written.write(b"data", 0).unwrap();
        written.close(vastost::ost::abi::STSP_CLOSEF_COMPLETE).unwrap();
        assert!(field.proxy.faults() > 0, "{name}");
        let opened = field
            .server
            .open("main", &def, vastost::ost::abi::STSP_OPEN_READ)
            .unwrap();
        let mut seen = vec![0; meta.len()];
        assert_eq!(opened.read_meta(&mut seen, 0).unwrap() as usize, meta.len());
        assert!(seen == meta, "{name}");
        opened.close(0).unwrap();
    }
}

fn a_record_that_is_not_found_at_first_ends_no_job(wish: &Wish) {
    let site = Site::new(&wish.small_parts().with("writer_lease = \"1 s\"\n").with(RETRY));
    let proxy = Proxy::start(&site.url);
    site.point_at(&[proxy.url()]);
    let server = site.open();
    let def = image("late", 1);
    let data = several_parts(1);
    let written = server.create("main", &def).unwrap();
    write_all(&written, &data, 0, CALL);
    // Each renewal that comes late looks first, and asks a front-end that does not know the record yet.
    proxy.script(
        |request| match request.is("HeadObject", "pending") && request.nth <= 2 {
            true => Action::Answer(Answer {
                status: 404,
                ..Answer::default()
            }),
            false => Action::Forward,
        },
    );
    crate::writer::until("two looks at the record", || proxy.faults() == 2);
    written.close(STSP_CLOSEF_COMPLETE).expect("close");
    assert!(restore(&server, &def, CALL) == data);
}

/// A gateway that says yes of its own accord, and stores nothing.
fn a_success_that_is_not_the_stores_is_not_believed(wish: &Wish) {
    let field = Field::new(wish);
    let stored = REQUESTS
        .into_iter()
        .filter(|(operation, ..)| ["PutObject", "UploadPart"].contains(operation));
    for (number, (operation, folder, small)) in (1..).zip(stored) {
        let def = image("believed", number);
        let data = data_of(small, number);
        field.fail_all(operation, folder, || {
            Action::Answer(Answer {
                status: 200,
                ..Answer::default()
            })
        });
        let done = field.try_backup(&def, &data);
        assert!(done.is_err(), "{operation} {folder}: reported good");
        assert!(field.proxy.faults() > 0, "{operation} {folder}");
        field.is_consistent(&def, &data, &format!("{operation} {folder}"));
    }
}
