//! A provider and a pool that serve on loopback, with nobody connected yet.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use adit::{
    backoff::BackoffConfig,
    connection::SetupPolicy,
    crypto::RustCrypto,
    host::{queue, watch},
    mining::{server::ServerConfig, target::Target, vardiff::VardiffConfig},
    role::{
        pool::{AcceptAll, Pool, PoolConfig, PoolLimits},
        provider::NewTemplate,
    },
    storage::Heap,
    template::{
        Constraints, Tip,
        book::Basis,
        coinbase::{Payout, TemplateCoinbase},
    },
};
use adit_native::hash::Method;

use super::{
    ends::{WALL, initiator, responder},
    lab::{Lab, Task, join},
};
use crate::{
    gate::{Gate, GateConfig},
    pool::{AcceptedShare, PoolHandle, PoolServeError, PoolSetup, Store, serve_pool},
    provider::{Heard, ProviderEvent, ProviderHandle, Transactions, serve_provider},
    serve::ServeError,
    shutdown::Shutdown,
    upstream::{Server, Software, Upstream, UpstreamConfig, UpstreamState},
};

const OUTPUTS: [u8; 9] = [0; 9];
/// No hash is a block.
pub(crate) const HARD: Target = Target::ZERO;

/// A template provider that serves at a port.
pub(crate) struct Node {
    pub(crate) handle: ProviderHandle,
    pub(crate) events: queue::Receiver<Heard>,
    pub(crate) address: SocketAddr,
    pub(crate) gate: Gate,
    pub(crate) shutdown: Shutdown,
    pub(crate) server: Task<Result<(), ServeError>>,
}

impl Node {
    /// A template with room for `room` more bytes in the coinbase.
    pub(crate) fn template(basis: Basis, room: u32) -> NewTemplate<'static> {
        let coinbase = TemplateCoinbase {
            tx_version: 2,
            script_prefix: &[1, 7],
            input_sequence: u32::MAX,
            value_remaining: 5_000,
            outputs_count: 1,
            outputs: &OUTPUTS,
            lock_time: 0,
        };
        let room = Constraints { max_additional_size: room, max_additional_sigops: 4 };
        NewTemplate { basis, version: 0x2000_0000, coinbase, merkle_path: &[], room }
    }

    /// A template of its own at once, without transactions.
    pub(crate) fn new_tip(&self, n: u8, target: Target) {
        self.new_tip_with(n, target, Transactions::default());
    }

    /// As [`new_tip`](Self::new_tip); the number of the template.
    pub(crate) fn new_tip_with(&self, n: u8, target: Target, transactions: Transactions) -> u64 {
        let id = self.handle.new_template(&Self::template(Basis::Next, 100), transactions).unwrap();
        let tip = Tip { prev_hash: [n; 32], header_timestamp: WALL.as_secs(), n_bits: 0x207f_ffff, target };
        self.handle.new_tip(id, tip).unwrap();
        id
    }

    /// What its owner hears next; a solution counts as judged at once.
    pub(crate) async fn event(&mut self) -> ProviderEvent {
        self.events.recv().await.expect("the provider lives").event
    }
}

pub(crate) struct House {
    pub(crate) node: Node,
    pub(crate) handle: PoolHandle,
    pub(crate) shares: queue::Receiver<AcceptedShare>,
    pub(crate) provider: watch::Receiver<UpstreamState>,
    pub(crate) address: SocketAddr,
    pub(crate) shutdown: Shutdown,
    pub(crate) server: Task<Result<(), PoolServeError>>,
}

#[derive(Clone, Copy)]
pub(crate) struct Options {
    pub(crate) limits: PoolLimits,
    /// 0: of the system's choice.
    pub(crate) port: u16,
    pub(crate) queue: usize,
    /// Shares are stored as they come; the queue only shows them.
    pub(crate) at_once: bool,
    /// The port where clients are sent at the shutdown.
    pub(crate) reconnect: Option<u16>,
}

impl Default for Options {
    fn default() -> Self {
        Self { limits: PoolLimits::default(), port: 0, queue: 1_024, at_once: false, reconnect: None }
    }
}

impl House {
    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// A template and its tip, from the pool's own provider.
    pub(crate) fn new_tip(&self, n: u8, target: Target) {
        self.node.new_tip(n, target);
    }

    /// Looks at the pool.
    pub(crate) fn with<T>(&self, look: impl FnOnce(&mut Pool<Heap>) -> T) -> T {
        self.handle.with(look)
    }

    pub(crate) fn accepted(&self, lab: &Lab) -> u64 {
        self.handle.statistics(lab.now()).accepted
    }

    /// The next share for the store.
    pub(crate) async fn share(&mut self) -> AcceptedShare {
        self.shares.recv().await.expect("the pool lives")
    }

