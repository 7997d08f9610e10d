//! Why a link failed, and with whom. `E` is the stream's error.

use core::fmt;
use core::net::SocketAddr;

use crate::connection::State;
use crate::error::Error;

/// What a link found wrong by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The connection says so: the peer broke a rule or a time limit, or this side misused the connection.
    Connection(Error),
    /// The peer stopped in the middle.
    Stalled(Stall),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Connection(error)
    }
}

/// Why a link failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkCause<E> {
    /// The connection says so: the peer broke a rule or a time limit, or this side misused the connection.
    Connection(Error),
    /// Reading from the stream failed.
    Read(E),
    /// Writing to the stream failed; what waited is lost.
    Write(E),
    /// The peer stopped in the middle.
    Stalled(Stall),
}

/// What a peer stopped doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stall {
    /// Taking what was sent to it.
    Reading,
    /// Sending a frame that it had begun.
    Writing,
}

impl<E> From<Fault> for LinkCause<E> {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Connection(error) => Self::Connection(error),
            Fault::Stalled(stall) => Self::Stalled(stall),
        }
    }
}

impl<E> From<Error> for LinkCause<E> {
    fn from(error: Error) -> Self {
        Self::Connection(error)
    }
}

impl<E: fmt::Display> fmt::Display for LinkCause<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connection(error) => error.fmt(f),
            Self::Read(error) => write!(f, "reading failed: {error}"),
            Self::Write(error) => write!(f, "writing failed: {error}"),
            Self::Stalled(Stall::Reading) => f.write_str("the peer does not take what is sent to it"),
            Self::Stalled(Stall::Writing) => f.write_str("the peer began a frame and did not end it"),
        }
    }
}

impl<E: core::error::Error + 'static> core::error::Error for LinkCause<E> {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Connection(error) => Some(error),
            Self::Read(error) | Self::Write(error) => Some(error),
            Self::Stalled(_) => None,
        }
    }
}

/// A link failed: with whom, in which state, and why.
#[derive(Debug)]
pub struct LinkError<E> {
    peer: SocketAddr,
    state: State,
    cause: LinkCause<E>,
}

impl<E> LinkError<E> {
    /// A failure of the link with `peer`, whose connection was in `state`.
    #[must_use]
    pub fn new(peer: SocketAddr, state: State, cause: LinkCause<E>) -> Self {
        let state = if let LinkCause::Connection(Error::Peer(_)) = cause { State::Failed } else { state };
        Self { peer, state, cause }
    }

    /// Who was at the other end.
    #[must_use]
    pub const fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Where the connection was when it failed; for a failure of the connection itself that is [`State::Failed`].
    #[must_use]
    pub const fn state(&self) -> State {
        self.state
    }

    /// Why.
    #[must_use]
    pub const fn cause(&self) -> &LinkCause<E> {
        &self.cause
    }

    /// Whether this side is to blame, which is a bug: what strangers cause has no place in an operator's sight.
    #[must_use]
    pub const fn is_ours(&self) -> bool {
        matches!(self.cause, LinkCause::Connection(Error::Misuse(_) | Error::Full))
    }
}

impl<E: fmt::Display> fmt::Display for LinkError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "link with {}: {}", self.peer, self.cause)?;
        match self.cause {
            LinkCause::Read(_) | LinkCause::Write(_) => write!(f, " (in state {:?})", self.state),
            LinkCause::Connection(_) | LinkCause::Stalled(_) => Ok(()),
        }
    }
}

impl<E: core::error::Error + 'static> core::error::Error for LinkError<E> {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        self.cause.source()
    }
}
