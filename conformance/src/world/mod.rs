//! A world in one thread: a template provider on a chain that is made up, a pool, devices that hash in software, all roles of the core over
//! real connections. Clock, network and entropy are simulated, so everything follows from one seed: the same seed gives the same bytes at
//! the same times ([`Report::transcript`]), and a failure comes with what replays it ([`Failure`]).
//!
//! While it runs, and at its end, it must hold that
//!
//! - no honest peer is dropped, and no link is lost that the network did not hurt;
//! - a share is acknowledged once, and only when it is on disk, in the account of its device's user;
//! - an honest device's share is only ever rejected because it went stale on the way;
//! - a block that the pool finds reaches the provider and is a block by a computation of its own ([`Block::bytes`] for other judges).
//!
//! When enough blocks are found, hashing stops, everything on the way arrives, and the books are compared: device, pool, store and chain.
//!
//! Peers that restart and clocks that jump have their places (nodes are values, the network owns the clock) but are not here yet.

mod books;
mod chain;
mod config;
mod end;
mod miner;
mod net;
mod pool;
mod provider;

use std::fmt;
use std::time::Duration;

use adit::config::Limits;
use adit::connection::{InitiatorConfig, ResponderConfig, SetupPolicy};
use adit::time::Instant;

pub use chain::Block;
pub use config::{Weather, WorldConfig};
pub use net::Totals;

use chain::Chain;
use miner::Miner;
use net::{Client, Direction, Net, Task};
use pool::PoolNode;
use provider::ProviderNode;

use crate::entropy::Entropy;
use crate::pair::{PairConfig, configs};

/// How a world went.
#[derive(Clone, Debug)]
pub struct Report {
    /// Hash over every byte of every line with its time and direction, as it was sent.
    pub transcript: [u8; 32],
    /// What the network saw.
    pub network: Totals,
    /// Virtual time from the start to the end.
    pub took: Duration,
    /// Blocks of the pool on the chain, in order.
    pub blocks: Vec<Block>,
    /// Solutions that came too late for a block.
    pub late: u64,
    /// Shares on disk.
    pub stored: u64,
    /// Shares that devices know to be accepted.
    pub acknowledged: u64,
    /// Shares that were rejected.
    pub rejected: u64,
    /// Shares whose answer was lost with their connection.
    pub lost: u64,
}

/// What went wrong in a world, and how to see it again.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The preset.
    pub name: &'static str,
    /// The seed.
    pub seed: u64,
    /// Virtual time since the start.
    pub at: Duration,
    /// What.
    pub what: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, seed, at, what } = self;
        write!(
            f,
            "{name} world of seed {seed}, after {at:?}: {what}\n\
             replay: ADIT_WORLD={name} ADIT_SEED={seed} cargo test -p adit-conformance --test world replay -- --nocapture"
        )
    }
}

impl std::error::Error for Failure {}

