//! One object coming down.
//!
//! | file | what it is |
//! |---|---|
//! | [`spec`] | where a reader reads |
//! | [`reader`] | [`reader::Reader`]: decides, read by read, between the ways below |
//! | [`read_ahead`] | whole parts, fetched ahead of a sequential reader |
//! | [`whole_parts`] | small reads over plain http, each from a whole part that was checked |
//! | [`blocks`] | small reads over https, in blocks of 128 KiB |
//! | [`scan`] | every part of an object, checked and not copied: the audit's way |

pub mod spec;
pub mod reader;
pub(crate) mod read_ahead;
pub(crate) mod whole_parts;
pub(crate) mod blocks;
pub mod scan;
