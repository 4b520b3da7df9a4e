//! Where the access key comes from, and the file of mode 0600 that may hold it.

use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::FILE_SIZE_MAX;
use crate::error::{Error, Kind, Result, ResultExt};
use crate::files;

/// The source named in `[server.<name>.credentials]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// User and password that NetBackup passes to `stsp_open_server` (`tpconfig`).
    NetBackup,
    /// A file of two keys, readable by its owner alone.
    File(PathBuf),
    /// A named profile of the AWS configuration files.
    Profile(String),
    /// The AWS chain: environment, default profile, web identity, container, instance.
    Aws,
}

/// An access key pair. Neither Debug nor any error shows the secret.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct KeyPair {
    pub access_key_id: String,
    pub secret_access_key: String,
    /// Of temporary keys, which end after hours.
    pub session_token: Option<String>,
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPair")
            .field("access_key_id", &self.access_key_id)
            .finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    access_key_id: String,
    secret_access_key: String,
    session_token: Option<String>,
}

impl KeyPair {
    /// Reads `access_key_id`, `secret_access_key` and, for temporary keys, `session_token` from a TOML file; refuses one
    /// that others may read.
    pub fn load(path: &Path) -> Result<Self> {
        let what = || format!("read credentials file {}", path.display());
        let (bytes, metadata) = files::read_given(path, FILE_SIZE_MAX).or_kind(Kind::Config, what)?;
        let mode = metadata.mode();
        if mode & 0o077 != 0 {
            let text = format!(
                "credentials file {} has mode {:04o}; make it 0600",
                path.display(),
                mode & 0o7777
            );
            return Err(Error::new(Kind::Config, text));
        }

        let text = String::from_utf8(bytes).or_kind(Kind::Config, what)?;
        // The parser's own message may quote the secret, so only its place is told.
        let raw: Raw = toml::from_str(&text).map_err(|error| {
            let line = error.span().map_or(1, |span| super::value::line_of(&text, span.start));
            let needs = "it needs access_key_id = \"…\" and secret_access_key = \"…\", with temporary keys session_token = \"…\" too, and nothing else";
            Error::new(Kind::Config, format!("credentials file {}, line {line}: {needs}", path.display()))
        })?;
        let session_token = raw.session_token.filter(|token| !token.is_empty());
        Ok(Self {
            access_key_id: raw.access_key_id,
            secret_access_key: raw.secret_access_key,
            session_token,
        })
    }

    /// From what crosses the C interface as a password: the secret, and behind a newline a session token.
    pub fn from_password(access_key_id: String, password: &str) -> Self {
        let (secret, token) = password.split_once('\n').unwrap_or((password, ""));
        let session_token = Some(token.trim().to_owned()).filter(|token| !token.is_empty());
        Self {
            access_key_id,
            secret_access_key: secret.to_owned(),
            session_token,
        }
    }

    /// What [`KeyPair::from_password`] takes apart.
    pub fn to_password(&self) -> String {
        let token = self
            .session_token
            .as_ref()
            .map(|token| format!("\n{token}"))
            .unwrap_or_default();
        format!("{}{token}", self.secret_access_key)
    }

    /// The text of a credentials file.
    pub fn to_file_text(&self) -> String {
        let quote = |text: &str| toml::Value::String(text.to_owned()).to_string();
        let id = quote(&self.access_key_id);
        let secret = quote(&self.secret_access_key);
        let token = self
            .session_token
            .as_deref()
            .map(|token| format!("session_token = {}\n", quote(token)));
        format!(
            "access_key_id = {id}\nsecret_access_key = {secret}\n{}",
            token.unwrap_or_default()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn write(folder: &Path, text: &str, mode: u32) -> PathBuf {
        let path = folder.join("keys.toml");
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn a_file_readable_by_others_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = write(folder.path(), "access_key_id = 'a'\nsecret_access_key = 'b'\n", 0o644);
        assert!(KeyPair::load(&path).unwrap_err().to_string().contains("mode 0644"));
    }

    #[test]
    fn no_secret_is_shown_by_errors_or_debug() {
        let folder = tempfile::tempdir().unwrap();
        for text in [
            "access_key_id = 'a'\nsecret_access_key = HUSH",
            "access_key_id='a'\nsecret_acces_key='HUSH'",
        ] {
            let path = write(folder.path(), text, 0o600);
            let error = KeyPair::load(&path).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("HUSH"), "{error}");
        }

        let pair = KeyPair {
            access_key_id: "id".into(),
            secret_access_key: "HU\"S/H+".into(),
            session_token: None,
        };
        let temporary = KeyPair {
            session_token: Some("HU/token==".into()),
            ..pair.clone()
        };
        for pair in [pair, temporary] {
            assert!(!format!("{pair:?}").contains("HU"));
            let path = write(folder.path(), &pair.to_file_text(), 0o600);
            assert_eq!(KeyPair::load(&path).unwrap(), pair);
            assert_eq!(KeyPair::from_password("id".into(), &pair.to_password()), pair);
        }
    }
}
