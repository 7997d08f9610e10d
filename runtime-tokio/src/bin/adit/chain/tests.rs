//! The chain as a whole: templates become blocks, and every broken rule is refused by its own name.

use bitcoin::absolute::LockTime;
use bitcoin::hashes::Hash;
use bitcoin::{Amount, CompactTarget, ScriptBuf, Txid};
use proptest::prelude::*;

use super::error::{InputError, ScriptError, TransactionError};
use super::*;
use crate::source::tests::{coinbase_of, solve};

const NOW: u32 = 1_800_000_000;
const ROOM: Constraints = Constraints { max_additional_size: 100, max_additional_sigops: 0 };

fn settings() -> Settings {
    Settings { seed: [3; 32], target: Target::MAX, file: None, export: None }
}

fn open() -> Chain {
    Chain::open(settings(), NOW).expect("opened")
}

/// Mines one block as a pool would and gives it.
fn mine(chain: &mut Chain, now: u32) -> Block {
    let template = chain.template(ROOM, now).expect("built");
    let (solution, _) = solve(&template, coinbase_of(&template, &[0x51], 1), now);
    let solved = chain.submit(&solution, now).expect("accepted");
    consensus::deserialize(&solved.bytes).expect("a block")
}

/// A valid next block that is not submitted.
fn next_block(chain: &mut Chain) -> Block {
    let template = chain.template(ROOM, NOW).expect("built");
    let (_, solved) = solve(&template, coinbase_of(&template, &[0x51], 1), NOW);
    consensus::deserialize(&solved.bytes).expect("a block")
}

/// Makes commitment, merkle root and nonce fit again after a change.
fn repair(block: &mut Block) {
    let root = block.witness_root().expect("transactions");
    let commitment = Block::compute_witness_commitment(&root, &[0; 32]);
    let script = [&[0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed], &commitment.to_byte_array()[..]].concat();
    if let Some(output) = block.txdata[0].output.iter_mut().rfind(|output| output.script_pubkey.len() == 38) {
        output.script_pubkey = ScriptBuf::from_bytes(script);
    }
    remine(block);
}

fn remine(block: &mut Block) {
    block.header.merkle_root = block.compute_merkle_root().expect("transactions");
    find_nonce(block);
}

fn find_nonce(block: &mut Block) {
    while !block.header.target().is_met_by(block.block_hash()) {
        block.header.nonce = block.header.nonce.wrapping_add(1);
    }
}

/// What the chain says to the next block after `change`. The unchanged block is accepted afterwards: the change alone was refused.
fn refused(change: impl Fn(&mut Chain, &mut Block)) -> BlockError {
    let mut chain = open();
    let good = next_block(&mut chain);
    let mut bad = good.clone();
    change(&mut chain, &mut bad);
    let tip = chain.tip();
    let error = match chain.accept(&bad, NOW) {
        Err(SubmitError::Block(error)) => error,
        other => panic!("{other:?}"),
    };
    assert_eq!(chain.tip(), tip);
    chain.accept(&good, NOW).expect("the unchanged block is valid");
    assert_eq!(chain.tip(), good.block_hash());
    error
}

#[test]
fn the_same_seed_gives_the_same_chain_and_another_seed_another() {
    let (mut one, mut two) = (open(), open());
    assert_eq!(one.height(), PREMINED);
    for step in 0..5 {
        assert_eq!(mine(&mut one, NOW + step), mine(&mut two, NOW + step));
    }
    assert_eq!(one.tip(), two.tip());
    let other = Chain::open(Settings { seed: [4; 32], ..settings() }, NOW).expect("opened");
    assert_ne!(other.tip(), open().tip());
}

