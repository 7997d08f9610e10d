//! The three kinds of failure, kept apart: the peer's fault, the caller's misuse, and a full buffer.
//!
//! All are small and `Copy`, and say what was wrong and where without allocated text. What only one layer can get wrong is
//! that layer's own type (a decode failure, a handshake failure) and is carried here whole.

use core::fmt;

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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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
    /// A message longer than the output buffer can ever hold, or than a frame can announce.
    TooLarge,
    /// An output buffer whose ceiling is below [`ANSWER_ROOM`](crate::config::ANSWER_ROOM).
    OutputTooSmall,
    /// `SetupConnection` for another sub-protocol than the connection's.
    WrongProtocol,
    /// A message that the connection's revision does not have.
    WrongRevision,
    /// A channel message without a channel id, or a core message by way of the extensions' call.
    NotAnExtension,
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
            Self::WrongRevision => "the connection's revision has no such message",
            Self::NotAnExtension => "not a message of an extension",
        })
    }
}

impl core::error::Error for Misuse {}
