//! Names that are hard to type, several images of one name, images that are half deleted, lists that break off.

use super::{keys, run, run_with, site};
use vastost_testkit::proxy::{Action, Answer, Proxy};
use vastost_testkit::test_store::Site;

fn put(site: &Site, name: &str) {
    run_with(site, &["put", "-", name], b"x").expect(0);
}

/// What `xargs` makes of a list: each name an argument.
fn removed_by(site: &Site, list: &[u8], end: u8) {
    let names = list.split(|byte| *byte == end).filter(|name| !name.is_empty());
    let names: Vec<_> = names.map(|name| String::from_utf8(name.to_vec()).unwrap()).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    run(site, &[&["rm", "--yes"], &names[..]].concat()).expect(0);
}

#[test]
fn no_name_can_make_a_list_name_another_image() {
    for (args, end) in [(&["-q", "ls", "main/evil"][..], b'\n'), (&["ls", "-0", "main/evil"], 0)] {
        let site = site();
        put(&site, "main/victim:5");
        put(&site, "main/evil\nmain/victim:5:7");
        put(&site, "main/evil=20x:8");
        let list = run(&site, args).expect(0);
        let expected = format!("main/evil=0Amain=2Fvictim=3A5:7{0}main/evil=20x:8{0}", char::from(end));
        assert_eq!(list.text(), expected);
        removed_by(&site, list.stdout(), end);
        assert_eq!(run(&site, &["-q", "ls", "main"]).expect(0).text(), "main/victim:5\n");
    }
}

#[test]
fn a_name_is_taken_as_typed_or_escaped() {
    let site = site();
    put(&site, "main/a b:1");
    for name in ["main/a b", "main/a=20b:1"] {
        assert_eq!(run(&site, &["get", name, "-"]).expect(0).stdout(), b"x");
    }
    assert_eq!(
        run(&site, &["-q", "ls", "main/a=20"]).expect(0).text(),
        "main/a=20b:1\n"
    );
    // An equals sign that begins no escape is one.
    put(&site, "main/a=b:2");
    assert_eq!(run(&site, &["-q", "ls", "main/a=b"]).expect(0).text(), "main/a=3Db:2\n");
    run(&site, &["rm", "--yes", "main/a=b", "main/a=20b"]).expect(0);
    assert!(keys(&site).is_empty());
}

#[test]
fn nothing_that_a_terminal_obeys_is_printed() {
    let site = site();
    let name = "main/a\u{202e}gpj\x1b[2J\u{9b}1m:1";
    put(&site, name);
    let all = [
        &["ls", "main"][..],
        &["info", name],
        &["--json", "ls", "main"],
        &["-q", "ls", "main"],
        &["verify", "main"],
    ];
    for args in all
        .into_iter()
        .chain([&["info", "main/none\u{202e}\x1b[2J"][..], &["put", "/dev/null", name]])
    {
        let run = run(&site, args);
        let text = run.text() + &run.stderr;
        let obeyed = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
        assert!(!text.is_empty() && !text.contains(obeyed), "{args:?}: {text:?}");
    }
}

#[test]
fn the_newest_of_several_images_is_chosen_when_asked() {
    let site = site();
    for name in ["main/dump:100", "main/dump:300", "main/dump:200"] {
        run_with(&site, &["put", "-", name], name.as_bytes()).expect(0);
    }
    for args in [
        &["info", "main/dump"][..],
        &["get", "main/dump", "-"],
        &["rm", "--yes", "main/dump"],
    ] {
        let told = run(&site, args).expect(2).stderr;
        assert!(
            told.contains("main/dump:100, main/dump:200, main/dump:300") && told.contains("--newest"),
            "{told}"
        );
    }
    assert_eq!(
        run(&site, &["get", "--newest", "main/dump", "-"]).expect(0).stdout(),
        b"main/dump:300"
    );
    assert_eq!(
        run(&site, &["--json", "info", "--newest", "main/dump"])
            .expect(0)
            .json()["images"][0]["date"],
        300
    );
    run(&site, &["info", "--newest", "main/dump:100"]).expect(2);
    run(&site, &["rm", "--yes", "--newest", "main/dump"]).expect(0);
    assert_eq!(
        run(&site, &["-q", "ls", "main"]).expect(0).text(),
        "main/dump:100\nmain/dump:200\n"
    );
}

