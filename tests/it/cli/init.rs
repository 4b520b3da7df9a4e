//! `init` without a terminal: options and the environment.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{bare, command, finish, site};
use vastost_testkit::test_store::Site;

fn init(site: &Site, output: &Path, bucket: &str, more: &[&str]) -> Command {
    let mut command = bare();
    command.env("AWS_ACCESS_KEY_ID", &site.keys.access_key_id);
    command.env("AWS_SECRET_ACCESS_KEY", &site.keys.secret_access_key);
    command.args([
        "init",
        "--endpoint",
        &site.url,
        "--lsu",
        &format!("nightly={bucket}"),
        "--output",
    ]);
    command.arg(output).args(more);
    command
}

fn output(site: &Site) -> PathBuf {
    let folder = site.folder.path().join("new");
    std::fs::create_dir(&folder).unwrap();
    folder.join("vastost.toml")
}

#[test]
fn what_init_writes_passes_doctor_and_the_secret_is_private() {
    let site = site();
    let output = output(&site);
    let told = finish(&mut init(&site, &output, &site.bucket, &[])).expect(0).text();
    assert!(
        told.contains("doctor") && !told.contains(&site.keys.secret_access_key),
        "{told}"
    );
    let keys = output.with_file_name("vast.keys.toml");
    assert_eq!(std::fs::metadata(&keys).unwrap().mode() & 0o7777, 0o600);
    assert!(
        !std::fs::read_to_string(&output)
            .unwrap()
            .contains(&site.keys.secret_access_key)
    );
    finish(command(&output).arg("doctor")).expect(0);
    let files = std::fs::read_dir(output.parent().unwrap()).unwrap().count();
    assert_eq!(files, 2, "doctor left something behind");
}

#[test]
fn init_creates_buckets_only_when_asked() {
    let site = site();
    let output = output(&site);
    let bucket = format!("{}-new", site.bucket);
    finish(&mut init(&site, &output, &bucket, &[])).expect(0);
    finish(command(&output).arg("doctor")).expect(1);
    let told = finish(&mut init(&site, &output, &bucket, &["--create", "--force"]))
        .expect(0)
        .text();
    assert!(told.contains(&format!("Created bucket {bucket}")), "{told}");
    finish(command(&output).arg("doctor")).expect(0);
}

#[test]
fn init_overwrites_only_with_force() {
    let site = site();
    let output = output(&site);
    std::fs::write(&output, "precious").unwrap();
    let refused = finish(&mut init(&site, &output, &site.bucket, &[])).expect(2).stderr;
    assert!(refused.contains("exists") && refused.contains("--force"), "{refused}");
    assert_eq!(std::fs::read_to_string(&output).unwrap(), "precious");
    assert!(!output.with_file_name("vast.keys.toml").exists());
    finish(&mut init(&site, &output, &site.bucket, &["--force"])).expect(0);
    finish(command(&output).args(["ls", "nightly"])).expect(0);
}

#[test]
fn init_may_be_repeated_when_it_would_write_the_same() {
    let site = site();
    let output = output(&site);
    for _ in 0..2 {
        finish(&mut init(&site, &output, &site.bucket, &["--create"])).expect(0);
    }
    let told = finish(&mut init(&site, &output, "another-bucket", &[]))
        .expect(2)
        .stderr;
    assert!(told.contains("exists"), "{told}");
    assert_eq!(std::fs::read_dir(output.parent().unwrap()).unwrap().count(), 2);
}

#[test]
fn without_a_terminal_init_names_the_option_that_is_missing() {
    let site = site();
    let output = output(&site);
    let refused = finish(bare().arg("init").arg("--output").arg(&output)).expect(2).stderr;
    assert!(refused.contains("--endpoint"), "{refused}");
    let mut keyless = init(&site, &output, &site.bucket, &[]);
    let refused = finish(keyless.env_remove("AWS_SECRET_ACCESS_KEY")).expect(2).stderr;
    assert!(refused.contains("AWS_SECRET_ACCESS_KEY"), "{refused}");
    let refused = finish(&mut init(&site, &output, "Not_A_Bucket", &[])).expect(2).stderr;
    assert!(refused.contains("bucket"), "{refused}");
    assert!(!output.exists() && !output.with_file_name("vast.keys.toml").exists());
}

