use std::os::unix::fs::symlink;

use super::*;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

/// Sets the process's umask in a child process alone: other tests run beside this one.
fn under_umask(mask: &str, folder: &Path) -> String {
    let test = std::env::current_exe().unwrap();
    let script = format!("umask {mask}; exec \"$0\" --exact files::tests::makes_files_in_a_folder --nocapture");
    let mut shell = std::process::Command::new("sh");
    let output = shell
        .arg("-c")
        .arg(script)
        .arg(test)
        .env("VASTOST_FILES", folder)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// What the test below runs in a process of its own, under a umask; without a folder there is nothing to make.
#[test]
fn makes_files_in_a_folder() {
    let Some(folder) = std::env::var_os("VASTOST_FILES") else {
        return;
    };
    let folder = PathBuf::from(folder).join("a/b");
    make_folder(&folder).unwrap();
    append(&folder.join("log"), LOG_MODE).unwrap();
    update(&folder.join("usage"), STATE_MODE).unwrap();
    replace(&folder.join("record"), b"1", STATE_MODE).unwrap();
}

#[test]
fn modes_are_the_same_under_every_umask() {
    for mask in ["000", "077"] {
        let folder = tempfile::tempdir().unwrap();
        under_umask(mask, folder.path());
        let made = folder.path().join("a/b");
        let modes = [
            made.parent().unwrap().to_path_buf(),
            made.clone(),
            made.join("log"),
            made.join("usage"),
            made.join("record"),
        ];
        assert_eq!(
            modes.map(|path| mode(&path)),
            [0o755, 0o755, 0o640, 0o644, 0o644],
            "umask {mask}"
        );
    }
}

#[test]
fn what_lies_in_the_place_of_a_file_of_ours_is_left_alone_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("other"), "of somebody else").unwrap();
    symlink(at("other"), at("link")).unwrap();
    symlink(at("nothing"), at("dangling")).unwrap();
    fs::write(at("one"), "").unwrap();
    fs::hard_link(at("one"), at("two")).unwrap();
    assert!(
        std::process::Command::new("mkfifo")
            .arg(at("fifo"))
            .status()
            .unwrap()
            .success()
    );
    fs::create_dir(at("folder")).unwrap();
    symlink("/dev/full", at("device")).unwrap();
    let cases = [
        ("link", "a symbolic link"),
        ("dangling", "a symbolic link"),
        ("one", "2 names"),
        ("fifo", "a FIFO"),
        ("folder", "a folder"),
        ("device", "a symbolic link"),
    ];

    for (name, what) in cases {
        let path = at(name);
        let errors = [
            read(&path, 10).map(drop),
            append(&path, LOG_MODE).map(drop),
            update(&path, LOG_MODE).map(drop),
            replace(&path, b"x", LOG_MODE),
        ];
        for error in errors {
            assert!(
                error.as_ref().unwrap_err().to_string().contains(what),
                "{name}: {error:?}"
            );
        }
        assert!(fault(&path).unwrap().contains(what) && !is_ours(&path), "{name}");
    }

    assert!(read_given(&at("fifo"), 10).unwrap_err().to_string().contains("a FIFO"));
    assert_eq!(read_given(&at("link"), 100).unwrap().0, b"of somebody else");
    assert!(!at("nothing").exists() && fs::read(at("other")).unwrap() == b"of somebody else");
}

#[test]
fn reading_is_bounded_and_replacing_leaves_no_draft() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("record");
    replace(&path, b"first", STATE_MODE).unwrap();
    replace(&path, b"second", STATE_MODE).unwrap();
    assert_eq!(read(&path, 6).unwrap(), b"second");
    assert!(read(&path, 5).unwrap_err().to_string().contains("longer than 5 bytes"));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    assert_eq!(fault(&path), None);
    assert_eq!(fault(&folder.path().join("none")), None);
}

#[test]
fn a_file_that_others_can_change_deserves_no_trust() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vastost.toml");
    fs::write(&path, "").unwrap();
    let of = |mode| {
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        distrust(&fs::metadata(&path).unwrap())
    };
    assert_eq!((of(0o644), of(0o600)), (None, None));
    assert!(of(0o666).unwrap().contains("mode 0666"));
}
