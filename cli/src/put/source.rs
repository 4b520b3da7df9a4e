//! Where the bytes of an image come from: a file, standard input, or a command that this program starts.
//!
//! An image is stored only when its source was whole. A command must end with exit status 0; a file must be the same
//! after it was read as it was before; a source of unknown size must bring at least one byte, unless an
//! empty image is wanted. A thread reads ahead, so that Ctrl-C works while the source stalls.
//! A command that is no longer needed is ended with all its descendants.

use std::error::Error;
use std::fs::{File, Metadata};
use std::io::{self, Read, Seek};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::descendants;
use super::descendants::Process;
use crate::args::Put;
use crate::output::{counted, grouped};
use crate::{Problem, interrupt};

/// Bytes of one write call, as bptm makes them.
const BUFFER_BYTES: u64 = 256 << 10;
/// Buffers between the reader and us.
const BUFFERS_AHEAD: usize = 4;
/// How long Ctrl-C may wait for a source that brings nothing.
const POLL: Duration = Duration::from_millis(100);
/// How often a command that has closed its output is polled.
const EXIT_POLL: Duration = Duration::from_millis(5);
/// How long a command that is no longer needed may take to end before it is killed.
const END_WAIT: Duration = Duration::from_secs(2);

/// What the reading thread sends: buffers, or the error that ends them. An empty one is the end.
type Buffers = Receiver<Result<Vec<u8>, String>>;

/// A source that was opened, or a command that is not started yet.
pub enum Source {
    File(Input),
    Command(Vec<std::ffi::OsString>),
}

/// An open file, device or pipe.
pub struct Input {
    file: File,
    name: String,
    /// How a regular file was before it was read, and where reading began.
    before: Option<(Metadata, u64)>,
    /// Its size is unknown: standard input, a pipe.
    is_unmeasured: bool,
}

/// A source that is being read.
pub struct Reading {
    buffers: Buffers,
    name: String,
    command: Option<Child>,
    before: Option<(Metadata, u64)>,
    /// The file again, to compare after it was read.
    again: Option<File>,
    is_unmeasured: bool,
}

impl Source {
    /// Opens the file; a command is started by [`Source::start`], once the image exists.
    pub fn open(file: &Path, command: &[std::ffi::OsString]) -> Result<Self, Box<dyn Error>> {
        if !command.is_empty() {
            return Ok(Self::Command(command.to_vec()));
        }
        let is_stdin = file == Path::new("-");
        let name = if is_stdin {
            "standard input".to_owned()
        } else {
            file.display().to_string()
        };
        let wrong = |error: io::Error| format!("open {name}: {error}");
        let mut opened = if is_stdin {
            File::from(io::stdin().as_fd().try_clone_to_owned().map_err(wrong)?)
        } else {
            File::open(file).map_err(wrong)?
        };
        let metadata = opened.metadata().map_err(wrong)?;
        let kind = metadata.file_type();
        if kind.is_dir() {
            return Err(format!("{name} is a folder; an image is one file, or - for standard input").into());
        }
        // /dev/null was named on purpose; /dev/stdin may lead there by accident.
        let is_unmeasured = is_stdin || (!kind.is_file() && file != Path::new("/dev/null"));
        let before = if kind.is_file() {
            Some((metadata, opened.stream_position().map_err(wrong)?))
        } else {
            None
        };
        Ok(Self::File(Input {
            file: opened,
            name,
            before,
            is_unmeasured,
        }))
    }

    /// The number of bytes to read, if known.
    pub fn total(&self) -> Option<u64> {
        match self {
            Self::File(Input {
                before: Some((metadata, from)),
                ..
            }) => Some(metadata.len().saturating_sub(*from)),
            _ => None,
        }
    }

    /// Begins to read.
    pub fn start(self) -> Result<Reading, Box<dyn Error>> {
        match self {
            Self::File(Input {
                file,
                name,
                before,
                is_unmeasured,
            }) => {
                let again = before.as_ref().map(|_| file.try_clone()).transpose();
                let again = again.map_err(|error| format!("open {name}: {error}"))?;
                let buffers = read_ahead(file, &name)?;
                Ok(Reading {
                    buffers,
                    name,
                    command: None,
                    before,
                    again,
                    is_unmeasured,
                })
            }
            Self::Command(words) => {
                let name = words
                    .iter()
                    .map(|word| word.to_string_lossy())
                    .collect::<Vec<_>>()
                    .join(" ");
                let (program, arguments) = words.split_first().ok_or("no command is named after --")?;
                let mut command = Command::new(program);
                let started = command.args(arguments).stdout(Stdio::piped()).spawn();
                let mut child = started.map_err(|error| format!("run `{}`: {error}", program.to_string_lossy()))?;
                let output = child
                    .stdout
                    .take()
                    .ok_or_else(|| "the command has no output to read".into());
                match output.and_then(|output| read_ahead(output, &name)) {
                    // From here on dropping this value always ends the command.
                    Ok(buffers) => {
                        let before = None;
                        let again = None;
                        Ok(Reading {
                            buffers,
                            name,
                            command: Some(child),
                            before,
                            again,
                            is_unmeasured: true,
                        })
                    }
                    Err(error) => {
                        end(&mut child);
                        Err(error)
                    }
                }
            }
        }
    }
}

