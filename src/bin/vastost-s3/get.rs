//! `get`: an image becomes a file or goes to stdout, through the plug-in as NetBackup would do it.
//!
//! A file appears under its name only when it is whole and on disk; devices and pipes are written directly.

mod writer;

use std::error::Error;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use vastost::catalog::escape::Name;
use vastost::catalog::image_id::ImageId;
use vastost::ost::abi::STSP_OPEN_READ;
use vastost::ost::host::{Definition, HostImage, HostServer};

use crate::args::{Get, Global};
use crate::name::{ImageName, shown};
use crate::output::{human_size, line, stdout_error};
use crate::progress::Progress;
use crate::site::Site;
use crate::{Outcome, image, interrupt};
use writer::Writer;

/// Bytes of one read call.
const BUFFER_BYTES: usize = 1 << 20;

pub fn run(global: &Global, args: &Get) -> Outcome {
    let name = ImageName::parse(&args.image)?;
    let target = Target::choose(&args.file, args.force)?;
    let site = Site::open(global)?;
    interrupt::watch()?;
    let started = Instant::now();
    let (def, size) = {
        let plugin = site.plugin()?;
        let def = name.find(&plugin.server)?;
        let size = restore(global, &plugin.server, &name.lsu, &def, &target)?;
        (def, size)
    };
    let id = ImageId::new(Name::new(def.basename), def.date)?;
    match target {
        // Stdout is the image's.
        Target::Stdout => {}
        _ if global.json => image::print_json(global, &name.lsu, id)?,
        _ if global.quiet => {}
        _ => {
            let (seconds, path) = (started.elapsed().as_secs_f64(), args.file.display());
            let size = format!("{} ({size} bytes)", human_size(size));
            let image = format!("{}/{}:{}", name.lsu, shown(&name.basename), id.date);
            line(&format!("restored {image} to {path}, {size} in {seconds:.1} s"))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Where the bytes go.
enum Target {
    Stdout,
    /// A device or pipe that is there.
    Direct(PathBuf),
    /// A file that is new, or is to be replaced.
    File(PathBuf),
}

impl Target {
    fn choose(path: &Path, force: bool) -> Result<Self, String> {
        if path == Path::new("-") {
            return Ok(Self::Stdout);
        }
        match std::fs::metadata(path) {
            Ok(found) if found.is_dir() => Err(format!("{} is a folder; name a file in it", path.display())),
            Ok(found) if !found.is_file() => Ok(Self::Direct(path.into())),
            Ok(_) if !force => Err(format!("{} exists; --force overwrites it", path.display())),
            _ => Ok(Self::File(path.into())),
        }
    }
}

fn restore(
    global: &Global,
    server: &HostServer,
    lsu: &str,
    def: &Definition,
    target: &Target,
) -> Result<u64, Box<dyn Error>> {
    let image = server.open(lsu, def, STSP_OPEN_READ)?;
    let copied = image.info().map_err(Into::into).and_then(|info| {
        let progress = Progress::new(global, "restoring", Some(info.size));
        deliver(&image, info.size, target, &progress)
    });
    let closed = image.close(0);
    let size = copied?;
    closed?;
    Ok(size)
}

fn deliver(image: &HostImage, size: u64, target: &Target, progress: &Progress) -> Result<u64, Box<dyn Error>> {
    match target {
        Target::Stdout => {
            // Not io::stdout: it would look for line ends in the image.
            let stdout = io::stdout().as_fd().try_clone_to_owned().map_err(|error| format!("open stdout: {error}"))?;
            copy(image, size, File::from(stdout), progress, stdout_error).map(|(len, _)| len)
        }
        Target::Direct(path) => {
            let opened = OpenOptions::new().write(true).open(path);
            copy(image, size, named(path, opened)?, progress, |written| named(path, written)).map(|(len, _)| len)
        }
        Target::File(path) => {
            let part = part_path(path);
            let copied = to_file(image, size, path, &part, progress);
            if copied.is_err() {
                // The first error is the one to hear of.
                let _ = std::fs::remove_file(&part);
            }
            interrupt::set_partial(None);
            copied
        }
    }
}

fn to_file(image: &HostImage, size: u64, path: &Path, part: &Path, progress: &Progress) -> Result<u64, Box<dyn Error>> {
    let file = named(path, OpenOptions::new().write(true).create_new(true).open(part))?;
    interrupt::set_partial(Some(part));
    let (copied, file) = copy(image, size, file, progress, |written| named(path, written))?;
    named(path, file.sync_all())?;
    named(path, std::fs::rename(part, path))?;
    Ok(copied)
}

/// Reads here and writes in a thread, so that a pipe that nobody empties does not keep us from hearing Ctrl-C.
fn copy(
    image: &HostImage,
    size: u64,
    to: File,
    progress: &Progress,
    name: impl Fn(io::Result<File>) -> Result<File, Box<dyn Error>>,
) -> Result<(u64, File), Box<dyn Error>> {
    let writer = Writer::start(to)?;
    let mut offset = 0;
    loop {
        let Some(mut buffer) = writer.empty_buffer()? else { break };
        buffer.resize(BUFFER_BYTES, 0);
        let len = image.read(&mut buffer, offset)?;
        buffer.truncate(usize::try_from(len)?);
        if buffer.is_empty() || writer.full.send(buffer).is_err() {
            break;
        }
        offset += len;
        progress.set(offset);
    }
    let file = name(writer.end()?)?;
    if offset != size {
        return Err(format!("the image ended after {offset} bytes; its record says {size}").into());
    }
    Ok((offset, file))
}

/// Beside the file, so that the rename stays within one file system.
fn part_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".part-{}", std::process::id()));
    name.into()
}

fn named<T>(path: &Path, result: io::Result<T>) -> Result<T, Box<dyn Error>> {
    result.map_err(|error| format!("write {}: {error}", path.display()).into())
}
