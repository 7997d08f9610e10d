//! One protocol, two runtimes: a provider, a pool and a device, each at the other runtime's side of the wire.
//!
//! Both run on one thread: tokio's runtime polls smol's executor, whose reactor has a thread of its own.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use adit::{
    connection::{InitiatorConfig, NoiseServer, ResponderConfig, Security, SetupPolicy},
    crypto::{RustCrypto, Secret},
    host::{
        Clock, Runtime, Spawn,
        device::DeviceTask,
        gate::{Gate, GateConfig},
        listen::Listener,
        pool::{AcceptedShare, PoolHandle, PoolSetup, serve_pool},
        provider::{ProviderHandle, serve_provider},
        queue,
        shutdown::Shutdown,
        upstream::{Server, Software, Upstream, UpstreamConfig},
        watch,
    },
    link::LinkSettings,
    mining::{client::Work, server::ServerConfig, target::Target, vardiff::VardiffConfig},
    noise::x25519::{self, Authentication, Authority, Identity},
    role::{
        device::DeviceConfig,
        news::{ProviderEvent, Transactions},
        pool::{AcceptAll, Pool, PoolConfig},
        provider::NewTemplate,
    },
    storage::Heap,
    template::{
        Constraints, Tip,
        book::Basis,
        coinbase::{Payout, TemplateCoinbase},
    },
    time::UnixTime,
};
use adit_native::hash::Method;
use adit_smol::net::{Smol, Spawn as Spawned};
use adit_tokio::net::Tokio;
use async_executor::Executor;
use futures_lite::future::zip;

/// Shares in one run.
const SHARES: u64 = 20;
const GRACE: Duration = Duration::from_secs(60);

fn authority() -> Authority<RustCrypto> {
    Authority::from_seed(Secret::from_bytes([1; 32]))
}

fn initiator() -> InitiatorConfig {
    let noise = x25519::InitiatorConfig::new(Authentication::Authority(*authority().public_key()));
    InitiatorConfig::new(Security::Noise(noise))
}

fn responder(setup: SetupPolicy) -> Arc<ResponderConfig> {
    let (from, until) = (UnixTime::from_secs(0), UnixTime::from_secs(u32::MAX));
    let identity = Identity::issue(Secret::from_bytes([2; 32]), &authority(), from, until).expect("a period");
    let noise = NoiseServer { identity, policy: x25519::Policy::default() };
    Arc::new(ResponderConfig::new(Security::Noise(noise), setup))
}

/// A pool whose difficulty stays where it begins, so that every hash is a share.
fn pool() -> Pool<Heap> {
    let vardiff = VardiffConfig { shares_per_minute: 1e12, ..VardiffConfig::default() };
    let server = ServerConfig { vardiff, ..ServerConfig::default() };
    let payouts = [Payout { script_pubkey: &[0x51], weight: 1 }];
    Pool::new(&PoolConfig { server, ..PoolConfig::new(&payouts) }).expect("a good configuration")
}

/// Adds a template and a tip on which every hash is a block.
fn tip(provider: &ProviderHandle<impl Clock>) {
    let coinbase = TemplateCoinbase {
        tx_version: 2,
        script_prefix: &[1, 7],
        input_sequence: u32::MAX,
        value_remaining: 5_000,
        outputs_count: 1,
        outputs: &[0; 9],
        lock_time: 0,
    };
    let room = Constraints { max_additional_size: 100, max_additional_sigops: 4 };
    let template = NewTemplate { basis: Basis::Next, version: 0x2000_0000, coinbase, merkle_path: &[], room };
    let id = provider.new_template(&template, Transactions::default()).expect("a good template");
    let tip = Tip { prev_hash: [9; 32], header_timestamp: 1_800_000_000, n_bits: 0x207f_ffff, target: Target::MAX };
    provider.new_tip(id, tip).expect("a future template");
}

/// The first solutions of a work whose every hash is a share.
fn solutions(work: &Work) -> impl Iterator<Item = adit::mining::client::Solution> {
    assert_eq!(work.prev_hash, [9; 32]);
    let work = *work;
    (0..SHARES as u32).map(move |nonce| {
        assert!(work.target.is_met_by(&work.header(work.version, work.min_ntime, nonce).hash()));
        work.solution(work.version, work.min_ntime, nonce)
    })
}

/// Each of the device's shares was a block and reached the provider's owner once.
fn all_blocks(events: impl IntoIterator<Item = ProviderEvent>) {
    let mut blocks = 0;
    for event in events {
        if let ProviderEvent::Solution(found) = event {
            assert_eq!((&found.header[4..36], found.breach, found.stale), (&[9; 32][..], None, false));
            blocks += 1;
        }
    }
    assert_eq!(blocks, SHARES);
}

