//! The plug-in's own log, by processes of their own: the subscriber is one for each process.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use super::files::put;
use crate::cli::run;
use vastost_testkit::test_store::{Site, Wish};

fn site(settings: &str) -> Site {
    let log = format!("[log]\nfile = \"log/vastost.log\"\n{settings}");
    let site = Site::new(&Wish::default().with(&log));
    fs::create_dir(site.folder.path().join("log")).unwrap();
    site
}

/// The current file first, then the rotated ones from the oldest on.
fn files(site: &Site) -> Vec<PathBuf> {
    let paths = fs::read_dir(site.folder.path().join("log"))
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = paths
        .filter(|path| !path.to_string_lossy().ends_with(".lock"))
        .collect();
    files.sort();
    files
}

fn read(site: &Site) -> String {
    fs::read_to_string(&files(site)[0]).unwrap()
}

#[test]
fn lines_name_server_lsu_and_image_as_text_and_as_json() {
    let text = site("");
    put(&text, "told:1", 100);
    let line = read(&text);
    assert!(
        line.contains(" INFO image{server=\"t\" lsu=\"main\" image=told:1}: "),
        "{line}"
    );
    assert!(line.contains("written complete: 100 bytes in "), "{line}");
    let json = site("format = \"json\"\n");
    put(&json, "told:1", 100);
    let lines: Vec<Value> = read(&json)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let summary = lines
        .iter()
        .find(|line| {
            line["message"]
                .as_str()
                .is_some_and(|text| text.contains("written complete"))
        })
        .unwrap();
    assert_eq!(
        (&summary["level"], &summary["span"]["image"]),
        (&"INFO".into(), &"told:1".into()),
        "{summary}"
    );
    assert_eq!(
        (&summary["span"]["lsu"], &summary["span"]["server"]),
        (&"main".into(), &"t".into()),
        "{summary}"
    );
}

#[test]
fn processes_that_share_a_file_rotate_it_once_full_and_lose_no_line() {
    let site = site("rotate = \"64 KiB\"\nkeep = 3\n");
    put(&site, "first:1", 100);
    let current = files(&site).remove(0);
    fs::write(&current, "old line\n".repeat(8_000)).unwrap();
    std::thread::scope(|scope| {
        for number in 0..4 {
            let site = &site;
            scope.spawn(move || {
                let file = site.folder.path().join(format!("data{number}"));
                fs::write(&file, "some bytes").unwrap();
                let target = format!("main/at-once{number}:1");
                run(site, &["put".as_ref(), file.as_os_str(), target.as_ref()]).expect(0);
            });
        }
    });
    let files = files(&site);
    assert_eq!(files.len(), 2, "{files:?}");
    assert_eq!(
        fs::read_to_string(&files[1]).unwrap().matches("old line").count(),
        8_000
    );
    let all: String = files.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    for number in 0..4 {
        assert_eq!(
            all.matches(&format!("image at-once{number}:1: written complete"))
                .count(),
            1,
            "{all}"
        );
    }
}

#[test]
fn a_log_that_cannot_be_written_fails_no_backup() {
    let site = site("");
    fs::remove_dir(site.folder.path().join("log")).unwrap();
    put(&site, "anyway:1", 100);
}
