//! One object going up.
//!
//! | file | what it is |
//! |---|---|
//! | [`spec`] | where an upload goes |
//! | [`object`] | [`object::Upload`]: fill a part, send it, complete or abort |
//! | [`in_flight`] | the parts that are under way, done and failed |
//! | [`concurrency`] | how many parts are under way at once |
//! | [`verify`] | what proves that the store has what was sent |

pub mod spec;
pub mod object;
pub mod in_flight;
pub(crate) mod concurrency;
pub mod verify;
