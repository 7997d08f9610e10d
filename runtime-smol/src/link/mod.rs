//! One connection of the core over one stream.
//!
//! A [`Link`] moves bytes between the two, and nothing else: it reads and writes at once, obeys the connection's time limits
//! and its own, lends the connection buffers while bytes are in flight, and ends both in order. What a frame means is its
//! owner's business.

mod error;
mod settings;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use adit::{
    buffer::{Input, Output},
    config::ANSWER_ROOM,
    connection::{Connection, Endpoint, Event, Outbound, Progress, State, Token},
    crypto::Provider,
    error::Error,
    protocol::Protocol,
    rate::TokenBucket,
    time::{Instant, earliest},
};
use futures_lite::io::{AsyncRead, AsyncWrite};

pub use error::{LinkCause, LinkError, Stall};
pub use settings::LinkSettings;

use crate::{
    buffers::Lease,
    clock::{Clock, Sleep},
};

/// A frame that has begun must grow by so much within [`LinkSettings::frame_stall`].
const PART: usize = 4096;
/// Turns that a link gives in a row before it lets other tasks have theirs.
const BURST: u8 = 64;

/// What a [`Link`] wants of its owner.
#[derive(Debug)]
pub enum Turn {
    /// Something happened: turn the token into the event with [`Link::event`].
    Event(Token),
    /// All that was sent has left, and [`Link::want_room`] was called before: send what found no room.
    Room,
    /// The connection ended in order, and all that was sent has left.
    Closed,
}

/// An event and the way to answer it.
pub type Answerable<'a, S, Pr> = (Event<'a, S, Pr>, Outbound<'a, S, Pr>);

/// One connection over one stream.
///
/// Call [`next`](Self::next) until it says [`Turn::Closed`] or fails. For an event call [`event`](Self::event), handle it and
/// answer through the outbound half that comes with it. To send something unasked call [`outbound`](Self::outbound).
/// To end call [`close`](Self::close) and go on calling `next`.
///
/// Answers are written when nothing whole is left to handle, so a burst of frames is answered with one write.
pub struct Link<S: Endpoint, Pr: Protocol, P: Provider, T> {
    connection: Connection<S, Pr, P>,
    stream: T,
    input: Input<Lease>,
    output: Output<Lease>,
    settings: Arc<LinkSettings>,
    peer: SocketAddr,
    /// Armed at the earliest deadline or before it; re-armed only when it fires or a deadline moves forward, since the limit on
    /// silence moves with every frame. Boxed, because most idle connections have none.
    timer: Option<Box<Sleep>>,
    /// Turns in a row.
    burst: u8,
    frames: Option<TokenBucket>,
    /// Since when a frame waits for its rest, and how many bytes of it came since.
    partial: Option<(Instant, usize)>,
    /// Since when the stream takes nothing of what waits.
    blocked_since: Option<Instant>,
    /// The output was extended for answers while nothing left.
    extended: bool,
    room: Room,
    /// The owner wants no more events.
    deaf: bool,
    end: End,
}

/// The way to the end of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Not yet.
    Open,
    /// The peer ended its half: nothing more to read, and failing to write is no failure.
    PeerEnded,
    /// Nothing waits to be written: our half is to be ended.
    Shutdown { peer_ended: bool },
    /// Our half is ended. What the peer still sends is read and dropped until it ends too or the time is up: closing a socket
    /// with unread bytes makes the system throw away what the peer has not read yet.
    Linger { until: Instant },
    /// Over.
    Done,
}

/// Whether the owner is to be told that all that waits has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Room {
    /// It does not want to know.
    Enough,
    /// It does, after a look for something to read: else an owner who always wants more room would never hear anything.
    Wanted,
    /// It does, before anything is read: else a peer that always sends would keep it from sending.
    Due,
}

impl Room {
    fn wanted(self) -> Self {
        if self == Self::Enough { Self::Wanted } else { self }
    }
}

/// What stops the handling of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Starved {
    Input,
    Output,
    /// Frames come faster than is allowed; the next one has its turn then.
    Rate(Instant),
    /// The owner does not want any.
    Deaf,
}

impl<S: Endpoint, Pr: Protocol, P: Provider, T> Link<S, Pr, P, T> {
    /// Who is at the other end.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// The clock that the link's time limits run by.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.settings.clock
    }

    /// The connection.
    #[must_use]
    pub fn connection(&self) -> &Connection<S, Pr, P> {
        &self.connection
    }
}

