//! A mining device that hashes on one thread, kept connected by tokio.
//!
//! ```sh
//! cargo run --release -p adit-tokio --example tokio_device -- stratum2+tcp://127.0.0.1:3333/KEY account.worker
//! ```

use std::{error::Error, process::ExitCode, sync::Arc, time::Duration};

use adit::{
    mining::client::{Solution, Work},
    role::device::DeviceConfig,
};
use adit_native::crypto::Fastest;
use adit_tokio::{
    broadcast::RecvError,
    clock::Clock,
    device::DeviceTask,
    link::LinkSettings,
    queue::Sender,
    shutdown::Shutdown,
    upstream::{Server, Upstream, UpstreamConfig},
    watch::Receiver,
};
use tokio::runtime::Handle;

const USAGE: &str = "usage: tokio_device URL USER

  URL   the pool's, with its authority key: stratum2+tcp://host[:port]/KEY
  USER  account and worker, as the pool knows them: account.worker

Control-C ends it: hashing stops, what was found is sent, and the link closes when every share has its answer.";

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, user] = &arguments[..] else {
        if arguments == ["--help"] || arguments == ["-h"] {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match run(url, user).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(url: &str, user: &str) -> Result<(), Box<dyn Error>> {
    let clock = Clock::start();
    // Buffers for one link, and a server that has to prove itself by the key in its URL. When the link breaks it is made anew, with back-off.
    let upstream = Upstream::new(UpstreamConfig::new(Server::from_url(url)?), Arc::new(LinkSettings::new(clock, 2)));
    let mut config = DeviceConfig::new(user, "Adit", "tokio example", env!("CARGO_PKG_VERSION"), "");
    // About what one thread does; the pool's first target follows from it.
    config.nominal_hash_rate = 2e6;
    let (device, handle) = DeviceTask::new(config, upstream, 16, 16).map_err(|error| format!("USER: {error}"))?;

    let (work, solutions) = (handle.work(), handle.solutions());
    let hashing = tokio::task::spawn_blocking(move || hash(clock, work, &solutions));
    let (mut news, mut link) = (handle.subscribe(), handle.link());
    tokio::spawn(async move {
        loop {
            tokio::select! {
                news = news.recv() => match news {
                    Ok(news) => println!("{news:?}"),
                    Err(RecvError::Overflowed(missed)) => println!("{missed} news missed"),
                    Err(RecvError::Closed) => return,
                },
                Ok(()) = link.changed() => println!("{:?}", *link.borrow_and_update()),
            }
        }
    });
    let shutdown = Shutdown::new(clock);
    let stop = shutdown.clone();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            stop.start(Duration::from_secs(10));
        }
    });
    device.run::<Fastest>(shutdown).await;
    // There is no work any more, so it ends.
    hashing.await?;
    let statistics = handle.statistics();
    println!("{} shares accepted, {} rejected, {} lost", statistics.accepted, statistics.rejected, statistics.lost);
    Ok(())
}

/// Searches the newest work: all nonces of the earliest time, then of later ones as far as they are allowed (D-SHARE-2). Ends with the device.
fn hash(clock: Clock, mut newest: Receiver<Option<Work>>, solutions: &Sender<Solution>) {
    while Handle::current().block_on(newest.changed()).is_ok() {
        let Some(work) = *newest.borrow_and_update() else { continue };
        let mut ntime = work.min_ntime;
        while search(&work, ntime, &newest, solutions) && ntime < work.max_ntime(clock.now()) {
            ntime += 1;
        }
    }
}

/// Tries all nonces; `false` if there is other work before that.
fn search(work: &Work, ntime: u32, newest: &Receiver<Option<Work>>, solutions: &Sender<Solution>) -> bool {
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
