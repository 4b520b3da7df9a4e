//! Hosts under limits: few threads, little memory, small stacks, any umask, planted files, two copies of the plug-in.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use crate::hosts::{SMALL_PARTS, host};
use crate::{plugin, run};
use vastost_testkit::test_store::{Site, Wish};

const MIB: u64 = 1 << 20;

fn site(settings: &str) -> Site {
    Site::new(&Wish {
        settings: format!("{SMALL_PARTS}{settings}"),
        ..Wish::default()
    })
}

/// One case in a process of its own, begun by `before` if that is not empty.
fn case(site: &Site, plugin: &Path, case: &str, number: u64, before: &str, environment: &[(&str, String)]) -> String {
    let mut command = Command::new("sh");
    command
        .arg("-c")
        .arg(format!("{before} exec \"$0\" \"$@\""))
        .arg(host());
    command.arg(plugin).arg(&site.config).args([case, &number.to_string()]);
    let output = run(command.envs(environment.iter().map(|(name, value)| (name, value))));
    assert!(output.ends_with("good\n"), "{output}");
    output
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        .mode()
        & 0o7777
}

#[test]
fn a_host_without_threads_gets_codes_and_keeps_its_images() {
    let is_root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
    // Two for the connections, four for files and names, one for hashes, and the host's own.
    for most in 1..=8 {
        let site = site("");
        case(&site, &plugin(), "one", 1, "", &[]);
        let user = format!("{}", 61_000 + most);
        if is_root {
            run(Command::new("chown")
                .args(["-R", &format!("{user}:{user}")])
                .arg(site.folder.path()));
        }
        let output = case(&site, &plugin(), "few-threads", most, "", &[("HOST_UID", user)]);
        let expected = if most < 8 { "refuses" } else { "works" };
        assert!(output.starts_with(expected), "{most}: {output}");
    }
}

#[test]
fn a_host_without_memory_gets_a_code_and_its_images_stay() {
    let output = case(&site(""), &plugin(), "little-memory", 100_000, "", &[]);
    // What a call costs where there is no limit, for whoever looks; the benchmarks measure.
    println!("{output}");
}

#[test]
fn a_thread_that_is_cancelled_in_a_call_ends_after_it() {
    case(
        &site("[log]\nfile = \"plugin.log\"\nlevel = \"trace\"\n"),
        &plugin(),
        "cancelled",
        0,
        "",
        &[],
    );
}

#[test]
fn two_copies_in_one_process_keep_out_of_each_others_way() {
    let site = site("");
    let copy = site.folder.path().join("libother.so");
    std::fs::copy(plugin(), &copy).unwrap();
    case(
        &site,
        &plugin(),
        "copies",
        11 * MIB,
        "",
        &[("HOST_COPY", copy.display().to_string())],
    );
}

#[test]
fn a_host_without_standard_streams_prints_into_no_connection() {
    case(
        &site("[log]\nfile = \"plugin.log\"\n"),
        &plugin(),
        "closed-streams",
        11 * MIB,
        "",
        &[],
    );
}

#[test]
fn every_call_fits_the_stack_that_the_header_names() {
    // VASTOST_PLUGIN names the one that ships; what is built without optimisation needs a multiple of that.
    let share = if std::env::var_os("VASTOST_PLUGIN").is_some() {
        1
    } else {
        4
    };
    let plugin = plugin();
    let output = case(&site(""), &plugin, "stack", 11 * MIB, "", &[]);
    let used: usize = output
        .split(' ')
        .next()
        .and_then(|number| number.parse().ok())
        .expect("bytes");
    println!("{used} bytes of stack");
    // The thread's own block, and the frames of the host.
    let own = 16 << 10;
    let most = share * vastost::ost::abi::STSP_STACK_MIN + own;
    assert!(used <= most, "{used}");
    case(
        &site(""),
        &plugin,
        "stack",
        11 * MIB,
        "",
        &[("HOST_STACK", most.to_string())],
    );
}

#[test]
fn what_is_written_has_its_own_mode_under_every_umask() {
    for mask in ["000", "077"] {
        let site = site("[log]\nfile = \"plugin.log\"\n[metrics]\ndir = \"metrics\"\n");
        case(&site, &plugin(), "life", 11 * MIB, &format!("umask {mask};"), &[]);
        let at = |name: &str| site.folder.path().join(name);
        assert_eq!(mode(&at("plugin.log")), 0o640, "umask {mask}");
        for folder in ["state", "metrics"] {
            assert_eq!(mode(&at(folder)), 0o755, "umask {mask}");
            let files: Vec<_> = std::fs::read_dir(at(folder))
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .collect();
            assert!(!files.is_empty(), "{folder}");
            for file in files {
                assert_eq!(mode(&file), 0o644, "umask {mask}: {}", file.display());
            }
        }
    }
}

#[test]
fn files_that_somebody_has_planted_are_left_alone_and_hold_nothing_up() {
    let site = site("[log]\nfile = \"plugin.log\"\nrotate = \"64 KiB\"\n[metrics]\ndir = \"metrics\"\n");
    let at = |name: &str| site.folder.path().join(name);
    std::fs::create_dir(at("state")).unwrap();
    std::fs::write(at("victim"), "root:x:0:0").unwrap();
    symlink(at("victim"), at("state/usage-t-main.json")).unwrap();
    run(Command::new("mkfifo")
        .arg(at("state/usage-t-side.json"))
        .arg(at("plugin.log")));
    case(&site, &plugin(), "life", 11 * MIB, "", &[]);
    assert_eq!(std::fs::read_to_string(at("victim")).unwrap(), "root:x:0:0");
    assert!(
        std::fs::symlink_metadata(at("state/usage-t-main.json"))
            .unwrap()
            .is_symlink()
    );

    // The command line says what could not be kept, and what the configuration names.
    let tool = |arguments: &[&str]| {
        let mut tool = Command::new(env!("CARGO_BIN_EXE_vastost-s3"));
        let output = tool.arg("--config").arg(&site.config).args(arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    std::fs::set_permissions(&site.config, std::fs::Permissions::from_mode(0o666)).unwrap();
    let said = tool(&["config", "check"]);
    for expected in [
        "every user can change it",
        "plugin.log is not written: it is a FIFO",
        "usage-t-main.json is not",
    ] {
        assert!(said.contains(expected), "{said}");
    }
    std::fs::write(at("data"), "data").unwrap();
    let said = tool(&["put", at("data").to_str().unwrap(), "main/planted"]);
    for expected in [
        "plugin.log is not written: it is a FIFO",
        "usage-t-main.json: it is a symbolic link",
    ] {
        assert!(said.contains(expected), "{said}");
    }
}

/// The log and the metrics of a host may not grow any further.
#[test]
fn a_file_that_may_not_grow_costs_its_lines_and_no_host() {
    let site = site("[log]\nfile = \"plugin.log\"\nlevel = \"trace\"\n[metrics]\ndir = \"metrics\"\n");
    case(&site, &plugin(), "life", 11 * MIB, "ulimit -f 1;", &[]);
    let log = std::fs::metadata(site.folder.path().join("plugin.log")).unwrap();
    assert!(log.len() <= 1024, "{} bytes", log.len());
}
