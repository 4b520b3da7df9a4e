//! The file of counters that each process leaves for Prometheus.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use crate::cli;
use vastost_testkit::proxy::{Action, Proxy, When};
use vastost_testkit::test_store::{PART, Site, Wish, pattern};

const METRICS: &str = "[metrics]\ndir = \"metrics\"\ninterval = \"1 s\"\n";

pub fn site() -> Site {
    site_with("")
}

fn site_with(settings: &str) -> Site {
    let site = Site::new(&Wish::default().small_parts().with(METRICS).with(settings));
    // The first writer probes what the server can, which is no part of what is counted here; and this very process has
    // made the bucket, and has left a file about it.
    put(&site, "warm", 1);
    fs::remove_dir_all(folder(&site)).unwrap();
    site
}

/// A backup of `size` bytes by a process of its own.
pub fn put(site: &Site, name: &str, size: usize) {
    let file = site.folder.path().join("data");
    fs::write(&file, pattern(size, 1)).unwrap();
    let target = format!("main/{name}");
    cli::run(site, &["put".as_ref(), file.as_os_str(), target.as_ref()]).expect(0);
}

fn get(site: &Site, name: &str) {
    let file = site.folder.path().join("back");
    let source = format!("main/{name}");
    cli::run(
        site,
        &["get".as_ref(), "--force".as_ref(), source.as_ref(), file.as_os_str()],
    )
    .expect(0);
}

fn folder(site: &Site) -> PathBuf {
    site.folder.path().join("metrics")
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
}

/// The sum of a metric's values on all lines that have every one of `labels`.
pub fn value(text: &str, name: &str, labels: &[&str]) -> f64 {
    let lines = text.lines().filter(|line| line.starts_with(&format!("{name}{{")));
    let lines = lines.filter(|line| labels.iter().all(|label| line.contains(label)));
    lines
        .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
        .sum()
}

#[test]
fn a_backup_and_a_restore_each_leave_a_file_that_tells_what_they_moved() {
    let site = site();
    let size = 2 * PART + 7;
    put(&site, "told", size);
    let [file] = &files(&folder(&site))[..] else {
        panic!("one file")
    };
    let written = fs::read_to_string(file).unwrap();
    let address = site.url.trim_start_matches("http://");
    let lsu = ["server=\"t\"", "lsu=\"main\""];
    let address = format!("address=\"{address}\"");
    let part = [&lsu[..], &["operation=\"UploadPart\"", &address]].concat();
    assert_eq!(
        value(
            &written,
            "vastost_requests_total",
            &[&part[..], &["status=\"200\""]].concat()
        ),
        3.0
    );
    assert_eq!(value(&written, "vastost_sent_bytes_total", &part), size as f64);
    assert_eq!(value(&written, "vastost_request_seconds_count", &part), 3.0);
    assert_eq!(
        value(
            &written,
            "vastost_part_seconds_count",
            &[&lsu[..], &["direction=\"write\""]].concat()
        ),
        3.0
    );
    assert_eq!(
        value(&written, "vastost_images_total", &["outcome=\"written complete\""]),
        1.0
    );
    let number = file
        .file_name()
        .unwrap()
        .to_str()
        .unwrap()
        .trim_start_matches("vastost-")
        .trim_end_matches(".prom");
    assert!(
        written
            .lines()
            .all(|line| line.starts_with('#') || line.contains(&format!("process=\"{number}\"")))
    );

    get(&site, "told");
    let [read] = &files(&folder(&site))
        .into_iter()
        .filter(|other| other != file)
        .collect::<Vec<_>>()[..]
    else {
        panic!("one more file")
    };
    let read = fs::read_to_string(read).unwrap();
    assert!(
        value(
            &read,
            "vastost_received_bytes_total",
            &["operation=\"GetObject\"", lsu[1]]
        ) >= size as f64
    );
    assert_eq!(
        value(&read, "vastost_image_bytes_total", &["direction=\"read\""]),
        size as f64
    );
}

#[test]
fn retries_and_silent_addresses_are_counted() {
    let site = site_with("[retry]\nbackoff_initial = \"10 ms\"\n");
    let proxy = Proxy::start(&site.url);
    site.point_at(&[proxy.url()]);
    proxy.script(|request| match (request.is("UploadPart", "backups"), request.nth) {
        (true, 1) => Action::ResetRequest(When::Within),
        _ => Action::Forward,
    });
    put(&site, "retried", 2 * PART);
    let text = fs::read_to_string(&files(&folder(&site))[0]).unwrap();
    let part = "operation=\"UploadPart\"";
    assert_eq!(value(&text, "vastost_retries_total", &[part]), 1.0);
    assert_eq!(value(&text, "vastost_requests_total", &[part, "status=\"none\""]), 1.0);
    // The bucket is new to us at this address, so the probe sends two parts too.
    assert_eq!(value(&text, "vastost_requests_total", &[part, "status=\"200\""]), 4.0);
    assert!(value(&text, "vastost_address_quarantines_total", &["server=\"t\""]) >= 1.0);
}

#[test]
fn a_process_that_goes_on_writes_its_file_meanwhile() {
    let site = site();
    // A process of its own: the engine of this one belongs to whichever test came first.
    let mut child = cli::command(&site.config)
        .args(["put", "-", "main/going"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.as_mut().unwrap().write_all(&pattern(2 * PART, 1)).unwrap();
    let started = std::time::Instant::now();
    let seen = || fs::read_dir(folder(&site)).is_ok_and(|mut entries| entries.next().is_some());
    while !seen() {
        assert!(
            started.elapsed() < Duration::from_secs(30),
            "no file while the engine runs"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
}

#[test]
fn files_of_ended_processes_stay_for_a_while_and_are_then_removed() {
    let site = site();
    put(&site, "one", 100);
    let first = files(&folder(&site)).remove(0);
    let age = |minutes: u64| {
        let time = SystemTime::now() - Duration::from_secs(60 * minutes);
        fs::File::options()
            .append(true)
            .open(&first)
            .unwrap()
            .set_modified(time)
            .unwrap();
    };
    age(9);
    put(&site, "two", 100);
    assert!(first.exists());
    age(11);
    put(&site, "three", 100);
    assert!(!first.exists());
    assert_eq!(files(&folder(&site)).len(), 2);
}

#[test]
fn without_a_folder_nothing_is_written_and_a_folder_that_cannot_be_made_fails_no_backup() {
    let site = Site::new(&Wish::default());
    put(&site, "silent", 100);
    assert!(!folder(&site).exists());
    fs::write(folder(&site), "in the way").unwrap();
    let text = fs::read_to_string(&site.config).unwrap() + METRICS;
    fs::write(&site.config, text).unwrap();
    put(&site, "anyway", 100);
}