impl Reading {
    /// The next bytes; empty at the end.
    pub fn next_buffer(&self) -> Result<Vec<u8>, Box<dyn Error>> {
        loop {
            interrupt::check()?;
            match self.buffers.recv_timeout(POLL) {
                Ok(buffer) => return Ok(buffer?),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err("the thread that reads has ended".into()),
            }
        }
    }

    /// Checks after the last of `size` bytes that the source was whole.
    pub fn confirm(mut self, size: u64, args: &Put) -> Result<(), Box<dyn Error>> {
        if let Some(child) = &mut self.command {
            let status = wait(child)?;
            self.command = None;
            if !status.success() {
                let how = describe(status);
                return problem(format!(
                    "`{}` {how}, so what it printed is not an image; nothing was stored",
                    self.name
                ));
            }
        }

        self.same_as_before(size)?;
        let name = if self.is_unmeasured && size == 0 {
            &self.name
        } else {
            ""
        };
        if !name.is_empty() && !args.allow_empty {
            return problem(format!(
                "{name} brought no bytes; nothing was stored (--allow-empty stores an empty image)"
            ));
        }
        match args.min_size {
            Some(least) if size < least => {
                let bytes = counted(size, "byte");
                let least = grouped(least);
                problem(format!(
                    "{} brought {bytes}, --min-size asks for {least}; nothing was stored",
                    self.name
                ))
            }
            _ => Ok(()),
        }
    }

    /// A file that changed while it was read is neither the old one nor the new one.
    fn same_as_before(&self, size: u64) -> Result<(), Box<dyn Error>> {
        let (Some((before, from)), Some(file)) = (&self.before, &self.again) else {
            return Ok(());
        };
        let name = &self.name;
        let now = file
            .metadata()
            .map_err(|error| format!("look at {name} again: {error}"))?;
        let expected = before.len().saturating_sub(*from);
        let times = |metadata: &Metadata| (metadata.mtime(), metadata.mtime_nsec());
        let what = if size != expected || now.len() != before.len() {
            let was = grouped(expected);
            let read = grouped(size);
            let is = grouped(now.len().saturating_sub(*from));
            format!("it had {was} bytes, {read} were read, and it has {is} now")
        } else if times(&now) != times(before) {
            "it was written to".to_owned()
        } else {
            return Ok(());
        };

        problem(format!(
            "{name} changed while it was read: {what}; nothing was stored, so put a copy or a snapshot of it"
        ))
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        if let Some(child) = &mut self.command {
            end(child);
        }
    }
}

fn problem(text: String) -> Result<(), Box<dyn Error>> {
    Err(Problem(text).into())
}

fn read_ahead(mut source: impl Read + Send + 'static, name: &str) -> Result<Buffers, Box<dyn Error>> {
    let (sender, receiver) = sync_channel(BUFFERS_AHEAD);
    let name = name.to_owned();
    let body = move || {
        loop {
            let mut buffer = Vec::with_capacity(usize::try_from(BUFFER_BYTES).unwrap_or_default());
            let read = source.by_ref().take(BUFFER_BYTES).read_to_end(&mut buffer);
            let last = !matches!(read, Ok(len) if len > 0);
            let message = read.map(|_| buffer).map_err(|error| format!("read {name}: {error}"));
            if sender.send(message).is_err() || last {
                break;
            }
        }
    };
    std::thread::Builder::new().name("vastost-read".into()).spawn(body)?;
    Ok(receiver)
}

/// The exit status of a command whose output has ended; it may have more to do.
fn wait(child: &mut Child) -> Result<ExitStatus, Box<dyn Error>> {
    loop {
        interrupt::check()?;
        match child
            .try_wait()
            .map_err(|error| format!("wait for the command: {error}"))?
        {
            Some(status) => return Ok(status),
            None => std::thread::sleep(EXIT_POLL),
        }
    }
}

/// Ends a command that is no longer needed with all its descendants, and waits for them. It is in our
/// process group, so that it can ask for a password at the terminal; therefore each process gets a signal of its own.
fn end(child: &mut Child) {
    // Not reaped yet, so the number is still its own.
    let own = i32::try_from(child.id())
        .ok()
        .filter(|_| matches!(child.try_wait(), Ok(None)));
    let mut below = own.map(descendants::of).unwrap_or_default();
    if let Some(pid) = own {
        let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
    }
    below.iter().for_each(|process| process.send(Signal::SIGTERM));

    await_end(child, &mut below);

    // Processes that they have started since belong to them.
    let parents = own
        .filter(|_| matches!(child.try_wait(), Ok(None)))
        .into_iter()
        .chain(below.iter().map(Process::pid));
    let later: Vec<_> = parents.flat_map(descendants::of).collect();
    let _ = child.kill();
    below.extend(later);
    below.iter().for_each(|process| process.send(Signal::SIGKILL));
    await_end(child, &mut below);
    let _ = child.wait();
}

/// Gives a command and the processes below it a while to end.
fn await_end(child: &mut Child, below: &mut Vec<Process>) {
    let asked = Instant::now();
    while asked.elapsed() < END_WAIT {
        below.retain(Process::is_alive);
        if below.is_empty() && !matches!(child.try_wait(), Ok(None)) {
            break;
        }
        std::thread::sleep(EXIT_POLL);
    }
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with exit status {code}"),
        (None, Some(number)) => {
            let name = Signal::try_from(number).map_or_else(|_| String::new(), |signal| format!(" ({signal})"));
            format!("was killed by signal {number}{name}")
        }
        (None, None) => "did not end with exit status 0".to_owned(),
    }
}
