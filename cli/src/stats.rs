//! `stats`: what the processes of this host do and did, from their files in the metrics folder.

mod reading;
mod table;

use std::error::Error;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use crate::args::{Global, Stats};
use crate::output;
use crate::output::{hint, painted, raw};
use crate::{COULD_NOT_RUN, Outcome, configuration};
use reading::Reading;

/// Moves a terminal's cursor home and clears what was there.
const CLEAR: &[u8] = b"\x1b[H\x1b[2J";

pub fn run(global: &Global, args: &Stats) -> Outcome {
    let dir = folder(global, args)?;
    let mut reading = Reading::take(&dir)?;
    let Some(seconds) = args.watch else {
        if global.json {
            output::json(&reading)?;
        } else {
            show(global, &dir, &reading)?;
        }
        return Ok(if reading.error.is_none() {
            ExitCode::SUCCESS
        } else {
            ExitCode::from(COULD_NOT_RUN)
        });
    };

    loop {
        if global.json {
            painted(&output::json_text(&reading)?)?;
        } else {
            raw(if std::io::stdout().is_terminal() { CLEAR } else { b"" })?;
            show(global, &dir, &reading)?;
        }
        output::flush()?;
        std::thread::sleep(Duration::from_secs(seconds));
        reading = Reading::take(&dir)?.since(&reading);
    }
}

/// The table, or a sentence where there is nothing to show.
fn show(global: &Global, dir: &Path, reading: &Reading) -> Result<(), Box<dyn Error>> {
    if !reading.processes.is_empty() {
        return table::print(reading);
    }
    // Files that cannot be read were named already.
    if reading.error.is_none() && !global.quiet {
        hint(&format!("no process has left counters in {}", dir.display()));
    }
    Ok(())
}

fn folder(global: &Global, args: &Stats) -> Result<PathBuf, Box<dyn Error>> {
    if let Some(dir) = &args.dir {
        return Ok(dir.clone());
    }
    let config = configuration::find(global)?;
    config.metrics.dir.ok_or_else(|| {
        let path = config.path.display();
        format!("{path} sets no [metrics] dir, so nothing is written that could be shown").into()
    })
}
