//! vastost
pub mod catalog;
pub mod config;
#[cfg(feature = "embedded")]
pub mod embedded;
pub mod error;
mod log;
pub mod objstore;
pub mod ost;
pub mod runtime;
