//! All that a node checks of a block before it puts it on its tip, in a node's order. Scripts are [`super::spend`].
//!
//! The rules are regtest's of today: every soft fork up to taproot is active from the first block on, difficulty never changes.

use std::collections::{HashMap, HashSet};

use bitcoin::absolute::LOCK_TIME_THRESHOLD;
use bitcoin::block::Header;
use bitcoin::consensus::Params;
use bitcoin::hashes::{Hash, HashEngine, sha256d};
use bitcoin::script::Builder;
use bitcoin::secp256k1::{Secp256k1, VerifyOnly};
use bitcoin::{Amount, Block, CompactTarget, OutPoint, Sequence, Target, Transaction, TxOut, WitnessMerkleNode, Wtxid};

use super::error::{BlockError, InputError, TransactionError};
use super::spend;
use super::state::{Changes, Coin, State, subsidy};

pub(super) const MAX_WEIGHT: u64 = 4_000_000;
pub(super) const MAX_SIGOPS_COST: u64 = 80_000;
/// How far a header's time may be ahead.
const MAX_AHEAD: u32 = 2 * 60 * 60;
pub(super) const MATURITY: u32 = 100;
/// Oldest version that BIP34, BIP66 and BIP65 have left.
const MIN_VERSION: i32 = 4;
/// Sequence bit and mask of BIP68, and its unit of time.
const SEQUENCE_IS_TIME: u32 = 1 << 22;
const SEQUENCE_MASK: u32 = 0xffff;
const SEQUENCE_UNIT: u32 = 9;

/// Checks `block` as the next one on `state`; `now` is wall-clock time. Gives what it does to the unspent outputs.
pub(super) fn check(
    secp: &Secp256k1<VerifyOnly>,
    state: &State,
    block: &Block,
    now: u32,
) -> Result<Changes, BlockError> {
    on_tip(state, block)?;
    header(state, &block.header, now)?;
    body(block)?;
    let (height, median) = (state.height() + 1, state.median_time(state.height()));
    for (index, tx) in block.txdata.iter().enumerate() {
        if !is_final(tx, height, median) {
            return Err(BlockError::Transaction { index, error: TransactionError::NotFinal });
        }
    }
    coinbase_height(block, height)?;
    witness_commitment(block)?;
    let weight = block.weight().to_wu();
    if weight > MAX_WEIGHT {
        return Err(BlockError::Weight(weight));
    }
    connect(secp, state, block, height, median)
}

fn on_tip(state: &State, block: &Block) -> Result<(), BlockError> {
    if state.height_of(&block.block_hash()).is_some() {
        return Err(BlockError::Known);
    }
    let previous = block.header.prev_blockhash;
    let height = state.height_of(&previous).ok_or(BlockError::UnknownPrevious(previous))?;
    if height == state.height() { Ok(()) } else { Err(BlockError::NotOnTip { height, tip: state.height() }) }
}

fn header(state: &State, header: &Header, now: u32) -> Result<(), BlockError> {
    // Regtest never retargets.
    let required: CompactTarget = state.tip().bits;
    if header.bits != required {
        return Err(BlockError::Bits { found: header.bits.to_consensus(), required: required.to_consensus() });
    }
    let target = Target::from_compact(required).min(Params::REGTEST.max_attainable_target);
    if !target.is_met_by(header.block_hash()) {
        return Err(BlockError::HighHash);
    }
    let median = state.median_time(state.height());
    if header.time <= median {
        return Err(BlockError::TimeTooOld { time: header.time, median });
    }
    let latest = now.saturating_add(MAX_AHEAD);
    if header.time > latest {
        return Err(BlockError::TimeTooNew { time: header.time, latest });
    }
    let version = header.version.to_consensus();
    if version < MIN_VERSION { Err(BlockError::Version(version)) } else { Ok(()) }
}

/// What needs no other block.
fn body(block: &Block) -> Result<(), BlockError> {
    let (root, repeated) = merkle_root(block.txdata.iter().map(|tx| tx.compute_txid().to_raw_hash()).collect());
    if root != block.header.merkle_root.to_raw_hash() {
        return Err(BlockError::MerkleRoot);
    }
    if repeated {
        return Err(BlockError::RepeatedTransactions);
    }
    let stripped: u64 = block.txdata.iter().map(|tx| tx.base_size() as u64).sum();
    if block.txdata.is_empty() || 4 * (stripped + Header::SIZE as u64) > MAX_WEIGHT {
        return Err(BlockError::Length);
    }
    let Some((coinbase, others)) = block.txdata.split_first().filter(|(first, _)| first.is_coinbase()) else {
        return Err(BlockError::NoCoinbase);
    };
    if others.iter().any(Transaction::is_coinbase) {
        return Err(BlockError::ManyCoinbases);
    }
    let script_len = coinbase.input[0].script_sig.len();
    if !(2..=100).contains(&script_len) {
        return Err(BlockError::CoinbaseScript(script_len));
    }
    for (index, tx) in block.txdata.iter().enumerate() {
        transaction(tx).map_err(|error| BlockError::Transaction { index, error })?;
    }
    let legacy: usize = block.txdata.iter().map(|tx| tx.total_sigop_cost(|_| None)).sum();
    sigops_cost(legacy as u64)
}

