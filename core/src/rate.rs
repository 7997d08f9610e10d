//! Token buckets: how often something may happen. Pure: time is an argument. What is counted must not be here.

use core::num::NonZeroU32;
use core::time::Duration;

use crate::time::Instant;

/// So many a second on average, so many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Tokens that arrive in a second; 0 means that only the burst is ever given.
    pub per_second: u32,
    /// Most tokens that gather.
    pub burst: u32,
}

/// A bucket of tokens: empty means wait or refuse, the owner's choice.
#[derive(Clone, Debug)]
pub struct TokenBucket {
    rate: Rate,
    /// In millionths of a token, so that a microsecond at any rate is counted without loss.
    level: u64,
    at: Instant,
}

const ONE: u64 = 1_000_000;

impl TokenBucket {
    /// A full bucket.
    #[must_use]
    pub fn new(rate: Rate, now: Instant) -> Self {
        Self { rate, level: u64::from(rate.burst) * ONE, at: now }
    }

    /// Takes `tokens` if they are there.
    pub fn take(&mut self, tokens: u32, now: Instant) -> bool {
        self.fill(now);
        let wanted = u64::from(tokens) * ONE;
        let there = self.level >= wanted;
        if there {
            self.level -= wanted;
        }
        there
    }

    /// Takes `tokens` as far as they are there, to the last one: for what has happened already, bytes that were read say.
    pub fn drain(&mut self, tokens: u32, now: Instant) {
        self.fill(now);
        self.level = self.level.saturating_sub(u64::from(tokens) * ONE);
    }

    /// When a token will be there: `None` if one is there now, the end of time if none ever will be.
    pub fn ready_at(&mut self, now: Instant) -> Option<Instant> {
        self.fill(now);
        if self.level >= ONE {
            return None;
        }
        if self.rate.per_second == 0 || self.rate.burst == 0 {
            return Some(Instant::END);
        }
        let micros = (ONE - self.level).div_ceil(u64::from(self.rate.per_second));
        Some(now.saturating_add(Duration::from_micros(micros)))
    }

    /// Whether the bucket is as full as a new one, so that forgetting it changes nothing.
    pub fn is_full(&mut self, now: Instant) -> bool {
        self.fill(now);
        self.level == u64::from(self.rate.burst) * ONE
    }

    fn fill(&mut self, now: Instant) {
        let passed = u64::try_from(now.saturating_since(self.at).as_micros()).unwrap_or(u64::MAX);
        self.at = self.at.max(now);
        // A token a second is one millionth of a token a microsecond.
        let gained = passed.saturating_mul(u64::from(self.rate.per_second));
        self.level = self.level.saturating_add(gained).min(u64::from(self.rate.burst) * ONE);
    }
}

/// A token bucket of eight bytes, for peers of whom there are many: what it holds is told with each call, so that it can change.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// When the next would come, if all came at the highest rate.
    next: Instant,
}

impl Pace {
    /// A full bucket.
    #[must_use]
    pub const fn new(now: Instant) -> Self {
        Self { next: now }
    }

    /// Whether one more is within `per_second` on average and `burst` at once beyond that; counts it when it is.
    pub fn take(&mut self, now: Instant, per_second: NonZeroU32, burst: u32) -> bool {
        let apart = Duration::from_secs(1) / per_second.get();
        let ahead = self.next.saturating_since(now);
        let within = ahead <= apart.saturating_mul(burst);
        if within {
            self.next = self.next.max(now).saturating_add(apart);
        }
        within
    }
}

/// Keeps a log line from being written as often as a stranger likes.
#[derive(Clone, Debug)]
pub struct Throttle {
    bucket: TokenBucket,
    held_back: u64,
}

impl Throttle {
    /// Lets lines through at `rate`.
    #[must_use]
    pub fn new(rate: Rate, now: Instant) -> Self {
        Self { bucket: TokenBucket::new(rate, now), held_back: 0 }
    }

