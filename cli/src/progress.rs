//! The progress bar of long work: on a terminal's stderr, and nowhere else.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::args::Global;

/// Bytes done so far; takes itself off the screen when dropped.
pub struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// `total` is unknown for a pipe.
    pub fn new(global: &Global, what: &str, total: Option<u64>) -> Self {
        let shown = std::io::stderr().is_terminal() && !global.quiet && !global.json;
        let target = if shown {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(total, target);
        let template = match total {
            Some(_) => "{msg} {wide_bar} {binary_bytes} of {binary_total_bytes}, {binary_bytes_per_sec}, {eta} left",
            None => "{spinner} {msg} {binary_bytes}, {binary_bytes_per_sec}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(what.to_owned());
        Self { bar }
    }

    /// Changes the text before the figures.
    pub fn say(&self, what: &str) {
        self.bar.set_message(what.to_owned());
    }

    /// The total may be outdated: the bar never shows more than 100 %.
    pub fn set(&self, bytes: u64) {
        if self.bar.length().is_some_and(|total| total < bytes) {
            self.bar.set_length(bytes);
        }
        self.bar.set_position(bytes);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
