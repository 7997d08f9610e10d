//! Time limits of a connection: which one runs in which state, and when it ends.
//!
//! Only one limit runs at a time, so one instant is all that is stored.

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

/// The running limit. `since` is when it began: creation, the end of the handshake, or the peer's last frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timer {
    since: Instant,
}

impl Timer {
    pub(super) const fn start(now: Instant) -> Self {
        Self { since: now }
    }

    /// The deadline of `state`; none once a connection is over, so a limit that has fired is never handed out again.
    pub(super) fn deadline(self, state: State, limits: &Limits) -> Option<Deadline> {
        let (limit, reason): (Option<Duration>, _) = match state {
            State::Handshake => (limits.handshake, Reason::Handshake),
            State::Setup | State::Asked => (limits.setup, Reason::Setup),
            State::Open => (limits.idle, Reason::Idle),
            State::Closed | State::Failed => return None,
        };
        limit.map(|limit| Deadline { at: self.since.saturating_add(limit), reason })
    }

    /// The limit that `now` has reached.
    pub(super) fn expired(self, now: Instant, state: State, limits: &Limits) -> Option<Reason> {
        self.deadline(state, limits).filter(|deadline| deadline.at <= now).map(|deadline| deadline.reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_state_has_its_limit_and_the_end_has_none() {
        let limits = Limits {
            handshake: Some(Duration::from_secs(1)),
            setup: Some(Duration::from_secs(2)),
            idle: Some(Duration::from_secs(3)),
            ..Limits::default()
        };
        let timer = Timer::start(Instant::from_secs(10));
        let at = |state| timer.deadline(state, &limits).map(|d| (d.at, d.reason));
        assert_eq!(at(State::Handshake), Some((Instant::from_secs(11), Reason::Handshake)));
        assert_eq!(at(State::Setup), Some((Instant::from_secs(12), Reason::Setup)));
        assert_eq!(at(State::Asked), Some((Instant::from_secs(12), Reason::Setup)));
        assert_eq!(at(State::Open), Some((Instant::from_secs(13), Reason::Idle)));
        assert_eq!((at(State::Closed), at(State::Failed)), (None, None));
    }

    #[test]
    fn a_limit_ends_at_its_instant_and_not_before() {
        let limits = Limits { handshake: Some(Duration::from_secs(1)), ..Limits::default() };
        let timer = Timer::start(Instant::ORIGIN);
        assert_eq!(timer.expired(Instant::from_micros(999_999), State::Handshake, &limits), None);
        assert_eq!(timer.expired(Instant::from_secs(1), State::Handshake, &limits), Some(Reason::Handshake));
        assert_eq!(timer.expired(Instant::from_secs(9), State::Open, &Limits { idle: None, ..limits }), None);
    }
}
