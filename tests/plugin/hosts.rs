//! The C hosts of this folder, each case in a process of its own against a server of its own.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use vastost_testkit::repository;

use crate::{plugin, run};
use vastost_testkit::test_store::{Site, Wish};

const MIB: u64 = 1 << 20;
/// Images of several parts must not take long under valgrind.
pub const SMALL_PARTS: &str =
    "[transfer]\npart_size = \"5 MiB\"\nimage_size_max = \"100 MB\"\n[pool]\nbudget = \"64 MiB\"\n";

/// The program, compiled once with the committed header.
pub fn host() -> &'static PathBuf {
    static HOST: OnceLock<PathBuf> = OnceLock::new();
    HOST.get_or_init(|| {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        let program = folder.join("host");
        let fresh = folder.join(format!("host-{}", std::process::id()));
        let files = ["host", "life", "wrong", "hostile", "crash", "limits"]
            .map(|name| repository(&format!("tests/plugin/{name}.c")));
        let flags = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-g", "-O1", "-I"];
        let mut compiler = Command::new("cc");
        compiler
            .args(flags)
            .arg(repository("include"))
            .args(files)
            .args(["-ldl", "-pthread", "-o"])
            .arg(&fresh);
        run(&mut compiler);
        // A rename, so that another test run at the same time never starts half a file.
        std::fs::rename(&fresh, &program).expect("put the host in place");
        program
    })
}

/// A server of its own, with a configuration that has these settings.
pub fn site(settings: &str) -> Site {
    Site::new(&Wish {
        settings: settings.into(),
        ..Wish::default()
    })
}

fn host_run(site: &Site, case: &str, number: u64) -> String {
    let output = run(Command::new(host())
        .arg(plugin())
        .arg(&site.config)
        .args([case, &number.to_string()]));
    assert!(output.ends_with("good\n"), "{output}");
    output
}

#[test]
fn loading_and_claiming_start_no_thread_and_open_no_socket() {
    println!("{}", host_run(&site(""), "load", 0));
}

#[test]
fn a_host_lives_twice_in_one_process() {
    host_run(&site(SMALL_PARTS), "life", 27 * MIB + 12345);
}

#[test]
fn a_fork_keeps_servers_gives_up_images_and_leaves_the_parent_alone() {
    host_run(&site(SMALL_PARTS), "fork", 21 * MIB);
}

#[test]
fn forks_amid_traffic_of_other_threads_work_with_a_log_file_too() {
    let log = "[log]\nfile = \"plugin.log\"\nlevel = \"trace\"\n";
    host_run(&site(&format!("{SMALL_PARTS}{log}")), "traffic", 40);
}

#[test]
fn twenty_processes_share_one_lsu() {
    host_run(&site(SMALL_PARTS), "many", 20);
}

#[test]
fn more_images_than_the_budget_holds_are_refused() {
    // 64 MiB promise 12 parts of 5 MiB.
    host_run(&site(SMALL_PARTS), "crowd", 20);
}

#[test]
fn wrong_use_of_every_function_gives_its_code() {
    host_run(&site(SMALL_PARTS), "wrong", 6 * MIB);
}

#[test]
fn threads_may_share_a_handle() {
    host_run(&site(SMALL_PARTS), "shared", 21 * MIB);
}

#[test]
fn a_close_may_race_with_reads_writes_and_another_close() {
    host_run(&site(SMALL_PARTS), "close", 12);
}

#[test]
fn terminate_ends_calls_of_other_threads() {
    host_run(&site(SMALL_PARTS), "terminate", 8);
}

#[test]
fn messages_come_on_the_callers_thread_one_for_each_failure() {
    host_run(&site(SMALL_PARTS), "chatty", 6 * MIB);
}

#[test]
fn threads_that_fail_side_by_side_get_their_own_lines() {
    host_run(&site(SMALL_PARTS), "own-lines", 2000);
}

