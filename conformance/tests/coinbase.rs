//! What the core makes of a template, read back by the `bitcoin` crate: coinbase, merkle path, whole blocks.

use adit::hash::sha256d;
use adit::template::coinbase::{self, Coinbase, MAX_TAG, Payout, TemplateCoinbase, assemble, assembled_len};
use adit::template::merkle_path::MerklePath;
use adit::template::transaction::CoinbaseTx;
use bitcoin::block::{Header, Version};
use bitcoin::consensus::{deserialize, serialize};
use bitcoin::hashes::Hash;
use bitcoin::script::{Builder, PushBytesBuf};
use bitcoin::{
    Amount, Block, BlockHash, CompactTarget, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxMerkleNode, TxOut,
    Txid, WitnessCommitment, absolute, transaction,
};
use proptest::prelude::*;

/// A transaction with a witness, different for each `n`.
fn spend(n: u32) -> Transaction {
    Transaction {
        version: transaction::Version::TWO,
        lock_time: absolute::LockTime::ZERO,
        input: vec![TxIn {
            previous_output: OutPoint { txid: Txid::from_byte_array([1; 32]), vout: n },
            script_sig: ScriptBuf::new(),
            sequence: Sequence::MAX,
            witness: bitcoin::Witness::from_slice(&[n.to_le_bytes()]),
        }],
        output: vec![TxOut { value: Amount::from_sat(u64::from(n)), script_pubkey: ScriptBuf::new() }],
    }
}

/// The output that commits to the witnesses of these transactions behind a coinbase.
fn commitment(transactions: &[Transaction]) -> TxOut {
    let hashes = std::iter::once([0; 32]).chain(transactions.iter().map(|tx| tx.compute_wtxid().to_byte_array()));
    let root = bitcoin::merkle_tree::calculate_root(hashes.map(bitcoin::WitnessMerkleNode::from_byte_array)).unwrap();
    let hash: WitnessCommitment = Block::compute_witness_commitment(&root, &coinbase::WITNESS_RESERVED);
    let mut data = PushBytesBuf::from([0xaa, 0x21, 0xa9, 0xed]);
    data.extend_from_slice(hash.as_byte_array()).unwrap();
    TxOut {
        value: Amount::ZERO,
        script_pubkey: Builder::new().push_opcode(bitcoin::opcodes::all::OP_RETURN).push_slice(data).into_script(),
    }
}

/// Everything that a pool puts together for one block, and the block.
struct Found {
    block: Block,
    /// `coinbase_tx_prefix`, extranonce, `coinbase_tx_suffix`.
    parts: [Vec<u8>; 3],
}

/// Plays provider and pool for one block of `count` transactions.
fn mine(height: i64, count: u32, segwit: bool, tag: &[u8], extranonce: &[u8], scripts: &[Vec<u8>]) -> Found {
    let transactions: Vec<_> = (0..count).map(spend).collect();
    let outputs = if segwit { serialize(&commitment(&transactions)) } else { Vec::new() };
    let script_prefix = Builder::new().push_int(height).into_script();
    let template = TemplateCoinbase {
        tx_version: 2,
        script_prefix: script_prefix.as_bytes(),
        input_sequence: 0xffff_fffe,
        value_remaining: 625_000_000,
        outputs_count: u32::from(segwit),
        outputs: &outputs,
        lock_time: 9,
    };
    let mut path = MerklePath::new();
    for tx in &transactions {
        path.push(tx.compute_txid().to_byte_array()).unwrap();
    }
    let path = path.finish();

    let payouts = scripts.iter().map(|script| Payout { script_pubkey: script, weight: 1 });
    let plan = Coinbase::new(template, payouts, tag, extranonce.len()).unwrap();
    let (mut prefix, mut suffix) = (vec![0; plan.prefix_len()], vec![0; plan.suffix_len()]);
    plan.write_prefix(&mut prefix).unwrap();
    plan.write_suffix(&mut suffix).unwrap();
    let mut whole = vec![0; assembled_len(prefix.len(), extranonce.len(), suffix.len(), plan.has_witness())];
    assemble(&prefix, &[extranonce], &suffix, plan.has_witness(), &mut whole).unwrap();

    let coinbase_id = sha256d(&[&prefix, extranonce, &suffix]);
    let root = path.hashes().iter().fold(coinbase_id, |root, hash| sha256d(&[&root, &hash.0]));
    let coinbase_tx: Transaction = deserialize(&whole).unwrap();
    let block = Block {
        header: Header {
            version: Version::TWO,
            prev_blockhash: BlockHash::all_zeros(),
            merkle_root: TxMerkleNode::from_byte_array(root),
            time: 1,
            bits: CompactTarget::from_consensus(0x207f_ffff),
            nonce: 0,
        },
        txdata: std::iter::once(coinbase_tx).chain(transactions).collect(),
    };
    Found { block, parts: [prefix, extranonce.to_vec(), suffix] }
}

proptest! {
    /// D-ALG-1, D-ALG-2, D-ALG-3, D-ALG-4, D-TDP-8: the coinbase has the id of its parts, the folded path is the block's merkle
    /// root, the witness commitment holds, the height reads back.
    #[test]
    fn blocks_hold_by_the_rules_of_another_implementation(
        height in 17..2_000_000_i64,
        count in 0..40_u32,
        segwit in any::<bool>(),
        tag in proptest::collection::vec(any::<u8>(), 0..=MAX_TAG),
        extranonce in proptest::collection::vec(any::<u8>(), 1..=32),
        scripts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..600), 1..5),
    ) {
        let found = mine(height, count, segwit, &tag, &extranonce, &scripts);
        let block = &found.block;
        prop_assert!(block.check_merkle_root());
        prop_assert!(block.bip34_block_height().ok() == Some(u64::try_from(height).unwrap()));
        let coinbase = block.coinbase().unwrap();
        prop_assert!(coinbase.is_coinbase());
        let [prefix, extranonce, suffix] = &found.parts;
        prop_assert_eq!(coinbase.compute_txid().to_byte_array(), sha256d(&[prefix, extranonce, suffix]));
        // Without SegWit in the template the block commits to nothing, which is only right when nobody has a witness.
        prop_assert_eq!(block.check_witness_commitment(), segwit || count == 0);
        prop_assert_eq!(coinbase.input[0].witness.is_empty(), !segwit);
        prop_assert_eq!(coinbase.output.iter().map(|output| output.value.to_sat()).sum::<u64>(), 625_000_000);
        // Neither tag nor extranonce costs a signature operation.
        prop_assert_eq!(coinbase.input[0].script_sig.count_sigops_legacy(), 0);
        let bytes = serialize(coinbase);
        let read = CoinbaseTx::parse(&bytes).unwrap();
        prop_assert_eq!(read.txid(), coinbase.compute_txid().to_byte_array());
    }

    /// The count of signature operations is the one of another implementation.
    #[test]
    fn signature_operations_are_counted_alike(script in proptest::collection::vec(prop_oneof![any::<u8>(), 0xab..=0xaf_u8, 0..5_u8, 0x4c..0x4f_u8], 0..200)) {
        let theirs = ScriptBuf::from(script.clone()).count_sigops_legacy();
        prop_assert_eq!(adit::template::transaction::legacy_sigops(&script), u32::try_from(theirs).unwrap());
    }
}
