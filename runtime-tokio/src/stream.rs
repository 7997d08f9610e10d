//! Tokio's streams as the core's host polls them.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use adit::host;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// A stream of tokio's: any, for a link of your own; a TCP stream where this crate connects and accepts.
#[derive(Debug)]
pub struct Stream<T = TcpStream>(T);

impl<T> Stream<T> {
    /// A stream as it is.
    #[must_use]
    pub fn new(stream: T) -> Self {
        Self(stream)
    }

    /// Tokio's stream, to look at its options.
    #[must_use]
    pub fn get_ref(&self) -> &T {
        &self.0
    }

    /// Tokio's stream, for other uses than a link.
    #[must_use]
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> host::Stream for Stream<T> {
    fn poll_read(&mut self, cx: &mut Context<'_>, space: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut space = ReadBuf::new(space);
        let read = ready!(Pin::new(&mut self.0).poll_read(cx, &mut space));
        Poll::Ready(read.map(|()| space.filled().len()))
    }

    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Of a socket this asks the system only where tokio was told that there is something. Other streams may say so always.
        Pin::new(&mut self.0).poll_read(cx, &mut ReadBuf::new(&mut []))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use host::Stream as _;
    use tokio::{io::AsyncWriteExt, net::TcpListener};

    use super::*;

    async fn is_readable(stream: &mut Stream) -> bool {
        poll_fn(|cx| Poll::Ready(stream.poll_readable(cx).map(Result::unwrap).is_ready())).await
    }

    #[tokio::test]
    async fn that_there_is_something_to_read_is_known_without_reading_it() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut far = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut near = Stream::new(listener.accept().await.unwrap().0);
        let mut space = [0; 8];
        assert!(poll_fn(|cx| Poll::Ready(near.poll_read(cx, &mut space).is_pending())).await);
        assert!(!is_readable(&mut near).await);
        far.write_all(&[7; 3]).await.unwrap();
        poll_fn(|cx| near.poll_readable(cx)).await.unwrap();
        assert_eq!(poll_fn(|cx| near.poll_read(cx, &mut space)).await.unwrap(), 3);
        assert!(!is_readable(&mut near).await);
        far.shutdown().await.unwrap();
        poll_fn(|cx| near.poll_readable(cx)).await.unwrap();
        assert_eq!(poll_fn(|cx| near.poll_read(cx, &mut space)).await.unwrap(), 0);
    }
}
