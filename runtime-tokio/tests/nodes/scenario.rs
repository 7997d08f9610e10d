//! What is tried on every node: from its first block to its restart.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bitcoin::BlockHash;
use serde_json::{Value, json};

use crate::chain::{audit, is_committed};
use crate::house::House;
use crate::node::{Kind, Node};
use crate::process::Program;
use crate::wallet::Wallet;

const USER: &str = "farm.worker-1";

/// bcoin's regtest knows segwit from height 432 on; Bitcoin Core's from the beginning. Some blocks are mined beyond.
const SEGWIT: u32 = 432;
const HEIGHT: u32 = SEGWIT + 8;

/// A block of somebody else must be in the clients' hands within this time. The provider looks at the node's tip every ten seconds anyway:
/// so it is tried [`ROUNDS`] times, and only long polling is that quick each time.
const SEEN_WITHIN: Duration = Duration::from_secs(3);

/// Blocks of somebody else, first while nobody mines, then beside the miner.
const ROUNDS: usize = 6;

/// Plays the scenario. Any failure panics.
pub(crate) fn run(mut node: Node) {
    let clock = Instant::now();
    let step = |text: String| println!("{:6.1} s  {text}", clock.elapsed().as_secs_f64());
    node.start();
    let info = node.call("getblockchaininfo", &json!([]));
    assert_eq!((&info["chain"], &info["blocks"]), (&json!("regtest"), &json!(0)), "{info}");
    let version = node.call("getnetworkinfo", &json!([]))["subversion"].take();
    step(format!("{:?} {version} runs", node.kind));

    let mut play = Play::new(&node);
    play.mine_to(HEIGHT);
    step(format!("the node's chain has grown to height {} by the miner's blocks", node.height()));
    play.spend(&node);
    step("three transactions with witnesses went from the mempool into a block".to_owned());
    let seen = play.others_while_nobody_mines(&node);
    step(format!("{ROUNDS} blocks of another were given to the pool within {seen:?}"));
    play.others_beside_the_miner(&node);
    step(format!("{ROUNDS} blocks of another were built upon by the miner"));

    let tip = node.height();
    let (early, late) =
        (audit(&node, 1..=SEGWIT - 1, &play.wallet, &[]), audit(&node, SEGWIT..=tip, &play.wallet, &play.others));
    assert_eq!(early.ours.len() + late.ours.len() + play.others.len(), tip as usize);
    assert_eq!(early.committed, if node.kind == Kind::Core { early.ours.len() } else { 0 }, "segwit is not active yet");
    assert_eq!((late.committed, late.transactions), (late.ours.len(), 3));
    let mut ours = early.ours;
    ours.extend(late.ours);
    assert!(ours.is_subset(&play.told()), "each block of ours was told of");
    let committed = early.committed + late.committed;
    step(format!("{tip} blocks checked: {} by the miner, {committed} of these with a witness commitment", ours.len()));

    let after = play.restart(&mut node);
    step(format!("after the node's restart it is at height {after}"));
    let kept = if node.keeps_chain() { tip + 1 } else { 1 };
    ours.extend(audit(&node, kept..=node.height(), &play.wallet, &[]).ours);
    let shares = play.end();
    assert!(ours.is_subset(&shares), "each block of ours is in the share store");
    step(format!("{} blocks by the miner are in the node's chain and in the share store", ours.len()));
}

struct Play {
    wallet: Wallet,
    house: House,
    provider: Program,
    pool: Option<Program>,
    miner: Option<Program>,
    /// Blocks by the node itself.
    others: Vec<BlockHash>,
}

