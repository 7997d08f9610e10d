//! A TCP stream of async-io whose half can be ended.

use std::{
    io,
    net::{Shutdown, TcpStream},
    pin::Pin,
    task::{Context, Poll},
};

use adit::host;
use async_io::Async;
use futures_lite::io::{AsyncRead, AsyncWrite};
use socket2::SockRef;

/// A TCP stream. Ending it ends this side's half and leaves the other one open, which async-io's own does not. A link over another stream
/// needs [`host::Stream`] for a type of yours.
#[derive(Debug)]
pub struct Stream(Async<TcpStream>);

impl Stream {
    /// A stream with `TCP_NODELAY` and keep-alive set: frames are small and matter at once, and a peer that vanished should be
    /// noticed.
    pub fn new(stream: Async<TcpStream>) -> io::Result<Self> {
        stream.get_ref().set_nodelay(true)?;
        SockRef::from(stream.get_ref()).set_keepalive(true)?;
        Ok(Self(stream))
    }

    /// The system's stream, to look at its options.
    #[must_use]
    pub fn get_ref(&self) -> &TcpStream {
        self.0.get_ref()
    }

    /// Async-io's stream, for other uses than a link.
    #[must_use]
    pub fn into_inner(self) -> Async<TcpStream> {
        self.0
    }
}

impl host::Stream for Stream {
    fn poll_read(&mut self, cx: &mut Context<'_>, space: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_read(cx, space)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_close(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.0.get_ref().shutdown(Shutdown::Write))
    }
}
