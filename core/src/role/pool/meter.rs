//! Hash rate seen through accepted shares.

use core::time::Duration;

use crate::time::Instant;

/// How far back the estimate looks. At six shares a minute this is 60 shares, so the estimate is good to some 13 %.
const WINDOW: Duration = Duration::from_secs(600);

/// Expected hashes of the last ten minutes, in two buckets: 32 bytes whatever the number of shares.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Meter {
    /// When anything was recorded first.
    since: Option<Instant>,
    /// When the present bucket began.
    begun: Instant,
    present: f64,
    before: f64,
}

impl Meter {
    /// Moves on to the bucket that `now` is in.
    fn roll(&mut self, now: Instant) {
        let age = now.saturating_since(self.begun);
        if age < WINDOW {
            return;
        }
        self.before = if age < 2 * WINDOW { core::mem::take(&mut self.present) } else { 0.0 };
        self.present = 0.0;
        self.begun = if age < 2 * WINDOW { self.begun.saturating_add(WINDOW) } else { now };
    }

    /// Counts a share that takes this many hashes on average.
    pub(super) fn record(&mut self, now: Instant, hashes: f64) {
        if self.since.is_none() {
            (self.since, self.begun) = (Some(now), now);
        }
        self.roll(now);
        self.present += hashes;
    }

    /// Hashes a second; 0 without shares.
    pub(super) fn rate(&self, now: Instant) -> f64 {
        let Some(since) = self.since else { return 0.0 };
        let mut at_now = *self;
        at_now.roll(now);
        let into = now.saturating_since(at_now.begun).as_secs_f64() / WINDOW.as_secs_f64();
        let hashes = at_now.before * (1.0 - into) + at_now.present;
        // A young meter has not looked back a whole window; below a second there is nothing to divide by.
        let span = now.saturating_since(since).min(WINDOW).max(Duration::from_secs(1));
        hashes / span.as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_rate_is_seen_from_the_start_to_the_end() {
        let mut meter = Meter::default();
        assert!(meter.rate(Instant::from_secs(5)) == 0.0);
        for second in 0..7200 {
            let now = Instant::from_secs(second);
            meter.record(now, 1000.0);
            if second > 60 {
                let rate = meter.rate(now);
                assert!((980.0..1020.0).contains(&rate), "{rate} after {second} s");
            }
        }
    }

    #[test]
    fn silence_fades_within_two_windows() {
        let mut meter = Meter::default();
        for second in 0..1200 {
            meter.record(Instant::from_secs(second), 1.0);
        }
        let after = |secs: u64| meter.rate(Instant::from_secs(1200 + secs));
        assert!((0.4..0.6).contains(&after(300)), "{}", after(300));
        assert!(after(601) < 0.01);
        assert!(after(100_000) == 0.0);
        meter.record(Instant::from_secs(100_000), 600.0);
        assert!((meter.rate(Instant::from_secs(100_000)) - 1.0).abs() < 0.01);
    }
}