    /// Its ticket.
    pub(crate) async fn ticket(&mut self) -> u64 {
        self.share().await.share.ticket
    }

    /// As [`ticket`](Self::ticket), if it is there.
    pub(crate) fn next_ticket(&mut self) -> Option<u64> {
        self.shares.try_recv().map(|accepted| accepted.share.ticket)
    }

    /// All up to this ticket are stored.
    pub(crate) fn stored(&self, ticket: u64) {
        self.handle.stored(ticket);
    }

    /// Stores at once whatever the pool accepts from now on.
    pub(crate) fn store_all(&mut self, lab: &Lab) {
        let handle = self.handle.clone();
        let mut shares = std::mem::replace(&mut self.shares, queue::channel(1).1);
        lab.go(async move {
            while let Some(accepted) = shares.recv().await {
                handle.stored(accepted.share.ticket);
            }
        });
    }

    /// Waits for the next block that the provider is handed, which must be good. What it stands on.
    pub(crate) async fn block(&mut self) -> [u8; 32] {
        loop {
            if let ProviderEvent::Solution(found) = self.node.event().await {
                assert_eq!(found.breach, None);
                return found.header[4..36].try_into().unwrap();
            }
        }
    }

    /// Ends it in order.
    pub(crate) async fn end(self, _: &Lab) {
        self.shutdown.start(Duration::from_secs(10));
        join(self.server).await.unwrap();
    }
}

impl Lab {
    /// A provider at a port of the system's choice (0) or at this one, whose templates are numbered from `first_id` on.
    pub(crate) fn node(&self, port: u16, first_id: u64) -> Node {
        self.node_with(port, first_id, GateConfig::default())
    }

    /// As [`node`](Self::node), with these limits at its gate.
    pub(crate) fn node_with(&self, port: u16, first_id: u64, gate: GateConfig) -> Node {
        let (listener, gate) = self.listener(port, gate);
        let address = listener.address();
        let (handle, events) = ProviderHandle::new(self.clock(), first_id, 16);
        let shutdown = self.shutdown();
        let settings = Arc::new(self.settings().with_large_output());
        let responder = responder(SetupPolicy::new(0));
        let (lab, provider, stop) = (self.clone(), handle.clone(), shutdown.clone());
        let server = self.spawn(async move {
            serve_provider::<RustCrypto, _>(lab, vec![listener], responder, settings, provider, stop).await
        });
        Node { handle, events, address, gate, shutdown, server }
    }

    /// A pool with a provider of its own.
    pub(crate) fn house(&self, options: Options) -> House {
        self.house_at(self.node(0, 1), options)
    }

    /// As [`house`](Self::house), with this provider.
    pub(crate) fn house_at(&self, node: Node, options: Options) -> House {
        let payouts = [Payout { script_pubkey: &[0x51], weight: 1 }];
        // Floods are what is wanted here, so difficulty never rises.
        let vardiff = VardiffConfig { shares_per_minute: 1e12, ..VardiffConfig::default() };
        let server = ServerConfig { vardiff, ..ServerConfig::default() };
        let config = PoolConfig { server, limits: options.limits, ..PoolConfig::new(&payouts) };
        let handle = PoolHandle::new(Pool::new(&config).unwrap(), AcceptAll, 64);
        let (listener, _) = self.listener(options.port, GateConfig::default());
        let address = listener.address();
        let server = Server { host: "127.0.0.1".into(), port: node.address.port(), connection: initiator() };
        let backoff = BackoffConfig { first: Duration::from_millis(2), ..BackoffConfig::default() };
        let config = UpstreamConfig { backoff, ..UpstreamConfig::new(server) };
        let links = Arc::new(self.settings());
        let upstream = Upstream::new(config, Arc::clone(&links));
        let provider = upstream.watch();
        let setup = PoolSetup {
            listeners: vec![listener],
            responder: responder(handle.setup_policy()),
            links,
            hasher: Arc::new(Method::fastest_for_shares()),
            provider: upstream,
            software: Software::default(),
            reconnect: options.reconnect.map(|port| (String::new(), port)),
        };
        let (sender, shares) = queue::channel(options.queue);
        let shutdown = self.shutdown();
        let store = if options.at_once {
            Store::AtOnce(Arc::new(move |share| sender.try_send(share).expect("room")))
        } else {
            sender.into()
        };
        let (lab, pool, stop) = (self.clone(), handle.clone(), shutdown.clone());
        let server =
            self.spawn(async move { serve_pool::<RustCrypto, AcceptedShare>(lab, setup, pool, store, stop).await });
        House { node, handle, shares, provider, address, shutdown, server }
    }
}
