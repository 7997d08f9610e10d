//! A provider's look at a submitted solution: is it a block, and did the client keep the rules.

use core::fmt;
use core::time::Duration;

use super::book::{Standing, TemplateBook};
use super::coinbase::{self, CoinbaseFault};
use super::store::Constraints;
use super::transaction::{CoinbaseTx, Malformed};
use crate::message::template::SubmitSolution;
use crate::mining::header::{HEADER_LEN, Header, VERSION_MASK_BIP320, VERSION_MASK_BIP323};
use crate::mining::merkle::merkle_root;
use crate::storage::Storage;
use crate::wire::Revision;

/// Seconds by which a solution's time may be past what D-TDP-20 allows before it is called a breach: two clocks that count
/// whole seconds, and the way to the client.
const TIME_SLACK: u64 = 2;

/// A solution whose hash meets the target: whoever sent it paid for it, so it is worth the node's own judgement even when the client
/// broke a rule on the way ([`Solution::breach`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Solution<'m> {
    /// The template; its transactions follow the coinbase in the block.
    pub template_id: u64,
    /// The block's header.
    pub header: [u8; HEADER_LEN],
    /// The block's hash, in raw SHA-256 order.
    pub hash: [u8; 32],
    /// The coinbase as the client sent it: it opens the block.
    pub coinbase_tx: &'m [u8],
    /// The template builds on the tip before the present one: the block can only compete with the tip.
    pub stale: bool,
    /// A rule that the client broke.
    pub breach: Option<Breach>,
}

/// A rule that a client broke with a solution that is a block by its hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Breach {
    /// Version bits changed that are not for rolling (D-TDP-19).
    Version,
    /// The time is before the tip's or further behind it than time passed since the provider set it (D-TDP-20). Not judged on a tip that an earlier run
    /// may have told of, see [`TemplateBook::starting_at`].
    Timestamp,
    /// The coinbase does not fit the template (D-TDP-6, D-TDP-8).
    Coinbase(CoinbaseFault),
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version => f.write_str("version bits changed that are not for rolling"),
            Self::Timestamp => f.write_str("header time outside of what the last prevhash allows"),
            Self::Coinbase(fault) => write!(f, "{fault}"),
        }
    }
}

/// Why a solution is no block at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoBlock {
    /// No such template was ever made, or it is forgotten: by a new tip, or because the provider restarted.
    UnknownTemplate,
    /// The template waits for a prevhash still.
    FutureTemplate,
    /// The coinbase can't be read.
    Coinbase(Malformed),
    /// The hash is above the target.
    HighHash,
}

impl fmt::Display for NoBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownTemplate => f.write_str("unknown template"),
            Self::FutureTemplate => f.write_str("template of a block to come"),
            Self::Coinbase(why) => write!(f, "coinbase: {why}"),
            Self::HighHash => f.write_str("hash above the target"),
        }
    }
}

impl core::error::Error for NoBlock {}

/// What a server knows of the client that sent a solution.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sender {
    pub(super) constraints: Constraints,
    /// Time since the present tip was set.
    pub(super) since_tip: Duration,
    pub(super) revision: Revision,
}

/// Checks a solution: hash first, rules after.
pub(super) fn check<'m, S: Storage>(
    book: &TemplateBook<S>,
    message: &SubmitSolution<'m>,
    sender: Sender,
) -> Result<Solution<'m>, NoBlock> {
    let known = book.get(message.template_id).ok_or(NoBlock::UnknownTemplate)?;
    let tip = known.tip.ok_or(NoBlock::FutureTemplate)?;
    let coinbase_tx = message.coinbase_tx.as_bytes();
    let txid = CoinbaseTx::parse(coinbase_tx).map_err(NoBlock::Coinbase)?.txid();
    let header = Header {
        version: message.version,
        prev_hash: tip.prev_hash,
        merkle_root: merkle_root(txid, known.template.merkle_path().iter().map(|hash| hash.0)),
        ntime: message.header_timestamp,
        nbits: tip.n_bits,
        nonce: message.header_nonce,
    };
    let hash = header.hash();
    if !tip.target.is_met_by(&hash) {
        return Err(NoBlock::HighHash);
    }
    let mask = match sender.revision {
        Revision::Draft => VERSION_MASK_BIP320,
        Revision::Current => VERSION_MASK_BIP323,
    };
    // D-TDP-20: the seconds count from when the tip was set, not from when this connection was told: a client that connected again has mined
    // on it all the while. Of the tip before the present one the time is not known any more.
    let latest = match known.standing {
        Standing::Current => {
            u64::from(tip.header_timestamp).saturating_add(sender.since_tip.as_secs()).saturating_add(TIME_SLACK)
        }
        Standing::Future | Standing::Stale => u64::MAX,
    };
    let breach = if (message.version ^ known.template.version()) & !mask != 0 {
        Some(Breach::Version)
    } else if book.knows_times(known.standing)
        && !(u64::from(tip.header_timestamp)..=latest).contains(&u64::from(message.header_timestamp))
    {
        Some(Breach::Timestamp)
    } else {
        coinbase::check(&known.template.coinbase(), sender.constraints.max_additional_size, coinbase_tx)
            .err()
            .map(Breach::Coinbase)
    };
    Ok(Solution {
        template_id: message.template_id,
        header: header.to_bytes(),
        hash,
        coinbase_tx,
        stale: known.standing == Standing::Stale,
        breach,
    })
}
