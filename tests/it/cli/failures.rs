//! Each failure is one line that names what is wrong, and exit code 2.

use std::path::PathBuf;
use std::process::Stdio;

use super::{Run, command, finish, run, run_with, site};
use vastost_testkit::proxy::{Action, Answer, Proxy};
use vastost_testkit::test_store::{Site, write_private};

/// The site's configuration with one text replaced, in a file of its own.
fn changed(site: &Site, from: &str, to: &str) -> PathBuf {
    let text = std::fs::read_to_string(&site.config).unwrap();
    assert!(text.contains(from), "{from} is not in {text}");
    let path = site.folder.path().join("changed.toml");
    std::fs::write(&path, text.replace(from, to)).unwrap();
    path
}

fn one_line(run: Run) -> String {
    let stderr = run.expect(2).stderr;
    assert!(
        stderr.starts_with("vastost-s3: ") && stderr.trim_end().lines().count() == 1,
        "{stderr}"
    );
    stderr
}

#[test]
fn a_closed_port_is_named() {
    let site = site();
    let config = changed(&site, &site.url, "http://127.0.0.1:1");
    for args in [
        &["ls", "main"][..],
        &["get", "main/a", "-"],
        &["put", "/dev/null", "main/a"],
        &["ls"],
        &["bench", "main", "--yes", "--time", "2s"],
    ] {
        let told = one_line(finish(command(&config).args(args)));
        assert!(told.contains("127.0.0.1:1"), "{told}");
    }
}

#[test]
fn a_wrong_secret_is_called_one_and_not_shown() {
    let site = site();
    let keys = "access_key_id = \"vastost-test\"\nsecret_access_key = \"HUSH-wrong\"\n";
    write_private(&site.folder.path().join("keys.toml"), keys);
    let told = one_line(run(&site, &["ls", "main"]));
    assert!(
        told.contains("SignatureDoesNotMatch") && !told.contains("HUSH"),
        "{told}"
    );
}

#[test]
fn a_missing_bucket_or_lsu_is_named() {
    let site = site();
    let told = one_line(run_with(&site, &["put", "-", "missing/a"], b"x"));
    assert!(told.contains("NoSuchBucket") && told.contains("-missing"), "{told}");
    for args in [
        &["ls", "nowhere"][..],
        &["put", "/dev/null", "nowhere/a"],
        &["get", "nowhere/a", "-"],
    ] {
        let told = one_line(run(&site, args));
        assert!(
            told.contains("LSU nowhere is not configured") && told.contains("it has: main, side, missing"),
            "{told}"
        );
    }
}

#[test]
fn a_configuration_that_is_not_there_or_not_valid_is_refused() {
    let site = site();
    let told = one_line(finish(command(&site.folder.path().join("none.toml")).arg("ls")));
    assert!(told.contains("none.toml"), "{told}");
    assert!(
        told.ends_with(" (from --config); `vastost-s3 init` writes one\n"),
        "{told}"
    );
    let config = changed(&site, "state_dir =", "state_dri =");
    let told = one_line(finish(command(&config).arg("ls")));
    assert!(told.contains("line 1") && told.contains("state_dri"), "{told}");
    let told = one_line(run(&site, &["ls", "--server", "x"]));
    assert!(told.contains("it has: t"), "{told}");
}

#[test]
fn keys_of_netbackup_come_from_the_environment_or_are_asked_for() {
    let site = site();
    let config = changed(&site, "credentials = { source = \"file\", file = \"keys.toml\" }\n", "");
    let told = one_line(finish(command(&config).args(["ls", "main"])));
    assert!(told.contains("AWS_ACCESS_KEY_ID"), "{told}");
    let mut with = command(&config);
    with.env("AWS_ACCESS_KEY_ID", &site.keys.access_key_id);
    with.env("AWS_SECRET_ACCESS_KEY", &site.keys.secret_access_key);
    finish(with.args(["ls", "main"])).expect(0);
}