fn sigops_cost(cost: u64) -> Result<(), BlockError> {
    if cost > MAX_SIGOPS_COST { Err(BlockError::SigopsCost(cost)) } else { Ok(()) }
}

/// The root, and whether some level pairs two equal nodes that both are there: then a shorter list has the same root.
fn merkle_root(mut level: Vec<sha256d::Hash>) -> (sha256d::Hash, bool) {
    let mut repeated = false;
    while level.len() > 1 {
        repeated |= level.chunks_exact(2).any(|pair| pair[0] == pair[1]);
        let parent = |pair: &[sha256d::Hash]| {
            let mut engine = sha256d::Hash::engine();
            engine.input(pair[0].as_byte_array());
            engine.input(pair.last().unwrap_or(&pair[0]).as_byte_array());
            sha256d::Hash::from_engine(engine)
        };
        level = level.chunks(2).map(parent).collect();
    }
    (level.first().copied().unwrap_or_else(sha256d::Hash::all_zeros), repeated)
}

fn transaction(tx: &Transaction) -> Result<(), TransactionError> {
    if tx.input.is_empty() {
        return Err(TransactionError::NoInputs);
    }
    if tx.output.is_empty() {
        return Err(TransactionError::NoOutputs);
    }
    if 4 * tx.base_size() as u64 > MAX_WEIGHT {
        return Err(TransactionError::Oversized);
    }
    sum(tx.output.iter().map(|output| output.value)).ok_or(TransactionError::OutputValue)?;
    let mut seen = HashSet::new();
    if !tx.input.iter().all(|input| seen.insert(input.previous_output)) {
        return Err(TransactionError::RepeatedInput);
    }
    let null = tx.input.iter().any(|input| input.previous_output.is_null());
    if null && !tx.is_coinbase() { Err(TransactionError::NullInput) } else { Ok(()) }
}

/// The sum, unless it or a part of it is more than there is.
fn sum(amounts: impl IntoIterator<Item = Amount>) -> Option<Amount> {
    amounts.into_iter().try_fold(Amount::ZERO, |sum, amount| {
        sum.checked_add(amount).filter(|sum| *sum <= Amount::MAX_MONEY && amount <= Amount::MAX_MONEY)
    })
}

/// Lock times are met by height or by median time (BIP113), or switched off by every input.
fn is_final(tx: &Transaction, height: u32, median: u32) -> bool {
    let lock = tx.lock_time.to_consensus_u32();
    let reached = if lock < LOCK_TIME_THRESHOLD { height } else { median };
    lock < reached || lock == 0 || tx.input.iter().all(|input| input.sequence == Sequence::MAX)
}

fn coinbase_height(block: &Block, height: u32) -> Result<(), BlockError> {
    let expected = Builder::new().push_int(i64::from(height)).into_script();
    let script = block.coinbase().and_then(|coinbase| coinbase.input.first()).map(|input| &input.script_sig);
    if script.is_some_and(|script| script.as_bytes().starts_with(expected.as_bytes())) {
        Ok(())
    } else {
        Err(BlockError::CoinbaseHeight { expected: height })
    }
}

/// BIP141: the last output that looks like a commitment is the commitment.
fn witness_commitment(block: &Block) -> Result<(), BlockError> {
    const HEAD: [u8; 6] = [0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed];
    let coinbase = &block.txdata[0];
    let mut scripts = coinbase.output.iter().rev().map(|output| output.script_pubkey.as_bytes());
    let commitment = scripts.find_map(|script| script.strip_prefix(&HEAD)?.first_chunk::<32>());
    let Some(commitment) = commitment else {
        let witness = block.txdata.iter().any(|tx| tx.input.iter().any(|input| !input.witness.is_empty()));
        return if witness { Err(BlockError::UnexpectedWitness) } else { Ok(()) };
    };
    let items = &coinbase.input[0].witness;
    let reserved = items.nth(0).filter(|item| items.len() == 1 && item.len() == 32);
    let reserved = reserved.ok_or(BlockError::WitnessReserved)?;
    let ids = block.txdata.iter().skip(1).map(Transaction::compute_wtxid);
    let ids = [Wtxid::all_zeros()].into_iter().chain(ids);
    let (root, _) = merkle_root(ids.map(Wtxid::to_raw_hash).collect());
    let expected = Block::compute_witness_commitment(&WitnessMerkleNode::from_raw_hash(root), reserved);
    if expected.as_byte_array() == commitment { Ok(()) } else { Err(BlockError::WitnessCommitment) }
}

