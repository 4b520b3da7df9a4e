//! `put`: a file or stdin becomes an image, through the plug-in as NetBackup would do it.
//!
//! A thread reads ahead, so that a source that stalls does not keep us from hearing Ctrl-C. Whatever goes wrong after
//! the image was created and before it is closed, what was written is removed again.

use std::error::Error;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use vastost::catalog::escape::Name;
use vastost::catalog::image_id::ImageId;
use vastost::ost::abi::{STSP_CLOSEF_COMPLETE, STSP_II_IMAGE_CREATED, STSP_NAME_SIZE};
use vastost::ost::host::{Definition, HostImage, HostServer};
use vastost::ost::status::STSP_ENOENT;

use crate::args::{Global, Put};
use crate::name::{ImageName, shown};
use crate::output::{human_size, line};
use crate::progress::Progress;
use crate::site::Site;
use crate::{Outcome, image, interrupt};

/// Bytes of one write call, as bptm makes them.
const BUFFER_BYTES: u64 = 256 << 10;
/// Buffers between the reader and us.
const BUFFERS_AHEAD: usize = 4;
/// How long Ctrl-C may wait for a source that brings nothing.
const POLL: Duration = Duration::from_millis(100);

/// What the reading thread sends: buffers, or the error that ends them.
type Buffers = Receiver<Result<Vec<u8>, String>>;

pub fn run(global: &Global, args: &Put) -> Outcome {
    let name = ImageName::parse(&args.image)?;
    let def = definition(&name, args)?;
    let site = Site::open(global)?;
    let (source, total) = open(&args.file)?;
    interrupt::watch()?;
    let started = Instant::now();
    let size = {
        let plugin = site.plugin()?;
        let buffers = read_ahead(source, &args.file)?;
        let progress = Progress::new(global, "storing", total);
        store(&plugin.server, &name.lsu, &def, &buffers, &progress)?
    };
    let id = ImageId::new(Name::new(def.basename), def.date)?;
    if global.json {
        image::print_json(global, &name.lsu, id)?;
    } else if !global.quiet {
        let seconds = started.elapsed().as_secs_f64();
        let image = format!("{}/{}:{}", name.lsu, shown(&name.basename), id.date);
        line(&format!("stored {image}, {} ({size} bytes) in {seconds:.1} s", human_size(size)))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn definition(name: &ImageName, args: &Put) -> Result<Definition, Box<dyn Error>> {
    let policy = args.policy.as_ref().map(|policy| policy.as_bytes().to_vec()).unwrap_or_default();
    if policy.len() >= STSP_NAME_SIZE {
        return Err(format!("--policy has {} bytes; at most {} are possible", policy.len(), STSP_NAME_SIZE - 1).into());
    }
    Ok(Definition { policy, image_type: args.image_type, ..name.to_create() })
}

/// The source and, when it is a regular file, its size.
fn open(path: &Path) -> Result<(File, Option<u64>), Box<dyn Error>> {
    if path == Path::new("-") {
        let stdin = io::stdin().as_fd().try_clone_to_owned().map_err(|error| format!("open stdin: {error}"))?;
        return Ok((File::from(stdin), None));
    }
    let wrong = |error: io::Error| format!("open {}: {error}", path.display());
    let file = File::open(path).map_err(wrong)?;
    let metadata = file.metadata().map_err(wrong)?;
    if metadata.is_dir() {
        return Err(format!("{} is a folder; an image is one file, or - for stdin", path.display()).into());
    }
    Ok((file, metadata.is_file().then_some(metadata.len())))
}

/// The source in buffers; an empty one is its end. The thread ends with the source or with the receiver.
fn read_ahead(mut source: File, path: &Path) -> Result<Buffers, Box<dyn Error>> {
    let (sender, receiver) = sync_channel(BUFFERS_AHEAD);
    let path = path.display().to_string();
    let body = move || {
        loop {
            let mut buffer = Vec::with_capacity(usize::try_from(BUFFER_BYTES).unwrap_or_default());
            let read = source.by_ref().take(BUFFER_BYTES).read_to_end(&mut buffer);
            let last = !matches!(read, Ok(len) if len > 0);
            let message = read.map(|_| buffer).map_err(|error| format!("read {path}: {error}"));
            if sender.send(message).is_err() || last {
                break;
            }
        }
    };
    std::thread::Builder::new().name("vastost-read".into()).spawn(body)?;
    Ok(receiver)
}

fn store(
    server: &HostServer,
    lsu: &str,
    def: &Definition,
    buffers: &Buffers,
    progress: &Progress,
) -> Result<u64, Box<dyn Error>> {
    let image = server.create(lsu, def)?;
    match write_all(&image, buffers, progress) {
        Ok(size) => match image.close(STSP_CLOSEF_COMPLETE) {
            Ok(()) => Ok(size),
            // The close has removed what was never whole; what may be is kept, and the error says so: the source may be a
            // pipe that cannot be read again.
            Err(first) => Err(complete_or(server, lsu, def, first.into())),
        },
        Err(first) => {
            // Its failure changes nothing: the handle is gone in any case, and the image is removed next.
            let _ = image.close(0);
            Err(remove(server, lsu, def, first))
        }
    }
}

fn write_all(image: &HostImage, buffers: &Buffers, progress: &Progress) -> Result<u64, Box<dyn Error>> {
    let mut offset = 0;
    loop {
        interrupt::check()?;
        let buffer = match buffers.recv_timeout(POLL) {
            Ok(buffer) => buffer?,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => return Err("the thread that reads has ended".into()),
        };
        if buffer.is_empty() {
            return Ok(offset);
        }
        offset += image.write(&buffer, offset)?;
        progress.set(offset);
    }
}

/// Leaves nothing behind of an image that is not complete, and gives back the first error with what else went wrong. A
/// complete image of that name is another writer's, or ours whose last answer was lost: it stays.
fn remove(server: &HostServer, lsu: &str, def: &Definition, first: Box<dyn Error>) -> Box<dyn Error> {
    let name = || format!("{lsu}/{}:{}", shown(&def.basename), def.date);
    if is_complete(server, lsu, def) {
        return complete_or(server, lsu, def, first);
    }
    match server.delete(lsu, def) {
        Ok(()) => first,
        Err(gone) if gone.code == STSP_ENOENT => first,
        Err(second) => {
            let left = format!("`vastost-s3 rm {}` removes what is left", name());
            format!("{first}; what was written could not be removed: {second}; {left}").into()
        }
    }
}

/// The first error, with what is there when a complete image of that name is.
fn complete_or(server: &HostServer, lsu: &str, def: &Definition, first: Box<dyn Error>) -> Box<dyn Error> {
    if !is_complete(server, lsu, def) {
        return first;
    }
    format!("{first}; a complete image {lsu}/{}:{} is there, and was left alone", shown(&def.basename), def.date).into()
}

fn is_complete(server: &HostServer, lsu: &str, def: &Definition) -> bool {
    server.info(lsu, def).is_ok_and(|info| info.flags & STSP_II_IMAGE_CREATED != 0)
}