#[test]
fn a_profile_of_the_environment_is_named_and_not_copied() {
    let site = site();
    let output = output(&site);
    let mut with = init(&site, &output, &site.bucket, &[]);
    with.env_remove("AWS_ACCESS_KEY_ID")
        .env_remove("AWS_SECRET_ACCESS_KEY")
        .env("AWS_PROFILE", "backup");
    finish(&mut with).expect(0);
    let text = std::fs::read_to_string(&output).unwrap();
    assert!(text.contains("profile = \"backup\""), "{text}");
    assert!(!output.with_file_name("vast.keys.toml").exists());
}

/// The keys files and their copies, each with what is in it.
fn key_files(output: &Path) -> Vec<(String, String)> {
    let entries = std::fs::read_dir(output.parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    let keys = entries.filter(|path| name(path).starts_with("vast.keys.toml"));
    let mut all: Vec<_> = keys
        .map(|path| (name(&path), std::fs::read_to_string(&path).unwrap()))
        .collect();
    all.sort();
    all
}

#[test]
fn a_keys_file_that_is_there_names_the_way_round_it() {
    let site = site();
    let output = output(&site);
    finish(&mut init(&site, &output, &site.bucket, &[])).expect(0);
    let before = key_files(&output);
    let other = output.with_file_name("test.toml");
    let mut wrong = init(&site, &other, &site.bucket, &[]);
    let refused = finish(wrong.env("AWS_SECRET_ACCESS_KEY", "another")).expect(2).stderr;
    assert!(
        refused.contains("vast.keys.toml exists") && refused.contains("--name NAME, or --output in another folder")
    );
    assert!(!other.exists() && key_files(&output) == before);
    let mut named = init(&site, &other, &site.bucket, &["--name", "second"]);
    finish(named.env("AWS_SECRET_ACCESS_KEY", "another")).expect(0);
    assert!(output.with_file_name("second.keys.toml").exists() && key_files(&output) == before);
}

#[test]
fn keys_that_init_replaces_are_kept() {
    let site = site();
    let output = output(&site);
    finish(&mut init(&site, &output, &site.bucket, &[])).expect(0);
    let mut kept = Vec::new();
    for secret in ["second", "third", "third"] {
        let mut other = init(&site, &output, &site.bucket, &["--force"]);
        let told = finish(other.env("AWS_SECRET_ACCESS_KEY", secret)).expect(0).text();
        kept.push(told.contains("Kept the keys that were there as"));
    }
    assert_eq!(kept, [true, true, false]);
    let files = key_files(&output);
    let names: Vec<_> = files.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["vast.keys.toml", "vast.keys.toml.bak", "vast.keys.toml.bak.1"]);
    for ((name, text), secret) in files
        .iter()
        .zip(["third", site.keys.secret_access_key.as_str(), "second"])
    {
        assert!(text.contains(secret), "{name}");
        assert_eq!(
            std::fs::metadata(output.with_file_name(name)).unwrap().mode() & 0o7777,
            0o600,
            "{name}"
        );
    }
}

#[test]
fn keys_that_create_nothing_are_not_written() {
    let site = site();
    let output = output(&site);
    let mut wrong = init(&site, &output, &format!("{}-new", site.bucket), &["--create"]);
    let refused = finish(wrong.env("AWS_SECRET_ACCESS_KEY", "HUSH-wrong"))
        .expect(2)
        .stderr;
    assert!(
        refused.contains("nothing was written") && !refused.contains("HUSH"),
        "{refused}"
    );
    assert_eq!(std::fs::read_dir(output.parent().unwrap()).unwrap().count(), 0);
}
