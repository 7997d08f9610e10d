//! A pool whose books are in memory, on tokio's threads.
//!
//! ```sh
//! cargo run --release -p adit-tokio --example tokio_pool -- 127.0.0.1:3333 stratum2+tcp://127.0.0.1:8442/KEY 51
//! ```

use std::{
    collections::BTreeMap,
    error::Error,
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use adit::{
    address::AuthorityKey,
    connection::{NoiseServer, ResponderConfig, Security},
    crypto::Secret,
    mining::target::Target,
    noise::x25519::{self, Authority, Identity},
    role::pool::{AcceptAll, Pool, PoolConfig},
    template::coinbase::Payout,
    time::UnixTime,
};
use adit_native::{crypto::Fastest, hash::Method};
use adit_tokio::{
    broadcast::RecvError,
    clock::Clock,
    entropy::entropy,
    gate::{Gate, GateConfig},
    link::LinkSettings,
    listen::Listener,
    net::Tokio,
    pool::{AcceptedShare, PoolHandle, PoolNews, PoolSetup, Store, serve_pool},
    shutdown::Shutdown,
    upstream::{Server, Software, Upstream, UpstreamConfig},
    watch,
};

const USAGE: &str = "usage: tokio_pool LISTEN PROVIDER SCRIPT

  LISTEN    where devices connect: 127.0.0.1:3333, or port 0 for any
  PROVIDER  the template provider's URL, with its authority key: stratum2+tcp://host:port/KEY
  SCRIPT    whom blocks pay, an output script in hex; 51 pays anyone, for regtest only

It makes itself an authority key, and prints the URL for devices. Control-C ends it: what was accepted is acknowledged, and every link is closed in
order.";

/// Seconds that the certificate holds. A pool that runs for longer sends another configuration into the watch channel in time.
const VALID: u32 = 90 * 86_400;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [listen, provider, script] = &arguments[..] else {
        if arguments == ["--help"] || arguments == ["-h"] {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match run(listen, provider, script).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(listen: &str, provider: &str, script: &str) -> Result<(), Box<dyn Error>> {
    let clock = Clock::start();
    let address = listen.parse().map_err(|_| format!("LISTEN, {listen:?}, is no address with a port"))?;
    let script = hex::decode(script).map_err(|error| format!("SCRIPT, {script:?}, is not hex: {error}"))?;
    let server = Server::from_url(provider).map_err(|error| format!("PROVIDER, {provider:?}: {error}"))?;
    let listener = Listener::bind(address, Gate::new(GateConfig::default()), clock)?;

    let payouts = [Payout { script_pubkey: &script, weight: 1 }];
    let mut config = PoolConfig::new(&payouts);
    // A processor has to find shares too. Where devices hash faster, take difficulty 1 or more.
    config.server.easiest_target = Target::from_difficulty(1e-4).ok_or("no target")?;
    let handle = PoolHandle::new(Pool::new(&config)?, AcceptAll, 256);

    // The authority signs the certificate of this server's own key; its public key is what devices know the pool by.
    let authority = Authority::<Fastest>::from_seed(Secret::from_bytes(entropy::<Tokio>()?));
    let (now, secret) = (clock.wall(), Secret::from_bytes(entropy::<Tokio>()?));
    let identity = Identity::issue(secret, &authority, now, UnixTime::from_secs(now.as_secs().saturating_add(VALID)))?;
    let noise = NoiseServer { identity, policy: x25519::Policy::default() };
    let responder = ResponderConfig::new(Security::Noise(noise), handle.setup_policy());
    let (_renew, responder) = watch::channel(Arc::new(responder));
    println!("stratum2+tcp://{}/{}", listener.address(), AuthorityKey::Ed25519(*authority.public_key()));

    let links = Arc::new(LinkSettings::new(clock, 256));
    let provider = Upstream::new(UpstreamConfig::new(server), Arc::clone(&links));
    let (mut news, mut link) = (handle.subscribe(), provider.watch());
    tokio::spawn(async move {
        loop {
            tokio::select! {
                news = news.recv() => match news {
                    Ok(PoolNews::Connected { peer, .. }) => println!("{peer} has connected"),
                    Ok(PoolNews::Disconnected { peer, .. }) => println!("{peer} is gone"),
                    Ok(PoolNews::Share(AcceptedShare { share, block, .. })) => {
                        println!("share {}{}", share.ticket, if block.is_some() { ", a block" } else { "" });
                    }
                    Err(RecvError::Closed) => return,
                    Ok(_) | Err(RecvError::Overflowed(_)) => {}
                },
                Ok(()) = link.changed() => println!("provider: {:?}", *link.borrow_and_update()),
            }
        }
    });
    let setup = PoolSetup {
        listeners: vec![listener],
        responder,
        links,
        hasher: Arc::new(Method::fastest_for_shares()),
        provider,
        software: Software::default(),
        reconnect: None,
    };

    // The books: a share that is in them is acknowledged. Books on a disk take a queue, and say which tickets are stored.
    let books = Arc::new(Mutex::new(BTreeMap::new()));
    let shared = Arc::clone(&books);
    let store = Store::AtOnce(Arc::new(move |AcceptedShare { share, user, .. }| {
        let mut books = shared.lock().unwrap_or_else(PoisonError::into_inner);
        let (shares, difficulty) = books.entry(user).or_insert((0_u64, 0.0));
        *shares += 1;
        *difficulty += share.difficulty;
    }));

    let shutdown = Shutdown::new(clock);
    let stop = shutdown.clone();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            stop.start(Duration::from_secs(10));
        }
    });
    serve_pool::<Fastest, AcceptedShare>(Tokio, setup, handle, store, shutdown).await?;
    for (user, (shares, difficulty)) in &*books.lock().unwrap_or_else(PoisonError::into_inner) {
        println!("{}: {shares} shares, difficulty {difficulty:.3e} in all", String::from_utf8_lossy(user));
    }
    Ok(())
}