#[test]
fn calls_behind_the_end_of_main_give_a_code_and_leave_the_host_alive() {
    let log = "[log]\nfile = \"plugin.log\"\nlevel = \"info\"\n";
    host_run(&site(&format!("{SMALL_PARTS}{log}")), "too-late", 12 * MIB);
}

#[test]
fn as_many_images_are_opened_again_as_the_budget_has_parts() {
    let budget = SMALL_PARTS.replace("64 MiB", "30 MiB");
    host_run(&site(&budget), "reopened", 6);
}

#[test]
fn a_server_that_cuts_connections_costs_an_error_and_not_the_host() {
    let site = site(&format!(
        "{SMALL_PARTS}[retry]\nattempts = 2\nbackoff_max = \"10 ms\"\nbackoff_initial = \"1 ms\"\n"
    ));
    behind_a_proxy(&site, OnPart::Cut);
    host_run(&site, "broken", 40 * MIB);
}

#[test]
fn terminate_ends_a_write_that_waits_for_a_stalled_server() {
    let site = site(SMALL_PARTS);
    behind_a_proxy(&site, OnPart::Stall);
    host_run(&site, "stalled", 100 * MIB);
}

/// Every byte of a whole life is accounted for: no invalid access, no memory lost.
#[cfg(feature = "valgrind-tests")]
#[test]
fn valgrind_finds_no_error_and_no_leak() {
    for (case, number) in [("life", 11 * MIB + 7), ("wrong", 6 * MIB)] {
        let site = site(SMALL_PARTS);
        let mut valgrind = Command::new("valgrind");
        valgrind.args([
            "--error-exitcode=9",
            "--leak-check=full",
            "--errors-for-leak-kinds=definite",
            "--fair-sched=yes",
        ]);
        let known = repository("tests/plugin/valgrind.supp");
        valgrind
            .arg(format!("--suppressions={}", known.display()))
            .arg(host())
            .arg(plugin())
            .arg(&site.config)
            .args([case, &number.to_string()]);
        let output = run(valgrind.env("HOST_SECONDS", "600"));
        assert!(output.ends_with("good\n"), "{output}");
    }
}

#[derive(Clone, Copy, PartialEq)]
enum OnPart {
    /// Closes with bytes unread, which resets the connection.
    Cut,
    /// Takes all and answers nothing.
    Stall,
}

/// Puts a proxy between the host and the site's server that passes everything but parts.
fn behind_a_proxy(site: &Site, on_part: OnPart) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let text = std::fs::read_to_string(&site.config).unwrap();
    std::fs::write(&site.config, text.replace(&site.url, &url)).unwrap();
    let upstream = site.url.trim_start_matches("http://").to_owned();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let upstream = TcpStream::connect(&upstream).unwrap();
            let answers = upstream.try_clone().unwrap();
            let to = client.try_clone().unwrap();
            std::thread::spawn(move || pass(answers, to, None));
            std::thread::spawn(move || pass(client, upstream, Some(on_part)));
        }
    });
}

fn pass(mut from: TcpStream, mut to: TcpStream, on_part: Option<OnPart>) {
    let mut chunk = vec![0; 65536];
    while let Ok(len) = from.read(&mut chunk) {
        // The upload that probes the endpoint's checksums may pass.
        let has = |text: &[u8]| chunk[..len].windows(text.len()).any(|window| window == text);
        let part = has(b"partNumber=") && has(b"/backups/");
        match on_part.filter(|_| part) {
            Some(OnPart::Cut) => break,
            Some(OnPart::Stall) => {
                while from.read(&mut chunk).is_ok_and(|len| len > 0) {}
                std::thread::sleep(Duration::from_secs(1));
                break;
            }
            None => {}
        }
        if len == 0 || to.write_all(&chunk[..len]).is_err() {
            break;
        }
    }
    // The other direction ends as well, and both sockets close: with unread bytes that is a reset.
    let _ = to.shutdown(Shutdown::Both);
}
