//! `stats`: what the processes of this host did and do, by the files that they leave in the metrics folder.

mod reading;
mod table;

use std::error::Error;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use vastost::config::Config;

use crate::args::{Global, Stats};
use crate::output::{self, painted, raw};
use crate::{COULD_NOT_RUN, Outcome};
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
            table::print(&reading)?;
        }
        return Ok(if reading.error.is_none() { ExitCode::SUCCESS } else { ExitCode::from(COULD_NOT_RUN) });
    };
    loop {
        if global.json {
            painted(&output::json_text(&reading)?)?;
        } else {
            raw(if std::io::stdout().is_terminal() { CLEAR } else { b"" })?;
            table::print(&reading)?;
        }
        output::flush()?;
        std::thread::sleep(Duration::from_secs(seconds));
        reading = Reading::take(&dir)?.since(&reading);
    }
}

fn folder(global: &Global, args: &Stats) -> Result<PathBuf, Box<dyn Error>> {
    if let Some(dir) = &args.dir {
        return Ok(dir.clone());
    }
    let config = Config::find(global.config.as_deref())?;
    config.metrics.dir.ok_or_else(|| {
        let path = config.path.display();
        format!("{path} sets no [metrics] dir, so nothing is written that could be shown").into()
    })
}
