use super::*;
use crate::config::{Bucket, Integrity, Log, Metrics, Pool, Retry, Transfer};

const SERVER: &str = "[server.v]\nendpoints = [\"http://127.0.0.1:9000\"]\n";

fn refusal(text: &str) -> String {
    parse(text, Path::new("/etc/vastost/vastost.toml"))
        .unwrap_err()
        .to_string()
}

#[test]
fn the_documented_file_is_the_defaults_in_code() {
    let text = include_str!("../../../config/vastost.toml");
    let config = parse(text, Path::new("/etc/vastost/vastost.toml")).unwrap();
    assert_eq!(config.transfer, Transfer::default());
    assert_eq!(config.pool, Pool::default());
    assert_eq!(config.integrity, Integrity::default());
    assert_eq!(config.retry, Retry::default());
    assert_eq!(config.metrics, Metrics::default());
    assert_eq!(config.log, Log::default());
    assert_eq!(config.state_dir, Path::new(STATE_DIR_DEFAULT));
}

#[test]
fn the_documented_file_names_every_key() {
    let text = include_str!("../../../config/vastost.toml");
    let keys = include_str!("raw.rs").lines().filter_map(|line| {
        let (key, kind) = line.strip_prefix("    pub ")?.split_once(": ")?;
        let raw = kind.starts_with("Given<") || kind.starts_with("Spanned<");
        (raw && key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')).then_some(key)
    });
    let keys: Vec<_> = keys.collect();
    assert!(keys.len() > 30, "{keys:?}");

    for key in keys {
        let table = format!(".{key}]");
        assert!(
            text.contains(&format!("{key} = ")) || text.contains(&table),
            "config/vastost.toml does not document {key}"
        );
    }
}

#[test]
fn an_unknown_key_is_refused_with_line_and_what_would_be_valid() {
    let text = refusal(&format!("{SERVER}[transfer]\npart_sise = \"16 MiB\"\n"));
    assert!(text.contains("vastost.toml, line 4"), "{text}");
    assert!(text.contains("part_sise") && text.contains("part_size"), "{text}");
}

#[test]
fn impossible_values_are_refused_with_line_key_value_and_bounds() {
    let cases = [
        (
            "[transfer]\npart_size = \"1 MiB\"",
            "transfer.part_size = 1 MiB",
            "5 MiB to 1 GiB",
        ),
        ("[transfer]\nio_threads = 0", "transfer.io_threads = 0", "1 to 64"),
        ("[pool]\nbudget = \"64 MiB\"", "pool.budget = 64 MiB", "256 MiB"),
        (
            "[integrity]\nwire = \"sha256\"",
            "integrity.wire = \"sha256\"",
            "\"crc64nvme\"",
        ),
        (
            "[retry]\nstall_timeout = \"0 s\"",
            "retry.stall_timeout = 0 ms",
            "100 ms to 1 h",
        ),
        (
            "[metrics]\ninterval = \"10 min\"",
            "metrics.interval = 10 min",
            "1 s to 5 min",
        ),
        ("[log]\nformat = \"xml\"", "log.format = \"xml\"", "\"json\""),
        ("[log]\nrotate = \"1 KiB\"", "log.rotate = \"1 KiB\"", "64 KiB to 1 TiB"),
        ("[log]\nlevel = \"loud\"", "log.level = \"loud\"", "\"debug\""),
        (
            "[[server.v.lsu]]\nname = \"a b\"",
            "server.v.lsu.name = \"a b\"",
            "1 to 63 characters",
        ),
        (
            "[[server.v.lsu]]\nname = \"UPPER\"",
            "server.v.lsu.bucket = \"UPPER\"",
            "3 to 63 characters",
        ),
        (
            "[server.v.credentials]\nsource = \"file\"",
            "server.v.credentials.source = \"file\"",
            "\"netbackup\"",
        ),
    ];

    for (text, key_and_value, valid) in cases {
        let error = refusal(&format!("{SERVER}{text}\n"));
        assert!(
            error.contains("line 4") && error.contains(key_and_value) && error.contains(valid),
            "{text}: {error}"
        );
    }
}

#[test]
fn values_of_a_wrong_type_are_refused_with_line_and_key() {
    let error = refusal(&format!("{SERVER}[pool]\nbudget = true\n"));
    assert!(
        error.contains("line 4") && error.contains("budget") && error.contains("16 MiB"),
        "{error}"
    );
    assert!(refusal("[pool]\n").contains("server"));
    assert!(refusal("[server.v]\nendpoints = []\n").contains("at least one URL"));
}

#[test]
fn two_lsus_in_one_place_are_refused() {
    let error = refusal(&format!(
        "{SERVER}[[server.v.lsu]]\nname = \"aaa\"\n[[server.v.lsu]]\nname = \"b\"\nbucket = \"aaa\"\n"
    ));
    assert!(
        error.contains("another bucket or prefix than that of LSU aaa"),
        "{error}"
    );
}

#[test]
fn a_secret_pasted_into_the_file_is_not_repeated() {
    for line in [
        "credentials = \"HUSH\"",
        "[server.v.credentials]\nsource = \"file\"\nsecret_access_key = \"HUSH\"",
        "[server.v.credentials]\npassword = HUSH",
    ] {
        let error = refusal(&format!("{SERVER}{line}\n"));
        assert!(!error.contains("HUSH"), "{error}");
    }
}

#[test]
fn an_lsu_inside_a_folder_of_another_one_is_refused() {
    let lsu = |name: &str, prefix: &str| {
        format!("[[server.v.lsu]]\nname = \"{name}\"\nbucket = \"shared\"\nprefix = \"{prefix}\"\n")
    };
    let config = |text: &str| format!("{SERVER}{text}");
    for (first, second) in [
        (lsu("main", ""), lsu("p", "probe")),
        (lsu("p", "a/tmp/b"), lsu("main", "a")),
    ] {
        let error = refusal(&config(&format!("{first}{second}")));
        assert!(
            error.contains("server.v.lsu.prefix = ") && error.contains("LSU main"),
            "{error}"
        );
        assert!(error.contains("begins with none of backups, catalog"), "{error}");
    }

    // Folders of different LSUs, and an LSU beside the folders, keep out of each other's way.
    let fine = [lsu("main", ""), lsu("a", "a"), lsu("b", "a/b"), lsu("c", "probes")].concat();
    parse(&config(&fine), Path::new("/x/vastost.toml")).unwrap();

    // A bucket that discovery takes is an LSU without a prefix.
    let discovered = format!("{SERVER}bucket_prefix = \"sha\"\n{}", lsu("p", "probe"));

    assert!(refusal(&discovered).contains("outside probe/"));
}

/// The names are the store's word: what is no bucket name would lead out of the state folder.
#[test]
fn only_bucket_names_are_discovered() {
    let text = "[server.v]\nendpoints = [\"http://127.0.0.1:9\"]\nbucket_prefix = \"nbu-\"\n";
    let config = Config::parse(text, Path::new("vastost.toml")).unwrap();
    let server = config.server("v").unwrap();
    let told = [
        "nbu-a",
        "nbu-/../../../etc/docker/daemon",
        "nbu-A",
        "other",
        "nbu-..",
        "nbu-a.b",
    ];

    let found: Vec<_> = server
        .discoveries(told.map(Bucket::from).to_vec())
        .into_iter()
        .map(|lsu| lsu.name)
        .collect();

    assert_eq!(found, ["nbu-a", "nbu-..", "nbu-a.b"]);
}
