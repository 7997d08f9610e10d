//! `adit demo`: provider, pool and devices in one process, over loopback TCP and Noise, until the blocks are found.

use std::fmt;
use std::io::{self, IsTerminal as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use adit::connection::SetupPolicy;
use adit::crypto::Secret;
use adit::mining::target::Target;
use adit::noise::x25519::{CipherList, Policy};
use adit_tokio::clock::Clock;
use adit_tokio::entropy::{EntropyError, entropy};
use adit_tokio::listen::{ListenError, Listener};
use adit_tokio::net::Tokio;
use adit_tokio::shutdown::Shutdown;
use bitcoin::ScriptBuf;
use bitcoin::WPubkeyHash;
use bitcoin::hashes::Hash as _;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::args::DemoArguments;
use crate::chain::{Chain, Embedded, OpenError, Settings};
use crate::config::{ConfigError, LimitsConfig};
use crate::event::{Event, Summary};
use crate::hash::Method;
use crate::identity::Issuer;
use crate::interrupts::Interrupts;
use crate::keys;
use crate::miner::{self, MinerError, MinerSettings};
use crate::order::Order;
use crate::pool::{PoolError, PoolSettings};
use crate::provider::{ProviderError, ProviderSettings};
use crate::remote;
use crate::report::{Events, Form, Reporter, Told};
use crate::source::{TemplateSource, Unbuildable};
use crate::view::View;

/// Seconds that a block takes on average, unless the person says how many hashes.
const SECONDS_PER_BLOCK: f64 = 3.0;

/// Shares a minute and device: enough to see something.
const SHARES_PER_MINUTE: f64 = 90.0;

/// How long each role may take to end in order.
const GRACE: Duration = Duration::from_secs(5);

/// How often the live view is drawn.
const FRAME: Duration = Duration::from_millis(100);

/// How often the chain's waiting transactions change, and templates with them.
const REFRESH: Duration = Duration::from_secs(5);

/// The same chain at every demo, but for the blocks that are found.
const CHAIN_SEED: [u8; 32] = *b"the demo's chain begins the same";

/// Why a demo could not run, or not to its end.
#[derive(Debug)]
pub(crate) enum DemoError {
    /// The embedded chain.
    Chain(OpenError),
    /// It has no template.
    Template(Unbuildable),
    /// No entropy.
    Entropy(EntropyError),
    /// No port of this machine.
    Listen(ListenError),
    /// A directory or the terminal.
    Io(&'static str, io::Error),
    /// A role's URL: can't happen, for the roles made it.
    Url(ConfigError),
    /// The provider ended.
    Provider(ProviderError),
    /// The pool ended.
    Pool(PoolError),
    /// A miner ended.
    Miner(MinerError),
    /// A role's task panicked.
    Panicked(tokio::task::JoinError),
    /// The time limit came first.
    TimeLimit(u64),
    /// A block was rejected, which must not happen.
    Rejected(String),
    /// The person ended it.
    Interrupted,
}

impl fmt::Display for DemoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chain(error) => error.fmt(f),
            Self::Template(error) => error.fmt(f),
            Self::Entropy(error) => error.fmt(f),
            Self::Listen(error) => error.fmt(f),
            Self::Io(what, error) => write!(f, "{what}: {error}"),
            Self::Url(error) => error.fmt(f),
            Self::Provider(error) => write!(f, "the provider ended: {error}"),
            Self::Pool(error) => write!(f, "the pool ended: {error}"),
            Self::Miner(error) => write!(f, "a miner ended: {error}"),
            Self::Panicked(error) => write!(f, "a role failed: {error}"),
            Self::TimeLimit(seconds) => {
                write!(
                    f,
                    "not all blocks were found within {seconds} s; try fewer --hashes-per-block or a longer --time-limit"
                )
            }
            Self::Rejected(reason) => write!(f, "a found block was rejected: {reason}"),
            Self::Interrupted => f.write_str("interrupted"),
        }
    }
}

impl std::error::Error for DemoError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(_, error) => Some(error),
            _ => None,
        }
    }
}

