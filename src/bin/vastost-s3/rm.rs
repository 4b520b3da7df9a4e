//! `rm`: images deleted for good, each by its full definition, going on after a failure.

use std::error::Error;
use std::io::{self, BufRead, IsTerminal};
use std::process::ExitCode;

use serde_json::{Value, json};
use vastost::ost::abi::{STSP_II_BUSY_WRITE, STSP_II_IMAGE_CREATED};
use vastost::ost::host::{HostServer, ImageInfo};

use crate::args::{Global, Rm};
use crate::name::{ImageName, shown};
use crate::output::{self, complain, hint, human_size, line, utc};
use crate::site::Site;
use crate::{COULD_NOT_RUN, Outcome, chain, interrupt};

pub fn run(global: &Global, args: &Rm) -> Outcome {
    let names = args.images.iter().map(|image| ImageName::parse(image)).collect::<Result<Vec<_>, _>>()?;
    if !args.yes && !io::stdin().is_terminal() {
        return Err("rm deletes for good: without a terminal to ask at, it needs --yes; nothing was deleted".into());
    }
    let plugin = Site::open(global)?.plugin()?;
    let mut report = Report::default();
    let found = find_all(&plugin.server, &names, &mut report);
    if !found.is_empty() && !args.yes && !agreed(&found)? {
        return Err("nothing was deleted".into());
    }
    interrupt::watch()?;
    for image in &found {
        // What is done is done; the report says how far it went.
        if let Err(error) = interrupt::check() {
            report.failed(name_of(image), error.as_ref());
            continue;
        }
        match plugin.server.delete(&image.lsu, &image.def) {
            Ok(()) => report.deleted(global, name_of(image))?,
            Err(error) => report.failed(name_of(image), &error),
        }
    }
    report.end(global)
}

/// The images that are there, each once, with policy and type.
fn find_all(server: &HostServer, names: &[ImageName], report: &mut Report) -> Vec<ImageInfo> {
    let mut found: Vec<ImageInfo> = Vec::new();
    for name in names {
        let info = name.find(server).and_then(|def| {
            server.info(&name.lsu, &def).map_err(|error| match error.code {
                vastost::ost::status::STSP_ENOENT => missing(name, def.date),
                _ => error.into(),
            })
        });
        match info {
            Ok(info) if found.contains(&info) => {}
            Ok(info) => found.push(info),
            Err(error) => report.failed(format!("{}/{}", name.lsu, shown(&name.basename)), error.as_ref()),
        }
    }
    found
}

fn missing(name: &ImageName, date: u64) -> Box<dyn Error> {
    format!("no image {}/{}:{date}", name.lsu, shown(&name.basename)).into()
}

fn agreed(images: &[ImageInfo]) -> Result<bool, Box<dyn Error>> {
    hint("To be deleted for good:");
    for image in images {
        let state = match image.flags {
            flags if flags & STSP_II_IMAGE_CREATED != 0 => "complete",
            flags if flags & STSP_II_BUSY_WRITE != 0 => "writing",
            _ => "pending",
        };
        hint(&format!("  {}  {}  {state}, {}", name_of(image), utc(image.def.date), human_size(image.size)));
    }
    hint("Delete? [y/N]");
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).map_err(|error| format!("read the answer: {error}"))?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

fn name_of(image: &ImageInfo) -> String {
    format!("{}/{}:{}", image.lsu, shown(&image.def.basename), image.def.date)
}

/// What became of each image.
#[derive(Default)]
struct Report {
    deleted: Vec<String>,
    failed: Vec<Value>,
}

impl Report {
    fn deleted(&mut self, global: &Global, image: String) -> Result<(), Box<dyn Error>> {
        if !global.json && !global.quiet {
            line(&format!("deleted {image}"))?;
        }
        self.deleted.push(image);
        Ok(())
    }

    fn failed(&mut self, image: String, error: &(dyn Error + 'static)) {
        let text = chain(error);
        complain(&if text.contains(&image) { text.clone() } else { format!("{image}: {text}") });
        self.failed.push(json!({ "image": image, "error": text }));
    }

    fn end(self, global: &Global) -> Outcome {
        let code = if self.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(COULD_NOT_RUN) };
        if global.json {
            output::json(&json!({ "schema": 1, "deleted": self.deleted, "failed": self.failed }))?;
        }
        Ok(code)
    }
}
