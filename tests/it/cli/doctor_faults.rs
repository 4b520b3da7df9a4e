//! What `doctor` says of a store, or a key, that cannot do all that backups need.

use serde_json::Value;

use super::doctor::{check, healthy};
use super::{command, finish};
use vastost_testkit::proxy::{Action, Answer, Proxy, Request};
use vastost_testkit::test_store::Site;

/// A site of one LSU behind a proxy that does to each request what `script` says.
fn behind(script: impl Fn(&Request) -> Action + Send + Sync + 'static) -> (Site, Proxy) {
    let site = healthy();
    let text = std::fs::read_to_string(&site.direct).unwrap();
    let side = text.split("[[server.t.lsu]]\nname = \"side\"").next().unwrap();
    let settings =
        "[transfer]\npart_size = \"5 MiB\"\nimage_size_max = \"8 GiB\"\n[retry]\nbackoff_initial = \"10 ms\"\n";
    std::fs::write(&site.direct, format!("{side}{settings}")).unwrap();
    let proxy = Proxy::start(&site.url);
    site.point_at(&[proxy.url()]);
    proxy.script(script);
    (site, proxy)
}

/// What `doctor` reports, and that it leaves nothing behind.
fn report(site: &Site, code: i32) -> Value {
    let report = finish(command(&site.config).args(["--json", "doctor"]))
        .expect(code)
        .json();
    assert_eq!(site.keys_under(""), [""; 0], "{report}");
    report
}

fn denied() -> Action {
    Action::Answer(Answer::error(403, "AccessDenied"))
}

/// Fails the check `name` alone, with `words` in its advice.
fn fails(site: &Site, name: &str, words: &str) {
    let report = report(site, 1);
    let failed = check(&report, name);
    assert_eq!(failed["status"], "fail", "{report}");
    assert!(failed["advice"].as_str().unwrap().contains(words), "{failed}");
    let all = report["checks"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|check| check["status"] == "fail");
    assert_eq!(all.count(), 1, "{report}");
}

#[test]
fn a_missing_right_is_named() {
    for (operation, name, right) in [
        ("ListParts", "main abort", "s3:ListMultipartUploadParts"),
        (
            "ListMultipartUploads",
            "main list uploads",
            "s3:ListBucketMultipartUploads",
        ),
        ("UploadPartCopy", "main re-open", "s3:GetObject and s3:PutObject"),
    ] {
        let (site, _proxy) = behind(move |request| {
            if request.operation() == operation {
                denied()
            } else {
                Action::Forward
            }
        });
        fails(&site, name, right);
    }
}

#[test]
fn a_gateway_that_takes_no_part_of_the_configured_size_fails() {
    let (site, _proxy) = behind(|request| {
        let large = request.folder() == "probe" && request.key().contains("backups");
        let is_part = request.operation() == "UploadPart" && request.length.unwrap_or(0) > 1 << 20;
        if large && is_part {
            Action::Answer(Answer {
                status: 413,
                ..Answer::default()
            })
        } else {
            Action::Forward
        }
    });
    fails(&site, "main multipart", "bodies of part_size");
}

#[test]
fn a_store_that_cannot_copy_parts_fails() {
    let (site, _proxy) = behind(|request| match request.operation() {
        "UploadPartCopy" => Action::Answer(Answer::error(501, "NotImplemented")),
        _ => Action::Forward,
    });
    fails(&site, "main re-open", "does not do what backups need");
}

#[test]
fn a_default_retention_is_refused_before_anything_is_written() {
    let (site, proxy) = behind(|request| match request.query("object-lock") {
        Some(_) => {
            let rule = "<DefaultRetention><Mode>GOVERNANCE</Mode><Days>1</Days></DefaultRetention>";
            let body = format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?><ObjectLockConfiguration><ObjectLockEnabled>Enabled\
                 </ObjectLockEnabled><Rule>{rule}</Rule></ObjectLockConfiguration>"
            );
            let answer = Answer {
                status: 200,
                body,
                ..Answer::default()
            };
            Action::Answer(answer.header("Content-Type", "application/xml"))
        }
        None => Action::Forward,
    });
    fails(&site, "main default retention", "remove the bucket's default retention");
    assert!(
        !proxy
            .requests()
            .iter()
            .any(|request| ["PUT", "POST"].contains(&request.method.as_str()))
    );
}

#[test]
fn a_gateway_that_takes_user_metadata_away_fails() {
    let (site, _proxy) = behind(|request| {
        if request.operation() != "HeadObject" {
            return Action::Forward;
        }
        Action::edit(|reply| {
            reply
                .headers
                .retain(|(name, _)| !name.to_ascii_lowercase().starts_with("x-amz-meta-"))
        })
    });
    fails(&site, "main user metadata", "x-amz-meta-*");
}

#[test]
fn a_server_that_is_busy_for_a_moment_passes() {
    let (site, proxy) = behind(|request| match request.number % 4 {
        1 => Action::Answer(Answer {
            status: 429,
            ..Answer::default()
        }),
        _ => Action::Forward,
    });
    report(&site, 0);
    assert!(proxy.faults() > 5);
}

#[test]
fn what_is_known_of_a_bucket_is_refreshed() {
    let (site, proxy) = behind(|_| Action::Forward);
    let put = |name: &str| finish(command(&site.config).arg("put").arg(&site.config).arg(name)).expect(0);
    put("main/first");
    let read = || {
        let folder = std::fs::read_dir(site.folder.path().join("state")).unwrap();
        let file = folder
            .map(|entry| entry.unwrap().path())
            .find(|path| path.to_string_lossy().contains("/probe-"));
        serde_json::from_slice::<Value>(&std::fs::read(file.unwrap()).unwrap()).unwrap()
    };
    assert_eq!(read()["capabilities"]["crc64nvme"], true);
    finish(command(&site.config).args(["rm", "main/first", "--yes"])).expect(0);
    proxy.script(|request| match request.header("x-amz-checksum-crc64nvme") {
        Some(_) => Action::Answer(Answer::error(400, "InvalidRequest")),
        None => Action::Forward,
    });
    report(&site, 0);
    assert_eq!(read()["capabilities"]["crc64nvme"], false);
}