fn run(test: impl AsyncFnOnce(Arc<Executor<'static>>)) {
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let smol = Arc::new(Executor::new());
    tokio.block_on(smol.run(test(Arc::clone(&smol))));
}

/// A port of runtime `R`, and where it is.
fn listen<R: Runtime>(clock: &R::Clock) -> (Vec<Listener<R>>, Server) {
    let gate = Gate::new(GateConfig::default());
    let listener = Listener::bind(SocketAddr::from(([127, 0, 0, 1], 0)), gate, clock.clone()).expect("a port");
    let at = listener.address();
    (vec![listener], Server { host: at.ip().to_string(), port: at.port(), connection: initiator() })
}

/// Runtime `A` has the provider and the device, `B` the pool between them.
async fn meet<A: Runtime, B: Runtime>(ends: (impl Spawn, A::Clock), middle: (impl Spawn, B::Clock)) {
    let (spawn, clock) = ends;
    let links = Arc::new(LinkSettings::new(clock.clone(), 4));
    let (provider, mut events) = ProviderHandle::new(clock.clone(), 1, 64);
    let provider_stop = Shutdown::new(clock.clone());
    let (listeners, at) = listen::<A>(&clock);
    let (_certificates, identity) = watch::channel(responder(SetupPolicy::new(0)));
    let (settings, handle) = (Arc::clone(&links), provider.clone());
    let providing =
        serve_provider::<RustCrypto, A>(spawn, listeners, identity, settings, handle, provider_stop.clone());
    tip(&provider);

    let (spawn, pool_clock) = middle;
    let handle = PoolHandle::new(pool(), AcceptAll, 64);
    let pool_links = Arc::new(LinkSettings::new(pool_clock.clone(), 4));
    let pool_stop = Shutdown::new(pool_clock.clone());
    let upstream = Upstream::<B>::new(UpstreamConfig::new(at), Arc::clone(&pool_links));
    let (listeners, at) = listen::<B>(&pool_clock);
    let (_certificates, identity) = watch::channel(responder(handle.setup_policy()));
    let setup = PoolSetup {
        listeners,
        responder: identity,
        links: pool_links,
        // Vector lanes that nobody has optimised take over a megabyte of stack, most of what a test's thread has.
        hasher: Arc::new(Method::fastest_for_shares()),
        provider: upstream,
        software: Software::default(),
        reconnect: None,
    };
    let (sender, mut shares) = queue::channel(64);
    let serving = serve_pool::<RustCrypto, AcceptedShare>(spawn, setup, handle.clone(), sender, pool_stop.clone());
    let store = async {
        while let Some(accepted) = shares.recv().await {
            handle.stored(accepted.share.ticket);
        }
    };

    let upstream = Upstream::<A>::new(UpstreamConfig::new(at), links);
    let device = DeviceConfig::new("account.worker", "test", "none", "0", "");
    let (device, miner) = DeviceTask::new(device, upstream, 4, 64).expect("a good configuration");
    let device_stop = Shutdown::new(clock);
    let mining = async {
        let mut works = miner.work();
        works.wait_for(Option::is_some).await.expect("the device lives");
        let work = works.borrow().expect("some");
        for solution in solutions(&work) {
            miner.solutions().send(solution).await.expect("the device lives");
        }
        device_stop.start(GRACE);
    };

    // Each ends the one that it depends on.
    let device = async {
        zip(device.run::<RustCrypto>(device_stop.clone()), mining).await;
        let statistics = miner.statistics();
        assert_eq!((statistics.accepted, statistics.rejected, statistics.lost), (SHARES, 0, 0));
        pool_stop.start(GRACE);
    };
    let pool = async {
        let (served, ()) = zip(serving, store).await;
        served.expect("an orderly end");
        assert_eq!(handle.statistics(pool_clock.now()).accepted, SHARES);
        provider_stop.start(GRACE);
    };
    let (provided, _) = zip(providing, zip(pool, device)).await;
    provided.expect("an orderly end");
    all_blocks(std::iter::from_fn(|| events.try_recv()).map(|heard| heard.event));
}

#[test]
fn a_smol_pool_between_tokio_peers() {
    run(async |smol| {
        let ends = (Tokio, adit_tokio::clock::Clock::start());
        Box::pin(meet::<Tokio, Smol>(ends, (Spawned(&smol), adit_smol::clock::Clock::start()))).await;
    });
}

#[test]
fn a_tokio_pool_between_smol_peers() {
    run(async |smol| {
        let ends = (Spawned(&smol), adit_smol::clock::Clock::start());
        Box::pin(meet::<Smol, Tokio>(ends, (Tokio, adit_tokio::clock::Clock::start()))).await;
    });
}
