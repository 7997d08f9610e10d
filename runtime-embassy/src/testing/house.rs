//! The core's pool on the pool's stack, one device at a time.

use std::boxed::Box;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::vec::Vec;

use adit::buffer::{Input, Output};
use adit::connection::{Connection, Event, SetupPolicy};
use adit::crypto::RustCrypto;
use adit::message::mining::SetupFlags;
use adit::message::template::{NewTemplate, SetNewPrevHash};
use adit::mining::server::ServerConfig;
use adit::mining::target::Target;
use adit::mining::vardiff::VardiffConfig;
use adit::protocol::{Mining, Protocol, Responder, TemplateDistribution};
use adit::role::ConnectionId;
use adit::role::pool::{AcceptAll, Pool, PoolConfig, PoolEvent, Share};
use adit::session::Session;
use adit::storage::Heap;
use adit::template::coinbase::Payout;
use adit::wire::{Revision, U256};
use embassy_futures::select::{Either3, select, select3};
use embassy_net::Stack;
use embassy_net::tcp::{TcpReader, TcpSocket, TcpWriter};
use embassy_sync::blocking_mutex::raw::NoopRawMutex;
use embassy_sync::signal::Signal;

use super::lab::{Lab, until};
use super::{WALL, responder};
use crate::clock::{now, sleep_until};
use crate::link::{Link, LinkSettings, Turn};

type Served<'s> = Link<Responder, Mining, RustCrypto, Vec<u8>, Vec<u8>, TcpReader<'s>, TcpWriter<'s>>;

/// No hash is a block.
pub(crate) const HARD: Target = Target::ZERO;

#[derive(Clone, Copy, Default)]
pub(crate) struct Options {
    /// 0: one that no pool had.
    pub(crate) port: u16,
    /// The port where clients are sent when it ends.
    pub(crate) reconnect: Option<u16>,
}

/// A pool with templates but no provider.
pub(crate) struct House {
    server: Rc<Server>,
    options: Options,
    /// Shares that the store has seen.
    seen: usize,
}

impl Lab {
    pub(crate) fn house(&self, options: Options) -> House {
        let port = if options.port == 0 { self.free_port() } else { options.port };
        let server = Rc::new(Server::new());
        let (served, stack) = (Rc::clone(&server), self.net.pool);
        self.spawn(async move { select(served.serve(stack, port), served.crashes.wait()).await });
        House { server, options: Options { port, ..options }, seen: 0 }
    }
}

impl House {
    pub(crate) fn port(&self) -> u16 {
        self.options.port
    }

    /// Looks at the pool or changes it; what it has to say is sent.
    pub(crate) fn with<T>(&self, look: impl FnOnce(&mut Pool<Heap>) -> T) -> T {
        let value = look(&mut self.server.pool.borrow_mut());
        self.server.changed.signal(());
        value
    }

    /// A template and its tip.
    pub(crate) fn new_tip(&self, n: u8, target: Target) {
        type ToClient<'a> = <TemplateDistribution as Protocol>::ToClient<'a>;
        let template_id = u64::from(n);
        let template = NewTemplate {
            template_id,
            future_template: true,
            version: 0x2000_0000,
            coinbase_tx_version: 2,
            coinbase_prefix: (&[1, 7]).into(),
            coinbase_tx_input_sequence: u32::MAX,
            coinbase_tx_value_remaining: 5_000,
            coinbase_tx_outputs_count: 0,
            coinbase_tx_outputs: (&[]).into(),
            coinbase_tx_locktime: 0,
            merkle_path: adit::wire::Seq0255::new(&[]),
        };
        let tip = SetNewPrevHash {
            template_id,
            prev_hash: U256([n; 32]),
            header_timestamp: WALL.as_secs(),
            n_bits: 0x207f_ffff,
            target: U256(target.to_le_bytes()),
        };
        self.with(|pool| {
            let _ = pool.handle_provider(now(), ToClient::NewTemplate(template)).unwrap();
            let _ = pool.handle_provider(now(), ToClient::SetNewPrevHash(tip)).unwrap();
        });
    }

    pub(crate) fn accepted(&self, _: &Lab) -> u64 {
        self.server.shares.borrow().len() as u64
    }

    /// Waits until so many shares were accepted in all.
    pub(crate) async fn has_accepted(&self, count: usize) {
        until(|| self.server.shares.borrow().len() >= count).await;
    }

    /// The ticket of the next share for the store.
    pub(crate) async fn ticket(&mut self) -> u64 {
        self.has_accepted(self.seen + 1).await;
        self.next_ticket().unwrap()
    }

    /// As [`ticket`](Self::ticket), if it is there.
    pub(crate) fn next_ticket(&mut self) -> Option<u64> {
        let ticket = self.server.shares.borrow().get(self.seen).map(|share| share.ticket);
        self.seen += usize::from(ticket.is_some());
        ticket
    }

