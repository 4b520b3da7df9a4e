//! The file under check: bounds of numbers, sizes and times, and refusals that name file, line, key and value.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Spanned;

use super::raw::Given;
use crate::config::value::{Size, Time, line_of, size_text, time_text};
use crate::error::{Error, Kind, Result};

/// The file under check: what every refusal names.
pub struct File<'a> {
    pub text: &'a str,
    pub path: &'a Path,
}

impl File<'_> {
    pub fn refuse(&self, offset: usize, key: &str, value: &str, valid: &str) -> Error {
        let path = self.path.display();
        let line = line_of(self.text, offset);
        Error::new(
            Kind::Config,
            format!("{path}, line {line}: {key} = {value} is not valid; it must be {valid}"),
        )
    }

    pub fn word(&self, key: &str, value: &str, offset: usize) -> Result<()> {
        let fits = (1..=63).contains(&value.len());
        if fits && value.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)) {
            return Ok(());
        }
        Err(self.refuse(
            offset,
            key,
            &format!("{value:?}"),
            "1 to 63 characters of A-Z a-z 0-9 . _ -",
        ))
    }

    pub fn number(&self, key: &str, given: &Given<u64>, default: usize, valid: RangeInclusive<u64>) -> Result<usize> {
        let Some(given) = given else { return Ok(default) };
        let n = *given.get_ref();
        match usize::try_from(n) {
            Ok(value) if valid.contains(&n) => Ok(value),
            _ => {
                let valid = format!("{} to {}", valid.start(), valid.end());
                Err(self.refuse(given.span().start, key, &n.to_string(), &valid))
            }
        }
    }

    pub fn size(&self, key: &str, given: &Given<Size>, default: u64, valid: RangeInclusive<u64>) -> Result<u64> {
        let Some(given) = given else { return Ok(default) };
        let bytes = given.get_ref().0;
        if valid.contains(&bytes) {
            return Ok(bytes);
        }
        let valid = format!("{} to {}", size_text(*valid.start()), size_text(*valid.end()));
        Err(self.refuse(given.span().start, key, &size_text(bytes), &valid))
    }

    pub fn time(
        &self,
        key: &str,
        given: &Given<Time>,
        default: Duration,
        valid_ms: RangeInclusive<u64>,
    ) -> Result<Duration> {
        let Some(given) = given else { return Ok(default) };
        let time = given.get_ref().0;
        let min = Duration::from_millis(*valid_ms.start());
        let max = Duration::from_millis(*valid_ms.end());
        if (min..=max).contains(&time) {
            return Ok(time);
        }
        let valid = format!("{} to {}", time_text(min), time_text(max));
        Err(self.refuse(given.span().start, key, &time_text(time), &valid))
    }

    /// Relative paths are anchored at the folder of the configuration file, not at wherever the host runs.
    pub fn path_of(&self, given: &Spanned<String>) -> PathBuf {
        self.path.parent().unwrap_or(Path::new("")).join(given.get_ref())
    }

    pub fn path_or(&self, given: Option<&Spanned<String>>, default: &str) -> PathBuf {
        given.map_or_else(|| PathBuf::from(default), |given| self.path_of(given))
    }
}
