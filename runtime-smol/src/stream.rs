//! A TCP stream of async-io whose half can be ended.

use std::{
    io,
    net::{Shutdown, TcpStream},
    pin::Pin,
    task::{Context, Poll},
};

use async_io::Async;
use futures_lite::io::{AsyncRead, AsyncWrite};
use socket2::SockRef;

/// A TCP stream. Ending it (`poll_close`) ends this side's half and leaves the other one open, which async-io's own does not.
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
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.0.get_ref().shutdown(Shutdown::Write))
    }
}
