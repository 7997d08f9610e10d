//! One connection of the core over a reader and a writer.
//!
//! A [`Link`] polls the stream and a timer as the core's [link](adit::link) says. What a frame means is its owner's business, and so is
//! ending the stream.

#[cfg(test)]
mod tests;

use core::fmt;
use core::future::{Future, poll_fn};
use core::pin::pin;
use core::task::{Context, Poll};

use adit::connection::{Answerable, Connection, Endpoint, Outbound, Token};
use adit::crypto::Provider;
pub use adit::link::{Limits as LinkSettings, Stall, Turn};
use adit::link::{Link as Machine, LinkCause, Outgoing, Step};
use adit::protocol::Protocol;
use adit::session::Session;
use adit::time::UnixTime;
use embedded_io_async::{Error as _, ErrorKind, Read, Write};

use crate::clock::{now, poll_due};

/// Why a link failed.
pub type LinkError = LinkCause<ErrorKind>;

/// What a wait ended with: one of these, or several at once.
pub(crate) struct Done {
    read: Poll<Result<usize, ErrorKind>>,
    /// Bytes that were written; none of a flush.
    written: Poll<Result<usize, ErrorKind>>,
    /// The owner has something to do, or the time has come.
    pub(crate) asked: bool,
}

impl Default for Done {
    /// Nothing yet.
    fn default() -> Self {
        Self { read: Poll::Pending, written: Poll::Pending, asked: false }
    }
}

/// One connection over one stream. `I` and `O` are the storage of its buffers, arrays or slices, of at least
/// [`DEVICE_INPUT`](adit::config::DEVICE_INPUT) and [`DEVICE_OUTPUT`](adit::config::DEVICE_OUTPUT) bytes for a device.
///
/// Call [`next`](Self::next) until it says [`Turn::Closed`] or fails. For an event call [`event`](Self::event), handle it and answer through the
/// outbound half that comes with it. To send something unasked call [`outbound`](Self::outbound). To end call [`close`](Self::close) and go on
/// calling `next`.
///
/// Answers are written when nothing whole is left to handle, so a burst of frames is answered with one write.
pub struct Link<S: Endpoint, Pr: Protocol, P: Provider, I, O, R, W> {
    pub(crate) machine: Machine<S, Pr, P, I, O, LinkSettings>,
    reader: R,
    writer: W,
    /// For the certificate.
    pub(crate) wall: UnixTime,
}

impl<S, Pr, P, I, O, R, W> Link<S, Pr, P, I, O, R, W>
where
    S: Endpoint,
    Pr: Protocol,
    P: Provider,
    I: AsRef<[u8]> + AsMut<[u8]>,
    O: AsRef<[u8]> + AsMut<[u8]>,
    R: Read,
    W: Write,
{
    /// Joins a session and a stream. `wall` is looked at when a certificate is checked, which is seconds later at most.
    pub fn new(session: Session<S, Pr, I, O, P>, wall: UnixTime, reader: R, writer: W, settings: LinkSettings) -> Self {
        Self { machine: Machine::new(session, settings, now()), reader, writer, wall }
    }

    /// The connection, to ask it how it is.
    #[must_use]
    pub const fn connection(&self) -> &Connection<S, Pr, P> {
        self.machine.connection()
    }

    /// The event that `next` announced, and the way to answer it. The event borrows from the input buffer; the next call of
    /// `next` takes it back.
    #[inline]
    pub fn event(&mut self, token: Token) -> Result<Answerable<'_, S, Pr>, LinkError> {
        Ok(self.machine.event(token)?)
    }

    /// The way to send something unasked. `None` while what waits leaves room for answers only; [`Turn::Room`] comes when it has left.
    pub fn outbound(&mut self) -> Option<Outbound<'_, S, Pr>> {
        self.machine.outbound()
    }

    /// Asks for [`Turn::Room`] when all that waits has left.
    pub fn want_room(&mut self) {
        self.machine.want_room();
    }

    /// Ends the connection in order: nothing more is sent after what waits. `next` says [`Turn::Closed`] when that has left.
    pub fn close(&mut self) {
        self.machine.close();
    }

    /// Waits for what the owner must do next, moving bytes both ways meanwhile.
    ///
    /// Cancel-safe, if the reader's and the writer's futures have no effect before they are ready: all state is in the link, so the future may be
    /// dropped at any await and called anew. After an error the link is good for nothing but being dropped.
    pub async fn next(&mut self) -> Result<Turn, LinkError> {
        loop {
            let io = match self.machine.step(now(), self.wall)? {
                Step::Turn(turn) => return Ok(turn),
                Step::Io(io) => io,
            };
            let done = self.wait(io.read, |cx| poll_due(io.wake, cx)).await;
            self.done(&done)?;
        }
    }

    /// Reads if it is to, writes or flushes, and asks the owner, who watches the time, until any of it is ready. All are asked each time: a peer that always
    /// sends, or one that always takes, keeps nobody waiting. What it ended with goes to [`done`](Self::done).
    pub(crate) async fn wait(&mut self, read: bool, mut owner: impl FnMut(&mut Context<'_>) -> Poll<()>) -> Done {
        let outgoing = self.machine.outgoing();
        let Self { machine, reader, writer, .. } = self;
        let (space, output) = machine.halves();
        let mut reading = pin!(read.then(|| reader.read(space)));
        let mut writing = pin!(match outgoing {
            Outgoing::Bytes | Outgoing::Flush => Some(async {
                if outgoing == Outgoing::Flush {
                    return writer.flush().await.map(|()| 0).map_err(|error| error.kind());
                }
                match writer.write(output).await {
                    Ok(0) => Err(ErrorKind::WriteZero),
                    result => result.map_err(|error| error.kind()),
                }
            }),
            // The end is the owner's.
            Outgoing::Nothing | Outgoing::End => None,
        });
        poll_fn(|cx| {
            let read = match reading.as_mut().as_pin_mut() {
                Some(reading) => reading.poll(cx).map_err(|error| error.kind()),
                None => Poll::Pending,
            };
            let written = match writing.as_mut().as_pin_mut() {
                Some(writing) => writing.poll(cx),
                None => Poll::Pending,
            };
            let asked = owner(cx).is_ready();
            let any = asked || read.is_ready() || written.is_ready();
            if any { Poll::Ready(Done { read, written, asked }) } else { Poll::Pending }
        })
        .await
    }

    /// Tells the link what a wait ended with; its time may have come if the owner was asked.
    pub(crate) fn done(&mut self, done: &Done) -> Result<(), LinkError> {
        let now = now();
        if let Poll::Ready(result) = done.read {
            self.machine.read(result, now)?;
        }
        match done.written {
            Poll::Pending => {}
            Poll::Ready(Ok(0)) => self.machine.flushed(Ok(()))?,
            Poll::Ready(result) => self.machine.written(result)?,
        }
        if done.asked {
            self.machine.handle_timeout(now)?;
        }
        Ok(())
    }
}

impl<S: Endpoint, Pr: Protocol, P: Provider, I, O, R, W> fmt::Debug for Link<S, Pr, P, I, O, R, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("machine", &self.machine).finish_non_exhaustive()
    }
}