/// Inputs, values, scripts: what needs the unspent outputs.
fn connect(
    secp: &Secp256k1<VerifyOnly>,
    state: &State,
    block: &Block,
    height: u32,
    median: u32,
) -> Result<Changes, BlockError> {
    let mut changes: Changes = HashMap::new();
    let (mut fees, mut cost) = (Amount::ZERO, 0_u64);
    for (index, tx) in block.txdata.iter().enumerate() {
        let txid = tx.compute_txid();
        let outputs = (0..tx.output.len()).map(|vout| OutPoint { txid, vout: vout as u32 });
        if outputs.clone().any(|output| state.coin(&output).is_some()) {
            return Err(BlockError::Transaction { index, error: TransactionError::Exists });
        }
        if tx.is_coinbase() {
            cost += tx.total_sigop_cost(|_| None) as u64;
        } else {
            let at = |input, error| BlockError::Input { transaction: index, input, error };
            let spent = inputs(state, &mut changes, tx, height, median).map_err(|(input, error)| at(input, error))?;
            let fee = fee(tx, &spent).map_err(|error| BlockError::Transaction { index, error })?;
            fees = sum([fees, fee]).ok_or(at(0, InputError::Value))?;
            let by_outpoint: HashMap<_, _> = tx.input.iter().map(|input| input.previous_output).zip(&spent).collect();
            cost += tx.total_sigop_cost(|output| by_outpoint.get(output).copied().cloned()) as u64;
            spend::verify(secp, tx, &spent).map_err(|(input, error)| at(input, InputError::Script(error)))?;
        }
        sigops_cost(cost)?;
        for (output, made) in outputs.zip(&tx.output) {
            // A node forgets what can never be spent.
            if !made.script_pubkey.is_op_return() {
                changes.insert(output, Some(Coin { output: made.clone(), height, coinbase: index == 0 }));
            }
        }
    }
    let paid = sum(block.txdata[0].output.iter().map(|output| output.value)).unwrap_or(Amount::MAX);
    let allowed = fees + subsidy(height);
    if paid > allowed { Err(BlockError::CoinbaseValue { paid, allowed }) } else { Ok(changes) }
}

fn fee(tx: &Transaction, spent: &[TxOut]) -> Result<Amount, TransactionError> {
    // Both sums were seen to be in range.
    let inputs = spent.iter().map(|output| output.value).sum::<Amount>();
    let outputs = tx.output.iter().map(|output| output.value).sum::<Amount>();
    inputs.checked_sub(outputs).ok_or(TransactionError::BelowOutputs { inputs, outputs })
}

/// Takes what a transaction spends out of the unspent outputs. On failure says which input.
fn inputs(
    state: &State,
    changes: &mut Changes,
    tx: &Transaction,
    height: u32,
    median: u32,
) -> Result<Vec<TxOut>, (usize, InputError)> {
    let mut spent = Vec::with_capacity(tx.input.len());
    let mut total = Amount::ZERO;
    for (index, input) in tx.input.iter().enumerate() {
        let wanted = input.previous_output;
        let coin = match changes.get(&wanted) {
            Some(changed) => changed.clone(),
            None => state.coin(&wanted).cloned(),
        };
        let coin = coin.ok_or((index, InputError::MissingOrSpent(wanted)))?;
        if coin.coinbase && height - coin.height < MATURITY {
            return Err((index, InputError::Immature { height: coin.height }));
        }
        if !sequence_lock_passed(state, tx, input.sequence, coin.height, height, median) {
            return Err((index, InputError::SequenceLock));
        }
        total = sum([total, coin.output.value]).ok_or((index, InputError::Value))?;
        changes.insert(wanted, None);
        spent.push(coin.output);
    }
    Ok(spent)
}

/// BIP68: whether enough blocks or time lie between the output and now.
fn sequence_lock_passed(
    state: &State,
    tx: &Transaction,
    sequence: Sequence,
    made_at: u32,
    height: u32,
    median: u32,
) -> bool {
    // Versions are compared as unsigned numbers.
    if tx.version.0.cast_unsigned() < 2 || !sequence.is_relative_lock_time() {
        return true;
    }
    let value = sequence.to_consensus_u32();
    let wait = value & SEQUENCE_MASK;
    if value & SEQUENCE_IS_TIME == 0 {
        made_at + wait <= height
    } else {
        state.median_time(made_at.saturating_sub(1)) + (wait << SEQUENCE_UNIT) <= median
    }
}
