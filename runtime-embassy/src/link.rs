//! One connection of the core over a reader and a writer.
//!
//! A [`Link`] moves bytes between the two, and nothing else: it reads and writes at once, obeys the connection's time limits
//! and its own. What a frame means is its owner's business, and so is ending the stream.

#[cfg(test)]
mod tests;

use core::fmt;
use core::future::{Future, pending, poll_fn, ready};
use core::pin::pin;
use core::task::Poll;
use core::time::Duration;

use adit::config::ANSWER_ROOM;
use adit::connection::{Answerable, Connection, Endpoint, Outbound, Progress, State, Token};
use adit::crypto::Provider;
use adit::error::{Error, Misuse};
use adit::protocol::Protocol;
use adit::session::Session;
use adit::time::{Instant, UnixTime, earliest};
use embassy_futures::select::select;
use embedded_io_async::{Error as _, ErrorKind, Read, Write};

use crate::clock::{now, sleep_until};

/// Room for something unasked: the largest that a device sends while its channel is open is the request for another hash rate, 66 bytes
/// with its record.
const UNASKED_ROOM: usize = 72;

/// Time limits of a link beside those of its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkSettings {
    /// The peer must take some of what waits for it within this time.
    pub write_stall: Option<Duration>,
    /// The peer must end a frame that it has begun within this time.
    pub frame_stall: Option<Duration>,
}

impl LinkSettings {
    /// Half a minute for either.
    pub const DEFAULT: Self =
        Self { write_stall: Some(Duration::from_secs(30)), frame_stall: Some(Duration::from_secs(30)) };
}

impl Default for LinkSettings {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// What a [`Link`] wants of its owner.
#[derive(Debug)]
pub enum Turn {
    /// Something happened: turn the token into the event with [`Link::event`].
    Event(Token),
    /// All that was sent has left, and there was no room before: send what found none.
    Room,
    /// The connection ended in order, and all that was sent has left.
    Closed,
}

/// Why a link failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkError {
    /// The connection says so: the peer broke a rule or a time limit, or this side misused the connection.
    Connection(Error),
    /// Reading from the stream failed.
    Read(ErrorKind),
    /// Writing to the stream failed; what waited is lost.
    Write(ErrorKind),
    /// The peer does not take what is sent to it.
    NotReading,
    /// The peer began a frame and did not end it.
    NotWriting,
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connection(error) => error.fmt(f),
            Self::Read(kind) => write!(f, "reading failed: {kind}"),
            Self::Write(kind) => write!(f, "writing failed: {kind}"),
            Self::NotReading => f.write_str("the peer does not take what is sent to it"),
            Self::NotWriting => f.write_str("the peer began a frame and did not end it"),
        }
    }
}

impl core::error::Error for LinkError {}

impl From<Error> for LinkError {
    fn from(error: Error) -> Self {
        Self::Connection(error)
    }
}

/// What stops the handling of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Starved {
    /// More bytes of the peer are needed.
    Input,
    /// Answers need room.
    Output,
    /// The connection is over.
    Over,
}

/// What a wait ended with.
enum Step {
    Read(Result<usize, ErrorKind>),
    Written(Result<usize, ErrorKind>),
    Flushed(Result<(), ErrorKind>),
    Time,
}

