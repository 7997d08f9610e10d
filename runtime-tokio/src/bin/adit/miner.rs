//! The miner: a device of the core, hashed for by this machine's cores.
//!
//! What is hashed when is [`Rolling`]'s; how, the [`Engine`]'s.

use std::fmt;
use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use adit::mining::client::Statistics;
use adit::mining::lanes::Midstate;
use adit::role::device::{ConfigError, DeviceConfig};
use adit_native::crypto::Fastest;
use adit_tokio::broadcast::{self, RecvError};
use adit_tokio::clock::Clock;
use adit_tokio::device::{DeviceHandle, DeviceNews, DeviceTask};
use adit_tokio::link::LinkSettings;
use adit_tokio::shutdown::Shutdown;
use adit_tokio::upstream::{Server, Upstream, UpstreamConfig, UpstreamState};
use tokio::sync::{Notify, mpsc};

use crate::event::Event;
use crate::hash::{Engine, Method};
use crate::links;
use crate::report::Events;
use crate::rolling::Rolling;
use crate::sums::{Reasons, Shares};

/// How long a miner measures itself when it is not told its hash rate.
const MEASURE: Duration = Duration::from_millis(200);

/// Solutions that may wait for the link.
const SOLUTIONS: usize = 64;

/// News that a watcher may be behind.
const NEWS: usize = 256;

/// The most hashing threads: more than any machine has cores, and few enough to be started.
pub(crate) const MOST_THREADS: usize = 1_024;

/// How often shares are summed up.
const SUM_EVERY: Duration = Duration::from_secs(10);

/// How often the hash rate is told.
const RATE_EVERY: Duration = Duration::from_secs(1);

/// What a miner is made of, with all settings checked.
pub(crate) struct MinerSettings {
    /// The pool.
    pub(crate) server: Server,
    /// Account and worker.
    pub(crate) user: String,
    /// What the device is called in events.
    pub(crate) name: String,
    /// Hashing threads.
    pub(crate) threads: NonZeroUsize,
    /// How headers are hashed.
    pub(crate) method: Method,
    /// Hashes a second to announce.
    pub(crate) nominal_hash_rate: f32,
    /// Whether it tells its hash rate and its rejected shares, and sums its shares up. Where several miners count their hashes together, beside the pool that
    /// tells of each share, others do.
    pub(crate) sums: bool,
}

/// Why a miner ended before its shutdown.
#[derive(Debug)]
pub(crate) enum MinerError {
    /// The pool cannot be told who this is.
    Identity(ConfigError),
    /// Its threads can't be started.
    Threads(io::Error),
    /// The task that hands out headers failed.
    Hashing(tokio::task::JoinError),
}

impl fmt::Display for MinerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Identity(error) => write!(f, "the miner cannot be described to a pool: {error}"),
            Self::Threads(error) => write!(f, "can't start hashing threads: {error}; try fewer `threads`"),
            Self::Hashing(error) => write!(f, "the task that hands out headers failed: {error}"),
        }
    }
}

impl std::error::Error for MinerError {}

/// The threads that a setting asks for: 0 is one for each core.
pub(crate) fn threads(setting: usize) -> NonZeroUsize {
    NonZeroUsize::new(setting).unwrap_or_else(|| std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN))
}

/// Hashes a second that this method reaches on one core. Takes [`MEASURE`].
pub(crate) fn measure(method: Method) -> f64 {
    const BATCH: u32 = 4_096;
    let midstate = Midstate::new(&[0x5a; 80]);
    let (start, mut done, mut found) = (Instant::now(), 0_u32, Vec::new());
    while start.elapsed() < MEASURE {
        // One hash in 2^32 has so small a top, so next to nothing is found.
        method.search(&midstate, 0, done, BATCH, &mut found);
        found.clear();
        done = done.wrapping_add(BATCH);
    }
    f64::from(done) / start.elapsed().as_secs_f64()
}

impl MinerSettings {
    /// Mines until the shutdown is over. Hashes are counted in `hashes`.
    pub(crate) async fn run(
        self,
        clock: Clock,
        events: Events,
        hashes: Arc<AtomicU64>,
        shutdown: Shutdown,
    ) -> Result<(), MinerError> {
        let (found, results) = mpsc::channel(64);
        let engine = Engine::start(self.threads, self.method, &found).map_err(MinerError::Threads)?;
        let config = DeviceConfig {
            nominal_hash_rate: self.nominal_hash_rate,
            ..DeviceConfig::new(
                self.user.clone(),
                concat!("adit ", env!("CARGO_PKG_VERSION")).to_owned(),
                format!("{} x {}", self.threads, std::env::consts::ARCH),
                self.method.to_string(),
                String::new(),
            )
        };
        let upstream = Upstream::new(UpstreamConfig::new(self.server), Arc::new(LinkSettings::new(clock, 2)));
        let (device, handle) = DeviceTask::new(config, upstream, SOLUTIONS, NEWS).map_err(MinerError::Identity)?;
        tokio::spawn(links::watch(self.name.clone(), "pool".into(), handle.link(), events.clone(), shutdown.clone()));
        let rate_events = events.clone();
        let mut teller = Teller {
            name: self.name,
            events,
            device: handle.clone(),
            hashes: Arc::clone(&hashes),
            reasons: Reasons::default(),
            begin: Mark::default(),
            last: Mark::default(),
            sums: self.sums,
        };
        let (news, end) = (handle.subscribe(), Arc::new(Notify::new()));
        let ending = Arc::clone(&end);
        let telling = tokio::spawn(async move {
            teller.tell(news, &ending).await;
            teller
        });
        let rate = self.sums.then(|| {
            let (hashes, handle) = (Arc::clone(&hashes), handle.clone());
            let had_work = Arc::clone(&hashes);
            let why = move || idle(&handle.link().borrow(), had_work.load(Ordering::Relaxed) > 0);
            tokio::spawn(report_rate(hashes, rate_events, why))
        });
        let rolling = Rolling::new(engine, clock, hashes);
        let hashing = tokio::spawn(rolling.run(handle.work(), results, handle.solutions()));
        device.run::<Fastest>(shutdown).await;
        if let Some(rate) = rate {
            rate.abort();
        }
        end.notify_one();
        // It ends by itself, for nobody gives it work any more; its threads with it.
        let hashed = hashing.await.map_err(MinerError::Hashing);
        // All hashes are counted now.
        if let Ok(mut teller) = telling.await {
            teller.sum(true);
        }
        hashed
    }
}

