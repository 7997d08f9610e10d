//! Variable difficulty: from the shares of a channel to the target at which it finds a steady number of them.
//!
//! Works in hashes, not in share counts: a share stands for the hashes that its own job's target takes, so shares that are
//! still on the way under an old target count right. Nothing here knows of messages; a server uses it for each channel, and firmware
//! may use it to judge its own hash rate.

use core::time::Duration;

use super::target::Target;
use crate::time::Instant;

/// Squared distance, in standard deviations of a Poisson process, at which a difference is more than chance: 3 of them.
const NOISE: f64 = 9.0;

/// The same as long as the rate is not known: two and a half. A wrong guess costs less then than waiting.
const NOISE_SEARCHING: f64 = 6.25;

/// Largest change in one step, either way. Seven shares that come at once, or silence for as many expected ones, say that the target is far off,
/// but not how far.
const LARGEST_STEP: f64 = 16.0;

/// A change smaller than this is not worth telling the client.
const SMALLEST_STEP: f64 = 1.2;

/// Expected shares after which the older half of the window fades, so that it follows slow changes.
const WINDOW: f64 = 60.0;

/// In microseconds.
const MINUTE: f64 = 60e6;

/// What variable difficulty aims at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VardiffConfig {
    /// Shares a minute that a channel should find; must be above zero.
    pub shares_per_minute: f64,
    /// How often silence is looked for. Shares that come too fast are noticed when they come.
    pub check_every: Duration,
}

impl Default for VardiffConfig {
    /// Six shares a minute: enough to notice a dead device within two minutes, 35 bytes of traffic a second at most.
    fn default() -> Self {
        Self { shares_per_minute: 6.0, check_every: Duration::from_secs(15) }
    }
}

/// The shares of a window.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Seen {
    /// Hashes that they stand for.
    hashes: f64,
    /// Sum of the squares of the same: the variance of `hashes`.
    squares: f64,
}

/// Observation of one channel. 32 bytes.
#[derive(Clone, Copy, Debug)]
pub struct Vardiff {
    since: Instant,
    /// In the window.
    seen: Seen,
    /// No window has confirmed the target yet.
    searching: bool,
    /// The window began with a change.
    changed: bool,
}

impl Vardiff {
    /// Begins to observe.
    #[must_use]
    pub const fn new(now: Instant) -> Self {
        Self { since: now, seen: Seen { hashes: 0.0, squares: 0.0 }, searching: true, changed: false }
    }

    /// Counts an accepted share of a job whose target takes so many hashes. Call [`Self::evaluate`] behind it, so that a flood ends early.
    #[inline]
    pub const fn record(&mut self, hashes: f64) {
        self.seen = self.with(hashes);
    }

    /// What [`Self::record`] would make of the window: for who works out what follows from a share before it is accepted.
    #[inline]
    #[must_use]
    pub const fn with(&self, hashes: f64) -> Seen {
        Seen { hashes: self.seen.hashes + hashes, squares: self.seen.squares + hashes * hashes }
    }

    /// What was [worked out](Self::with) has come true.
    #[inline]
    pub const fn take(&mut self, seen: Seen) {
        self.seen = seen;
    }

    /// Hash rate seen in this window, in hashes a second; None before any time has passed.
    #[must_use]
    pub fn hash_rate(&self, now: Instant) -> Option<f64> {
        let seconds = now.saturating_since(self.since).as_secs_f64();
        (seconds > 0.0).then(|| self.seen.hashes / seconds)
    }

    /// The target that the channel should have instead of its present one, which takes `unit` hashes, when the difference is more than chance
    /// and worth a message. The caller bounds it by what client and server allow. Begins a new window with each change.
    #[inline]
    pub fn evaluate(&mut self, now: Instant, unit: f64, config: &VardiffConfig) -> Option<Target> {
        match self.look(&self.seen, now, unit, config) {
            None => None,
            Some((expected, is_chance)) => self.judge(now, unit, expected, is_chance),
        }
    }

