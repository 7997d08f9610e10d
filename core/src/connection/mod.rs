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

use core::marker::PhantomData;

pub use config::{InitiatorConfig, NoiseServer, ResponderConfig, Security};
pub use deadline::{Deadline, Reason};
pub use endpoint::Endpoint;
pub use event::{Answerable, Ending, Event, Progress, Token};
pub use outbound::Outbound;
pub use reconnect::reconnect_target;
pub use setup::{Refusal, SetupPolicy, VERSION};
pub use table::State;

use endpoint::{Known, SetupMessage};
use event::{Kind, Starved};
use handshake::Link;
use life::Life;
use table::Step;

use crate::buffer::{Fit, Input, InputView, Output, OutputView};
use crate::config::ANSWER_ROOM;
use crate::crypto::{Provider, RustCrypto};
use crate::error::{Error, Misuse, Part, PeerError};
use crate::frame::Header;
use crate::message::common::ChannelEndpointChanged;
use crate::message::{MessageSet, decode_as};
use crate::noise::PeerIdentity;
use crate::noise::x25519;
use crate::protocol::{Initiator, Protocol, Responder};
use crate::time::{Instant, UnixTime};
use crate::transport::Transport;
use crate::wire::DecodeError;

/// The state of one connection: `S` is this side, `Pr` the sub-protocol, `P` the cryptography.
///
/// It owns no buffer, so an idle one costs its own size only.
pub struct Connection<S: Endpoint, Pr: Protocol, P: Provider = RustCrypto> {
    link: Link<S, P>,
    life: Life,
    policy: S::Policy,
    protocol: PhantomData<fn() -> Pr>,
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
        Self::new(link, Life::new(config.limits, config.revision, true, now), ())
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
        Self::new(link, Life::new(config.limits, config.revision, false, now), config.setup)
    }
}

impl<S: Endpoint, Pr: Protocol, P: Provider> Connection<S, Pr, P> {
    const fn new(link: Link<S, P>, life: Life, policy: S::Policy) -> Self {
        Self { link, life, policy, protocol: PhantomData }
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
        self.drive(now, wall, &mut input.view(), &mut output.view())
    }

