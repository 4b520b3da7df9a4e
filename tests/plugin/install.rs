//! packaging/install.sh with DESTDIR.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::{plugin, run, source};

fn installer(root: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(source("packaging/install.sh"));
    command.args(arguments).env("DESTDIR", root);
    command
}

#[test]
fn install_puts_the_plugin_its_second_name_and_a_configuration_in_place() {
    let root = tempfile::tempdir().unwrap();
    let so = plugin();
    run(&mut installer(root.path(), &["install", so.to_str().unwrap()]));
    let plugins = root.path().join("usr/openv/lib/ost-plugins");
    let installed = std::fs::metadata(plugins.join("libstspiVastData.so")).unwrap();
    assert_eq!(installed.permissions().mode() & 0o7777, 0o755);
    assert_eq!(installed.len(), std::fs::metadata(&so).unwrap().len());
    let link = std::fs::read_link(plugins.join("libstspiVastDataMT.so")).unwrap();
    assert_eq!(link, Path::new("libstspiVastData.so"));
    let config = root.path().join("etc/vastost/vastost.toml");
    assert_eq!(std::fs::read(&config).unwrap(), std::fs::read(source("config/vastost.toml")).unwrap());

    // A site's own configuration survives an update, and an uninstall.
    std::fs::write(&config, "state_dir = \"/var/lib/vastost\"\n").unwrap();
    run(&mut installer(root.path(), &["install", so.to_str().unwrap()]));
    run(&mut installer(root.path(), &["uninstall"]));
    assert_eq!(std::fs::read_to_string(&config).unwrap(), "state_dir = \"/var/lib/vastost\"\n");
    assert_eq!(std::fs::read_dir(&plugins).unwrap().count(), 0);
}

#[test]
fn install_says_what_to_do_when_there_is_nothing_to_install() {
    let root = tempfile::tempdir().unwrap();
    let output = installer(root.path(), &["install", "/nonexistent/libvastost.so"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("build the plug-in first"));
    assert!(std::fs::read_dir(root.path()).unwrap().next().is_none());
}
