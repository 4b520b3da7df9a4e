//! `bench`: what this host and its cluster move, through the plug-in's C functions, and the `[transfer]` settings that
//! follow.
//!
//! Every combination of settings gets a plug-in of its own, as a new job would have it. Images are deleted as soon as
//! they are measured; images that are left are always removed at the end or, after a kill, by the next bench. Leaves
//! out: several processes, since the figures of one already show the limit, see docs/user/bench.md.

mod advice;
mod guard;
mod noise;
mod options;
mod plan;
mod run;
mod streams;
mod table;

use std::error::Error;
use std::io::{self, BufRead, IsTerminal};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::json;
use vastost::catalog::lsu::Lsu;
use vastost::config::size_text;
use vastost_testkit::host::{Definition, HostServer};

use crate::args::Global;
use crate::output;
use crate::output::{counted, hint, human_size, line};
use crate::progress::Progress;
use crate::site::{Catalog, Site};
use crate::wait::wait;
use crate::{COULD_NOT_RUN, Outcome, interrupt};
use advice::Advice;
use guard::{Guard, Swept};
use noise::Noise;
pub use options::Options;
use plan::{Combination, Plan};
use run::{Direction, Run};
use streams::Watch;

pub const HELP: &str = "Every combination of --wire, --part-size, --in-flight and --streams is measured, up and then down, in one process, with \
    calls of 256 KiB of random data. The images belong to client vastost-bench and are deleted after the measurement, also \
    on failure and on Ctrl-C; the next bench deletes those of a killed one. Asks on a terminal before it starts; without a \
    terminal it needs --yes. docs/user/bench.md explains the figures and the recommendation.\n\n\
    Examples:\n  vastost-s3 bench nightly\n  \
    vastost-s3 bench nightly --streams 1,8,32 --part-size \"16 MiB,128 MiB\" --in-flight 4,8 --wire md5\n  \
    vastost-s3 bench nightly --mode up --size \"4 GiB\" --time 30min --yes --json";

/// Bytes of one call, NetBackup's default.
const CALL: usize = 256 << 10;
/// How long a run writes when `--size` does not say how much.
const SLICE: Duration = Duration::from_secs(5);

/// What all runs of one bench share.
struct Bench<'a> {
    global: &'a Global,
    options: &'a Options,
    site: &'a Site,
    lsu: String,
    noise: Noise,
    /// Bytes of all streams together.
    bytes: u64,
    until: Instant,
}

pub fn run(global: &Global, options: &Options) -> Outcome {
    let site = open(global)?;
    let catalog = open(global)?.catalog()?;
    let lsu = choose(&catalog, options)?;
    // A listing fails soon where nothing answers; what writes is tried for as long as a backup would.
    wait(&lsu, lsu.reach())?;
    let capabilities = wait(&lsu, lsu.capabilities())?;
    let plan = Plan::new(&site.config, options, capabilities)?;
    let bytes = plan.bytes(options, &lsu)?;
    agree(&lsu, options, &plan, bytes)?;
    interrupt::watch()?;
    let (mut guard, swept) = Guard::take(&lsu)?;
    let noise = Noise::new();
    let until = Instant::now() + options.time;
    let bench = Bench {
        global,
        options,
        site: &site,
        lsu: lsu.config().name.clone(),
        noise,
        bytes,
        until,
    };

    let mut runs = Vec::new();
    let measured = bench
        .begin(&catalog, &plan, &swept)
        .and_then(|()| bench.measure(&plan, &mut guard, &mut runs));
    match (measured, guard.release()) {
        (Ok(()), Ok(())) => bench.end(&catalog, &plan, &swept, &runs),
        (Ok(()), Err(error)) | (Err(error), Ok(())) => Err(error),
        (Err(first), Err(second)) => Err(format!("{first}; {second}; the next bench tries again").into()),
    }
}

/// The site with every path of its configuration absolute: the settings to be measured are files in another folder.
fn open(global: &Global) -> Result<Site, Box<dyn Error>> {
    let config = std::path::absolute(Site::open(global)?.config.path)?;
    Site::open(&Global {
        config: Some(config),
        ..global.clone()
    })
}

/// The LSU that is named, or the only one.
fn choose(catalog: &Catalog, options: &Options) -> Result<Lsu, Box<dyn Error>> {
    if let Some(name) = &options.lsu {
        return catalog.lsu(name);
    }
    let lsus = catalog.lsus(&[])?;
    match lsus.as_slice() {
        [only] => Ok(only.clone()),
        several => {
            let names: Vec<_> = several.iter().map(|lsu| lsu.config().name.as_str()).collect();
            Err(format!("there are several LSUs, name one: {}", names.join(", ")).into())
        }
    }
}

/// A bench slows down a cluster in use, so the user must agree.
fn agree(lsu: &Lsu, options: &Options, plan: &Plan, bytes: u64) -> Result<(), Box<dyn Error>> {
    if options.yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        return Err("bench loads the cluster: without a terminal to ask at, it needs --yes; nothing was done".into());
    }
    let name = &lsu.config().name;
    let at = lsu.endpoint();
    let count = plan.combinations.len();
    let bytes = human_size(bytes);
    let minutes = options.time.as_secs().div_ceil(60);
    hint(&format!(
        "{count} combinations, up to {bytes} at once in LSU {name} at {at}, as fast as they go, for up to {minutes} min.\nBegin? [y/N]"
    ));
    let mut answer = String::new();
    io::stdin()
        .lock()
        .read_line(&mut answer)
        .map_err(|error| format!("read the answer: {error}"))?;
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err("nothing was done".into()),
    }
}

