//! What differs between the two sides of a connection: the handshake's machine and what setup means to them.

use core::fmt::Debug;

use super::event::{Ending, Kind};
use super::life::Life;
use super::outbound::Outbound;
use super::setup::SetupPolicy;
use super::table::{State, Step};
use crate::crypto::Provider;
use crate::error::{Error, PeerError, Rule};
use crate::frame::Header;
use crate::message::common::{self, SetupConnection, SetupConnectionError, SetupConnectionSuccess};
use crate::message::{Message, MessageSet, Rows, decode_as};
use crate::noise::{self, Established, NoiseError, x25519};
use crate::protocol::{Initiator, Protocol, Responder, Side};
use crate::time::UnixTime;
use crate::wire::{Decode, DecodeError, Revision};

/// One side of a connection. Implemented by [`Initiator`] and [`Responder`]; for use, not for implementing.
pub trait Endpoint: Side + Sized {
    /// The handshake's state machine.
    type Handshake<P: Provider>;
    /// What this side judges the other's part of the setup by.
    type Policy: Copy + Debug;
    /// The message that setup ends with.
    type Opened<'b>: Message + Decode<'b> + Copy + Debug + PartialEq;
    /// Common messages that reach this side.
    const COMMON: Rows;
    /// Common messages that only reach the other side.
    const PEER_COMMON: Rows;

    /// One step of the handshake.
    #[doc(hidden)]
    fn process<P: Provider>(
        machine: &mut Self::Handshake<P>,
        wall: UnixTime,
        input: &[u8],
        output: &mut [u8],
    ) -> Result<noise::Step, NoiseError>;

    /// What a complete handshake agreed on.
    #[doc(hidden)]
    fn established<P: Provider>(machine: &Self::Handshake<P>) -> Option<Established<P>>;

    /// Takes a message that came before the connection is open. `None` when setup was refused and the connection is over.
    #[doc(hidden)]
    fn set_up<Pr: Protocol>(
        policy: &Self::Policy,
        message: SetupMessage<'_>,
        answer: &mut Outbound<'_, Self, Pr>,
    ) -> Result<Option<Found>, Error>;
}

/// A message that came before the connection is open.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct SetupMessage<'a> {
    pub(super) header: Header,
    pub(super) payload: &'a [u8],
}

/// Which event a message of the setup becomes.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct Found(pub(super) Kind);

impl<'a> SetupMessage<'a> {
    /// The message as an `M`, or `None` when it is another one.
    fn read<M: Message + Decode<'a>>(self, revision: Revision) -> Option<Result<M, Error>> {
        let malformed = |error: DecodeError| PeerError::Message(error).into();
        M::is(self.header, revision)
            .then(|| decode_as(self.header.msg_type(), 0, self.payload, revision).map_err(malformed))
    }

    fn breaks(self, rule: Rule) -> Error {
        PeerError::Rule { rule, msg_type: self.header.msg_type() }.into()
    }
}

impl Endpoint for Initiator {
    type Handshake<P: Provider> = x25519::Initiator<P>;
    type Policy = ();
    type Opened<'b> = SetupConnectionSuccess;
    const COMMON: Rows = <common::ToClient<'static> as MessageSet<'static>>::ROWS;
    const PEER_COMMON: Rows = <common::ToServer<'static> as MessageSet<'static>>::ROWS;

    fn process<P: Provider>(
        machine: &mut Self::Handshake<P>,
        wall: UnixTime,
        input: &[u8],
        output: &mut [u8],
    ) -> Result<noise::Step, NoiseError> {
        machine.process(wall, input, output)
    }

    fn established<P: Provider>(machine: &Self::Handshake<P>) -> Option<Established<P>> {
        machine.established()
    }

    /// The answer to `SetupConnection` (D-CONN-2); before that was sent nothing may come (C-CONN-13).
    fn set_up<Pr: Protocol>(
        (): &Self::Policy,
        message: SetupMessage<'_>,
        answer: &mut Outbound<'_, Self, Pr>,
    ) -> Result<Option<Found>, Error> {
        let revision = answer.revision();
        let Some(life) = answer.life() else { return Ok(None) };
        if life.state() != State::Asked {
            return Err(message.breaks(Rule::ServerFirst));
        }
        if let Some(success) = message.read::<SetupConnectionSuccess>(revision) {
            // D-CONN-4
            if !life.offered.contains(success?.used_version) {
                return Err(message.breaks(Rule::VersionNotOffered));
            }
            life.step(Step::SetupAccepted);
            return Ok(Some(Found(Kind::Opened)));
        }
        let Some(refusal) = message.read::<SetupConnectionError<'_>>(revision) else {
            return Err(message.breaks(Rule::SetupAnswer));
        };
        refusal?;
        life.end(Step::SetupRefused, Ending::RefusedByPeer);
        Ok(Some(Found(Kind::Refused)))
    }
}

