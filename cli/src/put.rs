//! `put`: a file, standard input or the output of a command becomes an image, through the plug-in as NetBackup would do
//! it. If anything fails after the image was created, what was written is removed.

mod descendants;
mod source;

use std::error::Error;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use vastost::catalog::format::escape::Name;
use vastost::catalog::format::image_id::ImageId;
use vastost::ost::abi::{STSP_CLOSEF_COMPLETE, STSP_II_IMAGE_CREATED, STSP_II_IMAGE_PENDING, STSP_NAME_SIZE};
use vastost::ost::status::{STSP_EBUSY, STSP_EEXIST, STSP_ENOENT};
use vastost_testkit::host::{Definition, HostImage, HostServer};

use crate::args::{Global, Put};
use crate::interrupt::Interrupted;
use crate::name::{ImageName, full_name};
use crate::output::{complain, human_size, line};
use crate::progress::Progress;
use crate::site::Site;
use crate::{Outcome, Problem, chain, host_message, image};
use source::{Reading, Source};

/// An image without a date of its own gets a date at most this many seconds from now if earlier ones are taken.
const DATES_TRIED: u64 = 60;

pub fn run(global: &Global, args: &Put) -> Outcome {
    let (file, place) = places(args)?;
    let name = ImageName::parse(place)?;
    let mut def = definition(&name, args)?;
    let site = Site::open(global)?;
    site.lsu(&name.lsu)?;
    let source = Source::open(file, &args.program)?;
    name.doubts(def.date)
        .iter()
        .for_each(|doubt| complain(&format!("warning: {doubt}")));
    crate::interrupt::watch()?;
    let started = Instant::now();
    let size = {
        let plugin = site.plugin()?;
        let image = create(&plugin.server, &name, &mut def)?;
        let progress = Progress::new(global, "storing", source.total());
        store(&plugin.server, &name.lsu, &def, image, source, args, &progress)?
    };

    let id = ImageId::new(Name::new(def.basename), def.date)?;
    if global.json {
        image::print_json(global, &name.lsu, id)?;
    } else if !global.quiet {
        let seconds = started.elapsed().as_secs_f64();
        let image = full_name(&name.lsu, &name.basename, id.date);
        line(&format!(
            "stored {image}, {} ({size} bytes) in {seconds:.1} s",
            human_size(size)
        ))?;
    }

    Ok(ExitCode::SUCCESS)
}

/// The source and the image; with --command only the image is named.
fn places(args: &Put) -> Result<(&Path, &OsStr), Box<dyn Error>> {
    let stdin = OsStr::new("-");
    if args.command && args.program.is_empty() {
        return Err("--command runs what stands after --: vastost-s3 put --command LSU/IMAGE -- pg_dump shop".into());
    }
    match (args.places.as_slice(), args.command) {
        ([image], true) => Ok((Path::new(stdin), image)),
        ([source, image], true) if source == stdin => Ok((Path::new(stdin), image)),
        ([_, _], true) => Err("--command stores what a command prints, so it takes no file".into()),
        ([source, image], false) => Ok((Path::new(source), image)),
        _ => Err("put takes a source and an image: vastost-s3 put FILE LSU/IMAGE, with - for standard input".into()),
    }
}

fn definition(name: &ImageName, args: &Put) -> Result<Definition, Box<dyn Error>> {
    let policy = args
        .policy
        .as_ref()
        .map(|policy| policy.as_bytes().to_vec())
        .unwrap_or_default();
    if policy.len() >= STSP_NAME_SIZE {
        return Err(format!(
            "--policy has {} bytes; at most {} are possible",
            policy.len(),
            STSP_NAME_SIZE - 1
        )
        .into());
    }
    Ok(Definition {
        policy,
        image_type: args.image_type,
        ..name.to_create()
    })
}

/// Creates the image. One that has no date of its own gets the next second that is free.
fn create(server: &HostServer, name: &ImageName, def: &mut Definition) -> Result<HostImage, Box<dyn Error>> {
    let last = if name.own_date().is_none() {
        def.date.saturating_add(DATES_TRIED)
    } else {
        def.date
    };
    loop {
        match server.create(&name.lsu, def) {
            Err(error) if matches!(error.code, STSP_EEXIST | STSP_EBUSY) && def.date < last => def.date += 1,
            Err(error) if error.code == STSP_EEXIST => {
                let exists = host_message::text(&error);
                return Err(format!("{exists}; LSU/BASENAME:DATE with another date names another image").into());
            }
            other => return Ok(other?),
        }
    }
}