#[test]
fn a_full_disk_names_the_file() {
    let site = site();
    run_with(&site, &["put", "-", "main/a"], b"x").expect(0);
    let told = one_line(run(&site, &["get", "main/a", "/dev/full"]));
    assert!(told.contains("/dev/full") && told.contains("No space left"), "{told}");
    let link = site.folder.path().join("link");
    std::os::unix::fs::symlink("nowhere", &link).unwrap();
    assert!(one_line(run(&site, &["get", "main/a", link.to_str().unwrap()])).contains("leads nowhere"));
    let folder = site.folder.path().join("none").join("file");
    let told = one_line(run(&site, &["get", "main/a", folder.to_str().unwrap()]));
    assert!(told.contains(folder.to_str().unwrap()), "{told}");
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let site = site();
    run_with(&site, &["put", "-", "main/a"], &vec![1; 8 << 20]).expect(0);
    for args in [
        &["ls", "main"][..],
        &["verify", "main"],
        &["--json", "info", "main/a"],
        &["config", "show"],
    ] {
        let mut child = command(&site.config).args(args).stdout(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && stderr.is_empty(),
            "{args:?}: {} {stderr}",
            output.status
        );
    }
}

#[test]
fn a_consumer_of_an_image_that_goes_away_has_not_got_it() {
    let site = site();
    run_with(&site, &["put", "-", "main/a"], &vec![1; 8 << 20]).expect(0);
    let mut child = command(&site.config)
        .args(["get", "main/a", "-"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("before it had all 8,388,608 bytes"), "{stderr}");
}

#[test]
fn an_image_that_is_not_a_name_or_a_file_that_is_a_folder_is_refused() {
    let site = site();
    for name in ["main", "main/", "/a", "main/:5"] {
        one_line(run(&site, &["info", name]));
    }
    let folder = site.folder.path().to_str().unwrap();
    let told = one_line(run(&site, &["put", folder, "main/a"]));
    assert!(told.contains("is a folder"), "{told}");
    let told = one_line(run(&site, &["put", "/no/such/file", "main/a"]));
    assert!(told.contains("/no/such/file"), "{told}");
}

#[test]
fn data_that_are_gone_are_told_with_a_way_on() {
    let site = site();
    run_with(&site, &["put", "-", "main/a b:1"], b"x").expect(0);
    let data = site.keys_under("backups/").remove(0);
    crate::foreign::Foreign::new(&site).delete(&data);
    let told = one_line(run(&site, &["get", "main/a b", "-"]));
    assert!(
        told.contains("`vastost-s3 verify main --image a=20b` shows what is left"),
        "{told}"
    );
    assert!(!told.contains("stsp_") && told.contains("(status 2060018)"), "{told}");
}

#[test]
fn data_that_are_damaged_are_told_with_the_audit_that_sees_it() {
    let site = site();
    run_with(&site, &["put", "-", "main/a:1"], b"good bytes").expect(0);
    let data = site.keys_under("backups/").remove(0);
    crate::sdk::Sdk::new(&site).put(&data, b"evil bytes");
    let told = one_line(run(&site, &["get", "main/a", "-"]));
    assert!(
        told.contains("`vastost-s3 verify main --image a --deep` names every damaged part"),
        "{told}"
    );
}

#[test]
fn a_configuration_that_may_not_be_read_is_not_to_be_written_anew() {
    let site = site();
    let told = one_line(finish(command(site.folder.path()).arg("ls")));
    assert!(told.contains("a folder") && !told.contains("init"), "{told}");
}

#[test]
fn a_put_that_cannot_look_removes_nothing() {
    let site = site();
    let proxy = Proxy::start(&site.url);
    site.point_at(&[proxy.url()]);
    // The first look is that of the create, the second that of the clean-up.
    proxy.script(|request| match request.is("GetObject", "catalog") && request.nth == 2 {
        true => Action::Answer(Answer::error(403, "AccessDenied")),
        false => Action::Forward,
    });
    let put = [
        "put",
        "--command",
        "main/a:1795305600",
        "--",
        "sh",
        "-c",
        "head -c 1000 /dev/zero; exit 3",
    ];
    let told = run(&site, &put).expect(1).stderr;
    assert!(
        told.contains("nothing was removed") && told.contains("vastost-s3 rm main/a:1795305600"),
        "{told}"
    );
    assert_eq!(proxy.faults(), 1);
    assert!(
        !proxy
            .requests()
            .iter()
            .any(|request| request.is("DeleteObject", "backups"))
    );
    // Without the fault the next one cleans up, and leaves what is another's.
    run(&site, &["rm", "--yes", "main/a:1795305600"]).expect(0);
    let told = run(&site, &put).expect(1).stderr;
    assert!(!told.contains("removed"), "{told}");
    assert_eq!(site.keys_under(""), [""; 0]);
}
