//! A TCP stream of async-io whose half can be ended.

use std::{
    io::{self, Read},
    net::{Shutdown, TcpStream},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::AcqRel, Ordering::Release},
    },
    task::{Context, Poll, Wake, Waker, ready},
};

use adit::host;
use async_io::Async;
use atomic_waker::AtomicWaker;
use futures_lite::io::AsyncWrite;
use socket2::SockRef;

/// A TCP stream. Ending it ends this side's half and leaves the other one open, which async-io's own does not. A link over another stream
/// needs [`host::Stream`] for a type of yours.
///
/// It asks the system for bytes only where there may be some: async-io's own tries a read at each poll, and a server's task is polled
/// for many other reasons.
#[derive(Debug)]
pub struct Stream {
    socket: Async<TcpStream>,
    /// All that had arrived was read: what comes next is told.
    drained: bool,
    arrival: Arc<Arrival>,
    /// Tells `arrival`; made once.
    waker: Waker,
}

/// That something has arrived, or the end.
#[derive(Debug, Default)]
struct Arrival {
    told: AtomicBool,
    reader: AtomicWaker,
}

impl Arrival {
    fn take(&self) -> bool {
        self.told.swap(false, AcqRel)
    }
}

impl Wake for Arrival {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.told.store(true, Release);
        self.reader.wake();
    }
}

impl Stream {
    /// A stream with `TCP_NODELAY` and keep-alive set: frames are small and matter at once, and a peer that vanished should be
    /// noticed.
    pub fn new(stream: Async<TcpStream>) -> io::Result<Self> {
        stream.get_ref().set_nodelay(true)?;
        SockRef::from(stream.get_ref()).set_keepalive(true)?;
        let arrival = Arc::<Arrival>::default();
        let waker = Waker::from(Arc::clone(&arrival));
        Ok(Self { socket: stream, drained: false, arrival, waker })
    }

    /// Waits until something may have arrived since all was read.
    fn poll_arrival(&self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        if self.arrival.take() {
            return Poll::Ready(Ok(()));
        }
        self.arrival.reader.register(cx.waker());
        // Ready is what was told of before: what comes from now on goes through the waker.
        while let Poll::Ready(known) = self.socket.poll_readable(&mut Context::from_waker(&self.waker)) {
            known?;
        }
        if self.arrival.take() { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    /// The system's stream, to look at its options.
    #[must_use]
    pub fn get_ref(&self) -> &TcpStream {
        self.socket.get_ref()
    }

    /// Async-io's stream, for other uses than a link.
    #[must_use]
    pub fn into_inner(self) -> Async<TcpStream> {
        self.socket
    }
}

impl host::Stream for Stream {
    fn poll_read(&mut self, cx: &mut Context<'_>, space: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.poll_readable(cx))?;
            match self.socket.get_ref().read(space) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.drained = true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => {
                    // Less than there is room for is all there was. The end stays.
                    self.drained = matches!(read, Ok(1..)) && read.as_ref().is_ok_and(|read| *read < space.len());
                    return Poll::Ready(read);
                }
            }
        }
    }

    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.drained {
            ready!(self.poll_arrival(cx))?;
            self.drained = false;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn look(&mut self) {
        self.drained = false;
    }

    fn poll_close(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.socket.get_ref().shutdown(Shutdown::Write))
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, io::Write, net::TcpListener};

    use futures_lite::future::poll_once;
    use host::Stream as _;

    use super::*;

    fn pair() -> (Stream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let far = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (Stream::new(Async::new(listener.accept().unwrap().0).unwrap()).unwrap(), far)
    }

    async fn read(stream: &mut Stream, space: &mut [u8]) -> io::Result<usize> {
        poll_fn(|cx| stream.poll_read(cx, space)).await
    }

    #[test]
    fn what_comes_after_all_was_read_is_noticed_each_time_and_so_is_the_end() {
        async_io::block_on(async {
            let (mut near, mut far) = pair();
            let mut space = [0; 8];
            assert!(poll_once(read(&mut near, &mut space)).await.is_none());
            for n in 1..=100 {
                far.write_all(&[n; 3]).unwrap();
                assert_eq!(read(&mut near, &mut space).await.unwrap(), 3);
                assert_eq!(space[..3], [n; 3]);
                if n % 3 == 0 {
                    assert!(poll_once(read(&mut near, &mut space)).await.is_none(), "all was read");
                }
            }
            far.write_all(&[7; 12]).unwrap();
            drop(far);
            assert_eq!(read(&mut near, &mut space).await.unwrap(), 8);
            assert_eq!(read(&mut near, &mut space).await.unwrap(), 4);
            assert_eq!(read(&mut near, &mut space).await.unwrap(), 0);
            assert_eq!(read(&mut near, &mut space).await.unwrap(), 0, "the end stays");
        });
    }

    #[test]
    fn that_there_is_something_to_read_is_known_without_reading_it() {
        async_io::block_on(async {
            let (mut near, mut far) = pair();
            let mut space = [0; 8];
            assert!(poll_once(read(&mut near, &mut space)).await.is_none());
            assert!(poll_once(poll_fn(|cx| near.poll_readable(cx))).await.is_none());
            far.write_all(&[7; 3]).unwrap();
            poll_fn(|cx| near.poll_readable(cx)).await.unwrap();
            assert_eq!(read(&mut near, &mut space).await.unwrap(), 3);
            assert!(poll_once(poll_fn(|cx| near.poll_readable(cx))).await.is_none());
            drop(far);
            poll_fn(|cx| near.poll_readable(cx)).await.unwrap();
            assert_eq!(read(&mut near, &mut space).await.unwrap(), 0);
        });
    }

    #[test]
    fn who_reads_last_is_woken() {
        let (mut near, mut far) = pair();
        let mut space = [0; 8];
        // On another task, which is gone.
        assert!(async_io::block_on(poll_once(read(&mut near, &mut space))).is_none());
        async_io::block_on(async {
            let write = async {
                assert!(poll_once(std::future::pending::<()>()).await.is_none());
                far.write_all(&[1; 2]).unwrap();
            };
            let (read, ()) = futures_lite::future::zip(read(&mut near, &mut space), write).await;
            assert_eq!(read.unwrap(), 2);
        });
    }
}
