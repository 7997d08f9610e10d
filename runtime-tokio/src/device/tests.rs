//! Devices at a pool over loopback and Noise, with a hasher that knows no other task.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use adit::{crypto::RustCrypto, mining::target::Target};
use tokio::{sync::mpsc::error::TrySendError, task::JoinHandle};

use super::*;
use crate::{
    backoff::BackoffConfig,
    testing::{
        self,
        house::{HARD, House, Node, Options, house, house_at},
    },
    upstream::{Server, UpstreamConfig},
};

struct Miner {
    handle: DeviceHandle,
    shutdown: Shutdown,
    task: JoinHandle<()>,
}

/// A device with a hasher that finds as fast as the queue takes, `limit` solutions at most for each work.
fn mine(address: SocketAddr, limit: u32) -> Miner {
    let server = Server { host: "127.0.0.1".into(), port: address.port(), connection: testing::initiator() };
    let backoff = BackoffConfig { first: Duration::from_millis(2), ..BackoffConfig::default() };
    let config = UpstreamConfig { backoff, ..UpstreamConfig::new(server) };
    let upstream = Upstream::new(config, Arc::new(testing::settings()));
    let device = DeviceConfig::new("account.worker", "test", "none", "0", "");
    let (task, handle) = DeviceTask::new(device, upstream, 4, 256);
    let shutdown = Shutdown::new();
    tokio::spawn(hash(handle.work(), handle.solutions(), limit));
    let task = tokio::spawn(task.run::<RustCrypto>(shutdown.clone()));
    Miner { handle, shutdown, task }
}