#[test]
fn a_name_without_a_date_can_be_put_again_and_again() {
    let site = site();
    for body in [b"1", b"2", b"3"] {
        run_with(&site, &["put", "-", "main/mydb"], body).expect(0);
    }
    assert_eq!(run(&site, &["-q", "ls", "main"]).expect(0).text().lines().count(), 3);
    assert_eq!(
        run(&site, &["get", "main/mydb", "--newest", "-"]).expect(0).stdout(),
        b"3"
    );
    let again = run_with(&site, &["put", "-", "main/mydb:1"], b"1").expect(0);
    assert!(again.text().contains("main/mydb:1"));
    let told = run_with(&site, &["put", "-", "main/mydb:1"], b"1").expect(2).stderr;
    assert!(
        told.contains("another date names another image") && told.matches("mydb:1").count() == 1,
        "{told}"
    );
}

#[test]
fn what_is_no_date_or_lies_ahead_is_warned_of() {
    let site = site();
    let put = |name: &str| run_with(&site, &["put", "-", name], b"x").expect(0).stderr;
    assert_eq!(put("main/plain:1"), "");
    let told = put("main/x:abc");
    assert!(told.contains("warning: \":abc\" is no date in seconds since 1970, so it is taken as part of the name"));
    let told = put("main/x:253402207200");
    assert!(
        told.contains("warning: the date of main/x is 9999-12-30T22:00:00Z, which is in the future"),
        "{told}"
    );
}

#[test]
fn a_basename_that_is_too_long_is_told_the_limit() {
    let site = site();
    let name = |len: usize| format!("main/{}:1795305600", "x".repeat(len));
    put(&site, &name(222));
    for len in [223, 300] {
        let told = run_with(&site, &["put", "-", &name(len)], b"x").expect(2).stderr;
        assert!(
            told.contains("after escaping") && told.contains("at most 222"),
            "{told}"
        );
    }
    // Escaped, each is three bytes.
    let told = run_with(&site, &["put", "-", &format!("main/{}:1", "\u{e4}".repeat(40))], b"x")
        .expect(2)
        .stderr;
    assert!(
        told.contains("240 bytes after escaping, with this date at most 231 are possible"),
        "{told}"
    );
}

/// As an interrupted delete leaves it.
fn half_deleted(site: &Site, name: &str) {
    put(site, name);
    let stem = name.strip_prefix("main/").unwrap().replace(':', ".");
    let key = keys(site)
        .into_iter()
        .find(|key| key.starts_with("catalog/") && key.contains(&stem))
        .expect("a sidecar");
    let foreign = crate::foreign::Foreign::new(site);
    let mut record = foreign.get_json(&key);
    record["state"] = "deleting".into();
    foreign.put(&key, &serde_json::to_vec(&record).unwrap(), &[]);
}

#[test]
fn a_half_deleted_image_is_shown_and_rm_finishes_it() {
    let site = site();
    put(&site, "main/whole:1");
    half_deleted(&site, "main/half:2");
    let table = run(&site, &["ls", "main"]).expect(0).text();
    assert!(
        table
            .lines()
            .any(|line| line.contains("deleting") && line.contains("half")),
        "{table}"
    );
    assert_eq!(
        run(&site, &["--json", "info", "main/half"]).expect(0).json()["images"][0]["state"],
        "deleting"
    );
    assert_eq!(run(&site, &["-q", "ls", "main"]).expect(0).text(), "main/whole:1\n");
    assert_eq!(
        run(&site, &["-q", "ls", "main", "--complete"]).expect(0).text(),
        "main/whole:1\n"
    );
    run(&site, &["get", "main/half", "-"]).expect(2);
    let deleted = run(&site, &["rm", "--yes", "main/half"]).expect(0).text();
    assert_eq!(deleted, "deleted main/half:2\n");
    assert!(!keys(&site).iter().any(|key| key.contains("half")));
}

