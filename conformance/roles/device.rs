//! A device, its pool and its provider on loopback. One text for all runtimes of computers, which include it as their tests: what they
//! differ in is their `testing` module.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use adit::{backoff::BackoffConfig, crypto::RustCrypto, mining::target::Target};

use super::*;
use crate::{
    provider::ProviderEvent,
    testing::{
        Lab, Sender, Task, TrySendError,
        house::{HARD, House, Options},
        initiator, join, or, queue, run, run_still, yield_now,
    },
    upstream::{Server, UpstreamConfig},
};

struct Miner {
    handle: DeviceHandle,
    shutdown: Shutdown,
    task: Task<()>,
}

/// A device with a hasher that finds as fast as the queue takes, `limit` solutions at most for each work.
fn mine(lab: &Lab, address: SocketAddr, limit: u32) -> Miner {
    let server = Server { host: "127.0.0.1".into(), port: address.port(), connection: initiator() };
    let backoff = BackoffConfig { first: Duration::from_millis(2), ..BackoffConfig::default() };
    let config = UpstreamConfig { backoff, ..UpstreamConfig::new(server) };
    let upstream = Upstream::new(config, Arc::new(lab.settings()));
    let device = DeviceConfig::new("account.worker", "test", "none", "0", "");
    let (task, handle) = DeviceTask::new(device, upstream, 4, 256);
    let shutdown = lab.shutdown();
    lab.go(hash(handle.work(), handle.solutions(), limit));
    let task = lab.spawn(task.run::<RustCrypto>(shutdown.clone()));
    Miner { handle, shutdown, task }
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

/// Stores at once whatever the pool accepts.
fn store(lab: &Lab, house: &mut House) {
    let handle = house.handle.clone();
    let mut shares = std::mem::replace(&mut house.shares, queue::channel(1).1);
    lab.go(async move {
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

#[test]
fn a_device_mines_and_follows_new_tips() {
    run(async |lab| {
        let mut house = lab.house(Options::default());
        store(&lab, &mut house);
        house.node.new_tip(1, HARD);
        let miner = mine(&lab, house.address, 10);
        let mut work = miner.handle.work();
        miner.accepted(10).await;
        house.node.new_tip(2, HARD);
        work.wait_for(|work| work.is_some_and(|work| work.prev_hash == [2; 32])).await.unwrap();
        miner.accepted(20).await;
        let statistics = miner.handle.statistics();
        assert_eq!((statistics.accepted, statistics.rejected, statistics.lost), (20, 0, 0));
        miner.shutdown.start(Duration::from_secs(10));
        join(miner.task).await;
    });
}

/// A block goes all the way: hasher, device, pool, provider.
#[test]
fn a_found_block_reaches_the_provider() {
    run(async |lab| {
        let mut house = lab.house(Options::default());
        store(&lab, &mut house);
        house.node.new_tip(1, Target::MAX);
        let _miner = mine(&lab, house.address, 1);
        loop {
            if let ProviderEvent::Solution(found) = house.node.event().await {
                assert_eq!((&found.header[4..36], found.breach), (&[1; 32][..], None));
                break;
            }
        }
    });
}

/// The pool goes and comes back at the same place: the device stops hashing, waits, and mines again.
#[test]
fn a_device_finds_a_restarted_pool_again() {
    run(async |lab| {
        let mut first = lab.house(Options::default());
        store(&lab, &mut first);
        first.node.new_tip(1, HARD);
        let miner = mine(&lab, first.address, 10);
        miner.accepted(10).await;
        let mut work = miner.handle.work();
        first.shutdown.start(Duration::from_secs(10));
        join(first.server).await.unwrap();
        work.wait_for(Option::is_none).await.unwrap();
        let mut second = lab.house_at(first.node, Options { port: first.address.port(), ..Options::default() });
        store(&lab, &mut second);
        miner.accepted(20).await;
        let statistics = miner.handle.statistics();
        assert_eq!((statistics.accepted, statistics.lost), (20, 0), "the first pool acknowledged all before it ended");
    });
}

/// D-RECON-1, D-RECON-2, D-RECON-4: without a loss on the way.
#[test]
fn a_device_goes_where_it_is_sent() {
    run(async |lab| {
        let node = lab.node(0, 1);
        node.new_tip(1, HARD);
        let mut second = lab.house(Options::default());
        second.node.new_tip(2, HARD);
        store(&lab, &mut second);
        let reconnect = Some((String::new(), second.address.port()));
        let mut first = lab.house_at(node, Options { reconnect, ..Options::default() });
        store(&lab, &mut first);
        let miner = mine(&lab, first.address, 10);
        let mut news = miner.handle.subscribe();
        miner.accepted(10).await;
        first.shutdown.start(Duration::from_secs(10));
        miner.accepted(20).await;
        join(first.server).await.unwrap();
        let statistics = miner.handle.statistics();
        assert_eq!((statistics.accepted, statistics.rejected, statistics.lost), (20, 0, 0));
        assert_eq!(second.handle.statistics(lab.clock().now()).accepted, 10);
        let sent = DeviceNews::Reconnect { host: "127.0.0.1".into(), port: second.address.port() };
        while news.recv().await.unwrap() != sent {}
    });
}

/// What was found before the shutdown is sent and answered, however slow the store is.
#[test]
fn a_shutdown_leaves_no_share_unanswered() {
    run(async |lab| {
        let mut house = lab.house(Options::default());
        house.node.new_tip(1, HARD);
        let miner = mine(&lab, house.address, 50);
        let first = house.share().await;
        assert_eq!(first.share.ticket, 1);
        miner.shutdown.start(Duration::from_secs(60));
        miner.handle.work().wait_for(Option::is_none).await.unwrap();
        let store = async {
            let mut stored = first.share.ticket;
            loop {
                lab.sleep(Duration::from_millis(20)).await;
                while let Some(accepted) = house.shares.try_recv() {
                    stored = accepted.share.ticket;
                }
                house.handle.stored(stored);
            }
        };
        or(store, join(miner.task)).await;
        let statistics = miner.handle.statistics();
        assert!(statistics.accepted >= 1, "{statistics:?}");
        assert_eq!((statistics.unanswered(), statistics.lost, statistics.rejected), (0, 0, 0));
        assert_eq!(*miner.handle.link().borrow(), UpstreamState::Stopped);
    });
}

/// A pool whose store is stuck does not keep the device beyond its grace.
#[test]
fn the_end_of_the_grace_ends_the_wait_for_answers() {
    run_still(async |lab| {
        let mut house = lab.house(Options::default());
        house.node.new_tip(1, HARD);
        let miner = mine(&lab, house.address, 1);
        house.share().await;
        let begin = lab.clock().now();
        miner.shutdown.start(Duration::from_secs(5));
        join(miner.task).await;
        assert_eq!(lab.since(begin).as_secs(), 5);
        assert_eq!(miner.handle.statistics().accepted, 0);
    });
}

/// The server hears of another hash rate (D-UPD-2).
#[test]
fn the_pool_is_told_the_hash_rate() {
    run(async |lab| {
        let mut house = lab.house(Options::default());
        store(&lab, &mut house);
        house.node.new_tip(1, HARD);
        let miner = mine(&lab, house.address, 1);
        miner.accepted(1).await;
        miner.handle.set_hash_rate(1e12);
        let told = || {
            house.handle.with(|pool| {
                let channels = pool.connections().flat_map(|(_, connection)| connection.channels());
                channels.map(|channel| channel.nominal_hash_rate()).collect::<Vec<_>>()
            })
        };
        while told() != [1e12] {
            lab.sleep(Duration::from_millis(1)).await;
        }
    });
}
