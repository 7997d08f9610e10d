//! What the blocks so far have left: headers and unspent outputs.

use std::collections::HashMap;

use bitcoin::block::Header;
use bitcoin::constants::genesis_block;
use bitcoin::{Amount, Block, BlockHash, Network, OutPoint, TxOut};

/// Headers whose median a block's time must pass.
const MEDIAN_OF: usize = 11;
/// Blocks between halvings on regtest.
const HALVING: u32 = 150;

/// An unspent output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Coin {
    pub(super) output: TxOut,
    /// Height of the block that made it.
    pub(super) height: u32,
    pub(super) coinbase: bool,
}

/// Changes to the set of unspent outputs: made ones, and `None` for spent ones.
pub(super) type Changes = HashMap<OutPoint, Option<Coin>>;

/// The chain up to its tip.
pub(super) struct State {
    headers: Vec<Header>,
    heights: HashMap<BlockHash, u32>,
    coins: HashMap<OutPoint, Coin>,
}

impl State {
    /// Regtest's first block alone. Its output can never be spent, so there are no coins.
    pub(super) fn genesis() -> Self {
        let header = genesis_block(Network::Regtest).header;
        Self { headers: vec![header], heights: HashMap::from([(header.block_hash(), 0)]), coins: HashMap::new() }
    }

    pub(super) fn height(&self) -> u32 {
        self.headers.len() as u32 - 1
    }

    pub(super) fn tip(&self) -> &Header {
        // The genesis header is never removed.
        self.headers.last().expect("never empty")
    }

    pub(super) fn height_of(&self, hash: &BlockHash) -> Option<u32> {
        self.heights.get(hash).copied()
    }

    pub(super) fn coin(&self, output: &OutPoint) -> Option<&Coin> {
        self.coins.get(output)
    }

    /// Median time of the block at `height` and the ten before it (BIP113); of the tip for heights above it.
    pub(super) fn median_time(&self, height: u32) -> u32 {
        let end = self.headers.len().min(height as usize + 1);
        let mut times: Vec<u32> =
            self.headers[end.saturating_sub(MEDIAN_OF)..end].iter().map(|header| header.time).collect();
        times.sort_unstable();
        times[times.len() / 2]
    }

    /// Puts a checked block on top.
    pub(super) fn apply(&mut self, block: &Block, changes: Changes) {
        self.headers.push(block.header);
        self.heights.insert(block.block_hash(), self.height());
        for (output, coin) in changes {
            match coin {
                Some(coin) => drop(self.coins.insert(output, coin)),
                None => drop(self.coins.remove(&output)),
            }
        }
    }
}

/// What a block at this height may make out of nothing.
pub(super) fn subsidy(height: u32) -> Amount {
    Amount::from_sat((50 * Amount::ONE_BTC.to_sat()).checked_shr(height / HALVING).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_subsidy_halves_every_150_blocks_and_ends() {
        let at = |height| subsidy(height).to_sat();
        assert_eq!((at(1), at(149), at(150)), (5_000_000_000, 5_000_000_000, 2_500_000_000));
        assert_eq!((at(150 * 33 - 1), at(150 * 33), at(150 * 64), at(u32::MAX)), (1, 0, 0, 0));
    }

    #[test]
    fn genesis_is_regtests() {
        let state = State::genesis();
        assert_eq!(
            state.tip().block_hash().to_string(),
            "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206"
        );
        assert_eq!((state.height(), state.median_time(0)), (0, 1_296_688_602));
    }
}
