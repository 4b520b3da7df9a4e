//! vastost.toml: checked or refused with the name of the file, and nothing else.

use std::path::Path;

use vastost::config::Config;

pub fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Err(error) = Config::parse(text, Path::new("vastost.toml")) {
        assert!(error.to_string().contains("vastost.toml"), "{error}");
    }
}
