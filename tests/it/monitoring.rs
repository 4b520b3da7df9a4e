//! What the plug-in tells of its own work.

/// The file of counters that each process leaves for Prometheus.
pub mod files;
/// The log file: spans, formats, rotation.
mod log;
/// `stats`.
mod stats;
/// The line about each image that the host gets at its close.
mod summary;
