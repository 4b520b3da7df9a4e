//! One object going up.
//!
//! | file | what it is |
//! |---|---|
//! | [`spec`] | where an upload goes |
//! | [`open_part`] | the part that is being filled |
//! | [`object`] | [`object::Upload`]: fill a part, send it, keep what is whole or abort |
//! | [`finish`] | the parts become one object, which is proven |
//! | [`in_flight`] | the parts that are under way, done and failed |
//! | [`concurrency`] | how many parts are under way at once |
//! | [`verify`] | what proves that the store has what was sent |

pub mod spec;
pub mod open_part;
pub mod object;
pub mod finish;
pub mod in_flight;
pub(crate) mod concurrency;
pub mod verify;