#[test]
fn blocks_carry_transactions_of_both_kinds_with_fees_and_dependent_ones() {
    let mut chain = open();
    let (mut wpkh, mut taproot, mut dependent) = (0, 0, 0);
    // Past the halving at 150.
    for step in 0..40 {
        chain.add_transaction();
        let block = mine(&mut chain, NOW + step);
        assert!(block.txdata.len() > FIRST_TRANSACTIONS, "height {}", chain.height());
        let ids: Vec<Txid> = block.txdata.iter().map(Transaction::compute_txid).collect();
        for input in block.txdata[1..].iter().flat_map(|tx| &tx.input) {
            dependent += usize::from(ids.contains(&input.previous_output.txid));
            match input.witness.len() {
                2 => wpkh += 1,
                _ => taproot += 1,
            }
        }
        let paid = block.txdata[0].output[0].value;
        let subsidy = if chain.height() < 150 { 5_000_000_000 } else { 2_500_000_000 };
        assert!(paid > Amount::from_sat(subsidy), "fees are collected");
    }
    assert!(wpkh > 20 && taproot > 20 && dependent > 40, "{wpkh} {taproot} {dependent}");
    assert_eq!(chain.height(), PREMINED + 40);
}

#[test]
fn traffic_lasts_for_hundreds_of_blocks_without_growing() {
    let mut chain = open();
    for step in 0..400 {
        assert!(mine(&mut chain, NOW + step).txdata.len() > FIRST_TRANSACTIONS, "height {}", chain.height());
    }
    assert!(chain.wallet.len() < 400, "{} coins", chain.wallet.len());
}

#[test]
fn later_templates_hold_more_and_older_ones_of_the_tip_still_count() {
    let mut chain = open();
    let first = chain.template(ROOM, NOW).expect("built");
    assert!(chain.add_transaction() && chain.add_transaction());
    let second = chain.template(ROOM, NOW).expect("built");
    assert!(second.parts.id > first.parts.id && second.fees() > first.fees());
    assert_eq!(second.parts.transactions.len(), first.parts.transactions.len() + 2);
    assert_eq!(second.parts.value - second.fees(), 5_000_000_000);
    let (solution, _) = solve(&first, coinbase_of(&first, &[0x51], 1), NOW);
    chain.submit(&solution, NOW).expect("accepted");
    // What the older template had not taken still waits.
    let third = chain.template(ROOM, NOW).expect("built");
    for tx in &second.parts.transactions[first.parts.transactions.len()..] {
        assert!(third.parts.transactions.iter().any(|other| other.txid == tx.txid));
    }
    let (late, _) = solve(&second, coinbase_of(&second, &[0x51], 1), NOW);
    let refused = chain.submit(&late, NOW);
    let height = PREMINED;
    assert!(
        matches!(refused, Err(SubmitError::Block(BlockError::NotOnTip { height: at, .. })) if at == height),
        "{refused:?}"
    );
    let unknown = Solution { template_id: 99, ..late };
    assert!(matches!(chain.submit(&unknown, NOW), Err(SubmitError::UnknownTemplate(99))));
}

#[test]
fn a_harder_target_binds_beside_the_headers() {
    let target = Target::from_expected_hashes(256.0).expect("a target");
    let mut chain = Chain::open(Settings { target, ..settings() }, NOW).expect("opened");
    let template = chain.template(ROOM, NOW).expect("built");
    assert_eq!((template.parts.nbits, template.parts.target), (0x207f_ffff, target));
    let coinbase = coinbase_of(&template, &[0x51], 1);
    let (mut solution, solved) = solve(&template, coinbase, NOW);
    assert!(target.is_met_by(&solved.hash));
    solution.nonce = solution.nonce.wrapping_add(1);
    assert!(matches!(chain.submit(&solution, NOW), Err(SubmitError::Malformed(Malformed::AboveTarget))));
    // A target easier than the header's changes nothing.
    let easy = open().template(ROOM, NOW).expect("built");
    assert_eq!(Ok(easy.parts.target), Target::from_nbits(0x207f_ffff));
}

#[test]
fn a_coinbase_must_not_pay_one_satoshi_too_much() {
    let error = refused(|_, block| {
        block.txdata[0].output[0].value += Amount::from_sat(1);
        remine(block);
    });
    let BlockError::CoinbaseValue { paid, allowed } = error else { panic!("{error}") };
    assert_eq!(paid - allowed, Amount::from_sat(1));
    let mut chain = open();
    let mut modest = next_block(&mut chain);
    modest.txdata[0].output[0].value -= Amount::from_sat(1);
    remine(&mut modest);
    chain.accept(&modest, NOW).expect("less is allowed");
}

