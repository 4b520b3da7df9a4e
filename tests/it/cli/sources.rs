//! What `put` stores is whole: the command succeeded, the file stayed as it was, something came.

use std::io::Write;
use std::process::Stdio;

use super::{Run, command, keys, run, run_with, site, to_run};
use vastost_testkit::test_store::{Site, pattern};

/// Runs `put --command` with a line for the shell.
fn put_command(site: &Site, more: &[&str], line: &str) -> Run {
    run(
        site,
        &[&["put", "--command", "main/dump:1"], more, &["--", "sh", "-c", line]].concat(),
    )
}

fn nothing_is_stored(site: &Site, refused: &Run) {
    assert_eq!(refused.text(), "", "{}", refused.stderr);
    assert_eq!(keys(site), Vec::<String>::new(), "{}", refused.stderr);
}

#[test]
fn what_a_command_prints_is_stored_when_it_succeeds() {
    let site = site();
    let put = put_command(&site, &[], "head -c 9000000 /dev/zero; echo told >&2").expect(0);
    assert!(
        put.text().contains("stored main/dump:1") && put.text().contains("9000000 bytes"),
        "{}",
        put.text()
    );
    assert_eq!(put.stderr, "told\n");
    assert!(run(&site, &["get", "main/dump", "-"]).expect(0).stdout == vec![0; 9_000_000]);
}

#[test]
fn a_command_that_fails_or_is_killed_leaves_no_image() {
    let site = site();
    for (line, how) in [
        ("head -c 9000000 /dev/zero; exit 3", "ended with exit status 3"),
        ("echo half; kill -9 $$", "was killed by signal 9 (SIGKILL)"),
        ("echo half; exec 1>&-; sleep 0.1; exit 1", "ended with exit status 1"),
        ("false | true; no-such-command", "ended with exit status 127"),
    ] {
        let refused = put_command(&site, &["--allow-empty"], line).expect(1);
        assert!(
            refused.stderr.contains(how) && refused.stderr.contains("`sh -c"),
            "{}",
            refused.stderr
        );
        nothing_is_stored(&site, &refused);
    }
    let refused = run(&site, &["put", "--command", "main/dump", "--", "/no/such/program"]).expect(2);
    assert!(refused.stderr.contains("run `/no/such/program`"), "{}", refused.stderr);
    nothing_is_stored(&site, &refused);
}

#[test]
fn a_command_ends_with_a_put_that_cannot_store() {
    let site = site();
    run_with(&site, &["put", "-", "main/dump:1"], b"x").expect(0);
    let told = site.folder.path().join("ran");
    let line = format!("touch {}; cat /dev/zero", told.display());
    let refused = put_command(&site, &[], &line).expect(2);
    assert!(
        refused.stderr.contains("exists") && !told.exists(),
        "{}",
        refused.stderr
    );
}

#[test]
fn the_command_line_of_a_command_is_checked() {
    let site = site();
    for wrong in [
        &["put", "--command", "main/a"][..],
        &["put", "--command", "file", "main/a", "--", "true"],
        &["put", "main/a", "--", "true"],
        &["put", "main/a"],
        &["put", "--command", "--", "true"],
    ] {
        let refused = run(&site, wrong).expect(2);
        assert!(!refused.stderr.is_empty(), "{wrong:?}");
    }
    run(&site, &["put", "-", "main/a", "--command", "--", "echo", "x"]).expect(0);
}

#[test]
fn an_empty_input_is_stored_only_when_it_is_meant() {
    let site = site();
    let refused = run_with(&site, &["put", "-", "main/a"], b"").expect(1);
    assert!(
        refused.stderr.contains("standard input brought no bytes"),
        "{}",
        refused.stderr
    );
    nothing_is_stored(&site, &refused);
    nothing_is_stored(&site, &put_command(&site, &[], "true").expect(1));
    run_with(&site, &["put", "-", "main/a", "--allow-empty"], b"").expect(0);
    put_command(&site, &["--allow-empty"], "true").expect(0);
    // Who names an empty file means it.
    run(&site, &["put", "/dev/null", "main/b"]).expect(0);
    assert_eq!(run(&site, &["-q", "ls", "main"]).expect(0).text().lines().count(), 3);
}

