//! A device that hashes on one thread.
//!
//! ```sh
//! cargo run --release -p adit-smol --example device -- stratum2+tcp://127.0.0.1:34254/KEY account.worker
//! ```
//!
//! Enter ends it: hashing stops, what was found is sent, and the link closes when every share has its answer.

mod common;

use std::{error::Error, sync::Arc, thread, time::Duration};

use adit::{
    mining::client::{Solution, Work},
    role::device::DeviceConfig,
};
use adit_native::crypto::Fastest;
use adit_smol::{
    clock::Clock,
    device::{DeviceHandle, DeviceTask},
    link::LinkSettings,
    shutdown::Shutdown,
    upstream::{Upstream, UpstreamConfig},
    watch,
};
use smol::{
    channel::Sender,
    future::{block_on, or, zip},
};

/// Solutions that wait for the link, and news that a slow terminal may be behind.
const WAITING: usize = 16;
/// How long the last shares may wait for their answers.
const GRACE: Duration = Duration::from_secs(10);

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(url), Some(user)) = (arguments.next(), arguments.next()) else {
        return Err("usage: device stratum2+tcp://host[:port]/KEY account.worker".into());
    };
    let clock = Clock::start();
    let links = Arc::new(LinkSettings::new(clock.clone(), 2));
    let upstream = Upstream::new(UpstreamConfig::new(common::server(&url)?), links);
    let mut config = DeviceConfig::new(user.as_str(), "Adit", "smol example", env!("CARGO_PKG_VERSION"), "");
    // One thread of a processor does about this; the pool's first target follows from it.
    config.nominal_hash_rate = 2e6;
    let (device, handle) = DeviceTask::new(config, upstream, WAITING, WAITING);
    let shutdown = Shutdown::new(clock.clone());

    let (work, solutions) = (handle.work(), handle.solutions());
    let hasher = thread::spawn(move || hash(&clock, work, &solutions));
    smol::block_on(async {
        let stop = async {
            common::enter().await;
            shutdown.start(GRACE);
            std::future::pending::<()>().await;
        };
        let device = device.run::<Fastest>(shutdown.clone());
        or(device, or(stop, tell(&handle))).await;
    });
    let statistics = handle.statistics();
    println!("{} shares accepted, {} rejected, {} lost", statistics.accepted, statistics.rejected, statistics.lost);
    drop(handle);
    hasher.join().map_err(|_| "the hasher panicked")?;
    Ok(())
}

/// Prints what happens.
async fn tell(handle: &DeviceHandle) {
    let (mut news, mut link) = (handle.subscribe(), handle.link());
    let events = async {
        loop {
            match news.recv().await {
                Ok(news) => println!("{news:?}"),
                Err(async_broadcast::RecvError::Overflowed(missed)) => println!("{missed} news missed"),
                Err(async_broadcast::RecvError::Closed) => return,
            }
        }
    };
    let states = async {
        while link.changed().await.is_ok() {
            println!("{:?}", *link.borrow());
        }
    };
    zip(events, states).await;
}

/// Searches the newest work: all nonces of the earliest time, then of later ones as far as they are allowed (D-SHARE-2). Ends when the
/// device does.
fn hash(clock: &Clock, mut newest: watch::Receiver<Option<Work>>, solutions: &Sender<Solution>) {
    loop {
        let work = *newest.borrow_and_update();
        if let Some(work) = work {
            let mut ntime = work.min_ntime;
            while search(&work, ntime, &newest, solutions) {
                let latest = work.max_ntime(clock.now());
                if ntime == latest {
                    break;
                }
                ntime += 1;
            }
        }
        if block_on(newest.changed()).is_err() {
            return;
        }
    }
}

/// Tries all nonces; `false` if there is other work before that.
fn search(work: &Work, ntime: u32, newest: &watch::Receiver<Option<Work>>, solutions: &Sender<Solution>) -> bool {
    for nonce in 0..=u32::MAX {
        // Looking costs a lock, so not for each hash.
        if nonce.is_multiple_of(1 << 12) && newest.has_changed() != Ok(false) {
            return false;
        }
        let hash = work.header(work.version, ntime, nonce).hash();
        if work.target.is_met_by(&hash) && solutions.send_blocking(work.solution(work.version, ntime, nonce)).is_err() {
            return false;
        }
    }
    true
}
