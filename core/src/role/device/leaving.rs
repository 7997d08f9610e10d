//! What a device's runtime sends when there is room, and the way from "enough" to a closed connection. No I/O, no waiting.

use super::Device;
use crate::error::Error;
use crate::mining::client::{ClientProtocol, NotSent, Out, Solution};
use crate::time::Instant;

impl<T: AsRef<str>, Pr: ClientProtocol> Device<T, Pr> {
    /// Sends what waits: solutions first, `waiting` and then those that `more` gives, then what the device has to say. A solution that finds
    /// no room stays in `waiting`; one that cannot count is told to `not_sent`. [`Error::Full`]: something is left for when there is room.
    pub fn send(
        &mut self,
        now: Instant,
        waiting: &mut Option<Solution>,
        mut more: impl FnMut() -> Option<Solution>,
        out: &mut Out<'_, Pr>,
        mut not_sent: impl FnMut(NotSent),
    ) -> Result<(), Error> {
        let mut full = false;
        while let Some(solution) = waiting.take().or_else(&mut more) {
            match self.submit(now, &solution, out) {
                Ok(_) => {}
                Err(NotSent::Send(Error::Full)) => {
                    *waiting = Some(solution);
                    full = true;
                    break;
                }
                Err(NotSent::Send(error)) => return Err(error),
                Err(why) => not_sent(why),
            }
        }
        self.poll_outbound(now, out)?;
        if full { Err(Error::Full) } else { Ok(()) }
    }
}

/// A connection that is about to end: why, and until when answers are waited for. `E` is what its runtime says about ends.
#[derive(Debug)]
pub struct Leaving<E> {
    why: E,
    until: Option<Instant>,
    closing: bool,
}

impl<E> Leaving<E> {
    /// Without `until` answers are waited for as long as the owner lets the connection live.
    pub const fn new(why: E, until: Option<Instant>) -> Self {
        Self { why, until, closing: false }
    }

    /// Whether to close the connection now, which is said once: when it is not open any more, nothing is `owed` (no share waits to be
    /// sent or for its answer), or the time is up.
    pub fn is_time_to_close(&mut self, open: bool, owed: bool, now: Instant) -> bool {
        if self.closing || open && owed && self.until.is_none_or(|until| now < until) {
            return false;
        }
        self.closing = true;
        true
    }

    /// When to ask again, if nothing happens before.
    #[must_use]
    pub const fn deadline(&self) -> Option<Instant> {
        if self.closing { None } else { self.until }
    }

    /// Why it ends.
    #[must_use]
    pub fn into_why(self) -> E {
        self.why
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_closes_once_when_nothing_is_owed_or_the_time_is_up() {
        let at = Instant::from_secs;
        let mut leaving = Leaving::new("elsewhere", Some(at(5)));
        assert!(!leaving.is_time_to_close(true, true, at(4)));
        assert_eq!(leaving.deadline(), Some(at(5)));
        assert!(leaving.is_time_to_close(true, true, at(5)), "the time is up");
        assert!(!leaving.is_time_to_close(true, false, at(6)), "said once");
        assert_eq!((leaving.deadline(), leaving.into_why()), (None, "elsewhere"));
        let mut patient = Leaving::new((), None);
        assert!(!patient.is_time_to_close(true, true, at(1_000_000)));
        assert!(patient.is_time_to_close(true, false, at(1_000_000)), "all is answered");
        assert!(Leaving::new((), None).is_time_to_close(false, true, at(0)), "nothing can be answered any more");
    }
}
