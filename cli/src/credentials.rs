//! Keys for a server with `source = "netbackup"`: the command line takes them from the environment.

use std::env;

use vastost::config::Server;
use vastost::config::credentials::{KeyPair, Source};

/// `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, when both are set and not empty, with `AWS_SESSION_TOKEN` if that
/// is.
pub fn from_environment() -> Option<KeyPair> {
    let access_key_id = variable("AWS_ACCESS_KEY_ID")?;
    let secret_access_key = variable("AWS_SECRET_ACCESS_KEY")?;
    Some(KeyPair {
        access_key_id,
        secret_access_key,
        session_token: variable("AWS_SESSION_TOKEN"),
    })
}

/// The keys to pass to the plug-in: none when the configuration names another source.
pub fn for_server(server: &Server) -> Result<Option<KeyPair>, String> {
    if server.credentials != Source::NetBackup {
        return Ok(None);
    }
    let missing = || {
        format!(
            "server {} takes its keys from NetBackup, which the command line cannot ask: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
            server.name
        )
    };
    from_environment().map(Some).ok_or_else(missing)
}

/// An environment variable that is set and not empty.
pub fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}