#[test]
fn a_list_that_breaks_off_is_closed_and_says_so() {
    let site = site();
    for number in 1..=40 {
        put(&site, &format!("main/x{number:02}:1"));
    }
    let proxy = Proxy::start(&site.url);
    proxy.script(
        |request| match request.key().contains("/x20.") && request.method == "GET" {
            true => Action::Answer(Answer::error(403, "AccessDenied")),
            false => Action::Forward,
        },
    );
    site.point_at(&[proxy.url()]);
    let broken = run(&site, &["--json", "ls", "main"]).expect(2);
    let document = broken.json();
    assert_eq!(document["schema"], 1);
    let images = document["images"].as_array().unwrap().len();
    assert!((16..40).contains(&images), "{images}");
    assert!(
        document["error"].as_str().unwrap().contains("AccessDenied"),
        "{document}"
    );
    assert!(broken.stderr.contains("the list ends after"), "{}", broken.stderr);
    run(&site, &["-q", "ls", "main"]).expect(2);
    run(&site, &["ls", "main"]).expect(2);
}

#[test]
fn a_list_without_a_match_says_so() {
    let site = site();
    put(&site, "main/a:1");
    let none = run(&site, &["ls", "main/b"]).expect(0);
    assert!(
        none.text().is_empty() && none.stderr.contains("no image in LSU main"),
        "{}",
        none.stderr
    );
    assert_eq!(run(&site, &["-q", "ls", "main/b"]).expect(0).stderr, "");
    assert_eq!(
        run(&site, &["--json", "ls", "main/b"]).expect(0).json()["images"]
            .as_array()
            .unwrap()
            .len(),
        0
    );
}

#[test]
fn rm_goes_on_when_nobody_reads_what_it_says() {
    let site = site();
    let names = ["main/a:1", "main/b:1", "main/c:1"];
    names.iter().for_each(|name| put(&site, name));
    let mut child = super::command(&site.config)
        .args(["rm", "--yes"])
        .args(names)
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
    assert!(keys(&site).is_empty());
}

/// A writer that died between its sidecar and the end of its own record has left that: `rm` of what is pending must not
/// mean the image.
#[test]
fn a_complete_image_is_never_listed_as_pending() {
    let site = site();
    put(&site, "main/whole:1");
    let foreign = crate::foreign::Foreign::new(&site);
    let sidecar = keys(&site)
        .into_iter()
        .find(|key| key.starts_with("catalog/"))
        .expect("a sidecar");
    let record = foreign.get_json(&sidecar);
    let data = record["data"]["key"].as_str().expect("a key").to_owned();
    let attempt = data.rsplit('.').nth(1).expect("an attempt");
    let pending = serde_json::json!({
        "schema": 1, "state": "writing", "attempt": attempt, "closing": "complete", "key": data, "image": record["image"],
        "created": record["created"], "started": record["created"], "writer": record["writer"], "lease_seconds": 600,
    });
    foreign.put(
        &data.replace("backups/", "pending/").replace(".nbk", ".json"),
        pending.to_string().as_bytes(),
        &[],
    );
    for args in [
        &["-q", "ls", "main", "--pending"][..],
        &["ls", "-0", "main", "--pending"],
    ] {
        assert_eq!(run(&site, args).expect(0).text(), "");
    }
    assert_eq!(run(&site, &["-q", "ls", "main"]).expect(0).text(), "main/whole:1\n");
}
