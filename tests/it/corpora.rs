//! The kept inputs of every fuzz target, each once: what a fuzzer found stays found without one. `fuzz/run.sh` looks for
//! new ones.

#[path = "../../fuzz/cases/bpimagelist.rs"]
mod bpimagelist;
#[path = "../../fuzz/cases/config.rs"]
mod config;
#[path = "../../fuzz/cases/keys.rs"]
mod keys;
#[path = "../../fuzz/cases/records.rs"]
mod records;

/// Runs `case` on each kept input of `target`.
pub fn replay(target: &str, case: fn(&[u8])) {
    let folder = vastost_testkit::repository("fuzz/corpus").join(target);
    let inputs = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut count = 0;
    for input in inputs {
        let path = input.expect("an entry").path();
        case(&std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())));
        count += 1;
    }
    assert!(count > 0, "{} is empty", folder.display());
}

#[test]
fn kept_fuzz_inputs_of_bpimagelist() {
    replay("bpimagelist", bpimagelist::run);
}

#[test]
fn kept_fuzz_inputs_of_config() {
    replay("config", config::run);
}

#[test]
fn kept_fuzz_inputs_of_keys() {
    replay("keys", keys::run);
}

#[test]
fn kept_fuzz_inputs_of_records() {
    replay("records", records::run);
}
