//! The node's chain, read back block by block and checked by somebody else's code (the `bitcoin` crate).

use std::collections::BTreeSet;

use bitcoin::{Amount, Block, BlockHash};

use crate::node::Node;
use crate::wallet::{FEE, Wallet};

/// Blocks between two halvings on regtest.
const HALVING: u32 = 150;

/// What was found out about a stretch of the chain.
#[derive(Default)]
pub(crate) struct Audit {
    /// Blocks by our miner.
    pub(crate) ours: BTreeSet<BlockHash>,
    /// Those of them that commit to witnesses.
    pub(crate) committed: usize,
    /// Transactions beside coinbases.
    pub(crate) transactions: usize,
}

/// Checks every block of these heights. Those in `others` were made by the node; all else must be ours: paid to the wallet in full.
pub(crate) fn audit(
    node: &Node,
    heights: std::ops::RangeInclusive<u32>,
    wallet: &Wallet,
    others: &[BlockHash],
) -> Audit {
    let mut audit = Audit::default();
    let mut before = node.hash_at(heights.start() - 1);
    for height in heights {
        let hash = node.hash_at(height);
        let block = node.block(hash);
        assert_eq!((block.block_hash(), block.header.prev_blockhash), (hash, before), "height {height}");
        before = hash;
        assert!(block.check_merkle_root() && block.check_witness_commitment(), "height {height}: {block:?}");
        if others.contains(&hash) {
            continue;
        }
        check_ours(&block, height, wallet);
        audit.ours.insert(hash);
        audit.committed += usize::from(is_committed(&block));
        audit.transactions += block.txdata.len() - 1;
    }
    audit
}

fn check_ours(block: &Block, height: u32, wallet: &Wallet) {
    let coinbase = &block.txdata[0];
    let script = coinbase.input[0].script_sig.as_bytes();
    // BIP34 in its shortest form, which the crate does not read for the numbers that have opcodes of their own.
    let short = (height <= 16).then(|| u32::from(script[0]).checked_sub(0x50)).flatten();
    let told = short.map(u64::from).or_else(|| block.bip34_block_height().ok());
    assert_eq!(told, Some(u64::from(height)));
    assert!(script.windows(6).any(|bytes| bytes == b"/adit/"), "height {height}: no tag in {coinbase:?}");
    let subsidy = Amount::from_sat(5_000_000_000 >> (height / HALVING));
    let fees: Amount = block.txdata[1..].iter().map(|_| FEE).sum();
    assert_eq!(coinbase.output[0].script_pubkey, wallet.script(), "height {height}");
    assert_eq!(coinbase.output[0].value, subsidy + fees, "height {height}: all of it is the pool's");
    for rest in &coinbase.output[1..] {
        assert!(rest.value == Amount::ZERO && rest.script_pubkey.is_op_return(), "height {height}: {rest:?}");
    }
}

/// Whether the coinbase commits to witnesses, and has the witness that goes with that.
pub(crate) fn is_committed(block: &Block) -> bool {
    let coinbase = &block.txdata[0];
    let commits = |script: &bitcoin::Script| script.as_bytes().starts_with(&[0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed]);
    coinbase.output.iter().any(|output| commits(&output.script_pubkey)) && !coinbase.input[0].witness.is_empty()
}
