//! The three kinds of failure, kept apart: the peer's fault, the caller's misuse, and a full buffer.
//!
//! All are small and `Copy`, and say what was wrong and where without allocated text. What only one layer can get wrong is
//! that layer's own type (a decode failure, a handshake failure) and is carried here whole.

use core::fmt;

use crate::connection::Reason;
use crate::noise::NoiseError;
use crate::transport::TransportError;
use crate::wire::{DecodeError, EncodeError, EncodeErrorKind};

/// Why a call on a connection failed.
///
/// [`Error::Peer`] is final: the connection is over and every later call returns the same. The other two change nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The peer, or someone on the way to it, broke a rule or a limit.
    Peer(PeerError),
    /// The caller did what it must not.
    Misuse(Misuse),
    /// No room in the output buffer; drain it (or replace it) and repeat the call.
    Full,
}

impl Error {
    /// The error as a number, for logs that have no room for words: firmware that prints no error links no texts and no names.
    ///
    /// The upper byte is the class, the next one what was wrong, the rest a detail:
    ///
    /// | class | what | detail |
    /// |---|---|---|
    /// | 1 [`Full`](Error::Full) | | |
    /// | 2 [`Misuse`] | its position in the enum | |
    /// | 3 [`Handshake`](PeerError::Handshake) | the [`Fault`](crate::noise::Fault)'s position; of a certificate 0x80 and its error's | the act's position |
    /// | 4 [`Record`](PeerError::Record) | position | |
    /// | 5 [`Message`](PeerError::Message) | the kind's position | message number, field's position (0xff: none) |
    /// | 6 [`Rule`](PeerError::Rule) | the rule's position | message number |
    /// | 7 [`TooLong`](PeerError::TooLong) | | length, at most 0xffff |
    /// | 8 [`Truncated`](PeerError::Truncated) | the part's position | |
    /// | 9 [`TimedOut`](PeerError::TimedOut) | the reason's position | |
    #[must_use]
    pub fn code(&self) -> u32 {
        let (class, what, detail) = match *self {
            Self::Full => (1, 0, 0),
            Self::Misuse(misuse) => (2, misuse.code(), 0),
            Self::Peer(PeerError::Handshake(error)) => (3, error.fault.code(), error.act as u16),
            Self::Peer(PeerError::Record(error)) => (4, error.code(), 0),
            Self::Peer(PeerError::Message(error)) => {
                let (number, field) = error.place().map_or((0xff, None), |place| (place.msg_type, place.field));
                (5, error.kind().code(), u16::from_be_bytes([number, field.unwrap_or(0xff)]))
            }
            Self::Peer(PeerError::Rule { rule, msg_type }) => (6, rule as u8, u16::from(msg_type)),
            Self::Peer(PeerError::TooLong { length, .. }) => (7, 0, length.min(0xffff) as u16),
            Self::Peer(PeerError::Truncated(part)) => (8, part as u8, 0),
            Self::Peer(PeerError::TimedOut(reason)) => (9, reason as u8, 0),
        };
        let [high, low] = detail.to_be_bytes();
        u32::from_be_bytes([class, what, high, low])
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Peer(error) => write!(f, "peer: {error}"),
            Self::Misuse(error) => write!(f, "misuse: {error}"),
            Self::Full => Full.fmt(f),
        }
    }
}

impl core::error::Error for Error {}

impl From<PeerError> for Error {
    fn from(error: PeerError) -> Self {
        Self::Peer(error)
    }
}

impl From<Misuse> for Error {
    fn from(error: Misuse) -> Self {
        Self::Misuse(error)
    }
}

impl From<Full> for Error {
    fn from(_: Full) -> Self {
        Self::Full
    }
}

impl From<EncodeError> for Error {
    #[cold]
    #[cfg_attr(target_os = "none", inline(never))]
    fn from(error: EncodeError) -> Self {
        match error.kind() {
            EncodeErrorKind::NoRoom => Self::Full,
            _ => Self::Misuse(Misuse::Encode(error)),
        }
    }
}