#[test]
fn headers_are_held_to_their_rules() {
    let error = refused(|_, block| {
        block.header.merkle_root = TxMerkleNode::all_zeros();
        find_nonce(block);
    });
    assert_eq!(error, BlockError::MerkleRoot);
    let error = refused(|_, block| {
        while block.header.target().is_met_by(block.block_hash()) {
            block.header.nonce += 1;
        }
    });
    assert_eq!(error, BlockError::HighHash);
    let error = refused(|_, block| {
        block.header.bits = CompactTarget::from_consensus(0x207f_fffe);
        find_nonce(block);
    });
    assert_eq!(error, BlockError::Bits { found: 0x207f_fffe, required: 0x207f_ffff });
    let error = refused(|_, block| {
        block.header.version = Version::from_consensus(3);
        find_nonce(block);
    });
    assert_eq!(error, BlockError::Version(3));
    let error = refused(|chain, block| {
        block.header.time = chain.state.median_time(chain.height());
        find_nonce(block);
    });
    assert!(matches!(error, BlockError::TimeTooOld { time, median } if time == median), "{error}");
    let error = refused(|_, block| {
        block.header.time = NOW + 7_201;
        find_nonce(block);
    });
    assert_eq!(error, BlockError::TimeTooNew { time: NOW + 7_201, latest: NOW + 7_200 });
}

#[test]
fn times_at_their_bounds_are_accepted() {
    let mut chain = open();
    let mut block = next_block(&mut chain);
    block.header.time = chain.state.median_time(chain.height()) + 1;
    // The waiting transactions' lock times are heights, so the time does not touch them.
    find_nonce(&mut block);
    chain.accept(&block, NOW).expect("one second above the median");
    let mut block = next_block(&mut chain);
    block.header.time = NOW + 7_200;
    find_nonce(&mut block);
    chain.accept(&block, NOW).expect("two hours ahead");
}

#[test]
fn blocks_must_build_on_the_tip() {
    let mut chain = open();
    let block = next_block(&mut chain);
    let mut rival = block.clone();
    rival.header.time += 1;
    find_nonce(&mut rival);
    let mut orphan = block.clone();
    orphan.header.prev_blockhash = BlockHash::from_byte_array([1; 32]);
    find_nonce(&mut orphan);
    let error = |chain: &mut Chain, block: &Block| match chain.accept(block, NOW) {
        Err(SubmitError::Block(error)) => error,
        other => panic!("{other:?}"),
    };
    assert_eq!(error(&mut chain, &orphan), BlockError::UnknownPrevious(orphan.header.prev_blockhash));
    chain.accept(&block, NOW).expect("accepted");
    assert_eq!(error(&mut chain, &block), BlockError::Known);
    assert_eq!(error(&mut chain, &rival), BlockError::NotOnTip { height: PREMINED, tip: PREMINED + 1 });
}

#[test]
fn the_coinbase_is_held_to_its_rules() {
    let height = PREMINED + 1;
    let error = refused(|_, block| {
        block.txdata[0].input[0].script_sig = Builder::new().push_int(i64::from(height + 1)).into_script();
        remine(block);
    });
    assert_eq!(error, BlockError::CoinbaseHeight { expected: height });
    let error = refused(|_, block| {
        let script = Builder::new().push_int(i64::from(height)).push_slice([0; 75]).push_slice([0; 23]);
        block.txdata[0].input[0].script_sig = script.into_script();
        remine(block);
    });
    assert_eq!(error, BlockError::CoinbaseScript(102));
    let error = refused(|_, block| {
        block.txdata.remove(0);
        remine(block);
    });
    assert_eq!(error, BlockError::NoCoinbase);
    let error = refused(|_, block| {
        let mut second = block.txdata[0].clone();
        second.version = transaction::Version::ONE;
        block.txdata.push(second);
        remine(block);
    });
    assert_eq!(error, BlockError::ManyCoinbases);
    let error = refused(|_, block| {
        block.txdata[0].lock_time = LockTime::from_consensus(height);
        remine(block);
    });
    assert_eq!(error, BlockError::Transaction { index: 0, error: TransactionError::NotFinal });
}

