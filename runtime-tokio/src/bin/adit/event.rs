//! What the roles tell: events, their line and their JSON. `docs/program.md` says the same for those who read them.
//!
//! No behaviour lives here.

use std::fmt;

use serde::Serialize;

use crate::sums::Shares;

/// Something worth telling.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Event {
    /// A server listens; this is what its clients are configured with.
    Listening {
        /// The role that listens.
        role: &'static str,
        /// `stratum2+tcp://` URL with the authority key.
        url: String,
    },
    /// A link to a server came up, through handshake and setup.
    LinkUp {
        /// Who connected.
        from: String,
        /// Where to.
        to: String,
    },
    /// A link went down.
    LinkDown {
        /// Who was connected.
        from: String,
        /// Where to.
        to: String,
        /// Why.
        reason: String,
    },
    /// The provider gave out a template.
    Template {
        /// Its id.
        template_id: u64,
        /// Height of the block to be found.
        height: u32,
        /// Transactions in it, the coinbase included.
        transactions: usize,
        /// What they pay, in satoshis.
        fees: u64,
        /// True when the tip changed, false for other transactions on the same tip.
        new_tip: bool,
    },
    /// The pool made a job of a template.
    Job {
        /// The template's id.
        template_id: u64,
        /// True when the tip changed with it.
        new_tip: bool,
    },
    /// The pool accepted a share; it is acknowledged once it is stored.
    ShareAccepted {
        /// Account and worker.
        user: String,
        /// Difficulty of the target that it met; 1 is 2^32 hashes on average.
        difficulty: f64,
    },
    /// The pool rejected a share.
    ShareRejected {
        /// Account and worker.
        user: String,
        /// The error code of SubmitShares.Error.
        reason: String,
    },
    /// What became of shares in a stretch of time.
    Shares(Shares),
    /// Hashes a second, measured over the last while, all devices together.
    HashRate {
        /// Hashes a second.
        hashes_per_second: f64,
        /// Why there is no work, where that is known.
        #[serde(skip_serializing_if = "Option::is_none")]
        idle: Option<&'static str>,
    },
    /// The pool accepted a share that is a block. Told when it is on disk.
    BlockFound {
        /// Its height, where it is to be handed over.
        height: Option<u32>,
        /// Its hash as block explorers print it.
        hash: String,
        /// Account and worker that found it.
        user: String,
        /// `yes`; `waits` for the provider, who is away; `no`: it is a custom job's, whose maker hands it over, or too many wait already.
        handed_over: &'static str,
    },
    /// The provider builds on a block that the pool has found: the node has taken it.
    BlockConfirmed {
        /// Its height.
        height: Option<u32>,
        /// Its hash as block explorers print it.
        hash: String,
        /// Account and worker that found it.
        user: String,
    },
    /// The chain or node accepted a block that a provider's client has found.
    BlockAccepted {
        /// Its height.
        height: u32,
        /// Its hash as block explorers print it.
        hash: String,
        /// Transactions in it, the coinbase included.
        transactions: usize,
    },
    /// A block came a moment after another one of the same height: nobody's fault.
    BlockStale {
        /// What the chain or node said of it.
        reason: String,
    },
    /// A block was rejected by the chain or node: something is wrong.
    BlockRejected {
        /// Why.
        reason: String,
    },
    /// Nobody knows yet what the node thinks of a block.
    BlockUnanswered {
        /// Why, and where the block is.
        reason: String,
    },
    /// A block was found, and the pool ends before the provider could be told. This is all that there is of it beside the template's
    /// transactions, which the provider has; the share store keeps it for the next run.
    BlockUnsent {
        /// The provider's template.
        template_id: u64,
        /// The block that it builds on, as block explorers print it.
        prev_hash: String,
        /// The header's version.
        version: u32,
        /// The header's time.
        ntime: u32,
        /// The header's nonce.
        nonce: u32,
        /// The coinbase transaction in hexadecimal.
        coinbase_tx: String,
    },
    /// Something that the person should know and may act on.
    Warning {
        /// What happened and what to do.
        message: String,
    },
    /// The last event.
    Summary(Summary),
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Summary {
    /// Blocks that the chain accepted.
    pub(crate) blocks: u32,
    /// Height of the chain's tip.
    pub(crate) tip_height: u32,
    /// Shares acknowledged.
    pub(crate) shares_accepted: u64,
    /// Shares rejected.
    pub(crate) shares_rejected: u64,
    /// Seconds since the start.
    pub(crate) seconds: f64,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listening { role, url } => write!(f, "{role} listens at {url}"),
            Self::LinkUp { from, to } => write!(f, "link up    {from} -> {to}"),
            Self::LinkDown { from, to, reason } => write!(f, "link down  {from} -> {to}: {reason}"),
            Self::Template { template_id, height, transactions, fees, new_tip } => {
                let tip = if *new_tip { "new tip" } else { "same tip" };
                write!(
                    f,
                    "template   {template_id}: height {height}, {tip}, {transactions} transactions, fees {fees} sat"
                )
            }
            Self::Job { template_id, new_tip } => {
                write!(f, "job        of template {template_id}, {} tip", if *new_tip { "new" } else { "same" })
            }
            Self::ShareAccepted { user, difficulty } => {
                write!(f, "share      accepted, difficulty {}, {user}", Difficulty(*difficulty))
            }
            Self::ShareRejected { user, reason } => write!(f, "share      rejected, {reason}, {user}"),
            Self::Shares(shares) => shares.fmt(f),
            Self::HashRate { idle: Some(why), .. } => write!(f, "hash rate  idle: {why}"),
            // Exactly none: there is no work.
            Self::HashRate { hashes_per_second: 0.0, .. } => f.write_str("hash rate  idle"),
            Self::HashRate { hashes_per_second, .. } => write!(f, "hash rate  {}", Rate(*hashes_per_second)),
            Self::BlockFound { height, hash, user, handed_over } => {
                let height = height.map_or_else(String::new, |height| format!("height {height}, "));
                let fate = match *handed_over {
                    "yes" => "",
                    "waits" => {
                        "; the provider is away: it is handed over as soon as it comes back, also by the next run"
                    }
                    _ => {
                        "; it is not handed over: its job was a miner's own, or too many blocks wait already. The share store has its header"
                    }
                };
                write!(f, "BLOCK      found by {user}: {height}{hash}{fate}")
            }
            Self::BlockConfirmed { height, hash, user } => {
                let height = height.map_or_else(String::new, |height| format!("height {height}, "));
                write!(f, "BLOCK      of {user} is the tip: {height}{hash}")
            }
            Self::BlockAccepted { height, hash, transactions } => {
                write!(f, "BLOCK      accepted: height {height}, {transactions} transactions, {hash}")
            }
            Self::BlockStale { reason } => write!(f, "block      too late: {reason}"),
            Self::BlockRejected { reason } => write!(f, "BLOCK      rejected: {reason}"),
            Self::BlockUnanswered { reason } => write!(f, "BLOCK      UNANSWERED: {reason}"),
            Self::BlockUnsent { template_id, prev_hash, version, ntime, nonce, coinbase_tx } => write!(
                f,
                "BLOCK      NOT HANDED OVER, for the provider can't be reached; the next run of this pool tries again: template {template_id}, \
                 on {prev_hash}, version {version:#x}, time {ntime}, nonce {nonce}, coinbase {coinbase_tx}"
            ),
            Self::Warning { message } => write!(f, "warning    {message}"),
            Self::Summary(summary) => summary.fmt(f),
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {}, tip at height {}, {} shares accepted, {} rejected, in {:.1} s",
            self.blocks,
            if self.blocks == 1 { "block" } else { "blocks" },
            self.tip_height,
            self.shares_accepted,
            self.shares_rejected,
            self.seconds
        )
    }
}

