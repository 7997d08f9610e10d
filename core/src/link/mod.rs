//! One connection over one stream, as its runtime drives it: what is next, and in which order.
//!
//! [`Session`] turns bytes into events; here lives what a stream adds to that, the same on every runtime: reading, handling and
//! writing in turns that starve nobody, time limits for a peer that stops in the middle, buffers that are leased while bytes are in
//! flight, room for what is sent unasked, a limit on frames, the orderly end. No stream, timer, clock or waker: a runtime polls
//! the stream and arms a timer as [`Link::step`] says, and reports what came of it.
//!
//! The order of calls:
//!
//! 1. [`Link::step`] until it says [`Step::Io`]; a [`Turn`] is the owner's.
//! 2. Do what [`Link::outgoing`] says as far as the stream takes it, and report with [`written`](Link::written),
//!    [`flushed`](Link::flushed), [`shut_down`](Link::shut_down). If anything went, go on with 1.
//! 3. If [`Io::read`], read into [`Link::space`], report with [`read`](Link::read) and go on with 1. A stream that takes nothing must
//!    not keep anyone from reading: two busy peers would wait for each other.
//! 4. If [`Io::wake`] has come, call [`Link::handle_timeout`] and go on with 1.
//! 5. Else give the buffers back with [`Link::rest`] (where they are leased), wait for the stream or for `wake`, and go on with 1.
//!
//! All state is in the link, so a runtime's future may be dropped at any point. After an error the link is good for nothing but
//! being dropped.

mod drive;
mod error;
mod terms;
#[cfg(test)]
mod tests;

use core::fmt;

pub use error::{Fault, LinkCause, LinkError, Stall};
#[cfg(feature = "alloc")]
pub use terms::LinkSettings;
pub use terms::{Limits, Terms};

use crate::config::ANSWER_ROOM;
use crate::connection::{Answerable, Connection, Endpoint, Event, Outbound, Token};
use crate::crypto::Provider;
use crate::error::Error;
use crate::protocol::Protocol;
use crate::rate::TokenBucket;
use crate::session::Session;
use crate::time::Instant;

/// Room for something unasked in an output buffer that cannot grow: the largest that a device sends while its channel is open is the
/// request for another hash rate, 66 bytes with its record.
const UNASKED_ROOM: usize = 72;

/// What a link wants of its owner.
#[derive(Debug, PartialEq, Eq)]
pub enum Turn {
    /// Something happened: turn the token into the event with [`Link::event`].
    Event(Token),
    /// All that was sent has left, and [`Link::want_room`] was called before, or [`Link::outbound`] gave none: send what found no room.
    Room,
    /// The connection ended in order, and all that was sent has left.
    Closed,
}

/// What is to be done next.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "an event is lost with its token"]
pub enum Step {
    /// By the owner.
    Turn(Turn),
    /// By the stream, as far as it can without waiting.
    Io(Io),
}

/// What a link wants of its stream, beside [`Link::outgoing`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Io {
    /// Read. Otherwise nothing more of the peer is wanted now.
    pub read: bool,
    /// When to call [`Link::handle_timeout`], if nothing happens before. An instant that has come already: look whether there is something,
    /// and do not wait for it.
    pub wake: Option<Instant>,
}

/// What is to be done with the outgoing half of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outgoing {
    /// Nothing.
    Nothing,
    /// Write some of [`Link::output`], and report with [`Link::written`].
    Bytes,
    /// Flush, and report with [`Link::flushed`].
    Flush,
    /// End it, and report with [`Link::shut_down`].
    End,
}

/// One connection over one stream.
///
/// `I` and `O` are the storage of its buffers; `T` are the terms that it runs on: [`Limits`] with arrays or slices that it keeps,
/// or (feature `alloc`) shared settings with a pool that it leases buffers of.
///
/// Answers leave when nothing whole is left to handle, so a burst of frames is answered with one write.
pub struct Link<S: Endpoint, Pr: Protocol, P: Provider, I, O, T> {
    session: Session<S, Pr, I, O, P>,
    terms: T,
    frames: Option<TokenBucket>,
    /// When a frame that has begun must have gone on, where that is limited, and how many bytes of it came meanwhile.
    partial: Option<(Instant, u32)>,
    /// When the stream must have taken some of what waits, where that is limited.
    blocked: Option<Instant>,
    end: End,
    room: Room,
    flags: Flags,
}

/// Facts, each of its own.
#[derive(Clone, Copy, Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
struct Flags {
    /// Something was written since the last flush.
    unflushed: bool,
    /// The output was extended for answers while nothing left.
    extended: bool,
    /// The owner wants no more events.
    deaf: bool,
    /// The connection failed, and what waits was given one try to leave.
    tried: bool,
}