/// What a peer did wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PeerError {
    /// The handshake failed: which act, and why.
    Handshake(NoiseError),
    /// A record did not open.
    Record(TransportError),
    /// A payload is malformed: which message, field and offset.
    Message(DecodeError),
    /// A rule of the protocol was broken.
    Rule {
        /// Which.
        rule: Rule,
        /// The number of the message that broke it.
        msg_type: u8,
    },
    /// A frame, record or handshake message is longer than this side takes.
    TooLong {
        /// Bytes that it has, as far as known; of a frame with its header.
        length: u32,
        /// Bytes that it may have.
        limit: u32,
    },
    /// The stream ended in the middle of something.
    Truncated(Part),
    /// A time limit was reached.
    TimedOut(Reason),
}

impl fmt::Display for PeerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Handshake(error) => error.fmt(f),
            Self::Record(error) => error.fmt(f),
            Self::Message(error) => error.fmt(f),
            Self::Rule { rule, msg_type } => write!(f, "message 0x{msg_type:02x}: {rule}"),
            Self::TooLong { length, limit } => write!(f, "{length} bytes where at most {limit} are taken"),
            Self::Truncated(part) => write!(f, "stream ended inside {part}"),
            Self::TimedOut(reason) => write!(f, "time limit reached: {reason}"),
        }
    }
}

impl core::error::Error for PeerError {}

/// The part of the exchange that a stream's end cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// The handshake, with or without a message begun.
    Handshake,
    /// `SetupConnection` was sent and not answered (D-CONN-2).
    Setup,
    /// A record.
    Record,
    /// A frame.
    Frame,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Handshake => "the handshake",
            Self::Setup => "the connection setup",
            Self::Record => "a record",
            Self::Frame => "a frame",
        })
    }
}

/// The rules that a connection enforces itself. Sub-protocols have their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Rule {
    /// D-CONN-1: a client begins with `SetupConnection`.
    SetupFirst,
    /// D-CONN-1: and sends it once.
    SetupOnce,
    /// C-CONN-13: a server is silent before its answer to `SetupConnection`.
    ServerFirst,
    /// D-CONN-2: the answer to `SetupConnection` is Success or Error.
    SetupAnswer,
    /// D-CONN-4: `used_version` is one that the client offered.
    VersionNotOffered,
    /// D-FRAME-4: the payload of a channel message begins with a channel id.
    ChannelId,
    /// D-FRAME-7: the channel bit follows the type table (strict mode).
    ChannelBit,
    /// The type table: the message travels in the other direction only.
    Direction,
    /// Our limit on messages that mean nothing to us in a row.
    Dropped,
}

impl Rule {
    /// The rule's id in the catalogue of rules; `None` for limits of our own and what only the type table says.
    #[must_use]
    pub const fn id(self) -> Option<&'static str> {
        match self {
            Self::SetupFirst | Self::SetupOnce => Some("D-CONN-1"),
            Self::ServerFirst => Some("C-CONN-13"),
            Self::SetupAnswer => Some("D-CONN-2"),
            Self::VersionNotOffered => Some("D-CONN-4"),
            Self::ChannelId => Some("D-FRAME-4"),
            Self::ChannelBit => Some("D-FRAME-7"),
            Self::Direction | Self::Dropped => None,
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SetupFirst => "the first message must be SetupConnection",
            Self::SetupOnce => "SetupConnection a second time",
            Self::ServerFirst => "a server may not speak before SetupConnection",
            Self::SetupAnswer => "SetupConnection must be answered with Success or Error",
            Self::VersionNotOffered => "used_version was not offered",
            Self::ChannelId => "a channel message without a channel id",
            Self::ChannelBit => "the channel bit does not fit the message",
            Self::Direction => "the message travels in the other direction only",
            Self::Dropped => "too many messages in a row that mean nothing here",
        })?;
        self.id().map_or(Ok(()), |id| write!(f, " ({id})"))
    }
}

/// There is no room now. Nothing was changed; the same call succeeds after the buffer was drained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Full;

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no room in the buffer")
    }
}

impl core::error::Error for Full {}

/// A call that the caller should not have made. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Misuse {
    /// More bytes committed than the input buffer had space for.
    CommitBeyondSpace,
    /// More bytes consumed than the output buffer had filled.
    ConsumeBeyondFilled,
    /// A message sent before the connection is open, or `SetupConnection` a second time.
    NotNow,
    /// A message sent after the connection was closed.
    Closed,
    /// A token used after the next `advance`, or on another connection's buffer.
    StaleToken,
    /// A message longer than the output buffer can ever hold.
    TooLarge,
    /// An output buffer whose ceiling is below [`ANSWER_ROOM`](crate::config::ANSWER_ROOM).
    OutputTooSmall,
    /// `SetupConnection` for another sub-protocol than the connection's.
    WrongProtocol,
    /// A channel message without a channel id, or a core message by way of the extensions' call.
    NotAnExtension,
    /// A value that has no form on the wire: which message and field.
    Encode(EncodeError),
    /// The configuration and the cryptography provider do not fit each other. The connection is over.
    Handshake(NoiseError),
    /// The link's key has no nonces left. The connection can only be closed.
    KeyExhausted,
}

