//! HTTP/1.1 on a blocking socket: heads and framed bodies, byte for byte.

use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How often a waiting thread looks whether the proxy has been dropped.
const LOOK: Duration = Duration::from_millis(50);
const HEAD_MAX: usize = 64 << 10;

/// Where a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    Length(u64),
    Chunked,
    UntilClose,
}

/// Gets each piece of a body; data come with their offset in the body, framing bytes with none.
pub type Each<'a> = &'a mut dyn FnMut(&mut [u8], Option<u64>) -> Result<()>;

pub struct Wire {
    stream: TcpStream,
    /// Read and not yet used.
    buffer: Vec<u8>,
    stop: Arc<AtomicBool>,
}

impl Wire {
    pub fn new(stream: TcpStream, stop: &Arc<AtomicBool>) -> Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LOOK))?;
        Ok(Self {
            stream,
            buffer: Vec::new(),
            stop: Arc::clone(stop),
        })
    }

    /// A connection of its own to the same server as ever.
    pub fn dial(&self, address: &str) -> Result<Self> {
        Self::new(TcpStream::connect(address)?, &self.stop)
    }

    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes)
    }

    /// The next head with its empty line; None when the connection ends before it.
    pub fn head(&mut self) -> Result<Option<Vec<u8>>> {
        loop {
            if let Some(end) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                return Ok(Some(self.buffer.drain(..end + 4).collect()));
            }
            if self.buffer.len() > HEAD_MAX {
                return Err(ErrorKind::InvalidData.into());
            }
            match self.more() {
                Ok(0) if self.buffer.is_empty() => return Ok(None),
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                other => other?,
            };
        }
    }

    /// Hands on a body piece by piece.
    pub fn body(&mut self, framing: Framing, each: Each<'_>) -> Result<()> {
        match framing {
            Framing::Length(length) => self.data(length, &mut 0, each),
            Framing::Chunked => self.chunks(each),
            Framing::UntilClose => {
                let mut offset = 0;
                while !self.buffer.is_empty() || self.more()? > 0 {
                    let length = self.buffer.len() as u64;
                    self.data(length, &mut offset, each)?;
                }
                Ok(())
            }
        }
    }

    fn chunks(&mut self, each: Each<'_>) -> Result<()> {
        let mut offset = 0;
        loop {
            let mut line = self.line()?;
            let text = String::from_utf8_lossy(&line).into_owned();
            let size = u64::from_str_radix(text.split(';').next().unwrap_or_default().trim(), 16);
            let size = size.map_err(|_| Error::from(ErrorKind::InvalidData))?;
            each(&mut line, None)?;
            if size > 0 {
                self.data(size, &mut offset, each)?;
                each(&mut self.line()?, None)?;
                continue;
            }
            // Trailers, up to the empty line.
            loop {
                let mut line = self.line()?;
                each(&mut line, None)?;
                if line == b"\r\n" {
                    return Ok(());
                }
            }
        }
    }

    fn data(&mut self, mut length: u64, offset: &mut u64, each: Each<'_>) -> Result<()> {
        while length > 0 {
            if self.buffer.is_empty() && self.more()? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            let take = usize::try_from(length).unwrap_or(usize::MAX).min(self.buffer.len());
            let mut piece: Vec<u8> = self.buffer.drain(..take).collect();
            each(&mut piece, Some(*offset))?;
            *offset += take as u64;
            length -= take as u64;
        }
        Ok(())
    }

    fn line(&mut self) -> Result<Vec<u8>> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|window| window == b"\r\n") {
                return Ok(self.buffer.drain(..end + 2).collect());
            }
            if self.buffer.len() > HEAD_MAX || self.more()? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Waits for bytes; 0 at the end of the connection.
    fn more(&mut self) -> Result<usize> {
        let mut bytes = [0; 64 << 10];
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return Err(ErrorKind::ConnectionAborted.into());
            }
            match self.stream.read(&mut bytes) {
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
                Ok(read) => {
                    self.buffer.extend_from_slice(&bytes[..read]);
                    return Ok(read);
                }
            }
        }
    }

    /// Waits until the other side has closed or the proxy is dropped.
    pub fn wait_for_end(mut self) {
        while self.more().is_ok_and(|read| read > 0) {}
    }

    /// Ends the connection with RST in place of FIN.
    pub fn reset(self) {
        let _ = socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }
}

/// The value of a header, in lower case.
pub fn header(head: &[u8], name: &str) -> Option<String> {
    let text = String::from_utf8_lossy(head).to_ascii_lowercase();
    let line = text
        .split("\r\n")
        .skip(1)
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::trim));
    line.map(str::to_owned)
}

pub fn framing_of_request(head: &[u8]) -> Framing {
    match header(head, "transfer-encoding") {
        Some(coding) if coding.ends_with("chunked") => Framing::Chunked,
        _ => Framing::Length(
            header(head, "content-length")
                .and_then(|text| text.parse().ok())
                .unwrap_or(0),
        ),
    }
}

/// The answer to a HEAD and those with some statuses have no body, whatever they announce: RFC 9112, 6.3.
pub fn framing_of_answer(head: &[u8], method: &str) -> Framing {
    let status = status(head);
    if method == "HEAD" || status == 204 || status == 304 || status < 200 {
        return Framing::Length(0);
    }
    match (header(head, "transfer-encoding"), header(head, "content-length")) {
        (Some(coding), _) if coding.ends_with("chunked") => Framing::Chunked,
        (_, Some(length)) => Framing::Length(length.parse().unwrap_or(0)),
        _ => Framing::UntilClose,
    }
}

pub fn status(head: &[u8]) -> u16 {
    let text = String::from_utf8_lossy(head);
    text.split(' ')
        .nth(1)
        .and_then(|status| status.get(..3)?.parse().ok())
        .unwrap_or(0)
}
