//! What `verify` does not call good because nothing was looked at or compared, and what becomes of its outputs.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use vastost::catalog::audit::report::{Class, Level, Report, Severity};

use super::{Run, command, to_run};
use crate::audit::{Kept, Yard, flags, report_of, seen};
use vastost_testkit::proxy::{Action, Answer, Proxy};
use vastost_testkit::test_store::{DATE, Wish, image, pattern};

const LEVELS: [Level; 3] = [Level::Quick, Level::Default, Level::Deep];

fn yard() -> Yard {
    Yard::new(&Wish::default())
}

fn keep(yard: &Yard, number: u64) -> Kept {
    yard.keep(&image("db01", number), pattern(1_000, number), b"")
}

/// What the report says was not verified.
fn unverified(report: &Report) -> String {
    report.summary.unverified.join("; ")
}

fn file(yard: &Yard, name: &str) -> PathBuf {
    yard.site.folder.path().join(name)
}

#[test]
fn an_lsu_that_has_lost_all_sidecars_is_no_good_news() {
    let yard = yard();
    for number in 1..=3 {
        yard.foreign.delete(&keep(&yard, number).sidecar_key);
    }
    for level in LEVELS {
        let (code, report) = yard.audit(&[&["main", "--allow-empty"], flags(level)].concat());
        assert_eq!((code, report.summary.lsus["main"].unrecorded), (2, 3), "{level:?}");
        assert!(
            unverified(&report).contains("data of images and not one sidecar"),
            "{report:?}"
        );
    }
    let told = yard.run(&["verify", "main"]).expect(2).text();
    assert!(
        told.starts_with("Nothing was verified: ") && told.contains("vastost-s3 repair main"),
        "{told}"
    );
}

#[test]
fn an_emptied_bucket_does_not_stay_green() {
    let yard = yard();
    let kept = keep(&yard, 1);
    assert_eq!(yard.audit(&["main"]).0, 0);
    [&kept.sidecar_key, &kept.data_key]
        .into_iter()
        .for_each(|key| yard.foreign.delete(key));
    for level in LEVELS {
        let (code, report) = yard.audit(&[&["main"], flags(level)].concat());
        assert_eq!(code, 2, "{level:?}");
        assert!(
            unverified(&report).contains("no complete image is in LSU main, and this host has counted 1 image there")
        );
    }
    // This host has counted one: that the LSU is meant to be empty is believed only once it was counted anew.
    let (code, report) = yard.audit(&["main", "--allow-empty"]);
    assert!(
        code == 2 && unverified(&report).contains("`vastost-s3 usage main` counts again"),
        "{report:?}"
    );
    yard.run(&["usage", "main"]).expect(0);
    assert_eq!(yard.audit(&["main", "--allow-empty"]).0, 0);
    let (code, report) = yard.audit(&["main"]);
    assert!(
        code == 2 && unverified(&report).contains("no image is in LSU main; --allow-empty"),
        "{report:?}"
    );
}

#[test]
fn a_selection_that_matches_nothing_is_no_good_news() {
    let yard = yard();
    keep(&yard, 1);
    for typo in [
        &["--client", "db1"][..],
        &["--image", "bd01"],
        &["--since", "2027-01-01"],
        &["--until", "2020-01-01"],
    ] {
        for level in LEVELS {
            let (code, report) = yard.audit(&[&["main"], typo, flags(level)].concat());
            assert_eq!(code, 2, "{typo:?} {level:?}");
            assert!(
                unverified(&report).contains("no image in LSU main matches the selection"),
                "{report:?}"
            );
        }
    }
    assert_eq!(yard.audit(&["main", "--client", "db01"]).0, 0);
    let told = yard.run(&["gc", "main", "--client", "db1"]).expect(2).stderr;
    assert!(told.contains("no image of client db1 is in LSU main"), "{told}");
    yard.run(&["gc", "main", "--client", "db01"]).expect(0);
}