/// A difficulty with as many digits as tell it apart.
pub(crate) struct Difficulty(pub(crate) f64);

impl fmt::Display for Difficulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            value if value >= 100.0 => write!(f, "{value:.0}"),
            value if value >= 0.01 => write!(f, "{value:.4}"),
            value => write!(f, "{value:.3e}"),
        }
    }
}

/// A hash rate in its usual unit.
pub(crate) struct Rate(pub(crate) f64);

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = ["H/s", "kH/s", "MH/s", "GH/s", "TH/s", "PH/s", "EH/s"];
        let (mut value, mut unit) = (self.0, 0);
        while value >= 1000.0 && unit + 1 < units.len() {
            value /= 1000.0;
            unit += 1;
        }
        write!(f, "{value:.2} {}", units[unit])
    }
}

impl Event {
    /// Whether it comes as often as shares do.
    pub(crate) const fn is_chatter(&self) -> bool {
        matches!(self, Self::ShareAccepted { .. } | Self::ShareRejected { .. } | Self::HashRate { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_is_one_flat_object() {
        let summary = Summary { blocks: 3, tip_height: 104, shares_accepted: 40, shares_rejected: 1, seconds: 12.5 };
        let text = serde_json::to_string(&Event::Summary(summary)).unwrap();
        assert_eq!(
            text,
            r#"{"event":"summary","blocks":3,"tip_height":104,"shares_accepted":40,"shares_rejected":1,"seconds":12.5}"#
        );
    }

    #[test]
    fn a_miner_without_work_is_idle() {
        let line = |hashes_per_second, idle| Event::HashRate { hashes_per_second, idle }.to_string();
        assert_eq!([line(0.0, None), line(2_500.0, None)], ["hash rate  idle", "hash rate  2.50 kH/s"]);
        assert_eq!(line(0.0, Some("not connected")), "hash rate  idle: not connected");
        let json = serde_json::to_string(&Event::HashRate { hashes_per_second: 1.0, idle: None }).unwrap();
        assert_eq!(json, r#"{"event":"hash_rate","hashes_per_second":1.0}"#);
    }

    #[test]
    fn numbers_read_well() {
        assert_eq!(Rate(3_200_000.0).to_string(), "3.20 MH/s");
        assert_eq!(Rate(12.0).to_string(), "12.00 H/s");
        assert_eq!(Difficulty(0.000_123).to_string(), "1.230e-4");
        assert_eq!(Difficulty(0.25).to_string(), "0.2500");
        assert_eq!(Difficulty(1234.6).to_string(), "1235");
    }
}