#[test]
fn witnesses_are_committed_to() {
    let error = refused(|_, block| {
        let output = block.txdata[0].output.last_mut().expect("the commitment");
        let mut script = output.script_pubkey.to_bytes();
        script[20] ^= 1;
        output.script_pubkey = ScriptBuf::from_bytes(script);
        remine(block);
    });
    assert_eq!(error, BlockError::WitnessCommitment);
    let error = refused(|_, block| {
        block.txdata[0].input[0].witness = Witness::from_slice(&[[1; 32]]);
    });
    assert_eq!(error, BlockError::WitnessCommitment, "another reserved value, the same header");
    let error = refused(|_, block| block.txdata[0].input[0].witness = Witness::new());
    assert_eq!(error, BlockError::WitnessReserved);
    let error = refused(|_, block| block.txdata[0].input[0].witness.push([0; 32]));
    assert_eq!(error, BlockError::WitnessReserved);
    let error = refused(|_, block| {
        block.txdata[0].output.pop();
        remine(block);
    });
    assert_eq!(error, BlockError::UnexpectedWitness);
}

#[test]
fn the_same_output_is_spent_once() {
    let error = refused(|chain, block| {
        // Another transaction over the same coins, well signed.
        let mut again = block.txdata[1].clone();
        again.lock_time = LockTime::ZERO;
        sign(chain, block, &mut again);
        block.txdata.push(again);
        repair(block);
    });
    let BlockError::Input { input: 0, error: InputError::MissingOrSpent(_), .. } = error else { panic!("{error}") };
    let error = refused(|_, block| {
        let twice = block.txdata[1].input[0].clone();
        block.txdata[1].input.push(twice);
        repair(block);
    });
    assert_eq!(error, BlockError::Transaction { index: 1, error: TransactionError::RepeatedInput });
    let error = refused(|_, block| {
        block.txdata[1].input[0].previous_output.txid = Txid::from_byte_array([8; 32]);
        repair(block);
    });
    assert!(matches!(error, BlockError::Input { transaction: 1, error: InputError::MissingOrSpent(_), .. }), "{error}");
    let error = refused(|_, block| {
        // A child before its parent.
        let child = dependent(block);
        block.txdata.swap(child, child - 1);
        repair(block);
    });
    assert!(matches!(error, BlockError::Input { error: InputError::MissingOrSpent(_), .. }), "{error}");
}

#[test]
fn transactions_repeated_at_the_end_do_not_hide_behind_the_merkle_root() {
    let error = refused(|_, block| {
        // An even number of leaves is needed for the trick not to change the root.
        let last = block.txdata.last().expect("transactions").clone();
        if block.txdata.len().is_multiple_of(2) {
            let pair = block.txdata[block.txdata.len() - 2..].to_vec();
            block.txdata.extend(pair);
        } else {
            block.txdata.push(last);
        }
    });
    assert_eq!(error, BlockError::RepeatedTransactions);
}

#[test]
fn coinbases_ripen_for_a_hundred_blocks() {
    let spend = |height: u32| {
        refused_or_accepted(|chain, block| {
            let (output, coin) =
                chain.wallet.iter().find(|(_, coin)| coin.coinbase && coin.height == height).expect("premined");
            let mut tx = block.txdata[1].clone();
            tx.input.truncate(1);
            tx.input[0].previous_output = *output;
            tx.output = vec![TxOut { value: Amount::from_sat(1), script_pubkey: ScriptBuf::from_bytes(vec![0x51]) }];
            chain.keyring.sign(&mut tx, slice::from_ref(&coin.output));
            block.txdata.truncate(1);
            block.txdata[0].output[0].value = state::subsidy(PREMINED + 1);
            block.txdata.push(tx);
            repair(block);
        })
    };
    assert_eq!(spend(PREMINED + 1 - 100), Ok(()));
    let error = spend(PREMINED + 2 - 100).expect_err("99 blocks on top of it");
    assert_eq!(
        error,
        BlockError::Input { transaction: 1, input: 0, error: InputError::Immature { height: PREMINED + 2 - 100 } }
    );
}

