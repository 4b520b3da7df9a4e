//! Ctrl-C ends `put` and `get` soon, with exit code 2, and leaves nothing half done.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Run, command, keys, run, site, to_run};

/// Sends SIGINT and waits; a command that does not end within ten seconds fails the test.
fn interrupt(child: Child) -> Run {
    end_by(child, Signal::SIGINT)
}

fn end_by(mut child: Child, signal: Signal) -> Run {
    let sent = Instant::now();
    kill(Pid::from_raw(child.id().try_into().unwrap()), signal).unwrap();
    while child.try_wait().unwrap().is_none() {
        assert!(sent.elapsed() < Duration::from_secs(10), "the command goes on");
        std::thread::sleep(Duration::from_millis(10));
    }
    to_run(child.wait_with_output().unwrap())
}

fn wait_until(what: &str, mut seen: impl FnMut() -> bool) {
    let started = Instant::now();
    while !seen() {
        assert!(started.elapsed() < Duration::from_secs(60), "never seen: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_put_that_waits_for_its_source_ends_and_leaves_no_image() {
    let site = site();
    let mut child = command(&site.config)
        .args(["put", "-", "main/a"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&vec![5; 40 << 20]).unwrap();
    wait_until("pending record", || {
        keys(&site).iter().any(|key| key.contains("pending"))
    });
    let ended = interrupt(child).expect(2);
    assert_eq!(ended.stderr, "vastost-s3: interrupted; nothing was stored\n");
    assert_eq!(keys(&site), Vec::<String>::new());
}

#[test]
fn a_get_to_a_file_ends_and_removes_what_it_wrote() {
    let site = site();
    let from = site.folder.path().join("from");
    let folder = site.folder.path().join("to");
    std::fs::create_dir(&folder).unwrap();
    std::fs::File::create(&from).unwrap().set_len(300 << 20).unwrap();
    run(&site, &["put", from.to_str().unwrap(), "main/a"]).expect(0);
    let to = folder.join("image");
    let child = command(&site.config)
        .args(["get", "main/a", to.to_str().unwrap()])
        .spawn()
        .unwrap();
    wait_until("partial file", || count(&folder) == 1);
    let ended = interrupt(child).expect(2);
    assert_eq!(ended.stderr, "vastost-s3: interrupted\n");
    assert_eq!(count(&folder), 0);
}

#[test]
fn a_get_whose_reader_stalls_ends() {
    let site = site();
    let from = site.folder.path().join("from");
    std::fs::File::create(&from).unwrap().set_len(30 << 20).unwrap();
    run(&site, &["put", from.to_str().unwrap(), "main/a"]).expect(0);
    let mut child = command(&site.config).args(["get", "main/a", "-"]).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut [0; 1000]).unwrap();
    let ended = interrupt(child).expect(2);
    assert_eq!(ended.stderr, "vastost-s3: interrupted\n");
}

/// How many processes of `program` have `word` among their arguments; those that have ended have none.
fn running(program: &str, word: &str) -> usize {
    let lines = std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| std::fs::read(entry.ok()?.path().join("cmdline")).ok());
    let words = lines.map(|line| {
        String::from_utf8_lossy(&line)
            .split('\0')
            .map(ToOwned::to_owned)
            .collect::<Vec<_>>()
    });
    words
        .filter(|words| words[0] == program && words.iter().any(|other| other == word))
        .count()
}

#[test]
fn a_put_ends_its_command_with_all_it_started() {
    for (signal, trap) in [
        (Signal::SIGINT, ""),
        (Signal::SIGTERM, ""),
        (Signal::SIGTERM, "trap '' TERM; "),
    ] {
        let site = site();
        let file = site.folder.path().join("source");
        std::fs::write(&file, "a line\n").unwrap();
        let word = file.to_str().unwrap();
        let line = format!("{trap}tail -f {word} | grep -v {word}; echo more");
        // A pipe would not end before the last process that holds it.
        let told = site.folder.path().join("told");
        let mut put = command(&site.config);
        put.args(["put", "--command", "main/a", "--", "sh", "-c", &line])
            .stdout(Stdio::null());
        let child = put.stderr(std::fs::File::create(&told).unwrap()).spawn().unwrap();
        let both = || [running("tail", word), running("grep", word)];
        wait_until("both ends of the pipe", || both() == [1, 1]);
        end_by(child, signal).expect(2);
        assert_eq!(both(), [0, 0], "{signal} {trap}");
        assert!(
            std::fs::read_to_string(&told)
                .unwrap()
                .contains("interrupted; nothing was stored"),
            "{signal} {trap}"
        );
        assert_eq!(keys(&site), Vec::<String>::new());
    }
}

#[test]
fn a_get_to_a_pipe_without_a_reader_ends() {
    let site = site();
    let pipe = site.folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    run(&site, &["put", site.config.to_str().unwrap(), "main/a"]).expect(0);
    let get = || {
        command(&site.config)
            .args(["get", "main/a", pipe.to_str().unwrap()])
            .spawn()
            .unwrap()
    };
    let opens = |child: &Child| {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", child.id()))
            .into_iter()
            .flatten()
            .flatten();
        let names = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
        names.into_iter().any(|name| name == "vastost-open\n")
    };
    let child = get();
    wait_until("a thread that opens the pipe", || opens(&child));
    assert_eq!(interrupt(child).expect(2).stderr, "vastost-s3: interrupted\n");
    // Who comes later gets all of it.
    let child = get();
    wait_until("a thread that opens the pipe", || opens(&child));
    assert_eq!(std::fs::read(&pipe).unwrap(), std::fs::read(&site.config).unwrap());
    to_run(child.wait_with_output().unwrap()).expect(0);
}

fn count(folder: &Path) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}

#[test]
fn what_nohup_started_goes_on_without_its_terminal() {
    let site = site();
    let mut put = Command::new("sh");
    put.args(["-c", "trap '' HUP; exec \"$@\"", "sh"])
        .arg(env!("CARGO_BIN_EXE_vastost-s3"));
    put.arg("--config")
        .arg(&site.config)
        .args(["put", "-", "main/a"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = put.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&vec![5; 40 << 20]).unwrap();
    wait_until("pending record", || {
        keys(&site).iter().any(|key| key.contains("pending"))
    });
    kill(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGHUP).unwrap();
    stdin.write_all(&[6; 1000]).unwrap();
    drop(stdin);
    to_run(child.wait_with_output().unwrap()).expect(0);
    assert_eq!(run(&site, &["-q", "ls", "main"]).expect(0).text().lines().count(), 1);
}
