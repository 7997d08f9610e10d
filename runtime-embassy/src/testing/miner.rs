//! A device of a board, with a hasher in software: all of a board but its network.

use core::cell::{Cell, RefCell};
use core::convert::Infallible;
use core::time::Duration;
use std::boxed::Box;
use std::string::String;
use std::vec::Vec;

use adit::backoff::BackoffConfig;
use adit::mining::client::{Statistics, Work};
use adit::role::device::{DeviceConfig, Outcome};
use adit::time::UnixTime;
use embassy_futures::select::{Either, select};
use embassy_sync::blocking_mutex::raw::NoopRawMutex;

use super::house::House;
use super::lab::{GRACE, Lab, Task, until};
use super::{WALL, initiator};
use crate::clock::{WallClock, WithoutClock};
use crate::device::{Board, DeviceTask, News, Settings};
use crate::entropy::NoEntropy;
use crate::hashing::{Desk, Engine, Found, SoftwareEngine, serve};
use crate::link::LinkSettings;
use crate::net::Tcp;
use crate::upstream::{Server, UpstreamConfig};

/// Finds so many shares of each work and no more, so that none is on its way when the work changes.
struct Few {
    engine: SoftwareEngine,
    limit: u32,
    left: u32,
}

impl Engine for Few {
    type Error = Infallible;

    async fn start(&mut self, work: &Work) -> Result<(), Self::Error> {
        self.left = self.limit;
        self.engine.start(work).await
    }

    async fn stop(&mut self) -> Result<(), Self::Error> {
        self.engine.stop().await
    }

    async fn next(&mut self) -> Result<Found, Self::Error> {
        if self.left == 0 {
            return core::future::pending().await;
        }
        let found = self.engine.next().await?;
        self.left -= 1;
        Ok(found)
    }
}

/// How a board is.
#[derive(Clone, Copy)]
pub(crate) struct Settled {
    pub(crate) url: &'static str,
    /// Shares of each work.
    pub(crate) limit: u32,
    /// What its clock is set to.
    pub(crate) wall: Option<UnixTime>,
    pub(crate) without_clock: WithoutClock,
    pub(crate) broken_entropy: bool,
    /// The device's future is dropped after so many polls that wait, and begun anew.
    pub(crate) chop: Option<u32>,
}

impl Default for Settled {
    fn default() -> Self {
        Self {
            url: "stratum2+tcp://10.0.0.2:3333",
            limit: u32::MAX,
            wall: Some(WALL),
            without_clock: WithoutClock::Refuse,
            broken_entropy: false,
            chop: None,
        }
    }
}

/// What tasks and test share.
struct Parts {
    wall: WallClock<NoopRawMutex>,
    desk: Desk<NoopRawMutex>,
    entropy: Cell<u64>,
    broken_entropy: Cell<bool>,
    news: RefCell<Vec<String>>,
    accepted: Cell<u64>,
    sent_to: RefCell<Vec<u16>>,
    stopped: Cell<bool>,
}

impl Parts {
    fn hear(&self, news: &News<'_>) {
        let text = match news {
            News::Connecting(endpoint) => std::format!("to {}:{}", endpoint.host(), endpoint.port()),
            News::Secured(_, period) => std::format!("{period:?}"),
            News::Outcome(Outcome::Accepted { count, .. }) => return self.accepted.set(self.accepted.get() + count),
            News::Outcome(Outcome::Reconnect(endpoint)) => {
                return self.sent_to.borrow_mut().push(endpoint.port());
            }
            News::Ended(why, _) => std::format!("ended: {why}"),
            _ => return,
        };
        self.news.borrow_mut().push(text);
    }

    /// Entropy that is different each time; enough for a test.
    fn fill(&self, bytes: &mut [u8]) -> Result<(), NoEntropy> {
        if self.broken_entropy.get() {
            return Err(NoEntropy);
        }
        self.entropy.set(self.entropy.get() + 1);
        bytes.fill(self.entropy.get().to_le_bytes()[0]);
        Ok(())
    }
}

/// A device that runs.
pub(crate) struct Miner {
    parts: &'static Parts,
    sent_to: Vec<u16>,
    task: Task<Statistics>,
}

impl Lab {
    /// A device at this pool, with a hasher that finds `limit` solutions at most for each work.
    pub(crate) fn mine(&self, house: &House, limit: u32) -> Miner {
        let url = std::format!("stratum2+tcp://10.0.0.2:{}", house.port()).leak();
        self.board(Settled { url, limit, ..Settled::default() })
    }

