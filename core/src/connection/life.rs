//! What a connection remembers besides its keys, the same for both sides and all protocols: state, limits, faults, counts.
//!
//! A fault is noted here where it is found ([`Life::fail`]), and sticks. So what is between there and the owner's call needs no result that
//! carries it: the call ends with [`Life::check`].

use super::deadline::{Deadline, Reason};
use super::event::{Ending, Kind};
use super::setup::Offered;
use super::table::{State, Step};
use crate::config::Limits;
use crate::error::{Error, Misuse, PeerError, Rule};
use crate::frame::Header;
use crate::time::Instant;
use crate::wire::Revision;

/// The part of a connection that is compiled once.
#[derive(Debug)]
pub(super) struct Life {
    pub(super) limits: Limits,
    pub(super) revision: Revision,
    pub(super) offered: Offered,
    state: State,
    initiator: bool,
    /// No more bytes will come.
    pub(super) ended: bool,
    /// Frames and records without meaning since the last one with.
    dropped: u16,
    /// Calls of `advance` and `close`; a token is good for the event of the last of them.
    pub(super) serial: u32,
    /// What the last one is, the header of its frame, and the bytes that are handed over with it: that frame's, or none.
    pub(super) kind: Kind,
    pub(super) header: Header,
    pub(super) lent: usize,
    /// When the limit of the state ends; none once the connection is over, so one that has ended is never handed out again.
    due: Option<Instant>,
    ending: Option<Ending>,
    fault: Option<Error>,
}

impl Life {
    /// The limits run from the first [`touch`](Self::touch).
    pub(super) const fn new(limits: Limits, revision: Revision, initiator: bool) -> Self {
        Self {
            limits,
            revision,
            offered: Offered { min: 0, max: 0 },
            state: State::Handshake,
            initiator,
            ended: false,
            dropped: 0,
            serial: 0,
            kind: Kind::Secured,
            header: Header::decode([0; Header::LEN]),
            lent: 0,
            due: None,
            ending: None,
            fault: None,
        }
    }

    pub(super) const fn state(&self) -> State {
        self.state
    }

    pub(super) const fn ending(&self) -> Option<Ending> {
        self.ending
    }

    pub(super) const fn fault(&self) -> Option<Error> {
        self.fault
    }

    /// Moves along a row of the table; without a row nothing changes.
    #[cfg_attr(target_os = "none", inline(never))]
    pub(super) fn step(&mut self, step: Step) -> bool {
        let next = self.state.after(step, self.initiator);
        self.state = next.unwrap_or(self.state);
        if self.state.is_over() {
            self.due = None;
        }
        next.is_some()
    }

    /// As [`Life::step`], to the end of the connection.
    pub(super) fn end(&mut self, step: Step, ending: Ending) {
        if self.step(step) {
            self.ending = Some(ending);
        }
    }

    /// Ends the connection by a fault, which sticks.
    #[cold]
    #[cfg_attr(target_os = "none", inline(never))]
    pub(super) fn fail(&mut self, error: Error) {
        if self.step(Step::Fault) {
            self.fault = Some(error);
        }
    }

    /// The peer broke a rule.
    #[cold]
    #[cfg_attr(target_os = "none", inline(never))]
    pub(super) fn breaks(&mut self, rule: Rule, msg_type: u8) {
        self.fail(PeerError::Rule { rule, msg_type }.into());
    }

    /// The peer sends, or is about to send, more bytes than are taken.
    #[cold]
    #[cfg_attr(target_os = "none", inline(never))]
    pub(super) fn too_long(&mut self, length: usize, limit: u32) {
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        self.fail(PeerError::TooLong { length, limit }.into());
    }

    /// The fault that ended the connection, again.
    #[cfg_attr(target_os = "none", inline(never))]
    pub(super) fn check(&self) -> Result<(), Error> {
        self.fault.map_or(Ok(()), Err)
    }

    /// Whether a message of the sub-protocol may be sent, or `SetupConnection` (D-CONN-1).
    pub(super) const fn may_send(&self, setup: bool) -> bool {
        match self.state {
            State::Open => !setup,
            State::Setup => setup && self.initiator,
            _ => false,
        }
    }

    /// Why a message may not be sent.
    #[cold]
    #[cfg_attr(target_os = "none", inline(never))]
    pub(super) fn refused(&self) -> Result<(), Error> {
        self.check()?;
        Err(if self.state == State::Closed { Misuse::Closed.into() } else { Misuse::NotNow.into() })
    }

    /// The time limits begin anew: the state is another one, or the peer sent something of meaning.
    #[cfg_attr(target_os = "none", inline(never))]
    pub(super) fn touch(&mut self, now: Instant) {
        let limit = Reason::of(self.state).limit(&self.limits);
        self.due = limit.map(|limit| now.saturating_add(limit));
        self.dropped = 0;
    }

    /// Counts a frame without meaning; too many in a row are a fault.
    pub(super) fn count_dropped(&mut self) {
        self.dropped = self.dropped.saturating_add(1);
        if self.dropped > self.limits.dropped {
            self.breaks(Rule::Dropped, self.header.msg_type());
        }
    }

    pub(super) fn deadline(&self) -> Option<Deadline> {
        self.due.map(|at| Deadline { at, reason: Reason::of(self.state) })
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self.due.is_some_and(|at| at <= now) {
            self.fail(PeerError::TimedOut(Reason::of(self.state)).into());
        }
    }
}
