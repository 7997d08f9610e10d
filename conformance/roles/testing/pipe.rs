//! Two ends of a stream in memory, and streams read and written without a link.

use std::{
    collections::VecDeque,
    future::poll_fn,
    io,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, Waker},
};

use adit::host::Stream;

/// One way.
#[derive(Debug)]
struct Pipe {
    bytes: VecDeque<u8>,
    capacity: usize,
    /// Nothing more is written.
    ended: bool,
    /// Nobody reads any more.
    gone: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// One end.
#[derive(Debug)]
pub(crate) struct Duplex {
    from: Arc<Mutex<Pipe>>,
    to: Arc<Mutex<Pipe>>,
}

/// Both ends, with room for so many bytes in either direction.
pub(crate) fn duplex(capacity: usize) -> (Duplex, Duplex) {
    let pipe = || {
        let bytes = VecDeque::with_capacity(capacity);
        Arc::new(Mutex::new(Pipe { bytes, capacity, ended: false, gone: false, reader: None, writer: None }))
    };
    let (a, b) = (pipe(), pipe());
    (Duplex { from: Arc::clone(&a), to: Arc::clone(&b) }, Duplex { from: b, to: a })
}

fn lock(pipe: &Mutex<Pipe>) -> MutexGuard<'_, Pipe> {
    pipe.lock().expect("no panic under this lock")
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

impl Duplex {
    fn end(&self) {
        let mut to = lock(&self.to);
        to.ended = true;
        wake(&mut to.reader);
    }
}

impl Stream for Duplex {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut from = lock(&self.from);
        if from.bytes.is_empty() && !from.ended {
            from.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let read = buf.len().min(from.bytes.len());
        for (to, byte) in buf.iter_mut().zip(from.bytes.drain(..read)) {
            *to = byte;
        }
        wake(&mut from.writer);
        Poll::Ready(Ok(read))
    }

    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut from = lock(&self.from);
        if from.bytes.is_empty() && !from.ended {
            from.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let mut to = lock(&self.to);
        if to.gone || to.ended {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let written = buf.len().min(to.capacity - to.bytes.len());
        if written == 0 && !buf.is_empty() {
            to.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        to.bytes.extend(&buf[..written]);
        wake(&mut to.reader);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.end();
        Poll::Ready(Ok(()))
    }
}

impl Drop for Duplex {
    fn drop(&mut self) {
        self.end();
        let mut from = lock(&self.from);
        from.gone = true;
        wake(&mut from.writer);
    }
}

/// Writes all of it.
pub(crate) async fn write_all(stream: &mut impl Stream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match poll_fn(|cx| stream.poll_write(cx, bytes)).await? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            written => bytes = &bytes[written..],
        }
    }
    Ok(())
}

/// Reads something; 0 at the end.
pub(crate) async fn read(stream: &mut impl Stream, space: &mut [u8]) -> io::Result<usize> {
    poll_fn(|cx| stream.poll_read(cx, space)).await
}