impl Bench<'_> {
    /// What is known before the first run.
    fn begin(&self, catalog: &Catalog, plan: &Plan, swept: &Swept) -> Result<(), Box<dyn Error>> {
        if swept.removed > 0 {
            hint(&format!(
                "removed {} that an earlier bench left",
                counted(swept.removed as u64, "image")
            ));
        }

        if let Some(failed) = &swept.failed {
            hint(&format!("{failed}; the next bench tries again"));
        }
        if swept.in_use > 0 {
            hint(
                "another bench is running in this LSU, or was killed on another host a short while ago: its images were left alone",
            );
        }
        plan.left_out.iter().for_each(|why| hint(&format!("left out: {why}")));
        if self.global.json {
            return Ok(());
        }
        if !self.global.quiet {
            let at = catalog.endpoint();
            let cost = self.noise.cost_per_gib().as_secs_f64();
            let budget = size_text(self.site.config.pool.budget_bytes);
            line(&format!(
                "LSU {} at {at}, calls of 256 KiB, pool budget {budget}, {} processors",
                self.lsu,
                cpus()
            ))?;
            line(&format!(
                "making the random data takes {cost:.2} CPU s/GiB of each run up"
            ))?;
        }

        table::head()
    }

    /// Measures until all is measured or time is up. Every combination removes its images.
    fn measure(&self, plan: &Plan, guard: &mut Guard, runs: &mut Vec<Run>) -> Result<(), Box<dyn Error>> {
        for combination in &plan.combinations {
            interrupt::check()?;
            if Instant::now() >= self.until {
                break;
            }
            let plugin = combination.plugin(self.site)?;
            let defs = guard.names(combination.streams);
            self.up_and_down(&plugin.server, *combination, &defs, runs)?;
            defs.iter().try_for_each(|def| plugin.server.delete(&self.lsu, def))?;
        }
        Ok(())
    }

    fn up_and_down(
        &self,
        server: &HostServer,
        combination: Combination,
        defs: &[Definition],
        runs: &mut Vec<Run>,
    ) -> Result<(), Box<dyn Error>> {
        let mode = self.options.mode;
        let size = self.options.size.unwrap_or(self.bytes / combination.streams as u64);
        let progress = self.progress(Direction::Up, combination, self.options.size);
        let (run, sizes) = Run::of(Direction::Up, combination, || {
            streams::write(
                server,
                &self.lsu,
                defs,
                size,
                &self.noise,
                &Watch::new(self.write_end(), &progress),
            )
        })?;
        drop(progress);
        if mode.up() {
            self.keep(run, runs)?;
        }
        if !mode.down() || Instant::now() >= self.until {
            return Ok(());
        }
        let progress = self.progress(Direction::Down, combination, sizes.iter().copied().max());
        let (run, read) = Run::of(Direction::Down, combination, || {
            streams::read(server, &self.lsu, defs, &sizes, &Watch::new(self.until, &progress))
        })?;
        drop(progress);
        // Read-ahead at the end of the time is in no figure, so there is no line.
        if read == sizes { self.keep(run, runs) } else { Ok(()) }
    }

    fn keep(&self, run: Run, runs: &mut Vec<Run>) -> Result<(), Box<dyn Error>> {
        if !self.global.json {
            table::row(&run)?;
        }
        runs.push(run);
        Ok(())
    }

    /// When the writers of a run that begins now stop.
    fn write_end(&self) -> Instant {
        if self.options.size.is_some() {
            self.until
        } else {
            self.until.min(Instant::now() + SLICE)
        }
    }

    /// `size` is the number of bytes of one stream, if known.
    fn progress(&self, direction: Direction, combination: Combination, size: Option<u64>) -> Progress {
        let Combination {
            wire,
            part_size,
            parts_in_flight,
            streams,
        } = combination;
        let (name, wire, part) = (direction.name(), wire.name(), size_text(part_size));
        let what = format!("{name} {wire} {part} x {parts_in_flight}, {streams} at once");
        Progress::new(self.global, &what, size.map(|size| size.saturating_mul(streams as u64)))
    }

    fn end(&self, catalog: &Catalog, plan: &Plan, swept: &Swept, runs: &[Run]) -> Outcome {
        let config = &self.site.config;
        let advice = Advice::of(runs, config, cpus());
        let wanted = plan.combinations.len() * self.options.mode.directions();
        let not_measured = wanted.saturating_sub(runs.len());
        // A bench without a measurement is not a success.
        let code = if runs.is_empty() {
            ExitCode::from(COULD_NOT_RUN)
        } else {
            ExitCode::SUCCESS
        };
        if self.global.json {
            let runs: Vec<_> = runs.iter().map(Run::to_json).collect();
            output::json(&json!({
                "schema": 1, "version": env!("CARGO_PKG_VERSION"), "server": catalog.server().name,
                "endpoint": catalog.endpoint(), "lsu": self.lsu, "call_bytes": CALL, "processors": cpus(),
                "io_threads": config.transfer.io_threads, "pool_budget": config.pool.budget_bytes,
                "noise_cpu_s_per_gib": self.noise.cost_per_gib().as_secs_f64(), "leftovers_removed": swept.removed,
                "runs": runs, "left_out": plan.left_out, "not_measured": not_measured,
                "advice": advice.as_ref().map(Advice::to_json),
            }))?;
            return Ok(code);
        }

        if not_measured > 0 {
            hint(&format!(
                "time is up: {} not measured; a longer --time allows more",
                counted(not_measured as u64, "run")
            ));
        }

        advice.map_or(Ok(()), |advice| advice.print(config))?;
        Ok(code)
    }
}

fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
