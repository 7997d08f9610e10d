//! What a connection tells its owner: progress, events and how it ended.

use core::fmt;

use super::endpoint::Endpoint;
use super::outbound::Outbound;
use super::setup::Refusal;
use crate::frame::Header;
use crate::message::Row;
use crate::message::common::{Reconnect, SetupConnectionError};
use crate::noise::PeerIdentity;
use crate::protocol::Protocol;

/// What [`advance`](super::Connection::advance) achieved, and what it needs to go on.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "an event is lost with its token"]
pub enum Progress {
    /// Something happened: turn the token into the event before the next call.
    Event(Token),
    /// Nothing whole waits: read from the link.
    NeedInput,
    /// What comes needs an input buffer of at least so many bytes: [replace](crate::buffer::Input::replace) it. Only said to
    /// owners of a [growable](crate::buffer::Input::growable) one.
    NeedSpace(usize),
    /// Write to the link: there is not enough room for an answer. When the buffer has no bytes to write or
    /// [`wanted`](crate::buffer::Output::wanted) says more than its capacity, replace it.
    NeedOutput,
    /// Over, in order; [`ending`](super::Connection::ending) says how. Write what is left in the output buffer, then close the link.
    Closed,
}

/// Names the event that [`advance`](super::Connection::advance) found. It borrows nothing, so that the buffer can be looked
/// after first; it is good until the next `advance`.
#[derive(Debug, PartialEq, Eq)]
pub struct Token {
    pub(super) serial: u32,
}

/// Which event was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The only one without a frame.
    Secured,
    Opened,
    Refused,
    Message(Row),
    Reconnect,
    EndpointChanged,
    Extension,
}

/// What happened on a connection. Messages borrow from the input buffer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Event<'b, S: Endpoint, Pr: Protocol> {
    /// The link is up. `None` on a plain link, where nobody proved anything.
    Secured(Option<PeerIdentity>),
    /// Setup succeeded. To an initiator the server's answer, to act on its flags (D-CONN-7); to a responder the client's
    /// `SetupConnection`, which is answered already.
    Opened(S::Opened<'b>),
    /// To an initiator: the server refuses (D-CONN-8), and the connection is over. `flags` lists what it does not support.
    Refused(SetupConnectionError<'b>),
    /// A message of the sub-protocol.
    Message(S::Incoming<'b, Pr>),
    /// To an initiator: the server asks to connect elsewhere, see [`reconnect_target`](super::reconnect_target).
    Reconnect(Reconnect<'b>),
    /// The other end of this channel is another one now: forget what extensions agreed on for it (D-EXT-9).
    EndpointChanged(u32),
    /// A channel message of an unknown extension: its header and whole payload, for whoever owns the channel (D-EXT-2).
    Extension(Header, &'b [u8]),
}

/// An event and the way to answer it, as [`Session::take_event`](crate::session::Session::take_event) returns them.
pub type Answerable<'a, S, Pr> = (Event<'a, S, Pr>, Outbound<'a, S, Pr>);

/// How a connection ended without a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The owner closed it.
    Local,
    /// The peer ended its stream between two frames.
    Peer,
    /// To a responder: setup was refused, and the refusal is in the output buffer (D-CONN-8).
    Refused(Refusal),
    /// To an initiator: setup was refused.
    RefusedByPeer,
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local => f.write_str("closed by this side"),
            Self::Peer => f.write_str("closed by the peer"),
            Self::Refused(refusal) => write!(f, "setup refused: {refusal}"),
            Self::RefusedByPeer => f.write_str("setup refused by the peer"),
        }
    }
}

/// What ends the connection's inner loops. What there is to know of an event is in the connection's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// An event.
    Event,
    /// More input is needed; all that waits and what is missing have so many bytes together, as far as known.
    Input(usize),
    /// Room for an answer is needed.
    Output,
    /// The connection is over, in order or by a fault.
    Closed,
}