    /// Whether to write the line now, and if so, how many were held back since the last one.
    pub fn pass(&mut self, now: Instant) -> Option<u64> {
        if self.bucket.take(1, now) {
            Some(core::mem::take(&mut self.held_back))
        } else {
            self.held_back += 1;
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_burst_then_the_rate() {
        let mut bucket = TokenBucket::new(Rate { per_second: 10, burst: 3 }, Instant::ORIGIN);
        assert!((0..3).all(|_| bucket.take(1, Instant::ORIGIN)));
        assert!(!bucket.take(1, Instant::ORIGIN));
        assert_eq!(bucket.ready_at(Instant::ORIGIN), Some(Instant::from_millis(100)));
        assert!(!bucket.take(1, Instant::from_micros(99_999)));
        assert!(bucket.take(1, Instant::from_millis(100)));
        assert!(bucket.is_full(Instant::from_secs(10)));
    }

    #[test]
    fn a_clock_that_goes_back_gives_nothing_twice() {
        let mut bucket = TokenBucket::new(Rate { per_second: 1, burst: 1 }, Instant::from_secs(5));
        assert!(bucket.take(1, Instant::from_secs(5)));
        assert!(!bucket.take(1, Instant::from_secs(1)));
        assert!(!bucket.take(1, Instant::from_secs(5)));
        assert!(bucket.take(1, Instant::from_secs(6)));
    }

    #[test]
    fn a_rate_of_nothing_never_gets_ready() {
        let mut bucket = TokenBucket::new(Rate { per_second: 0, burst: 1 }, Instant::ORIGIN);
        assert!(bucket.take(1, Instant::ORIGIN));
        assert_eq!(bucket.ready_at(Instant::ORIGIN), Some(Instant::from_micros(u64::MAX)));
    }

    #[test]
    fn a_throttle_counts_what_it_held_back() {
        let mut throttle = Throttle::new(Rate { per_second: 1, burst: 2 }, Instant::ORIGIN);
        let passed: Vec<_> = (0..5).map(|_| throttle.pass(Instant::ORIGIN)).collect();
        assert_eq!(passed, [Some(0), Some(0), None, None, None]);
        assert_eq!(throttle.pass(Instant::from_secs(1)), Some(3));
    }

    #[test]
    fn a_pace_gives_a_burst_then_the_rate() {
        let ten = NonZeroU32::new(10).expect("not zero");
        let mut pace = Pace::new(Instant::ORIGIN);
        let given = (0..100).filter(|_| pace.take(Instant::ORIGIN, ten, 5)).count();
        assert_eq!(given, 6, "the one that is due and five");
        assert!(!pace.take(Instant::from_micros(99_999), ten, 5));
        assert!(pace.take(Instant::from_millis(100), ten, 5));
        let late = Instant::from_secs(100);
        assert_eq!((0..100).filter(|_| pace.take(late, ten, 5)).count(), 6, "no more gathers");
    }

    proptest! {
        /// The same for a pace, which may give the one that is due beyond the burst.
        #[test]
        fn a_pace_never_gives_more(
            per_second in 1u32..2_000, burst in 0u32..50, steps in proptest::collection::vec(0u64..200_000, 0..200)
        ) {
            let mut pace = Pace::new(Instant::ORIGIN);
            let (mut micros, mut given) = (0u64, 0u64);
            for step in steps {
                micros += step;
                given += u64::from(pace.take(Instant::from_micros(micros), NonZeroU32::new(per_second).expect("not zero"), burst));
                // Half a millisecond a second is lost to whole microseconds at most.
                prop_assert!(given <= 1 + u64::from(burst) + (micros + micros / 500 + 1) * u64::from(per_second) / ONE);
            }
        }

        /// Whatever the pattern of asking, what was given never exceeds the burst and the rate times the time.
        #[test]
        fn never_more_than_burst_and_rate(
            per_second in 0u32..2_000, burst in 0u32..50, steps in proptest::collection::vec((0u64..200_000, 0u32..5), 0..200)
        ) {
            let mut bucket = TokenBucket::new(Rate { per_second, burst }, Instant::ORIGIN);
            let (mut micros, mut given) = (0u64, 0u64);
            for (step, tokens) in steps {
                micros += step;
                let now = Instant::from_micros(micros);
                if bucket.take(tokens, now) {
                    given += u64::from(tokens);
                }
                prop_assert!(given * ONE <= u64::from(burst) * ONE + micros * u64::from(per_second));
                if let Some(at) = bucket.ready_at(now) && at < Instant::from_micros(u64::MAX) {
                    prop_assert!(at > now);
                    prop_assert!(bucket.clone().take(1, at), "a token is there when it was promised");
                }
            }
        }
    }
}
