//! vastost.toml: checked or refused with the name of the file, and nothing else.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use vastost::config::Config;

fuzz_target!(|text: &str| {
    if let Err(error) = Config::parse(text, Path::new("vastost.toml")) {
        assert!(error.to_string().contains("vastost.toml"), "{error}");
    }
});
