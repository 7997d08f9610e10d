//! Time as plain numbers. The core never reads a clock: callers pass these in, and get deadlines back.
//!
//! Two clocks meet here and must not be mixed, hence two types: [`Instant`] is monotonic with an origin of the
//! caller's choice and serves deadlines; [`UnixTime`] is wall-clock and serves certificates and block headers.

use core::fmt;
use core::num::NonZeroU64;
use core::time::Duration;

/// A point on the caller's monotonic clock, in microseconds since an origin that the caller picks once.
///
/// Stored one higher, so that an `Option` of it is no larger: a connection has several deadlines, most of the time none of them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(NonZeroU64);

impl Default for Instant {
    fn default() -> Self {
        Self::ORIGIN
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Instant").field(&self.as_micros()).finish()
    }
}

impl Instant {
    /// The origin of the caller's clock.
    pub const ORIGIN: Self = Self(NonZeroU64::MIN);

    /// The end of the range, which is never reached.
    pub const END: Self = Self(NonZeroU64::MAX);

    /// `micros` microseconds after the origin; saturates at the end of the range.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(NonZeroU64::MIN.saturating_add(micros))
    }

    /// `millis` milliseconds after the origin; saturates at the end of the range.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self::from_micros(millis.saturating_mul(1_000))
    }

    /// `secs` seconds after the origin; saturates at the end of the range.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self::from_micros(secs.saturating_mul(1_000_000))
    }

    /// Microseconds since the origin.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.0.get() - 1
    }

    /// This point moved later by `duration`; saturates, so that an endless time limit is simply never reached.
    #[must_use]
    #[cfg_attr(target_os = "none", inline(never))]
    pub fn saturating_add(self, duration: Duration) -> Self {
        self.later(micros(duration))
    }

    /// This point moved later by so many microseconds; saturates.
    pub(crate) const fn later(self, micros: u64) -> Self {
        Self(self.0.saturating_add(micros))
    }

    /// Time passed since `earlier`, zero when the clock went backwards.
    #[must_use]
    #[cfg_attr(target_os = "none", inline(never))]
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.get().saturating_sub(earlier.0.get()))
    }
}

/// Whole microseconds; more than 2^32 seconds, 136 years, are without end.
#[cfg_attr(target_os = "none", inline(never))]
pub(crate) fn micros(duration: Duration) -> u64 {
    // Of 32 bits: a product of 64 would have to be looked at for its overflow, and a division of 128 is a kilobyte of firmware.
    match u32::try_from(duration.as_secs()) {
        Ok(secs) => u64::from(secs) * 1_000_000 + u64::from(duration.subsec_micros()),
        Err(_) => u64::MAX,
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

    /// This time moved later by the whole seconds of `duration`; stays at the last second that fits, in February 2106.
    #[must_use]
    pub fn saturating_add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)))
    }
}

/// The earlier of two optional deadlines; what a parent reports that has several children with deadlines.
#[must_use]
#[cfg_attr(target_os = "none", inline(never))]
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
        let late = Instant::from_micros(u64::MAX - 2);
        assert_eq!((late.as_micros(), late.saturating_add(Duration::from_secs(1))), (u64::MAX - 2, Instant::END));
        assert_eq!(Instant::ORIGIN.saturating_add(Duration::MAX), Instant::END);
        assert_eq!((Instant::from_micros(u64::MAX), Instant::from_secs(u64::MAX)), (Instant::END, Instant::END));
        assert!(late < Instant::END && Instant::ORIGIN < Instant::from_micros(1));
    }

    #[test]
    fn wall_clock_time_moves_by_whole_seconds_and_stops_at_its_end() {
        let late = UnixTime::from_secs(u32::MAX - 1);
        assert_eq!(late.saturating_add(Duration::from_millis(1_999)).as_secs(), u32::MAX);
        assert_eq!(late.saturating_add(Duration::MAX).as_secs(), u32::MAX);
        assert_eq!(late.saturating_add(Duration::from_millis(999)), late);
    }

    #[test]
    fn no_deadline_takes_no_room() {
        assert_eq!(size_of::<Option<Instant>>(), size_of::<u64>());
        assert_eq!((Instant::default().as_micros(), Instant::from_micros(7).as_micros()), (0, 7));
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