impl Endpoint for Responder {
    type Handshake<P: Provider> = x25519::Responder<P>;
    type Policy = SetupPolicy;
    type Opened<'b> = SetupConnection<'b>;
    const COMMON: Rows = <common::ToServer<'static> as MessageSet<'static>>::ROWS;
    const PEER_COMMON: Rows = <common::ToClient<'static> as MessageSet<'static>>::ROWS;

    fn process<P: Provider>(
        machine: &mut Self::Handshake<P>,
        _: UnixTime,
        input: &[u8],
        output: &mut [u8],
    ) -> Result<noise::Step, NoiseError> {
        machine.process(input, output)
    }

    fn established<P: Provider>(machine: &Self::Handshake<P>) -> Option<Established<P>> {
        machine.established()
    }

    /// `SetupConnection`, which comes first (D-CONN-1) and is answered here (D-CONN-2).
    fn set_up<Pr: Protocol>(
        policy: &Self::Policy,
        message: SetupMessage<'_>,
        answer: &mut Outbound<'_, Self, Pr>,
    ) -> Result<Option<Found>, Error> {
        let Some(asked) = message.read::<SetupConnection<'_>>(answer.revision()) else {
            return Err(message.breaks(Rule::SetupFirst));
        };
        let judged = policy.judge(Pr::NUMBER, &asked?);
        match judged {
            Ok(success) => answer.reply(&success)?,
            // D-CONN-8: the refusal goes out, then the connection closes.
            Err(refusal) => answer.reply(&refusal.message())?,
        }
        let Some(life) = answer.life() else { return Ok(None) };
        match judged {
            Ok(_) => {
                life.step(Step::SetupAccepted);
                Ok(Some(Found(Kind::Opened)))
            }
            Err(refusal) => {
                life.end(Step::SetupRefused, Ending::Refused(refusal));
                Ok(None)
            }
        }
    }
}

/// The numbers of an open connection.
pub(super) struct Known {
    own: Rows,
    common: Rows,
    peer: Rows,
    peer_common: Rows,
}

impl Known {
    /// Those of side `S` of protocol `Pr`.
    pub(super) const fn new<S: Endpoint, Pr: Protocol>() -> Self {
        Self {
            own: <S::Incoming<'static, Pr> as MessageSet<'static>>::ROWS,
            common: S::COMMON,
            peer: <<S::Peer as Side>::Incoming<'static, Pr> as MessageSet<'static>>::ROWS,
            peer_common: S::PEER_COMMON,
        }
    }
}

/// What a message of the open connection is to this side (D-EXT-4, D-EXT-5). `None`: nothing, and dropped.
pub(super) fn classify(known: &Known, header: Header, payload: &[u8], life: &Life) -> Result<Option<Kind>, Error> {
    let breaks = |rule| Err(PeerError::Rule { rule, msg_type: header.msg_type() }.into());
    // D-FRAME-4, whoever the message is for: a proxy would pass it on by that id.
    if header.channel_msg() && header.channel_id(payload).is_none() {
        return breaks(Rule::ChannelId);
    }
    if !header.is_core() {
        // D-EXT-2, D-EXT-4
        return Ok(header.channel_msg().then_some(Kind::Extension));
    }
    let row = |rows: &Rows| rows.find(header.msg_type(), life.revision);
    let own = row(&known.own);
    let Some(found) = own.or_else(|| row(&known.common)) else {
        let theirs = row(&known.peer).or_else(|| row(&known.peer_common)).is_some();
        return if theirs { breaks(Rule::Direction) } else { Ok(None) };
    };
    // D-FRAME-7
    if life.limits.strict && found.number.channel_msg != header.channel_msg() {
        return breaks(Rule::ChannelBit);
    }
    if own.is_some() {
        return Ok(Some(Kind::Message(found)));
    }
    if common::Reconnect::is(header, life.revision) {
        Ok(Some(Kind::Reconnect))
    } else if common::ChannelEndpointChanged::is(header, life.revision) {
        Ok(Some(Kind::EndpointChanged))
    } else {
        // The setup's messages, after the setup.
        breaks(Rule::SetupOnce)
    }
}
