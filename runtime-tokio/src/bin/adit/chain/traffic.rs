//! Transactions that wait for a block. Nobody sends any to the embedded chain, so it makes its own: real ones, signed, with fees, some
//! of them spending others that wait too.
//!
//! What is made depends on the seed and on the blocks alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use bitcoin::absolute::LockTime;
use bitcoin::hashes::{Hash, HashEngine, sha256};
use bitcoin::transaction::Version;
use bitcoin::{Amount, BlockHash, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Witness};

use super::keyring::Keyring;
use crate::source::Tx;

/// Each third transaction starts a chain of dependent ones anew.
const CHAIN: usize = 3;
/// No output is made smaller than this, so that every one can pay for being spent.
const SMALLEST: u64 = 20_000;
/// With more coins than this, transactions join coins instead of splitting them.
const MANY_COINS: usize = 64;
/// Waiting transactions at most; blocks take all of them, so more only come while none is found.
const MOST: usize = 100;

/// A small generator of numbers (`SplitMix64`): what it yields is nobody's secret.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (value ^ (value >> 31)) % bound.max(1)
    }
}

struct Waiting {
    tx: Transaction,
    shared: Arc<Tx>,
}

/// Transactions that wait, parents first, and what can still be spent.
pub(super) struct Traffic {
    waiting: Vec<Waiting>,
    /// Coins of the keyring that the next block may spend and no waiting transaction does; outputs of waiting ones too.
    free: BTreeMap<OutPoint, TxOut>,
    height: u32,
    numbers: Numbers,
}

impl Traffic {
    /// Nothing waits; `coins` can be spent in a block on top of `height`.
    pub(super) fn new(coins: BTreeMap<OutPoint, TxOut>, height: u32, tip: BlockHash, seed: &[u8; 32]) -> Self {
        let mut engine = sha256::Hash::engine();
        engine.input(seed);
        engine.input(tip.as_byte_array());
        let hash = sha256::Hash::from_engine(engine);
        let numbers = Numbers(hash.as_byte_array().first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes)));
        Self { waiting: Vec::new(), free: coins, height, numbers }
    }

    /// Puts back what waited in `before` and no block has taken: all whose inputs are still there.
    pub(super) fn keep(&mut self, before: Self) {
        for waiting in before.waiting {
            if waiting.tx.input.iter().all(|input| self.free.contains_key(&input.previous_output)) {
                self.put(waiting);
            }
        }
    }

    fn put(&mut self, waiting: Waiting) {
        for input in &waiting.tx.input {
            self.free.remove(&input.previous_output);
        }
        let txid = waiting.tx.compute_txid();
        for (vout, output) in waiting.tx.output.iter().enumerate() {
            self.free.insert(OutPoint { txid, vout: vout as u32 }, output.clone());
        }
        self.waiting.push(waiting);
    }

    /// Makes one more transaction. False when there is nothing to make it of, or enough waits.
    pub(super) fn add(&mut self, keyring: &Keyring) -> bool {
        if self.waiting.len() >= MOST {
            return false;
        }
        let parent = self.waiting.last().filter(|_| !self.waiting.len().is_multiple_of(CHAIN));
        let parent = parent.map(|parent| OutPoint { txid: parent.tx.compute_txid(), vout: 0 });
        let joins = self.free.len() > MANY_COINS;
        let (inputs, outputs) = if joins { (4, 1) } else { (1 + self.numbers.below(2), 1 + self.numbers.below(3)) };
        let mut spent: BTreeMap<OutPoint, TxOut> = BTreeMap::new();
        if let Some((output, coin)) = parent.and_then(|parent| self.free.get_key_value(&parent)) {
            spent.insert(*output, coin.clone());
        }
        while (spent.len() as u64) < inputs.min(self.free.len() as u64) {
            let pick = self.numbers.below(self.free.len() as u64) as usize;
            let Some((output, coin)) = self.free.iter().nth(pick) else { return false };
            spent.insert(*output, coin.clone());
        }
        let Some((tx, fee)) = self.make(keyring, &spent, outputs) else { return false };
        let shared = Arc::new(Tx::new(&tx, Some(fee), Some(sigops_cost(&tx, &spent))));
        self.put(Waiting { tx, shared });
        true
    }

    fn make(
        &mut self,
        keyring: &Keyring,
        spent: &BTreeMap<OutPoint, TxOut>,
        outputs: u64,
    ) -> Option<(Transaction, u64)> {
        // The sizes of a P2WPKH input and a P2TR output in virtual bytes, the larger of the two kinds each.
        let size = 11 + 68 * spent.len() as u64 + 43 * outputs;
        let fee = size * (1 + self.numbers.below(40));
        let total = spent.values().map(|output| output.value.to_sat()).sum::<u64>();
        let mut left = total.checked_sub(fee).filter(|left| *left >= SMALLEST)?;
        let outputs = outputs.min(left / SMALLEST);
        let mut made = Vec::new();
        for more in (0..outputs).rev() {
            let spare = left - SMALLEST * (more + 1);
            let value = if more == 0 { left } else { SMALLEST + self.numbers.below(spare + 1) };
            left -= value;
            let script_pubkey = keyring.script(self.numbers.below(64) as usize).clone();
            made.push(TxOut { value: Amount::from_sat(value), script_pubkey });
        }
        let input = |output: &OutPoint| TxIn {
            previous_output: *output,
            script_sig: ScriptBuf::new(),
            sequence: Sequence::ENABLE_RBF_NO_LOCKTIME,
            witness: Witness::new(),
        };
        // The height as lock time, as wallets do against fee sniping.
        let lock_time = LockTime::from_height(self.height).unwrap_or(LockTime::ZERO);
        let mut tx =
            Transaction { version: Version::TWO, lock_time, input: spent.keys().map(input).collect(), output: made };
        keyring.sign(&mut tx, &spent.values().cloned().collect::<Vec<_>>());
        Some((tx, fee))
    }

    /// What waits, parents first.
    pub(super) fn waiting(&self) -> impl ExactSizeIterator<Item = &Arc<Tx>> {
        self.waiting.iter().map(|waiting| &waiting.shared)
    }
}

fn sigops_cost(tx: &Transaction, spent: &BTreeMap<OutPoint, TxOut>) -> u64 {
    tx.total_sigop_cost(|output| spent.get(output).cloned()) as u64
}