impl<S, Pr, P, T> Link<S, Pr, P, T>
where
    S: Endpoint,
    Pr: Protocol,
    P: Provider,
    T: AsyncRead + AsyncWrite + Unpin,
{
    /// Joins the two. `peer` is for errors and logs.
    #[must_use]
    pub fn new(connection: Connection<S, Pr, P>, stream: T, peer: SocketAddr, settings: Arc<LinkSettings>) -> Self {
        let now = settings.clock.now();
        Self {
            connection,
            stream,
            input: Input::growable(Lease::default(), settings.input_ceiling),
            output: Output::growable(Lease::default(), settings.output_ceiling),
            peer,
            timer: None,
            burst: 0,
            frames: settings.frames.map(|rate| TokenBucket::new(rate, now)),
            settings,
            partial: None,
            blocked_since: None,
            extended: false,
            room: Room::Enough,
            deaf: false,
            end: End::Open,
        }
    }

    /// Waits for what the owner must do next, moving bytes both ways meanwhile.
    ///
    /// Cancel-safe: all state is in the link, so the future may be dropped at any time and called anew. After an error the
    /// link is good for nothing but being dropped.
    pub async fn next(&mut self) -> Result<Turn, LinkError> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// [`next`](Self::next) for hand-written futures.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Turn, LinkError>> {
        // A busy peer must not keep the thread: smol's tasks run until they have to wait.
        if self.burst == BURST {
            self.burst = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let turn = self.poll_turn(cx);
        self.burst = if turn.is_ready() { self.burst + 1 } else { 0 };
        turn
    }

    /// The event that `next` announced, and the way to answer it. The event borrows from the input buffer; the next call of
    /// `next` takes it back.
    pub fn event(&mut self, token: Token) -> Result<Answerable<'_, S, Pr>, LinkError> {
        if self.output.is_empty() {
            self.lease_output();
        }
        match self.connection.event(token, &self.input) {
            Ok(event) => Ok((event, self.connection.outbound(&mut self.output))),
            Err(error) => Err(LinkError::new(self.peer, self.connection.state(), LinkCause::Connection(error))),
        }
    }

    /// The way to send something unasked. `None` while answers wait in room that is theirs alone; [`Turn::Room`] comes
    /// when they have left.
    ///
    /// When a message finds no room, call [`want_room`](Self::want_room).
    pub fn outbound(&mut self) -> Option<Outbound<'_, S, Pr>> {
        if self.output.is_empty() {
            self.lease_output();
        } else if self.extended {
            self.room = self.room.wanted();
            return None;
        }
        Some(self.connection.outbound(&mut self.output))
    }

    /// The way to answer the last event later than at once, when the answer had to be waited for: the room that was there for it is
    /// still there unless something else was sent since.
    pub fn answer(&mut self) -> Outbound<'_, S, Pr> {
        if self.output.is_empty() {
            self.lease_output();
        }
        self.connection.outbound(&mut self.output)
    }

    /// Asks for [`Turn::Room`] when all that waits has left.
    pub fn want_room(&mut self) {
        self.room = self.room.wanted();
    }

    /// From now on `next` announces no events, except the end of the connection, and reads nothing; what waits still leaves. For
    /// a shutdown that takes no new work and delivers what is done.
    pub fn stop_listening(&mut self) {
        self.deaf = true;
    }

    /// Ends the connection in order: nothing more is sent after what waits. `next` says [`Turn::Closed`] when that has left
    /// and the peer has ended its half, or had time to.
    pub fn close(&mut self) {
        self.deaf = false;
        self.connection.close();
    }

    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<Result<Turn, LinkError>> {
        loop {
            let now = self.settings.clock.now();
            if matches!(self.end, End::Shutdown { .. } | End::Linger { .. } | End::Done) {
                ready!(self.poll_end(cx, now));
                return Poll::Ready(Ok(Turn::Closed));
            }
            let starved = match self.advance(now) {
                Ok(Ok(turn)) => return Poll::Ready(Ok(turn)),
                Ok(Err(starved)) => starved,
                Err(error) => {
                    // What was sent before the fault may still reach the peer; one try.
                    let _unless_blocked = self.poll_write(cx, now);
                    return Poll::Ready(Err(error));
                }
            };
            // All that could be handled is handled: now bytes.
            let drained = self.poll_write(cx, now)?.is_ready();
            if drained {
                if self.connection.state().is_over() {
                    self.end = End::Shutdown { peer_ended: self.end == End::PeerEnded };
                    continue;
                }
                if starved == Some(Starved::Output) {
                    continue;
                }
            }
            if starved == Some(Starved::Input) && self.room != Room::Due && self.poll_read(cx, now)?.is_ready() {
                if self.room == Room::Wanted {
                    self.room = Room::Due;
                }
                continue;
            }
            if drained && self.room != Room::Enough {
                self.room = Room::Enough;
                return Poll::Ready(Ok(Turn::Room));
            }
            if starved == Some(Starved::Input) && self.poll_read(cx, now)?.is_ready() {
                continue;
            }
            self.rest(now);
            let rate = match starved {
                Some(Starved::Rate(at)) => Some(at),
                _ => None,
            };
            ready!(self.poll_timer(cx, rate))?;
        }
    }

    /// Lets the connection go on until it has an event, or says what stops it; `None` when it is over.
    fn advance(&mut self, now: Instant) -> Result<Result<Turn, Option<Starved>>, LinkError> {
        loop {
            let open = self.connection.state() == State::Open;
            if open && self.deaf {
                return Ok(Err(Some(Starved::Deaf)));
            }
            if open && let Some(at) = self.frames.as_mut().and_then(|bucket| bucket.ready_at(now)) {
                return Ok(Err(Some(Starved::Rate(at))));
            }
            let wall = self.settings.clock.wall();
            let progress = self.connection.advance(now, wall, &mut self.input, &mut self.output);
            match progress.map_err(|error| self.failed(error))? {
                Progress::Event(token) => {
                    self.partial = None;
                    if let Some(bucket) = self.frames.as_mut().filter(|_| open) {
                        bucket.drain(1, now);
                    }
                    return Ok(Ok(Turn::Event(token)));
                }
                Progress::NeedSpace(length) => {
                    let lease = self.settings.input.lease(length);
                    // Never too small for what waits: the connection asked for more than that.
                    let _old = self.input.replace(lease);
                }
                Progress::NeedInput => return Ok(Err(Some(Starved::Input))),
                Progress::NeedOutput if self.make_room() => {}
                Progress::NeedOutput => return Ok(Err(Some(Starved::Output))),
                Progress::Closed => return Ok(Err(None)),
            }
        }
    }

    /// Gives the output room for an answer where that is allowed without anything leaving first.
    fn make_room(&mut self) -> bool {
        if self.output.is_empty() {
            let before = self.output.capacity();
            self.lease_output();
            return self.output.capacity() > before;
        }
        if self.extended {
            return false;
        }
        let longer = self.output.capacity() + self.settings.output.length().max(ANSWER_ROOM);
        self.extended = self.output.replace(self.settings.output.lease(longer)).is_ok();
        self.extended
    }

    /// Gives an empty output a buffer of the pool, or a longer one when a longer message waits for it.
    fn lease_output(&mut self) {
        self.extended = false;
        let length = self.output.wanted().saturating_add(ANSWER_ROOM);
        if self.output.capacity() < length {
            let _old = self.output.replace(self.settings.output.lease(length));
        }
    }

    /// Writes what waits. Ready when nothing waits any more.
    fn poll_write(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<Poll<()>, LinkError> {
        while !self.output.is_empty() {
            let written = match Pin::new(&mut self.stream).poll_write(cx, self.output.filled()) {
                Poll::Ready(Ok(0)) => Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(written) => written,
                Poll::Pending => {
                    self.blocked_since.get_or_insert(now);
                    return Ok(Poll::Pending);
                }
            };
            let written = match written {
                Ok(written) => written,
                // Nobody is there to read it, which is what the peer's end said.
                Err(_) if self.end == End::PeerEnded => self.output.len(),
                Err(error) => return Err(self.error(LinkCause::Write(error))),
            };
            self.blocked_since = None;
            self.output.consume(written).map_err(|misuse| self.failed(misuse.into()))?;
        }
        match Pin::new(&mut self.stream).poll_flush(cx) {
            Poll::Ready(Err(error)) if self.end != End::PeerEnded => {
                return Err(self.error(LinkCause::Write(error)));
            }
            Poll::Ready(_) => {}
            Poll::Pending => {
                self.blocked_since.get_or_insert(now);
                return Ok(Poll::Pending);
            }
        }
        self.blocked_since = None;
        Ok(Poll::Ready(()))
    }

    /// Reads what is there. Ready when the connection has something new to look at.
    fn poll_read(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<Poll<()>, LinkError> {
        if self.input.space().is_empty() {
            let lease = self.settings.input.lease(self.input.len() + 1);
            let _old = self.input.replace(lease);
        }
        let read = match Pin::new(&mut self.stream).poll_read(cx, self.input.space()) {
            Poll::Pending => return Ok(Poll::Pending),
            Poll::Ready(Err(error)) => return Err(self.error(LinkCause::Read(error))),
            Poll::Ready(Ok(read)) => read,
        };
        if read == 0 {
            self.end = End::PeerEnded;
            self.connection.handle_eof();
        } else {
            self.input.commit(read).map_err(|misuse| self.failed(misuse.into()))?;
            if let Some((since, bytes)) = &mut self.partial {
                *bytes += read;
                if *bytes >= PART {
                    (*since, *bytes) = (now, 0);
                }
            }
        }
        Ok(Poll::Ready(()))
    }

    /// Nothing can be done now: empty buffers go back.
    fn rest(&mut self, now: Instant) {
        if self.input.is_empty() {
            self.partial = None;
            let _back = self.input.replace(Lease::default());
        } else {
            self.partial.get_or_insert((now, 0));
        }
        if self.output.is_empty() {
            let _back = self.output.replace(Lease::default());
        }
    }

    /// Waits for the earliest deadline. Ready when one passed that was no failure.
    fn poll_timer(&mut self, cx: &mut Context<'_>, rate: Option<Instant>) -> Poll<Result<(), LinkError>> {
        let limit = |since: Option<Instant>, limit: Option<_>| Some(since?.saturating_add(limit?));
        let reading = limit(self.blocked_since, self.settings.write_stall);
        // While frames are held back or unwanted the peer is not to blame for what is in the buffer.
        let blamed = rate.is_none() && !self.deaf;
        let partial = self.partial.map(|(since, _)| since).filter(|_| blamed);
        let writing = limit(partial, self.settings.frame_stall);
        let own = self.connection.poll_timeout().map(|deadline| deadline.at);
        let Some(first) = earliest(earliest(reading, writing), earliest(own, rate)) else {
            self.timer = None;
            return Poll::Pending;
        };
        let clock = &self.settings.clock;
        let timer = self.timer.get_or_insert_with(|| Box::new(clock.sleep_until(first)));
        loop {
            if timer.is_elapsed() || first < timer.deadline() {
                timer.reset(first);
            }
            ready!(Pin::new(&mut **timer).poll(cx));
            if clock.now() >= first {
                break;
            }
        }
        let now = clock.now();
        let passed = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        Poll::Ready(if passed(reading) {
            Err(self.error(LinkCause::Stalled(Stall::Reading)))
        } else if passed(writing) {
            Err(self.error(LinkCause::Stalled(Stall::Writing)))
        } else {
            self.connection.handle_timeout(now).map_err(|error| self.failed(error))
        })
    }

    /// Ends our half, and waits a little for the peer to end its own. Never fails: all that matters has been delivered to the
    /// system, or the peer was gone before.
    fn poll_end(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<()> {
        if let End::Shutdown { peer_ended } = self.end {
            // A stream that cannot be shut down is over as well.
            let shut = ready!(Pin::new(&mut self.stream).poll_close(cx));
            self.end = if peer_ended || shut.is_err() {
                End::Done
            } else {
                End::Linger { until: now.saturating_add(self.settings.linger) }
            };
            self.timer = None;
        }
        if let End::Linger { until } = self.end {
            let mut dropped = [0; 512];
            let clock = &self.settings.clock;
            let timer = self.timer.get_or_insert_with(|| Box::new(clock.sleep_until(until)));
            while Pin::new(&mut **timer).poll(cx).is_pending() {
                match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut dropped)) {
                    Ok(1..) => {}
                    Ok(0) | Err(_) => break,
                }
            }
            self.end = End::Done;
            self.timer = None;
        }
        self.rest(now);
        Poll::Ready(())
    }

    fn failed(&self, error: Error) -> LinkError {
        self.error(LinkCause::Connection(error))
    }

    fn error(&self, cause: LinkCause) -> LinkError {
        LinkError::new(self.peer, self.connection.state(), cause)
    }
}

impl<S: Endpoint, Pr: Protocol, P: Provider, T> fmt::Debug for Link<S, Pr, P, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("peer", &self.peer).field("end", &self.end).finish_non_exhaustive()
    }
}
