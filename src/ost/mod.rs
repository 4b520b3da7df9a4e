//! The C side: what NetBackup calls. OST's words, handles by number, one guard around every function.
//!
//! Reading order: [`abi`] (structs as C sees them), [`entry`] (every exported function, all of one shape), [`boundary`]
//! (guard, strings, buffers, callbacks: with the two before, the only files of the plug-in with `unsafe`), then the
//! handlers in safe Rust: [`server`], [`lsu`], [`image`], [`image_list`]. [`process`] holds the state of one process and notices a
//! fork, [`handle`] the table of handles, [`session`] the log queue of a session, [`status`] the codes.
//!
//! Not here yet, and neither exported nor claimed: copy, extents, asynchronous operations, events, get and set of a
//! server's configuration, `stsp_iocontrol`.
//!
//! How it fails: a handler returns [`crate::error::Error`]; the guard logs it once, with function and subject, to the session's
//! callback and the plug-in's log, and turns its kind into a code. A panic becomes STSP_ESOFTWARE.

pub mod abi;
mod boundary;
pub mod entry;
mod handle;
mod image;
mod image_list;
mod lsu;
mod process;
mod server;
mod session;
pub mod status;
