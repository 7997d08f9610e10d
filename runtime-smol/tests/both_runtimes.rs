//! One protocol, two runtimes: a provider, a pool and a device, each at the other runtime's side of the wire.
//!
//! Both run on one thread: tokio's runtime polls smol's executor, whose reactor has a thread of its own.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use adit::{
    connection::{InitiatorConfig, NoiseServer, ResponderConfig, Security, SetupPolicy},
    crypto::{RustCrypto, Secret},
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
        book::{Basis, BookError},
        coinbase::{Payout, TemplateCoinbase},
    },
    time::UnixTime,
};
use adit_native::hash::Method;
use async_executor::Executor;

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

fn any() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// A pool whose difficulty stays where it begins, so that every hash is a share.
fn pool() -> Pool<Heap> {
    let vardiff = VardiffConfig { shares_per_minute: 1e12, ..VardiffConfig::default() };
    let server = ServerConfig { vardiff, ..ServerConfig::default() };
    let payouts = [Payout { script_pubkey: &[0x51], weight: 1 }];
    Pool::new(&PoolConfig { server, ..PoolConfig::new(&payouts) }).expect("a good configuration")
}

fn device() -> DeviceConfig<&'static str> {
    DeviceConfig::new("account.worker", "test", "none", "0", "")
}

