use vastost::ost::abi::STSP_CLOSEF_COMPLETE;
use vastost::ost::status::{STSP_ENOENT, STSP_EUNAVAIL};

use super::{Field, several_parts};
use crate::conformance::on_every_server;
use vastost_testkit::proxy::{Action, Answer};
use vastost_testkit::test_store::{CALL, Wish, image, restore, write_all};

on_every_server!(
    a_complete_answered_200_with_an_error_inside_is_tried_again,
    a_complete_that_always_carries_an_error_is_not_a_success,
    a_complete_whose_answers_are_all_lost_is_settled,
    a_fresh_object_that_is_not_found_at_first_is_asked_for_again,
    a_false_not_found_does_not_cost_a_good_image_its_record,
    a_delete_may_break_at_any_request,
);

/// What S3 sends when it began to answer before it knew: the status was gone already.
fn inner_error(code: &str) -> Action {
    Action::Answer(Answer {
        status: 200,
        ..Answer::error(200, code)
    })
}

fn a_complete_answered_200_with_an_error_inside_is_tried_again(wish: &Wish) {
    let field = Field::new(wish);
    field.fail_first(2, "CompleteMultipartUpload", "backups", || inner_error("InternalError"));
    field.survives(&image("inner", 1), &several_parts(1), "InternalError");
    field.fail_first(2, "CompleteMultipartUpload", "backups", || inner_error("SlowDown"));
    field.survives(&image("inner", 2), &several_parts(2), "SlowDown");
}

fn a_complete_that_always_carries_an_error_is_not_a_success(wish: &Wish) {
    let field = Field::new(wish);
    let def = image("inner", 3);
    let data = several_parts(3);
    field.fail_all("CompleteMultipartUpload", "backups", || inner_error("InternalError"));
    assert_eq!(field.try_backup(&def, &data).unwrap_err().code, STSP_EUNAVAIL);
    field.is_consistent(&def, &data, "inner error");
}

fn a_complete_whose_answers_are_all_lost_is_settled(wish: &Wish) {
    let field = Field::new(wish);
    field.fail_all("CompleteMultipartUpload", "backups", || Action::DropAnswer);
    field.survives(&image("settled", 1), &several_parts(4), "answers lost");
}

fn not_found() -> Action {
    Action::Answer(Answer {
        status: 404,
        ..Answer::default()
    })
}

fn a_fresh_object_that_is_not_found_at_first_is_asked_for_again(wish: &Wish) {
    let field = Field::new(wish);
    field.fail_first(3, "HeadObject", "backups", not_found);
    field.survives(&image("fresh", 1), &several_parts(5), "the object");
    // The second HEAD is the one after the sidecar: it decides whether the record stays.
    field.proxy.script(|request| {
        let late = request.is("HeadObject", "backups") && (2..5).contains(&request.nth);
        if late { not_found() } else { Action::Forward }
    });
    field.survives(&image("fresh", 2), &several_parts(6), "the record's data");
}

fn a_false_not_found_does_not_cost_a_good_image_its_record(wish: &Wish) {
    let field = Field::new(wish);
    let def = image("false", 1);
    let data = several_parts(7);
    field.proxy.script(|request| {
        let late = request.is("HeadObject", "backups") && request.nth >= 2;
        if late { not_found() } else { Action::Forward }
    });
    let image = field.server.create("main", &def).unwrap();
    write_all(&image, &data, 0, CALL);
    assert_eq!(image.close(STSP_CLOSEF_COMPLETE).unwrap_err().code, STSP_EUNAVAIL);
    field.proxy.forward_all();
    assert!(restore(&field.server, &def, CALL) == data);
}

fn a_delete_may_break_at_any_request(wish: &Wish) {
    let field = Field::new(wish);
    let requests = [
        ("PutObject", "catalog"),
        ("DeleteObject", "backups"),
        ("DeleteObject", "catalog"),
    ];
    for (row, (operation, folder)) in requests.into_iter().enumerate() {
        for (column, (name, fault)) in super::BROKEN.into_iter().chain(super::REFUSED).enumerate() {
            let def = image("gone", (row * 100 + column) as u64);
            vastost_testkit::test_store::backup(&field.server, &def, b"some bytes", CALL);
            field.fail_first(1, operation, folder, fault);
            field
                .server
                .delete("main", &def)
                .unwrap_or_else(|e| panic!("{operation} {folder}, {name}: {e:?}"));
            assert!(field.proxy.faults() > 0, "{operation} {folder}, {name}");
            field.proxy.forward_all();
            assert_eq!(
                field.server.info("main", &def).unwrap_err().code,
                STSP_ENOENT,
                "{operation} {folder}, {name}"
            );
        }
    }
    // What is left is the image that probed the server.
    assert_eq!(field.site.keys_under("").len(), 2);
}
