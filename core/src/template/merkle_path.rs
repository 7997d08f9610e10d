//! The merkle path of a block's coinbase: the hashes beside the way from the coinbase to the root.
//!
//! Providers make it from their transactions and send it in `NewTemplate`; a miner folds it onto its own coinbase
//! (`mining::merkle`).

use crate::hash::sha256d_pair;
use crate::wire::U256;

/// Levels of the deepest tree: 65,535 transactions beside the coinbase. Consensus weight allows fewer than 17,000.
pub const MERKLE_DEPTH: usize = crate::config::MERKLE_PATH_INLINE;

/// More transactions than a merkle path of the bounded depth can carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyTransactions;

impl core::fmt::Display for TooManyTransactions {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "more than {} transactions beside the coinbase", (1_u32 << MERKLE_DEPTH) - 1)
    }
}

impl core::error::Error for TooManyTransactions {}

/// Collects transaction ids in block order and keeps only one hash a level of the tree, so that a block of any size
/// takes the same memory (D-ALG-3).
///
/// ```
/// use adit::template::merkle_path::MerklePath;
///
/// let mut path = MerklePath::new();
/// path.push([1; 32])?; // the first transaction behind the coinbase
/// path.push([2; 32])?;
/// assert_eq!(path.finish().hashes()[0].0, [1; 32]);
/// # Ok::<(), adit::template::merkle_path::TooManyTransactions>(())
/// ```
#[derive(Clone, Debug)]
pub struct MerklePath {
    /// Level `k`: the second node of the level, the coinbase's way being the first.
    path: [U256; MERKLE_DEPTH],
    /// Level `k`: the last node of the level when it waits for the one to its right.
    waiting: [[u8; 32]; MERKLE_DEPTH],
    /// Nodes of the lowest level so far, the coinbase among them.
    nodes: u32,
}

impl Default for MerklePath {
    fn default() -> Self {
        Self::new()
    }
}

impl MerklePath {
    /// The path of a block with a coinbase alone.
    #[must_use]
    pub const fn new() -> Self {
        Self { path: [U256::ZERO; MERKLE_DEPTH], waiting: [[0; 32]; MERKLE_DEPTH], nodes: 1 }
    }

    /// Adds the next transaction's id, in raw SHA-256 order. The coinbase is left out.
    pub fn push(&mut self, txid: [u8; 32]) -> Result<(), TooManyTransactions> {
        if self.nodes >> MERKLE_DEPTH != 0 {
            return Err(TooManyTransactions);
        }
        self.insert(0, self.nodes, txid);
        self.nodes += 1;
        Ok(())
    }

    /// Puts a node at its place in its level and goes up as long as pairs are complete.
    fn insert(&mut self, mut level: usize, mut index: u32, mut hash: [u8; 32]) {
        loop {
            if index == 1 {
                // Its left neighbour is on the coinbase's own way, so the hash of the pair is not known here.
                if let Some(slot) = self.path.get_mut(level) {
                    *slot = U256(hash);
                }
                return;
            }
            let Some(waiting) = self.waiting.get_mut(level) else { return };
            if index.is_multiple_of(2) {
                *waiting = hash;
                return;
            }
            hash = sha256d_pair(waiting, &hash);
            index /= 2;
            level += 1;
        }
    }

    /// Closes the tree: where a level has an odd number of nodes, its last one is paired with itself.
    #[must_use]
    pub fn finish(mut self) -> Finished {
        let mut nodes = self.nodes;
        let mut level = 0;
        while nodes > 1 {
            if nodes % 2 == 1 {
                // The last index is even and above zero here, so the node is the one that waits.
                let last = self.waiting.get(level).copied().unwrap_or_default();
                self.insert(level + 1, nodes / 2, sha256d_pair(&last, &last));
            }
            nodes = nodes.div_ceil(2);
            level += 1;
        }
        Finished { path: self.path, len: level }
    }
}

/// A finished path.
#[derive(Clone, Debug)]
pub struct Finished {
    path: [U256; MERKLE_DEPTH],
    len: usize,
}

impl Finished {
    /// The hashes, deepest first, as `NewTemplate` carries them (D-ALG-3); none for a block with a coinbase alone.
    #[must_use]
    pub fn hashes(&self) -> &[U256] {
        self.path.get(..self.len).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use std::vec::Vec;

    use super::*;
    use crate::hash::sha256d;

    /// The whole tree, level by level, the coinbase first.
    fn root(mut level: Vec<[u8; 32]>) -> [u8; 32] {
        while level.len() > 1 {
            if level.len() % 2 == 1 {
                level.push(*level.last().expect("not empty"));
            }
            level = level.chunks(2).map(|pair| sha256d(&[&pair[0], &pair[1]])).collect();
        }
        level[0]
    }

    fn id(n: u32) -> [u8; 32] {
        sha256d(&[&n.to_le_bytes()])
    }

    fn folded(count: u32) -> [u8; 32] {
        let mut path = MerklePath::new();
        for n in 1..=count {
            path.push(id(n)).expect("room");
        }
        path.finish().hashes().iter().fold(id(0), |root, hash| sha256d(&[&root, &hash.0]))
    }

    /// D-ALG-3: the path folds to the root of the whole tree.
    #[test]
    fn every_small_block_folds_to_its_root() {
        for count in 0..70 {
            assert_eq!(folded(count), root((0..=count).map(id).collect()), "{count} transactions");
        }
    }

    #[test]
    fn a_coinbase_alone_has_no_path() {
        assert!(MerklePath::new().finish().hashes().is_empty());
    }

    #[test]
    fn a_full_tree_refuses_the_next_transaction() {
        let mut path = MerklePath::new();
        for _ in 1..1_u32 << MERKLE_DEPTH {
            path.push([7; 32]).expect("room");
        }
        assert_eq!(path.push([7; 32]), Err(TooManyTransactions));
        assert_eq!(path.finish().hashes().len(), MERKLE_DEPTH);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        /// D-ALG-3.
        #[test]
        fn larger_blocks_fold_to_their_root(count in 70..3000_u32) {
            prop_assert_eq!(folded(count), root((0..=count).map(id).collect()));
        }
    }
}
