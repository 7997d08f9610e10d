//! `adit demo`: blocks from nothing, and how it ends when there are none.

use std::collections::BTreeMap;
use std::path::Path;

use bitcoin::blockdata::constants::genesis_block;
use bitcoin::consensus::encode::deserialize_hex;
use bitcoin::script::Builder;
use bitcoin::{Block, BlockHash, Network};
use serde_json::Value;

use crate::process::{Program, run};

/// The blocks of `directory` by height, from `HEIGHT.hex`.
fn blocks(directory: &Path) -> BTreeMap<u64, Block> {
    let read = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.unwrap().path();
        assert_eq!(path.extension().unwrap(), "hex");
        let height = path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
        (height, deserialize_hex(std::fs::read_to_string(&path).unwrap().trim()).unwrap())
    };
    std::fs::read_dir(directory).unwrap().map(read).collect()
}

fn named<'e>(events: &'e [Value], name: &str) -> Vec<&'e Value> {
    events.iter().filter(|event| event["event"] == name).collect()
}

/// The last line, and that it has the members that were promised, in their order and no others.
fn summary(lines: &[String]) -> Value {
    let last = lines.last().expect("a summary");
    let names = ["event", "blocks", "tip_height", "shares_accepted", "shares_rejected", "seconds"];
    let places: Vec<usize> = names.iter().map(|name| last.find(&format!("\"{name}\":")).expect(name)).collect();
    assert!(places.is_sorted(), "{last}");
    let summary: Value = serde_json::from_str(last).unwrap();
    assert_eq!(summary.as_object().unwrap().len(), names.len(), "{last}");
    assert_eq!(summary["event"], "summary");
    assert!(summary["seconds"].as_f64().unwrap() > 0.0);
    summary
}

#[test]
fn a_demo_ends_with_its_blocks_on_a_chain_and_a_summary_that_adds_up() {
    let directory = tempfile::tempdir().unwrap();
    // So many blocks, and so easy, that some shares come too late.
    let arguments = ["demo", "--json", "--blocks", "20", "--hashes-per-block", "20000", "--threads", "2"];
    let arguments = [&arguments[..], &["--blocks-dir", "blocks", "--store", "shares.redb"]].concat();
    let ended = run(directory.path(), &arguments).well();
    let (events, summary) = (ended.events(), summary(&ended.lines));
    let count = |name: &str| summary[name].as_u64().unwrap();

    let found = named(&events, "block_accepted");
    assert!(count("blocks") >= 20, "{summary}");
    assert_eq!(found.len() as u64, count("blocks"));
    assert!(named(&events, "block_rejected").is_empty());

    let blocks = blocks(&directory.path().join("blocks"));
    assert!(blocks.keys().copied().eq(1..=count("tip_height")), "{:?}", blocks.keys());
    let mut tip: BlockHash = genesis_block(Network::Regtest).block_hash();
    for (height, block) in &blocks {
        assert_eq!(block.header.prev_blockhash, tip, "block {height}");
        let coinbase_begins = Builder::new().push_int(i64::try_from(*height).unwrap()).into_script();
        assert!(
            block.txdata[0].input[0].script_sig.as_bytes().starts_with(coinbase_begins.as_bytes()),
            "BIP34, {height}"
        );
        assert!(block.check_merkle_root() && block.check_witness_commitment(), "block {height}");
        block.header.validate_pow(block.header.target()).unwrap();
        tip = block.block_hash();
    }
    for event in &found {
        let block = &blocks[&event["height"].as_u64().unwrap()];
        assert_eq!(event["hash"], block.block_hash().to_string());
        assert_eq!(event["transactions"], block.txdata.len());
        assert!(block.txdata.len() > 1, "a coinbase alone is no real block");
    }
    assert_eq!(found.last().unwrap()["height"], count("tip_height"));

    // Each link is told once, by the one of its ends that has a name.
    let links: Vec<_> = named(&events, "link_up").iter().map(|event| event["from"].as_str().unwrap()).collect();
    assert_eq!(links.iter().filter(|from| **from == "pool" || from.starts_with("device ")).count(), 3, "{links:?}");
    assert_eq!(links.len(), 3, "{links:?}");
    // And of a block first that it was found.
    let place =
        |name: &str, hash: &Value| events.iter().position(|event| event["event"] == name && event["hash"] == *hash);
    for event in &found {
        let [first, then] = ["block_found", "block_accepted"].map(|name| place(name, &event["hash"]).expect(name));
        assert!(first < then, "{event}");
    }

    assert!(count("shares_accepted") >= count("blocks"), "{summary}");
    // How many come too late at a new tip depends on how busy this machine is; nothing else is wrong with any.
    let rejected = named(&events, "share_rejected");
    assert_eq!(rejected.len() as u64, count("shares_rejected"), "{summary}");
    assert!(rejected.iter().all(|event| event["reason"] == "stale-share"), "{rejected:?}");
    let stored = run(directory.path(), &["shares", "shares.redb", "--json"]).well().events();
    let total = stored.last().unwrap();
    assert_eq!((&total["event"], &total["shares"]), (&"total".into(), &summary["shares_accepted"]));
    let of = |fate: &str| total[fate].as_u64().unwrap();
    assert!(of("blocks") >= count("blocks"), "each found block was a share: {total}");
    assert_eq!(of("blocks"), of("confirmed") + of("stale") + of("unknown"), "{total}");
    assert!(of("confirmed") >= 1 && of("confirmed") <= count("blocks"), "the first of two at least: {total}");
}

