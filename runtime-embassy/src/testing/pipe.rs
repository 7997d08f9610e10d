//! Streams in memory: both directions bounded, cut into pieces, and breakable.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use embedded_io_async::{ErrorKind, ErrorType, Read, Write};

#[derive(Default)]
struct Half {
    bytes: VecDeque<u8>,
    capacity: usize,
    /// Most bytes that are read or written at once.
    piece: usize,
    ended: bool,
    broken: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Half {
    fn wake(&mut self) {
        self.reader.take().into_iter().chain(self.writer.take()).for_each(Waker::wake);
    }
}

/// One end of one direction.
#[derive(Clone)]
pub(crate) struct End(Rc<RefCell<Half>>);

/// A direction: its reading and its writing end, the same thing.
pub(crate) fn pipe(capacity: usize, piece: usize) -> End {
    End(Rc::new(RefCell::new(Half { capacity, piece, ..Half::default() })))
}

impl End {
    /// Nothing more is written.
    pub(crate) fn end(&self) {
        self.0.borrow_mut().ended = true;
        self.0.borrow_mut().wake();
    }

    /// Reading and writing fail from now on.
    pub(crate) fn cut(&self) {
        self.0.borrow_mut().broken = true;
        self.0.borrow_mut().wake();
    }

    /// Bytes on the way.
    pub(crate) fn len(&self) -> usize {
        self.0.borrow().bytes.len()
    }
}

impl ErrorType for End {
    type Error = ErrorKind;
}

impl Read for End {
    async fn read(&mut self, buf: &mut [u8]) -> Result<usize, ErrorKind> {
        poll_fn(|cx| {
            let mut half = self.0.borrow_mut();
            if half.broken {
                return Poll::Ready(Err(ErrorKind::ConnectionReset));
            }
            let n = half.bytes.len().min(buf.len()).min(half.piece);
            if n == 0 && !half.ended {
                half.reader = Some(cx.waker().clone());
                return Poll::Pending;
            }
            buf.iter_mut().zip(half.bytes.drain(..n)).for_each(|(to, byte)| *to = byte);
            half.wake();
            Poll::Ready(Ok(n))
        })
        .await
    }
}

impl Write for End {
    async fn write(&mut self, buf: &[u8]) -> Result<usize, ErrorKind> {
        poll_fn(|cx| {
            let mut half = self.0.borrow_mut();
            if half.broken {
                return Poll::Ready(Err(ErrorKind::BrokenPipe));
            }
            let n = (half.capacity - half.bytes.len()).min(buf.len()).min(half.piece);
            if n == 0 {
                half.writer = Some(cx.waker().clone());
                return Poll::Pending;
            }
            half.bytes.extend(&buf[..n]);
            half.wake();
            Poll::Ready(Ok(n))
        })
        .await
    }

    /// Ready when the peer has read everything, as with a stream whose flush waits for the peer.
    async fn flush(&mut self) -> Result<(), ErrorKind> {
        poll_fn(|cx| {
            let mut half = self.0.borrow_mut();
            if half.broken {
                return Poll::Ready(Err(ErrorKind::BrokenPipe));
            }
            if half.bytes.is_empty() {
                return Poll::Ready(Ok(()));
            }
            half.writer = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }
}
