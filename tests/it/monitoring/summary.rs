//! The line about each image that the host gets at its close.

use vastost::ost::abi::{STSP_CLOSEF_COMPLETE, STSP_OPEN_READ};
use vastost_testkit::host;

use vastost_testkit::proxy::{Action, Answer, Proxy};
use vastost_testkit::test_store::{CALL, PART, Site, Wish, backup, image, pattern, read_all, write_all};

/// The one line that the last close left.
fn summary() -> String {
    let notes = host::take_notes();
    assert_eq!(notes.len(), 1, "{notes:?}");
    notes[0].clone()
}

/// The number before `word`.
fn number(line: &str, word: &str) -> f64 {
    let before = line.split(word).next().and_then(|text| text.rsplit(' ').next());
    before
        .and_then(|text| text.trim_start_matches('(').parse().ok())
        .unwrap_or_else(|| panic!("no {word:?} in {line}"))
}

#[test]
fn a_writer_and_a_reader_each_leave_one_line_with_bytes_parts_and_waits() {
    let site = Site::new(&Wish::default().small_parts());
    let server = site.open();
    let data = pattern(3 * PART + 7, 1);
    let written = server.create("main", &image("told", 1)).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(150));
    write_all(&written, &data, 0, CALL);
    written.close(STSP_CLOSEF_COMPLETE).unwrap();
    let line = summary();
    let start = format!(
        "vastost LSU main, image {}: written complete: {} bytes in ",
        name(),
        data.len()
    );
    assert!(line.starts_with(&start), "{line}");
    assert!(line.contains(", parts 4, retries 0; waited "), "{line}");
    assert!(number(&line, " s for the host") >= 0.15, "{line}");
    assert!(number(&line, " s for the store") >= 0.0, "{line}");
    read_all(&server.open("main", &image("told", 1), STSP_OPEN_READ).unwrap(), CALL);
    let line = summary();
    assert!(
        line.contains(&format!(": read: {} bytes in ", data.len())) && line.contains(", parts 4, "),
        "{line}"
    );
}

fn name() -> String {
    let def = image("told", 1);
    format!("{}:{}", String::from_utf8_lossy(&def.basename), def.date)
}

#[test]
fn retries_and_time_that_the_store_takes_are_in_the_line() {
    let site = Site::new(
        &Wish::default()
            .small_parts()
            .with("[retry]\nbackoff_initial = \"20 ms\"\n"),
    );
    let proxy = Proxy::start(&site.url);
    site.point_at(&[proxy.url()]);
    proxy.script(|request| match (request.operation(), request.nth) {
        ("UploadPart", 1) => Action::Answer(Answer::error(503, "SlowDown")),
        _ => Action::Forward,
    });
    backup(&site.open(), &image("retried", 1), &pattern(2 * PART + 7, 1), CALL);
    let line = summary();
    assert!(line.contains(", parts 3, retries 1; "), "{line}");
    assert!(number(&line, " s for the store") > 0.0, "{line}");
}

#[test]
fn a_close_that_fails_says_so_in_its_line() {
    let mut site = Site::new(&Wish::default().with("[retry]\nattempts = 1\n"));
    let server = site.open();
    let written = server.create("main", &image("lost", 1)).unwrap();
    written.write(b"never stored", 0).unwrap();
    site.stop_server();
    written.close(STSP_CLOSEF_COMPLETE).unwrap_err();
    assert!(summary().contains(": failed: 12 bytes in "));
}