#[test]
fn a_shard_without_images_is_no_failure_and_an_empty_audit_in_shards_is() {
    let yard = yard();
    let shards = |args: &[&str]| {
        let run = |number: usize| {
            let (code, report) = yard.audit(&[&["main", "--shard", &format!("{number}/4")], args].concat());
            let path = file(&yard, &format!("{number}.json"));
            std::fs::write(&path, serde_json::to_vec(&report).unwrap()).unwrap();
            (code, path.display().to_string())
        };
        let (codes, files): (Vec<_>, Vec<_>) = (1..=4).map(run).unzip();
        let files: Vec<_> = files.iter().map(String::as_str).collect();
        let (merged, _) = report_of(yard.run(&[&["--json", "verify", "merge"], &files[..]].concat()));
        (codes, merged)
    };
    assert_eq!(shards(&[]), (vec![2; 4], 2));
    keep(&yard, 1);
    assert_eq!(shards(&[]), (vec![0; 4], 0));
    assert_eq!(shards(&["--client", "db1"]), (vec![2; 4], 2));
}

fn against(yard: &Yard, list: &str, args: &[&str]) -> Run {
    let list_file = file(yard, "list.txt");
    std::fs::write(&list_file, list).unwrap();
    yard.run(
        &[
            &["--json", "verify", "main", "--against", list_file.to_str().unwrap()],
            args,
        ]
        .concat(),
    )
}

/// NetBackup's list with these images.
fn list(numbers: &[u64]) -> String {
    numbers
        .iter()
        .map(|number| crate::audit::lines(&image("db01", *number), 1_000))
        .collect()
}

#[test]
fn a_list_that_names_nothing_or_was_cut_compares_with_nothing() {
    let yard = yard();
    keep(&yard, 1);
    assert_eq!(against(&yard, &list(&[1]), &[]).code, 0);
    let whole = list(&[1]);
    for (list, why) in [
        (&whole[..whole.len() - 20], "ends within this line"),
        (whole.lines().next().unwrap(), "ends within this line"),
        (
            &whole[..=whole.find('\n').unwrap()],
            "ends before the fragments of db01_",
        ),
    ] {
        let refused = against(&yard, list, &[]).expect(2);
        assert!(refused.stderr.contains(why), "{list:?}: {}", refused.stderr);
    }
    let tape = whole.replace(" 0 0 0 @aaaab", " 2 0 0 @aaaab");
    for (list, args, why) in [
        ("", &[][..], "names no image on a disk pool"),
        (&tape, &[], "names no image on a disk pool"),
        (
            &whole,
            &["--volume", "@aaaac"],
            "no fragment on volume @aaaac; the volumes in it: @aaaab",
        ),
        (
            &whole,
            &["--volume", "@aaaab", "--volume", "@aaaac"],
            "no fragment on volume @aaaac",
        ),
    ] {
        let run = against(&yard, list, args);
        assert!(run.stderr.contains(why), "{}", run.stderr);
        let (code, report) = report_of(run);
        assert!(
            code == 2 && unverified(&report).contains(why),
            "{list:?} {args:?}: {report:?}"
        );
    }
    let (code, report) = report_of(against(&yard, &whole, &["--client", "web"]));
    assert!(
        code == 2 && unverified(&report).contains("nothing was compared"),
        "{report:?}"
    );
}

#[test]
fn an_image_of_the_same_name_and_another_date_is_not_the_expected_one() {
    let yard = yard();
    let mut def = image("db01", 1);
    def.date = DATE + 50;
    yard.keep(&def, pattern(1_000, 1), b"");
    let (code, report) = report_of(against(&yard, &list(&[1]), &[]));
    let classes: Vec<_> = seen(&report).into_iter().map(|seen| seen.class).collect();
    assert_eq!((code, classes), (1, vec![Class::NetbackupOnly, Class::StoreOnly]));
}

#[test]
fn sidecars_in_a_wrong_folder_are_named_in_the_table() {
    let yard = yard();
    let kept = keep(&yard, 1);
    let misplaced = kept.sidecar_key.replace("/db01/", "/db02/");
    yard.foreign
        .put(&misplaced, &serde_json::to_vec(&kept.record).unwrap(), &[]);
    let told = yard.run(&["verify", "main"]).expect(0).text();
    assert!(
        told.contains(&format!(
            "1 key not at the place of any image, and not checked: {misplaced}"
        )),
        "{told}"
    );
    let (_, report) = yard.audit(&["main"]);
    assert_eq!(report.summary.lsus["main"].foreign_named, [misplaced]);
}