fn store(
    server: &HostServer,
    lsu: &str,
    def: &Definition,
    image: HostImage,
    source: Source,
    args: &Put,
    progress: &Progress,
) -> Result<u64, Box<dyn Error>> {
    let written = source.start().and_then(|reading| {
        let size = write_all(&image, &reading, progress)?;
        reading.confirm(size, args).map(|()| size)
    });

    match written {
        Ok(size) => match image.close(STSP_CLOSEF_COMPLETE) {
            Ok(()) => Ok(size),
            // The close has removed an image that was never whole. One that may be whole is kept, and the error says
            // so: the source may be a pipe that cannot be read again.
            Err(first) => Err(complete_or(server, lsu, def, first.into())),
        },
        Err(first) => {
            // Its failure changes nothing: the handle is closed in any case, and the image is removed next.
            let _ = image.close(0);
            Err(remove(server, lsu, def, first))
        }
    }
}

fn write_all(image: &HostImage, reading: &Reading, progress: &Progress) -> Result<u64, Box<dyn Error>> {
    let mut offset = 0;
    loop {
        let buffer = reading.next_buffer()?;
        if buffer.is_empty() {
            return Ok(offset);
        }
        offset += image.write(&buffer, offset)?;
        progress.set(offset);
    }
}

/// Removes an image that is not complete, and returns the first error with any later one. A complete image of that name
/// is another writer's, or ours whose last answer was lost: it stays. So only an image that the store has just reported
/// as pending is removed: none existed, complete or pending, when this one was created.
fn remove(server: &HostServer, lsu: &str, def: &Definition, first: Box<dyn Error>) -> Box<dyn Error> {
    let name = full_name(lsu, &def.basename, def.date);
    match server.info(lsu, def) {
        Ok(info) if info.flags & STSP_II_IMAGE_PENDING != 0 => {}
        Ok(_) => return more(first, &left_alone(&name)),
        Err(gone) if gone.code == STSP_ENOENT => return nothing_stored(first),
        Err(second) => {
            let left =
                format!("`vastost-s3 info {name}` shows it, and if it is pending, `vastost-s3 rm {name}` removes it");
            let second = host_message::text(&second);
            return more(
                first,
                &format!("what is left of it is unknown, so nothing was removed: {second}; {left}"),
            );
        }
    }

    match server.delete(lsu, def) {
        Ok(()) => nothing_stored(first),
        Err(gone) if gone.code == STSP_ENOENT => nothing_stored(first),
        Err(second) => {
            let left = format!("`vastost-s3 rm {name}` removes what is left");
            let second = host_message::text(&second);
            more(
                first,
                &format!("what was written could not be removed: {second}; {left}"),
            )
        }
    }
}

/// Adds to an interruption that nothing was stored; other errors make that clear themselves.
fn nothing_stored(first: Box<dyn Error>) -> Box<dyn Error> {
    if first.is::<Interrupted>() {
        more(first, "nothing was stored")
    } else {
        first
    }
}

/// The same error with a second sentence.
fn more(first: Box<dyn Error>, second: &str) -> Box<dyn Error> {
    let text = format!("{}; {second}", chain(first.as_ref()));
    if first.is::<Problem>() {
        Problem(text).into()
    } else {
        text.into()
    }
}

/// The first error, with a note if a complete image of that name exists.
fn complete_or(server: &HostServer, lsu: &str, def: &Definition, first: Box<dyn Error>) -> Box<dyn Error> {
    match server.info(lsu, def) {
        Ok(info) if info.flags & STSP_II_IMAGE_CREATED != 0 => {
            more(first, &left_alone(&full_name(lsu, &def.basename, def.date)))
        }
        _ => first,
    }
}

fn left_alone(name: &str) -> String {
    format!("a complete image {name} exists and was left alone")
}