/// One connection over one stream. `I` and `O` are the storage of its buffers, arrays or slices, of at least
/// [`DEVICE_INPUT`](adit::config::DEVICE_INPUT) and [`DEVICE_OUTPUT`](adit::config::DEVICE_OUTPUT) bytes for a device.
///
/// Call [`next`](Self::next) until it says [`Turn::Closed`] or fails. For an event call [`event`](Self::event), handle it and answer through the
/// outbound half that comes with it. To send something unasked call [`outbound`](Self::outbound). To end call [`close`](Self::close) and go on
/// calling `next`.
///
/// Answers are written when nothing whole is left to handle, so a burst of frames is answered with one write.
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own about one half of the stream")]
pub struct Link<S: Endpoint, Pr: Protocol, P: Provider, I, O, R, W> {
    session: Session<S, Pr, I, O, P>,
    reader: R,
    writer: W,
    settings: LinkSettings,
    /// For the certificate.
    wall: UnixTime,
    /// Since when a frame waits for its rest.
    partial: Option<Instant>,
    /// Since when the stream takes nothing of what waits.
    blocked: Option<Instant>,
    /// Something was written since the last flush.
    unflushed: bool,
    /// The owner found no room.
    room_wanted: bool,
    /// The peer ended its half: failing to write is no failure any more.
    peer_ended: bool,
    /// Who is asked first: else a peer that always sends, or one that always takes, would keep the other half waiting.
    read_first: bool,
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
    pub const fn new(
        session: Session<S, Pr, I, O, P>,
        wall: UnixTime,
        reader: R,
        writer: W,
        settings: LinkSettings,
    ) -> Self {
        Self {
            session,
            reader,
            writer,
            settings,
            wall,
            partial: None,
            blocked: None,
            unflushed: false,
            room_wanted: false,
            peer_ended: false,
            read_first: false,
        }
    }

    /// The connection, to ask it how it is.
    #[must_use]
    pub const fn connection(&self) -> &Connection<S, Pr, P> {
        self.session.connection()
    }

