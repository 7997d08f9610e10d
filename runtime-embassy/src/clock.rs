//! Both of the core's clocks: the monotonic one from embassy-time, the wall clock from whatever the board has.
//!
//! The wall clock is needed for one thing: to see whether a server's certificate is in its period. A board reads it from a battery-backed
//! clock at its start, or fetches it once the network is up (SNTP, or the `Date` of any trusted answer), and calls [`WallClock::set`]. From then on
//! it advances with the monotonic clock; set it again now and then, crystals drift by seconds a day.
//!
//! What a board without any clock does is chosen by name, see [`WithoutClock`].

use core::cell::Cell;
use core::future::{Future, poll_fn};
use core::pin::pin;
use core::task::{Context, Poll};
use core::time::Duration;

use adit::time::{Instant, UnixTime};
use embassy_sync::blocking_mutex::Mutex;
use embassy_sync::blocking_mutex::raw::RawMutex;
use embassy_time::Timer;

/// A deadline is slept for in pieces no longer than this, so that no sum of times overflows.
const LONGEST_SLEEP: Duration = Duration::from_secs(3_600);

/// The core's monotonic time now; its origin is that of embassy-time, the start of the board.
#[must_use]
#[cfg_attr(target_os = "none", inline(never))]
pub fn now() -> Instant {
    Instant::from_micros(embassy_time::Instant::now().as_micros())
}

/// Waits until `at`, or for an hour if that is earlier: look at the time again afterwards. Without a deadline it waits for ever.
///
/// Cancel-safe.
pub async fn sleep_until(at: Option<Instant>) {
    let at = at.map(|at| at.min(now().saturating_add(LONGEST_SLEEP)));
    poll_fn(|cx| poll_due(at, cx)).await;
}

/// Ready when `at` has come, else the task is woken to ask again. No future that is kept: whoever waits for other things too asks along with them.
#[cfg_attr(target_os = "none", inline(never))]
pub(crate) fn poll_due(at: Option<Instant>, cx: &mut Context<'_>) -> Poll<()> {
    let Some(at) = at else { return Poll::Pending };
    let now = now();
    if at <= now {
        return Poll::Ready(());
    }
    let micros = at.min(now.saturating_add(LONGEST_SLEEP)).as_micros();
    // An instant of embassy is in ticks, rounded down: with one tick more it has certainly come when the task is woken.
    let ticks = embassy_time::Instant::from_micros(micros).as_ticks().saturating_add(1);
    // A timer asks its driver for a wake when it is polled first, and forgets nothing when it is dropped.
    let _asked = pin!(Timer::at(embassy_time::Instant::from_ticks(ticks))).poll(cx);
    Poll::Pending
}

/// The wall clock of a board, shared by reference: one task sets it, others read it.
#[derive(Debug)]
pub struct WallClock<M: RawMutex> {
    /// Seconds since 1970 at the monotonic clock's origin; may be before 1970 by as long as the board has been running.
    at_origin: Mutex<M, Cell<Option<i64>>>,
}

impl<M: RawMutex> Default for WallClock<M> {
    fn default() -> Self {
        Self::new()
    }
}

impl<M: RawMutex> WallClock<M> {
    /// A clock that has not been set.
    #[must_use]
    pub const fn new() -> Self {
        Self { at_origin: Mutex::new(Cell::new(None)) }
    }

    /// It is `wall` now.
    pub fn set(&self, wall: UnixTime) {
        let since_start = (now().as_micros() / 1_000_000).cast_signed();
        self.at_origin.lock(|at_origin| at_origin.set(Some(i64::from(wall.as_secs()).saturating_sub(since_start))));
    }

    /// The time, unless nobody has set it yet.
    #[must_use]
    pub fn now(&self) -> Option<UnixTime> {
        let at_origin = self.at_origin.lock(Cell::get)?;
        let secs = at_origin.saturating_add((now().as_micros() / 1_000_000).cast_signed());
        // Before 1970 it is 0, after February 2106 it stays at the last second that fits.
        Some(UnixTime::from_secs(u32::try_from(secs.max(0)).unwrap_or(u32::MAX)))
    }
}

/// What to do while the wall clock has not been set. There is no default: it is a decision about security.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WithoutClock {
    /// Do not connect. Attempts are made, and told as failed, until someone sets the clock.
    Refuse,
    /// Connect; the certificate must bear the authority's signature, but of its period only the end is looked at: it must not lie before
    /// `built`, which is when the firmware was made. So a key that leaked and whose certificate ran out after that can still
    /// impersonate the pool. Each connection says so ([`Period::Unchecked`](crate::device::Period::Unchecked)).
    SignatureOnly {
        /// A time that has certainly passed.
        built: UnixTime,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::block_on;
    use embassy_sync::blocking_mutex::raw::NoopRawMutex;

    #[test]
    fn a_sleep_ends_at_its_deadline_and_not_before() {
        block_on(async {
            let begin = now();
            for micros in [1, 999, 1_000, 1_000_001, 3_599_999_999] {
                let at = now().saturating_add(Duration::from_micros(micros));
                sleep_until(Some(at)).await;
                assert!(now() >= at && now() < at.saturating_add(Duration::from_millis(1)), "{micros}");
            }
            sleep_until(Some(begin)).await;
            let before = now();
            sleep_until(Some(Instant::from_micros(u64::MAX))).await;
            assert_eq!(now().saturating_since(before).as_secs(), 3_600, "looks at the time at least once an hour");
        });
    }

    #[test]
    fn the_wall_clock_advances_with_the_monotonic_one() {
        block_on(async {
            sleep_until(Some(Instant::from_secs(100))).await;
            let wall = WallClock::<NoopRawMutex>::new();
            assert_eq!(wall.now(), None);
            wall.set(UnixTime::from_secs(50));
            assert_eq!(wall.now(), Some(UnixTime::from_secs(50)));
            sleep_until(Some(Instant::from_secs(160))).await;
            assert_eq!(wall.now(), Some(UnixTime::from_secs(110)));
            wall.set(UnixTime::from_secs(u32::MAX));
            sleep_until(Some(Instant::from_secs(170))).await;
            assert_eq!(wall.now(), Some(UnixTime::from_secs(u32::MAX)));
        });
    }
}
