//! Images being written: see the commit order in [`super`].
//!
//! | file | what it is |
//! |---|---|
//! | [`writer_id`] | who writes a record, and whether that process is still there |
//! | [`live`] | the attempts that this process is writing |
//! | [`lease`] | the pending record, put whenever it changes and renewed in the background |
//! | [`commit`] | the sidecar that makes an image complete |
//! | [`backup`] | [`backup::Backup`]: create and write |
//! | [`close`] | its end: complete, incomplete, given up, or kept where nobody knows |
//! | [`reopen`] | going on with an image that was closed incomplete |
//! | [`stored_parts`] | the parts of an object that is on the store, and what proves them |
//! | [`recover`] | taking over what a dead writer left |

pub(crate) mod writer_id;
pub(crate) mod live;
pub(crate) mod lease;
pub(crate) mod commit;
pub mod backup;
pub(crate) mod close;
pub(crate) mod reopen;
pub(crate) mod stored_parts;
pub(crate) mod recover;