impl Play {
    /// Provider, pool and miner from their examples. Each share is a block, for the node's regtest target is far easier than any share's.
    fn new(node: &Node) -> Self {
        let wallet = Wallet::new();
        let settings = node.settings();
        let settings: Vec<_> = settings.iter().map(|(from, to)| (from.as_str(), to.as_str())).collect();
        let house = House::with_provider(&settings);
        house.vary("pool", "pool", "bcrt1q6rhpng9evdsfnn833a4f4vej0asu6dk5srld6x", &wallet.address());
        // More blocks of one height than a node can take would keep the one that counts waiting. No target is harder than a block's, so this is what
        // bounds them, not the shares a minute.
        house.vary("pool", "pool", "minimum_difficulty = 0.000001", "minimum_difficulty = 0.00001");
        house.vary("pool", "slow", "per_minute = 6000.0", "per_minute = 60.0");
        house.vary("pool", "pool", "per_minute = 6000.0", "per_minute = 1800.0");
        house.configure_miner("miner", USER, &house.pool_key);
        let mut provider = house.provider();
        let first = provider.event("template", |_| true);
        assert_eq!(first["height"], 1);
        let pool = Some(house.pool());
        let mut play = Self { wallet, house, provider, pool, miner: None, others: Vec::new() };
        play.start_miner();
        play
    }

    fn start_miner(&mut self) {
        let mut miner = self.house.start("miner", "miner");
        miner.event("link_up", |event| event["from"] == USER && event["to"] == "pool");
        self.miner = Some(miner);
    }

    /// Ends the miner; what it had found is with the node when its shares are acknowledged and the provider has nothing more to tell.
    fn end_miner(&mut self) {
        let ended = self.miner.take().expect("it runs").end().well();
        assert!(!ended.events().iter().any(|event| event["event"] == "link_down" && event["reason"] != "shut down"));
    }

    fn mine_to(&mut self, height: u32) {
        self.provider.event("block_accepted", |event| event["height"].as_u64() >= Some(u64::from(height)));
    }

    /// Blocks that the provider told the node took; with bcoin, which says yes to every valid block, also some beside its chain.
    fn told(&mut self) -> BTreeSet<BlockHash> {
        self.provider.catch_up();
        let found = self.provider.events().filter(|event| event["event"] == "block_accepted");
        found.map(|event| event["hash"].as_str().unwrap().parse().unwrap()).collect()
    }

    /// Sends a transaction, its child and one more, all with witnesses, and mines until a block has them.
    fn spend(&mut self, node: &Node) {
        self.end_miner();
        let coinbase = |height| node.block(node.hash_at(height)).txdata.remove(0);
        let parent = self.wallet.spend(&[&coinbase(1), &coinbase(2)]);
        let child = self.wallet.spend(&[&parent]);
        let another = self.wallet.spend(&[&coinbase(3)]);
        let sent = [&parent, &child, &another].map(|transaction| node.send(transaction));
        assert!(sent.iter().all(|id| node.mempool().contains(id)));
        self.provider.catch_up();
        self.start_miner();
        let mut block = None;
        for _ in 0..100 {
            let found = self.provider.event("block_accepted", |_| true);
            if found["transactions"] == 4 {
                block = Some(found["hash"].as_str().unwrap().parse().unwrap());
                break;
            }
        }
        let block = node.block(block.expect("the transactions are mined"));
        let ids: Vec<_> = block.txdata.iter().map(bitcoin::Transaction::compute_txid).collect();
        assert!(sent.iter().all(|id| ids.contains(id)), "{sent:?} in {ids:?}");
        let place = |id| ids.iter().position(|one| *one == id);
        assert!(place(sent[0]) < place(sent[1]), "a parent comes before its child");
        assert!(block.txdata.iter().all(|transaction| !transaction.input[0].witness.is_empty()));
        assert!(is_committed(&block) && block.check_witness_commitment());
        self.end_miner();
        assert!(node.mempool().is_empty());
    }

    /// The provider gives the block to its clients, and the pool makes jobs of it. How long that took.
    fn is_seen(&mut self, height: u32, at: Instant) -> Duration {
        let next = |event: &Value| event["height"] == height + 1 && event["new_tip"] == true;
        let template = self.provider.event_until(at + SEEN_WITHIN, "template", next);
        let pool = self.pool.as_mut().expect("it runs");
        // It may have been replaced on the way by one with other transactions or more room in its coinbase.
        let id = |event: &Value| event["template_id"].as_u64();
        pool.event_until(at + SEEN_WITHIN, "job", |event| id(event) >= id(&template));
        at.elapsed()
    }

