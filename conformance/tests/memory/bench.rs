//! A device in firmware's sizes and a pool on the heap, joined by Noise, with a provider's messages put in by hand. Counts the allocations of
//! each part apart; the bench itself allocates nothing while it counts.

use std::time::Duration;

use adit::buffer::{Input, Output};
use adit::config::{DEVICE_INPUT, DEVICE_OUTPUT, SERVER_INPUT, SERVER_OUTPUT};
use adit::connection::{Connection, Event, Progress, SetupPolicy};
use adit::message::mining::SetupFlags;
use adit::message::template::{NewTemplate, SetNewPrevHash, ToClient};
use adit::mining::target::Target;
use adit::protocol::{Initiator, Mining, Responder};
use adit::role::device::{DeviceConfig, Endpoint, Outcome};
use adit::role::pool::{AcceptAll, PoolConfig, PoolEvent, ProviderEvent, TemplateNews};
use adit::role::{ConnectionId, Device, Pool};
use adit::session::Session;
use adit::storage::Heap;
use adit::template::coinbase::Payout;
use adit::time::Instant;
use adit::wire::{Revision, Seq0255, U256};
use adit_conformance::pair::{PairConfig, WALL, configs};

use crate::allocator::allocations;

pub(crate) type Upstream = Session<Initiator, Mining, [u8; DEVICE_INPUT], [u8; DEVICE_OUTPUT]>;
pub(crate) type Downstream = Session<Responder, Mining, [u8; SERVER_INPUT], [u8; SERVER_OUTPUT]>;

const SCRIPT: [u8; 22] = [0x51; 22];

/// Allocations so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Of the device and its session.
    pub(crate) device: u64,
    /// Of the server's session and the pool, for this connection.
    pub(crate) server: u64,
    /// Of the pool, for taking templates and tips.
    pub(crate) templates: u64,
}

/// What happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) works: u64,
    pub(crate) acknowledged: u64,
}

pub(crate) struct Bench {
    pub(crate) pool: Box<Pool<Heap>>,
    device: Device,
    upstream: Upstream,
    downstream: Downstream,
    id: Option<ConnectionId>,
    now: Instant,
    nonce: u32,
    templates: u64,
    pub(crate) counts: Counts,
    pub(crate) seen: Seen,
}

pub(crate) fn pool() -> Box<Pool<Heap>> {
    let payouts = [Payout { script_pubkey: &SCRIPT, weight: 1 }];
    Box::new(Pool::new(&PoolConfig { tag: b"/adit/", ..PoolConfig::new(&payouts) }).expect("a good configuration"))
}

/// A template on the tip, or for the next one, as a provider of a full block sends it.
pub(crate) fn template(pool: &mut Pool<Heap>, now: Instant, template_id: u64, future: bool) {
    let path = [U256([7; 32]); 12];
    let outputs = [&[0; 8], &[38, 0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed][..], &[3; 32]];
    let mut commitment = [0; 47];
    commitment.iter_mut().zip(outputs.into_iter().flatten()).for_each(|(to, byte)| *to = *byte);
    let message = ToClient::NewTemplate(NewTemplate {
        template_id,
        future_template: future,
        version: 0x2000_0000,
        coinbase_tx_version: 2,
        coinbase_prefix: (&[3, 1, 2, 3]).into(),
        coinbase_tx_input_sequence: u32::MAX,
        coinbase_tx_value_remaining: 5_000_000_000,
        coinbase_tx_outputs_count: 1,
        coinbase_tx_outputs: (&commitment).into(),
        coinbase_tx_locktime: 0,
        merkle_path: Seq0255::new(&path),
    });
    let taken = pool.handle_provider(now, message).expect("an honest provider");
    assert_eq!(taken, ProviderEvent::Template(TemplateNews::Job { template_id, future }));
}

/// A new tip, on a network so hard that no share is a block.
pub(crate) fn prev_hash(pool: &mut Pool<Heap>, now: Instant, template_id: u64) {
    let message = ToClient::SetNewPrevHash(SetNewPrevHash {
        template_id,
        prev_hash: U256([template_id as u8; 32]),
        header_timestamp: WALL.as_secs(),
        n_bits: 0x1703_a30c,
        target: Target::from_nbits(0x1703_a30c).expect("a target").into(),
    });
    let taken = pool.handle_provider(now, message).expect("an honest provider");
    assert!(matches!(taken, ProviderEvent::Template(TemplateNews::Tip { .. })), "{taken:?}");
}

