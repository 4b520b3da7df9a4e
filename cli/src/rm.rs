//! `rm`: images deleted for good, each by its full definition, going on after a failure. An image whose delete was
//! interrupted is there to be found, and its delete is finished.

use std::error::Error;
use std::io::{self, BufRead, IsTerminal};
use std::process::ExitCode;

use serde_json::{Value, json};
use vastost::catalog::delete::force_delete;
use vastost::catalog::format::image_id::ImageId;
use vastost::error::Kind;
use vastost_testkit::host::Definition;

use crate::args::{Global, Rm};
use crate::image::{Shown, describe};
use crate::name::{ImageName, full_name};
use crate::output;
use crate::output::{complain, counted, hint, human_size, line, utc};
use crate::site::{Catalog, Site};
use crate::wait::wait;
use crate::{COULD_NOT_RUN, Outcome, chain, interrupt};

pub fn run(global: &Global, args: &Rm) -> Outcome {
    let names = args
        .images
        .iter()
        .map(|image| ImageName::parse(image))
        .collect::<Result<Vec<_>, _>>()?;
    if !args.yes && !io::stdin().is_terminal() {
        return Err("rm deletes for good: without a terminal to ask at, it needs --yes; nothing was deleted".into());
    }
    let mut report = Report::default();
    let found = find_all(&Site::open(global)?.catalog()?, &names, args.newest, &mut report);
    if !found.is_empty() && !args.yes && !agreed(&found)? {
        return Err("nothing was deleted".into());
    }
    interrupt::watch()?;

    if args.unreadable && !found.is_empty() {
        // By the keys of the image: no record says which objects belong to it.
        let catalog = Site::open(global)?.catalog()?;
        let by_keys = |image: &Doomed| {
            let lsu = catalog.lsu(&image.lsu)?;
            Ok(wait(&lsu, force_delete(&lsu, &image.id))?)
        };
        delete_all(global, &found, &by_keys, &mut report)?;
    } else if !found.is_empty() {
        let plugin = Site::open(global)?.plugin()?;
        let by_record = |image: &Doomed| {
            let def = Definition::new(image.id.basename.as_bytes(), image.id.date);
            Ok(plugin.server.delete(&image.lsu, &def)?)
        };
        delete_all(global, &found, &by_record, &mut report)?;
    }

    report.end(global)
}

/// An image to delete.
struct Doomed {
    lsu: String,
    id: ImageId,
    /// State and size for the question.
    about: String,
}

impl Doomed {
    fn name(&self) -> String {
        full_name(&self.lsu, self.id.basename.as_bytes(), self.id.date)
    }
}

/// The images that are there, each once.
fn find_all(catalog: &Catalog, names: &[ImageName], newest: bool, report: &mut Report) -> Vec<Doomed> {
    let mut found: Vec<Doomed> = Vec::new();
    for name in names {
        match find(catalog, name, newest) {
            Ok(doomed)
                if found
                    .iter()
                    .any(|other| other.lsu == doomed.lsu && other.id == doomed.id) => {}
            Ok(doomed) => found.push(doomed),
            Err(error) => report.failed(name.shown(), error.as_ref()),
        }
    }
    found
}

fn find(catalog: &Catalog, name: &ImageName, newest: bool) -> Result<Doomed, Box<dyn Error>> {
    let lsu = catalog.lsu(&name.lsu)?;
    let id = name.find_in(&lsu, newest)?;
    let about = match describe(&lsu, id.clone()) {
        Ok(image) => {
            let shown = Shown::new(&lsu, &image);
            format!("{}, {}", shown.state, human_size(shown.size))
        }
        Err(error) if error.kind() == Kind::NotFound => {
            return Err(format!("no image {}", full_name(&name.lsu, id.basename.as_bytes(), id.date)).into());
        }
        // Whether such an image can be deleted is not for us to say.
        Err(error) if error.kind() == Kind::Corrupt => format!("its record cannot be read: {}", chain(&error)),
        Err(error) => return Err(error.into()),
    };
    Ok(Doomed {
        lsu: name.lsu.clone(),
        id,
        about,
    })
}

/// Deletes one image, by the LSU's name.
type Delete<'a> = &'a dyn Fn(&Doomed) -> Result<(), Box<dyn Error>>;

fn delete_all(global: &Global, found: &[Doomed], delete: Delete, report: &mut Report) -> Result<(), Box<dyn Error>> {
    for image in found {
        // What is done is done; the report says how far it went.
        match interrupt::check().and_then(|()| delete(image)) {
            // The others are deleted whether somebody reads of it or not.
            Ok(()) => output::unread_is_fine(report.deleted(global, image.name()))?,
            Err(error) => report.failed(image.name(), error.as_ref()),
        }
    }
    Ok(())
}

fn agreed(images: &[Doomed]) -> Result<bool, Box<dyn Error>> {
    hint("To be deleted for good:");
    for image in images {
        hint(&format!("  {}  {}  {}", image.name(), utc(image.id.date), image.about));
    }
    hint(&format!("Delete {}? [y/N]", counted(images.len() as u64, "image")));
    let mut answer = String::new();
    io::stdin()
        .lock()
        .read_line(&mut answer)
        .map_err(|error| format!("read the answer: {error}"))?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// What became of each image.
#[derive(Default)]
struct Report {
    deleted: Vec<String>,
    failed: Vec<Value>,
}

impl Report {
    fn deleted(&mut self, global: &Global, image: String) -> Result<(), Box<dyn Error>> {
        self.deleted.push(image.clone());
        if global.json || global.quiet {
            Ok(())
        } else {
            line(&format!("deleted {image}"))
        }
    }

    fn failed(&mut self, image: String, error: &(dyn Error + 'static)) {
        let text = chain(error);
        // Named once: the error may do that with the LSU or without.
        let id = image.split_once('/').map_or(image.as_str(), |(_, id)| id);
        complain(&if text.contains(id) {
            text.clone()
        } else {
            format!("{image}: {text}")
        });
        self.failed.push(json!({ "image": image, "error": text }));
    }

    fn end(self, global: &Global) -> Outcome {
        let code = if self.failed.is_empty() {
            ExitCode::SUCCESS
        } else {
            ExitCode::from(COULD_NOT_RUN)
        };
        if global.json {
            let printed = output::json(&json!({ "schema": 1, "deleted": self.deleted, "failed": self.failed }));
            output::unread_is_fine(printed)?;
        }
        Ok(code)
    }
}
