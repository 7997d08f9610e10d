//! One connection of the core over one stream, as a future.
//!
//! A [`Link`] polls the stream and arms a timer as [`crate::link`] says. What a frame means is its owner's business.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;
use core::future::{Future, poll_fn};
use core::net::SocketAddr;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use std::io;

use super::{Clock, Stream};
use crate::buffer::Lease;
use crate::connection::{Answerable, Connection, Endpoint, Outbound, State, Token};
use crate::crypto::Provider;
use crate::link::{Link as Machine, LinkCause, LinkSettings, Outgoing, Step, Turn};
use crate::protocol::Protocol;
use crate::time::{Instant, UnixTime};

/// Bytes that are read of a peer at most once its connection is to end, see [`Link::read_what_arrived`]: twice what Linux keeps of a connection, unless
/// it is both fast and far away.
const ARRIVED: u32 = 256 << 10;

/// Turns and reads of a link in a row before it lets other tasks have theirs.
const BURST: u8 = 64;

/// A link failed: with whom, in which state, and why.
pub type LinkError = crate::link::LinkError<io::Error>;

/// One connection over one stream.
///
/// Call [`next`](Self::next) until it says [`Turn::Closed`] or fails. For an event call [`event`](Self::event), handle it and
/// answer through the outbound half that comes with it. To send something unasked call [`outbound`](Self::outbound).
/// To end call [`close`](Self::close) and go on calling `next`.
///
/// Answers are written when nothing whole is left to handle, so a burst of frames is answered with one write.
pub struct Link<S: Endpoint, Pr: Protocol, P: Provider, T, C: Clock> {
    machine: Machine<S, Pr, P, Lease, Lease, Arc<LinkSettings<C>>>,
    stream: T,
    peer: SocketAddr,
    /// Armed at the earliest deadline or before it; re-armed only when it fires or a deadline moves forward, since the limit on
    /// silence moves with every frame. Boxed, because most idle connections have none.
    timer: Option<Pin<Box<C::Sleep>>>,
    /// Bytes that are still read; the largest number for no bound.
    wanted: u32,
    /// Turns and reads in a row.
    burst: u8,
    /// When the last poll began.
    now: Instant,
}