#[test]
fn part_numbers_that_no_upload_has_are_named() {
    for numbers in [0, 10_001, 2] {
        let yard = yard();
        let mut kept = yard.keep(&image("db01", 1), pattern(6 << 20, 1), b"");
        kept.record["parts"][usize::from(numbers == 2)]["number"] = numbers.into();
        kept.record["parts"][usize::from(numbers != 2)]["number"] = 2.into();
        yard.foreign
            .put(&kept.sidecar_key, &serde_json::to_vec(&kept.record).unwrap(), &[]);
        let (code, report) = yard.audit(&["main"]);
        assert_eq!(
            (code, seen(&report)),
            (1, vec![kept.finding(Class::SidecarMismatch, &kept.sidecar_key)])
        );
        assert!(report.findings[0].found.contains("part number"), "{report:?}");
    }
}

#[test]
fn an_object_in_an_archive_is_named_before_somebody_needs_it() {
    let yard = yard();
    let kept = keep(&yard, 1);
    let etag = yard.foreign.etag(&kept.data_key);
    let metadata = yard.foreign.metadata(&kept.data_key);
    for (header, value, code) in [
        ("x-amz-storage-class", "DEEP_ARCHIVE", 1),
        ("x-amz-storage-class", "GLACIER", 1),
        ("x-amz-storage-class", "GLACIER_IR", 0),
        ("x-amz-storage-class", "STANDARD_IA", 0),
        ("x-amz-archive-status", "ARCHIVE_ACCESS", 1),
    ] {
        let proxy = Proxy::start(&yard.site.url);
        let mut answer = Answer {
            status: 200,
            headers: metadata.clone(),
            body: "x".repeat(1_000),
        };
        answer = answer.header("ETag", format!("\"{etag}\"")).header(header, value);
        proxy.script(
            move |request| match request.method == "HEAD" && request.key().starts_with("backups/") {
                true => Action::Answer(answer.clone()),
                false => Action::Forward,
            },
        );
        yard.site.point_at(&[proxy.url()]);
        let (found_code, report) = yard.audit(&["main"]);
        assert_eq!(found_code, code, "{value}: {report:?}");
        if code == 1 {
            assert_eq!(seen(&report), [kept.finding(Class::Unreadable, &kept.data_key)]);
            assert!(report.findings[0].found.contains(value), "{report:?}");
        }
    }
}

#[test]
fn an_output_that_cannot_be_written_is_refused_before_the_audit() {
    let yard = yard();
    keep(&yard, 1);
    let proxy = Proxy::start(&yard.site.url);
    yard.site.point_at(&[proxy.url()]);
    let dead_link = file(&yard, "dead");
    std::os::unix::fs::symlink("/no/where", &dead_link).unwrap();
    let outputs = [
        Path::new("/no/such/folder/audit.html"),
        yard.site.folder.path(),
        Path::new("/dev/full"),
        &dead_link,
    ];
    for (option, output) in outputs
        .iter()
        .flat_map(|output| [("--html", output), ("--resume", output)])
    {
        let refused = yard
            .run(&["verify", "main", option, output.to_str().unwrap()])
            .expect(2);
        assert!(refused.stderr.contains(output.to_str().unwrap()), "{}", refused.stderr);
    }
    assert_eq!(proxy.requests().len(), 0);
}

/// The folder of the page goes while the audit runs.
#[test]
fn a_page_that_is_lost_loses_neither_the_report_nor_the_state() {
    let yard = yard();
    keep(&yard, 1);
    let folder = file(&yard, "pages");
    let state = file(&yard, "audit.state");
    std::fs::create_dir(&folder).unwrap();
    let proxy = Proxy::start(&yard.site.url);
    let page = folder.join("audit.html");
    let gone = AtomicBool::new(false);
    let target = folder.clone();
    proxy.script(move |_| {
        if !gone.swap(true, Ordering::Relaxed) {
            std::fs::remove_dir_all(&target).unwrap();
        }
        Action::Forward
    });
    let direct = std::fs::read_to_string(&yard.site.config).unwrap();
    yard.site.point_at(&[proxy.url()]);
    let args = ["--html", page.to_str().unwrap(), "--resume", state.to_str().unwrap()];
    let run = yard.run(&[&["--json", "verify", "main"], &args[..]].concat());
    assert!(run.stderr.contains("audit.html"), "{}", run.stderr);
    let (code, report) = report_of(run);
    assert_eq!((code, report.summary.lsus["main"].states.good.images), (2, 1));
    // The same command makes the report again, from the state alone.
    std::fs::write(&yard.site.config, direct.replace(&yard.site.url, "http://127.0.0.1:1")).unwrap();
    std::fs::create_dir(&folder).unwrap();
    let (code, again) = yard.audit(&[&["main"], &args[..]].concat());
    assert_eq!((code, again.summary.lsus["main"].states.good.images), (0, 1));
    assert!(page.exists() && !state.exists());
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
}

