//! The miner: a device of the core, hashed for by this machine's cores.
//!
//! What is hashed when is [`Rolling`]'s; how, the [`Engine`]'s.

use std::fmt;
use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use adit::mining::lanes::Midstate;
use adit::role::device::DeviceConfig;
use adit_native::crypto::Fastest;
use adit_tokio::broadcast::{self, RecvError};
use adit_tokio::clock::Clock;
use adit_tokio::device::{DeviceNews, DeviceTask};
use adit_tokio::link::LinkSettings;
use adit_tokio::shutdown::Shutdown;
use adit_tokio::upstream::{Server, Upstream, UpstreamConfig};
use tokio::sync::mpsc;

use crate::hash::{Engine, Method};
use crate::links;
use crate::report::{Event, Events};
use crate::rolling::Rolling;

/// How long a miner measures itself when it is not told its hash rate.
const MEASURE: Duration = Duration::from_millis(200);

/// Solutions that may wait for the link.
const SOLUTIONS: usize = 64;

/// News that a watcher may be behind.
const NEWS: usize = 256;

/// The most hashing threads: more than any machine has cores, and few enough to be started.
pub(crate) const MOST_THREADS: usize = 1_024;

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
}

/// Why a miner ended before its shutdown.
#[derive(Debug)]
pub(crate) enum MinerError {
    /// Its threads can't be started.
    Threads(io::Error),
    /// The task that hands out headers failed.
    Hashing(tokio::task::JoinError),
}

impl fmt::Display for MinerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
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
        let (device, handle) = DeviceTask::new(config, upstream, SOLUTIONS, NEWS);
        tokio::spawn(links::watch(self.name.clone(), "pool".into(), handle.link(), events.clone(), shutdown.clone()));
        let telling = tokio::spawn(tell(self.name, handle.subscribe(), events));
        let rolling = Rolling::new(engine, clock, hashes);
        let hashing = tokio::spawn(rolling.run(handle.work(), results, handle.solutions()));
        device.run::<Fastest>(shutdown).await;
        telling.abort();
        // It ends by itself, for nobody gives it work any more; its threads with it.
        hashing.await.map_err(MinerError::Hashing)
    }
}

/// Turns the device's news into warnings; its shares are the pool's to count.
async fn tell(name: String, mut news: broadcast::Receiver<DeviceNews>, events: Events) {
    loop {
        let message = match news.recv().await {
            Ok(DeviceNews::OpenRefused { code }) => format!("{name}: the pool opens no channel: {code}"),
            Ok(DeviceNews::ChannelClosed { code }) => {
                format!("{name}: the pool closed the channel: {code}")
            }
            Ok(news) => {
                tracing::debug!(%name, ?news, "device");
                continue;
            }
            Err(RecvError::Overflowed(_)) => continue,
            Err(RecvError::Closed) => return,
        };
        events.tell(Event::Warning { message });
    }
}

/// Tells the hash rate every second, for as long as somebody runs it.
pub(crate) async fn report_rate(hashes: Arc<AtomicU64>, events: Events) {
    let mut ticks = tokio::time::interval(RATE_EVERY);
    let (mut before, mut at) = (hashes.load(Ordering::Relaxed), Instant::now());
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let (now, time) = (hashes.load(Ordering::Relaxed), Instant::now());
        // Fewer than 2^53 hashes a second on any processor.
        #[allow(clippy::cast_precision_loss, reason = "a hash rate needs no more than 53 bits")]
        let done = now.wrapping_sub(before) as f64;
        events.tell(Event::HashRate { hashes_per_second: done / (time - at).as_secs_f64() });
        (before, at) = (now, time);
    }
}
