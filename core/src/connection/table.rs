//! Every transition of a connection. No other file decides which state follows which.
//!
//! Two rules:
//!
//! 1. The state changes only through [`State::after`], and only along a row of [`TABLE`].
//! 2. A step without a row is refused and the state stays: what the peer did wrong becomes [`Step::Fault`], what the
//!    caller did wrong becomes a [`Misuse`](crate::error::Misuse).

/// Where a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Bytes belong to the handshake. A plain link passes through here without any.
    Handshake,
    /// The link stands; the first message must be `SetupConnection` (D-CONN-1).
    Setup,
    /// Initiator only: `SetupConnection` is on its way, the next message must be its answer (D-CONN-2).
    Asked,
    /// Messages of the sub-protocol.
    Open,
    /// Over, in order: no fault on either side.
    Closed,
    /// Over by the peer's fault; the fault is kept and returned by every later call.
    Failed,
}

/// What moves a connection on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The handshake is over, or the link is plain.
    Secured,
    /// `SetupConnection` was written.
    SetupSent,
    /// `SetupConnection` was answered with Success: by us, or by the peer with what we can use.
    SetupAccepted,
    /// `SetupConnection` was answered with Error: by us, or by the peer (D-CONN-8).
    SetupRefused,
    /// The peer ended its stream between two frames.
    PeerEnded,
    /// The owner closed.
    Close,
    /// The peer broke a rule, or its time was up.
    Fault,
}

/// Which side a row is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    /// The side that connected: client, downstream.
    Initiator,
    /// The side that was connected to: server, upstream.
    Responder,
    /// Both.
    Any,
}

use State::{Asked, Closed, Failed, Handshake, Open, Setup};
use Step::{Close, Fault, PeerEnded, Secured, SetupAccepted, SetupRefused, SetupSent};
use Who::{Any, Initiator, Responder};

/// All transitions: who, from where, by what, to where.
#[rustfmt::skip]
pub(super) const TABLE: &[(Who, State, Step, State)] = &[
    (Any,       Handshake, Secured,       Setup),
    (Any,       Handshake, Close,         Closed),
    (Any,       Handshake, Fault,         Failed),

    (Initiator, Setup,     SetupSent,     Asked),
    (Responder, Setup,     SetupAccepted, Open),
    (Responder, Setup,     SetupRefused,  Closed),
    (Any,       Setup,     PeerEnded,     Closed),
    (Any,       Setup,     Close,         Closed),
    (Any,       Setup,     Fault,         Failed),

    (Initiator, Asked,     SetupAccepted, Open),
    (Initiator, Asked,     SetupRefused,  Closed),
    (Initiator, Asked,     Close,         Closed),
    (Initiator, Asked,     Fault,         Failed),

    (Any,       Open,      PeerEnded,     Closed),
    (Any,       Open,      Close,         Closed),
    (Any,       Open,      Fault,         Failed),
];

impl State {
    /// The state after `step`, or `None` when the table has no such row.
    pub(super) fn after(self, step: Step, initiator: bool) -> Option<Self> {
        let who = if initiator { Initiator } else { Responder };
        TABLE.iter().find(|row| (row.0 == Any || row.0 == who) && row.1 == self && row.2 == step).map(|row| row.3)
    }

    /// Nothing more is received or sent.
    #[must_use]
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Closed | Self::Failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    const STATES: [State; 6] = [Handshake, Setup, Asked, Open, Closed, Failed];
    const STEPS: [Step; 7] = [Secured, SetupSent, SetupAccepted, SetupRefused, PeerEnded, Close, Fault];

    #[test]
    fn no_two_rows_answer_the_same_question() {
        for (i, a) in TABLE.iter().enumerate() {
            for b in &TABLE[i + 1..] {
                let same_side = a.0 == b.0 || a.0 == Any || b.0 == Any;
                assert!(!(same_side && a.1 == b.1 && a.2 == b.2), "{a:?} and {b:?}");
            }
        }
    }

    #[test]
    fn the_end_is_final_and_reachable_from_everywhere() {
        for initiator in [true, false] {
            for state in STATES {
                if state.is_over() {
                    assert!(STEPS.iter().all(|step| state.after(*step, initiator).is_none()), "{state:?}");
                } else if initiator || state != Asked {
                    assert_eq!(state.after(Close, initiator), Some(Closed));
                    assert_eq!(state.after(Fault, initiator), Some(Failed));
                }
            }
        }
    }

    #[test]
    fn open_is_reached_only_through_handshake_and_setup() {
        for (initiator, path) in [(true, &[Handshake, Setup, Asked][..]), (false, &[Handshake, Setup][..])] {
            let before = |to| -> Vec<State> {
                STATES.into_iter().filter(|s| STEPS.iter().any(|step| s.after(*step, initiator) == Some(to))).collect()
            };
            let mut to = Open;
            for from in path.iter().rev() {
                assert_eq!(before(to), [*from]);
                to = *from;
            }
        }
    }
}
