//! Connections of the server: plain ones, whose large bodies the kernel drops unseen, and TLS.

use std::io::{self, ErrorKind, Read, Write};
use std::mem::MaybeUninit;
use std::net::TcpStream;
use std::sync::Arc;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// `MSG_TRUNC | MSG_WAITALL` of Linux. With MSG_TRUNC TCP frees the bytes in place of copying them, see tcp(7).
const DROP_UNSEEN: i32 = 0x20 | 0x100;
const ROOM: usize = 1 << 20;

pub trait Channel: Read + Write {
    /// Takes `len` bytes off the connection and forgets them.
    fn skip(&mut self, len: u64) -> io::Result<()>;
}

pub struct Plain {
    socket: TcpStream,
    /// Only its length is used.
    room: Box<[MaybeUninit<u8>]>,
}

pub struct Tls {
    stream: StreamOwned<ServerConnection, TcpStream>,
    room: Box<[u8]>,
}

impl Plain {
    pub fn new(socket: TcpStream) -> Self {
        Self {
            socket,
            room: Box::new_uninit_slice(ROOM),
        }
    }
}

impl Tls {
    pub fn new(socket: TcpStream, config: Arc<ServerConfig>) -> io::Result<Self> {
        let connection = ServerConnection::new(config).map_err(io::Error::other)?;
        Ok(Self {
            stream: StreamOwned::new(connection, socket),
            room: vec![0; ROOM].into(),
        })
    }
}

impl Channel for Plain {
    fn skip(&mut self, mut len: u64) -> io::Result<()> {
        let socket = socket2::SockRef::from(&self.socket);
        while len > 0 {
            let wanted = usize::try_from(len).unwrap_or(ROOM).min(ROOM);
            match socket.recv_with_flags(&mut self.room[..wanted], DROP_UNSEEN) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(gone) => len -= gone as u64,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Channel for Tls {
    fn skip(&mut self, mut len: u64) -> io::Result<()> {
        while len > 0 {
            let wanted = usize::try_from(len).unwrap_or(ROOM).min(ROOM);
            match self.stream.read(&mut self.room[..wanted])? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                gone => len -= gone as u64,
            }
        }
        Ok(())
    }
}

impl Read for Plain {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.read(buffer)
    }
}

impl Write for Plain {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Tls {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer)
    }
}

impl Write for Tls {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}
