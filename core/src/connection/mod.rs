//! One connection: handshake, setup, messages, end.
//!
//! Here lives what must be known to turn bytes into messages and back: keys, state, limits. [`table`](self) holds every
//! transition. No buffer, clock or random number generator: they are arguments. What messages mean is for the sub-protocols.
//!
//! The order of calls, for both sides:
//!
//! 1. fill [`Input::space`], then [`Input::commit`];
//! 2. [`Connection::advance`] until it says [`NeedInput`](Progress::NeedInput), [`NeedOutput`](Progress::NeedOutput) or
//!    [`Closed`](Progress::Closed); at an event call [`Connection::event`] with its token, and answer through
//!    [`Connection::outbound`]. An initiator calls `advance` once before there is any input, and sends
//!    [`SetupConnection`](crate::message::common::SetupConnection) at [`Event::Secured`];
//! 3. write [`Output::filled`], then [`Output::consume`];
//! 4. at the instant of [`Connection::poll_timeout`] call [`Connection::handle_timeout`]; at the end of the stream
//!    [`Connection::handle_eof`], then go on with 2.
//!
//! After an error from any of them write what is left in the output buffer and close the link.

mod config;
mod deadline;
mod endpoint;
mod event;
mod frames;
mod handshake;
mod life;
mod outbound;
mod reconnect;
mod setup;
mod table;

use core::fmt;
use core::marker::PhantomData;

pub use config::{InitiatorConfig, NoiseServer, ResponderConfig, Security};
pub use deadline::{Deadline, Reason};
pub use endpoint::Endpoint;
pub use event::{Answerable, Ending, Event, Progress, Token};
pub use outbound::Outbound;
pub use reconnect::reconnect_target;
pub use setup::{Refusal, SetupPolicy, VERSION};
pub use table::State;

use endpoint::SetupMessage;
use event::{Kind, Stop};
use handshake::Link;
use life::Life;
use table::Step;

use crate::buffer::{Fit, Input, InputView, Output, OutputView};
use crate::config::ANSWER_ROOM;
use crate::crypto::{Provider, RustCrypto};
use crate::error::{Error, Misuse, Part, PeerError};
use crate::frame::Header;
use crate::message::common::ChannelEndpointChanged;
use crate::message::{self, MessageSet};
use crate::noise::PeerIdentity;
use crate::noise::x25519;
use crate::protocol::{Initiator, Protocol, Responder};
use crate::time::{Instant, UnixTime};
use crate::transport::Transport;
use crate::wire::{Decode, DecodeError, Reader};

/// The state of one connection: `S` is this side, `Pr` the sub-protocol, `P` the cryptography.
///
/// It owns no buffer, so an idle one costs its own size only.
pub struct Connection<S: Endpoint, Pr: Protocol, P: Provider = RustCrypto> {
    link: Link<S, P>,
    life: Life,
    policy: S::Policy,
    protocol: PhantomData<fn() -> Pr>,
}

impl<S: Endpoint, Pr: Protocol, P: Provider> fmt::Debug for Connection<S, Pr, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("state", &self.state()).finish_non_exhaustive()
    }
}

impl<Pr: Protocol, P: Provider> Connection<Initiator, Pr, P> {
    /// The side that connects. `entropy`: 32 fresh bytes of a cryptographic generator, used for nothing else; a plain link
    /// does not look at them. Time limits count from `now`.
    #[must_use]
    pub fn initiator(config: &InitiatorConfig, entropy: [u8; 32], now: Instant) -> Self {
        let link = match &config.security {
            Security::Noise(noise) => Link::Handshake(x25519::Initiator::new(noise, entropy)),
            Security::Plain => Link::Up { transport: Transport::plain(), peer: None },
        };
        Self::new(link, Life::new(config.limits, config.revision, true), (), now)
    }
}

impl<Pr: Protocol, P: Provider> Connection<Responder, Pr, P> {
    /// The side that was connected to. Arguments as for [`initiator`](Connection::initiator).
    #[must_use]
    pub fn responder(config: &ResponderConfig, entropy: [u8; 32], now: Instant) -> Self {
        let link = match &config.security {
            Security::Noise(noise) => Link::Handshake(x25519::Responder::new(&noise.identity, &noise.policy, entropy)),
            Security::Plain => Link::Up { transport: Transport::plain(), peer: None },
        };
        Self::new(link, Life::new(config.limits, config.revision, false), config.setup, now)
    }
}

impl<S: Endpoint, Pr: Protocol, P: Provider> Connection<S, Pr, P> {
    #[inline]
    fn new(link: Link<S, P>, life: Life, policy: S::Policy, now: Instant) -> Self {
        let mut connection = Self { link, life, policy, protocol: PhantomData };
        connection.life.touch(now);
        connection
    }

