//! `get`: an image becomes a file or goes to stdout, through the plug-in as NetBackup would do it.
//!
//! A file appears under its name only when it is whole and on disk; devices and pipes are written directly.

mod writer;

use std::error::Error;
use std::fs::{File, Metadata, Permissions};
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use nix::libc;
use vastost::catalog::format::escape::escape;
use vastost::ost::abi::STSP_OPEN_READ;
use vastost::ost::status::{STSP_ECORRUPT, STSP_ENOENT};
use vastost_testkit::host::{Definition, HostError, HostImage, HostServer};

use crate::args::{Get, Global};
use crate::draft::Draft;
use crate::name::{ImageName, full_name};
use crate::output;
use crate::output::{StdoutClosed, grouped, human_size, line, stdout_error};
use crate::progress::Progress;
use crate::site::Site;
use crate::{Outcome, Problem, host_message, image, interrupt};
use writer::Writer;

/// Bytes of one read call.
const BUFFER_BYTES: usize = 1 << 20;
/// The mode of a restored file, less the umask.
const FILE_MODE: u32 = 0o666;

pub fn run(global: &Global, args: &Get) -> Outcome {
    let name = ImageName::parse(&args.image)?;
    let target = Target::choose(&args.file, args.force)?;
    if matches!(target, Target::Stdout) {
        output::take_stdout();
    }
    interrupt::watch()?;
    let started = Instant::now();
    let (id, size) = {
        let site = Site::open(global)?;
        site.lsu(&name.lsu)?;
        let plugin = site.plugin()?;
        let id = name.find(&plugin.server, args.newest)?;
        let def = Definition::new(id.basename.as_bytes(), id.date);
        let size = restore(global, &plugin.server, &name.lsu, &def, &target)?;
        (id, size)
    };

    match target {
        // Stdout is the image's.
        Target::Stdout => {}
        _ if global.json => image::print_json(global, &name.lsu, id)?,
        _ if global.quiet => {}
        _ => {
            let seconds = started.elapsed().as_secs_f64();
            let path = args.file.display();
            let size = format!("{} ({size} bytes)", human_size(size));
            let image = full_name(&name.lsu, &name.basename, id.date);
            line(&format!("restored {image} to {path}, {size} in {seconds:.1} s"))?;
        }
    }

    Ok(ExitCode::SUCCESS)
}

/// Where the bytes go.
enum Target {
    Stdout,
    /// An existing device or pipe.
    Direct(PathBuf),
    /// A new file.
    New(PathBuf),
    /// An existing file, replaced by one of the same owner and mode.
    Replaced(PathBuf, Metadata),
}

impl Target {
    fn choose(path: &Path, force: bool) -> Result<Self, String> {
        if path == Path::new("-") {
            return Ok(Self::Stdout);
        }
        let open = |error: io::Error| format!("open {}: {error}", path.display());
        match std::fs::metadata(path) {
            Ok(found) if is_stdout(&found) => Ok(Self::Stdout),
            Ok(found) if found.is_dir() => Err(format!("{} is a folder; name a file in it", path.display())),
            Ok(found) if !found.is_file() => Ok(Self::Direct(path.into())),
            Ok(_) if !force => Err(format!("{} exists; --force overwrites it", path.display())),
            // A link stays, and leads to the new file.
            Ok(found) => Ok(Self::Replaced(path.canonicalize().map_err(open)?, found)),
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(open(error)),
            _ if path.symlink_metadata().is_ok() => Err(format!(
                "{} is a symbolic link that leads nowhere; remove it, or name the file",
                path.display()
            )),
            _ => Ok(Self::New(path.into())),
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
        write_to(&image, info.size, target, &progress)
    });
    let closed = image.close(0);
    let size = copied.map_err(|error| with_advice(error, lsu, def))?;
    closed?;
    Ok(size)
}

