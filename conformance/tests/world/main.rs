//! Whole provider-pool-device runs in one thread from one seed.

use std::env;
use std::time::Duration;

use adit_conformance::world::{Report, WorldConfig, run};
use bitcoin::consensus::deserialize;
use bitcoin::{Amount, Block};

/// Runs a world; on failure says how to replay it.
fn verdict(config: &WorldConfig) -> Report {
    let report = run(config).unwrap_or_else(|failure| panic!("{failure}"));
    println!("{} {}: {report}", config.name, config.seed);
    report
}

/// The same seed gives the same bytes at the same times, another seed others.
#[test]
fn a_seed_gives_the_same_bytes_twice() {
    for make in [WorldConfig::calm, WorldConfig::all] {
        let first = verdict(&make(1));
        let again = verdict(&make(1));
        assert_eq!(first.transcript, again.transcript);
        assert_eq!(first.network, again.network);
        assert_ne!(first.transcript, verdict(&make(2)).transcript);
    }
}

/// What a failure's message asks for: `ADIT_WORLD` and `ADIT_SEED` name a world, `ADIT_SEEDS` how many seeds from there on. `ADIT_WORLD` may
/// also be a list with commas. Without them a few seeds of each kind.
#[test]
fn replay() {
    let number = |name: &str| env::var(name).ok().map(|value| value.parse::<u64>().expect("a number"));
    let names = env::var("ADIT_WORLD").unwrap_or_else(|_| WorldConfig::PRESETS.join(","));
    let (first, count) = (number("ADIT_SEED").unwrap_or(100), number("ADIT_SEEDS"));
    let count = count.unwrap_or(if env::var_os("ADIT_SEED").is_some() { 1 } else { 3 });
    for name in names.split(',') {
        for seed in first..first + count {
            verdict(&WorldConfig::preset(name, seed).expect("a world of this name"));
        }
    }
}

/// Every block that a world found, read by someone else: proof of work, merkle root, witness commitment, height, what the coinbase pays.
#[test]
fn another_judge_finds_every_block_good() {
    let report = verdict(&WorldConfig { blocks: 8, hashes_per_block: 2_000.0, ..WorldConfig::calm(8) });
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

/// Three hundred devices (`ADIT_DEVICES` for more or fewer) and a few farms, one connection each; nobody is lost and every share is in the books
/// once.
#[test]
fn hundreds_of_devices() {
    let devices = env::var("ADIT_DEVICES").map_or(300, |value| value.parse().expect("a number"));
    let config = WorldConfig {
        devices,
        farms: 5,
        blocks: 2,
        hashes_per_block: 100.0 * f64::from(devices),
        ..WorldConfig::calm(11)
    };
    let report = verdict(&config);
    assert_eq!((report.network.lines, report.lost), (u64::from(devices) + 5 + 1, 0));
    assert_eq!(report.stored, report.acknowledged);
    assert!(report.stored > u64::from(devices), "{}", report.stored);
}

/// Links that hurt did so, and the books balance all the same.
#[test]
fn trouble_happens_in_a_rough_world() {
    let network = verdict(&WorldConfig::rough(1)).network;
    assert!(network.stalls > 10 && network.flips > 3 && network.cuts > 3 && network.lines > 20, "{network:?}");
}

/// D-TDP-17, D-SHARE-4: processes end and power fails, shares and blocks are lost with them, and what was acknowledged is there.
#[test]
fn nodes_restart_in_a_world_of_restarts() {
    let report = verdict(&WorldConfig::restarts(2));
    assert!(report.network.restarts > 5 && report.lost > 5, "{report}");
    assert_eq!((report.network.flips, report.network.cuts), (0, 0));
}

/// D-SEC-14: clocks are set, nodes sleep, certificates end, and some servers are refused for that.
#[test]
fn clocks_jump_in_a_world_of_clocks() {
    let network = verdict(&WorldConfig::clocks(1)).network;
    assert!(network.wrong_clocks > 5 && network.suspended > 2 && network.certificates_refused > 0, "{network:?}");
}

/// Strangers come by the hundred, are cut off for their floods, and nobody else notices.
#[test]
fn strangers_mean_harm_in_a_hostile_world() {
    let report = verdict(&WorldConfig::hostile(1));
    assert!(report.network.strange_lines > 100 && report.network.lured > 3 && report.floods_ended > 3, "{report}");
}

/// D-TDP-17: over a few worlds, some found block was swallowed by a broken link and arrived on the next one.
#[test]
fn found_blocks_are_sent_again() {
    let sent_again: u64 = (1..5).map(|seed| verdict(&swallowing(seed)).sent_again).sum();
    assert!(sent_again > 0);
}

/// Blocks are easy, and links to the provider break often.
fn swallowing(seed: u64) -> WorldConfig {
    let rough = WorldConfig::rough(seed);
    WorldConfig { devices: 4, blocks: 12, hashes_per_block: 1_500.0, ..rough }
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
