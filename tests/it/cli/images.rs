//! Images from the command line and back.

use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use super::{keys, run, run_with, site};
use vastost_testkit::proxy::{Action, Answer, Proxy};
use vastost_testkit::test_store::pattern;

const NAME: &str = "main/db01_1795305600_C1_F1";

#[test]
fn what_is_put_from_a_file_comes_back_the_same() {
    let site = site();
    let from = site.folder.path().join("from");
    let to = site.folder.path().join("to");
    std::fs::write(&from, pattern(21_000_001, 1)).unwrap();
    let put = run(
        &site,
        &["put", from.to_str().unwrap(), NAME, "--policy", "full", "--type", "3"],
    )
    .expect(0);
    assert!(put.text().contains("21000001 bytes"), "{}", put.text());
    run(&site, &["get", NAME, to.to_str().unwrap()]).expect(0);
    assert!(std::fs::read(&from).unwrap() == std::fs::read(&to).unwrap());
    run(&site, &["rm", "--yes", NAME]).expect(0);
    assert_eq!(keys(&site), Vec::<String>::new());
}

#[test]
fn stdin_and_stdout_carry_images_of_any_length() {
    let site = site();
    for (len, name) in [(0, "main/empty"), (1, "main/one"), (17 << 20, "main/two-parts")] {
        let data = pattern(len, 7);
        run_with(&site, &["put", "-", name, "--allow-empty"], &data).expect(0);
        let back = run(&site, &["get", name, "-"]).expect(0);
        assert!(back.stdout == data, "{name}: {} bytes came back", back.stdout.len());
    }
}

#[test]
fn listings_and_properties_are_one_json_schema() {
    let site = site();
    run_with(&site, &["put", "-", NAME, "--policy", "full", "--type", "3"], b"hello").expect(0);
    let listed = run(&site, &["--json", "ls", "main"]).expect(0).json();
    let info = run(&site, &["--json", "info", NAME]).expect(0).json();
    for document in [&listed, &info] {
        let image = &document["images"][0];
        assert_eq!(document["schema"], 1);
        assert_eq!(image["basename"], "db01_1795305600_C1_F1");
        assert_eq!(
            (image["lsu"].as_str(), image["state"].as_str()),
            (Some("main"), Some("complete"))
        );
        assert_eq!(
            (image["date"].as_u64(), image["size"].as_u64()),
            (Some(1_795_305_600), Some(5))
        );
        assert_eq!(
            (image["policy"].as_str(), image["type"].as_u64()),
            (Some("full"), Some(3))
        );
        assert_eq!(image["parts"], 1);
        for text in ["created", "completed", "key", "etag", "crc64nvme"] {
            assert!(image[text].is_string(), "{text}: {image}");
        }
        assert!(image["writer"]["pid"].is_u64());
    }
    assert_eq!(info["images"][0]["part_list"][0]["size"], 5);
    assert!(listed["images"][0].get("part_list").is_none());
}

#[test]
fn a_listing_is_filtered_by_name_client_date_and_state() {
    let site = site();
    for name in ["main/db01_1795305600_C1_F1", "main/db02_1795392000_C1_F1", "main/other"] {
        run_with(&site, &["put", "-", name], b"x").expect(0);
    }
    let names = |args: &[&str]| {
        run(&site, args)
            .expect(0)
            .text()
            .lines()
            .map(ToOwned::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&["-q", "ls", "main/db"]).len(), 2);
    assert_eq!(
        names(&["-q", "ls", "main", "--client", "db01"]),
        ["main/db01_1795305600_C1_F1:1795305600"]
    );
    assert_eq!(
        names(&["-q", "ls", "main/db", "--since", "2026-11-23"]),
        ["main/db02_1795392000_C1_F1:1795392000"]
    );
    assert_eq!(
        names(&["-q", "ls", "main/db", "--until", "2026-11-22"]),
        ["main/db01_1795305600_C1_F1:1795305600"]
    );
    assert_eq!(names(&["-q", "ls", "main", "--complete"]).len(), 3);
    assert_eq!(names(&["-q", "ls", "main", "--pending"]).len(), 0);
    let table = run(&site, &["ls", "main/db01"]).expect(0).text();
    assert!(
        table.contains("2026-11-22T00:00:00Z") && table.contains("complete"),
        "{table}"
    );
}