impl Misuse {
    /// See [`Error::code`].
    const fn code(self) -> u8 {
        match self {
            Self::CommitBeyondSpace => 0,
            Self::ConsumeBeyondFilled => 1,
            Self::NotNow => 2,
            Self::Closed => 3,
            Self::StaleToken => 4,
            Self::TooLarge => 5,
            Self::OutputTooSmall => 6,
            Self::WrongProtocol => 7,
            Self::NotAnExtension => 8,
            Self::Encode(_) => 9,
            Self::Handshake(_) => 10,
            Self::KeyExhausted => 11,
        }
    }
}

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CommitBeyondSpace => "more committed than there was space for",
            Self::ConsumeBeyondFilled => "more consumed than was filled",
            Self::NotNow => "the connection is not in the state for this message",
            Self::Closed => "the connection is closed",
            Self::StaleToken => "the token belongs to another frame",
            Self::TooLarge => "the message is larger than the output buffer can hold",
            Self::OutputTooSmall => "the output buffer is smaller than an answer may need",
            Self::WrongProtocol => "SetupConnection names another protocol than the connection's",
            Self::NotAnExtension => "not a message of an extension",
            Self::Encode(error) => return error.fmt(f),
            Self::Handshake(error) => return error.fmt(f),
            Self::KeyExhausted => "the link's key has no nonces left",
        })
    }
}

impl core::error::Error for Misuse {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::{Act, CertificateError, Fault};
    use crate::wire::{DecodeErrorKind, Revision};
    use std::string::ToString;

    #[test]
    fn errors_are_small_and_say_what_and_which_rule() {
        let error = Error::Peer(PeerError::Rule { rule: Rule::SetupFirst, msg_type: 0x10 });
        assert_eq!(error.to_string(), "peer: message 0x10: the first message must be SetupConnection (D-CONN-1)");
        let error = Error::Peer(PeerError::Truncated(Part::Record));
        assert_eq!(error.to_string(), "peer: stream ended inside a record");
        assert!(size_of::<Error>() <= 32, "{}", size_of::<Error>());
    }

    #[test]
    fn codes_tell_class_kind_and_detail() {
        let malformed =
            DecodeError::new(DecodeErrorKind::OptionCount, 12).in_field(3).in_message(Revision::Draft, 0x1a);
        let handshake = |fault| PeerError::Handshake(NoiseError { act: Act::Two, fault }).into();
        for (error, code) in [
            (Error::Full, 0x0100_0000),
            (Misuse::KeyExhausted.into(), 0x020b_0000),
            (handshake(Fault::Magic(*b"HTTP")), 0x0301_0003),
            (handshake(Fault::Over), 0x030d_0003),
            (handshake(Fault::Certificate(CertificateError::Signature)), 0x0381_0003),
            (PeerError::Record(TransportError::Decrypt).into(), 0x0402_0000),
            (PeerError::Message(malformed).into(), 0x0502_1a03),
            (PeerError::Message(DecodeError::new(DecodeErrorKind::Truncated, 0)).into(), 0x0500_ffff),
            (PeerError::Rule { rule: Rule::Dropped, msg_type: 0x7f }.into(), 0x0608_007f),
            (PeerError::TooLong { length: 70_000, limit: 1 }.into(), 0x0700_ffff),
            (PeerError::Truncated(Part::Frame).into(), 0x0803_0000),
            (PeerError::TimedOut(Reason::Idle).into(), 0x0902_0000),
        ] {
            assert_eq!(error.code(), code, "{error}: {:08x}", error.code());
        }
    }

    #[test]
    fn no_room_for_an_encoding_is_full_and_all_else_is_misuse() {
        assert_eq!(Error::from(EncodeError::new(EncodeErrorKind::NoRoom)), Error::Full);
        let invalid = EncodeError::new(EncodeErrorKind::Invalid);
        assert_eq!(Error::from(invalid), Error::Misuse(Misuse::Encode(invalid)));
    }
}
