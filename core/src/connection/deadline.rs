//! Time limits of a connection: which one runs in which state, and when it ends.
//!
//! Only one limit runs at a time, so the instant of its end is all that is stored.

use core::fmt;
use core::time::Duration;

use super::table::State;
use crate::config::Limits;
use crate::time::Instant;

/// What a [`Deadline`] is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The handshake must be over, counted from the connection's creation.
    Handshake,
    /// `SetupConnection` must be answered, counted from the end of the handshake.
    Setup,
    /// The peer must send a whole frame, counted from its last one.
    Idle,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Handshake => "handshake",
            Self::Setup => "connection setup",
            Self::Idle => "silence of the peer",
        })
    }
}

/// When a connection wants to be woken, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline {
    /// The instant to call `handle_timeout` at.
    pub at: Instant,
    /// The limit that ends there.
    pub reason: Reason,
}

impl Reason {
    /// Which limit runs in `state`, while the connection is not over.
    pub(super) const fn of(state: State) -> Self {
        match state {
            State::Handshake => Self::Handshake,
            State::Setup | State::Asked => Self::Setup,
            State::Open | State::Closed | State::Failed => Self::Idle,
        }
    }

    /// The limit.
    pub(super) const fn limit(self, limits: &Limits) -> Option<Duration> {
        *match self {
            Self::Handshake => &limits.handshake,
            Self::Setup => &limits.setup,
            Self::Idle => &limits.idle,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_state_has_its_limit() {
        let limits = Limits {
            handshake: Some(Duration::from_secs(1)),
            setup: Some(Duration::from_secs(2)),
            idle: Some(Duration::from_secs(3)),
            ..Limits::default()
        };
        let of = |state| (Reason::of(state), Reason::of(state).limit(&limits).map(|limit| limit.as_secs()));
        assert_eq!(of(State::Handshake), (Reason::Handshake, Some(1)));
        assert_eq!(of(State::Setup), (Reason::Setup, Some(2)));
        assert_eq!(of(State::Asked), (Reason::Setup, Some(2)));
        assert_eq!(of(State::Open), (Reason::Idle, Some(3)));
        assert_eq!(Reason::Idle.limit(&Limits { idle: None, ..limits }), None);
    }
}