#[test]
fn lsus_are_listed_with_bucket_and_capacity() {
    let site = site();
    // What this host has counted tells nothing of a bucket that is not there.
    std::fs::create_dir_all(site.folder.path().join("state")).unwrap();
    for lsu in ["main", "missing"] {
        let usage = site.folder.path().join(format!("state/usage-t-{lsu}.json"));
        std::fs::write(usage, "{\"bytes\":1024,\"images\":7}").unwrap();
    }
    let listed = run(&site, &["ls"]).expect(1);
    let table = listed.text();
    assert!(
        table.contains("main") && table.contains(&*site.bucket) && table.contains("931.3 GiB"),
        "{table}"
    );
    assert!(
        table
            .lines()
            .any(|line| line.starts_with("missing ") && line.ends_with("-  (bucket missing)")),
        "{table}"
    );
    assert!(listed.stderr.starts_with("vastost-s3: LSU missing: ") && listed.stderr.contains("NoSuchBucket"));
    let json = run(&site, &["ls", "--json"]).expect(1).json();
    assert_eq!(
        (&json["lsus"][0]["active"], &json["lsus"][0]["error"]),
        (&true.into(), &Value::Null)
    );
    assert_eq!(
        (&json["lsus"][0]["used"], &json["lsus"][0]["images"]),
        (&1024.into(), &7.into())
    );
    assert_eq!(
        (&json["lsus"][2]["active"], &json["lsus"][2]["used"]),
        (&false.into(), &Value::Null)
    );
    assert!(
        json["lsus"][2]["error"].as_str().unwrap().contains("NoSuchBucket"),
        "{json}"
    );
}

#[test]
fn an_lsu_that_is_refused_is_not_called_missing() {
    let site = site();
    let proxy = Proxy::start(&site.url);
    site.point_at(&[proxy.url()]);
    proxy.script(
        |request| match request.query("prefix").is_some_and(|prefix| prefix.starts_with("side")) {
            true => Action::Answer(Answer::error(403, "AccessDenied")),
            false => Action::Forward,
        },
    );
    let listed = run(&site, &["ls"]).expect(1);
    let table = listed.text();
    assert!(
        table
            .lines()
            .any(|line| line.starts_with("side ") && line.ends_with("(bucket refused)")),
        "{table}"
    );
    assert!(
        listed.stderr.contains("LSU side: ") && listed.stderr.contains("AccessDenied"),
        "{}",
        listed.stderr
    );
}

#[test]
fn a_name_of_several_images_is_refused_with_the_candidates() {
    let site = site();
    for name in ["main/dump:100", "main/dump:200", "main/dump2:300"] {
        run_with(&site, &["put", "-", name], b"x").expect(0);
    }
    for args in [
        &["info", "main/dump"][..],
        &["get", "main/dump", "-"],
        &["rm", "--yes", "main/dump"],
    ] {
        let refused = run(&site, args).expect(2).stderr;
        assert!(
            refused.contains("main/dump:100, main/dump:200") && !refused.contains("300"),
            "{refused}"
        );
    }
    run(&site, &["info", "main/dump:200"]).expect(0);
    let missing = run(&site, &["info", "main/nothing"]).expect(2).stderr;
    assert!(missing.contains("no image main/nothing"), "{missing}");
}

#[test]
fn the_date_comes_from_the_name_when_none_is_given() {
    let site = site();
    run_with(&site, &["put", "-", NAME], b"x").expect(0);
    assert_eq!(run(&site, &["-q", "ls", "main"]).text(), format!("{NAME}:1795305600\n"));
    let again = run_with(&site, &["put", "-", NAME], b"y").expect(2).stderr;
    assert!(again.contains("exists"), "{again}");
    assert_eq!(run(&site, &["get", NAME, "-"]).expect(0).stdout, b"x");
}

