//! A world in one thread: a template provider on a chain that is made up, a pool, devices and farms that hash in software, all of the core over
//! real connections, and peers that mean harm. Clocks, network, disk and entropy are simulated, so everything follows from one seed: the same
//! seed gives the same bytes at the same times ([`Report::transcript`]), and a failure comes with what replays it ([`Failure`]).
//!
//! While it runs, and at its end, it must hold that
//!
//! - no honest peer is dropped, and no link is lost that the network did not hurt and whose ends were up and awake;
//! - a share is acknowledged once, and only when it is on disk, in the account of its device's user; so it is after restarts;
//! - an honest device's share is only ever rejected because it went stale on the way;
//! - a block that the pool finds reaches the provider, if need be on a later connection, and is a block by a computation of its own
//!   ([`Block::bytes`] for other judges);
//! - a client takes a server if and only if the certificate is the right authority's and its period has begun and not ended by the
//!   client's own wall-clock.
//!
//! When enough blocks are found, hashing stops, everything on the way arrives, and the books are compared: device, pool, store and chain.
//!
//! What a node may refuse, and what it must survive:
//!
//! | what happens | a node must | it may |
//! |---|---|---|
//! | a wall-clock is off, or set, by seconds or days | keep its connections and go on with its work | refuse a server whose period that clock is outside of, until it is right |
//! | a monotonic clock starts anywhere, drifts by 200 ppm | keep every limit, every share and every block | |
//! | a node sleeps for less than a minute, its clock stands still or leaps | go on afterwards, with shares that count | lose connections to peers' limits; call a block's time a breach (it is a block all the same) |
//! | the pool's process ends, or its power fails | have every share that it acknowledged | lose shares that were not on disk, and found blocks that were not delivered |
//! | the provider's process ends, or its power fails | give templates of the same tip, under other ids or the same | not know a block on a template of before, whose transactions it lost |
//! | a link breaks behind a found block | send it again while its tip lasts | forget it when the network has moved on |
//! | a device's power fails | begin anew | forget its shares, which count if the pool has them |
//! | strangers flood, drip, replay and lie | serve the honest as if there were none | refuse and cut off whoever breaks a limit |
//! | a device is lured to a false pool | believe nothing that is not signed, nor acknowledgements of what it did not send | lose a moment |

mod books;
mod chain;
mod clock;
mod config;
mod end;
mod farm;
mod miner;
mod net;
mod pool;
mod provider;
mod report;
mod rogue;
mod security;
mod stranger;

use std::collections::BTreeSet;
use std::time::Duration;

use adit::connection::SetupPolicy;
use adit::time::Instant;

pub use chain::Block;
pub use config::{Clocks, Weather, WorldConfig};
pub use net::Totals;
pub use report::{Failure, Report};

use chain::Chain;
use miner::Miner;
use net::{Direction, Ends, Net, Node, Task};
use pool::PoolNode;
use provider::ProviderNode;
use rogue::Rogue;
use security::Issuer;
use stranger::Stranger;

use crate::entropy::Entropy;

struct World {
    config: WorldConfig,
    net: Net,
    provider: ProviderNode,
    pool: PoolNode,
    miners: Vec<Miner>,
    strangers: Vec<Stranger>,
    rogue: Rogue,
    /// Hashing has stopped, and trouble with it.
    resting: bool,
}

/// Runs a world to its end.
pub fn run(config: &WorldConfig) -> Result<Report, Failure> {
    let mut world = World::new(config.clone());
    let outcome = world.run();
    let at = world.net.now.saturating_since(Instant::ORIGIN);
    outcome.map_err(|what| Failure { name: config.name, seed: config.seed, at, what })
}

impl World {
    fn new(config: WorldConfig) -> Self {
        let mut seeds = Entropy::seeded(config.seed);
        let mut net = Net::new(seeds.next_u64(), config.weather.clone(), config.clocks.clone());
        let strangers = (0..config.strangers).map(Node::Stranger);
        let nodes = (0..config.devices + config.farms).map(Node::Miner).chain(strangers);
        [Node::Provider, Node::Pool, Node::Rogue].into_iter().chain(nodes).for_each(|node| net.add(node));
        let of_pool = Issuer::new(&mut seeds, &config, pool::setup_policy(), config.idle);
        let of_provider = Issuer::new(&mut seeds, &config, SetupPolicy::new(0), config.idle.map(|idle| 3 * idle));
        let of_rogue = Issuer::new(&mut seeds, &config, pool::setup_policy(), config.idle);
        let (to_pool, to_provider) = (of_pool.initiator(), of_provider.initiator());
        let chain = Chain::new(seeds.next_u64(), config.hashes_per_block);
        let miner_seed = seeds.next_u64();
        let miners = (0..config.devices + config.farms)
            .map(|number| Miner::new(number, number >= config.devices, miner_seed, config.hash_rate, to_pool))
            .collect();
        let stranger_seed = seeds.next_u64();
        let strangers =
            (0..config.strangers).map(|number| Stranger::new(number, stranger_seed, to_pool, to_provider)).collect();
        let provider = ProviderNode::new(chain, of_provider, &mut net);
        let pool = PoolNode::new(&mut net, of_pool, to_provider, config.store);
        let rogue = Rogue::new(of_rogue.responder(net.wall(Node::Rogue)).0);
        Self { config, net, provider, pool, miners, strangers, rogue, resting: false }
    }