    /// A device of a board like this, which does not end with the test.
    pub(crate) fn board(&self, settled: Settled) -> Miner {
        let parts: &'static Parts = Box::leak(Box::new(Parts {
            wall: WallClock::new(),
            desk: Desk::new(),
            entropy: Cell::new(0),
            broken_entropy: Cell::new(settled.broken_entropy),
            news: RefCell::default(),
            accepted: Cell::new(0),
            sent_to: RefCell::default(),
            stopped: Cell::new(false),
        }));
        if let Some(wall) = settled.wall {
            parts.wall.set(wall);
        }
        let server = Server::from_url_without_authentication(settled.url).unwrap();
        let servers = Box::leak(Box::new([Server { connection: initiator(), ..server }]));
        let backoff = BackoffConfig { first: Duration::from_millis(10), ..BackoffConfig::default() };
        let settings = Box::leak(Box::new(Settings {
            upstream: UpstreamConfig { backoff, ..UpstreamConfig::new(servers) },
            without_clock: settled.without_clock,
            link: LinkSettings::DEFAULT,
        }));
        let (rx, tx) = (Box::leak(Box::new([0; 1024])), Box::leak(Box::new([0; 512])));
        let board = Board {
            network: Tcp::new(self.net.board, rx, tx),
            entropy: |bytes: &mut [u8]| parts.fill(bytes),
            wall: &parts.wall,
            desk: &parts.desk,
        };
        let config = DeviceConfig::new("account.worker", "test", "none", "0", "");
        let mut device = DeviceTask::<_, _, _>::new(config, settings, board);
        let task = self.spawn(async move {
            let stop = || until(|| parts.stopped.get());
            // How long the next future lasts.
            let mut polls = settled.chop;
            loop {
                let cut = async {
                    let Some(polls) = polls else { return core::future::pending().await };
                    for _ in 0..polls {
                        embassy_futures::yield_now().await;
                    }
                };
                if let Either::First(()) = select(device.run(stop(), |news| parts.hear(&news)), cut).await {
                    return *device.device().statistics();
                }
                polls = polls.zip(settled.chop).map(|(polls, more)| polls + more);
            }
        });
        self.spawn(async move {
            let mut engine = Few { engine: SoftwareEngine::new(1), limit: settled.limit, left: 0 };
            serve(&parts.desk, &mut engine).await
        });
        Miner { parts, sent_to: Vec::new(), task }
    }
}

impl Miner {
    /// Waits until so many shares were accepted in all.
    pub(crate) async fn has_accepted(&mut self, count: u64) {
        until(|| self.parts.accepted.get() >= count).await;
        self.sent_to.clone_from(&self.parts.sent_to.borrow());
    }

    /// The ports that it has been sent to.
    pub(crate) fn sent_to(&self) -> &[u16] {
        &self.sent_to
    }

    /// Waits for work on top of this block.
    pub(crate) async fn works_on(&self, prev_hash: [u8; 32]) {
        until(|| self.parts.desk.work().is_some_and(|work| work.prev_hash == prev_hash)).await;
    }

    /// Waits until there is no work.
    pub(crate) async fn rests(&self) {
        until(|| self.parts.desk.work().is_none()).await;
    }

    pub(crate) fn set_hash_rate(&self, hashes_per_second: f32) {
        self.parts.desk.set_hash_rate(hashes_per_second);
    }

    /// It is to end. How long it waits for answers is not for its owner to say.
    pub(crate) fn stop(&self, grace: Duration) {
        assert_eq!(grace, GRACE);
        self.parts.stopped.set(true);
    }

    /// Waits for the end of a device that was stopped, or stops it. Its counts of all connections.
    pub(crate) async fn end(self) -> Statistics {
        self.parts.stopped.set(true);
        self.task.wait().await
    }

    /// Sets the board's clock.
    pub(crate) fn set_clock(&self, wall: UnixTime) {
        self.parts.wall.set(wall);
    }

    pub(crate) fn mend_entropy(&self) {
        self.parts.broken_entropy.set(false);
    }

    /// How often there was news with these words.
    pub(crate) fn count(&self, what: &str) -> usize {
        self.parts.news.borrow().iter().filter(|news| news.contains(what)).count()
    }

    pub(crate) fn heard(&self, what: &str) -> bool {
        self.count(what) > 0
    }

    pub(crate) async fn hears(&self, what: &str) {
        until(|| self.heard(what)).await;
    }
}
