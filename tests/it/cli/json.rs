//! With `--json` every command prints one document on stdout, also when it could not run.

use super::{Run, bare, command, finish, run, site};

fn error(failed: &Run) -> String {
    let document = failed.json();
    assert_eq!(document["schema"], 1);
    document["error"].as_str().expect("an error").to_owned()
}

#[test]
fn an_error_is_the_document() {
    let site = site();
    let put = ["--json", "put", "/no/such", "main/a"];
    for args in [&["--json", "info", "main/none"][..], &["--json", "ls", "nowhere"], &put] {
        let failed = run(&site, args).expect(2);
        assert_eq!(failed.stderr, format!("vastost-s3: {}\n", error(&failed)));
    }
    // Stdout is the image's.
    assert_eq!(run(&site, &["--json", "get", "main/none", "-"]).expect(2).text(), "");
}

#[test]
fn a_command_line_that_means_nothing_is_refused() {
    let tomorrow = ["ls", "--json", "--since", "tomorrow", "x"];
    for args in [
        &["--json", "nonsense"][..],
        &tomorrow,
        &["--json", "demo", "--streams", "0"],
    ] {
        let refused = finish(bare().args(args)).expect(2);
        assert!(
            refused.stderr.starts_with("error: ") && !error(&refused).starts_with("error"),
            "{}",
            refused.stderr
        );
    }
    let no_rate = ["verify", "--deep", "--limit-rate", "0B"];
    for args in [&no_rate[..], &["demo", "--streams", "0"], &["demo", "--size", "0B"]] {
        let refused = finish(bare().args(args)).expect(2);
        assert!(
            refused.stderr.starts_with("error: ") && refused.text().is_empty(),
            "{}",
            refused.stderr
        );
    }
    finish(bare().args(["--json", "--help"])).expect(0);
}

#[test]
fn init_and_config_show_print_documents() {
    let site = site();
    let output = site.folder.path().join("new.toml");
    let mut init = bare();
    init.env("AWS_ACCESS_KEY_ID", "a").env("AWS_SECRET_ACCESS_KEY", "HUSH");
    init.args([
        "--json",
        "init",
        "--endpoint",
        &site.url,
        "--lsu",
        "nightly",
        "--output",
    ])
    .arg(&output);
    let made = finish(&mut init).expect(0);
    let document = made.json();
    assert_eq!(document["config"], output.to_str().unwrap());
    assert_eq!(
        (
            document["server"].as_str(),
            document["created"].as_array().map(Vec::len)
        ),
        (Some("vast"), Some(0))
    );
    assert!(document["keys"].as_str().unwrap().ends_with("vast.keys.toml") && !made.text().contains("HUSH"));
    // The server knows no such key.
    let tried = &document["lsus"][0];
    assert_eq!((&tried["lsu"], &tried["usable"]), (&"nightly".into(), &false.into()));
    assert!(!tried["detail"].as_str().unwrap().is_empty() && made.stderr.contains("LSU nightly cannot be used yet"));
    let shown = finish(command(&output).args(["--json", "config", "show"]))
        .expect(0)
        .json();
    assert_eq!(shown["settings"]["server"]["vast"]["lsu"][0]["name"], "nightly");
    let folder = std::fs::read_dir(site.folder.path()).unwrap();
    assert!(
        !folder
            .into_iter()
            .any(|entry| entry.unwrap().file_name().to_string_lossy().contains(".part"))
    );
}
