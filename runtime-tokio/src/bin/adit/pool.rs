//! The pool: the runtime's pool joined with the share store and the events.
//!
//! A share's way: accepted by the core, queued here in ticket order, committed by the store's thread, acknowledged. Nothing is
//! acknowledged that is not on disk, and a found block is written with its share.

#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use adit::mining::target::Target;
use adit::role::pool::{AcceptAll, Pool, PoolConfig, PoolEvent, PoolStatistics};
use adit::storage::Heap;
use adit::template::coinbase::Payout;
use adit::time::Instant;
use adit_native::crypto::Fastest;
use adit_native::hash::Method;
use adit_tokio::broadcast::{self, RecvError};
use adit_tokio::clock::Clock;
use adit_tokio::entropy::{EntropyError, entropy};
use adit_tokio::link::LinkSettings;
use adit_tokio::listen::{ListenError, Listener};
use adit_tokio::net::Tokio;
use adit_tokio::pool::{AcceptedShare, PoolHandle, PoolNews, PoolServeError, PoolSetup, TemplateNews, serve_pool};
use adit_tokio::shutdown::Shutdown;
use adit_tokio::upstream::{Server, Software, Upstream, UpstreamConfig};
use tokio::sync::oneshot;

use crate::blocks::{self, Blocks, Keeper};
use crate::config::LimitsConfig;
use crate::event::{Difficulty, Event};
use crate::identity::{IdentityError, Issuer};
use crate::links;
use crate::report::{Events, Flood};
use crate::store::{Queued, Retention, Share, Store, StoreError, Writer};
use crate::sums::{Reasons, Shares};

/// Shares that may wait for the store; while as many do, their connections wait too.
const STORE_QUEUE: usize = 4_096;

/// News that a watcher may be behind.
const NEWS: usize = 4_096;

/// How often shares are summed up.
const SUM_EVERY: Duration = Duration::from_secs(10);

/// Bytes at the start of every extranonce that are drawn anew at each start, so that work of before a restart is never given out again.
const RUN_PREFIX: usize = 4;

/// Buffers of each kind that wait for reuse.
const BUFFERS: usize = 1_024;

/// What a pool is made of, with all settings checked.
pub(crate) struct PoolSettings {
    /// Where devices connect; port 0 for any.
    pub(crate) listen: SocketAddr,
    /// Signs its certificates. Its setup policy is filled in here.
    pub(crate) issuer: Issuer,
    /// The template provider.
    pub(crate) provider: Server,
    /// File of the share store.
    pub(crate) store: PathBuf,
    /// Scripts to pay, with their weights.
    pub(crate) payouts: Vec<(Vec<u8>, u64)>,
    /// Bytes for the coinbase script.
    pub(crate) tag: Vec<u8>,
    /// What variable difficulty aims at.
    pub(crate) shares_per_minute: f64,
    /// The easiest target of a channel.
    pub(crate) easiest_target: Target,
    /// What one process takes on.
    pub(crate) limits: LimitsConfig,
}

/// Why there is no pool, or no longer.
#[derive(Debug)]
pub(crate) enum PoolError {
    /// No certificate.
    Identity(IdentityError),
    /// The port can't be had.
    Listen(ListenError),
    /// The share store.
    Store(StoreError),
    /// The store's thread can't be started.
    Thread(io::Error),
    /// Payouts or tag don't make a coinbase.
    Config(adit::role::pool::ConfigError),
    /// The system gave no entropy.
    Entropy(EntropyError),
    /// Serving failed.
    Serve(PoolServeError),
}

