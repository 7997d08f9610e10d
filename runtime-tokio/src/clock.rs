//! Both of the core's clocks, read from tokio's and the system's.
//!
//! No timers: those who wait convert a deadline with [`Clock::to_tokio`] and sleep until then.

use std::{
    pin::Pin,
    time::{Duration, UNIX_EPOCH},
};

use adit::{
    host,
    time::{Instant, UnixTime},
};
use tokio::time::{Instant as TokioInstant, Sleep};

/// One origin for the core's monotonic clock, and the choice of wall clock.
///
/// Make one per process (or per test) and copy it everywhere: instants of two clocks must not meet. The monotonic half
/// is tokio's clock, so a test that pauses tokio's time pauses the core's.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: TokioInstant,
    wall: Wall,
}

/// Where wall-clock time comes from.
#[derive(Clone, Copy, Debug)]
enum Wall {
    /// The system's clock.
    System,
    /// What it was at the origin; it then advances with the monotonic clock.
    From(UnixTime),
}

impl Clock {
    /// A clock whose origin is now and whose wall clock is the system's.
    #[must_use]
    pub fn start() -> Self {
        Self { origin: TokioInstant::now(), wall: Wall::System }
    }

    /// A clock whose origin is now and whose wall clock stands at `wall` and moves with the monotonic one: the same run
    /// sees the same times, and a machine without a battery-backed clock can use a time that it fetched.
    #[must_use]
    pub fn start_at(wall: UnixTime) -> Self {
        Self { origin: TokioInstant::now(), wall: Wall::From(wall) }
    }

    /// The core's monotonic time now.
    #[must_use]
    pub fn now(self) -> Instant {
        self.from_tokio(TokioInstant::now())
    }

    /// Wall-clock time now. Before 1970 it is 0, after February 2106 it stays at the last second that fits.
    #[must_use]
    pub fn wall(self) -> UnixTime {
        match self.wall {
            Wall::System => UnixTime::default().saturating_add(UNIX_EPOCH.elapsed().unwrap_or_default()),
            Wall::From(start) => start.saturating_add(self.origin.elapsed()),
        }
    }

    /// The core's time for a point of tokio's; points before the origin are the origin.
    #[must_use]
    pub fn from_tokio(self, at: TokioInstant) -> Instant {
        Instant::ORIGIN.saturating_add(at.saturating_duration_since(self.origin))
    }

    /// Tokio's time for a deadline of the core's. One that lies further ahead than tokio can count is put thirty years
    /// ahead, which is tokio's own idea of never.
    #[must_use]
    pub fn to_tokio(self, at: Instant) -> TokioInstant {
        const NEVER: Duration = Duration::from_secs(86_400 * 365 * 30);
        let ahead = at.saturating_since(Instant::ORIGIN);
        self.origin + ahead.min(NEVER)
    }
}

impl host::Clock for Clock {
    type Sleep = Sleep;

    fn now(&self) -> Instant {
        Self::now(*self)
    }

    fn wall(&self) -> UnixTime {
        Self::wall(*self)
    }

    fn sleep_until(&self, at: Instant) -> Sleep {
        tokio::time::sleep_until(self.to_tokio(at))
    }

    fn bring_forward(&self, sleep: Pin<&mut Sleep>, at: Instant) {
        let at = self.to_tokio(at);
        if sleep.is_elapsed() || at < sleep.deadline() {
            sleep.reset(at);
        }
    }

    fn yield_now(&self) -> impl Future<Output = ()> + Send {
        tokio::task::yield_now()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_core_time_is_tokios_time_since_the_start() {
        let clock = Clock::start();
        assert_eq!(clock.now(), Instant::ORIGIN);
        tokio::time::advance(Duration::from_millis(1_500)).await;
        assert_eq!(clock.now(), Instant::from_millis(1_500));
        assert_eq!(clock.from_tokio(clock.to_tokio(Instant::from_millis(77))), Instant::from_millis(77));
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_beyond_tokios_range_is_far_ahead_and_no_panic() {
        let clock = Clock::start();
        let at = clock.to_tokio(Instant::from_micros(u64::MAX));
        assert!(at > TokioInstant::now() + Duration::from_secs(86_400 * 365 * 29));
    }

    #[tokio::test(start_paused = true)]
    async fn a_given_wall_clock_moves_with_the_monotonic_one() {
        let clock = Clock::start_at(UnixTime::from_secs(1_700_000_000));
        tokio::time::advance(Duration::from_secs(90)).await;
        assert_eq!(clock.wall(), UnixTime::from_secs(1_700_000_090));
    }

    #[test]
    fn the_system_wall_clock_is_past_the_first_release() {
        assert!(Clock::start().wall() > UnixTime::from_secs(1_760_000_000));
    }
}