/// The running roles.
struct Roles {
    provider: JoinSet<Result<(), DemoError>>,
    pool: JoinSet<Result<(), DemoError>>,
    miners: JoinSet<Result<(), DemoError>>,
    stop: [Shutdown; 3],
    handle: adit_tokio::pool::PoolHandle,
    chain: Embedded,
    /// Kept until the end, where it is deleted.
    _directory: Option<tempfile::TempDir>,
}

/// Runs the demo and tells how it ended.
pub(crate) async fn run(arguments: DemoArguments) -> Result<(), DemoError> {
    let form = match (arguments.json, arguments.plain || !can_draw()) {
        (true, _) => Form::Json,
        (false, true) => Form::Lines,
        (false, false) => Form::View,
    };
    let clock = Clock::start();
    let interrupts = Interrupts::listen().map_err(|error| DemoError::Io("can't listen for signals", error))?;
    let (events, told) = Events::channel();
    let mut reporter = Reporter::new(form);
    let mut roles = start(&arguments, clock, &events)?;
    let mut stage = Stage::new(told, interrupts, form)?;
    let ended = stage.watch(&arguments, &mut reporter, &mut roles).await;
    let stopped = roles.stop().await;
    stage.finish(events, &mut reporter).await?;
    let statistics = roles.handle.statistics(clock.now());
    let summary = Summary {
        blocks: stage.blocks,
        tip_height: roles.chain.height().await.unwrap_or_default(),
        shares_accepted: statistics.accepted,
        shares_rejected: statistics.rejected,
        seconds: reporter.state().started.elapsed().as_secs_f64(),
    };
    reporter.tell(&Event::Summary(summary)).map_err(|error| DemoError::Io("standard output", error))?;
    ended.and(stopped)?;
    stage.rejected.map_or(Ok(()), |reason| Err(DemoError::Rejected(reason)))
}

/// Whether standard output is a terminal that has lines and columns, and moves its cursor.
fn can_draw() -> bool {
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    io::stdout().is_terminal() && !dumb && in_foreground() && View::has_room()
}

/// Whether the terminal is ours: who draws on it from the background, behind `&` or `timeout`, is stopped by the system at once.
#[cfg(unix)]
fn in_foreground() -> bool {
    rustix::termios::tcgetpgrp(io::stdout()).is_ok_and(|group| group == rustix::process::getpgrp())
}

#[cfg(not(unix))]
const fn in_foreground() -> bool {
    true
}