    /// What goes on by itself from the start on.
    fn begin(&mut self) {
        let Self { net, config, .. } = self;
        net.schedule(Instant::ORIGIN, Task::ConnectPool);
        for number in 0..config.devices + config.farms {
            let at = net.between((Duration::ZERO, Duration::from_secs(2)));
            net.schedule_in(at, Task::ConnectMiner(number));
            net.schedule_in(at, Task::Mine(number));
        }
        for number in 0..config.strangers {
            let at = net.between((Duration::ZERO, Duration::from_secs(4)));
            net.schedule_in(at, Task::Harm(number));
        }
        let again = [
            (Some(config.templates), Task::Template),
            (config.foreign_blocks, Task::ForeignBlock),
            (config.restarts, Task::Restart),
            (config.clocks.trouble, Task::ClockTrouble),
        ];
        for (every, task) in again {
            Self::again(net, every, task);
        }
    }

    /// Schedules what comes again and again.
    fn again(net: &mut Net, every: Option<Duration>, task: Task) {
        if let Some(every) = every {
            let wait = net.around(every);
            net.schedule_in(wait, task);
        }
    }

    fn run(&mut self) -> Result<Report, String> {
        self.begin();
        let deadline = Instant::ORIGIN.saturating_add(self.config.deadline);
        while !self.resting || !self.is_settled() {
            if self.provider.chain.blocks.len() >= self.config.blocks && !self.resting {
                self.resting = true;
                self.miners.iter_mut().for_each(|miner| miner.resting = true);
            }
            let task = self.net.next().ok_or("nothing is left to happen")?;
            if self.net.now > deadline {
                return Err(format!("not over: {}", self.state()));
            }
            match self.net.doer(task).and_then(|node| self.net.asleep(node)) {
                Some(until) => self.net.schedule(until, task),
                None => self.happen(task),
            }
            if let Some(what) = self.net.failure() {
                return Err(what.clone());
            }
        }
        self.audit()
    }

    /// Everybody is up, and everything that was sent is answered, written and told.
    fn is_settled(&self) -> bool {
        let Self { provider, pool, miners, net, .. } = self;
        provider.up
            && pool.up
            && pool.store.is_settled()
            && pool
                .found
                .iter()
                .all(|found| found.is_settled(&provider.chain.tip(), pool.run, |line| net.is_hurt(line)))
            && miners.iter().all(|miner| miner.is_settled(net))
    }

    /// For a failure's message.
    fn state(&self) -> String {
        let Self { provider, pool, miners, net, .. } = self;
        let waiting: Vec<_> = miners.iter().filter(|miner| !miner.is_settled(net)).map(ToString::to_string).collect();
        let on_the_way = pool
            .found
            .iter()
            .filter(|found| !found.is_settled(&provider.chain.tip(), pool.run, |line| net.is_hurt(line)))
            .count();
        format!(
            "{} blocks on the chain, {on_the_way} of {} found on the way; store settled: {}; miners with unanswered shares: {waiting:?}; {:?}",
            provider.chain.blocks.len(),
            pool.found.len(),
            pool.store.is_settled(),
            net.totals,
        )
    }

