//! `demo`: the main job on a store of its own, with figures.
//!
//! The S3 server runs in a child process (this program again, with `--serve`), so that CPU time and memory below are
//! those of the host and the plug-in alone.

mod figures;
mod server;

use std::path::Path;
use std::process::ExitCode;

use serde_json::json;
use vastost::config::{Config, size_text};
use vastost::ost::abi::{STSP_CLOSEF_COMPLETE, STSP_OPEN_READ};
use vastost_testkit::host::{self, Definition, HostFilter, HostServer};

use crate::Outcome;
use crate::args::{Demo, Global};
use crate::output;
use crate::process::peak_rss_bytes;
use crate::temporary::TemporaryFolder;
use figures::{Figures, Span};
use server::{Server, serve};

/// NetBackup's default call.
const CALL: usize = 256 << 10;
pub(crate) const LSU: &str = "nightly";
/// 2026-01-01: a fixed day, so that the keys of a kept store are the same on every run.
const DATE: u64 = 1_767_225_600;

/// The next steps on a real store.
const NEXT: &str = "\nNext, on your own store, with its keys in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY:
  vastost-s3 init --endpoint https://s3.vast1.example.com --lsu nightly
  vastost-s3 doctor
  vastost-s3 put FILE nightly/first
  vastost-s3 verify nightly --deep";

type Failure = Box<dyn std::error::Error>;

pub fn run(global: &Global, args: &Demo) -> Outcome {
    if let Some(folder) = &args.serve {
        return serve(folder, args.until_eof);
    }
    let temporary = if args.keep.is_none() {
        Some(TemporaryFolder::new("demo")?)
    } else {
        None
    };
    let folder = args
        .keep
        .clone()
        .or_else(|| temporary.as_ref().map(TemporaryFolder::path))
        .unwrap_or_default();
    let server = Server::start(&folder)?;
    let config = folder.join("vastost.toml");
    say(
        global,
        &format!(
            "{} of {} in calls of 256 KiB through the plug-in's C functions; S3 server of the demo at {}",
            output::counted(args.streams as u64, "stream"),
            size_text(args.size),
            server.url
        ),
    )?;
    let figures = measure(&config, args)?;
    report(global, args, &config, &figures)?;
    if args.keep.is_some() {
        explain(global, &folder)?;
    }
    say(global, NEXT)?;
    Ok(ExitCode::SUCCESS)
}

/// Backs up, lists, restores, compares and, unless the store is kept, deletes.
fn measure(config: &Path, args: &Demo) -> Result<Figures, Failure> {
    let version = host::init()?;
    let server = host::open_server("VastData:demo", config, None)?;
    let images: Vec<_> = (0..args.streams as u64)
        .map(|n| Definition::new(format!("demo{n}_{DATE}_C1_F1"), DATE))
        .collect();
    server
        .create(LSU, &Definition::new("warmup", 0))?
        .close(STSP_CLOSEF_COMPLETE)?;
    server.delete(LSU, &Definition::new("warmup", 0))?;
    let backup = Span::of(|| in_parallel(&images, |n, def| backup(&server, def, n, args.size)))?;
    let mut listed = server
        .list(LSU, &HostFilter::default())?
        .into_iter()
        .map(|(def, _)| def)
        .collect::<Vec<_>>();
    listed.sort_by(|a, b| a.basename.cmp(&b.basename));
    let mut expected = images.clone();
    expected.sort_by(|a, b| a.basename.cmp(&b.basename));
    if listed != expected {
        return Err(format!("{} images were listed, {} were written", listed.len(), images.len()).into());
    }
    let restore = Span::of(|| in_parallel(&images, |n, def| restore(&server, def, n, args.size)))?;
    let deleted = if args.keep.is_none() { images.len() } else { 0 };
    for def in images.iter().take(deleted) {
        server.delete(LSU, def)?;
    }
    server.close()?;
    let rss_bytes = peak_rss_bytes();
    host::terminate();
    Ok(Figures {
        version,
        backup,
        restore,
        images: images.len(),
        deleted,
        rss_bytes,
    })
}

fn in_parallel(
    images: &[Definition],
    work: impl Fn(u64, &Definition) -> Result<(), String> + Sync,
) -> Result<(), Failure> {
    let results: Vec<Result<(), String>> = std::thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = (0..)
            .zip(images)
            .map(|(n, def)| scope.spawn(move || work(n, def)))
            .collect();
        let joined = threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| Err("a stream's thread failed".into())));
        joined.collect()
    });
    results.into_iter().collect::<Result<(), String>>().map_err(Into::into)
}

