//! What a connection remembers besides its keys, the same for both sides and all protocols: state, limits, faults, counts.

use super::deadline::{Deadline, Timer};
use super::event::Ending;
use super::setup::Offered;
use super::table::{State, Step};
use crate::config::Limits;
use crate::error::{Error, Misuse, PeerError, Rule};
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
    /// Frames handed over; a token is good for one of them.
    serial: u32,
    timer: Timer,
    ending: Option<Ending>,
    fault: Option<Error>,
}

impl Life {
    pub(super) const fn new(limits: Limits, revision: Revision, initiator: bool, now: Instant) -> Self {
        Self {
            limits,
            revision,
            offered: Offered { min: 0, max: 0 },
            state: State::Handshake,
            initiator,
            ended: false,
            dropped: 0,
            serial: 0,
            timer: Timer::start(now),
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
    pub(super) fn step(&mut self, step: Step) -> bool {
        let next = self.state.after(step, self.initiator);
        self.state = next.unwrap_or(self.state);
        next.is_some()
    }

    /// As [`Life::step`], to the end of the connection.
    pub(super) fn end(&mut self, step: Step, ending: Ending) {
        if self.step(step) {
            self.ending = Some(ending);
        }
    }

    /// Ends the connection by a fault, which sticks.
    pub(super) fn fail(&mut self, error: Error) -> Error {
        if self.step(Step::Fault) {
            self.fault = Some(error);
        }
        error
    }

    /// The fault that ended the connection, again.
    #[cfg_attr(target_os = "none", inline(never))]
    pub(super) fn check(&self) -> Result<(), Error> {
        self.fault.map_or(Ok(()), Err)
    }

    /// Whether a message of the sub-protocol may be sent (D-CONN-1).
    pub(super) fn may_send(&self) -> Result<(), Error> {
        self.check()?;
        match self.state {
            State::Open => Ok(()),
            State::Closed => Err(Misuse::Closed.into()),
            _ => Err(Misuse::NotNow.into()),
        }
    }

    /// Whether `SetupConnection` may be sent (D-CONN-1).
    pub(super) fn may_set_up(&self) -> Result<(), Error> {
        self.check()?;
        match self.state {
            State::Setup if self.initiator => Ok(()),
            State::Closed => Err(Misuse::Closed.into()),
            _ => Err(Misuse::NotNow.into()),
        }
    }

    /// The time limits begin anew: the handshake is over, or the peer sent something of meaning.
    pub(super) fn touch(&mut self, now: Instant) {
        self.timer = Timer::start(now);
        self.dropped = 0;
    }

    /// Counts a frame that is handed over, and names it.
    pub(super) fn next_serial(&mut self) -> u32 {
        self.serial = self.serial.wrapping_add(1);
        self.serial
    }

    pub(super) const fn serial(&self) -> u32 {
        self.serial
    }

    /// Counts something without meaning; too many in a row are a fault.
    pub(super) fn count_dropped(&mut self, msg_type: u8) -> Result<(), Error> {
        self.dropped = self.dropped.saturating_add(1);
        if self.dropped > self.limits.dropped {
            return Err(PeerError::Rule { rule: Rule::Dropped, msg_type }.into());
        }
        Ok(())
    }

    pub(super) fn deadline(&self) -> Option<Deadline> {
        self.timer.deadline(self.state, &self.limits)
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) -> Result<(), Error> {
        self.check()?;
        match self.timer.expired(now, self.state, &self.limits) {
            Some(reason) => Err(self.fail(PeerError::TimedOut(reason).into())),
            None => Ok(()),
        }
    }
}
