//! Time as plain numbers. The core never reads a clock: callers pass these in, and get deadlines back.
//!
//! Two clocks meet here and must not be mixed, hence two types: [`Instant`] is monotonic with an origin of the
//! caller's choice and serves deadlines; [`UnixTime`] is wall-clock and serves certificates and block headers.

use core::time::Duration;

/// A point on the caller's monotonic clock, in microseconds since an origin that the caller picks once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The origin of the caller's clock.
    pub const ORIGIN: Self = Self(0);

    /// `micros` microseconds after the origin.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// `millis` milliseconds after the origin; saturates at the end of the range.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000))
    }

    /// `secs` seconds after the origin; saturates at the end of the range.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1_000_000))
    }

    /// Microseconds since the origin.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// This point moved later by `duration`; saturates, so that an endless time limit is simply never reached.
    #[must_use]
    pub fn saturating_add(self, duration: Duration) -> Self {
        // In 64 bits: a division of 128 is a kilobyte of firmware.
        let micros = duration.as_secs().saturating_mul(1_000_000).saturating_add(duration.subsec_micros().into());
        Self(self.0.saturating_add(micros))
    }

    /// Time passed since `earlier`, zero when the clock went backwards.
    #[must_use]
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

/// Wall-clock time: whole seconds since 1970-01-01 00:00 UTC, as certificates and block headers carry it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixTime(u32);

impl UnixTime {
    /// `secs` seconds since the epoch.
    #[must_use]
    pub const fn from_secs(secs: u32) -> Self {
        Self(secs)
    }

    /// Seconds since the epoch.
    #[must_use]
    pub const fn as_secs(self) -> u32 {
        self.0
    }
}

/// The earlier of two optional deadlines; what a parent reports that has several children with deadlines.
#[must_use]
pub fn earliest(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_saturate_instead_of_wrapping() {
        let end = Instant::from_micros(u64::MAX - 1);
        assert_eq!(end.saturating_add(Duration::from_secs(1)).as_micros(), u64::MAX);
        assert_eq!(Instant::ORIGIN.saturating_add(Duration::MAX).as_micros(), u64::MAX);
    }

    #[test]
    fn a_clock_that_goes_back_gives_no_elapsed_time() {
        assert_eq!(Instant::from_secs(1).saturating_since(Instant::from_secs(2)), Duration::ZERO);
        assert_eq!(Instant::from_secs(3).saturating_since(Instant::from_secs(2)), Duration::from_secs(1));
    }

    #[test]
    fn the_earlier_deadline_wins_and_none_never_does() {
        let (a, b) = (Instant::from_secs(1), Instant::from_secs(2));
        assert_eq!(earliest(Some(a), Some(b)), Some(a));
        assert_eq!(earliest(None, Some(b)), Some(b));
        assert_eq!(earliest(None, None), None);
    }
}
