use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::{Field, several_parts};
use crate::conformance::on_every_server;
use vastost_testkit::proxy::{Action, Answer};
use vastost_testkit::test_store::{CALL, Wish, image, restore};

on_every_server!(uploads_outlast_a_storm_of_slow_down,);

const IMAGES: u64 = 4;
/// Of [`several_parts`].
const PARTS: u64 = 3;
const STORM: Duration = Duration::from_millis(2500);
/// What a retry takes out of `[retry] token_bucket`, and what is in it by default.
const RETRY_COST: u64 = 5;
const TOKENS: u64 = 5000;

/// From the first part on, every request of four backups is refused for a while with `Retry-After: 1`.
///
/// Under way at once are at most the parts of each image, since all of them may be, and one request beside them: the
/// creation or completion, or the renewal of the pending record. Each is sent at 0, 1 and 2 s and after the storm, no more:
/// 503 is no reason for a second try elsewhere or for another connection.
fn uploads_outlast_a_storm_of_slow_down(wish: &Wish) {
    let field = Field::new(wish);
    let began = Arc::new(OnceLock::new());
    let before = field.proxy.connections() as u64;
    let storm = Arc::clone(&began);
    field.proxy.script(move |request| {
        if request.operation() == "UploadPart" {
            storm.get_or_init(Instant::now);
        }
        match storm.get() {
            Some(began) if began.elapsed() < STORM => {
                Action::Answer(Answer::error(503, "SlowDown").header("Retry-After", "1"))
            }
            _ => Action::Forward,
        }
    });
    std::thread::scope(|scope| {
        for number in 0..IMAGES {
            let field = &field;
            scope.spawn(move || {
                field
                    .try_backup(&image("storm", number), &several_parts(number))
                    .unwrap()
            });
        }
    });
    let refused = field.proxy.faults() as u64;
    let at_once = IMAGES * (PARTS + 1);
    assert!(began.get().unwrap().elapsed() >= STORM);
    assert!(
        (IMAGES..=3 * at_once).contains(&refused),
        "{refused} requests in the storm"
    );
    let connections = field.proxy.connections() as u64 - before;
    assert!(connections <= at_once, "{connections} connections");
    assert!(refused * RETRY_COST < TOKENS / 10, "{refused} retries");
    // There are tokens left: what fails later is tried again.
    field.fail_first(3, "PutObject", "catalog", || {
        Action::Answer(Answer::error(503, "SlowDown"))
    });
    field.survives(&image("storm", IMAGES), &several_parts(IMAGES), "after the storm");
    for number in 0..IMAGES {
        assert!(
            restore(&field.server, &image("storm", number), CALL) == several_parts(number),
            "image {number}"
        );
    }
}