    fn others_while_nobody_mines(&mut self, node: &Node) -> Duration {
        let mut slowest = Duration::ZERO;
        for _ in 0..ROUNDS {
            let (hash, height, at) = mine_one(node);
            slowest = slowest.max(self.is_seen(height, at));
            self.others.push(hash);
        }
        slowest
    }

    /// The same while the miner finds a block a second: it moves to the other's block, and builds on it.
    fn others_beside_the_miner(&mut self, node: &Node) {
        self.pool.take().expect("it runs").end().well();
        let mut pool = self.house.start("pool", "slow");
        pool.event("listening", |_| true);
        pool.event("link_up", |event| event["to"] == "provider");
        self.pool = Some(pool);
        self.start_miner();
        for _ in 0..ROUNDS {
            let (hash, height, at) = mine_one(node);
            self.others.push(hash);
            self.is_seen(height, at);
            let found = self.provider.event("block_accepted", |event| event["height"] == height + 1);
            let block = node.block(found["hash"].as_str().unwrap().parse().unwrap());
            assert_eq!(block.header.prev_blockhash, hash);
        }
    }

    /// The node ends while everybody else goes on, and comes back. What was found meanwhile gets to it, if it still knows what that builds on.
    /// Gives the height after that.
    fn restart(&mut self, node: &mut Node) -> u32 {
        let refused = |play: &mut Self| {
            play.provider.catch_up();
            play.provider.events().filter(|event| event["event"] == "block_rejected").collect::<Vec<_>>()
        };
        assert_eq!(refused(self), [Value::Null; 0]);
        node.end();
        let lost = |event: &Value| event["message"].as_str().unwrap().starts_with("no templates from the node");
        self.provider.event("warning", lost);
        self.pool().catch_up();
        for _ in 0..2 {
            self.pool().event("share_accepted", |_| true);
        }
        self.end_miner();
        self.provider.catch_up();
        node.start();
        if node.keeps_chain() {
            let found = self.provider.event("block_accepted", |_| true);
            let height = u32::try_from(found["height"].as_u64().unwrap()).unwrap();
            assert_eq!(found["hash"], node.hash_at(height).to_string(), "found while the node was away");
        } else {
            self.provider.event("template", |event| event["height"] == 1 && event["new_tip"] == true);
        }
        self.start_miner();
        self.provider.catch_up();
        let before = node.height();
        self.provider.event("block_accepted", |event| event["height"].as_u64() >= Some(u64::from(before) + 3));
        self.end_miner();
        if node.keeps_chain() {
            assert_eq!(refused(self), [Value::Null; 0]);
        }
        assert!(!self.pool().events().any(|event| event["event"] == "link_down" && event["to"] == "provider"));
        node.height()
    }

    fn pool(&mut self) -> &mut Program {
        self.pool.as_mut().expect("it runs")
    }

    /// Ends provider and pool; gives the hashes of the blocks in the share store.
    fn end(mut self) -> BTreeSet<BlockHash> {
        self.pool.take().expect("it runs").end().well();
        self.provider.end().well();
        let shares = self.house.shares();
        let blocks = shares.iter().filter(|share| share["block"] == true && share["account"] == USER);
        blocks.map(|share| share["hash"].as_str().unwrap().parse().unwrap()).collect()
    }
}

/// A block that the node mined and that is in its chain, and when that was over. A block of ours may have been first; then the node mines again.
fn mine_one(node: &Node) -> (BlockHash, u32, Instant) {
    for _ in 0..20 {
        let (hash, height) = node.mine_one();
        let at = Instant::now();
        if node.hash_at(height) == hash {
            return (hash, height, at);
        }
    }
    panic!("no block of the node is in its chain")
}
