//! What keeps an LSU in order: each of these acts on what [`super::audit`] has found, and asks once more before it acts.
//!
//! | file | what it is |
//! |---|---|
//! | [`gc`] | orphans removed |
//! | [`repair`] | records made again from what the store still has |
//! | [`undelete`] | images brought back that somebody deleted or overwrote past the plug-in |
//! | [`usage`] | how much an LSU holds, as the processes of this host count it |
//! | [`recount`] | how much an LSU holds, counted on the store |

pub mod gc;
pub mod repair;
pub mod undelete;
pub mod usage;
pub mod recount;