#[test]
fn without_a_block_in_time_a_demo_fails_and_still_sums_up() {
    let directory = tempfile::tempdir().unwrap();
    let arguments = ["demo", "--json", "--time-limit", "1", "--hashes-per-block", "1099511627776", "--threads", "1"];
    let ended = run(directory.path(), &arguments);
    let complaint = ended.complaint(1);
    assert!(complaint.contains("within 1 s") && complaint.contains("--hashes-per-block"), "{complaint}");
    let summary = summary(&ended.lines);
    assert_eq!(summary["blocks"], 0);
    assert!(named(&ended.events(), "block_accepted").is_empty());
}

/// Asked to end, it does so in order, but without its blocks it has not done what it was started for.
#[test]
fn an_interrupted_demo_sums_up_and_fails() {
    let directory = tempfile::tempdir().unwrap();
    let arguments = ["demo", "--json", "--hashes-per-block", "1099511627776", "--threads", "1"];
    let mut demo = Program::start(directory.path(), &arguments);
    demo.event("job", |_| true);
    let ended = demo.end();
    assert!(ended.complaint(1).contains("interrupted"));
    assert_eq!(summary(&ended.lines)["blocks"], 0);
}

#[test]
fn each_bad_argument_is_named() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("file"), "").unwrap();
    let refused = |status: i32, arguments: &[&str]| {
        let ended = run(directory.path(), &[&["demo"], arguments].concat());
        assert_eq!(ended.status.code(), Some(status), "{arguments:?}: {}", ended.errors);
        assert!(ended.lines.is_empty(), "{arguments:?}: {:?}", ended.lines);
        ended.errors
    };
    assert!(refused(2, &["--blocks", "0"]).contains("--blocks"));
    assert!(refused(2, &["--hashes-per-block", "1"]).contains("--hashes-per-block"));
    assert!(refused(2, &["--devices", "0"]).contains("--devices"));
    assert!(refused(2, &["--json", "--plain"]).contains("--plain"));
    assert!(refused(2, &["--log", "adit=loud"]).contains("--log adit=loud"));
    let error = refused(1, &["--json", "--blocks-dir", "file"]);
    assert!(error.contains("can't write blocks to file"), "{error}");
    let error = refused(1, &["--json", "--store", "missing/shares.redb"]);
    assert!(error.contains("missing/shares.redb") && error.contains("create its directory"), "{error}");
}