struct World {
    config: WorldConfig,
    net: Net,
    provider: ProviderNode,
    pool: PoolNode,
    miners: Vec<Miner>,
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
        let net = Net::new(seeds.next_u64(), config.weather.clone());
        let role = pool::pool();
        let mining =
            SetupPolicy::new(role.config().supported_flags().bits()).answering(role.config().success_flags().bits());
        let (to_pool, of_pool) = security(&mut seeds, mining, config.noise, config.idle);
        let (to_provider, of_provider) =
            security(&mut seeds, SetupPolicy::new(0), config.noise, config.idle.map(|idle| 3 * idle));
        let chain = Chain::new(seeds.next_u64(), config.hashes_per_block);
        let miner_seed = seeds.next_u64();
        let miners =
            (0..config.devices).map(|number| Miner::new(number, miner_seed, config.hash_rate, to_pool)).collect();
        let provider = ProviderNode::new(chain, of_provider, &net);
        let pool = PoolNode::new(role, of_pool, to_provider, config.store);
        Self { config, net, provider, pool, miners }
    }

    fn run(&mut self) -> Result<Report, String> {
        let net = &mut self.net;
        net.schedule(Instant::ORIGIN, Task::ConnectPool);
        for number in 0..self.config.devices {
            let at = net.between((Duration::ZERO, Duration::from_secs(2)));
            net.schedule_in(at, Task::ConnectDevice(number));
            net.schedule_in(at, Task::Mine(number));
        }
        let wait = net.around(self.config.templates);
        net.schedule_in(wait, Task::Template);
        if let Some(every) = self.config.foreign_blocks {
            let wait = net.around(every);
            net.schedule_in(wait, Task::ForeignBlock);
        }
        let deadline = Instant::ORIGIN.saturating_add(self.config.deadline);
        while self.provider.chain.blocks.len() < self.config.blocks || !self.is_settled() {
            if self.provider.chain.blocks.len() >= self.config.blocks {
                self.miners.iter_mut().for_each(|miner| miner.resting = true);
            }
            let task = self.net.next().ok_or("nothing is left to happen")?;
            if self.net.now > deadline {
                return Err(format!("not over: {}", self.state()));
            }
            self.happen(task);
            if let Some(what) = self.net.failure() {
                return Err(what.clone());
            }
        }
        self.audit()
    }

    /// Everything that was sent is answered, written and told.
    fn is_settled(&self) -> bool {
        self.pool.store.is_settled()
            && (self.provider.solutions == self.pool.found || self.pool.upstreams_hurt != 0)
            && self.miners.iter().all(|miner| miner.is_settled(&self.net))
    }

    /// For a failure's message.
    fn state(&self) -> String {
        let waiting: Vec<_> =
            self.miners.iter().filter(|miner| !miner.is_settled(&self.net)).map(ToString::to_string).collect();
        format!(
            "{} blocks on the chain, {} solutions arrived of {}; store settled: {}; devices with unanswered shares: {waiting:?}; {:?}",
            self.provider.chain.blocks.len(),
            self.provider.solutions,
            self.pool.found,
            self.pool.store.is_settled(),
            self.net.totals,
        )
    }

    fn happen(&mut self, task: Task) {
        let Self { net, provider, pool, miners, config } = self;
        match task {
            Task::Arrive(line, direction) => {
                let arrival = net.arrive(line, direction);
                match (net.client(line), direction) {
                    (Some(Client::Pool), Direction::ToServer) => {
                        provider.arrive(net, line, arrival);
                        pool.drained_upstream(net, line);
                    }
                    (Some(Client::Pool), Direction::ToClient) => {
                        pool.arrive_upstream(net, line, arrival);
                        provider.drained(net, line);
                    }
                    (Some(Client::Device(number)), Direction::ToServer) => {
                        pool.arrive(net, line, arrival);
                        miners[number as usize].drained(net, line, &pool.store);
                    }
                    (Some(Client::Device(number)), Direction::ToClient) => {
                        miners[number as usize].arrive(net, line, arrival, &pool.store);
                        pool.drained(net, line);
                    }
                    (None, _) => {}
                }
            }
            Task::Limit(line, direction) => match (net.client(line), direction) {
                (Some(Client::Pool), Direction::ToServer) => pool.limit_upstream(net, line),
                (Some(Client::Pool), Direction::ToClient) => provider.limit(net, line),
                (Some(Client::Device(number)), Direction::ToServer) => miners[number as usize].limit(net, line),
                (Some(Client::Device(_)), Direction::ToClient) => pool.limit(net, line),
                (None, _) => {}
            },
            Task::ConnectDevice(number) => {
                let miner = &mut miners[number as usize];
                let line = miner.connect(net);
                pool.accept(net, line);
                // An initiator begins by itself.
                miner.drained(net, line, &pool.store);
            }
            Task::ConnectPool => {
                let line = pool.connect(net);
                provider.accept(net, line);
                pool.drained_upstream(net, line);
            }
            Task::DeviceTimer(number) => miners[number as usize].timer(net),
            Task::Mine(number) => miners[number as usize].mine(net),
            Task::PoolTimer => pool.timer(net),
            Task::Stored(ticket) => pool.stored(net, ticket),
            Task::Template => {
                provider.template(net);
                let wait = net.around(config.templates);
                net.schedule_in(wait, Task::Template);
            }
            Task::ForeignBlock => {
                provider.foreign_block(net);
                if let Some(every) = config.foreign_blocks {
                    let wait = net.around(every);
                    net.schedule_in(wait, Task::ForeignBlock);
                }
            }
        }
    }

    /// Compares all books.
    fn audit(&mut self) -> Result<Report, String> {
        let Self { net, provider, pool, miners, .. } = self;
        miners.iter_mut().for_each(Miner::retire);
        pool.store.compare(&pool.role)?;
        for miner in &*miners {
            let statistics = miner.role.statistics();
            miner.ledger.compare(statistics.accepted, statistics.rejected, statistics.lost)?;
        }
        let sum = |count: &dyn Fn(&Miner) -> u64| miners.iter().map(count).sum::<u64>();
        let acknowledged = sum(&|miner| miner.ledger.acknowledged_count() as u64);
        let (rejected, lost) = (sum(&|miner| miner.ledger.rejected), sum(&|miner| miner.ledger.lost));
        let stored = pool.store.len() as u64;
        // What was never acknowledged was lost with a connection.
        if !(acknowledged..=acknowledged + lost).contains(&stored) {
            return Err(format!("{stored} shares stored, {acknowledged} acknowledged, {lost} lost"));
        }
        let counted = pool.role.statistics(net.now);
        if counted.accepted != stored {
            return Err(format!("{stored} shares stored; the pool: {counted:?}"));
        }
        let missing = counted.blocks.checked_sub(provider.solutions);
        if missing.is_none_or(|missing| missing > pool.upstreams_hurt) {
            return Err(format!("{} solutions arrived; the pool: {counted:?}", provider.solutions));
        }
        Ok(Report {
            transcript: net.transcript(),
            network: net.totals,
            took: net.now.saturating_since(Instant::ORIGIN),
            blocks: provider.chain.blocks.clone(),
            late: provider.solutions - provider.chain.blocks.len() as u64,
            stored,
            acknowledged,
            rejected,
            lost,
        })
    }
}

/// Both sides' configuration of a kind of link.
fn security(
    seeds: &mut Entropy,
    setup: SetupPolicy,
    noise: bool,
    idle: Option<Duration>,
) -> (InitiatorConfig, ResponderConfig) {
    let limits = Limits { idle, ..Limits::DEFAULT };
    let pair = PairConfig { seed: seeds.next_u64(), setup, limits: (limits, limits), ..PairConfig::default() };
    configs(&if noise { pair } else { PairConfig { noise: None, ..pair } })
}