async fn hash(mut work: watch::Receiver<Option<Work>>, solutions: mpsc::Sender<Solution>, limit: u32) {
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
                        Err(TrySendError::Full(_)) => tokio::task::yield_now().await,
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

/// Stores at once whatever the pool accepts.
fn store(house: &mut House) {
    let handle = house.handle.clone();
    let mut shares = std::mem::replace(&mut house.shares, mpsc::channel(1).1);
    tokio::spawn(async move {
        while let Some(accepted) = shares.recv().await {
            handle.stored(accepted.share.ticket);
        }
    });
}

impl Miner {
    /// Waits until so many shares were accepted in all.
    async fn accepted(&self, count: u64) {
        let mut statistics = self.handle.statistics.clone();
        statistics.wait_for(|statistics| statistics.accepted >= count).await.expect("the device lives");
    }
}

#[tokio::test]
async fn a_device_mines_and_follows_new_tips() {
    let mut house = house(Options::default());
    store(&mut house);
    house.node.new_tip(1, HARD);
    let miner = mine(house.address, 10);
    let mut work = miner.handle.work();
    miner.accepted(10).await;
    house.node.new_tip(2, HARD);
    work.wait_for(|work| work.is_some_and(|work| work.prev_hash == [2; 32])).await.unwrap();
    miner.accepted(20).await;
    let statistics = miner.handle.statistics();
    assert_eq!((statistics.accepted, statistics.rejected, statistics.lost), (20, 0, 0));
    miner.shutdown.start(Duration::from_secs(10));
    miner.task.await.unwrap();
}

/// A block goes all the way: hasher, device, pool, provider.
#[tokio::test]
async fn a_found_block_reaches_the_provider() {
    let mut house = house(Options::default());
    store(&mut house);
    house.node.new_tip(1, Target::MAX);
    let _miner = mine(house.address, 1);
    loop {
        if let crate::provider::ProviderEvent::Solution(found) = house.node.events.recv().await.unwrap() {
            assert_eq!((&found.header[4..36], found.breach), (&[1; 32][..], None));
            break;
        }
    }
}

/// The pool goes and comes back at the same place: the device stops hashing, waits, and mines again.
#[tokio::test]
async fn a_device_finds_a_restarted_pool_again() {
    let mut first = house(Options::default());
    store(&mut first);
    first.node.new_tip(1, HARD);
    let miner = mine(first.address, 10);
    miner.accepted(10).await;
    let mut work = miner.handle.work();
    first.shutdown.start(Duration::from_secs(10));
    first.server.await.unwrap().unwrap();
    work.wait_for(Option::is_none).await.unwrap();
    let mut second = house_at(first.node, Options { port: first.address.port(), ..Options::default() });
    store(&mut second);
    miner.accepted(20).await;
    let statistics = miner.handle.statistics();
    assert_eq!((statistics.accepted, statistics.lost), (20, 0), "the first pool acknowledged all before it ended");
}

/// D-RECON-1, D-RECON-2, D-RECON-4: without a loss on the way.
#[tokio::test]
async fn a_device_goes_where_it_is_sent() {
    let node = Node::start(0, 1);
    node.new_tip(1, HARD);
    let mut second = house(Options::default());
    second.node.new_tip(2, HARD);
    store(&mut second);
    let reconnect = Some((String::new(), second.address.port()));
    let mut first = house_at(node, Options { reconnect, ..Options::default() });
    store(&mut first);
    let miner = mine(first.address, 10);
    let mut news = miner.handle.subscribe();
    miner.accepted(10).await;
    first.shutdown.start(Duration::from_secs(10));
    miner.accepted(20).await;
    first.server.await.unwrap().unwrap();
    let statistics = miner.handle.statistics();
    assert_eq!((statistics.accepted, statistics.rejected, statistics.lost), (20, 0, 0));
    assert_eq!(second.handle.statistics(testing::clock().now()).accepted, 10);
    let sent = DeviceNews::Reconnect { host: "127.0.0.1".into(), port: second.address.port() };
    while news.recv().await.unwrap() != sent {}
}

/// What was found before the shutdown is sent and answered, however slow the store is.
#[tokio::test]
async fn a_shutdown_leaves_no_share_unanswered() {
    let mut house = house(Options::default());
    house.node.new_tip(1, HARD);
    let miner = mine(house.address, 50);
    let first = house.share().await;
    assert_eq!(first.share.ticket, 1);
    miner.shutdown.start(Duration::from_secs(60));
    miner.handle.work().wait_for(Option::is_none).await.unwrap();
    let store = async {
        let mut stored = first.share.ticket;
        loop {
            tokio::time::sleep(Duration::from_millis(20)).await;
            while let Ok(accepted) = house.shares.try_recv() {
                stored = accepted.share.ticket;
            }
            house.handle.stored(stored);
        }
    };
    tokio::select! {
        () = store => {}
        ended = miner.task => ended.unwrap(),
    }
    let statistics = miner.handle.statistics();
    assert!(statistics.accepted >= 1, "{statistics:?}");
    assert_eq!((statistics.unanswered(), statistics.lost, statistics.rejected), (0, 0, 0));
    assert_eq!(*miner.handle.link().borrow(), UpstreamState::Stopped);
}

/// A pool whose store is stuck does not keep the device beyond its grace.
#[tokio::test(start_paused = true)]
async fn the_end_of_the_grace_ends_the_wait_for_answers() {
    let mut house = house(Options::default());
    house.node.new_tip(1, HARD);
    let miner = mine(house.address, 1);
    house.share().await;
    let begin = tokio::time::Instant::now();
    miner.shutdown.start(Duration::from_secs(5));
    miner.task.await.unwrap();
    assert_eq!(begin.elapsed().as_secs(), 5);
    assert_eq!(miner.handle.statistics().accepted, 0);
}

/// The server hears of another hash rate (D-UPD-2).
#[tokio::test]
async fn the_pool_is_told_the_hash_rate() {
    let mut house = house(Options::default());
    store(&mut house);
    house.node.new_tip(1, HARD);
    let miner = mine(house.address, 1);
    miner.accepted(1).await;
    miner.handle.set_hash_rate(1e12);
    let told = || {
        house.handle.with(|pool| {
            let channels = pool.connections().flat_map(|(_, connection)| connection.channels());
            channels.map(|channel| channel.nominal_hash_rate()).collect::<Vec<_>>()
        })
    };
    while told() != [1e12] {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
