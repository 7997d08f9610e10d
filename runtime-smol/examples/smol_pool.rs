//! A pool on all cores.
//!
//! ```sh
//! cargo run --release -p adit-smol --example smol_pool -- 127.0.0.1:3333 stratum2+tcp://127.0.0.1:8442/KEY 51
//! ```
//!
//! Its books are printed. The authority's key is made anew at each start.

mod common;

use std::{error::Error, net::SocketAddr, process::ExitCode, sync::Arc, thread, time::Duration};

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
use adit_smol::{
    clock::Clock,
    entropy::entropy,
    gate::{Gate, GateConfig},
    link::LinkSettings,
    listen::Listener,
    net::{Smol, Spawn},
    pool::{AcceptedShare, PoolHandle, PoolSetup, serve_pool},
    queue,
    shutdown::Shutdown,
    upstream::{Server, Software, Upstream, UpstreamConfig, UpstreamState},
    watch,
};
use smol::{
    Executor,
    future::{or, zip},
};

const USAGE: &str = "usage: smol_pool LISTEN PROVIDER SCRIPT

  LISTEN    where devices connect: 127.0.0.1:3333, or port 0 for any
  PROVIDER  the template provider's URL, with its authority key: stratum2+tcp://host:port/KEY
  SCRIPT    whom blocks pay, an output script in hex; 51 pays anyone, for regtest only

It makes itself an authority key, and prints the URL for devices. Enter, or the end of standard input, ends it: what was accepted is acknowledged,
and every link is closed in order.";

/// Shares that wait for the store.
const QUEUE: usize = 1_024;
/// How long connections may take to end.
const GRACE: Duration = Duration::from_secs(10);
/// How long the certificate is good. A pool that runs for longer puts another one into the watched configuration in time.
const VALID: u32 = 86_400 * 90;

fn main() -> ExitCode {
    common::main(USAGE, run)
}

fn run([listen, provider, script]: [String; 3]) -> Result<(), Box<dyn Error>> {
    let address = listen.parse().map_err(|_| format!("LISTEN, {listen:?}, is no address with a port"))?;
    let script = hex(&script).ok_or_else(|| format!("SCRIPT, {script:?}, is not hex"))?;
    let server = Server::from_url(&provider).map_err(|error| format!("PROVIDER, {provider:?}: {error}"))?;
    let clock = Clock::start();
    let links = Arc::new(LinkSettings::new(clock.clone(), 256));

    let payouts = [Payout { script_pubkey: &script, weight: 1 }];
    let mut config = PoolConfig::new(&payouts);
    // A processor has to find shares too. Where devices hash faster, take difficulty 1 or more.
    config.server.easiest_target = Target::from_difficulty(1e-4).ok_or("no target")?;
    let pool = Pool::new(&config)?;
    let handle = PoolHandle::new(pool, AcceptAll, 256);
    let listener = Listener::bind(address, Gate::new(GateConfig::default()), clock.clone())?;
    let (responder, key) = identity(&clock, &handle)?;
    println!("{}", url(listener.address(), &key));
    // Whoever holds the other end could renew the certificate here.
    let (_renew, responder) = watch::channel(Arc::new(responder));
    let provider = Upstream::new(UpstreamConfig::new(server), Arc::clone(&links));
    let link = provider.watch();
    let setup = PoolSetup {
        listeners: vec![listener],
        responder,
        links,
        hasher: Arc::new(Method::fastest_for_shares()),
        provider,
        software: Software::default(),
        reconnect: None,
    };

    let (shares, accepted) = queue::channel(QUEUE);
    let shutdown = Shutdown::new(clock.clone());
    let executor = Arc::new(Executor::new());
    let (stop, stopped) = smol::channel::bounded::<()>(1);
    let served = thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            // Ends when `stop` is dropped.
            scope.spawn(|| smol::block_on(executor.run(stopped.recv())).is_err());
        }
        let served = smol::block_on(async {
            let pool =
                serve_pool::<Fastest, AcceptedShare>(Spawn(&executor), setup, handle.clone(), shares, shutdown.clone());
            let enter = async {
                common::enter().await;
                shutdown.start(GRACE);
                std::future::pending().await
            };
            zip(or(or(pool, enter), tell(link)), store(accepted, &handle)).await.0
        });
        drop(stop);
        served
    });
    let statistics = handle.statistics(clock.now());
    println!("{} shares accepted, {} rejected", statistics.accepted, statistics.rejected);
    Ok(served?)
}

/// Prints how the link to the provider is. Never ends: `or` drops it with the pool.
async fn tell<T>(mut link: watch::Receiver<UpstreamState>) -> T {
    while link.changed().await.is_ok() {
        println!("provider: {:?}", *link.borrow_and_update());
    }
    std::future::pending().await
}

/// Where a pool keeps its books: devices hear of a share when this says that it is stored. Here they are printed.
async fn store(mut accepted: queue::Receiver<AcceptedShare>, handle: &PoolHandle) {
    while let Some(AcceptedShare { share, user, .. }) = accepted.recv().await {
        let block = if share.block.is_some() { ", a block" } else { "" };
        println!("{} {}: difficulty {:.3e}{block}", share.ticket, String::from_utf8_lossy(&user), share.difficulty);
        handle.stored(share.ticket);
    }
}

/// A new authority, and a certificate of it.
fn identity(clock: &Clock, handle: &PoolHandle) -> Result<(ResponderConfig, AuthorityKey), Box<dyn Error>> {
    let authority = Authority::<Fastest>::from_seed(Secret::from_bytes(entropy::<Smol>()?));
    let now = clock.wall();
    let until = UnixTime::from_secs(now.as_secs().saturating_add(VALID));
    let identity = Identity::issue(Secret::from_bytes(entropy::<Smol>()?), &authority, now, until)
        .map_err(|error| format!("no certificate: {error:?}"))?;
    let noise = NoiseServer { identity, policy: x25519::Policy::default() };
    let config = ResponderConfig::new(Security::Noise(noise), handle.setup_policy());
    Ok((config, AuthorityKey::Ed25519(*authority.public_key())))
}

fn url(address: SocketAddr, key: &AuthorityKey) -> String {
    // A socket's address has the brackets of IPv6 already.
    format!("stratum2+tcp://{address}/{key}")
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    if digits.len().is_multiple_of(2) { digits.chunks(2).map(byte).collect() } else { None }
}