    /// Whether [`Self::evaluate`] would have nothing to say or to change if these were the shares of the window.
    #[inline]
    #[must_use]
    pub fn is_quiet(&self, seen: &Seen, now: Instant, unit: f64, config: &VardiffConfig) -> bool {
        self.look(seen, now, unit, config).is_none()
    }

    /// Shares expected by now and whether what came is that but for chance; None when nothing is to be done.
    #[inline]
    fn look(&self, seen: &Seen, now: Instant, unit: f64, config: &VardiffConfig) -> Option<(f64, bool)> {
        if self.is_judged(now) {
            return None;
        }
        // Not by way of a Duration, whose seconds and parts would be put together again by a division.
        #[allow(
            clippy::cast_precision_loss,
            reason = "a few microseconds in the time that takes more than 53 bits of them"
        )]
        let passed = now.as_micros().saturating_sub(self.since.as_micros()) as f64;
        let expected = passed * config.shares_per_minute / MINUTE;
        // In hashes, not in shares: divisions are what each share pays for here.
        let off = seen.hashes - expected * unit;
        let variance = seen.squares.max(expected * unit * unit);
        let noise = if self.searching { NOISE_SEARCHING } else { NOISE };
        let is_chance = off * off <= noise * variance;
        (!is_chance || expected > WINDOW).then_some((expected, is_chance))
    }

    /// Whether [`Self::evaluate`] has nothing to say at this time: what came in one piece is of one moment, and was judged with the change.
    #[inline]
    #[must_use]
    pub fn is_judged(&self, now: Instant) -> bool {
        self.changed && now <= self.since
    }

    /// What seldom is to be done.
    #[cold]
    fn judge(&mut self, now: Instant, unit: f64, expected: f64, is_chance: bool) -> Option<Target> {
        if is_chance {
            self.fade(now);
            return None;
        }
        // Without time passed the ratio is infinite; the step is bounded either way. NaN can't be: then nothing is off.
        let ratio = (self.seen.hashes / unit / expected).clamp(1.0 / LARGEST_STEP, LARGEST_STEP);
        if ratio < SMALLEST_STEP && ratio * SMALLEST_STEP > 1.0 {
            self.fade(now);
            return None;
        }
        *self =
            Self { searching: ratio >= LARGEST_STEP || ratio * LARGEST_STEP <= 1.0, changed: true, ..Self::new(now) };
        Target::from_expected_hashes(unit * ratio)
    }

    /// Drops the older half of the window, as if it had been like the whole.
    fn fade(&mut self, now: Instant) {
        let half = now.saturating_since(self.since) / 2;
        self.since = self.since.saturating_add(half);
        self.seen.hashes /= 2.0;
        self.seen.squares /= 2.0;
        self.searching = false;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// splitmix64: a seeded generator small enough to read.
    struct Random(u64);

    impl Random {
        fn next(&mut self) -> u64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        }

        /// Seconds until the next event of a Poisson process with `rate` events a second.
        #[allow(clippy::cast_precision_loss, reason = "53 bits are taken")]
        fn wait(&mut self, rate: f64) -> f64 {
            let uniform = ((self.next() >> 11) as f64 + 1.0) / 9_007_199_254_740_992.0;
            -uniform.ln() / rate
        }
    }

    struct Channel {
        vardiff: Vardiff,
        target: Target,
        now: Instant,
        changes: usize,
        config: VardiffConfig,
    }

    impl Channel {
        fn new(target: Target) -> Self {
            let config = VardiffConfig::default();
            Self { vardiff: Vardiff::new(Instant::ORIGIN), target, now: Instant::ORIGIN, changes: 0, config }
        }

        fn evaluate(&mut self) {
            if let Some(target) = self.vardiff.evaluate(self.now, self.target.expected_hashes(), &self.config) {
                self.target = target;
                self.changes += 1;
            }
        }

        /// Mines at `rate` hashes a second for `seconds`, with Poisson arrivals, checking for silence on a grid. Returns the shares found.
        fn mine(&mut self, random: &mut Random, rate: f64, seconds: f64) -> usize {
            let end = self.now.saturating_add(Duration::from_secs_f64(seconds));
            let mut check = self.now.saturating_add(self.config.check_every);
            let mut shares = 0;
            loop {
                let wait = random.wait(rate / self.target.expected_hashes()).min(1e9);
                let share = self.now.saturating_add(Duration::from_secs_f64(wait));
                let next = share.min(check).min(end);
                self.now = next;
                if next == end {
                    return shares;
                }
                if next == share {
                    shares += 1;
                    self.vardiff.record(self.target.expected_hashes());
                } else {
                    check = check.saturating_add(self.config.check_every);
                }
                // Waiting times have no memory, so drawing anew after a check changes nothing.
                self.evaluate();
            }
        }

        fn off(&self, rate: f64) -> f64 {
            self.target.hash_rate(self.config.shares_per_minute) / rate
        }
    }

    // Statistical claims: a fixed set of seeds, so that a run is as good as the last one.

    /// From 1000 times off either way to within a factor of two or so, in ten minutes of simulated Poisson arrivals.
    #[test]
    fn converges_within_minutes() {
        let (mut within_two, mut runs) = (0, 0);
        for seed in 0..400 {
            let rate = 10_f64.powi(4 + i32::try_from(seed % 14).unwrap());
            let assumed = if seed % 2 == 0 { rate / 1_000.0 } else { rate * 1_000.0 };
            let mut channel = Channel::new(Target::from_hash_rate(assumed, 6.0).unwrap());
            let shares = channel.mine(&mut Random(seed), rate, 600.0);
            let off = channel.off(rate);
            assert!((0.25..4.0).contains(&off), "seed {seed}: {off} times off, {} changes", channel.changes);
            assert!(shares < 200, "seed {seed}: a flood of {shares} shares until it converged");
            within_two += u32::from((0.5..2.0).contains(&off));
            runs += 1;
        }
        assert!(within_two * 100 >= runs * 95, "{within_two} of {runs}");
    }

    /// Four hours at a steady rate and the right target: it is left alone or nearly so, and shares come as aimed at.
    #[test]
    fn does_not_flap() {
        let mut changes = 0;
        for seed in 0..200 {
            let rate = 1e14;
            let mut channel = Channel::new(Target::from_hash_rate(rate, 6.0).unwrap());
            let shares = channel.mine(&mut Random(seed), rate, 4.0 * 3600.0);
            assert!(channel.changes <= 12, "seed {seed}: {} changes", channel.changes);
            assert!((900..2_000).contains(&shares), "seed {seed}: {shares} shares instead of 1440");
            assert!((0.4..2.5).contains(&channel.off(rate)), "seed {seed}: {} times off", channel.off(rate));
            changes += channel.changes;
        }
        assert!(changes < 3 * 200, "{changes} changes, more than three in four hours");
    }

    /// D-SEC-4: how often a miner sends says nothing about its hash rate: whether it has ten thousand hashes a second or a hundred billion
    /// times as many, once settled it sends the same number of shares.
    #[test]
    fn traffic_does_not_tell_the_hash_rate() {
        let mut counts = std::vec::Vec::new();
        for power in [4, 7, 10, 13, 15] {
            let rate = 10_f64.powi(power);
            let mut shares = 0;
            for seed in 0..40 {
                let mut channel = Channel::new(Target::from_hash_rate(1e9, 6.0).unwrap());
                let mut random = Random(seed);
                channel.mine(&mut random, rate, 900.0);
                shares += channel.mine(&mut random, rate, 3600.0);
            }
            counts.push(shares / 40);
        }
        assert!(counts.iter().all(|count| (270..450).contains(count)), "{counts:?} shares an hour; 360 are aimed at");
    }

    #[test]
    fn silence_makes_it_easier_step_by_step() {
        let start = Target::from_difficulty(1e6).unwrap();
        let mut channel = Channel::new(start);
        channel.now = Instant::from_secs(60);
        channel.evaluate();
        assert_eq!(channel.target, start, "six expected shares may be missing by chance");
        channel.now = Instant::from_secs(63);
        channel.evaluate();
        let eased = channel.target.difficulty();
        assert!((eased - 1e6 / 16.0).abs() < 1.0, "{eased}");
    }

    #[test]
    fn a_burst_in_no_time_is_bounded() {
        let start = Target::from_difficulty(1.0).unwrap();
        let mut channel = Channel::new(start);
        for _ in 0..6 {
            channel.vardiff.record(channel.target.expected_hashes());
            channel.evaluate();
        }
        assert_eq!(channel.changes, 0, "six shares may be chance");
        channel.vardiff.record(channel.target.expected_hashes());
        channel.evaluate();
        assert!((channel.target.difficulty() - 16.0).abs() < 1e-6);
    }

    /// A server checks shares in batches, all at one time; the rest of a batch says nothing about the target that its beginning led to.
    #[test]
    fn one_batch_changes_the_target_once() {
        let old = Target::from_difficulty(1.0).unwrap();
        let mut channel = Channel::new(old);
        channel.now = Instant::from_millis(5);
        for _ in 0..64 {
            channel.vardiff.record(old.expected_hashes());
            channel.evaluate();
        }
        assert_eq!(channel.changes, 1);
        assert!((channel.target.difficulty() - 16.0).abs() < 1e-6);
        channel.now = Instant::from_millis(6);
        channel.vardiff.record(old.expected_hashes());
        channel.evaluate();
        assert_eq!(channel.changes, 2, "a flood that goes on");
    }

    #[test]
    fn shares_of_the_old_target_count_with_their_own_weight() {
        let mut channel = Channel::new(Target::from_difficulty(1_000.0).unwrap());
        // At difficulty 1000 six a minute; the job before had difficulty 1, so 6000 a minute are as expected.
        let old = Target::from_difficulty(1.0).unwrap();
        for n in 1..=6_000 {
            channel.now = Instant::from_millis(n * 10);
            channel.vardiff.record(old.expected_hashes());
            channel.evaluate();
        }
        assert_eq!(channel.changes, 0);
        let rate = channel.vardiff.hash_rate(channel.now).unwrap();
        assert!((rate / channel.target.hash_rate(6.0) - 1.0).abs() < 0.01);
    }

    #[test]
    fn a_clock_that_goes_back_does_no_harm() {
        let mut vardiff = Vardiff::new(Instant::from_secs(100));
        let target = Target::DIFFICULTY_1;
        assert_eq!(vardiff.evaluate(Instant::from_secs(50), target.expected_hashes(), &VardiffConfig::default()), None);
        assert_eq!(vardiff.hash_rate(Instant::from_secs(50)), None);
    }

    proptest! {
        /// What is foreseen of a share is what happens when it is counted: quiet is quiet, and no other.
        #[test]
        fn what_is_foreseen_happens(steps in proptest::collection::vec((0_u64..40, -3_i32..4), 1..200)) {
            let mut vardiff = Vardiff::new(Instant::from_secs(1));
            let (mut now, unit, config) = (Instant::from_secs(1), 1e9, VardiffConfig::default());
            for (seconds, times) in steps {
                now = now.saturating_add(Duration::from_secs(seconds));
                let hashes = unit * 2_f64.powi(times);
                let seen = vardiff.with(hashes);
                let is_quiet = vardiff.is_quiet(&seen, now, unit, &config);
                vardiff.record(hashes);
                prop_assert_eq!(vardiff.seen, seen);
                let before = vardiff;
                let target = vardiff.evaluate(now, unit, &config);
                let is_unchanged = (vardiff.seen, vardiff.since) == (before.seen, before.since);
                prop_assert_eq!(is_quiet, target.is_none() && is_unchanged);
            }
        }
    }
}
