//! The C side: what NetBackup calls. OST's words, handles by number, one guard around every function.
//!
//! | file | what it is |
//! |---|---|
//! | [`abi`], [`status`] | structs, constants and codes as C sees them |
//! | [`entry`] | every exported function, all of one shape, in one file for each noun |
//! | [`guard`] | around each of them: panics, cancellation, the log line of a failure; how long the host lends |
//! | [`structs`], [`pointers`] | what the host passes: structs of its version; strings, buffers, places for results |
//! | [`callback`] | the host's log function |
//! | [`process`], [`handle`] | the state of one process, and what a fork makes of it; the table of handles |
//! | [`bridge`] | where a call waits for the catalog's work, which is async |
//! | [`engine_slot`], [`open_images`] | of one process: its engine; its open images |
//! | [`server`], [`lsu`], [`image`], [`image_info`], [`image_list`], [`session`] | what handles stand for, in safe Rust |
//!
//! `unsafe` stands in `entry`, `guard`, `structs`, `pointers` and `callback` alone; `abi` says by an `unsafe impl` that
//! its structs are plain data.
//!
//! Not here yet, and neither exported nor claimed: copy, extents, asynchronous operations, events, get and set of a
//! server's configuration, `stsp_iocontrol`.
//!
//! How it fails: a handler returns [`crate::error::Error`]; the guard logs it once, with function and subject, to the
//! session's callback and the plug-in's log, and turns its kind into a code. A panic becomes STSP_ESOFTWARE.

pub mod abi;
pub mod status;
pub mod entry;
mod guard;
mod structs;
mod pointers;
mod callback;
mod process;
mod handle;
mod engine_slot;
mod bridge;
mod open_images;
mod server;
mod session;
mod lsu;
mod image;
mod image_info;
mod image_list;
