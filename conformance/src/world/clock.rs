//! The clocks of the nodes. True time is the network's; each node has a monotonic clock with a start and a drift of its own, and a
//! wall-clock that is off and that may be set. A suspended node does nothing, and its monotonic clock stands still meanwhile or leaps, as
//! operating systems have it either way. A monotonic clock never goes back.

use std::time::Duration;

use adit::time::{Instant, UnixTime};

use crate::pair::WALL;

/// One node's clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    /// What the monotonic clock showed at `since`.
    base: Instant,
    /// True time; ahead of the present while the clock stands still.
    since: Instant,
    /// Millionths by which the monotonic clock is too fast.
    drift: i32,
    /// Seconds by which the wall-clock is ahead.
    offset: i64,
    /// Nothing happens at the node before this.
    pub(super) asleep_until: Instant,
}

impl Clock {
    pub(super) fn new(start: Duration, drift: i32, offset: i64) -> Self {
        Self {
            base: Instant::ORIGIN.saturating_add(start),
            since: Instant::ORIGIN,
            drift,
            offset,
            asleep_until: Instant::ORIGIN,
        }
    }

    const fn rate(&self) -> i128 {
        1_000_000 + self.drift as i128
    }

    /// What the monotonic clock shows at this true time.
    pub(super) fn monotonic(&self, now: Instant) -> Instant {
        let passed = now.saturating_since(self.since).as_micros().cast_signed();
        self.base.saturating_add(micros(passed * self.rate() / 1_000_000))
    }

    /// The first true time at which the monotonic clock shows at least this.
    pub(super) fn true_time(&self, at: Instant) -> Instant {
        let ahead = at.saturating_since(self.base).as_micros().cast_signed();
        self.since.saturating_add(micros((ahead * 1_000_000 + self.rate() - 1) / self.rate()))
    }

    /// What the wall-clock shows at this true time.
    pub(super) fn wall(&self, now: Instant) -> UnixTime {
        let secs =
            i64::from(WALL.as_secs()) + now.saturating_since(Instant::ORIGIN).as_secs().cast_signed() + self.offset;
        UnixTime::from_secs(u32::try_from(secs.max(0)).unwrap_or(u32::MAX))
    }

    /// Somebody sets the wall-clock, right or wrong.
    pub(super) const fn set_wall(&mut self, offset: i64) {
        self.offset = offset;
    }

    /// The node sleeps. Its monotonic clock leaps over that, or stands still.
    pub(super) fn suspend(&mut self, now: Instant, length: Duration, leaps: bool) {
        let until = now.saturating_add(length);
        if !leaps {
            self.base = self.monotonic(now);
            self.since = until;
        }
        self.asleep_until = until;
    }
}

fn micros(count: i128) -> Duration {
    Duration::from_micros(u64::try_from(count).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::ORIGIN.saturating_add(Duration::from_millis(millis))
    }

    /// A deadline is never met too early, and a microsecond later at most.
    #[test]
    fn deadlines_come_true() {
        for drift in [-900, -1, 0, 7, 900] {
            let clock = Clock::new(Duration::from_secs(77), drift, 0);
            for deadline in (0..500).map(|n| at(77_000 + 13 * n)) {
                let due = clock.true_time(deadline);
                let shown = clock.monotonic(due);
                assert!(shown >= deadline, "{drift}: {shown:?} is before {deadline:?}");
                assert!(shown.saturating_since(deadline) <= Duration::from_micros(1), "{drift}");
            }
        }
    }

    #[test]
    fn a_suspended_clock_stands_still_or_leaps_and_never_goes_back() {
        for (leaps, after) in [(true, 60_000), (false, 20_000)] {
            let mut clock = Clock::new(Duration::ZERO, 0, -5);
            clock.suspend(at(10_000), Duration::from_secs(40), leaps);
            assert_eq!(clock.asleep_until, at(50_000));
            assert_eq!(clock.monotonic(at(60_000)), at(after), "{leaps}");
            assert_eq!(clock.wall(at(60_000)).as_secs(), WALL.as_secs() + 55, "the wall-clock does not care");
            let shown: Vec<_> = (0..80).map(|second| clock.monotonic(at(10_000 + second * 1_000))).collect();
            assert!(shown.is_sorted());
        }
    }
}
