//! A folder for files of one run.

use std::error::Error;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

/// A folder that only its owner can read, removed with this value.
pub struct TemporaryFolder(PathBuf);

impl TemporaryFolder {
    /// `what` is the command that needs it.
    pub fn new(what: &str) -> Result<Self, Box<dyn Error>> {
        let path = std::env::temp_dir().join(format!("vastost-{what}-{}", uuid::Uuid::new_v4().simple()));
        DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .map_err(|e| format!("create {}: {e}", path.display()))?;
        Ok(Self(path))
    }

    pub fn path(&self) -> PathBuf {
        self.0.clone()
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
