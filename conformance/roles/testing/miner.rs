//! A mining device with a hasher in software, on a runtime of a computer.

use std::{sync::Arc, time::Duration};

use adit::{
    backoff::BackoffConfig,
    crypto::RustCrypto,
    host::{
        queue::{Sender, TrySendError},
        watch,
    },
    mining::client::{Solution, Statistics, Work},
    role::device::DeviceConfig,
};

use super::{
    ends::initiator,
    house::House,
    lab::{Lab, Task, join, yield_now},
};
use crate::{
    broadcast,
    device::{DeviceHandle, DeviceNews, DeviceTask},
    shutdown::Shutdown,
    upstream::{Server, Upstream, UpstreamConfig, UpstreamState},
};

/// A device that runs.
pub(crate) struct Miner {
    handle: DeviceHandle,
    news: broadcast::Receiver<DeviceNews>,
    /// What the news say so far.
    accepted: u64,
    sent_to: Vec<u16>,
    shutdown: Shutdown,
    task: Task<()>,
}

impl Lab {
    /// A device at this pool, with a hasher that finds as fast as the queue takes, `limit` solutions at most for each work.
    pub(crate) fn mine(&self, house: &House, limit: u32) -> Miner {
        let server = Server { host: "127.0.0.1".into(), port: house.port(), connection: initiator() };
        let backoff = BackoffConfig { first: Duration::from_millis(2), ..BackoffConfig::default() };
        let config = UpstreamConfig { backoff, ..UpstreamConfig::new(server) };
        let upstream = Upstream::new(config, Arc::new(self.settings()));
        let device = DeviceConfig::new("account.worker", "test", "none", "0", "");
        let (task, handle) = DeviceTask::new(device, upstream, 4, 256).unwrap();
        let (news, shutdown) = (handle.subscribe(), self.shutdown());
        self.go(hash(handle.work(), handle.solutions(), limit));
        let task = self.spawn(task.run::<RustCrypto>(shutdown.clone()));
        Miner { handle, news, accepted: 0, sent_to: Vec::new(), shutdown, task }
    }
}

async fn hash(mut work: watch::Receiver<Option<Work>>, solutions: Sender<Solution>, limit: u32) {
    loop {
        let now = *work.borrow_and_update();
        if let Some(now) = now {
            let mut nonce = 0;
            let mut found = 0;
            while found < limit && !work.has_changed().unwrap_or(true) {
                let (version, ntime) = (now.version, now.min_ntime);
                if now.target.is_met_by(&now.header(version, ntime, nonce).hash()) {
                    match solutions.try_send(now.solution(version, ntime, nonce)) {
                        Ok(()) => found += 1,
                        Err(TrySendError::Full(_)) => yield_now().await,
                        Err(TrySendError::Closed(_)) => return,
                    }
                }
                nonce += 1;
            }
        }
        if work.changed().await.is_err() {
            return;
        }
    }
}

impl Miner {
    /// Waits until so many shares were accepted in all.
    pub(crate) async fn has_accepted(&mut self, count: u64) {
        while self.accepted < count {
            match self.news.recv().await.expect("the device lives") {
                DeviceNews::Accepted { count, .. } => self.accepted += count,
                DeviceNews::Reconnect { host, port } => {
                    assert_eq!(host, "127.0.0.1");
                    self.sent_to.push(port);
                }
                _ => {}
            }
        }
    }

    /// The ports that it has been sent to.
    pub(crate) fn sent_to(&self) -> &[u16] {
        &self.sent_to
    }

    /// Waits for work on top of this block.
    pub(crate) async fn works_on(&self, prev_hash: [u8; 32]) {
        let on_that = |work: &Option<Work>| work.is_some_and(|work| work.prev_hash == prev_hash);
        self.handle.work().wait_for(on_that).await.expect("the device lives");
    }

    /// Waits until there is no work.
    pub(crate) async fn rests(&self) {
        self.handle.work().wait_for(Option::is_none).await.expect("the device lives");
    }

    pub(crate) fn set_hash_rate(&self, hashes_per_second: f32) {
        self.handle.set_hash_rate(hashes_per_second);
    }

    /// It is to end, and may wait so long for answers.
    pub(crate) fn stop(&self, grace: Duration) {
        self.shutdown.start(grace);
    }

    /// Waits for the end of a device that was stopped, or stops it. Its counts of all connections.
    pub(crate) async fn end(self) -> Statistics {
        if !self.shutdown.is_started() {
            self.stop(Duration::from_secs(10));
        }
        join(self.task).await;
        assert_eq!(*self.handle.link().borrow(), UpstreamState::Stopped);
        self.handle.statistics()
    }
}