    /// Opens records, moves handshake and setup on, finds the next frame. The frame of the last event is released.
    ///
    /// A frame is handed over only while `output` has room for its answer ([`ANSWER_ROOM`]). `wall` is looked at once, when a
    /// certificate is checked.
    pub fn advance<I, O>(
        &mut self,
        now: Instant,
        wall: UnixTime,
        input: &mut Input<I>,
        output: &mut Output<O>,
    ) -> Result<Progress, Error>
    where
        I: AsRef<[u8]> + AsMut<[u8]>,
        O: AsRef<[u8]> + AsMut<[u8]>,
    {
        let mut output = output.view();
        let progress = self.drive(now, wall, &mut input.view(), &mut output);
        self.life.check()?;
        if matches!(progress, Progress::NeedOutput) && output.ceiling() < ANSWER_ROOM {
            return Err(Misuse::OutputTooSmall.into());
        }
        Ok(progress)
    }

    /// The event of a token: decodes the message, which borrows from `input`. A malformed one is the peer's fault and ends
    /// the connection.
    #[allow(clippy::needless_pass_by_value, reason = "a token is good for one event")]
    #[inline]
    pub fn event<'b, I>(&mut self, token: Token, input: &'b Input<I>) -> Result<Event<'b, S, Pr>, Error>
    where
        I: AsRef<[u8]> + AsMut<[u8]>,
    {
        self.take(&token, input.lent())
    }

    /// The header of the frame that the last event came with; `None` for the end of the handshake, which comes without. Good until the next
    /// [`advance`](Self::advance), as the event's token is.
    #[must_use]
    pub fn header(&self) -> Option<Header> {
        (self.life.lent != 0).then_some(self.life.header)
    }

    /// The way to send. What is sent stands in `output` when the call returns.
    #[inline]
    pub fn outbound<'o, O>(&'o mut self, output: &'o mut Output<O>) -> Outbound<'o, S, Pr>
    where
        O: AsRef<[u8]> + AsMut<[u8]>,
    {
        self.sending(output.view())
    }

    /// [`outbound`](Self::outbound), with what differs between buffers put aside.
    #[cfg_attr(target_os = "none", inline(never))]
    fn sending<'o>(&'o mut self, output: OutputView<'o>) -> Outbound<'o, S, Pr> {
        let seal = match &mut self.link {
            Link::Up { transport, .. } => outbound::sealing(transport),
            Link::Handshake(_) | Link::Down => None,
        };
        Outbound::new(output, seal, &mut self.life)
    }

    /// The next time limit and its reason; none when the connection is over or its state has no limit. It moves with every
    /// frame, so ask again after `advance`.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Deadline> {
        self.life.deadline()
    }

    /// Tells the time. When a limit is reached the connection fails with [`PeerError::TimedOut`]; when not, nothing happens.
    #[cfg_attr(target_os = "none", inline(never))]
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), Error> {
        self.life.handle_timeout(now);
        self.drop_keys_when_over();
        self.life.check()
    }

    /// The peer's stream has ended. What is in the input buffer is still handed over; then `advance` says
    /// [`Progress::Closed`], or fails with [`PeerError::Truncated`] when the end came inside of something.
    pub fn handle_eof(&mut self) {
        self.life.ended = true;
    }

    /// Closes in order: nothing more is received, and nothing is sent after what is in the output buffer. The protocol has no
    /// message for it; the peer sees the stream end between two frames. What was found before is not to be had any more: keys and peer are forgotten,
    /// so the end of a handshake would say that nobody proved anything.
    pub fn close(&mut self) {
        self.life.serial = self.life.serial.wrapping_add(1);
        self.life.end(Step::Close, Ending::Local);
        self.drop_keys_when_over();
    }

    /// Where the connection is.
    #[must_use]
    pub const fn state(&self) -> State {
        self.life.state()
    }

    /// How the connection ended, if it did so without a fault.
    #[must_use]
    pub const fn ending(&self) -> Option<Ending> {
        self.life.ending()
    }

    /// The fault that ended the connection, which every call returns.
    #[must_use]
    pub const fn fault(&self) -> Option<Error> {
        self.life.fault()
    }

    /// Who is at the other end: `None` on a plain link, before the handshake is over and after the connection is.
    #[must_use]
    pub const fn peer(&self) -> Option<PeerIdentity> {
        match &self.link {
            Link::Up { peer, .. } => *peer,
            Link::Handshake(_) | Link::Down => None,
        }
    }

    /// [`advance`](Self::advance), with what differs between buffers put aside. A fault is noted in the connection's life, and is an end here.
    #[cfg_attr(target_os = "none", inline(never))]
    fn drive(
        &mut self,
        now: Instant,
        wall: UnixTime,
        input: &mut InputView<'_>,
        output: &mut OutputView<'_>,
    ) -> Progress {
        input.release();
        // Tokens of events before this call are good for nothing any more.
        self.life.serial = self.life.serial.wrapping_add(1);
        let progress = match self.step(now, wall, input, output) {
            Stop::Event => {
                input.lend(self.life.lent);
                Progress::Event(Token { serial: self.life.serial })
            }
            Stop::Input(_) if self.life.ended => self.stream_ended(input),
            Stop::Input(_) if input.is_empty() => Progress::NeedInput,
            Stop::Input(whole) => match input.fit(whole) {
                Fit::Now => Progress::NeedInput,
                Fit::Grown(bytes) => Progress::NeedSpace(bytes),
                Fit::Never => {
                    self.life.too_long(whole, input.ceiling());
                    Progress::Closed
                }
            },
            Stop::Output => {
                output.want(ANSWER_ROOM);
                Progress::NeedOutput
            }
            Stop::Closed => Progress::Closed,
        };
        self.drop_keys_when_over();
        progress
    }

    /// Goes on to the next event.
    fn step(&mut self, now: Instant, wall: UnixTime, input: &mut InputView<'_>, output: &mut OutputView<'_>) -> Stop {
        let stop = match self.life.state() {
            State::Handshake => self.link.shake_hands(wall, &mut self.life, input, output),
            State::Setup | State::Asked | State::Open => self.next_message(input, output),
            State::Closed | State::Failed => Stop::Closed,
        };
        if stop == Stop::Event {
            self.life.touch(now);
        }
        stop
    }

    /// Finds the next frame that means something, and notes what it means.
    #[cfg_attr(target_os = "none", inline(never))]
    fn next_message(&mut self, input: &mut InputView<'_>, output: &mut OutputView<'_>) -> Stop {
        loop {
            let life = &mut self.life;
            let Link::Up { transport, .. } = &mut self.link else { return Stop::Closed };
            if let Some(stop) = frames::next_frame(transport, life, input) {
                return stop;
            }
            let open = life.state() == State::Open;
            if open && !endpoint::classify(const { &endpoint::known::<S, Pr>() }, life) {
                life.count_dropped();
                if life.state().is_over() {
                    return Stop::Closed;
                }
                input.drop_plain(life.lent);
                continue;
            }
            if output.room() < ANSWER_ROOM {
                return Stop::Output;
            }
            let event = open || {
                let payload = input.plain().get(Header::LEN..life.lent).unwrap_or_default();
                let (output, seal) = (output.reborrow(), outbound::sealing(transport));
                S::set_up::<Pr>(&self.policy, SetupMessage { payload, life, output, seal })
            };
            return if event { Stop::Event } else { Stop::Closed };
        }
    }

    /// The stream is over and so is what was in the buffer: in order between two frames, else not.
    fn stream_ended(&mut self, input: &InputView<'_>) -> Progress {
        let part = match self.life.state() {
            State::Handshake => Some(Part::Handshake),
            _ if !input.sealed().is_empty() => Some(Part::Record),
            _ if !input.plain().is_empty() => Some(Part::Frame),
            State::Asked => Some(Part::Setup),
            State::Setup | State::Open | State::Closed | State::Failed => None,
        };
        match part {
            Some(part) => self.life.fail(PeerError::Truncated(part).into()),
            None => self.life.end(Step::PeerEnded, Ending::Peer),
        }
        Progress::Closed
    }

    /// [`event`](Self::event), with what differs between buffers put aside.
    #[inline]
    fn take<'b>(&mut self, token: &Token, lent: &'b [u8]) -> Result<Event<'b, S, Pr>, Error> {
        self.life.check()?;
        if token.serial != self.life.serial || lent.len() != self.life.lent {
            return Err(Misuse::StaleToken.into());
        }
        self.decode(lent.get(Header::LEN..).unwrap_or_default()).map_err(|error| {
            let error = PeerError::Message(error).into();
            self.life.fail(error);
            self.drop_keys_when_over();
            error
        })
    }

    #[inline]
    fn decode<'b>(&mut self, payload: &'b [u8]) -> Result<Event<'b, S, Pr>, DecodeError> {
        let Life { revision, header, kind, .. } = self.life;
        // One for all, and judged once.
        let mut reader = Reader::new(payload);
        let event = match kind {
            Kind::Secured => return Ok(Event::Secured(self.peer())),
            Kind::Message(row) => return Ok(Event::Message(MessageSet::decode_row(row, payload, revision)?)),
            Kind::Extension => return Ok(Event::Extension(header, payload)),
            Kind::Opened => Event::Opened(Decode::read(&mut reader, revision)),
            Kind::Refused => Event::Refused(Decode::read(&mut reader, revision)),
            Kind::Reconnect => Event::Reconnect(Decode::read(&mut reader, revision)),
            Kind::EndpointChanged => {
                Event::EndpointChanged(ChannelEndpointChanged::read(&mut reader, revision).channel_id)
            }
        };
        message::finish(&mut reader, header.msg_type(), revision)?;
        if matches!(kind, Kind::Refused) {
            self.life.end(Step::SetupRefused, Ending::RefusedByPeer);
            self.drop_keys_when_over();
        }
        Ok(event)
    }

    /// Keys are wiped as soon as they are of no more use.
    #[cfg_attr(target_os = "none", inline(never))]
    fn drop_keys_when_over(&mut self) {
        if self.life.state().is_over() {
            self.link = Link::Down;
        }
    }
}