/// The data of one stream: a block of noise whose first bytes say stream and offset, so that no two calls are alike.
struct Stream {
    block: Vec<u8>,
    number: u64,
}

impl Stream {
    fn new(number: u64) -> Self {
        let mut word = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut next = || {
            word ^= word << 13;
            word ^= word >> 7;
            word ^= word << 17;
            word.to_le_bytes()
        };
        Self {
            block: (0..CALL / 8).flat_map(|_| next()).collect(),
            number,
        }
    }

    fn at(&mut self, offset: u64, len: usize) -> &[u8] {
        let mark = (offset << 8 | self.number).to_le_bytes();
        for (to, from) in self.block.iter_mut().zip(mark) {
            *to = from;
        }
        self.block.get(..len).unwrap_or_default()
    }
}

fn backup(server: &HostServer, def: &Definition, number: u64, size: u64) -> Result<(), String> {
    let mut stream = Stream::new(number);
    let image = server.create(LSU, def).map_err(|e| e.to_string())?;
    for offset in (0..size).step_by(CALL) {
        let data = stream.at(offset, call_len(size, offset));
        image.write(data, offset).map_err(|e| e.to_string())?;
    }
    image.close(STSP_CLOSEF_COMPLETE).map_err(|e| e.to_string())
}

fn restore(server: &HostServer, def: &Definition, number: u64, size: u64) -> Result<(), String> {
    let mut stream = Stream::new(number);
    let mut buffer = vec![0; CALL];
    let image = server.open(LSU, def, STSP_OPEN_READ).map_err(|e| e.to_string())?;
    for offset in (0..size).step_by(CALL) {
        let expected = stream.at(offset, call_len(size, offset));
        let read = image.read(&mut buffer, offset).map_err(|e| e.to_string())?;
        if buffer.get(..usize::try_from(read).unwrap_or(0)) != Some(expected) {
            return Err(format!(
                "image {} differs from what was written at offset {offset}",
                String::from_utf8_lossy(&def.basename)
            ));
        }
    }
    image.close(0).map_err(|e| e.to_string())
}

fn call_len(size: u64, offset: u64) -> usize {
    usize::try_from(size - offset).unwrap_or(CALL).min(CALL)
}

fn report(global: &Global, args: &Demo, config: &Path, figures: &Figures) -> Result<(), Failure> {
    let budget = Config::load(config)?.pool.budget_bytes;
    let bytes = args.size * args.streams as u64;
    if global.json {
        let value = json!({
            "schema": 1, "version": figures.version, "streams": args.streams, "bytes": bytes,
            "backup": figures.backup.to_json(bytes), "restore": figures.restore.to_json(bytes),
            "images": figures.images, "deleted": figures.deleted,
            "peak_rss_bytes": figures.rss_bytes, "pool_budget_bytes": budget,
        });
        return output::json(&value);
    }

    output::line("            wall        rate         CPU         CPU per GiB")?;
    output::line(&figures.backup.to_row("backup", bytes))?;
    output::line(&figures.restore.to_row("restore", bytes))?;
    let deleted = if figures.deleted > 0 { ", deleted" } else { "" };
    let images = output::counted(figures.images as u64, "image");
    output::line(&format!(
        "{images} written, listed, restored, every byte compared{deleted}"
    ))?;
    let rss = figures.rss_bytes >> 20;
    output::line(&format!(
        "peak RSS {rss} MiB of host and plug-in, pool budget {}",
        size_text(budget)
    ))?;
    Ok(())
}

fn explain(global: &Global, folder: &Path) -> Result<(), Failure> {
    let shown = folder.display();
    say(
        global,
        &format!(
            "kept in {shown}; try\n  \
         vastost-s3 demo --serve {shown} &\n  \
         vastost-s3 --config {shown}/vastost.toml ls {LSU}\n  \
         vastost-s3 --config {shown}/vastost.toml get {LSU}/demo0_{DATE}_C1_F1 restored.img"
        ),
    )
}

fn say(global: &Global, text: &str) -> Result<(), Failure> {
    let lines = if global.json || global.quiet { "" } else { text };
    lines.lines().try_for_each(output::line)
}