/// Where a stretch of time began.
#[derive(Clone, Copy)]
struct Mark {
    at: Instant,
    counts: Statistics,
    hashes: u64,
}

impl Default for Mark {
    /// The start: nothing has been counted.
    fn default() -> Self {
        Self { at: Instant::now(), counts: Statistics::default(), hashes: 0 }
    }
}

/// Turns the device's news into warnings and sums of shares.
struct Teller {
    name: String,
    events: Events,
    device: DeviceHandle,
    hashes: Arc<AtomicU64>,
    reasons: Reasons,
    begin: Mark,
    last: Mark,
    sums: bool,
}

impl Teller {
    /// Tells until it is to end and has heard all that was told before.
    async fn tell(&mut self, mut news: broadcast::Receiver<DeviceNews>, end: &Notify) {
        let mut ticks = tokio::time::interval(SUM_EVERY);
        // The first is at once.
        ticks.tick().await;
        loop {
            let news = tokio::select! {
                biased;
                _ = ticks.tick() => {
                    self.sum(false);
                    continue;
                }
                news = news.recv() => news,
                () = end.notified() => return,
            };
            match news {
                Ok(news) => self.hear(&news),
                // The reasons of what was missed are counted as others.
                Err(RecvError::Overflowed(_)) => {}
                Err(RecvError::Closed) => return,
            }
        }
    }

    fn hear(&mut self, news: &DeviceNews) {
        let name = &self.name;
        let message = match news {
            DeviceNews::OpenRefused { code } => format!("{name}: the pool refuses to open a channel: {code}"),
            DeviceNews::ChannelClosed { code } => format!("{name}: the pool closed the channel: {code}"),
            DeviceNews::Rejected { code, .. } => {
                self.reasons.add(code);
                if self.sums {
                    self.events.tell(Event::ShareRejected { user: name.clone(), reason: code.clone() });
                }
                return;
            }
            _ => return tracing::debug!(%name, ?news, "device"),
        };
        self.events.tell(Event::Warning { message });
    }

    /// Sums up what there was since the last time, if there was anything, or the whole run.
    fn sum(&mut self, whole_run: bool) {
        let now =
            Mark { at: Instant::now(), counts: self.device.statistics(), hashes: self.hashes.load(Ordering::Relaxed) };
        let before = if whole_run { self.begin } else { std::mem::replace(&mut self.last, now) };
        let since = |count: fn(&Statistics) -> u64| count(&now.counts).saturating_sub(count(&before.counts));
        let rejected = since(|counts| counts.rejected);
        let unanswered = since(|counts| counts.lost);
        let (submitted, accepted) = (since(|counts| counts.submitted), since(|counts| counts.accepted));
        if !self.sums || !whole_run && submitted + accepted + rejected + unanswered == 0 {
            return;
        }
        let seconds = (now.at - before.at).as_secs_f64().max(0.001);
        // Fewer than 2^53 hashes, and difficulties, in any run of which somebody looks at the last digit.
        #[allow(clippy::cast_precision_loss, reason = "sums for the eye")]
        let (hashes, difficulty) =
            (now.hashes.wrapping_sub(before.hashes) as f64, since(|counts| counts.difficulty) as f64);
        self.events.tell(Event::Shares(Shares {
            role: "miner",
            whole_run,
            submitted: Some(submitted),
            accepted,
            rejected,
            reasons: if whole_run { self.reasons.whole(rejected) } else { self.reasons.take(rejected) },
            unanswered: Some(unanswered),
            difficulty,
            hashes_per_second: hashes / seconds,
            channels: None,
            seconds,
        }));
    }
}

/// Why a miner with this link to its pool has no work.
fn idle(link: &UpstreamState, had_work: bool) -> &'static str {
    match link {
        UpstreamState::Open { .. } if had_work => "connected, waiting for a job",
        UpstreamState::Open { .. } => "connected, waiting for the pool's first job",
        UpstreamState::Idle | UpstreamState::Connecting { .. } => "connecting to the pool",
        UpstreamState::Waiting { .. } | UpstreamState::Stopped => "no connection to the pool",
    }
}

/// Tells the hash rate every second, for as long as somebody runs it; when there is none, why.
pub(crate) async fn report_rate(hashes: Arc<AtomicU64>, events: Events, why: impl Fn() -> &'static str) {
    let mut ticks = tokio::time::interval(RATE_EVERY);
    let (mut before, mut at) = (hashes.load(Ordering::Relaxed), Instant::now());
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let (now, time) = (hashes.load(Ordering::Relaxed), Instant::now());
        // Fewer than 2^53 hashes a second on any processor.
        #[allow(clippy::cast_precision_loss, reason = "a hash rate needs no more than 53 bits")]
        let done = now.wrapping_sub(before) as f64;
        let idle = (now == before).then(&why);
        events.tell(Event::HashRate { hashes_per_second: done / (time - at).as_secs_f64(), idle });
        (before, at) = (now, time);
    }
}
