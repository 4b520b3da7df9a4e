use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{Field, several_parts};
use crate::conformance::on_every_server;
use vastost_testkit::proxy::{Action, Answer, Request};
use vastost_testkit::test_store::{CALL, Wish, backup, image, pattern, restore};

on_every_server!(
    a_wrong_clock_costs_one_attempt,
    a_wrong_clock_is_noticed_where_the_answer_has_no_body,
    retry_after_is_obeyed,
);

const HOUR: u64 = 3600;

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn http_date(seconds: u64) -> String {
    let time = jiff::Timestamp::from_second(seconds as i64).unwrap();
    jiff::fmt::rfc2822::DateTimePrinter::new()
        .timestamp_to_rfc9110_string(&time)
        .unwrap()
}

/// When a request was signed.
fn signed(request: &Request) -> u64 {
    let text = request.header("x-amz-date").unwrap();
    let time = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", text).unwrap();
    time.to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp().as_second() as u64
}

/// What a server says whose clock is an hour ahead of the host's: seen from here, the host is an hour late.
fn too_skewed() -> Action {
    Action::Answer(Answer::error(403, "RequestTimeTooSkewed").header("Date", http_date(now() + HOUR)))
}

/// The proxy plays a server an hour ahead for two requests. Then the real one, for which the plug-in has become an hour
/// too early, refuses and corrects in turn.
fn a_wrong_clock_costs_one_attempt(wish: &Wish) {
    let field = Field::new(wish);
    field.fail_first(2, "PutObject", "pending", too_skewed);
    let def = image("clock", 1);
    let data = several_parts(1);
    backup(&field.server, &def, &data, CALL);
    let puts: Vec<_> = field
        .proxy
        .recent()
        .into_iter()
        .filter(|r| r.is("PutObject", "pending"))
        .collect();
    let ahead: Vec<_> = puts.iter().map(|put| signed(put).saturating_sub(now()) / 60).collect();
    assert_eq!(
        (ahead[0], ahead[1].abs_diff(60) <= 2),
        (0, true),
        "minutes ahead: {ahead:?}"
    );
    assert_eq!(ahead.last(), Some(&0), "the real server's time again");
    field.proxy.forward_all();
    assert!(restore(&field.server, &def, CALL) == data);
}

fn a_wrong_clock_is_noticed_where_the_answer_has_no_body(wish: &Wish) {
    let field = Field::new(wish);
    field.fail_first(1, "HeadObject", "backups", too_skewed);
    field.survives(&image("clock", 2), &pattern(1000, 2), "HEAD");
}

fn retry_after_is_obeyed(wish: &Wish) {
    let field = Field::new(wish);
    for (number, name, value) in [(1, "Retry-After", "2"), (2, "x-amz-retry-after", "2000")] {
        field.proxy.script(move |request| {
            let first = request.is("PutObject", "catalog") && request.nth == 1;
            let slow = || Action::Answer(Answer::error(503, "SlowDown").header(name, value));
            if first { slow() } else { Action::Forward }
        });
        let def = image("later", number);
        let data = pattern(1000, number);
        backup(&field.server, &def, &data, CALL);
        let puts: Vec<_> = field
            .proxy
            .recent()
            .into_iter()
            .filter(|r| r.is("PutObject", "catalog"))
            .collect();
        assert_eq!(puts.len(), 2, "{name}");
        assert!(puts[1].received - puts[0].received >= Duration::from_secs(2), "{name}");
        field.proxy.forward_all();
        assert!(restore(&field.server, &def, CALL) == data);
    }
}
