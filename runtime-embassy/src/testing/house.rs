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
use embassy_futures::select::{Either3, select3};
use embassy_net::Stack;
use embassy_net::tcp::{TcpReader, TcpSocket, TcpWriter};
use embassy_sync::blocking_mutex::raw::NoopRawMutex;
use embassy_sync::signal::Signal;

use super::{WALL, responder};
use crate::clock::{now, sleep_until};
use crate::link::{Link, LinkSettings, Turn};

type Served<'s> = Link<Responder, Mining, RustCrypto, Vec<u8>, Vec<u8>, TcpReader<'s>, TcpWriter<'s>>;

/// A pool with templates but no provider.
pub(crate) struct House {
    pool: RefCell<Box<Pool<Heap>>>,
    /// Accepted, in their order.
    pub(crate) shares: RefCell<Vec<Share>>,
    pub(crate) rejected: Cell<u32>,
    /// Shares are stored as soon as they come.
    pub(crate) stores: Cell<bool>,
    changed: Signal<NoopRawMutex, ()>,
    templates: Cell<u64>,
}

impl House {
    pub(crate) fn new() -> Rc<Self> {
        // Floods are what is wanted here, so difficulty never rises.
        let vardiff = VardiffConfig { shares_per_minute: 1e12, ..VardiffConfig::default() };
        let server = ServerConfig { vardiff, ..ServerConfig::default() };
        let payouts = [Payout { script_pubkey: &[0x51], weight: 1 }];
        let mut pool = Pool::new(&PoolConfig { server, ..PoolConfig::new(&payouts) }).unwrap();
        pool.provider_connected();
        Rc::new(Self {
            pool: RefCell::new(Box::new(pool)),
            shares: RefCell::default(),
            rejected: Cell::new(0),
            stores: Cell::new(true),
            changed: Signal::new(),
            templates: Cell::new(0),
        })
    }

    /// Looks at the pool or changes it; what it has to say is sent.
    pub(crate) fn with<T>(&self, look: impl FnOnce(&mut Pool<Heap>) -> T) -> T {
        let value = look(&mut self.pool.borrow_mut());
        self.changed.signal(());
        value
    }

    pub(crate) fn new_tip(&self, n: u8) {
        type ToClient<'a> = <TemplateDistribution as Protocol>::ToClient<'a>;
        let template_id = self.templates.get() + 1;
        self.templates.set(template_id);
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
            // No hash is a block.
            target: U256(Target::ZERO.to_le_bytes()),
        };
        self.with(|pool| {
            let _ = pool.handle_provider(now(), ToClient::NewTemplate(template)).unwrap();
            let _ = pool.handle_provider(now(), ToClient::SetNewPrevHash(tip)).unwrap();
        });
    }

    pub(crate) fn accepted(&self) -> usize {
        self.shares.borrow().len()
    }

    /// Waits until so many shares were accepted in all.
    pub(crate) async fn has_accepted(&self, count: usize) {
        while self.accepted() < count {
            sleep_until(Some(now().saturating_add(core::time::Duration::from_millis(1)))).await;
        }
    }

    /// Serves at a port for ever. Dropping it is a crash of the pool.
    pub(crate) async fn serve(self: Rc<Self>, stack: Stack<'static>, port: u16) {
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
        match event {
            PoolEvent::Share(share) => {
                self.shares.borrow_mut().push(share);
                if self.stores.get() {
                    self.pool.borrow_mut().stored(share.ticket);
                }
            }
            PoolEvent::Rejected { .. } => self.rejected.set(self.rejected.get() + 1),
            _ => {}
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