#[test]
fn signatures_and_values_are_checked() {
    let error = refused(|_, block| {
        let mut items = block.txdata[1].input[0].witness.to_vec();
        let last = items[0].len() - 10;
        items[0][last] ^= 1;
        block.txdata[1].input[0].witness = Witness::from_slice(&items);
        repair(block);
    });
    assert!(
        matches!(
            error,
            BlockError::Input { transaction: 1, input: 0, error: InputError::Script(ScriptError::Signature) }
        ),
        "{error}"
    );
    let error = refused(|chain, block| {
        let mut richer = block.txdata[1].clone();
        richer.output[0].value = Amount::from_sat(10_000_000_000);
        sign(chain, block, &mut richer);
        block.txdata[1] = richer;
        block.txdata.truncate(2);
        repair(block);
    });
    assert!(
        matches!(error, BlockError::Transaction { index: 1, error: TransactionError::BelowOutputs { .. } }),
        "{error}"
    );
    let error = refused(|_, block| {
        block.txdata[1].output[0].value = Amount::MAX;
        repair(block);
    });
    assert_eq!(error, BlockError::Transaction { index: 1, error: TransactionError::OutputValue });
    let error = refused(|_, block| {
        block.txdata[1].output.clear();
        repair(block);
    });
    assert_eq!(error, BlockError::Transaction { index: 1, error: TransactionError::NoOutputs });
    let error = refused(|_, block| {
        let script = ScriptBuf::from_bytes(vec![0xae; 1_001]);
        block.txdata[0].output.insert(0, TxOut { value: Amount::ZERO, script_pubkey: script });
        remine(block);
    });
    assert!(matches!(error, BlockError::SigopsCost(cost) if cost > 80_000), "{error}");
}

#[test]
fn lock_times_must_be_reached() {
    let with = |lock: LockTime, sequence: Sequence| {
        refused_or_accepted(|chain, block| {
            let mut tx = block.txdata[1].clone();
            tx.lock_time = lock;
            tx.input.iter_mut().for_each(|input| input.sequence = sequence);
            sign(chain, block, &mut tx);
            block.txdata[1] = tx;
            block.txdata.truncate(2);
            block.txdata[0].output[0].value = state::subsidy(PREMINED + 1);
            repair(block);
        })
    };
    let height = PREMINED + 1;
    let not_final = Err(BlockError::Transaction { index: 1, error: TransactionError::NotFinal });
    let unlocked = Sequence::ENABLE_RBF_NO_LOCKTIME;
    assert_eq!(with(LockTime::from_consensus(height - 1), unlocked), Ok(()));
    assert_eq!(with(LockTime::from_consensus(height), unlocked), not_final);
    assert_eq!(with(LockTime::from_consensus(height), Sequence::MAX), Ok(()));
    let median = open().state.median_time(PREMINED);
    assert_eq!(with(LockTime::from_consensus(median - 1), unlocked), Ok(()));
    assert_eq!(with(LockTime::from_consensus(median), unlocked), not_final);
    // The spent coinbases are at least 100 blocks old, 600 seconds each.
    let locked = |with: Result<(), BlockError>| {
        matches!(with, Err(BlockError::Input { transaction: 1, error: InputError::SequenceLock, .. }))
    };
    assert_eq!(with(LockTime::ZERO, Sequence::from_height(100)), Ok(()));
    assert!(locked(with(LockTime::ZERO, Sequence::from_height(121))));
    assert_eq!(with(LockTime::ZERO, Sequence::from_512_second_intervals(100)), Ok(()));
    assert!(locked(with(LockTime::ZERO, Sequence::from_512_second_intervals(160))));
}