#[test]
fn names_are_bytes_as_they_are() {
    use std::os::unix::ffi::OsStrExt;
    let site = site();
    let name = std::ffi::OsStr::from_bytes(b"main/a b/\xff=20:9");
    run(&site, &["put".as_ref(), "/dev/null".as_ref(), name]).expect(0);
    assert_eq!(
        run(&site, &["-q", "ls", "main"]).expect(0).stdout,
        b"main/a=20b=2F=FF=3D20:9\n"
    );
    let json = run(&site, &["--json", "ls", "main"]).expect(0).json();
    assert_eq!(json["images"][0]["basename"], "a=20b=2F=FF=3D20");
    run(&site, &["rm".as_ref(), "-y".as_ref(), name]).expect(0);
    assert!(keys(&site).is_empty());
}

#[test]
fn rm_without_a_terminal_needs_yes_and_goes_on_after_a_failure() {
    let site = site();
    run_with(&site, &["put", "-", "main/a:1"], b"x").expect(0);
    let refused = run(&site, &["rm", "main/a"]).expect(2).stderr;
    assert!(refused.contains("--yes"), "{refused}");
    run(&site, &["info", "main/a"]).expect(0);
    let partly = run(&site, &["rm", "--json", "--yes", "main/none", "main/a", "main/a:7"])
        .expect(2)
        .json();
    assert_eq!(partly["deleted"][0], "main/a:1");
    assert_eq!(partly["failed"].as_array().unwrap().len(), 2);
    assert!(keys(&site).is_empty());
}

#[test]
fn get_overwrites_only_with_force_and_leaves_no_partial_file() {
    let site = site();
    run_with(&site, &["put", "-", "main/a:1"], b"new").expect(0);
    let to = site.folder.path().join("to");
    std::fs::write(&to, "old").unwrap();
    let refused = run(&site, &["get", "main/a", to.to_str().unwrap()]).expect(2).stderr;
    assert!(refused.contains("--force"), "{refused}");
    assert_eq!(std::fs::read(&to).unwrap(), b"old");
    run(&site, &["get", "main/a", to.to_str().unwrap(), "--force"]).expect(0);
    assert_eq!(std::fs::read(&to).unwrap(), b"new");
    let names = std::fs::read_dir(site.folder.path())
        .unwrap()
        .map(|e| e.unwrap().file_name());
    assert!(!names.into_iter().any(|name| name.to_string_lossy().contains("part-")));
}

#[test]
fn a_link_stays_a_link_and_a_file_keeps_its_mode() {
    let site = site();
    run_with(&site, &["put", "-", NAME], b"restored").expect(0);
    let at = |name: &str| site.folder.path().join(name);
    std::fs::write(at("there"), "old").unwrap();
    std::fs::set_permissions(at("there"), std::fs::Permissions::from_mode(0o600)).unwrap();
    std::os::unix::fs::symlink("there", at("link")).unwrap();
    run(&site, &["get", NAME, at("link").to_str().unwrap()]).expect(2);
    run(&site, &["get", NAME, at("link").to_str().unwrap(), "--force"]).expect(0);
    assert!(std::fs::symlink_metadata(at("link")).unwrap().is_symlink());
    assert_eq!(std::fs::read_to_string(at("there")).unwrap(), "restored");
    assert_eq!(
        std::fs::metadata(at("there")).unwrap().permissions().mode() & 0o777,
        0o600
    );
}

#[test]
fn stdout_by_any_name_carries_the_image_alone() {
    let site = site();
    run_with(&site, &["put", "-", NAME], b"restored").expect(0);
    for target in ["-", "/dev/stdout", "/proc/self/fd/1"] {
        for force in [&[][..], &["--force"]] {
            assert_eq!(
                run(&site, &[&["get", NAME, target], force].concat()).expect(0).stdout(),
                b"restored",
                "{target}"
            );
        }
    }
    let file = site.folder.path().join("file");
    let mut get = crate::cli::command(&site.config);
    get.args(["get", NAME, "/dev/stdout", "--force"])
        .stdout(std::fs::File::create(&file).unwrap());
    crate::cli::to_run(get.output().unwrap()).expect(0);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "restored");
}
