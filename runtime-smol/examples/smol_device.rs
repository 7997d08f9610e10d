//! A device that hashes on one thread.
//!
//! ```sh
//! cargo run --release -p adit-smol --example smol_device -- stratum2+tcp://127.0.0.1:3333/KEY account.worker
//! ```
//!
//! It says what happens in words of its own.

mod common;

use std::{error::Error, process::ExitCode, sync::Arc, thread, time::Duration};

use adit::{
    mining::client::{Solution, Work},
    role::device::DeviceConfig,
};
use adit_native::crypto::Fastest;
use adit_smol::{
    broadcast,
    clock::Clock,
    device::{DeviceHandle, DeviceNews, DeviceTask},
    link::LinkSettings,
    queue::Sender,
    shutdown::Shutdown,
    upstream::{Server, Upstream, UpstreamConfig, UpstreamState},
    watch,
};
use smol::future::{block_on, or, zip};

const USAGE: &str = "usage: smol_device URL USER

  URL   the pool's, with its authority key: stratum2+tcp://host[:port]/KEY
  USER  account and worker, as the pool knows them: account.worker

Enter, or the end of standard input, ends it: hashing stops, what was found is sent, and the link closes when every share has its answer.";

/// Solutions that wait for the link, and news that a slow terminal may be behind.
const WAITING: usize = 16;
/// How long the last shares may wait for their answers.
const GRACE: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    common::main(USAGE, run)
}

fn run([url, user]: [String; 2]) -> Result<(), Box<dyn Error>> {
    let clock = Clock::start();
    let links = Arc::new(LinkSettings::new(clock.clone(), 2));
    let upstream = Upstream::new(UpstreamConfig::new(Server::from_url(&url)?), links);
    let mut config = DeviceConfig::new(user.as_str(), "Adit", "smol example", env!("CARGO_PKG_VERSION"), "");
    // One thread of a processor does about this; the pool's first target follows from it.
    config.nominal_hash_rate = 2e6;
    let (device, handle) =
        DeviceTask::new(config, upstream, WAITING, WAITING).map_err(|error| format!("USER: {error}"))?;
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
                Ok(news) => say(news),
                Err(broadcast::RecvError::Overflowed(missed)) => println!("{missed} news missed"),
                Err(broadcast::RecvError::Closed) => return,
            }
        }
    };
    let states = async {
        while link.changed().await.is_ok() {
            match &*link.borrow() {
                UpstreamState::Idle => {}
                UpstreamState::Connecting { server } => println!("connecting to {server}"),
                UpstreamState::Open { server } => println!("connected to {server}"),
                UpstreamState::Waiting { server, wait, why } => {
                    println!("{server}: {why}; next attempt in {:.1} s", wait.as_secs_f64());
                }
                UpstreamState::Stopped => println!("disconnected"),
            }
        }
    };
    zip(events, states).await;
}

/// One piece of news as a line. Of accepted shares only the number: the pool counts their difficulty in whole numbers, which is 0 for a device as
/// slow as this one.
fn say(news: DeviceNews) {
    match news {
        DeviceNews::Ready => println!("set up; asking for a channel"),
        DeviceNews::SetupRefused { code } => println!("the pool refuses the connection: {code}"),
        DeviceNews::ChannelOpened { channel_id } => println!("channel {channel_id} is open"),
        DeviceNews::OpenRefused { code } => println!("no channel for now: {code}"),
        DeviceNews::ChannelClosed { code } => println!("the pool closed the channel: {code}"),
        DeviceNews::Work => println!("other work"),
        DeviceNews::NewTarget => println!("later jobs have another target"),
        DeviceNews::Accepted { count, last_sequence_number, .. } => {
            println!("accepted: {count}, the last of them share {last_sequence_number}");
        }
        DeviceNews::Rejected { sequence_number, code } => println!("share {sequence_number} rejected: {code}"),
        DeviceNews::NotSent(why) => println!("{why}"),
        DeviceNews::UpdateRefused { code } => println!("the pool does not take the hash rate: {code}"),
        DeviceNews::Reconnect { host, port } => println!("the pool sends this device to {host}:{port}"),
        DeviceNews::Fatal(why) => println!("{why}"),
        other => println!("{other:?}"),
    }
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
