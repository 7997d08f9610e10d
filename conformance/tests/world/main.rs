//! Whole provider-pool-device runs in one thread from one seed.

use std::env;
use std::time::Duration;

use adit_conformance::world::{Report, WorldConfig, run};
use bitcoin::consensus::deserialize;
use bitcoin::{Amount, Block};

/// Runs a world; on failure says how to replay it.
fn verdict(config: &WorldConfig) -> Report {
    let report = run(config).unwrap_or_else(|failure| panic!("{failure}"));
    println!(
        "{} {}: {:?}, {} blocks, {} late; shares: {} stored, {} acknowledged, {} rejected, {} lost; {:?}",
        config.name,
        config.seed,
        report.took,
        report.blocks.len(),
        report.late,
        report.stored,
        report.acknowledged,
        report.rejected,
        report.lost,
        report.network,
    );
    report
}

/// The same seed gives the same bytes at the same times, another seed others.
#[test]
fn a_seed_gives_the_same_bytes_twice() {
    for make in [WorldConfig::calm, WorldConfig::rough] {
        let first = verdict(&make(1));
        let again = verdict(&make(1));
        assert_eq!(first.transcript, again.transcript);
        assert_eq!(first.network, again.network);
        assert_ne!(first.transcript, verdict(&make(2)).transcript);
    }
}

/// What a failure's message asks for: `ADIT_WORLD` and `ADIT_SEED` name a world, `ADIT_SEEDS` how many seeds from there on. Without them a
/// few of each kind.
#[test]
fn replay() {
    let number = |name: &str| env::var(name).ok().map(|value| value.parse::<u64>().expect("a number"));
    let names = env::var("ADIT_WORLD").map_or_else(|_| vec!["calm".to_owned(), "rough".to_owned()], |name| vec![name]);
    let (first, count) = (number("ADIT_SEED").unwrap_or(100), number("ADIT_SEEDS"));
    let count = count.unwrap_or(if env::var_os("ADIT_SEED").is_some() { 1 } else { 4 });
    for name in names {
        for seed in first..first + count {
            verdict(&WorldConfig::preset(&name, seed).expect("a world of this name"));
        }
    }
}

/// Every block that a world found, read by someone else: proof of work, merkle root, witness commitment, height, what the coinbase pays.
#[test]
fn another_judge_finds_every_block_good() {
    let report = verdict(&WorldConfig { blocks: 8, hashes_per_block: 2_000.0, ..WorldConfig::calm(7) });
    assert_eq!(report.blocks.len(), 8);
    let mut witnesses = 0;
    let mut earlier = None;
    for found in &report.blocks {
        let block: Block = deserialize(&found.bytes).expect("a whole block");
        block.header.validate_pow(block.header.target()).expect("proof of work");
        assert!(block.check_merkle_root() && block.check_witness_commitment());
        assert_eq!(block.bip34_block_height(), Ok(u64::from(found.height)));
        let coinbase = block.coinbase().expect("a coinbase");
        let paid: Amount = coinbase.output.iter().map(|output| output.value).sum();
        assert_eq!(paid, Amount::from_sat(found.reward), "all of it, and no more");
        assert!(coinbase.output[0].script_pubkey.is_p2wpkh());
        witnesses += usize::from(coinbase.output.len() == 2);
        if let Some((height, hash)) = earlier
            && height + 1 == found.height
        {
            assert_eq!(block.header.prev_blockhash, hash);
        }
        earlier = Some((found.height, block.block_hash()));
    }
    assert!((1..8).contains(&witnesses), "blocks with and without commitment: {witnesses} of 8");
}

/// The same world without Noise says the same things in fewer bytes.
#[test]
fn plain_links_carry_a_world_too() {
    let report = verdict(&WorldConfig { noise: false, ..WorldConfig::calm(3) });
    assert_eq!((report.blocks.len(), report.lost), (3, 0));
}

/// A hundred devices, small and large shares of the pool, one connection each; nobody is lost and every share is in the books once.
#[test]
fn a_hundred_devices() {
    let config = WorldConfig { devices: 100, hashes_per_block: 40_000.0, ..WorldConfig::calm(11) };
    let report = verdict(&config);
    assert_eq!((report.network.lines, report.lost), (101, 0));
    assert_eq!(report.stored, report.acknowledged);
    assert!(report.stored > 500, "{}", report.stored);
}

/// Links that hurt did so, and the books balance all the same.
#[test]
fn trouble_happens_in_a_rough_world() {
    let network = verdict(&WorldConfig::rough(1)).network;
    assert!(network.stalls > 10 && network.flips > 3 && network.cuts > 3 && network.lines > 20, "{network:?}");
}

/// A world that can't come to its end says what it was, when, and how to see it again.
#[test]
fn a_failure_prints_its_replay() {
    let config = WorldConfig { deadline: Duration::from_secs(5), ..WorldConfig::calm(42) };
    let failure = run(&config).expect_err("five seconds are not enough for three blocks");
    assert!(failure.to_string().contains("ADIT_WORLD=calm ADIT_SEED=42 cargo test"), "{failure}");
    assert!(failure.to_string().contains("0 blocks on the chain"), "{failure}");
    assert_eq!(failure.at.as_secs(), 5);
}