/// Starts all roles; each knows the others by their URL only.
fn start(arguments: &DemoArguments, clock: Clock, events: &Events) -> Result<Roles, DemoError> {
    let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let stop = [(); 3].map(|()| Shutdown::new(clock));
    let [stop_miners, stop_pool, stop_provider] = stop.clone();

    let (method, cores) = (Method::fastest(), miner::threads(arguments.threads));
    let rate_of_a_thread = miner::measure(method);
    #[allow(clippy::cast_precision_loss, reason = "nobody has 2^53 cores")]
    let rate = rate_of_a_thread * cores.get() as f64;
    #[allow(clippy::cast_precision_loss, reason = "hashes per block are at most 2^40")]
    let hashes = arguments.hashes_per_block.map_or(rate * SECONDS_PER_BLOCK, |hashes| hashes as f64);
    let target = Target::from_expected_hashes(hashes).unwrap_or(Target::MAX);

    let settings = Settings { seed: CHAIN_SEED, target, file: None, export: arguments.blocks_dir.clone() };
    let chain = Chain::open(settings, clock.wall().as_secs()).map_err(DemoError::Chain)?;
    let chain = Embedded::start(chain, REFRESH, clock).map_err(DemoError::Template)?;
    let provider = ProviderSettings {
        listener: Listener::bind(any_port, LimitsConfig::default().gate(), clock).map_err(DemoError::Listen)?,
        issuer: issuer()?,
        source: TemplateSource::Chain(chain.clone()),
        limits: LimitsConfig::default(),
    }
    .start(clock, events.clone(), stop_provider)
    .map_err(DemoError::Provider)?;
    events.tell(Event::Listening { role: "provider", url: provider.url.clone() });

    let (store, directory) = store(arguments.store.clone())?;
    let pool = PoolSettings {
        listen: any_port,
        issuer: issuer()?,
        provider: remote::server("provider", &provider.url, CipherList::default()).map_err(DemoError::Url)?,
        store,
        payouts: vec![(ScriptBuf::new_p2wpkh(&WPubkeyHash::hash(b"adit demo")).into_bytes(), 1)],
        tag: b"/adit demo/".to_vec(),
        shares_per_minute: SHARES_PER_MINUTE,
        easiest_target: Target::MAX,
        limits: LimitsConfig::default(),
    }
    .start(clock, events.clone(), stop_pool)
    .map_err(DemoError::Pool)?;
    events.tell(Event::Listening { role: "pool", url: pool.url.clone() });

    let mut roles = Roles {
        provider: JoinSet::new(),
        pool: JoinSet::new(),
        miners: JoinSet::new(),
        stop,
        handle: pool.handle.clone(),
        chain,
        _directory: directory,
    };
    let total = Arc::new(AtomicU64::new(0));
    for number in 1..=usize::from(arguments.devices) {
        let threads = share_of(cores, number, usize::from(arguments.devices));
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            reason = "an estimate for the wire's F32"
        )]
        let nominal_hash_rate = (rate_of_a_thread * threads.get() as f64) as f32;
        let miner = MinerSettings {
            server: remote::server("pool", &pool.url, CipherList::default()).map_err(DemoError::Url)?,
            user: format!("demo.{number}"),
            name: format!("device {number}"),
            threads,
            method,
            nominal_hash_rate,
            sums: false,
        };
        let (events, total, stop) = (events.clone(), Arc::clone(&total), stop_miners.clone());
        roles.miners.spawn(async move { miner.run(clock, events, total, stop).await.map_err(DemoError::Miner) });
    }
    roles.provider.spawn(async { provider.serve().await.map_err(DemoError::Provider) });
    roles.pool.spawn(async { pool.serve().await.map_err(DemoError::Pool) });
    let events = events.clone();
    roles.miners.spawn(async move {
        tokio::select! {
            () = miner::report_rate(total, events, || "no device has work") => {}
            () = stop_miners.started() => {}
        }
        Ok(())
    });
    Ok(roles)
}

/// Where the share store is: where the person says, or in a directory that goes with the demo.
fn store(wanted: Option<PathBuf>) -> Result<(PathBuf, Option<tempfile::TempDir>), DemoError> {
    if let Some(path) = wanted {
        return Ok((path, None));
    }
    let directory = tempfile::tempdir().map_err(|error| {
        DemoError::Io(
            "no temporary directory for the share store; name a file with --store, or another directory in TMPDIR",
            error,
        )
    })?;
    Ok((directory.path().join("shares.redb"), Some(directory)))
}

/// An authority of its own for each server.
fn issuer() -> Result<Issuer, DemoError> {
    Ok(Issuer {
        authority: keys::authority(Secret::from_bytes(entropy::<Tokio>().map_err(DemoError::Entropy)?)),
        validity: 3_600,
        profiles: Policy::default(),
        setup: SetupPolicy::new(0),
        idle: None,
    })
}

/// The threads of device `number` of `devices`, so that together they are as many as there are cores; at least one each.
fn share_of(cores: NonZeroUsize, number: usize, devices: usize) -> NonZeroUsize {
    let extra = usize::from(number <= cores.get() % devices);
    NonZeroUsize::new(cores.get() / devices + extra).unwrap_or(NonZeroUsize::MIN)
}

impl Roles {
    /// A role that ended although nobody asked it to.
    async fn ended(&mut self) -> DemoError {
        let ended = tokio::select! {
            Some(ended) = self.miners.join_next() => ended,
            Some(ended) = self.pool.join_next() => ended,
            Some(ended) = self.provider.join_next() => ended,
        };
        match ended {
            Ok(Ok(())) => DemoError::Interrupted,
            Ok(Err(error)) => error,
            Err(error) => DemoError::Panicked(error),
        }
    }

