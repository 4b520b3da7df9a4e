//! From [`Kind`] to the codes of the OpenStorage interface: one table, no catch-all arm.
//!
//! NetBackup prints a code outside the 2060xxx family as "Not an OST error code", so every code is inside it. The SDK's
//! list is not public; *attested* codes were printed by NetBackup in published logs, *recalled* ones are from memory of
//! the interface, *assigned* ones are our own, chosen far above any that was ever seen.

use crate::error::Kind;

/// Success.
pub const STSP_OK: i32 = 0;
/// One or more invalid arguments.
pub const STSP_EINVAL: i32 = 2_060_001;
/// Memory: the pool budget cannot serve the call.
pub const STSP_ENOMEM: i32 = 2_060_002;
/// Object is busy.
pub const STSP_EBUSY: i32 = 2_060_005;
/// Offset invalid for object or context.
pub const STSP_EOFFSET: i32 = 2_060_011;
/// No more entries.
pub const STSP_EOFLIST: i32 = 2_060_013;
/// Operation aborted.
pub const STSP_EABORT: i32 = 2_060_014;
/// System call failed.
pub const STSP_ESYSCALL: i32 = 2_060_017;
/// Image not found.
pub const STSP_ENOENT: i32 = 2_060_018;
/// Error occurred on network socket.
pub const STSP_ENETWORK: i32 = 2_060_019;
/// Software error: a fault of the plug-in.
pub const STSP_ESOFTWARE: i32 = 2_060_022;
/// Authorization failure: the store does not accept the credentials.
pub const STSP_EAUTH: i32 = 2_060_029;
/// Access not allowed.
pub const STSP_EACCESS: i32 = 2_060_037;
/// Plug-in error: none of the others.
pub const STSP_EPLUGIN: i32 = 2_060_046;
/// The image is WORM-locked: a retention period or a legal hold of the store has not ended.
pub const STSP_EWORM: i32 = 2_060_069;
/// The handle is closed, of another kind, or never was.
pub const STSP_EHANDLE: i32 = 2_060_901;
/// The image exists.
pub const STSP_EEXIST: i32 = 2_060_902;
/// The LSU is not configured, or its bucket does not exist.
pub const STSP_ELSU: i32 = 2_060_903;
/// The server is not this plug-in's, or not configured.
pub const STSP_ESERVER: i32 = 2_060_904;
/// No space: the store or a quota is full, or the image is larger than configured.
pub const STSP_ENOSPC: i32 = 2_060_905;
/// A deadline passed.
pub const STSP_ETIMEOUT: i32 = 2_060_906;
/// Data or records are not what was written.
pub const STSP_ECORRUPT: i32 = 2_060_907;
/// Not supported by the plug-in or the store.
pub const STSP_ENOTSUP: i32 = 2_060_908;
/// The configuration is wrong.
pub const STSP_ECONFIG: i32 = 2_060_909;
/// Called before stsp_init or after stsp_terminate.
pub const STSP_EINIT: i32 = 2_060_910;
/// The store answers, but with server errors after all retries.
pub const STSP_EUNAVAIL: i32 = 2_060_911;

/// Where a number comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provenance {
    Attested,
    Recalled,
    Assigned,
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Status {
    pub code: i32,
    pub name: &'static str,
    pub text: &'static str,
    pub provenance: Provenance,
}

macro_rules! table {
    ($($name:ident $provenance:ident $text:literal),* $(,)?) => {
        /// Every code that the plug-in returns.
        pub const TABLE: &[Status] = &[$(
            Status { code: $name, name: stringify!($name), text: $text, provenance: Provenance::$provenance }
        ),*];
    };
}

table! {
    STSP_OK Attested "success",
    STSP_EINVAL Recalled "one or more invalid arguments",
    STSP_ENOMEM Recalled "memory allocation",
    STSP_EBUSY Attested "object is busy, cannot be closed",
    STSP_EOFFSET Recalled "offset invalid for object or context",
    STSP_EOFLIST Recalled "no more entries",
    STSP_EABORT Recalled "operation aborted",
    STSP_ESYSCALL Attested "system call failed",
    STSP_ENOENT Recalled "file not found",
    STSP_ENETWORK Recalled "error occurred on network socket",
    STSP_ESOFTWARE Attested "software error",
    STSP_EAUTH Recalled "authorization failure",
    STSP_EACCESS Attested "access not allowed",
    STSP_EPLUGIN Attested "plug-in error",
    STSP_EWORM Attested "image is WORM-locked",
    STSP_EHANDLE Assigned "bad handle",
    STSP_EEXIST Assigned "image exists",
    STSP_ELSU Assigned "no such LSU",
    STSP_ESERVER Assigned "no such server",
    STSP_ENOSPC Assigned "no space",
    STSP_ETIMEOUT Assigned "deadline passed",
    STSP_ECORRUPT Assigned "data are not what was written",
    STSP_ENOTSUP Assigned "not supported",
    STSP_ECONFIG Assigned "configuration is wrong",
    STSP_EINIT Assigned "plug-in is not initialised",
    STSP_EUNAVAIL Assigned "store is unavailable",
}

/// The code that a host gets for an error.
pub fn code_of(kind: Kind) -> i32 {
    match kind {
        Kind::InvalidArgument => STSP_EINVAL,
        Kind::BadHandle => STSP_EHANDLE,
        Kind::NotInitialised => STSP_EINIT,
        Kind::NoMoreEntries => STSP_EOFLIST,
        Kind::OffsetInvalid => STSP_EOFFSET,
        Kind::NotFound => STSP_ENOENT,
        Kind::LsuNotFound => STSP_ELSU,
        Kind::ServerNotFound => STSP_ESERVER,
        Kind::AlreadyExists => STSP_EEXIST,
        Kind::Busy => STSP_EBUSY,
        Kind::AccessDenied => STSP_EACCESS,
        Kind::Locked => STSP_EWORM,
        Kind::Unauthorized => STSP_EAUTH,
        Kind::Network => STSP_ENETWORK,
        Kind::Timeout => STSP_ETIMEOUT,
        Kind::Unavailable => STSP_EUNAVAIL,
        Kind::NoSpace => STSP_ENOSPC,
        Kind::NoMemory => STSP_ENOMEM,
        Kind::Corrupt => STSP_ECORRUPT,
        // Conditional requests are settled in the catalog; one that gets here is a surprise.
        Kind::PreconditionFailed => STSP_EPLUGIN,
        Kind::Unsupported => STSP_ENOTSUP,
        Kind::Config => STSP_ECONFIG,
        Kind::Io => STSP_ESYSCALL,
        Kind::Aborted => STSP_EABORT,
        Kind::Internal => STSP_ESOFTWARE,
    }
}

/// Name and text of a code, for messages of the command line.
pub fn describe(code: i32) -> String {
    let row = TABLE.iter().find(|row| row.code == code);
    row.map_or_else(|| code.to_string(), |row| format!("{code} {}: {}", row.name, row.text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_stands_once_in_the_table_and_in_the_family() {
        for (index, row) in TABLE.iter().enumerate() {
            assert!(row.code == 0 || (2_060_000..2_061_000).contains(&row.code), "{row:?}");
            assert!(
                TABLE.iter().skip(index + 1).all(|other| other.code != row.code),
                "{row:?}"
            );
        }
        assert!(TABLE.iter().any(|row| row.code == code_of(Kind::PreconditionFailed)));
        assert_eq!(describe(STSP_EOFLIST), "2060013 STSP_EOFLIST: no more entries");
    }
}
