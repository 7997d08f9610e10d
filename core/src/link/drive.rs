//! The runtime's side of a link: what is next, and what came of it. No owner's call is here.

use core::time::Duration;

use super::{End, Fault, Io, Link, LinkCause, Outgoing, Room, Stall, Step, Terms, Turn};
use crate::config::ANSWER_ROOM;
use crate::connection::{Endpoint, Progress, State, Token};
use crate::crypto::Provider;
use crate::error::{Error, Misuse};
use crate::protocol::Protocol;
use crate::time::{Instant, UnixTime, earliest};

/// A frame that has begun must grow by so much within [`Limits::frame_stall`](super::Limits::frame_stall).
const PART: u32 = 4096;

/// What stops the handling of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Starved {
    /// More bytes of the peer are needed.
    Input,
    /// Answers need room.
    Output,
    /// Frames come faster than is allowed; the next one has its turn then.
    Rate(Instant),
    /// The owner does not want any.
    Deaf,
    /// The connection is over.
    Over,
}

impl<S, Pr, P, I, O, T> Link<S, Pr, P, I, O, T>
where
    S: Endpoint,
    Pr: Protocol,
    P: Provider,
    I: AsRef<[u8]> + AsMut<[u8]>,
    O: AsRef<[u8]> + AsMut<[u8]>,
    T: Terms<I, O>,
{
    /// What is next. `wall` is looked at when a certificate is checked.
    ///
    /// When the connection fails while something waits to leave, that has one try before the failure is returned: it may say why.
    pub fn step(&mut self, now: Instant, wall: UnixTime) -> Result<Step, Fault> {
        let starved = match self.end {
            End::Open | End::PeerEnded => match self.advance(now, wall) {
                Ok(Ok(turn)) => return Ok(Step::Turn(turn)),
                Ok(Err(starved)) => starved,
                Err(_) if !self.flags.tried && !self.session.output().is_empty() => {
                    self.flags.tried = true;
                    return Ok(Step::Io(Io { read: false, wake: Some(now) }));
                }
                Err(error) => return Err(error.into()),
            },
            End::Shutdown { until, .. } if T::ENDS => return Ok(Step::Io(Io { read: false, wake: Some(until) })),
            // Looked at here, too: a peer that always sends keeps the timer from being asked.
            End::Linger { until } if T::ENDS && now < until => {
                return Ok(Step::Io(Io { read: true, wake: Some(until) }));
            }
            End::Shutdown { .. } | End::Linger { .. } | End::Done => {
                // Others are at that end when they come here.
                if T::ENDS {
                    self.end = End::Done;
                }
                self.rest();
                return Ok(Step::Turn(Turn::Closed));
            }
        };
        // All that could be handled is handled: now bytes.
        self.note_waiting(starved, now);
        let read = starved == Starved::Input;
        let wake = self.deadline(starved);
        if self.session.output().is_empty() {
            match (starved, self.room) {
                (Starved::Over, _) if !self.flags.unflushed => {
                    if !T::ENDS {
                        self.end = End::Done;
                        return Ok(Step::Turn(Turn::Closed));
                    }
                    self.drop_input();
                    let until = now.saturating_add(self.terms.linger());
                    self.end = End::Shutdown { until, peer_ended: self.end == End::PeerEnded };
                    return Ok(Step::Io(Io { read: false, wake: Some(until) }));
                }
                (Starved::Over, _) | (_, Room::Enough) => {}
                (Starved::Input, Room::Wanted) => return Ok(Step::Io(Io { read, wake: Some(now) })),
                (_, Room::Wanted | Room::Due) => {
                    self.room = Room::Enough;
                    return Ok(Step::Turn(Turn::Room));
                }
            }
        }
        Ok(Step::Io(Io { read, wake }))
    }

    /// The next event if all of it is there already, and nothing else is due: for owners who handle several in one go. A fault shows at the
    /// next step.
    pub fn next_buffered(&mut self, now: Instant, wall: UnixTime) -> Option<Token> {
        match self.advance(now, wall) {
            Ok(Ok(Turn::Event(token))) => Some(token),
            _ => None,
        }
    }

    /// What the outgoing half of the stream is to do next.
    #[must_use]
    pub fn outgoing(&self) -> Outgoing {
        if !self.session.output().is_empty() {
            Outgoing::Bytes
        } else if self.flags.unflushed {
            Outgoing::Flush
        } else if T::ENDS && matches!(self.end, End::Shutdown { .. }) {
            Outgoing::End
        } else {
            Outgoing::Nothing
        }
    }

    /// What waits to be written.
    #[must_use]
    pub fn output(&self) -> &[u8] {
        self.session.output()
    }

    /// Where to read to; never empty while [`Io::read`] is asked for.
    pub fn space(&mut self) -> &mut [u8] {
        self.lease_input();
        self.session.input_space()
    }

    /// [`space`](Self::space) and [`output`](Self::output), for who reads and writes at once.
    pub fn halves(&mut self) -> (&mut [u8], &[u8]) {
        self.lease_input();
        let (input, output) = self.session.buffers();
        (input.space(), output.filled())
    }

    /// Reports a read: so many bytes are in [`space`](Self::space), none at the end of the peer's stream.
    pub fn read<E>(&mut self, result: Result<usize, E>, now: Instant) -> Result<(), LinkCause<E>> {
        if T::ENDS
            && let End::Linger { .. } = self.end
        {
            match result {
                // Nobody looks at what is there, so nothing is committed.
                Ok(1..) => {}
                Ok(0) | Err(_) => self.end = End::Done,
            }
            return Ok(());
        }
        let read = result.map_err(LinkCause::Read)?;
        if self.room == Room::Wanted {
            self.room = Room::Due;
        }
        if read == 0 {
            self.end = End::PeerEnded;
            self.session.handle_eof();
            return Ok(());
        }
        self.session.commit_input(read).map_err(misuse)?;
        // A buffer that is kept is shorter than that.
        if T::LEASED
            && let Some((due, bytes)) = &mut self.partial
        {
            *bytes = bytes.saturating_add(u32::try_from(read).unwrap_or(u32::MAX));
            if *bytes >= PART {
                *bytes = 0;
                *due = now.saturating_add(self.terms.limits().frame_stall.unwrap_or_default());
            }
        }
        Ok(())
    }

    /// Reports a write: how many bytes of [`output`](Self::output) the stream took, not none.
    pub fn written<E>(&mut self, result: Result<usize, E>) -> Result<(), LinkCause<E>> {
        match result {
            Ok(written) => {
                self.blocked = None;
                self.flags.unflushed = true;
                self.session.consume_output(written).map_err(misuse)
            }
            Err(error) => self.write_failed(error),
        }
    }

    /// Reports a flush: all that was written has left.
    pub fn flushed<E>(&mut self, result: Result<(), E>) -> Result<(), LinkCause<E>> {
        match result {
            Ok(()) => {
                self.blocked = None;
                self.flags.unflushed = false;
                Ok(())
            }
            Err(error) => self.write_failed(error),
        }
    }

    /// Reports whether our half is ended now. Where that failed, or the stream cannot do it, the link is over as well: all that matters has
    /// been delivered to the system, or the peer was gone before.
    pub fn shut_down(&mut self, done: bool, now: Instant) {
        self.end = match self.end {
            End::Shutdown { peer_ended: false, .. } if done => {
                End::Linger { until: now.saturating_add(self.terms.linger()) }
            }
            _ => End::Done,
        };
    }

    /// [`Io::wake`] has come, and the stream was asked before.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), Fault> {
        let passed = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        match self.end {
            End::Open | End::PeerEnded => {}
            End::Shutdown { until, .. } | End::Linger { until } if T::ENDS => {
                if until <= now {
                    self.end = End::Done;
                }
                return Ok(());
            }
            End::Shutdown { .. } | End::Linger { .. } | End::Done => return Ok(()),
        }
        if passed(self.blocked) {
            return Err(Fault::Stalled(Stall::Reading));
        }
        if passed(self.partial.map(|(due, _)| due)) {
            return Err(Fault::Stalled(Stall::Writing));
        }
        // Nothing was there to read.
        if self.room == Room::Wanted && self.session.output().is_empty() {
            self.room = Room::Due;
        }
        Ok(self.session.handle_timeout(now)?)
    }

    /// Nothing can be done now: empty buffers go back to where they were leased.
    pub fn rest(&mut self) {
        if !T::LEASED {
            return;
        }
        let (input, output) = self.session.buffers();
        if input.is_empty()
            && input.capacity() > 0
            && let Some(none) = self.terms.input(0)
        {
            let _back = input.replace(none);
        }
        if output.is_empty()
            && output.capacity() > 0
            && let Some(none) = self.terms.output(0)
        {
            let _back = output.replace(none);
        }
    }

    /// Lets the connection go on until it has an event, or says what stops it.
    fn advance(&mut self, now: Instant, wall: UnixTime) -> Result<Result<Turn, Starved>, Error> {
        loop {
            let open = self.session.connection().state() == State::Open;
            if T::PACED && open && self.flags.deaf {
                return Ok(Err(Starved::Deaf));
            }
            if T::PACED
                && open
                && let Some(at) = self.frames.as_mut().and_then(|bucket| bucket.ready_at(now))
            {
                return Ok(Err(Starved::Rate(at)));
            }
            // Asked after each write and each read, and mostly so: what was handed over last still counts as input here.
            if T::LEASED && open && self.end == End::Open && self.session.buffers().0.is_empty() {
                return Ok(Err(Starved::Input));
            }
            match self.session.advance(now, wall)? {
                Progress::Event(token) => {
                    self.partial = None;
                    if T::PACED
                        && open
                        && let Some(bucket) = &mut self.frames
                    {
                        bucket.drain(1, now);
                    }
                    return Ok(Ok(Turn::Event(token)));
                }
                Progress::NeedSpace(length) => {
                    // Buffers that are not leased do not grow: a frame that is too long for them is the peer's fault before it comes to this.
                    let lease = self.terms.input(length).ok_or(Error::Full)?;
                    // Never too small for what waits: the connection asked for more than that.
                    let _old = self.session.buffers().0.replace(lease);
                }
                Progress::NeedInput => return Ok(Err(Starved::Input)),
                Progress::NeedOutput if self.make_room() => {}
                Progress::NeedOutput => return Ok(Err(Starved::Output)),
                Progress::Closed => return Ok(Err(Starved::Over)),
            }
        }
    }

    /// Notes that the peer keeps us waiting, and until when it may.
    fn note_waiting(&mut self, starved: Starved, now: Instant) {
        let until = |limit: Option<Duration>| Some(now.saturating_add(limit?));
        let (input, output) = self.session.buffers();
        if self.blocked.is_none() && (!output.is_empty() || self.flags.unflushed) {
            self.blocked = until(self.terms.limits().write_stall);
        }
        // While frames are held back, unwanted or wait for room the peer is not to blame for what is in the buffer.
        if starved != Starved::Input || input.is_empty() {
            self.partial = None;
        } else if self.partial.is_none() {
            self.partial = until(self.terms.limits().frame_stall).map(|due| (due, 0));
        }
    }

    /// When a limit ends, the connection's or one of the link's own.
    fn deadline(&self, starved: Starved) -> Option<Instant> {
        let own = self.session.poll_timeout().map(|deadline| deadline.at);
        let rate = if let Starved::Rate(at) = starved { Some(at) } else { None };
        earliest(earliest(self.partial.map(|(due, _)| due), self.blocked), earliest(own, rate))
    }

    /// Gives the output room for an answer where that is allowed without anything leaving first.
    fn make_room(&mut self) -> bool {
        if !T::LEASED {
            return false;
        }
        let (_, output) = self.session.buffers();
        let before = output.capacity();
        if output.is_empty() {
            self.lease_empty_output();
            return self.session.buffers().1.capacity() > before;
        }
        if self.flags.extended {
            return false;
        }
        let longer = before.saturating_add(self.terms.output_length().max(ANSWER_ROOM));
        if let Some(lease) = self.terms.output(longer) {
            self.flags.extended = output.replace(lease).is_ok();
        }
        self.flags.extended
    }

    /// Gives an empty output a buffer, or a longer one when a longer message waits for it.
    pub(super) fn lease_empty_output(&mut self) {
        let (_, output) = self.session.buffers();
        if !T::LEASED || !output.is_empty() {
            return;
        }
        self.flags.extended = false;
        let length = output.wanted().saturating_add(ANSWER_ROOM);
        if output.capacity() < length
            && let Some(lease) = self.terms.output(length)
        {
            let _old = output.replace(lease);
        }
    }

    /// Gives the input a buffer with space.
    fn lease_input(&mut self) {
        if !T::LEASED {
            return;
        }
        let (input, _) = self.session.buffers();
        if input.space().is_empty()
            && let Some(lease) = self.terms.input(input.len().saturating_add(1))
        {
            let _old = input.replace(lease);
        }
    }

    /// Nobody is there to read it, which is what the peer's end said; else that is a failure.
    fn write_failed<E>(&mut self, error: E) -> Result<(), LinkCause<E>> {
        if self.end != End::PeerEnded {
            return Err(LinkCause::Write(error));
        }
        self.blocked = None;
        self.flags.unflushed = false;
        let waiting = self.session.output().len();
        self.session.consume_output(waiting).map_err(misuse)
    }

    /// The connection is over: what is left of the peer's bytes is nobody's.
    fn drop_input(&mut self) {
        self.session.buffers().0.view().clear();
        self.partial = None;
    }
}

fn misuse<E>(misuse: Misuse) -> LinkCause<E> {
    LinkCause::Connection(misuse.into())
}