    /// All up to this ticket are stored.
    pub(crate) fn stored(&self, ticket: u64) {
        self.with(|pool| pool.stored(ticket));
    }

    /// Stores at once whatever the pool accepts from now on.
    pub(crate) fn store_all(&mut self, _: &Lab) {
        self.server.stores.set(true);
    }

    /// Waits for a block that the pool holds for its provider. What it stands on.
    pub(crate) async fn block(&mut self) -> [u8; 32] {
        let mut found = None;
        until(|| {
            found = self.with(|pool| pool.unsent_blocks().next().map(|block| block.prev_hash));
            found.is_some()
        })
        .await;
        found.unwrap()
    }

    /// Sends everybody elsewhere and waits until they have left, or crashes.
    pub(crate) async fn end(self, _: &Lab) {
        if let Some(port) = self.options.reconnect {
            assert!(self.with(|pool| pool.reconnect_all("", port)));
            until(|| self.with(|pool| pool.connections().next().is_none())).await;
        }
        self.server.crashes.signal(());
    }
}

/// What serves.
struct Server {
    pool: RefCell<Box<Pool<Heap>>>,
    /// Accepted, in their order.
    shares: RefCell<Vec<Share>>,
    /// Shares are stored as soon as they come.
    stores: Cell<bool>,
    changed: Signal<NoopRawMutex, ()>,
    crashes: Signal<NoopRawMutex, ()>,
}

impl Server {
    fn new() -> Self {
        // Floods are what is wanted here, so difficulty never rises.
        let vardiff = VardiffConfig { shares_per_minute: 1e12, ..VardiffConfig::default() };
        let server = ServerConfig { vardiff, ..ServerConfig::default() };
        let payouts = [Payout { script_pubkey: &[0x51], weight: 1 }];
        let mut pool = Pool::new(&PoolConfig { server, ..PoolConfig::new(&payouts) }).unwrap();
        pool.provider_connected();
        Self {
            pool: RefCell::new(Box::new(pool)),
            shares: RefCell::default(),
            stores: Cell::new(false),
            changed: Signal::new(),
            crashes: Signal::new(),
        }
    }

    /// Serves at a port for ever. Dropping it is a crash of the pool.
    async fn serve(&self, stack: Stack<'static>, port: u16) {
        let config = responder(SetupPolicy::new(self.pool.borrow().config().supported_flags().bits()));
        let (mut rx, mut tx) = (std::vec![0; 2048], std::vec![0; 2048]);
        let mut socket = TcpSocket::new(stack, &mut rx, &mut tx);
        loop {
            socket.abort();
            let _unless_late = socket.flush().await;
            if socket.accept(port).await.is_err() {
                continue;
            }
            let (reader, writer) = socket.split();
            let connection = Connection::responder(&config, [3; 32], now());
            let session = Session::new(connection, Input::new(std::vec![0; 4096]), Output::new(std::vec![0; 4096]));
            let link: Served<'_> = Link::new(session, WALL, reader, writer, LinkSettings::DEFAULT);
            self.connection(link).await;
            socket.close();
            let _unless_reset = socket.flush().await;
        }
    }

    async fn connection(&self, mut link: Served<'_>) {
        let mut id = None;
        loop {
            let deadline = self.pool.borrow().poll_timeout();
            let step = select3(link.next(), self.changed.wait(), sleep_until(deadline)).await;
            match step {
                Either3::First(Ok(Turn::Event(token))) => {
                    let Ok((event, mut out)) = link.event(token) else { break };
                    match event {
                        Event::Opened(setup) => {
                            let flags = SetupFlags::from_bits(setup.flags);
                            let connected = self.pool.borrow_mut().connect(now(), Revision::Draft, flags);
                            id = Some(connected.unwrap());
                        }
                        Event::Message(message) => {
                            let id = id.unwrap();
                            let event = self.pool.borrow_mut().handle(now(), id, &message, &mut AcceptAll, &mut out);
                            self.event(event.unwrap());
                        }
                        _ => {}
                    }
                }
                Either3::First(Ok(Turn::Room)) | Either3::Second(()) => {}
                Either3::First(Ok(Turn::Closed) | Err(_)) => break,
                Either3::Third(()) => drop(self.pool.borrow_mut().handle_timeout(now())),
            }
            self.send(id, &mut link);
        }
        if let Some(id) = id {
            self.pool.borrow_mut().disconnect(id);
        }
    }

    fn event(&self, event: PoolEvent) {
        if let PoolEvent::Share(share) = event {
            self.shares.borrow_mut().push(share);
            if self.stores.get() {
                self.pool.borrow_mut().stored(share.ticket);
            }
        }
    }

    fn send(&self, id: Option<ConnectionId>, link: &mut Served<'_>) {
        let mut pool = self.pool.borrow_mut();
        while pool.poll_dirty().is_some() {}
        let (Some(id), Some(mut out)) = (id, link.outbound()) else { return };
        if pool.poll_outbound(id, &mut out).is_err() {
            link.want_room();
        }
    }
}
