//! What differs between the two sides of a connection: the handshake's machine and what setup means to them.

use crate::crypto::undisclosed;
use core::fmt::Debug;

use super::event::{Ending, Kind};
use super::life::Life;
use super::outbound::{Outbound, Seal};
use super::setup::SetupPolicy;
use super::table::{State, Step};
use crate::buffer::OutputView;
use crate::crypto::Provider;
use crate::error::{PeerError, Rule};
use crate::message::common::{self, SetupConnection, SetupConnectionError, SetupConnectionSuccess};
use crate::message::{Message, MessageSet, Rows, decode_as};
use crate::noise::{self, Established, NoiseError, x25519};
use crate::protocol::{Initiator, Protocol, Responder, Side};
use crate::time::UnixTime;
use crate::wire::Decode;

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

    /// Takes a message that came before the connection is open, and notes what event it is. Whether it is one: else the connection is over,
    /// because setup was refused or the message is a fault.
    #[doc(hidden)]
    fn set_up<Pr: Protocol>(policy: &Self::Policy, message: SetupMessage<'_>) -> bool;
}

/// A message that came before the connection is open, and what it takes to answer it. Its header is noted in the connection's life.
#[doc(hidden)]
pub struct SetupMessage<'a> {
    pub(super) payload: &'a [u8],
    pub(super) life: &'a mut Life,
    pub(super) output: OutputView<'a>,
    pub(super) seal: Option<&'a mut (dyn Seal + 'static)>,
}

undisclosed!([] SetupMessage<'_>, "SetupMessage");

impl SetupMessage<'_> {
    fn is<M: Message>(&self) -> bool {
        M::is(self.life.header, self.life.revision)
    }

    fn breaks(self, rule: Rule) -> bool {
        self.life.breaks(rule, self.life.header.msg_type());
        false
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

    /// The answer to `SetupConnection` (D-CONN-2); before that was sent nothing may come (C-CONN-13). What is malformed in it shows at the event.
    fn set_up<Pr: Protocol>((): &Self::Policy, message: SetupMessage<'_>) -> bool {
        if message.life.state() != State::Asked {
            message.breaks(Rule::ServerFirst)
        } else if message.is::<SetupConnectionSuccess>() {
            // D-CONN-4; the version is the first field.
            match message.payload {
                [low, high, ..] if !message.life.offered.contains(u16::from_le_bytes([*low, *high])) => {
                    message.breaks(Rule::VersionNotOffered)
                }
                _ => {
                    message.life.kind = Kind::Opened;
                    message.life.step(Step::SetupAccepted)
                }
            }
        } else if message.is::<SetupConnectionError<'_>>() {
            // The event ends the connection: a malformed refusal is a fault, and not an end in order.
            message.life.kind = Kind::Refused;
            true
        } else {
            message.breaks(Rule::SetupAnswer)
        }
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
    fn set_up<Pr: Protocol>(policy: &Self::Policy, message: SetupMessage<'_>) -> bool {
        if !message.is::<SetupConnection<'_>>() {
            return message.breaks(Rule::SetupFirst);
        }
        let SetupMessage { payload, life, output, seal } = message;
        let asked: SetupConnection<'_> = match decode_as(life.header.msg_type(), 0, payload, life.revision) {
            Ok(asked) => asked,
            Err(error) => {
                life.fail(PeerError::Message(error).into());
                return false;
            }
        };
        let judged = policy.judge(Pr::NUMBER, &asked);
        let mut answer = Outbound::<Self, Pr>::new(output, seal, &mut *life);
        let sent = match judged {
            Ok(success) => answer.reply(&success),
            // D-CONN-8: the refusal goes out, then the connection closes.
            Err(refusal) => answer.reply(&refusal.message()),
        };
        life.kind = Kind::Opened;
        match (sent, judged) {
            (Err(error), _) => life.fail(error),
            (Ok(()), Ok(_)) => return life.step(Step::SetupAccepted),
            (Ok(()), Err(refusal)) => life.end(Step::SetupRefused, Ending::Refused(refusal)),
        }
        false
    }
}

/// The numbers that an open connection knows, in the order in which they are looked up.
pub(super) type Known = [Rows; 4];

/// Those of side `S` of protocol `Pr`: its own, the common ones that reach it, and both of the other side.
pub(super) const fn known<S: Endpoint, Pr: Protocol>() -> Known {
    [
        <S::Incoming<'static, Pr> as MessageSet<'static>>::ROWS,
        S::COMMON,
        <<S::Peer as Side>::Incoming<'static, Pr> as MessageSet<'static>>::ROWS,
        S::PEER_COMMON,
    ]
}

/// Notes what the frame of the open connection is to this side (D-EXT-4, D-EXT-5). Whether it is anything: else it is dropped, or a fault.
pub(super) fn classify(known: &Known, life: &mut Life) -> bool {
    let (header, revision) = (life.header, life.revision);
    let msg_type = header.msg_type();
    // D-FRAME-4, whoever the message is for: a proxy would pass it on by that id.
    if header.channel_msg() && header.msg_length() < size_of::<u32>() {
        life.breaks(Rule::ChannelId, msg_type);
        return false;
    }
    if !header.is_core() {
        // D-EXT-2, D-EXT-4
        life.kind = Kind::Extension;
        return header.channel_msg();
    }
    for (whose, rows) in known.iter().enumerate() {
        let Some(row) = rows.find(msg_type, revision) else { continue };
        let rule = if whose > 1 {
            Rule::Direction
        } else if life.limits.strict && row.number.channel_msg != header.channel_msg() {
            // D-FRAME-7
            Rule::ChannelBit
        } else {
            if whose == 0 {
                life.kind = Kind::Message(row);
                return true;
            }
            if common::Reconnect::is(header, revision) {
                life.kind = Kind::Reconnect;
                return true;
            }
            if common::ChannelEndpointChanged::is(header, revision) {
                life.kind = Kind::EndpointChanged;
                return true;
            }
            // The setup's messages, after the setup.
            Rule::SetupOnce
        };
        life.breaks(rule, msg_type);
        return false;
    }
    false
}