/// The way to the end of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Not yet.
    Open,
    /// The peer ended its half: nothing more to read, and failing to write is no failure.
    PeerEnded,
    /// Nothing waits to be written: our half is to be ended by then.
    Shutdown { until: Instant, peer_ended: bool },
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

impl<S, Pr, P, I, O, T> Link<S, Pr, P, I, O, T>
where
    S: Endpoint,
    Pr: Protocol,
    P: Provider,
    I: AsRef<[u8]> + AsMut<[u8]>,
    O: AsRef<[u8]> + AsMut<[u8]>,
    T: Terms<I, O>,
{
    /// A link for a session. Where buffers are leased they may be empty; `LinkSettings::session` (feature `alloc`) makes such a session.
    #[cfg_attr(target_os = "none", inline(never))]
    pub fn new(session: Session<S, Pr, I, O, P>, terms: T, now: Instant) -> Self {
        let frames = if T::PACED { terms.frames().map(|rate| TokenBucket::new(rate, now)) } else { None };
        Self {
            session,
            terms,
            frames,
            partial: None,
            blocked: None,
            end: End::Open,
            room: Room::Enough,
            flags: Flags { unflushed: false, extended: false, deaf: false, tried: false },
        }
    }

    /// The connection.
    #[must_use]
    pub const fn connection(&self) -> &Connection<S, Pr, P> {
        self.session.connection()
    }

    /// What it runs on.
    #[must_use]
    pub const fn terms(&self) -> &T {
        &self.terms
    }

    /// Bytes of the buffers that it holds now, for input and for output.
    pub fn held(&mut self) -> (usize, usize) {
        let (input, output) = self.session.buffers();
        (input.capacity(), output.capacity())
    }

    /// The event that [`Turn::Event`] announced, and the way to answer it. The event borrows from the input buffer; the next step takes it
    /// back.
    #[inline]
    pub fn event(&mut self, token: Token) -> Result<Answerable<'_, S, Pr>, Error> {
        let (event, out) = self.event_beside(token);
        Ok((event?, out))
    }

    /// As [`event`](Self::event); see [`Session::event_beside`].
    #[inline]
    pub fn event_beside(&mut self, token: Token) -> (Result<Event<'_, S, Pr>, Error>, Outbound<'_, S, Pr>) {
        self.lease_empty_output();
        self.session.event_beside(token)
    }

    /// The way to send something unasked. `None` while what is left is for answers alone; [`Turn::Room`] comes when that has left. So own
    /// messages never keep this side from reading, and two busy peers cannot wait for each other.
    ///
    /// When a message finds no room, call [`want_room`](Self::want_room).
    pub fn outbound(&mut self) -> Option<Outbound<'_, S, Pr>> {
        let (_, output) = self.session.buffers();
        let for_answers = self.flags.extended || !T::LEASED && output.room() < ANSWER_ROOM + UNASKED_ROOM;
        if for_answers && !output.is_empty() {
            self.want_room();
            return None;
        }
        Some(self.answer())
    }

    /// The way to answer the last event later than at once, when the answer had to be waited for: the room that was there for it is
    /// still there unless something else was sent since.
    pub fn answer(&mut self) -> Outbound<'_, S, Pr> {
        self.lease_empty_output();
        self.session.outbound()
    }

    /// Asks for [`Turn::Room`] when all that waits has left.
    pub fn want_room(&mut self) {
        if self.room == Room::Enough {
            self.room = Room::Wanted;
        }
    }

    /// From now on there are no events, except the end of the connection, and nothing is read; what waits still leaves. For
    /// a shutdown that takes no new work and delivers what is done. For links of [paced](Terms::PACED) terms.
    pub const fn stop_listening(&mut self) {
        self.flags.deaf = true;
    }

    /// Takes [`stop_listening`](Self::stop_listening) back: what has arrived meanwhile is next.
    pub const fn listen_again(&mut self) {
        self.flags.deaf = false;
    }

    /// Ends the connection in order: nothing more is sent after what waits. [`Turn::Closed`] comes when that has left and, if the link
    /// [ends](Terms::ENDS) the stream, the peer has ended its half too or had time to.
    pub fn close(&mut self) {
        self.flags.deaf = false;
        self.session.close();
    }
}

impl<S: Endpoint, Pr: Protocol, P: Provider, I, O, T> fmt::Debug for Link<S, Pr, P, I, O, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("end", &self.end).field("room", &self.room).finish_non_exhaustive()
    }
}