/// An opened image has a record: if its data are missing or damaged, an audit shows what of it is good.
fn with_advice(error: Box<dyn Error>, lsu: &str, def: &Definition) -> Box<dyn Error> {
    match error.downcast_ref::<HostError>() {
        Some(host) if matches!(host.code, STSP_ENOENT | STSP_ECORRUPT) => {
            let text = host_message::text(host);
            let name = escape(&def.basename);
            let audit = format!("`vastost-s3 verify {lsu} --image {name}");
            match host.code {
                STSP_ENOENT => format!("{text}; {audit}` shows what is left").into(),
                _ => format!("{text}; {audit} --deep` names every damaged part").into(),
            }
        }
        _ => error,
    }
}

fn write_to(image: &HostImage, size: u64, target: &Target, progress: &Progress) -> Result<u64, Box<dyn Error>> {
    match target {
        Target::Stdout => {
            // Not io::stdout: it would look for line ends in the image.
            let stdout = io::stdout()
                .as_fd()
                .try_clone_to_owned()
                .map_err(|error| format!("open stdout: {error}"))?;
            let copied = copy(image, size, File::from(stdout), progress, stdout_error);
            let (len, file) = copied.map_err(|error| taken_away(error, size))?;
            stdout_error(settle(&file))?;
            Ok(len)
        }
        Target::Direct(path) => {
            let opened = writer::open(path)?;
            let (len, file) = copy(image, size, named(path, opened)?, progress, |written| {
                named(path, written)
            })?;
            named(path, settle(&file))?;
            Ok(len)
        }
        Target::New(path) | Target::Replaced(path, _) => {
            let draft = named(path, Draft::create(path, FILE_MODE))?;
            if let Target::Replaced(_, before) = target {
                named(path, draft.file().and_then(|file| inherit(file, before)))?;
            }
            interrupt::set_partial(Some(draft.path()));
            let copied = to_file(image, size, path, draft, matches!(target, Target::New(_)), progress);
            interrupt::set_partial(None);
            copied
        }
    }
}

/// Gives a file the owner and the mode of the replaced one, but no setuid or setgid bit.
fn inherit(file: &File, before: &Metadata) -> io::Result<()> {
    file.set_permissions(Permissions::from_mode(before.mode() & 0o777))?;
    // Only root may change an owner; for others the file is theirs, as any new one.
    let _ = fchown(file, Some(before.uid()), Some(before.gid()));
    Ok(())
}

/// Syncs a file or a device; pipes and terminals do not support that.
fn settle(file: &File) -> io::Result<()> {
    match file.sync_all() {
        Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EROFS | libc::ENOTSUP)) => Ok(()),
        other => other,
    }
}

/// True when this is the file behind our stdout under any name: only the image may be written there.
fn is_stdout(found: &Metadata) -> bool {
    let stdout = io::stdout()
        .as_fd()
        .try_clone_to_owned()
        .and_then(|fd| File::from(fd).metadata());
    let place = |metadata: &Metadata| (metadata.dev(), metadata.ino());
    // A terminal may be named as the target, and then shows our messages too.
    !io::stdout().is_terminal() && stdout.is_ok_and(|stdout| place(&stdout) == place(found))
}

/// The reader of stdout ended before the image did.
fn taken_away(error: Box<dyn Error>, size: u64) -> Box<dyn Error> {
    if !error.is::<StdoutClosed>() {
        return error;
    }
    let size = grouped(size);
    Problem(format!(
        "what reads from standard output ended before it had all {size} bytes of the image"
    ))
    .into()
}

fn to_file(
    image: &HostImage,
    size: u64,
    path: &Path,
    draft: Draft,
    is_new: bool,
    progress: &Progress,
) -> Result<u64, Box<dyn Error>> {
    let file = named(path, draft.file().and_then(File::try_clone))?;
    let (copied, _) = copy(image, size, file, progress, |written| named(path, written))?;
    named(path, if is_new { draft.place_new() } else { draft.replace() })?;
    Ok(copied)
}

/// Reads here and writes in a thread, so that Ctrl-C works while a pipe is full.
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
        let Some(mut buffer) = writer.empty_buffer()? else {
            break;
        };
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

fn named<T>(path: &Path, result: io::Result<T>) -> Result<T, Box<dyn Error>> {
    result.map_err(|error| format!("write {}: {error}", path.display()).into())
}
