//! One HTTP/1.1 connection: hyper speaks on it, and a large body can be read past hyper.
//!
//! hyper receives into buffers of its own, from which every byte of a body would be copied once more. A large body is
//! read off the stream instead: hyper gives it up with what it has read already ([`Line::give_up`]), and after the body's
//! last byte speaks on it anew ([`Line::open`]).

use std::io;

use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use futures::future::{Either, select};
use hyper::client::conn::http1::{self, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

/// Plain or TLS.
pub type Stream = Box<dyn Duplex>;

pub trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

/// A connection that is ready for requests. Dropped, it is closed at once, whatever was under way: a body that a frozen
/// node does not take must not keep its buffer.
pub struct Line {
    pub sender: SendRequest<SdkBody>,
    give_up: Option<oneshot::Sender<oneshot::Sender<Rest>>>,
    task: AbortHandle,
}

/// What hyper gave up: the stream, and what it had read of it and not yet handed out.
pub struct Rest {
    pub stream: Stream,
    pub read: Bytes,
}

impl Line {
    /// Begins to speak HTTP on the stream; sends nothing.
    pub async fn open(stream: Stream) -> io::Result<Self> {
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        let (give_up, asked) = oneshot::channel();
        let task = tokio::spawn(drive(connection, asked)).abort_handle();
        Ok(Self {
            sender,
            give_up: Some(give_up),
            task,
        })
    }

    /// Takes the stream away from hyper; None when the connection has ended. Frames that hyper has handed out before are
    /// still to be had from the answer's body, which ends behind them.
    pub async fn give_up(mut self) -> Option<Rest> {
        let (to, rest) = oneshot::channel();
        self.give_up.take()?.send(to).ok()?;
        rest.await.ok()
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Ends with the connection, whose error reaches the request that was on it, or when its stream is asked for.
async fn drive(mut connection: Connection<TokioIo<Stream>, SdkBody>, asked: oneshot::Receiver<oneshot::Sender<Rest>>) {
    match select(&mut connection, asked).await {
        Either::Left(_) => {}
        Either::Right((Ok(to), _)) => {
            let parts = connection.into_parts();
            let _ = to.send(Rest {
                stream: parts.io.into_inner(),
                read: parts.read_buf,
            });
        }
        // Let go: the task is being ended.
        Either::Right((Err(_), _)) => {}
    }
}