#[test]
fn less_than_the_least_size_is_not_stored() {
    let site = site();
    let refused = run_with(&site, &["put", "-", "main/a", "--min-size", "1 KiB"], &[7; 1023]).expect(1);
    assert!(
        refused
            .stderr
            .contains("brought 1,023 bytes, --min-size asks for 1,024"),
        "{}",
        refused.stderr
    );
    nothing_is_stored(&site, &refused);
    nothing_is_stored(&site, &put_command(&site, &["--min-size", "1"], "true").expect(1));
    run_with(&site, &["put", "-", "main/a", "--min-size", "1 KiB"], &[7; 1024]).expect(0);
}

/// The image is being written when the file changes: its pending record is there, and more bytes are to come.
#[test]
fn a_file_that_changes_while_it_is_read_is_not_stored() {
    let size = 6 << 20;
    type Change = fn(&std::fs::File);
    let changes: [(&str, Change); 3] = [
        ("shrinks", |file| file.set_len(3_000_000).unwrap()),
        ("grows", |file| file.set_len(9 << 20).unwrap()),
        ("is written to", |mut file| file.write_all(b"other bytes").unwrap()),
    ];
    for (how, change) in changes {
        let site = site();
        let from = site.folder.path().join("from");
        std::fs::write(&from, pattern(size, 1)).unwrap();
        // Standard input is the file as well: what changes it is seen either way.
        for source in ["-", from.to_str().unwrap()] {
            std::fs::write(&from, pattern(size, 1)).unwrap();
            let proxy = vastost_testkit::proxy::Proxy::start(&site.url);
            let file = std::fs::OpenOptions::new().write(true).open(&from).unwrap();
            proxy.script(move |request| {
                if request.method == "PUT" && request.key().starts_with("pending/") && request.nth == 1 {
                    // Coarse clocks: the change must not fall into the moment of the file's making.
                    std::thread::sleep(std::time::Duration::from_millis(20));
                    change(&file);
                }
                vastost_testkit::proxy::Action::Forward
            });
            site.point_at(&[proxy.url()]);
            let input = std::fs::File::open(&from).unwrap();
            let mut put = command(&site.config);
            let put = put
                .args(["put", source, "main/a"])
                .stdin(Stdio::from(input))
                .output()
                .unwrap();
            let refused = to_run(put).expect(1);
            assert!(
                refused.stderr.contains("changed while it was read"),
                "{how}: {}",
                refused.stderr
            );
            assert!(
                refused.stderr.contains("nothing was stored"),
                "{how}: {}",
                refused.stderr
            );
            nothing_is_stored(&site, &refused);
        }
    }
}

#[test]
fn a_part_of_a_file_on_standard_input_is_a_whole_source() {
    let site = site();
    let from = site.folder.path().join("from");
    std::fs::write(&from, b"head and tail").unwrap();
    let shell = format!(
        "{{ dd bs=5 count=1 of=/dev/null 2>/dev/null; exec {} --config {} put - main/a; }} < {}",
        env!("CARGO_BIN_EXE_vastost-s3"),
        site.config.display(),
        from.display()
    );
    to_run(std::process::Command::new("sh").args(["-c", &shell]).output().unwrap()).expect(0);
    assert_eq!(run(&site, &["get", "main/a", "-"]).expect(0).stdout, b"and tail");
}

#[test]
fn a_device_that_brings_nothing_is_no_source() {
    let site = site();
    // As cron gives it: nothing.
    let refused = run(&site, &["put", "/dev/stdin", "main/empty:1"]).expect(1);
    assert!(refused.stderr.contains("/dev/stdin"), "{}", refused.stderr);
    nothing_is_stored(&site, &refused);
    run(&site, &["put", "/dev/stdin", "main/empty:1", "--allow-empty"]).expect(0);
    run(&site, &["put", "/dev/null", "main/empty:2"]).expect(0);
}
