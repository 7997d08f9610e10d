//! A mining device over TCP: one [`Device`] of the core, its link kept up, and a seam for whatever hashes.
//!
//! Work goes out through a watch channel, so the hasher sees the newest only; solutions come back through a bounded queue. Which
//! values of a header are searched, and by what, is the hasher's business.

mod run;

use core::fmt;

use futures_lite::future::or;

use super::shutdown::Shutdown;
use super::upstream::{Upstream, UpstreamState};
use super::{Runtime, broadcast, queue, watch};
use crate::crypto::Provider as Crypto;
use crate::mining::client::{Solution, Statistics, Work};
pub use crate::role::device::ConfigError;
use crate::role::device::{Device, DeviceConfig};
pub use crate::role::news::DeviceNews;

/// The hasher's and the owner's side of a device: clones are handles on the same one.
#[derive(Clone, Debug)]
pub struct DeviceHandle {
    work: watch::Receiver<Option<Work>>,
    statistics: watch::Receiver<Statistics>,
    link: watch::Receiver<UpstreamState>,
    hash_rate: watch::Sender<f32>,
    solutions: queue::Sender<Solution>,
    news: broadcast::InactiveReceiver<DeviceNews>,
}

impl DeviceHandle {
    /// What to search: the newest work, `None` while there is none. Whenever it changes the old one is worth nothing, or less than
    /// the new one.
    #[must_use]
    pub fn work(&self) -> watch::Receiver<Option<Work>> {
        self.work.clone()
    }

    /// Where solutions go. The queue is short: a hasher that finds faster than the link takes has too easy a target, and waits or drops
    /// what it finds.
    #[must_use]
    pub fn solutions(&self) -> queue::Sender<Solution> {
        self.solutions.clone()
    }

    /// Counts of all connections so far.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        *self.statistics.borrow()
    }

    /// Where the connection stands, now and from now on.
    #[must_use]
    pub fn link(&self) -> watch::Receiver<UpstreamState> {
        self.link.clone()
    }

    /// What happens from now on, for logs and views. A subscriber that falls behind misses the oldest news and hears how many.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<DeviceNews> {
        self.news.activate_cloned()
    }

    /// The hash rate as it is, in hashes a second, which the server is told.
    pub fn set_hash_rate(&self, hash_rate: f32) {
        self.hash_rate.send_replace(hash_rate);
    }
}

/// A device that is ready to run.
pub struct DeviceTask<T, R: Runtime> {
    device: Device<T>,
    upstream: Upstream<R>,
    /// The change of the device up to which `work` is told.
    changes: u32,
    work: watch::Sender<Option<Work>>,
    statistics: watch::Sender<Statistics>,
    hash_rate: watch::Receiver<f32>,
    solutions: queue::Receiver<Solution>,
    /// A solution that waits for room.
    waiting: Option<Solution>,
    news: broadcast::Sender<DeviceNews>,
}

impl<T, R: Runtime> fmt::Debug for DeviceTask<T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceTask").field("upstream", &self.upstream).finish_non_exhaustive()
    }
}

impl<T: AsRef<str>, R: Runtime> DeviceTask<T, R> {
    /// A device and the handles on it. `waiting` is how many solutions wait at most, `news` how many news a subscriber may be behind.
    ///
    /// An error when the configuration holds a text that no server can be told.
    pub fn new(
        config: DeviceConfig<T>,
        upstream: Upstream<R>,
        waiting: usize,
        news: usize,
    ) -> Result<(Self, DeviceHandle), ConfigError> {
        config.check()?;
        let device = Device::new(config);
        let (work, work_seen) = watch::channel(None);
        let (statistics, statistics_seen) = watch::channel(*device.statistics());
        let (set_hash_rate, hash_rate) = watch::channel(device.config().nominal_hash_rate);
        let (sender, solutions) = queue::channel(waiting);
        let (mut news, listener) = broadcast::broadcast(news.max(1));
        // Who falls behind misses the oldest.
        news.set_overflow(true);
        let handle = DeviceHandle {
            work: work_seen,
            statistics: statistics_seen,
            link: upstream.watch(),
            hash_rate: set_hash_rate,
            solutions: sender,
            news: listener.deactivate(),
        };
        let changes = device.changes();
        let task = Self { device, upstream, changes, work, statistics, hash_rate, solutions, waiting: None, news };
        Ok((task, handle))
    }

    /// Keeps the device connected and mining until the shutdown is over.
    ///
    /// When it starts, hashing stops (there is no work any more), what was found is sent, and the link is closed in order as
    /// soon as every share has its answer.
    ///
    /// Dropping the future drops the connection, and the device with it.
    pub async fn run<P: Crypto>(mut self, shutdown: Shutdown<R::Clock>) {
        or(self.connections::<P>(&shutdown), shutdown.over()).await;
        // If that was cut off in a connection, what was not answered is lost.
        self.device.reset();
        self.publish(true);
    }
}
