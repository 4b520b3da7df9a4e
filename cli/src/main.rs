//! `vastost-s3`: the administrator's command line. One file for each subcommand; this one only starts and ends them.
//!
//! Exit codes: 0 good, 1 the check found problems, 2 could not run. What goes wrong is one line on stderr, and with
//! `--json` the document on stdout too.

mod args;
mod bench;
mod config;
mod configuration;
mod credentials;
mod demo;
mod doctor;
mod draft;
mod folder_trial;
mod gc;
mod get;
mod host_message;
mod image;
mod info;
mod init;
mod interrupt;
mod ls;
mod maintenance;
mod name;
mod output;
mod process;
mod progress;
mod put;
mod repair;
mod rm;
mod site;
mod stats;
mod temporary;
mod undelete;
mod usage;
mod verify;
mod wait;

use std::error::Error;
use std::fmt;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use signal_hook::consts::SIGXFSZ;
use vastost_testkit::host::HostError;

use args::{Cli, Command, Global};

/// What a subcommand ends with; an error means that it could not run.
pub type Outcome = Result<ExitCode, Box<dyn Error>>;

/// The exit code of a check that found problems.
pub const FOUND_PROBLEMS: u8 = 1;
/// The exit code of a command that could not do what it was asked to.
pub const COULD_NOT_RUN: u8 = 2;

/// The command ran and found a problem: exit code 1.
#[derive(Debug)]
pub struct Problem(pub String);

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Problem {}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    // A file that may not grow (`ulimit -f`) is an error of its write, and no end of the process.
    drop(signal_hook::flag::register(SIGXFSZ, Arc::default()));
    start_log(&cli.global);
    let outcome = run(&cli);
    warn_at_end();

    match outcome {
        Ok(code) => code,
        // `vastost-s3 ls | head` is no failure.
        Err(error) if error.is::<output::StdoutClosed>() => ExitCode::SUCCESS,
        Err(error) => {
            let text = chain(error.as_ref());
            output::complain(&text);
            if cli.global.json {
                output::error_document(&text);
            }
            ExitCode::from(if error.is::<Problem>() {
                FOUND_PROBLEMS
            } else {
                COULD_NOT_RUN
            })
        }
    }
}

/// What the plug-in's log and its state files could not keep: it was not done, and no command fails for it.
fn warn_at_end() {
    let warnings = vastost_testkit::host::take_warnings();
    for warning in vastost::log::take_notices().iter().chain(&warnings) {
        output::complain(&format!("warning: {}", warning.trim_start_matches("vastost: ")));
    }
}

/// Help, the version, or a command line that means nothing.
fn refuse(error: &clap::Error) -> ExitCode {
    // Where stderr is closed, nothing can be said.
    let _ = error.print();
    let mut words = std::env::args_os().skip(1).take_while(|word| word != "--");
    if error.use_stderr() && words.any(|word| word == "--json") {
        let text = error.to_string();
        let text = text.split("\n\n").next().unwrap_or_default();
        output::error_document(text.strip_prefix("error: ").unwrap_or(text).replace('\n', " ").trim());
    }
    if error.use_stderr() {
        ExitCode::from(COULD_NOT_RUN)
    } else {
        ExitCode::SUCCESS
    }
}

fn run(cli: &Cli) -> Outcome {
    let global = &cli.global;
    match &cli.command {
        Command::Demo(args) => demo::run(global, args),
        Command::Init(args) => init::run(global, args),
        Command::Doctor(args) => doctor::run(global, args),
        Command::Ls(args) => ls::run(global, args),
        Command::Info(args) => info::run(global, args),
        Command::Put(args) => put::run(global, args),
        Command::Get(args) => get::run(global, args),
        Command::Rm(args) => rm::run(global, args),
        Command::Gc(args) => gc::run(global, args),
        Command::Repair(args) => repair::run(global, args),
        Command::Undelete(args) => undelete::run(global, args),
        Command::Bench(args) => bench::run(global, args),
        Command::Stats(args) => stats::run(global, args),
        Command::Usage(args) => usage::run(global, args),
        Command::Verify(args) => verify::run(global, args),
        Command::Config(args) => config::run(global, args),
    }
}

/// Without `-v` nothing is logged: errors come back with their whole story, and warnings are for the plug-in's log.
fn start_log(global: &Global) {
    let level = match global.verbose {
        0 => return,
        1 => "info",
        _ => "debug",
    };
    let filter = tracing_subscriber::EnvFilter::new(format!("warn,vastost={level}"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    drop(log.try_init());
}

/// An error with all its causes in one line.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error
        .downcast_ref::<HostError>()
        .map_or_else(|| error.to_string(), host_message::text);
    let mut at = error;
    // The library's own errors print their causes themselves.
    while !at.is::<vastost::error::Error>() {
        let Some(cause) = at.source() else { break };
        text = format!("{text}: {cause}");
        at = cause;
    }
    text.replace('\n', " ")
}