    fn happen(&mut self, task: Task) {
        let Self { net, provider, pool, miners, config, strangers, rogue, resting } = self;
        match task {
            Task::Arrive(line, direction) => {
                let Some(ends) = net.ends(line) else { return };
                let arrival = net.arrive(line, direction);
                match (ends, direction) {
                    (Ends { server: Node::Provider, .. }, Direction::ToServer) => {
                        provider.arrive(net, line, arrival, &mut pool.found);
                    }
                    (Ends { server: Node::Pool, .. }, Direction::ToServer) => pool.arrive(net, line, arrival),
                    (Ends { server: Node::Rogue, .. }, Direction::ToServer) => rogue.arrive(net, line, arrival),
                    (Ends { client: Node::Pool, .. }, _) => pool.arrive_upstream(net, line, arrival),
                    (Ends { client: Node::Miner(number), .. }, _) => {
                        miners[number as usize].arrive(net, line, arrival, &pool.store);
                    }
                    (Ends { client: Node::Stranger(number), .. }, _) => {
                        strangers[number as usize].arrive(net, line, arrival);
                    }
                    _ => {}
                }
                net.schedule_in(Duration::ZERO, Task::Left(line, direction));
            }
            Task::Left(line, direction) => match (net.ends(line), direction) {
                (Some(Ends { server: Node::Provider, .. }), Direction::ToClient) => {
                    provider.drained(net, line, &mut pool.found);
                }
                (Some(Ends { server: Node::Pool, .. }), Direction::ToClient) => pool.drained(net, line),
                (Some(Ends { server: Node::Rogue, .. }), Direction::ToClient) => rogue.go_on(net, line, false),
                (Some(Ends { client: Node::Pool, .. }), _) => pool.drained_upstream(net, line),
                (Some(Ends { client: Node::Miner(number), .. }), _) => {
                    miners[number as usize].drained(net, line, &pool.store);
                }
                (Some(Ends { client: Node::Stranger(number), .. }), _) => {
                    strangers[number as usize].drained(net, line);
                }
                _ => {}
            },
            Task::Limit(line, direction) => match (net.ends(line), direction) {
                (Some(Ends { server: Node::Provider, .. }), Direction::ToClient) => provider.limit(net, line),
                (Some(Ends { server: Node::Pool, .. }), Direction::ToClient) => pool.limit(net, line),
                (Some(Ends { server: Node::Rogue, .. }), Direction::ToClient) => rogue.go_on(net, line, true),
                (Some(Ends { client: Node::Pool, .. }), _) => pool.limit_upstream(net, line),
                (Some(Ends { client: Node::Miner(number), .. }), _) => miners[number as usize].limit(net, line),
                (Some(Ends { client: Node::Stranger(number), .. }), _) => strangers[number as usize].limit(net, line),
                _ => {}
            },
            Task::ConnectMiner(number) => self.connect_miner(number),
            Task::ConnectPool => {
                if !pool.up || pool.is_connected() {
                } else if !provider.up {
                    Self::again(net, Some(Duration::from_secs(1)), task);
                } else {
                    let line = pool.connect(net);
                    provider.accept(net, line);
                    pool.drained_upstream(net, line);
                }
            }
            Task::MinerTimer(number) => miners[number as usize].timer(net),
            Task::Mine(number) => miners[number as usize].mine(net),
            Task::PoolTimer => pool.timer(net),
            Task::Stored(run, ticket) => pool.stored(net, run, ticket),
            Task::Template => {
                provider.template(net);
                Self::again(net, Some(config.templates), task);
            }
            Task::ForeignBlock => {
                provider.foreign_block(net);
                Self::again(net, config.foreign_blocks, task);
            }
            Task::Renew(Node::Pool) => pool.renew(net),
            Task::Renew(_) => provider.renew(net),
            Task::Restart => {
                if !*resting {
                    self.restart();
                    Self::again(&mut self.net, self.config.restarts, task);
                }
            }
            Task::Start(Node::Pool) => pool.start(net),
            Task::Start(Node::Miner(number)) => miners[number as usize].start(net),
            Task::Start(_) => provider.start(net),
            Task::ClockTrouble => {
                if !*resting {
                    self.clock_trouble();
                    Self::again(&mut self.net, self.config.clocks.trouble, task);
                }
            }
            Task::ClockRight(node) => net.set_right(node),
            Task::Harm(number) => {
                self.harm(number);
                Self::again(&mut self.net, Some(Duration::from_secs(1)), task);
            }
            Task::Lure(line) => rogue.lure(net, line),
        }
    }

    fn connect_miner(&mut self, number: u32) {
        let Self { net, pool, miners, config, rogue, .. } = self;
        let miner = &mut miners[number as usize];
        if !miner.up || miner.is_connected() {
            return;
        }
        if config.strangers != 0 && !self.resting && net.entropy.below(4) == 0 {
            let line = miner.connect(net, Node::Rogue);
            rogue.accept(net, line, &pool.stolen());
            return miner.drained(net, line, &pool.store);
        }
        if !pool.up {
            return Self::again(net, Some(Duration::from_secs(1)), Task::ConnectMiner(number));
        }
        let line = miner.connect(net, Node::Pool);
        pool.accept(net, line);
        // An initiator begins by itself.
        miner.drained(net, line, &pool.store);
    }