#[test]
fn two_audits_do_not_share_a_resume_file() {
    let yard = yard();
    keep(&yard, 1);
    let state = file(&yard, "st.1");
    let neighbour = file(&yard, "st.tmp");
    std::fs::write(&neighbour, "precious").unwrap();
    let proxy = Proxy::start(&yard.site.url);
    proxy.script(|request| match request.key().starts_with("catalog/") {
        true => Action::Hold,
        false => Action::Forward,
    });
    let direct = std::fs::read_to_string(&yard.site.config).unwrap();
    yard.site.point_at(&[proxy.url()]);
    let args = ["verify", "main", "--resume", state.to_str().unwrap()];
    let mut first = command(&yard.site.config).args(args).spawn().unwrap();
    vastost_testkit::proxy::meeting::wait_for(|| {
        state.exists() && proxy.requests().iter().any(|r| r.key().starts_with("catalog/"))
    });
    std::fs::write(&yard.site.config, direct).unwrap();
    let refused = yard.run(&args).expect(2).stderr;
    assert!(refused.contains("st.1 is in use"), "{refused}");
    first.kill().unwrap();
    first.wait().unwrap();
    // What a killed audit leaves can be resumed, though nothing is in it yet.
    yard.run(&args).expect(0);
    assert!(!state.exists());
    assert_eq!(std::fs::read(&neighbour).unwrap(), b"precious");
}

/// The most memory that a process had resident.
fn peak_rss(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim()
        .trim_end_matches(" kB")
        .trim()
        .parse::<u64>()
        .ok()
        .map(|kib| kib << 10)
}

#[test]
fn records_that_are_bombs_take_a_bounded_amount_of_memory() {
    let yard = yard();
    let kept = keep(&yard, 1);
    let text = String::from_utf8(serde_json::to_vec(&kept.record).unwrap()).unwrap();
    let bombs = [
        "0,".repeat(3 << 20),
        "[[[],[]],{}],".repeat(1 << 19),
        "\"".to_owned() + &"x".repeat(6 << 20) + "\",",
    ];
    for (number, bomb) in (2..18).zip(bombs.iter().cycle()) {
        let key = kept
            .sidecar_key
            .replace(&format!("{}", DATE + 1), &format!("{}", DATE + number));
        let record = format!("{{\"bomb\":[{bomb}0],{}", &text[1..]);
        yard.foreign.put(&key, record.as_bytes(), &[]);
    }
    let mut child = command(&yard.site.config)
        .args(["--json", "verify", "main"])
        .spawn()
        .unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let reader = std::thread::spawn(move || {
        let mut text = Vec::new();
        std::io::Read::read_to_end(&mut stdout, &mut text).map(|_| text)
    });
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        peak = peak.max(peak_rss(child.id()).unwrap_or(0));
        std::thread::sleep(Duration::from_millis(5));
    }
    let text = reader.join().unwrap().unwrap();
    let (_, report) = report_of(to_run(std::process::Output {
        status: child.wait().unwrap(),
        stdout: text.clone(),
        stderr: Vec::new(),
    }));
    assert_eq!(report.findings.len(), 16);
    assert!(text.len() < 1 << 20, "a report of {} bytes", text.len());
    assert!(peak < 400 << 20, "{} MiB", peak >> 20);
}

