use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use vastost::catalog::audit::report::{Class, Report};

use super::plants::PLANTS;
use super::{Yard, report_of, seen};
use crate::cli::{Run, command, to_run};
use crate::conformance::on_every_server;
use vastost_testkit::proxy::{Action, Proxy};
use vastost_testkit::test_store::{PART, Wish, image, pattern};

on_every_server!(
    an_interrupted_audit_goes_on_to_the_report_of_an_uninterrupted_one,
    an_image_that_was_read_in_part_is_read_again,
    the_state_of_another_audit_is_refused,
    an_lsu_that_could_not_be_listed_is_looked_at_when_the_audit_goes_on,
);

fn state_file(yard: &Yard) -> PathBuf {
    yard.site.folder.path().join("audit.state")
}

/// Runs an audit and interrupts it, as with Ctrl-C, when the server is asked for the `nth` object under `folder`.
fn interrupt(yard: &Yard, folder: &'static str, nth: usize, args: &[&str]) -> Run {
    let proxy = Proxy::start(&yard.site.url);
    let config = with_endpoint(yard, &proxy.url());
    let child: Arc<Mutex<Option<Pid>>> = Arc::default();
    let target = Arc::clone(&child);
    let seen = Mutex::new(0);
    // Held until the process is known, so that the request waits for it.
    let mut started = child.lock().unwrap();
    proxy.script(move |request| {
        if request.method == "GET" && request.key().starts_with(folder) {
            let mut seen = seen.lock().unwrap();
            *seen += 1;
            if *seen == nth {
                kill(target.lock().unwrap().unwrap(), Signal::SIGINT).unwrap();
            }
        }
        Action::Forward
    });
    let mut run: Command = command(&config);
    let running = run
        .args(["--json", "verify", "--resume", state_file(yard).to_str().unwrap()])
        .args(args);
    let running = running.spawn().unwrap();
    *started = Some(Pid::from_raw(running.id().try_into().unwrap()));
    drop(started);
    to_run(running.wait_with_output().unwrap())
}

/// The site's configuration with another address.
fn with_endpoint(yard: &Yard, url: &str) -> PathBuf {
    let text = std::fs::read_to_string(&yard.site.config)
        .unwrap()
        .replace(&yard.site.url, url);
    let path = yard.site.folder.path().join("through-proxy.toml");
    std::fs::write(&path, text).unwrap();
    path
}

fn go_on(yard: &Yard, args: &[&str]) -> (i32, Report) {
    yard.audit(&[&["--resume", state_file(yard).to_str().unwrap()], args].concat())
}

/// All of a report but when and where it was made, and how many requests that took.
fn comparable(mut report: Report) -> Report {
    let summary = &mut report.summary;
    (summary.started, summary.finished, summary.seconds) = (String::new(), String::new(), 0.0);
    summary.endpoint.clear();
    summary.lsus.values_mut().for_each(|lsu| lsu.list_requests = 0);
    report
}

fn many_images(wish: &Wish) -> Yard {
    let yard = Yard::new(wish);
    for number in 0..30 {
        let kept = yard.keep(&image("many", number), pattern(1_000, number), b"");
        if number % 10 == 3 {
            yard.foreign.delete(&kept.data_key);
        }
    }
    let stale = PLANTS.iter().find(|plant| plant.class == Class::PendingStale).unwrap();
    (stale.plant)(&yard, &image("stale", 1));
    yard
}

fn an_interrupted_audit_goes_on_to_the_report_of_an_uninterrupted_one(wish: &Wish) {
    let yard = many_images(wish);
    for level in [&["--quick"][..], &[], &["--deep"]] {
        let args = [&["main", "--older-than", "0s", "--jobs", "2"], level].concat();
        let (code, whole) = yard.audit(&args);
        assert_eq!((code, whole.summary.interrupted), (1, false));
        let mut last = 0;
        // Twice, the second time further on.
        for nth in [9, 6] {
            let run = interrupt(&yard, "catalog/", nth, &args);
            assert!(state_file(&yard).exists(), "{}", run.stderr);
            assert!(run.stderr.contains("resumes the audit from"), "{}", run.stderr);
            let (_, part) = report_of(run);
            let states = part.summary.lsus["main"].states;
            let images = states.good.images + states.damaged.images;
            assert!(
                part.summary.interrupted && images > last && images < 30,
                "{images} after {last}"
            );
            last = images;
        }
        let (code, resumed) = go_on(&yard, &args);
        assert_eq!((code, comparable(resumed)), (1, comparable(whole)), "{level:?}");
        assert!(!state_file(&yard).exists());
    }
}

fn an_image_that_was_read_in_part_is_read_again(wish: &Wish) {
    let yard = Yard::new(wish);
    for number in 1..=3 {
        yard.keep(&image("large", number), pattern(4 * PART, number), b"");
    }
    let args = ["main", "--deep", "--jobs", "1", "--limit-rate", "10 MiB"];
    // The first part of the first image is asked for, or of the second one: nothing of it can have been checked to its end.
    for (nth, most) in [(1, 0), (5, 2)] {
        let run = interrupt(&yard, "backups/", nth, &args).expect(2);
        let (_, part) = report_of(run);
        assert!(part.summary.lsus["main"].states.good.images <= most, "{part:?}");
        let (code, whole) = go_on(&yard, &args);
        let main = &whole.summary.lsus["main"];
        assert_eq!(
            (code, main.states.good.images, main.bytes_read),
            (0, 3, 12 * PART as u64)
        );
        assert!(!state_file(&yard).exists());
    }
}

fn the_state_of_another_audit_is_refused(wish: &Wish) {
    let yard = many_images(wish);
    interrupt(&yard, "catalog/", 5, &["main", "--jobs", "1"]);
    let file = state_file(&yard);
    let state = std::fs::read(&file).unwrap();
    let path = file.to_str().unwrap();
    for other in [
        &["--quick"][..],
        &["--client", "many"],
        &["--shard", "1/2"],
        &["--since", "2026-11-22"],
        &["side"],
    ] {
        let told = yard
            .run(&[&["verify", "main", "--resume", path], other].concat())
            .expect(2)
            .stderr;
        assert!(told.contains("is of another audit"), "{other:?}: {told}");
    }
    assert!(std::fs::read(&file).unwrap() == state);
    refuse_garbage(&yard, &file);
}

fn refuse_garbage(yard: &Yard, file: &Path) {
    std::fs::write(file, "garbage").unwrap();
    let told = yard
        .run(&["verify", "main", "--resume", file.to_str().unwrap()])
        .expect(2)
        .stderr;
    assert!(told.contains("is no file of `verify --resume`"), "{told}");
    assert_eq!(std::fs::read(file).unwrap(), b"garbage");
}

/// An LSU that failed must not count as looked at in the state that is kept.
fn an_lsu_that_could_not_be_listed_is_looked_at_when_the_audit_goes_on(wish: &Wish) {
    let yard = many_images(wish);
    let args = ["missing", "main", "--older-than", "0s", "--jobs", "1"];
    let (_, part) = report_of(interrupt(&yard, "catalog/", 9, &args).expect(1));
    assert!(part.summary.lsus["main"].states.good.images < 27, "{part:?}");
    let (code, resumed) = go_on(&yard, &args);
    let (_, whole) = yard.audit(&args);
    // The message of the LSU that is missing names the request.
    assert_eq!((code, seen(&resumed)), (1, seen(&whole)));
    assert_eq!(resumed.summary.lsus["main"].days, whole.summary.lsus["main"].days);
}