impl Bench {
    /// A device with an open channel and its first work.
    pub(crate) fn ready() -> Self {
        let mut pool = pool();
        let now = Instant::from_secs(1_000);
        pool.provider_connected();
        template(&mut pool, now, 1, true);
        prev_hash(&mut pool, now, 1);
        let setup = SetupPolicy::new(pool.config().supported_flags().bits());
        let (client, server) = configs(&PairConfig { setup, ..PairConfig::default() });
        let upstream = Connection::initiator(&client, [1; 32], now);
        let downstream = Connection::responder(&server, [2; 32], now);
        let mut device = Device::new(DeviceConfig::new("worker", "adit", "bench", "1.0", "1"));
        device.connecting(Endpoint::new("pool.example", 34_254).expect("a short name"));
        let mut bench = Self {
            pool,
            device,
            upstream: Session::new(upstream, Input::new([0; DEVICE_INPUT]), Output::new([0; DEVICE_OUTPUT])),
            downstream: Session::new(downstream, Input::new([0; SERVER_INPUT]), Output::new([0; SERVER_OUTPUT])),
            id: None,
            now,
            nonce: 0,
            templates: 1,
            counts: Counts::default(),
            seen: Seen::default(),
        };
        bench.exchange();
        assert!(bench.device.work().is_some());
        bench
    }

    /// Both sides, until neither has anything to say.
    fn exchange(&mut self) {
        loop {
            let (device, sent) = allocations(|| self.device_turn());
            let (server, answered) = allocations(|| self.server_turn());
            self.counts.device += device;
            self.counts.server += server;
            if !sent && !answered {
                return;
            }
        }
    }

    /// Says whether anything went out.
    fn device_turn(&mut self) -> bool {
        while let Progress::Event(token) = self.upstream.advance(self.now, WALL).expect("an honest server") {
            let (event, mut out) = self.upstream.take_event(token).expect("well formed");
            match self.device.handle(self.now, &event, &mut out).expect("room") {
                Outcome::NewWork => self.seen.works += 1,
                Outcome::Accepted { count, .. } => self.seen.acknowledged += count,
                Outcome::Done | Outcome::Ready | Outcome::ChannelOpened { .. } | Outcome::NewTarget => {}
                other => panic!("{other:?}"),
            }
        }
        self.device.poll_outbound(self.now, &mut self.upstream.outbound()).expect("room");
        let sent = self.upstream.output().len();
        let n = sent.min(self.downstream.input_space().len());
        self.downstream.input_space()[..n].copy_from_slice(&self.upstream.output()[..n]);
        self.downstream.commit_input(n).expect("space");
        self.upstream.consume_output(n).expect("filled");
        n > 0
    }

    fn server_turn(&mut self) -> bool {
        while let Progress::Event(token) = self.downstream.advance(self.now, WALL).expect("an honest device") {
            let (event, mut out) = self.downstream.take_event(token).expect("well formed");
            match (event, self.id) {
                (Event::Opened(setup), _) => {
                    let flags = SetupFlags::from_bits(setup.flags);
                    self.id = Some(self.pool.connect(self.now, Revision::Draft, flags).expect("a place"));
                }
                (Event::Message(message), Some(id)) => {
                    let event = self.pool.handle(self.now, id, &message, &mut AcceptAll, &mut out).expect("room");
                    match event {
                        // Stored as soon as it came.
                        PoolEvent::Share(share) => self.pool.stored(share.ticket),
                        PoolEvent::Rejected { rejection, .. } => panic!("{rejection:?}"),
                        _ => {}
                    }
                }
                _ => {}
            }
        }
        while let Some(id) = self.pool.poll_dirty() {
            self.pool.poll_outbound(id, &mut self.downstream.outbound()).expect("room");
        }
        let n = self.downstream.output().len().min(self.upstream.input_space().len());
        self.upstream.input_space()[..n].copy_from_slice(&self.downstream.output()[..n]);
        self.upstream.commit_input(n).expect("space");
        self.downstream.consume_output(n).expect("filled");
        n > 0
    }

    /// Ten seconds later the device has found a share, and it is acknowledged.
    pub(crate) fn share(&mut self) {
        self.now = self.now.saturating_add(Duration::from_secs(10));
        let (count, idle) = allocations(|| self.pool.handle_timeout(self.now));
        self.counts.server += count;
        assert_eq!(idle, None);
        let (device, ()) = allocations(|| {
            let work = self.device.work().expect("work");
            let ntime = work.max_ntime(self.now);
            let found = loop {
                self.nonce += 1;
                if work.target.is_met_by(&work.header(work.version, ntime, self.nonce).hash()) {
                    break work.solution(work.version, ntime, self.nonce);
                }
            };
            self.device.submit(self.now, &found, &mut self.upstream.outbound()).expect("a good share");
        });
        self.counts.device += device;
        self.exchange();
    }

    /// Another template on the tip: another job.
    pub(crate) fn job(&mut self) {
        self.templates += 1;
        let (count, ()) = allocations(|| template(&mut self.pool, self.now, self.templates, false));
        self.counts.templates += count;
        self.exchange();
    }

    /// Another block: a future template and its prevhash.
    pub(crate) fn block(&mut self) {
        self.templates += 1;
        let (count, ()) = allocations(|| {
            template(&mut self.pool, self.now, self.templates, true);
            prev_hash(&mut self.pool, self.now, self.templates);
        });
        self.counts.templates += count;
        self.exchange();
    }
}