impl fmt::Display for PoolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Identity(error) => error.fmt(f),
            Self::Listen(error) => write!(f, "setting `listen`: {error}"),
            Self::Store(error) => error.fmt(f),
            Self::Thread(error) => write!(f, "can't start the share store's thread: {error}"),
            Self::Config(error) => write!(f, "section `payout`: {error}"),
            Self::Entropy(error) => error.fmt(f),
            Self::Serve(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for PoolError {}

/// A pool that listens, before it serves.
pub(crate) struct ReadyPool {
    /// The URL for devices.
    pub(crate) url: String,
    /// Its owner's handle.
    pub(crate) handle: PoolHandle,
    setup: PoolSetup,
    writer: Writer,
    blocks: Blocks,
    keeper: Keeper,
    events: Events,
    shutdown: Shutdown,
}

impl PoolSettings {
    /// Listens, opens the store, restores the books. Needs a tokio runtime.
    pub(crate) fn start(self, clock: Clock, events: Events, shutdown: Shutdown) -> Result<ReadyPool, PoolError> {
        let listener = Listener::bind(self.listen, self.limits.gate(), clock).map_err(PoolError::Listen)?;
        // What is wrong with the settings comes out before there is a store of a pool that never ran.
        self.pool(0)?;
        let mut store = Store::open(&self.store, Retention::default()).map_err(PoolError::Store)?;
        let mut pool = self.pool(store.next_ticket().saturating_sub(1))?;
        for (account, total) in store.reader().totals().map_err(PoolError::Store)? {
            if pool.restore_user(&account, total.shares, total.difficulty()).is_none() {
                tracing::warn!("more users in the store than the pool keeps in memory; the rest is in the store only");
                break;
            }
        }
        let left = store.held().map_err(PoolError::Store)?;
        let held = blocks::restore(&mut pool, left, clock.wall(), &events);
        store.hold(&held, &[]).map_err(PoolError::Store)?;
        let blocks = Blocks::new(events.clone());
        blocks.earlier(store.reader().fates(blocks::COMPARED).map_err(PoolError::Store)?, &held);
        let handle = PoolHandle::new(pool, AcceptAll, NEWS);
        let mut issuer = self.issuer;
        issuer.setup = handle.setup_policy();
        issuer.idle = self.limits.idle();
        let url = issuer.url(listener.address());
        let responder = issuer.start(clock, shutdown.clone()).map_err(PoolError::Identity)?;
        let settings = LinkSettings { frames: self.limits.frames(), ..LinkSettings::new(clock, BUFFERS) };
        let upstream_links = Arc::new(LinkSettings::new(clock, 1).with_large_input());
        let provider = Upstream::new(UpstreamConfig::new(self.provider), upstream_links);
        tokio::spawn(links::watch(
            "pool".into(),
            "provider".into(),
            provider.watch(),
            events.clone(),
            shutdown.clone(),
        ));
        let setup = PoolSetup {
            listeners: vec![listener],
            responder,
            links: Arc::new(settings),
            hasher: Arc::new(Method::fastest_for_shares()),
            provider,
            software: Software::default(),
            reconnect: None,
        };
        let (stored, telling) = (handle.clone(), blocks.clone());
        let writer = Writer::start(store, STORE_QUEUE, move |commit| {
            for ticket in commit.duplicates {
                tracing::warn!(ticket, "a share was in the store before and is not counted again");
            }
            stored.stored(commit.ticket);
            for (share, block) in commit.blocks() {
                telling.found(share, block, stored.with(|pool| !pool.has_provider()));
            }
        })
        .map_err(PoolError::Thread)?;
        let keeper = Keeper::new(writer.queue(), held);
        Ok(ReadyPool { url, handle, setup, writer, blocks, keeper, events, shutdown })
    }

    fn pool(&self, last_ticket: u64) -> Result<Pool<Heap>, PoolError> {
        let payouts: Vec<Payout<'_>> =
            self.payouts.iter().map(|(script, weight)| Payout { script_pubkey: script, weight: *weight }).collect();
        let run = entropy::<Tokio>().map_err(PoolError::Entropy)?;
        let mut config = PoolConfig::new(&payouts);
        config.tag = &self.tag;
        config.server_prefix = &run[..RUN_PREFIX];
        config.last_ticket = last_ticket;
        config.server.vardiff.shares_per_minute = self.shares_per_minute;
        config.server.easiest_target = self.easiest_target;
        config.server.max_channels = self.limits.channels_per_connection;
        config.limits.connections = self.limits.connections;
        config.limits.opens_per_second = NonZeroU32::new(self.limits.channel_opens_per_second);
        // Whoever comes back with all its devices opens all its channels at once.
        config.limits.open_burst = u32::try_from(self.limits.channels_per_connection).unwrap_or(u32::MAX);
        config.limits.shares_per_second = NonZeroU32::new(self.limits.shares_per_second);
        config.limits.share_burst = self.limits.share_burst;
        Pool::new(&config).map_err(PoolError::Config)
    }
}

impl ReadyPool {
    /// Serves until the shutdown is over and everything accepted is on disk.
    pub(crate) async fn serve(self) -> Result<(), PoolError> {
        let Self { handle, setup, writer, blocks, keeper, events, shutdown, .. } = self;
        let clock = setup.links.clock;
        let mut whole = Sum::begin(&handle, clock);
        let (news, told) = (handle.subscribe(), events.clone());
        let (pool, watched) = (handle.clone(), blocks.clone());
        let watcher =
            Watcher { handle: pool, events: told, clock, blocks: watched, keeper, reasons: Reasons::default() };
        let (end_watch, ending) = oneshot::channel();
        let watching = tokio::spawn(watcher.run(news, ending));
        // Without the store nothing may be acknowledged: when it fails the pool ends by itself, and the store says why.
        let served = serve_pool::<Fastest, Queued>(Tokio, setup, handle.clone(), writer.queue(), shutdown).await;
        let _gone = end_watch.send(());
        let mut reasons = watching.await.unwrap_or_default();
        if let Err(PoolServeError::Serve(_)) = served {
            // The pool is not to be asked any more. Its blocks are in the store with their shares.
            let _committed = writer.finish().await;
            return served.map_err(PoolError::Serve);
        }
        // Before anything else can fail: nobody else may have them.
        blocks::tell_unsent(&blocks::unsent(&handle), &events);
        let held = handle.with(|pool| blocks::held(pool));
        let mut store = writer.finish().await.map_err(PoolError::Store)?;
        // Also what the provider was told of: that it was written to the link's end does not say that it arrived.
        store.hold(&held, &blocks.fates()).map_err(PoolError::Store)?;
        whole.tell(&handle, &events, &mut reasons, true);
        served.map_err(PoolError::Serve)
    }
}

/// The share's place in the store's queue.
impl From<AcceptedShare> for Queued {
    fn from(accepted: AcceptedShare) -> Self {
        let share = record(&accepted);
        match accepted.block {
            Some(block) => Self::found(share, block),
            None => share.into(),
        }
    }
}

fn record(accepted: &AcceptedShare) -> Share {
    let share = &accepted.share;
    // Below 2^128 for every target that a share can meet in practice; the conversion saturates beyond.
    #[allow(clippy::cast_sign_loss, reason = "expected hashes are never negative")]
    let work = share.target.expected_hashes() as u128;
    Share {
        ticket: share.ticket,
        account: (*accepted.user).into(),
        connection: share.connection.serial(),
        channel: share.channel_id,
        job: share.job_id,
        nonce: share.header.nonce,
        ntime: share.header.ntime,
        version: share.header.version,
        extranonce: share.extranonce.as_slice().into(),
        hash: share.hash,
        work,
        time: accepted.at,
        block: share.block.is_some(),
    }
}

/// What strangers can cause as often as they like.
struct Floods {
    shares: Flood,
    channels: Flood,
    links: Flood,
}

impl Floods {
    fn new(clock: Clock) -> Self {
        Self {
            shares: Flood::new("rejected shares", clock),
            channels: Flood::new("refused channels", clock),
            links: Flood::new("connections and disconnections", clock),
        }
    }

    fn pass(&mut self, news: &PoolNews, events: &Events) -> bool {
        match news {
            PoolNews::Rejected { .. } => self.shares.pass(events),
            PoolNews::Downstream(PoolEvent::Refused { .. }) => self.channels.pass(events),
            PoolNews::Connected { .. } | PoolNews::Disconnected { .. } => self.links.pass(events),
            _ => true,
        }
    }
}

/// Where a stretch of time began, over which shares are summed up. The pool's own counts are taken: news may be missed.
struct Sum {
    clock: Clock,
    at: Instant,
    before: PoolStatistics,
}

impl Sum {
    fn begin(handle: &PoolHandle, clock: Clock) -> Self {
        let at = clock.now();
        Self { clock, at, before: handle.statistics(at) }
    }

    /// Tells what there was and begins anew; of a stretch of time only if there was anything.
    fn tell(&mut self, handle: &PoolHandle, events: &Events, reasons: &mut Reasons, whole_run: bool) {
        let Self { at, before, .. } = std::mem::replace(self, Self::begin(handle, self.clock));
        let (accepted, rejected) = (self.before.accepted - before.accepted, self.before.rejected - before.rejected);
        if accepted + rejected == 0 && !whole_run {
            return;
        }
        let (difficulty, seconds) =
            (self.before.difficulty - before.difficulty, self.at.saturating_since(at).as_secs_f64().max(0.001));
        let hashes_per_second = difficulty * 4_294_967_296.0 / seconds;
        events.tell(Event::Shares(Shares {
            role: "pool",
            whole_run,
            submitted: None,
            accepted,
            rejected,
            reasons: if whole_run { reasons.whole(rejected) } else { reasons.take(rejected) },
            unanswered: None,
            difficulty,
            hashes_per_second,
            channels: Some(self.before.channels),
            seconds,
        }));
    }
}

/// Turns the pool's news into events.
struct Watcher {
    handle: PoolHandle,
    events: Events,
    clock: Clock,
    blocks: Blocks,
    keeper: Keeper,
    reasons: Reasons,
}

impl Watcher {
    /// Watches until it is to end and has heard all that was told before; gives why shares were rejected.
    async fn run(mut self, mut news: broadcast::Receiver<PoolNews>, mut end: oneshot::Receiver<()>) -> Reasons {
        let mut floods = Floods::new(self.clock);
        let mut sum = Sum::begin(&self.handle, self.clock);
        let mut lossy = false;
        let mut ticks = tokio::time::interval(SUM_EVERY);
        // The first is at once.
        ticks.tick().await;
        loop {
            let news = tokio::select! {
                biased;
                _ = ticks.tick() => {
                    sum.tell(&self.handle, &self.events, &mut self.reasons, false);
                    self.keeper.settle(&self.handle, &self.blocks);
                    continue;
                }
                news = news.recv() => news,
                _ = &mut end => return self.reasons,
            };
            if matches!(news, Ok(PoolNews::Template(TemplateNews::Tip { .. }))) && !lossy {
                let message = self.handle.with(|pool| lost_blocks(pool));
                lossy = message.is_some();
                if let Some(message) = message {
                    self.events.tell(Event::Warning { message });
                }
            }
            match news {
                Ok(news) => {
                    self.note(&news);
                    if floods.pass(&news, &self.events) {
                        tell(&news, &self.events);
                    }
                }
                Err(RecvError::Overflowed(missed)) => {
                    tracing::debug!(missed, "the log is behind the pool");
                    self.keeper.found();
                    // The newest tip may be among them.
                    if let Some((prev_hash, height)) = self.handle.with(|pool| blocks::tip(pool)) {
                        self.tip(prev_hash, height);
                    }
                }
                Err(RecvError::Closed) => return self.reasons,
            }
        }
    }

    /// What is not for the eyes alone.
    fn note(&mut self, news: &PoolNews) {
        match news {
            PoolNews::Share(accepted) if accepted.block.is_some() => self.keeper.found(),
            PoolNews::Rejected { rejection, .. } => self.reasons.add(&rejection.reason.to_string()),
            PoolNews::Template(TemplateNews::Tip { prev_hash, template_id }) => {
                let height = self.handle.with(|pool| blocks::height_of_tip(pool, *template_id));
                self.tip(*prev_hash, height);
            }
            PoolNews::Template(TemplateNews::TipWithoutJob { prev_hash }) => self.tip(*prev_hash, None),
            _ => {}
        }
    }

    fn tip(&mut self, prev_hash: [u8; 32], height: Option<u32>) {
        self.blocks.tip(prev_hash, height);
        self.keeper.settle(&self.handle, &self.blocks);
    }
}

/// What the owner should know when the easiest share that the pool allows takes more hashes than a block.
fn lost_blocks(pool: &Pool<Heap>) -> Option<String> {
    let shared = pool.shared();
    let block = shared.book().prev_hash()?.network_target;
    let share = shared.config().easiest_target;
    (share < block).then(|| {
        let lost = 100.0 * (1.0 - block.expected_hashes() / share.expected_hashes());
        format!(
            "`shares.minimum_difficulty` is {}, a block's difficulty only {}: {lost:.0}% of the blocks are no share, so they are never sent and \
             lost. Set it lower, unless this is a test network where blocks are worth nothing",
            Difficulty(share.difficulty()),
            Difficulty(block.difficulty())
        )
    })
}

fn tell(news: &PoolNews, events: &Events) {
    match news {
        PoolNews::Share(AcceptedShare { share, user, .. }) => {
            let user = String::from_utf8_lossy(user).into_owned();
            events.tell(Event::ShareAccepted { user, difficulty: share.difficulty });
        }
        PoolNews::Rejected { rejection, user, .. } => {
            let user = String::from_utf8_lossy(user).into_owned();
            events.tell(Event::ShareRejected { user, reason: rejection.reason.to_string() });
        }
        PoolNews::Downstream(PoolEvent::Refused { connection, why }) => {
            tracing::info!(?connection, why = why.code(), "channel refused");
        }
        PoolNews::Downstream(event) => tracing::debug!(?event, "downstream"),
        PoolNews::Connected { peer, .. } => events.tell(links::came(peer, "pool")),
        PoolNews::Disconnected { peer, .. } => events.tell(links::went(peer, "pool")),
        PoolNews::Template(TemplateNews::Job { template_id, future }) => {
            events.tell(Event::Job { template_id: *template_id, new_tip: *future });
        }
        PoolNews::Template(TemplateNews::Tip { .. }) => {}
        PoolNews::Template(TemplateNews::TipWithoutJob { .. }) => events.tell(Event::Warning {
            message:
                "the network moved on, but the provider has sent no template for it; nothing that is mined now counts"
                    .into(),
        }),
        PoolNews::Template(TemplateNews::NoJob { template_id, why }) => {
            events.tell(Event::Warning { message: format!("no job could be made of template {template_id}: {why}") });
        }
        PoolNews::Template(TemplateNews::Unusable { template_id, why }) => {
            events.tell(Event::Warning { message: format!("template {template_id} can't be used: {why}") });
        }
        other => tracing::debug!(?other, "news"),
    }
}
