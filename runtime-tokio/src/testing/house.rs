//! A provider and a pool that serve on loopback, with nobody connected yet.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use adit::{
    connection::SetupPolicy,
    crypto::RustCrypto,
    mining::{server::ServerConfig, target::Target, vardiff::VardiffConfig},
    role::{
        pool::{AcceptAll, Pool, PoolConfig, PoolLimits},
        provider::NewTemplate,
    },
    template::{
        Constraints, Tip,
        book::Basis,
        coinbase::{Payout, TemplateCoinbase},
    },
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

use crate::{
    backoff::BackoffConfig,
    gate::GateConfig,
    pool::{AcceptedShare, PoolHandle, PoolServeError, PoolSetup, serve_pool},
    provider::{ProviderEvent, ProviderHandle, Transactions, serve_provider},
    serve::ServeError,
    shutdown::Shutdown,
    testing,
    upstream::{Server, Software, Upstream, UpstreamConfig, UpstreamState},
};

const OUTPUTS: [u8; 9] = [0; 9];
/// No hash is a block.
pub(crate) const HARD: Target = Target::ZERO;

/// A template provider that serves at a port.
pub(crate) struct Node {
    pub(crate) handle: ProviderHandle,
    pub(crate) events: mpsc::Receiver<ProviderEvent>,
    pub(crate) address: SocketAddr,
    pub(crate) shutdown: Shutdown,
    pub(crate) server: JoinHandle<Result<(), ServeError>>,
}

impl Node {
    pub(crate) fn start(port: u16, first_id: u64) -> Self {
        let (listener, _) = testing::listener(port, GateConfig::default());
        let address = listener.address();
        let settings = Arc::new(testing::settings());
        let (handle, events) = ProviderHandle::new(settings.clock, first_id, 16);
        let shutdown = Shutdown::new();
        let server = tokio::spawn(serve_provider::<RustCrypto>(
            vec![listener],
            testing::responder(SetupPolicy::new(0)),
            settings,
            handle.clone(),
            shutdown.clone(),
        ));
        Self { handle, events, address, shutdown, server }
    }

    pub(crate) fn template(basis: Basis) -> NewTemplate<'static> {
        let coinbase = TemplateCoinbase {
            tx_version: 2,
            script_prefix: &[1, 7],
            input_sequence: u32::MAX,
            value_remaining: 5_000,
            outputs_count: 1,
            outputs: &OUTPUTS,
            lock_time: 0,
        };
        let room = Constraints { max_additional_size: 100, max_additional_sigops: 4 };
        NewTemplate { basis, version: 0x2000_0000, coinbase, merkle_path: &[], room }
    }

    pub(crate) fn new_tip(&self, n: u8, target: Target) {
        let id = self.handle.new_template(&Self::template(Basis::Next), Transactions::default()).unwrap();
        let header_timestamp = testing::WALL.as_secs();
        let tip = Tip { prev_hash: [n; 32], header_timestamp, n_bits: 0x207f_ffff, target };
        self.handle.new_tip(id, tip).unwrap();
    }
}

pub(crate) struct House {
    pub(crate) node: Node,
    pub(crate) handle: PoolHandle,
    pub(crate) shares: mpsc::Receiver<AcceptedShare>,
    pub(crate) provider: watch::Receiver<UpstreamState>,
    pub(crate) address: SocketAddr,
    pub(crate) shutdown: Shutdown,
    pub(crate) server: JoinHandle<Result<(), PoolServeError>>,
}

pub(crate) struct Options {
    pub(crate) limits: PoolLimits,
    /// 0: of the system's choice.
    pub(crate) port: u16,
    pub(crate) queue: usize,
    pub(crate) reconnect: Option<(String, u16)>,
}

impl Default for Options {
    fn default() -> Self {
        Self { limits: PoolLimits::default(), port: 0, queue: 1_024, reconnect: None }
    }
}

pub(crate) fn house(options: Options) -> House {
    let node = Node::start(0, 1);
    house_at(node, options)
}

/// As [`house`], with this provider.
pub(crate) fn house_at(node: Node, options: Options) -> House {
    let payouts = [Payout { script_pubkey: &[0x51], weight: 1 }];
    // Floods are what is wanted here, so difficulty never rises.
    let vardiff = VardiffConfig { shares_per_minute: 1e12, ..VardiffConfig::default() };
    let server = ServerConfig { vardiff, ..ServerConfig::default() };
    let config = PoolConfig { server, limits: options.limits, ..PoolConfig::new(&payouts) };
    let handle = PoolHandle::new(Pool::new(&config).unwrap(), AcceptAll, 64);
    let (listener, _) = testing::listener(options.port, GateConfig::default());
    let address = listener.address();
    let server = Server { host: "127.0.0.1".into(), port: node.address.port(), connection: testing::initiator() };
    let backoff = BackoffConfig { first: Duration::from_millis(2), ..BackoffConfig::default() };
    let config = UpstreamConfig { backoff, ..UpstreamConfig::new(server) };
    let links = Arc::new(testing::settings());
    let provider = Upstream::new(config, Arc::clone(&links));
    let seen = provider.watch();
    let setup = PoolSetup {
        listeners: vec![listener],
        responder: testing::responder(handle.setup_policy()),
        links,
        provider,
        software: Software::default(),
        reconnect: options.reconnect,
    };
    let (sender, shares) = mpsc::channel(options.queue);
    let shutdown = Shutdown::new();
    let server = tokio::spawn(serve_pool::<RustCrypto, AcceptedShare>(setup, handle.clone(), sender, shutdown.clone()));
    House { node, handle, shares, provider: seen, address, shutdown, server }
}

impl House {
    /// The next share for the store.
    pub(crate) async fn share(&mut self) -> AcceptedShare {
        self.shares.recv().await.expect("the pool lives")
    }
}