    /// Ends all roles in order, those first that depend on others, so that nothing that was found is lost.
    async fn stop(&mut self) -> Result<(), DemoError> {
        let mut outcome = Ok(());
        for (stop, tasks) in self.stop.iter().zip([&mut self.miners, &mut self.pool, &mut self.provider]) {
            stop.start(GRACE);
            while let Some(ended) = tasks.join_next().await {
                let ended = ended.map_err(DemoError::Panicked).and_then(|ended| ended);
                outcome = outcome.and(ended);
            }
        }
        outcome
    }
}

/// What the person sees, and what came of it.
struct Stage {
    told: Told,
    order: Order,
    interrupts: Interrupts,
    view: Option<View>,
    blocks: u32,
    rejected: Option<String>,
}

impl Stage {
    fn new(told: Told, interrupts: Interrupts, form: Form) -> Result<Self, DemoError> {
        let view = (form == Form::View).then(View::open).transpose();
        let view = view.map_err(|error| DemoError::Io("can't draw in this terminal; try --plain", error))?;
        Ok(Self { told, order: Order::default(), interrupts, view, blocks: 0, rejected: None })
    }

    /// Shows events until all blocks are found, a block is rejected, a role ends, the time is over or the person has enough.
    async fn watch(
        &mut self,
        arguments: &DemoArguments,
        reporter: &mut Reporter,
        roles: &mut Roles,
    ) -> Result<(), DemoError> {
        let limit = tokio::time::sleep(Duration::from_secs(arguments.time_limit));
        tokio::pin!(limit);
        let mut frames = tokio::time::interval(FRAME);
        while self.blocks < arguments.blocks && self.rejected.is_none() {
            tokio::select! {
                Some(event) = self.told.next() => {
                    if let Some(event) = self.order.take(event, Instant::now()) {
                        self.tell(&event, reporter)?;
                    }
                }
                () = sleep_until(self.order.due().unwrap_or_else(Instant::now)), if self.order.due().is_some() => self.release(reporter)?,
                _ = frames.tick(), if self.view.is_some() => {
                    if self.draw(reporter)? {
                        return Err(DemoError::Interrupted);
                    }
                }
                ended = roles.ended() => return Err(ended),
                () = &mut limit => return Err(DemoError::TimeLimit(arguments.time_limit)),
                () = self.interrupts.next() => return Err(DemoError::Interrupted),
            }
        }
        Ok(())
    }

    /// Tells what was held for its order.
    fn release(&mut self, reporter: &mut Reporter) -> Result<(), DemoError> {
        self.order.release().try_for_each(|event| self.tell(&event, reporter))
    }

    fn tell(&mut self, event: &Event, reporter: &mut Reporter) -> Result<(), DemoError> {
        match event {
            Event::BlockAccepted { .. } => self.blocks += 1,
            Event::BlockRejected { reason } | Event::BlockUnanswered { reason } => self.rejected = Some(reason.clone()),
            _ => {}
        }
        reporter.tell(event).map_err(|error| DemoError::Io("standard output", error))
    }

    /// Draws the view; true when the person wants to end.
    fn draw(&mut self, reporter: &Reporter) -> Result<bool, DemoError> {
        let Some(view) = &mut self.view else { return Ok(false) };
        view.draw(reporter.state())
            .and_then(|()| View::wants_to_quit())
            .map_err(|error| DemoError::Io("the terminal", error))
    }

    /// Shows what is left to tell, and gives the terminal back.
    async fn finish(&mut self, events: Events, reporter: &mut Reporter) -> Result<(), DemoError> {
        drop(events);
        while let Ok(Some(event)) = tokio::time::timeout(FRAME, self.told.next()).await {
            if let Some(event) = self.order.take(event, Instant::now()) {
                self.tell(&event, reporter)?;
            }
        }
        self.release(reporter)?;
        self.draw(reporter)?;
        self.view = None;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_share_the_cores() {
        let shares = |cores, devices| -> Vec<usize> {
            (1..=devices).map(|number| share_of(NonZeroUsize::new(cores).unwrap(), number, devices).get()).collect()
        };
        assert_eq!(shares(2, 2), [1, 1]);
        assert_eq!(shares(8, 3), [3, 3, 2]);
        assert_eq!(shares(2, 3), [1, 1, 1]);
    }
}