    /// The event of a token: decodes the message, which borrows from `input`. A malformed one is the peer's fault and ends
    /// the connection.
    #[allow(clippy::needless_pass_by_value, reason = "a token is good for one event")]
    #[inline]
    pub fn event<'b, I>(&mut self, token: Token, input: &'b Input<I>) -> Result<Event<'b, S, Pr>, Error>
    where
        I: AsRef<[u8]> + AsMut<[u8]>,
    {
        let lent = input.lent();
        if token.serial != self.life.serial() || lent.len() != token.lent() {
            return Err(Misuse::StaleToken.into());
        }
        let payload = lent.get(Header::LEN..).unwrap_or_default();
        self.decode(&token, payload).map_err(|error| self.fail(PeerError::Message(error).into()))
    }

    /// The way to send. What is sent stands in `output` when the call returns.
    #[inline]
    pub fn outbound<'o, O>(&'o mut self, output: &'o mut Output<O>) -> Outbound<'o, S, Pr>
    where
        O: AsRef<[u8]> + AsMut<[u8]>,
    {
        let seal = match &mut self.link {
            Link::Up { transport, .. } => outbound::sealing(transport),
            Link::Handshake(_) | Link::Down => None,
        };
        Outbound::new(output.view(), seal, &mut self.life)
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
        let result = self.life.handle_timeout(now);
        self.drop_keys_when_over();
        result
    }

    /// The peer's stream has ended. What is in the input buffer is still handed over; then `advance` says
    /// [`Progress::Closed`], or fails with [`PeerError::Truncated`] when the end came inside of something.
    pub fn handle_eof(&mut self) {
        self.life.ended = true;
    }

    /// Closes in order: nothing more is received, and nothing is sent after what is in the output buffer. The protocol has no
    /// message for it; the peer sees the stream end between two frames.
    pub fn close(&mut self) {
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

    fn drive(
        &mut self,
        now: Instant,
        wall: UnixTime,
        input: &mut InputView<'_>,
        output: &mut OutputView<'_>,
    ) -> Result<Progress, Error> {
        self.life.check()?;
        input.release();
        let result = self.step(now, wall, input, output);
        if let Err(error @ (Error::Peer(_) | Error::Misuse(Misuse::Handshake(_) | Misuse::KeyExhausted))) = result {
            self.fail(error);
        }
        result
    }

    #[cfg_attr(target_os = "none", inline(never))]
    fn step(
        &mut self,
        now: Instant,
        wall: UnixTime,
        input: &mut InputView<'_>,
        output: &mut OutputView<'_>,
    ) -> Result<Progress, Error> {
        match self.life.state() {
            State::Handshake => {
                if let Some(starved) = self.link.shake_hands(wall, input, output)? {
                    return self.starved(starved, input, output);
                }
                self.life.step(Step::Secured);
                self.life.touch(now);
                Ok(self.hand_over(Kind::Secured, None, input))
            }
            State::Setup | State::Asked | State::Open => self.next_message(now, input, output),
            State::Closed | State::Failed => Ok(Progress::Closed),
        }
    }

    /// Finds the next frame that means something.
    #[cfg_attr(target_os = "none", inline(never))]
    fn next_message(
        &mut self,
        now: Instant,
        input: &mut InputView<'_>,
        output: &mut OutputView<'_>,
    ) -> Result<Progress, Error> {
        loop {
            let Link::Up { transport, .. } = &mut self.link else { return Ok(Progress::Closed) };
            let header = match frames::next_frame(transport, &self.life, input)? {
                Ok(header) => header,
                Err(starved) => return self.starved(starved, input, output),
            };
            let payload = input.plain().get(Header::LEN..Header::LEN + header.msg_length()).unwrap_or_default();
            let open = self.life.state() == State::Open;
            let kind = if open {
                endpoint::classify(const { &Known::new::<S, Pr>() }, header, payload, &self.life)?
            } else {
                None
            };
            if open && kind.is_none() {
                input.drop_plain(Header::LEN + header.msg_length());
                self.life.count_dropped(header.msg_type())?;
                continue;
            }
            if output.room() < ANSWER_ROOM {
                return self.starved(Starved::Output { room: ANSWER_ROOM }, input, output);
            }
            let kind = if open {
                kind
            } else {
                let seal = outbound::sealing(transport);
                let mut answer = Outbound::<S, Pr>::new(output.reborrow(), seal, &mut self.life);
                S::set_up(&self.policy, SetupMessage { header, payload }, &mut answer)?.map(|found| found.0)
            };
            self.life.touch(now);
            self.drop_keys_when_over();
            return Ok(kind.map_or(Progress::Closed, |kind| self.hand_over(kind, Some(header), input)));
        }
    }

    /// Lends the frame at the front of the plaintext to the owner.
    fn hand_over(&mut self, kind: Kind, header: Option<Header>, input: &mut InputView<'_>) -> Progress {
        let token = Token { kind, header, serial: self.life.next_serial() };
        input.lend(token.lent());
        Progress::Event(token)
    }

    /// What is missing, as the owner is told.
    fn starved(
        &mut self,
        starved: Starved,
        input: &InputView<'_>,
        output: &mut OutputView<'_>,
    ) -> Result<Progress, Error> {
        match starved {
            Starved::Input { .. } if self.life.ended => self.stream_ended(input),
            Starved::Input { .. } if input.is_empty() => Ok(Progress::NeedInput),
            Starved::Input { whole } => match input.fit(whole) {
                Fit::Now => Ok(Progress::NeedInput),
                Fit::Grown(bytes) => Ok(Progress::NeedSpace(bytes)),
                Fit::Never => {
                    let length = u32::try_from(whole).unwrap_or(u32::MAX);
                    Err(PeerError::TooLong { length, limit: input.ceiling() }.into())
                }
            },
            Starved::Output { room } if output.ceiling() < room => Err(Misuse::OutputTooSmall.into()),
            Starved::Output { room } => {
                output.want(room);
                Ok(Progress::NeedOutput)
            }
        }
    }

    /// The stream is over and so is what was in the buffer: in order between two frames, else not.
    fn stream_ended(&mut self, input: &InputView<'_>) -> Result<Progress, Error> {
        let part = match self.life.state() {
            State::Handshake => Part::Handshake,
            _ if !input.sealed().is_empty() => Part::Record,
            _ if !input.plain().is_empty() => Part::Frame,
            State::Asked => Part::Setup,
            State::Setup | State::Open | State::Closed | State::Failed => {
                self.life.end(Step::PeerEnded, Ending::Peer);
                self.drop_keys_when_over();
                return Ok(Progress::Closed);
            }
        };
        Err(PeerError::Truncated(part).into())
    }

    #[cfg_attr(target_os = "none", inline(never))]
    #[cfg_attr(not(target_os = "none"), inline)]
    fn decode<'b>(&self, token: &Token, payload: &'b [u8]) -> Result<Event<'b, S, Pr>, DecodeError> {
        let revision = self.life.revision;
        let Some(header) = token.header else { return Ok(Event::Secured(self.peer())) };
        let number = header.msg_type();
        Ok(match token.kind {
            Kind::Secured => Event::Secured(self.peer()),
            Kind::Opened => Event::Opened(decode_as(number, 0, payload, revision)?),
            Kind::Refused => Event::Refused(decode_as(number, 0, payload, revision)?),
            Kind::Message(row) => Event::Message(MessageSet::decode_row(row, payload, revision)?),
            Kind::Reconnect => Event::Reconnect(decode_as(number, 0, payload, revision)?),
            Kind::EndpointChanged => {
                let changed: ChannelEndpointChanged = decode_as(number, 0, payload, revision)?;
                Event::EndpointChanged(changed.channel_id)
            }
            Kind::Extension => Event::Extension(header, payload),
        })
    }

    #[cfg_attr(target_os = "none", inline(never))]
    fn fail(&mut self, error: Error) -> Error {
        self.life.fail(error);
        self.drop_keys_when_over();
        error
    }

    /// Keys are wiped as soon as they are of no more use.
    #[cfg_attr(target_os = "none", inline(never))]
    fn drop_keys_when_over(&mut self) {
        if self.life.state().is_over() {
            self.link = Link::Down;
        }
    }
}
