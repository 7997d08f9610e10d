//! What became of shares in a stretch of time, as pools and miners sum it up.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::event::Rate;

/// Different reasons that are counted: a server may make up as many as it likes.
const MOST_REASONS: usize = 32;

/// What is counted of those beyond, and of those that were missed.
const OTHER: &str = "other";

/// What became of shares: every few seconds in which there were some, and of the whole run at its end.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Shares {
    /// Who counts: `pool` or `miner`.
    pub(crate) role: &'static str,
    /// True for the sum of the whole run.
    pub(crate) whole_run: bool,
    /// Sent (miner).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) submitted: Option<u64>,
    /// Accepted ones.
    pub(crate) accepted: u64,
    /// Rejected ones.
    pub(crate) rejected: u64,
    /// These by reason: the error code of `SubmitShares.Error`.
    pub(crate) reasons: BTreeMap<String, u64>,
    /// Sent on a connection that ended before they were answered (miner).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) unanswered: Option<u64>,
    /// Sum of the difficulties of accepted ones, as the pool counts it.
    pub(crate) difficulty: f64,
    /// Hashes a second: those that accepted shares stand for (pool), those that were made (miner).
    pub(crate) hashes_per_second: f64,
    /// Channels at the end of that time (pool).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) channels: Option<usize>,
    /// How long it was.
    pub(crate) seconds: f64,
}

impl fmt::Display for Shares {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("shares     ")?;
        if let Some(submitted) = self.submitted {
            write!(f, "{submitted} submitted, ")?;
        }
        write!(f, "{} accepted, {} rejected", self.accepted, self.rejected)?;
        for (place, (reason, count)) in self.reasons.iter().enumerate() {
            write!(f, "{}{count} {reason}", if place == 0 { " (" } else { ", " })?;
        }
        if !self.reasons.is_empty() {
            f.write_str(")")?;
        }
        if let Some(unanswered) = self.unanswered.filter(|count| *count > 0) {
            write!(f, ", {unanswered} unanswered")?;
        }
        write!(f, " in {:.0} s: {}", self.seconds, Rate(self.hashes_per_second))?;
        if let Some(channels) = self.channels {
            write!(f, ", {channels} channel(s)")?;
        }
        f.write_str(if self.whole_run { "; the whole run" } else { "" })
    }
}

/// Rejected shares by reason, since the last sum and in all.
#[derive(Debug, Default)]
pub(crate) struct Reasons {
    since: BTreeMap<String, u64>,
    whole: BTreeMap<String, u64>,
}

impl Reasons {
    /// One more.
    pub(crate) fn add(&mut self, reason: &str) {
        for counts in [&mut self.since, &mut self.whole] {
            let is_known = counts.contains_key(reason) || counts.len() < MOST_REASONS;
            *counts.entry(if is_known { reason } else { OTHER }.to_owned()).or_default() += 1;
        }
    }

    /// Those since the last call, of which there were `rejected`.
    pub(crate) fn take(&mut self, rejected: u64) -> BTreeMap<String, u64> {
        filled(std::mem::take(&mut self.since), rejected)
    }

    /// All, of which there were `rejected`.
    pub(crate) fn whole(&self, rejected: u64) -> BTreeMap<String, u64> {
        filled(self.whole.clone(), rejected)
    }
}

/// News may be missed; the counts themselves are not.
fn filled(mut reasons: BTreeMap<String, u64>, rejected: u64) -> BTreeMap<String, u64> {
    let missed = rejected.saturating_sub(reasons.values().sum());
    if missed > 0 {
        *reasons.entry(OTHER.to_owned()).or_default() += missed;
    }
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum() -> Shares {
        Shares {
            role: "pool",
            whole_run: false,
            submitted: None,
            accepted: 30,
            rejected: 3,
            reasons: [("stale-share".to_owned(), 2), ("duplicate-share".to_owned(), 1)].into(),
            unanswered: None,
            difficulty: 30.0,
            hashes_per_second: 30.0 * 4_294_967_296.0 / 10.0,
            channels: Some(2),
            seconds: 10.0,
        }
    }

    #[test]
    fn each_role_has_its_line() {
        let pool =
            "shares     30 accepted, 3 rejected (1 duplicate-share, 2 stale-share) in 10 s: 12.88 GH/s, 2 channel(s)";
        assert_eq!(sum().to_string(), pool);
        let miner = Shares {
            role: "miner",
            whole_run: true,
            submitted: Some(35),
            rejected: 0,
            reasons: BTreeMap::new(),
            unanswered: Some(5),
            channels: None,
            ..sum()
        };
        assert_eq!(
            miner.to_string(),
            "shares     35 submitted, 30 accepted, 0 rejected, 5 unanswered in 10 s: 12.88 GH/s; the whole run"
        );
        let json = serde_json::to_string(&miner).unwrap();
        assert!(json.contains(r#""submitted":35"#) && !json.contains("channels"), "{json}");
    }

    #[test]
    fn reasons_add_up_to_what_was_rejected_and_are_bounded() {
        let mut reasons = Reasons::default();
        for _ in 0..3 {
            reasons.add("stale-share");
        }
        assert_eq!(reasons.take(5), [("other".to_owned(), 2), ("stale-share".to_owned(), 3)].into());
        for n in 0..100 {
            reasons.add(&format!("made-up-{n}"));
        }
        let (since, whole) = (reasons.take(100), reasons.whole(105));
        assert_eq!((since.len(), since.values().sum()), (MOST_REASONS + 1, 100_u64));
        assert_eq!((whole.len(), whole.values().sum(), whole["stale-share"]), (MOST_REASONS + 1, 105_u64, 3));
        assert!(reasons.take(0).is_empty());
    }
}
