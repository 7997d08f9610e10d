//! How long to wait before the next attempt. Pure: time and entropy are arguments. Who connects where must not be here.

use core::borrow::Borrow;
use core::time::Duration;

use crate::time::{Instant, micros};

/// How waits between attempts grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackoffConfig {
    /// Wait after the first failure, before jitter.
    pub first: Duration,
    /// Longest wait, before jitter.
    pub cap: Duration,
    /// A connection that lived this long was a good one: the next failure starts again at `first`.
    pub stable: Duration,
}

impl BackoffConfig {
    /// Half a second, doubled up to a minute; a connection is good after thirty seconds. A restarted pool has its devices
    /// back within a few seconds, and one that stays away is asked about once a minute by each.
    pub const DEFAULT: Self =
        Self { first: Duration::from_millis(500), cap: Duration::from_secs(60), stable: Duration::from_secs(30) };
}

impl Default for BackoffConfig {
    /// [`BackoffConfig::DEFAULT`].
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Exponential back-off with jitter.
///
/// Every wait lies between half and the whole of `first * 2^failures`, capped: devices that lost their pool at one moment
/// come back spread out. A connection that lasted `stable` resets it; one that ends sooner does not, so a peer that
/// accepts and closes at once is not asked in a tight loop.
///
/// `C` is how the configuration is held: by itself, or by reference where it lies in flash.
#[derive(Clone, Debug)]
pub struct Backoff<C = BackoffConfig> {
    config: C,
    failures: u32,
    up_since: Option<Instant>,
}

impl<C: Borrow<BackoffConfig>> Backoff<C> {
    /// Before the first attempt.
    #[must_use]
    pub const fn new(config: C) -> Self {
        Self { config, failures: 0, up_since: None }
    }

    /// An attempt succeeded at `now`.
    pub fn up(&mut self, now: Instant) {
        self.up_since = Some(now);
    }

    /// The connection ended, or the attempt failed, at `now`: how long to wait. `jitter` is any 64 random bits.
    pub fn down(&mut self, now: Instant, jitter: u64) -> Duration {
        let config: &BackoffConfig = self.config.borrow();
        if self.up_since.take().is_some_and(|since| since.saturating_add(config.stable) <= now) {
            self.failures = 0;
        }
        // Less than half of 64 bits, so that no sum overflows.
        let half = doubled(config.first, self.failures, config.cap) / 2;
        self.failures = self.failures.saturating_add(1);
        Duration::from_micros(half + jitter % (half + 1))
    }

    /// Whether the last attempt succeeded and its connection has not ended.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.up_since.is_some()
    }

    /// Attempts in a row that did not lead to a stable connection.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

/// `first` doubled so many times, but no more than `cap`; in microseconds.
#[cfg_attr(target_os = "none", inline(never))]
pub(crate) fn doubled(first: Duration, times: u32, cap: Duration) -> u64 {
    let (mut wait, cap) = (micros(first), micros(cap));
    // More than 64 times no number can be doubled.
    for _ in 0..times.min(64) {
        wait = wait.saturating_add(wait);
    }
    wait.min(cap)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use std::vec::Vec;

    use super::*;

    const CONFIG: BackoffConfig = BackoffConfig {
        first: Duration::from_millis(100),
        cap: Duration::from_secs(2),
        stable: Duration::from_secs(10),
    };

    #[test]
    fn waits_double_up_to_the_cap() {
        let mut backoff = Backoff::new(CONFIG);
        // No jitter: the lower half of each wait.
        let waits: Vec<_> = (0..7).map(|_| backoff.down(Instant::ORIGIN, 0).as_millis()).collect();
        assert_eq!(waits, [50, 100, 200, 400, 800, 1_000, 1_000]);
    }

    #[test]
    fn a_stable_connection_resets_and_a_brief_one_does_not() {
        let mut backoff = Backoff::new(CONFIG);
        for _ in 0..3 {
            backoff.down(Instant::ORIGIN, 0);
        }
        backoff.up(Instant::from_secs(100));
        assert_eq!(backoff.down(Instant::from_millis(109_999), 0), Duration::from_millis(400));
        backoff.up(Instant::from_secs(200));
        assert_eq!(backoff.down(Instant::from_secs(210), 0), Duration::from_millis(50));
        assert_eq!(backoff.failures(), 1);
    }

    #[test]
    fn nothing_overflows() {
        let config = BackoffConfig { first: Duration::MAX, cap: Duration::MAX, stable: Duration::ZERO };
        let mut backoff = Backoff { failures: u32::MAX, ..Backoff::new(config) };
        assert_eq!(
            backoff.down(Instant::END, u64::MAX),
            Duration::from_micros(u64::MAX / 2 + u64::MAX % (u64::MAX / 2 + 1))
        );
        assert_eq!(doubled(Duration::ZERO, u32::MAX, Duration::MAX), 0);
        assert_eq!(doubled(Duration::from_micros(3), 2, Duration::from_micros(11)), 11);
    }

    proptest! {
        #[test]
        fn every_wait_is_between_half_the_first_and_the_cap(jitters in proptest::collection::vec(any::<u64>(), 1..64)) {
            let mut backoff = Backoff::new(CONFIG);
            for jitter in jitters {
                let wait = backoff.down(Instant::ORIGIN, jitter);
                prop_assert!(wait >= CONFIG.first / 2 && wait <= CONFIG.cap, "{wait:?}");
            }
        }
    }
}
