//! packaging/install.sh with DESTDIR.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use vastost_testkit::repository;

use crate::{plugin, run};

const TOOL: &str = env!("CARGO_BIN_EXE_vastost-s3");

fn installer(root: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(repository("packaging/install.sh"));
    command.args(arguments).env("DESTDIR", root).env_remove("STATE_OWNER");
    command
}

/// Mode and size.
fn installed(path: &Path) -> (u32, u64) {
    let metadata = std::fs::metadata(path).unwrap();
    (metadata.permissions().mode() & 0o7777, metadata.len())
}

fn size(path: impl AsRef<Path>) -> u64 {
    std::fs::metadata(path).unwrap().len()
}

#[test]
fn install_puts_all_that_is_needed_in_place_and_may_be_repeated() {
    let root = tempfile::tempdir().unwrap();
    let so = plugin();
    let install = ["install", so.to_str().unwrap(), TOOL];
    let plugins = root.path().join("usr/openv/lib/ost-plugins");
    let tool = root.path().join("usr/bin/vastost-s3");
    let state = root.path().join("var/lib/vastost");
    let config = root.path().join("etc/vastost/vastost.toml");
    for _ in 0..2 {
        run(&mut installer(root.path(), &install));
        assert_eq!(installed(&plugins.join("libstspiVastData.so")), (0o755, size(&so)));
        let link = std::fs::read_link(plugins.join("libstspiVastDataMT.so")).unwrap();
        assert_eq!(link, Path::new("libstspiVastData.so"));
        assert_eq!(installed(&tool), (0o755, size(TOOL)));
        assert_eq!(installed(&state).0, 0o755);
        assert_eq!(
            std::fs::read(&config).unwrap(),
            std::fs::read(repository("config/vastost.toml")).unwrap()
        );
        assert_eq!(std::fs::read_dir(&plugins).unwrap().count(), 2);
    }

    // A site's own configuration, its state folder and what is in it survive an update, and an uninstall.
    std::fs::write(&config, "state_dir = \"/srv/state\"\n").unwrap();
    std::fs::write(state.join("usage-a-b.json"), "{}").unwrap();
    run(&mut installer(root.path(), &install));
    assert_eq!(installed(&root.path().join("srv/state")).0, 0o755);
    std::fs::set_permissions(&state, std::fs::Permissions::from_mode(0o770)).unwrap();
    run(&mut installer(root.path(), &["uninstall"]));
    assert_eq!(
        std::fs::read_to_string(&config).unwrap(),
        "state_dir = \"/srv/state\"\n"
    );
    assert_eq!(std::fs::read_dir(&plugins).unwrap().count(), 0);
    assert!(!tool.exists() && state.join("usage-a-b.json").exists());
    assert_eq!(installed(&state).0, 0o770);
}

/// Nothing is installed, and the message says why.
fn is_refused(arguments: &[&str], why: &str) {
    let root = tempfile::tempdir().unwrap();
    let output = installer(root.path(), arguments).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains(why), "{told}");
    assert!(std::fs::read_dir(root.path()).unwrap().next().is_none());
}

#[test]
fn install_says_what_to_do_when_there_is_nothing_to_install() {
    let so = plugin();
    let so = so.to_str().unwrap();
    is_refused(
        &["install", "/nonexistent/libvastost.so"],
        "run cargo build --release first",
    );
    is_refused(&["install", so, "/nonexistent/vastost-s3"], "cargo build --release");
}

#[test]
fn install_takes_nothing_that_is_not_the_plugin_or_the_program() {
    let so = plugin();
    let so = so.to_str().unwrap();
    for file in ["/etc/passwd", TOOL, "/bin/sh"] {
        is_refused(&["install", file, TOOL], "is not the plug-in");
    }
    for file in ["/etc/passwd", so] {
        is_refused(&["install", so, file], "is not the program vastost-s3");
    }
}