/// Adds a template and a tip on which every hash is a block.
fn tip(
    new_template: impl FnOnce(&NewTemplate<'_>, Transactions) -> Result<u64, BookError>,
    new_tip: impl FnOnce(u64, Tip) -> Result<(), BookError>,
) {
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
    let id = new_template(&template, Transactions::default()).expect("a good template");
    let tip = Tip { prev_hash: [9; 32], header_timestamp: 1_800_000_000, n_bits: 0x207f_ffff, target: Target::MAX };
    new_tip(id, tip).expect("a future template");
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

/// tokio's provider, smol's pool, tokio's device.
#[test]
fn a_smol_pool_between_tokio_peers() {
    run(async |smol| {
        let clock = adit_tokio::clock::Clock::start();
        let links = Arc::new(adit_tokio::link::LinkSettings::new(clock, 4));
        let (provider, mut events) = adit_tokio::provider::ProviderHandle::new(clock, 1, 64);
        let provider_stop = adit_tokio::shutdown::Shutdown::new(clock);
        let gate = adit_tokio::gate::Gate::new(adit_tokio::gate::GateConfig::default());
        let listener = adit_tokio::listen::Listener::bind(any(), gate, clock).expect("a port");
        let provider_at = listener.address();
        let provider_task = tokio::spawn(adit_tokio::provider::serve_provider::<RustCrypto, _>(
            adit_tokio::net::Tokio,
            vec![listener],
            adit_tokio::watch::channel(responder(SetupPolicy::new(0))).1,
            Arc::clone(&links),
            provider.clone(),
            provider_stop.clone(),
        ));
        tip(|new, transactions| provider.new_template(new, transactions), |id, tip| provider.new_tip(id, tip));

        let smol_clock = adit_smol::clock::Clock::start();
        let smol_links = Arc::new(adit_smol::link::LinkSettings::new(smol_clock.clone(), 4));
        let handle = adit_smol::pool::PoolHandle::new(pool(), AcceptAll, 64);
        let pool_stop = adit_smol::shutdown::Shutdown::new(smol_clock.clone());
        let gate = adit_smol::gate::Gate::new(adit_smol::gate::GateConfig::default());
        let listener = adit_smol::listen::Listener::bind(any(), gate, smol_clock.clone()).expect("a port");
        let pool_at = listener.address();
        let server = adit_smol::upstream::Server {
            host: provider_at.ip().to_string(),
            port: provider_at.port(),
            connection: initiator(),
        };
        let config = adit_smol::upstream::UpstreamConfig::new(server);
        let setup = adit_smol::pool::PoolSetup {
            listeners: vec![listener],
            responder: adit_smol::watch::channel(responder(handle.setup_policy())).1,
            links: Arc::clone(&smol_links),
            hasher: Arc::new(Method::fastest()),
            provider: adit_smol::upstream::Upstream::new(config, smol_links),
            software: adit_smol::upstream::Software::default(),
            reconnect: None,
        };
        let (sender, mut shares) = adit_smol::queue::channel::<adit_smol::pool::AcceptedShare>(64);
        let (executor, pool, stop) = (Arc::clone(&smol), handle.clone(), pool_stop.clone());
        let pool_task = smol.spawn(async move {
            adit_smol::pool::serve_pool::<RustCrypto, _>(adit_smol::net::Spawn(&executor), setup, pool, sender, stop)
                .await
        });
        let books = handle.clone();
        let store = smol.spawn(async move {
            while let Some(accepted) = shares.recv().await {
                books.stored(accepted.share.ticket);
            }
        });

        let server = adit_tokio::upstream::Server {
            host: pool_at.ip().to_string(),
            port: pool_at.port(),
            connection: initiator(),
        };
        let config = adit_tokio::upstream::UpstreamConfig::new(server);
        let upstream = adit_tokio::upstream::Upstream::new(config, links);
        let (task, miner) = adit_tokio::device::DeviceTask::new(device(), upstream, 4, 64).unwrap();
        let device_stop = adit_tokio::shutdown::Shutdown::new(clock);
        let device_task = tokio::spawn(task.run::<RustCrypto>(device_stop.clone()));
        let mut works = miner.work();
        works.wait_for(Option::is_some).await.expect("the device lives");
        let work = works.borrow().expect("some");
        for solution in solutions(&work) {
            miner.solutions().send(solution).await.expect("the device lives");
        }
        device_stop.start(GRACE);
        device_task.await.expect("no panic");
        let statistics = miner.statistics();
        assert_eq!((statistics.accepted, statistics.rejected, statistics.lost), (SHARES, 0, 0));

        pool_stop.start(GRACE);
        pool_task.await.expect("an orderly end");
        store.await;
        assert_eq!(handle.statistics(smol_clock.now()).accepted, SHARES);
        provider_stop.start(GRACE);
        provider_task.await.expect("no panic").expect("an orderly end");
        let mut heard = Vec::new();
        while let Some(event) = events.try_recv() {
            heard.push(event.event);
        }
        all_blocks(heard);
    });
}

/// smol's provider, tokio's pool, smol's device.
#[test]
fn a_tokio_pool_between_smol_peers() {
    run(async |smol| {
        let clock = adit_smol::clock::Clock::start();
        let links = Arc::new(adit_smol::link::LinkSettings::new(clock.clone(), 4));
        let (provider, mut events) = adit_smol::provider::ProviderHandle::new(clock.clone(), 1, 64);
        let provider_stop = adit_smol::shutdown::Shutdown::new(clock.clone());
        let gate = adit_smol::gate::Gate::new(adit_smol::gate::GateConfig::default());
        let listener = adit_smol::listen::Listener::bind(any(), gate, clock.clone()).expect("a port");
        let provider_at = listener.address();
        let (executor, handle, stop) = (Arc::clone(&smol), provider.clone(), provider_stop.clone());
        let settings = Arc::clone(&links);
        let provider_task = smol.spawn(async move {
            let responder = adit_smol::watch::channel(responder(SetupPolicy::new(0))).1;
            adit_smol::provider::serve_provider::<RustCrypto, _>(
                adit_smol::net::Spawn(&executor),
                vec![listener],
                responder,
                settings,
                handle,
                stop,
            )
            .await
        });
        tip(|new, transactions| provider.new_template(new, transactions), |id, tip| provider.new_tip(id, tip));

        let tokio_clock = adit_tokio::clock::Clock::start();
        let tokio_links = Arc::new(adit_tokio::link::LinkSettings::new(tokio_clock, 4));
        let handle = adit_tokio::pool::PoolHandle::new(pool(), AcceptAll, 64);
        let pool_stop = adit_tokio::shutdown::Shutdown::new(tokio_clock);
        let gate = adit_tokio::gate::Gate::new(adit_tokio::gate::GateConfig::default());
        let listener = adit_tokio::listen::Listener::bind(any(), gate, tokio_clock).expect("a port");
        let pool_at = listener.address();
        let server = adit_tokio::upstream::Server {
            host: provider_at.ip().to_string(),
            port: provider_at.port(),
            connection: initiator(),
        };
        let config = adit_tokio::upstream::UpstreamConfig::new(server);
        let setup = adit_tokio::pool::PoolSetup {
            listeners: vec![listener],
            responder: adit_tokio::watch::channel(responder(handle.setup_policy())).1,
            links: Arc::clone(&tokio_links),
            hasher: Arc::new(Method::fastest()),
            provider: adit_tokio::upstream::Upstream::new(config, tokio_links),
            software: adit_tokio::upstream::Software::default(),
            reconnect: None,
        };
        let (sender, mut shares) = adit_tokio::queue::channel::<adit_tokio::pool::AcceptedShare>(64);
        let pool_task = tokio::spawn(adit_tokio::pool::serve_pool::<RustCrypto, _>(
            adit_tokio::net::Tokio,
            setup,
            handle.clone(),
            sender,
            pool_stop.clone(),
        ));
        let books = handle.clone();
        let store = tokio::spawn(async move {
            while let Some(accepted) = shares.recv().await {
                books.stored(accepted.share.ticket);
            }
        });

        let server = adit_smol::upstream::Server {
            host: pool_at.ip().to_string(),
            port: pool_at.port(),
            connection: initiator(),
        };
        let config = adit_smol::upstream::UpstreamConfig::new(server);
        let upstream = adit_smol::upstream::Upstream::new(config, links);
        let (task, miner) = adit_smol::device::DeviceTask::new(device(), upstream, 4, 64).unwrap();
        let device_stop = adit_smol::shutdown::Shutdown::new(clock.clone());
        let device_task = smol.spawn(task.run::<RustCrypto>(device_stop.clone()));
        let mut works = miner.work();
        works.wait_for(Option::is_some).await.expect("the device lives");
        let work = works.borrow().expect("some");
        for solution in solutions(&work) {
            miner.solutions().send(solution).await.expect("the device lives");
        }
        device_stop.start(GRACE);
        device_task.await;
        let statistics = miner.statistics();
        assert_eq!((statistics.accepted, statistics.rejected, statistics.lost), (SHARES, 0, 0));

        pool_stop.start(GRACE);
        pool_task.await.expect("no panic").expect("an orderly end");
        store.await.expect("no panic");
        assert_eq!(handle.statistics(tokio_clock.now()).accepted, SHARES);
        provider_stop.start(GRACE);
        provider_task.await.expect("an orderly end");
        let mut heard = Vec::new();
        while let Some(event) = events.try_recv() {
            heard.push(event.event);
        }
        all_blocks(heard);
    });
}
