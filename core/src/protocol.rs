//! Roles and sub-protocols as types, so that sending a message from the wrong side, or in the wrong protocol, does not
//! compile. Only the markers live here; what travels is in [`message`](crate::message).
//!
//! ```
//! use adit::message::mining::{SetTarget, SubmitSharesStandard};
//! use adit::protocol::{In, Initiator, Mining, Responder, SentBy};
//!
//! fn sends<S: adit::protocol::Side, M: SentBy<S> + In<Mining>>() {}
//! sends::<Initiator, SubmitSharesStandard>();
//! sends::<Responder, SetTarget>();
//! ```
//!
//! A server's message from a client:
//!
//! ```compile_fail,E0277
//! use adit::message::mining::SetTarget;
//! use adit::protocol::{In, Initiator, Mining, SentBy};
//!
//! fn sends<S: adit::protocol::Side, M: SentBy<S> + In<Mining>>() {}
//! sends::<Initiator, SetTarget>();
//! ```
//!
//! A template message on a mining connection:
//!
//! ```compile_fail,E0277
//! use adit::message::template::SubmitSolution;
//! use adit::protocol::{In, Initiator, Mining, SentBy};
//!
//! fn sends<S: adit::protocol::Side, M: SentBy<S> + In<Mining>>() {}
//! sends::<Initiator, SubmitSolution<'static>>();
//! ```

use core::fmt::Debug;

use crate::frame::Header;
use crate::message::{Message, MessageSet, mining, template};
use crate::wire::{DecodeError, Revision};

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Initiator {}
    impl Sealed for super::Responder {}
    impl Sealed for super::Mining {}
    impl Sealed for super::StandardMining {}
}

/// The client: opens the transport, starts the handshake, sends `SetupConnection`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Initiator;

/// The server: accepts the transport, holds the certificate, answers `SetupConnection`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Responder;

/// One end of a connection: [`Initiator`] or [`Responder`].
pub trait Side: sealed::Sealed + Copy + Debug + Default + 'static {
    /// The other end.
    type Peer: Side;

    /// Messages of protocol `Pr` that reach this side.
    type Incoming<'a, Pr: Protocol>: MessageSet<'a>;
}

impl Side for Initiator {
    type Peer = Responder;
    type Incoming<'a, Pr: Protocol> = Pr::ToClient<'a>;
}

impl Side for Responder {
    type Peer = Initiator;
    type Incoming<'a, Pr: Protocol> = Pr::ToServer<'a>;
}

/// Decodes a message of protocol `Pr` that reached side `S`. `payload` is the whole payload that `header` announced.
///
/// An error of an unknown number ([`DecodeError::is_unknown_message`]) means a message to drop, not a malformed one.
#[inline]
pub fn decode_incoming<'a, S: Side, Pr: Protocol>(
    header: Header,
    payload: &'a [u8],
    revision: Revision,
) -> Result<S::Incoming<'a, Pr>, DecodeError> {
    <S::Incoming<'a, Pr> as MessageSet<'a>>::decode(header, payload, revision)
}

/// A sub-protocol, chosen for a whole connection by `SetupConnection.protocol` (D-NET-3).
pub trait Protocol: Copy + Debug + Default + 'static {
    /// The number in `SetupConnection.protocol`.
    const NUMBER: u8;
    /// Name as in the specification.
    const NAME: &'static str;
    /// All bits that `SetupConnection.flags` knows in this protocol.
    const SETUP_FLAGS: u32;
    /// All bits that `SetupConnection.Success.flags` knows in this protocol.
    const SUCCESS_FLAGS: u32;
    /// What a client sends, without the common messages.
    type ToServer<'a>: MessageSet<'a>;
    /// What a server sends, without the common messages.
    type ToClient<'a>: MessageSet<'a>;
}

/// The mining protocol, 0: channels, jobs, shares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Mining;

impl Protocol for Mining {
    const NUMBER: u8 = 0;
    const NAME: &'static str = "mining";
    const SETUP_FLAGS: u32 = mining::SetupFlags::ALL.bits();
    const SUCCESS_FLAGS: u32 = mining::SuccessFlags::ALL.bits();
    type ToServer<'a> = mining::ToServer<'a>;
    type ToClient<'a> = mining::ToClient<'a>;
}

/// The mining protocol as a client speaks it that takes standard jobs only (`REQUIRES_STANDARD_JOBS`, D-FLAG-1).
///
/// On the wire it is [`Mining`]. Of the messages that only other clients may get it knows the numbers, and reads nothing: a board with one standard
/// channel links no extended jobs, no groups and no custom jobs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct StandardMining;

impl Protocol for StandardMining {
    const NUMBER: u8 = Mining::NUMBER;
    const NAME: &'static str = Mining::NAME;
    const SETUP_FLAGS: u32 = Mining::SETUP_FLAGS;
    const SUCCESS_FLAGS: u32 = Mining::SUCCESS_FLAGS;
    type ToServer<'a> = mining::ToServer<'a>;
    type ToClient<'a> = mining::ToStandardClient<'a>;
}

/// [`Mining`], or the part of it that a client limits itself to.
pub trait MiningProtocol: sealed::Sealed + Protocol {
    /// Whether the client takes standard jobs only, and says so in its setup.
    const STANDARD_JOBS: bool;
}

impl MiningProtocol for Mining {
    const STANDARD_JOBS: bool = false;
}

impl MiningProtocol for StandardMining {
    const STANDARD_JOBS: bool = true;
}

/// The template distribution protocol, 2: block templates, found blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct TemplateDistribution;

impl Protocol for TemplateDistribution {
    const NUMBER: u8 = 2;
    const NAME: &'static str = "template distribution";
    const SETUP_FLAGS: u32 = 0;
    const SUCCESS_FLAGS: u32 = 0;
    type ToServer<'a> = template::ToServer<'a>;
    type ToClient<'a> = template::ToClient<'a>;
}

/// Messages that side `S` may send.
pub trait SentBy<S: Side>: Message {}

/// Messages that belong to protocol `Pr`; the common ones belong to all.
pub trait In<Pr: Protocol>: Message {}
