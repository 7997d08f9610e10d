//! Why a link failed, and with whom.

use std::{fmt, io, net::SocketAddr};

use adit::{connection::State, error::Error};

/// A link failed: with whom, in which state, and why.
#[derive(Debug)]
pub struct LinkError {
    peer: SocketAddr,
    state: State,
    cause: LinkCause,
}

/// Why a link failed.
#[derive(Debug)]
pub enum LinkCause {
    /// The connection says so: the peer broke a rule or a time limit, or this side misused the connection.
    Connection(Error),
    /// Reading from the stream failed.
    Read(io::Error),
    /// Writing to the stream failed; what waited is lost.
    Write(io::Error),
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

impl LinkError {
    pub(super) fn new(peer: SocketAddr, state: State, cause: LinkCause) -> Self {
        Self { peer, state, cause }
    }

    /// Who was at the other end.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Where the connection was when it failed; for a failure of the connection itself that is [`State::Failed`].
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// Why.
    #[must_use]
    pub fn cause(&self) -> &LinkCause {
        &self.cause
    }
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "link with {}: ", self.peer)?;
        match &self.cause {
            LinkCause::Connection(error) => write!(f, "{error}"),
            LinkCause::Read(error) => write!(f, "reading failed in state {:?}: {error}", self.state),
            LinkCause::Write(error) => write!(f, "writing failed in state {:?}: {error}", self.state),
            LinkCause::Stalled(Stall::Reading) => f.write_str("the peer does not take what is sent to it"),
            LinkCause::Stalled(Stall::Writing) => f.write_str("the peer began a frame and did not end it"),
        }
    }
}

impl std::error::Error for LinkError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.cause {
            LinkCause::Connection(error) => Some(error),
            LinkCause::Read(error) | LinkCause::Write(error) => Some(error),
            LinkCause::Stalled(_) => None,
        }
    }
}