impl<S, Pr, P, T, C> Link<S, Pr, P, T, C>
where
    S: Endpoint,
    Pr: Protocol,
    P: Provider,
    T: Stream,
    C: Clock,
{
    /// Joins the two. `peer` is for errors and logs.
    #[must_use]
    pub fn new(connection: Connection<S, Pr, P>, stream: T, peer: SocketAddr, settings: Arc<LinkSettings<C>>) -> Self {
        let (session, now) = (settings.session(connection), settings.clock.now());
        Self {
            machine: Machine::new(session, settings, now),
            stream,
            peer,
            timer: None,
            wanted: u32::MAX,
            burst: 0,
            now,
        }
    }

    /// Who is at the other end.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// The clock that the link's time limits run by.
    #[must_use]
    pub fn clock(&self) -> &C {
        &self.machine.terms().clock
    }

    /// The time when the last turn came, for owners whom no later moment matters to: looking at a clock takes longer than much of what is
    /// done for a message.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.now
    }

    /// What it shares with the other links of its role.
    #[must_use]
    pub fn settings(&self) -> &Arc<LinkSettings<C>> {
        self.machine.terms()
    }

    /// Bytes of the buffers that it holds now, for input and for output.
    pub fn held(&mut self) -> (usize, usize) {
        self.machine.held()
    }

    /// The stream, to look at its options. Who reads or writes here takes the place of the connection.
    pub fn stream(&mut self) -> &mut T {
        &mut self.stream
    }

    /// The stream alone; what waits in the link is lost.
    #[must_use]
    pub fn into_stream(self) -> T {
        self.stream
    }

    /// The connection.
    #[must_use]
    pub fn connection(&self) -> &Connection<S, Pr, P> {
        self.machine.connection()
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
        // A busy peer must not keep the thread: a task runs until it has to wait, and frames that are buffered already need no waiting.
        let turn = if self.burst < BURST { self.poll_turn(cx) } else { yield_to_others(cx) };
        self.burst = if turn.is_ready() { self.burst.saturating_add(1) } else { 0 };
        turn.map_err(|cause| self.error(cause))
    }

    /// What `next` would announce, if that needs no waiting and nothing of the stream: for owners who handle several events in one go.
    pub fn next_buffered(&mut self) -> Option<Token> {
        let wall = self.wall();
        self.machine.next_buffered(self.now, wall)
    }

    /// The event that `next` announced, and the way to answer it. The event borrows from the input buffer; the next call of
    /// `next` takes it back.
    pub fn event(&mut self, token: Token) -> Result<Answerable<'_, S, Pr>, LinkError> {
        let (peer, state) = (self.peer, self.connection().state());
        self.machine.event(token).map_err(|error| LinkError::new(peer, state, error.into()))
    }

    /// The way to send something unasked. `None` while answers wait in room that is theirs alone; [`Turn::Room`] comes
    /// when they have left.
    ///
    /// When a message finds no room, call [`want_room`](Self::want_room).
    pub fn outbound(&mut self) -> Option<Outbound<'_, S, Pr>> {
        self.machine.outbound()
    }

    /// The way to answer the last event later than at once, when the answer had to be waited for: the room that was there for it is
    /// still there unless something else was sent since.
    pub fn answer(&mut self) -> Outbound<'_, S, Pr> {
        self.machine.answer()
    }

    /// Asks for [`Turn::Room`] when all that waits has left.
    pub fn want_room(&mut self) {
        self.machine.want_room();
    }

    /// From now on `next` announces no events, except the end of the connection, and reads nothing; what waits still leaves. For
    /// a shutdown that takes no new work and delivers what is done.
    pub fn stop_listening(&mut self) {
        self.machine.stop_listening();
    }

    /// Takes [`stop_listening`](Self::stop_listening) back: what has arrived meanwhile is next.
    pub fn listen_again(&mut self) {
        self.machine.listen_again();
    }

    /// The connection is about to end: what has arrived is read still, all of it, and no more than can have, however much the peer sends from now
    /// on (256 KiB). When that is handled, `next` waits.
    pub fn read_what_arrived(&mut self) {
        self.stream.look();
        self.wanted = ARRIVED;
    }

    /// Ends the connection in order: nothing more is sent after what waits. `next` says [`Turn::Closed`] when that has left
    /// and the peer has ended its half, or had time to.
    pub fn close(&mut self) {
        // What comes now is thrown away, for a limited time.
        self.wanted = u32::MAX;
        self.machine.close();
    }

    /// The time for certificates, which are looked at before the connection is open.
    fn wall(&self) -> UnixTime {
        if self.connection().state() == State::Open { UnixTime::default() } else { self.clock().wall() }
    }

    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<Result<Turn, LinkCause<io::Error>>> {
        let mut wrote = false;
        self.now = self.clock().now();
        loop {
            let (now, wall) = (self.now, self.wall());
            let io = match self.machine.step(now, wall)? {
                Step::Turn(turn) => return Poll::Ready(Ok(turn)),
                Step::Io(io) => io,
            };
            if self.poll_write(cx, now)? {
                wrote = true;
                continue;
            }
            if io.read && self.poll_read(cx, now, wrote)? {
                // Nor must one that sends what makes no turn: parts of a frame, or whatever comes after our end.
                self.burst = self.burst.saturating_add(1);
                if self.burst < BURST {
                    continue;
                }
                return yield_to_others(cx);
            }
            ready!(self.poll_timer(cx, io.wake, now));
            self.now = self.clock().now();
            self.machine.handle_timeout(self.now)?;
        }
    }

    /// Writes what waits, as far as it goes. Whether anything went.
    fn poll_write(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<bool, LinkCause<io::Error>> {
        let mut moved = false;
        loop {
            match self.machine.outgoing() {
                Outgoing::Nothing => return Ok(moved),
                Outgoing::Bytes => match self.stream.poll_write(cx, self.machine.output()) {
                    Poll::Ready(Ok(0)) => self.machine.written(Err(io::ErrorKind::WriteZero.into()))?,
                    Poll::Ready(result) => self.machine.written(result)?,
                    Poll::Pending => return Ok(moved),
                },
                Outgoing::Flush => match self.stream.poll_flush(cx) {
                    Poll::Ready(result) => self.machine.flushed(result)?,
                    Poll::Pending => return Ok(moved),
                },
                Outgoing::End => match self.stream.poll_close(cx) {
                    Poll::Ready(result) => self.machine.shut_down(result.is_ok(), now),
                    Poll::Pending => return Ok(moved),
                },
            }
            moved = true;
        }
    }

    /// Reads what is there. Whether anything was.
    fn poll_read(&mut self, cx: &mut Context<'_>, now: Instant, wrote: bool) -> Result<bool, LinkCause<io::Error>> {
        if self.wanted == 0 {
            return Ok(false);
        }
        // Who was woken to write has no buffer to read to, and mostly needs none.
        if wrote && self.held().0 == 0 {
            match self.stream.poll_readable(cx) {
                Poll::Pending => return Ok(false),
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return self.machine.read(Err(error), now).map(|()| true),
            }
        }
        let space = self.machine.space();
        let most = space.len().min(self.wanted.try_into().unwrap_or(usize::MAX));
        let Poll::Ready(result) = self.stream.poll_read(cx, space.get_mut(..most).unwrap_or_default()) else {
            return Ok(false);
        };
        if self.wanted != u32::MAX {
            let read = result.as_ref().map_or(0, |read| u32::try_from(*read).unwrap_or(u32::MAX));
            self.wanted = self.wanted.saturating_sub(read);
        }
        self.machine.read(result, now)?;
        Ok(true)
    }

    /// Waits. Ready when `wake` has come.
    fn poll_timer(&mut self, cx: &mut Context<'_>, wake: Option<Instant>, now: Instant) -> Poll<()> {
        let Some(wake) = wake else {
            self.timer = None;
            self.machine.rest();
            return Poll::Pending;
        };
        if wake <= now {
            return Poll::Ready(());
        }
        let clock = &self.machine.terms().clock;
        let timer = match &mut self.timer {
            Some(timer) => {
                clock.bring_forward(timer.as_mut(), wake);
                timer
            }
            none => none.insert(Box::pin(clock.sleep_until(wake))),
        };
        let fired = timer.as_mut().poll(cx);
        if fired.is_pending() {
            self.machine.rest();
        }
        fired
    }

    fn error(&self, cause: LinkCause<io::Error>) -> LinkError {
        LinkError::new(self.peer, self.connection().state(), cause)
    }
}

/// Has the task polled again when others have had their turns.
fn yield_to_others<T>(cx: &Context<'_>) -> Poll<T> {
    cx.waker().wake_by_ref();
    Poll::Pending
}

impl<S: Endpoint, Pr: Protocol, P: Provider, T, C: Clock> fmt::Debug for Link<S, Pr, P, T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("peer", &self.peer)
            .field("machine", &self.machine)
            .field("armed", &self.timer.is_some())
            .finish_non_exhaustive()
    }
}
