//! Images being written: see the commit order in [`super`].
//!
//! | file | what it is |
//! |---|---|
//! | [`writer_id`] | who writes a record, and whether that process is still there |
//! | [`live`] | the attempts that this process is writing |
//! | [`lease`] | the pending record, put whenever it changes and renewed in the background |
//! | [`backup`] | [`backup::Backup`]: create, write, close complete or incomplete |
//! | [`reopen`] | going on with an image that was closed incomplete |
//! | [`recover`] | taking over what a dead writer left |

pub(crate) mod writer_id;
pub(crate) mod live;
pub(crate) mod lease;
pub mod backup;
pub(crate) mod reopen;
pub(crate) mod recover;
