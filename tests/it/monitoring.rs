//! What the plug-in tells of its own work.

/// The line about each image that the host gets at its close.
mod summary;