#[test]
fn the_page_takes_no_other_files_place() {
    let yard = yard();
    keep(&yard, 1);
    let report = file(&yard, "shard.json");
    std::fs::write(&report, yard.run(&["--json", "verify", "main"]).expect(0).text()).unwrap();
    let before = std::fs::read(&report).unwrap();
    let name = report.to_str().unwrap();
    let page = file(&yard, "page.html");
    for (args, why) in [
        (
            &["verify", "merge", name, "--html", name][..],
            "is one of the files that the page is made from",
        ),
        (
            &["verify", "main", "--html", name],
            "is there and is no page of an audit",
        ),
    ] {
        let told = yard.run(args).expect(2).stderr;
        assert!(told.contains(why), "{told}");
        assert!(std::fs::read(&report).unwrap() == before);
    }
    std::fs::write(&page, "").unwrap();
    for _ in 0..2 {
        yard.run(&["verify", "main", "--html", page.to_str().unwrap()])
            .expect(0);
        assert!(std::fs::read_to_string(&page).unwrap().starts_with("<!doctype html>"));
    }
}

/// A node that does not know an object which the listing has.
#[test]
fn one_answer_against_the_listing_is_no_verdict() {
    let yard = yard();
    let kept = keep(&yard, 1);
    let proxy = Proxy::start(&yard.site.url);
    yard.site.point_at(&[proxy.url()]);
    proxy.script(
        |request| match request.operation() == "HeadObject" && request.nth == 1 {
            true => Action::Answer(Answer {
                status: 404,
                ..Answer::default()
            }),
            false => Action::Forward,
        },
    );
    let (code, report) = yard.audit(&["main"]);
    assert_eq!((code, seen(&report)), (0, vec![]), "{report:?}");
    proxy.forward_all();
    yard.foreign.delete(&kept.data_key);
    assert_eq!(yard.audit(&["main"]).0, 1);
}

/// A list of sidecars that lacks one, and a body that is not found once.
#[test]
fn an_image_is_looked_at_although_a_list_lacks_its_sidecar() {
    let yard = yard();
    let kept = keep(&yard, 1);
    let proxy = Proxy::start(&yard.site.url);
    yard.site.point_at(&[proxy.url()]);
    let lacking = || {
        Action::edit(|reply| {
            let body = String::from_utf8_lossy(&reply.body).into_owned();
            let (Some(from), Some(to)) = (body.find("<Contents>"), body.rfind("</Contents>")) else {
                return;
            };
            let count = body.replace("<KeyCount>1<", "<KeyCount>0<");
            reply.body = format!("{}{}", &count[..from], &count[to + "</Contents>".len()..]).into_bytes();
        })
    };
    proxy.script(move |request| {
        if request.is("ListObjectsV2", "catalog") {
            lacking()
        } else {
            Action::Forward
        }
    });
    let (code, report) = yard.audit(&["main"]);
    assert_eq!(
        (code, report.summary.lsus["main"].states.good.images),
        (0, 1),
        "{report:?}"
    );
    yard.foreign.put(&kept.data_key, b"short", &[]);
    let (code, report) = yard.audit(&["main"]);
    assert_eq!(code, 1, "{report:?}");
    yard.foreign.put(&kept.data_key, &kept.data, &[]);
    proxy.script(|request| match request.is("GetObject", "backups") && request.nth == 1 {
        true => Action::Answer(Answer::error(404, "NoSuchKey")),
        false => Action::Forward,
    });
    let (code, report) = yard.audit(&["main", "--deep"]);
    let errors = report
        .findings
        .iter()
        .filter(|finding| finding.severity == Severity::Error)
        .count();
    assert_eq!(
        (code, errors, report.summary.lsus["main"].bytes_read),
        (0, 0, 1_000),
        "{report:?}"
    );
}

#[test]
fn more_lost_sidecars_than_kept_ones_are_no_good_news() {
    let yard = yard();
    for number in 1..=3 {
        let kept = keep(&yard, number);
        if number > 1 {
            yard.foreign.delete(&kept.sidecar_key);
        }
    }
    for level in LEVELS {
        let (code, report) = yard.audit(&[&["main"], flags(level)].concat());
        assert_eq!(code, 2, "{level:?}");
        assert!(
            unverified(&report).contains("data of 2 images without a sidecar and 1 sidecar"),
            "{report:?}"
        );
    }
}
