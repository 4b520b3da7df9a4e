//! The one error type of the crate.
//!
//! `what` is "verb object" in lower case, so that the chain printed by `Display` reads as one sentence.
//! The match from [`Kind`] to an OST status code lives in `ost/status.rs` and has no catch-all arm.

use std::fmt;

pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong, in as many kinds as callers treat differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// An argument that no state of the store could make valid.
    InvalidArgument,
    /// A handle that is closed, of another kind, or never was.
    BadHandle,
    /// A call before `stsp_init` or after `stsp_terminate`.
    NotInitialised,
    /// The list has no further entry.
    NoMoreEntries,
    /// A write that neither appends nor rewrites the open part, or a read beyond what an image can have.
    OffsetInvalid,
    /// The image or object is not there.
    NotFound,
    /// The LSU is not configured, or its bucket is not there.
    LsuNotFound,
    /// The server name is not in the configuration.
    ServerNotFound,
    AlreadyExists,
    /// In use by another handle or another writer.
    Busy,
    /// The store knows us and refuses.
    AccessDenied,
    /// A retention period or a legal hold of the store keeps the object.
    Locked,
    /// The store does not accept who we say we are.
    Unauthorized,
    /// No connection, or one that broke.
    Network,
    /// A deadline of `[retry]` passed.
    Timeout,
    /// The store answers, but with 5xx after all retries.
    Unavailable,
    NoSpace,
    /// The pool budget cannot serve the call.
    NoMemory,
    /// Bytes or sizes are not what the catalog says.
    Corrupt,
    /// A conditional request found the condition false.
    PreconditionFailed,
    Unsupported,
    /// `vastost.toml` or what it names is wrong.
    Config,
    /// A local file or system call.
    Io,
    Aborted,
    /// A fault of ours: a panic, a broken invariant.
    Internal,
}

/// An error with the sentence that an operator reads first, and its cause.
pub struct Error {
    kind: Kind,
    what: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
    outcome_unknown: bool,
    status: Option<u16>,
}

impl Error {
    pub fn new(kind: Kind, what: impl Into<String>) -> Self {
        Self {
            kind,
            what: what.into(),
            source: None,
            outcome_unknown: false,
            status: None,
        }
    }

    pub fn with_source(
        kind: Kind,
        what: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self {
            source: Some(source.into()),
            ..Self::new(kind, what)
        }
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// True when the store may have done what was asked, or may still do it: a change was sent, and neither an answer nor
    /// a look at the store told how it ended. Whoever gets such an error keeps the data and the record of what was asked.
    pub fn outcome_is_unknown(&self) -> bool {
        self.outcome_unknown
    }

    /// The HTTP status of the answer that refused, where one came.
    pub fn status(&self) -> Option<u16> {
        self.status
    }

    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.status = Some(status);
        self
    }

    /// Marks the error of a change that the store may have made all the same.
    #[must_use]
    pub fn with_unknown_outcome(mut self) -> Self {
        self.outcome_unknown = true;
        self
    }

    /// The same kind, one sentence further out.
    #[must_use]
    pub fn context(self, what: impl Into<String>) -> Self {
        let kind = self.kind;
        let outcome_unknown = self.outcome_unknown;
        let status = self.status;
        Self {
            outcome_unknown,
            status,
            ..Self::with_source(kind, what, self)
        }
    }

    /// The same sentence under another kind, where a layer knows better what it means.
    #[must_use]
    pub fn with_kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    /// A copy that keeps kind and full text, for one cause that several callers must hear of.
    #[must_use]
    pub fn repeat(&self) -> Self {
        Self {
            outcome_unknown: self.outcome_unknown,
            status: self.status,
            ..Self::new(self.kind, self.to_string())
        }
    }
}

impl fmt::Display for Error {
    /// One line, whatever names and words of others are in it: see [`crate::clean`].
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.what.clone();
        let mut next = std::error::Error::source(self);
        while let Some(cause) = next {
            // Our own causes print their whole chain themselves.
            text = format!("{text}: {cause}");
            if cause.is::<Error>() {
                break;
            }
            next = cause.source();
        }
        f.write_str(&crate::clean::line(&text))
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.kind)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|s| &**s as &(dyn std::error::Error + 'static))
    }
}

/// Adds the sentence to a foreign or own error on its way up.
pub trait ResultExt<T> {
    fn or_kind(self, kind: Kind, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<Box<dyn std::error::Error + Send + Sync>>> ResultExt<T> for std::result::Result<T, E> {
    fn or_kind(self, kind: Kind, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|e| Error::with_source(kind, what(), e))
    }
}

/// What may not be there.
pub trait Found<T> {
    /// None in place of a not-found error.
    fn if_found(self) -> Result<Option<T>>;
}

impl<T> Found<T> for Result<T> {
    fn if_found(self) -> Result<Option<T>> {
        match self {
            Err(error) if error.kind() == Kind::NotFound => Ok(None),
            other => other.map(Some),
        }
    }
}

/// An error with its causes, which hyper leaves out of its own text.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_reads_as_one_sentence_through_own_and_foreign_causes() {
        let io = std::io::Error::new(std::io::ErrorKind::NotFound, "no such file");
        let error = Error::with_source(Kind::Config, "read CA file /x", io).context("open server vast1");
        assert_eq!(error.to_string(), "open server vast1: read CA file /x: no such file");
        assert_eq!(error.kind(), Kind::Config);
    }

    #[test]
    fn outcome_and_status_stay_known_on_the_way_up() {
        let error = Error::new(Kind::Timeout, "complete b/k")
            .with_unknown_outcome()
            .with_status(503);
        let above = error.repeat().context("close image x").with_kind(Kind::Unavailable);
        assert!(above.outcome_is_unknown());
        assert_eq!(above.status(), Some(503));
        assert!(
            !Error::new(Kind::Timeout, "head b/k")
                .context("close image x")
                .outcome_is_unknown()
        );
    }

    #[test]
    fn no_name_or_foreign_word_begins_a_line_of_its_own() {
        let error = Error::new(Kind::NotFound, "image a\nERROR forged").context("\u{1b}[2J");
        assert_eq!(error.to_string(), "\\u{1b}[2J: image a\\nERROR forged");
    }
}