    /// A node that is up goes down: its process is killed, or its power fails.
    fn restart(&mut self) {
        let Self { net, provider, pool, miners, .. } = self;
        let node = match net.entropy.below(4) {
            0 => Node::Pool,
            1 => Node::Provider,
            _ => Node::Miner(net.entropy.below(miners.len() as u64) as u32),
        };
        let power = net.entropy.below(3) == 0;
        let is_up = match node {
            Node::Pool => pool.up,
            Node::Miner(number) => miners[number as usize].up,
            _ => provider.up,
        };
        if !is_up {
            return;
        }
        net.totals.restarts += 1;
        match node {
            Node::Pool => pool.kill(net),
            Node::Miner(number) => miners[number as usize].kill(net),
            _ => provider.kill(),
        }
        net.kill(node, power);
        let down = net.around(Duration::from_secs(4));
        net.schedule_in(down, Task::Start(node));
    }

    /// Somebody sets a wall-clock wrong, for about a minute, or a node sleeps.
    fn clock_trouble(&mut self) {
        let Self { net, provider, miners, .. } = self;
        let node = match net.entropy.below(4) {
            0 => Node::Pool,
            1 => Node::Provider,
            _ => Node::Miner(net.entropy.below(miners.len() as u64) as u32),
        };
        if net.entropy.below(3) == 0 {
            net.suspend(node);
            provider.steady &= node != Node::Provider;
        } else {
            net.set_wrong(node);
            let wait = net.around(Duration::from_secs(60));
            net.schedule_in(wait, Task::ClockRight(node));
        }
    }

    fn harm(&mut self, number: u32) {
        let Self { net, provider, pool, strangers, .. } = self;
        let stranger = &mut strangers[number as usize];
        let is_up = if stranger.victim() == Node::Pool { pool.up } else { provider.up };
        for _ in 0..if is_up { stranger.wants() } else { 0 } {
            let line = stranger.connect(net);
            match stranger.victim() {
                Node::Pool => pool.accept(net, line),
                _ => provider.accept(net, line),
            }
        }
        stranger.act(net);
    }

    /// Compares all books.
    fn audit(&mut self) -> Result<Report, String> {
        let Self { net, provider, pool, miners, .. } = self;
        miners.iter_mut().for_each(Miner::retire);
        miners.iter().filter(|miner| miner.up).for_each(|miner| miner.count(net));
        pool.count(net);
        if let Some(what) = net.failure() {
            return Err(what.clone());
        }
        pool.store.compare(&pool.role)?;
        let mut sent = BTreeSet::new();
        for miner in &*miners {
            let ledger = &miner.ledger;
            if !ledger.acknowledged_shares().iter().all(|hash| pool.store.holds(hash, ledger.user())) {
                return Err(format!("{}: a share that was acknowledged is not on disk any more", ledger.user()));
            }
            if ledger.rejected.iter().any(|hash| pool.store.holds(hash, ledger.user())) {
                return Err(format!("{}: a share that was rejected counts", ledger.user()));
            }
            sent.extend(ledger.sent.iter().map(|hash| (*hash, ledger.user().as_bytes())));
        }
        let of_miners = |user: &[u8]| user.starts_with(b"user-");
        let honest: Vec<_> = pool.store.shares().filter(|(_, user)| of_miners(user)).collect();
        if let Some((_, user)) = honest.iter().find(|(hash, user)| !sent.contains(&(**hash, *user))) {
            return Err(format!("{}: a share counts that it did not send", String::from_utf8_lossy(user)));
        }
        let sum = |count: &dyn Fn(&Miner) -> u64| miners.iter().map(count).sum::<u64>();
        let acknowledged = sum(&|miner| miner.ledger.acknowledged_shares().len() as u64);
        let (rejected, lost) = (sum(&|miner| miner.ledger.rejected.len() as u64), sum(&|miner| miner.ledger.lost));
        let stored = honest.len() as u64;
        // What was never acknowledged was lost with a connection.
        if !(acknowledged..=acknowledged + lost).contains(&stored) {
            return Err(format!("{stored} shares stored, {acknowledged} acknowledged, {lost} lost"));
        }
        let blocks = provider.chain.blocks.clone();
        let arrived = pool.found.iter().filter(|found| found.is_told()).count();
        Ok(Report {
            transcript: net.transcript(),
            network: net.totals,
            took: net.now.saturating_since(Instant::ORIGIN),
            late: (arrived as u64).saturating_sub(blocks.len() as u64),
            sent_again: pool.found.iter().filter(|found| found.was_sent_again()).count() as u64,
            blocks,
            stored,
            acknowledged,
            rejected,
            lost,
            floods_ended: pool.floods_ended,
        })
    }
}