#[test]
fn blocks_are_kept_on_disk_and_a_torn_one_is_forgotten() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("blocks.dat");
    let kept = Settings { file: Some(path.clone()), ..settings() };
    let mut chain = Chain::open(kept.clone(), NOW).expect("opened");
    let blocks: Vec<Block> = (0..3).map(|step| mine(&mut chain, NOW + step)).collect();
    drop(chain);
    // The clock went back: what was accepted stays accepted.
    let mut chain = Chain::open(kept.clone(), 0).expect("opened again");
    assert_eq!((chain.height(), chain.tip(), chain.cut_off()), (PREMINED + 3, blocks[2].block_hash(), 0));
    let next = mine(&mut chain, NOW + 9);
    drop(chain);
    let len = std::fs::metadata(&path).expect("there").len();
    std::fs::OpenOptions::new().write(true).open(&path).expect("opened").set_len(len - 7).expect("cut");
    let mut chain = Chain::open(kept.clone(), NOW).expect("opened after a crash");
    assert_eq!((chain.height(), chain.tip()), (PREMINED + 3, blocks[2].block_hash()));
    assert!(chain.cut_off() > 0);
    assert_eq!(mine(&mut chain, NOW + 9), next, "the same block, once more");
    drop(chain);
    let other = Chain::open(Settings { seed: [9; 32], ..kept }, NOW).err().expect("refused");
    assert!(matches!(other, OpenError::OtherSeed(_)), "{other}");
}

#[test]
fn a_file_with_an_invalid_block_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("blocks.dat");
    let kept = Settings { file: Some(path.clone()), ..settings() };
    let mut chain = Chain::open(kept.clone(), NOW).expect("opened");
    let mut block = next_block(&mut chain);
    drop(chain);
    block.txdata[0].output[0].value += Amount::from_sat(1);
    remine(&mut block);
    BlockFile::open(&path).expect("opened").file.append(slice::from_ref(&block)).expect("written");
    let error = Chain::open(kept, NOW).err().expect("refused");
    let OpenError::Block { height, error: BlockError::CoinbaseValue { .. }, .. } = error else { panic!("{error}") };
    assert_eq!(height, PREMINED + 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever byte of a block changes, the block is refused and the chain stays as it is; header and nonce are not searched anew.
    #[test]
    fn no_changed_byte_gets_past_the_checks(at in any::<prop::sample::Index>(), flip in 1..=255_u8) {
        let mut chain = open();
        let block = next_block(&mut chain);
        let mut bytes = consensus::serialize(&block);
        let at = at.index(bytes.len());
        // The fields that a miner may choose: version, time and nonce.
        prop_assume!(!(0..4).contains(&at) && !(68..72).contains(&at) && !(76..80).contains(&at));
        bytes[at] ^= flip;
        if let Ok(changed) = consensus::deserialize::<Block>(&bytes) {
            prop_assert!(matches!(chain.accept(&changed, NOW), Err(SubmitError::Block(_))), "byte {}", at);
        }
        prop_assert_eq!(chain.height(), PREMINED);
        chain.accept(&block, NOW).expect("the unchanged block is valid");
    }
}

/// As [`refused`], for changes that may be valid.
fn refused_or_accepted(change: impl Fn(&mut Chain, &mut Block)) -> Result<(), BlockError> {
    let mut chain = open();
    let mut block = next_block(&mut chain);
    change(&mut chain, &mut block);
    match chain.accept(&block, NOW) {
        Ok(()) => Ok(()),
        Err(SubmitError::Block(error)) => Err(error),
        Err(other) => panic!("{other}"),
    }
}

/// Signs `tx`, whose inputs are unspent on the chain or outputs of `block`.
fn sign(chain: &Chain, block: &Block, tx: &mut Transaction) {
    let output = |wanted: &OutPoint| {
        let here = block.txdata.iter().find(|tx| tx.compute_txid() == wanted.txid);
        here.map_or_else(
            || chain.state.coin(wanted).expect("unspent").output.clone(),
            |tx| tx.output[wanted.vout as usize].clone(),
        )
    };
    let spent: Vec<TxOut> = tx.input.iter().map(|input| output(&input.previous_output)).collect();
    chain.keyring.sign(tx, &spent);
}

/// Index of a transaction that spends an output of the one before it.
fn dependent(block: &Block) -> usize {
    (2..block.txdata.len())
        .find(|index| {
            let parent = block.txdata[index - 1].compute_txid();
            block.txdata[*index].input.iter().any(|input| input.previous_output.txid == parent)
        })
        .expect("a chain of dependent transactions")
}