    /// The event that `next` announced, and the way to answer it. The event borrows from the input buffer; the next call of
    /// `next` takes it back.
    #[inline]
    pub fn event(&mut self, token: Token) -> Result<Answerable<'_, S, Pr>, LinkError> {
        Ok(self.session.take_event(token)?)
    }

    /// The way to send something unasked. `None` while what waits leaves room for answers only; [`Turn::Room`] comes when it has left.
    ///
    /// So own messages never keep this side from reading, and two busy peers cannot wait for each other.
    pub fn outbound(&mut self) -> Option<Outbound<'_, S, Pr>> {
        let (_, output) = self.session.buffers();
        if !output.is_empty() && output.room() < ANSWER_ROOM + UNASKED_ROOM {
            self.room_wanted = true;
            return None;
        }
        Some(self.session.outbound())
    }

    /// Asks for [`Turn::Room`] when all that waits has left.
    pub const fn want_room(&mut self) {
        self.room_wanted = true;
    }

    /// Ends the connection in order: nothing more is sent after what waits. `next` says [`Turn::Closed`] when that has left.
    pub fn close(&mut self) {
        self.session.close();
    }

    /// Waits for what the owner must do next, moving bytes both ways meanwhile.
    ///
    /// Cancel-safe, if the reader's and the writer's futures have no effect before they are ready: all state is in the link, so the future may be
    /// dropped at any await and called anew. After an error the link is good for nothing but being dropped.
    pub async fn next(&mut self) -> Result<Turn, LinkError> {
        let result = self.turn().await;
        if result.is_err() && !self.session.output().is_empty() {
            // What was sent before the fault may still reach the peer; one try.
            let _unless_blocked = select(self.writer.write(self.session.output()), ready(())).await;
        }
        result
    }

    async fn turn(&mut self) -> Result<Turn, LinkError> {
        loop {
            let at = now();
            let starved = match self.session.advance(at, self.wall)? {
                Progress::Event(token) => {
                    self.partial = None;
                    return Ok(Turn::Event(token));
                }
                Progress::NeedInput => Starved::Input,
                Progress::NeedOutput => Starved::Output,
                // The buffers do not grow: a frame that is too long for them is the peer's fault before it comes to this.
                Progress::NeedSpace(_) => return Err(Error::Full.into()),
                Progress::Closed => Starved::Over,
            };
            if self.session.output().is_empty() {
                if starved == Starved::Over && !self.unflushed {
                    return Ok(Turn::Closed);
                }
                if self.room_wanted && self.connection().state() == State::Open {
                    self.room_wanted = false;
                    return Ok(Turn::Room);
                }
            }
            match self.wait(at, starved == Starved::Input).await {
                Step::Read(Ok(0)) => {
                    self.peer_ended = true;
                    self.session.handle_eof();
                }
                Step::Read(Ok(n)) => self.session.commit_input(n).map_err(Error::Misuse)?,
                Step::Read(Err(kind)) => return Err(LinkError::Read(kind)),
                Step::Written(Ok(n)) if n > 0 => {
                    self.blocked = None;
                    self.unflushed = true;
                    self.session.consume_output(n).map_err(Error::Misuse)?;
                }
                Step::Flushed(Ok(())) => (self.blocked, self.unflushed) = (None, false),
                // Nobody is there to read it, which is what the peer's end said.
                Step::Written(_) | Step::Flushed(_) if self.peer_ended => self.give_up_output()?,
                Step::Written(Ok(_)) => return Err(LinkError::Write(ErrorKind::WriteZero)),
                Step::Written(Err(kind)) | Step::Flushed(Err(kind)) => return Err(LinkError::Write(kind)),
                Step::Time => self.time(now())?,
            }
        }
    }

    /// Reads, if that is wanted, writes and flushes what there is, and watches the time; whatever is first.
    async fn wait(&mut self, at: Instant, wants_input: bool) -> Step {
        let read_first = self.read_first;
        self.read_first = !read_first;
        let wants_output = self.unflushed || !self.session.output().is_empty();
        if wants_output {
            self.blocked.get_or_insert(at);
        }
        let deadline = self.deadline(wants_input, at);
        let (input, output) = self.session.buffers();
        let mut reading = pin!(async {
            if !wants_input {
                return pending().await;
            }
            Step::Read(self.reader.read(input.space()).await.map_err(|error| error.kind()))
        });
        let mut writing = pin!(async {
            if !output.is_empty() {
                Step::Written(self.writer.write(output.filled()).await.map_err(|error| error.kind()))
            } else if wants_output {
                Step::Flushed(self.writer.flush().await.map_err(|error| error.kind()))
            } else {
                pending().await
            }
        });
        let mut time = pin!(sleep_until(deadline));
        poll_fn(|cx| {
            if read_first && let Poll::Ready(step) = reading.as_mut().poll(cx) {
                return Poll::Ready(step);
            }
            if let Poll::Ready(step) = writing.as_mut().poll(cx) {
                return Poll::Ready(step);
            }
            if !read_first && let Poll::Ready(step) = reading.as_mut().poll(cx) {
                return Poll::Ready(step);
            }
            time.as_mut().poll(cx).map(|()| Step::Time)
        })
        .await
    }

    /// When a limit ends, the connection's or one of the link's own.
    fn deadline(&mut self, wants_input: bool, at: Instant) -> Option<Instant> {
        if wants_input && self.connection().state() == State::Open {
            let (input, _) = self.session.buffers();
            self.partial = if input.is_empty() { None } else { self.partial.or(Some(at)) };
        }
        let (reading, writing) = self.own_limits();
        earliest(earliest(reading, writing), self.session.poll_timeout().map(|deadline| deadline.at))
    }

    /// When the peer must have read something, and when it must have ended its frame.
    fn own_limits(&self) -> (Option<Instant>, Option<Instant>) {
        let limit = |since: Option<Instant>, limit: Option<Duration>| Some(since?.saturating_add(limit?));
        (limit(self.blocked, self.settings.write_stall), limit(self.partial, self.settings.frame_stall))
    }

    fn time(&mut self, now: Instant) -> Result<(), LinkError> {
        let passed = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let (reading, writing) = self.own_limits();
        if passed(reading) {
            return Err(LinkError::NotReading);
        }
        if passed(writing) {
            return Err(LinkError::NotWriting);
        }
        Ok(self.session.handle_timeout(now)?)
    }

    fn give_up_output(&mut self) -> Result<(), LinkError> {
        (self.blocked, self.unflushed) = (None, false);
        let waiting = self.session.output().len();
        self.session.consume_output(waiting).map_err(|misuse: Misuse| Error::from(misuse).into())
    }
}

impl<S: Endpoint, Pr: Protocol, P: Provider, I, O, R, W> fmt::Debug for Link<S, Pr, P, I, O, R, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("settings", &self.settings).finish_non_exhaustive()
    }
}
