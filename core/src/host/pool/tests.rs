//! A device's connection by itself, polled by hand: what its task costs, and what a peer can do to it. What it does for devices that behave is tested
//! on each runtime (`conformance/roles`).

use std::{
    boxed::Box,
    future::Future,
    mem::size_of_val,
    pin::Pin,
    sync::Arc,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    task::{Context, Poll, Wake, Waker},
    time::Duration,
    vec::Vec,
};

use futures_lite::future::block_on;

use super::{downstream, *};
use crate::{
    connection::Event,
    crypto::RustCrypto,
    host::{
        queue,
        testing::{Client, Memory, Still, WALL, connection, pass, responder, settings},
        wake::Signal,
    },
    link::Turn,
    message::{
        mining::{OpenStandardMiningChannel, SubmitSharesStandard, ToClient},
        template::{self, NewTemplate, SetNewPrevHash},
    },
    mining::{lanes::Portable, server::ServerConfig, target::Target, vardiff::VardiffConfig},
    protocol::Mining,
    role::pool::{AcceptAll, PoolConfig},
    template::coinbase::Payout,
    wire::{B064K, B0255, Seq0255, U256},
};

/// Bytes that a connection's task may take.
const TASK: usize = 2_048;

/// A pool with a job for which no hash is a block.
fn pool() -> PoolHandle {
    let payouts = [Payout { script_pubkey: &[0x51], weight: 1 }];
    // Floods are what is wanted here, so difficulty never rises.
    let vardiff = VardiffConfig { shares_per_minute: 1e12, ..VardiffConfig::default() };
    let server = ServerConfig { vardiff, ..ServerConfig::default() };
    let pool = Pool::new(&PoolConfig { server, ..PoolConfig::new(&payouts) }).unwrap();
    let handle = PoolHandle::new(pool, AcceptAll, 16);
    new_tip(&handle, 1);
    handle
}

fn new_tip(handle: &PoolHandle, n: u8) {
    let template_id = u64::from(n);
    let template = NewTemplate {
        template_id,
        future_template: true,
        version: 0x2000_0000,
        coinbase_tx_version: 2,
        coinbase_prefix: B0255::new(&[1, 7]),
        coinbase_tx_input_sequence: u32::MAX,
        coinbase_tx_value_remaining: 5_000,
        coinbase_tx_outputs_count: 1,
        coinbase_tx_outputs: B064K::new(&[0; 9]),
        coinbase_tx_locktime: 0,
        merkle_path: Seq0255::new(&[]),
    };
    let tip = SetNewPrevHash {
        template_id,
        prev_hash: U256([n; 32]),
        header_timestamp: WALL.as_secs(),
        n_bits: 0x207f_ffff,
        target: U256(Target::ZERO.to_le_bytes()),
    };
    handle.with(|pool| {
        pool.provider_connected();
        for message in [template::ToClient::NewTemplate(template), template::ToClient::SetNewPrevHash(tip)] {
            let _job = pool.handle_provider(Still.now(), message).unwrap();
        }
    });
}

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A device with a channel, and the pool's task for it.
struct Device {
    link: Client<Mining>,
    server: Task,
    signal: Arc<Signal>,
    channel_id: u32,
    job_id: u32,
    sent: u32,
    /// What came, in order.
    heard: Vec<Heard>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heard {
    Channel,
    Job,
    PrevHash,
    Acknowledged(u32),
    Rejected(u32),
    Closed,
    Other,
}

/// The task of a connection with room for `capacity` bytes in either direction.
fn task(
    handle: &PoolHandle,
    store: Store<AcceptedShare>,
    capacity: usize,
) -> (impl Future<Output = ()> + Send + use<>, Arc<Signal>, Client<Mining>) {
    let (accepted, link) = connection::<Mining>(capacity);
    let signal = Arc::<Signal>::default();
    let port = downstream::Port::new(Arc::clone(&handle.shared), store, settings(), None, Arc::new(Portable::<1>));
    let responder = responder(handle.setup_policy());
    let server = downstream::run::<RustCrypto, Memory, _>(accepted, Arc::clone(&signal), responder, Arc::new(port));
    (server, signal, link)
}

impl Device {
    fn working(handle: &PoolHandle, store: Store<AcceptedShare>, capacity: usize) -> Self {
        let (server, signal, mut link) = task(handle, store, capacity);
        let mut server: Task = Box::pin(server);
        link.open(&mut context(), server.as_mut());
        let mut device = Self { link, server, signal, channel_id: 0, job_id: 0, sent: 0, heard: Vec::new() };
        device.open_channel();
        while !device.heard.contains(&Heard::PrevHash) {
            device.serve();
            device.listen();
        }
        device.heard.clear();
        device
    }

    fn open_channel(&mut self) {
        let open = OpenStandardMiningChannel {
            request_id: 7,
            user_identity: "account.worker".into(),
            nominal_hash_rate: 0.0,
            max_target: U256::MAX,
        };
        self.link.outbound().unwrap().send(&open).unwrap();
    }

    /// One more share goes into the link, if it has room.
    fn submit(&mut self) -> bool {
        let share = SubmitSharesStandard {
            channel_id: self.channel_id,
            sequence_number: self.sent,
            job_id: self.job_id,
            nonce: self.sent,
            ntime: WALL.as_secs(),
            version: 0x2000_0000,
        };
        let sent = self.link.outbound().is_some_and(|mut out| out.send(&share).is_ok());
        self.sent += u32::from(sent);
        sent
    }

    /// The pool's task has a turn. Whether it has ended.
    fn serve(&mut self) -> bool {
        self.server.as_mut().poll(&mut context()).is_ready()
    }

    /// The device sends what waits and hears what there is.
    fn listen(&mut self) {
        while let Poll::Ready(turn) = self.link.poll_next(&mut context()) {
            let token = match turn {
                Ok(Turn::Event(token)) => token,
                Ok(Turn::Room) => continue,
                Ok(Turn::Closed) | Err(_) => return self.heard.push(Heard::Closed),
            };
            let heard = match self.link.event(token).unwrap().0 {
                Event::Message(ToClient::OpenStandardMiningChannelSuccess(success)) => {
                    self.channel_id = success.channel_id;
                    Heard::Channel
                }
                Event::Message(ToClient::NewMiningJob(_)) => Heard::Job,
                Event::Message(ToClient::SetNewPrevHash(message)) => {
                    self.job_id = message.job_id;
                    Heard::PrevHash
                }
                Event::Message(ToClient::SubmitSharesSuccess(message)) => {
                    Heard::Acknowledged(message.new_submits_accepted_count)
                }
                Event::Message(ToClient::SubmitSharesError(message)) => Heard::Rejected(message.sequence_number),
                _ => Heard::Other,
            };
            self.heard.push(heard);
        }
    }
}

fn context() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

/// Most of what an idle connection costs. The runtimes' own streams and timers are some bytes larger than those of these tests.
#[test]
fn the_task_of_a_connection_is_small() {
    let (sender, _receiver) = queue::channel(1);
    let (task, ..) = task(&pool(), sender.into(), 64);
    let size = size_of_val(&task);
    assert!(size <= TASK, "{size} bytes");
}

/// What a device goes on to send when the shutdown has begun keeps nobody; what had arrived by then is dealt with.
#[test]
fn a_device_that_never_stops_sending_does_not_hold_up_the_shutdown() {
    // More than a task takes in one turn.
    const ROOM: usize = 1 << 16;
    let (sender, mut shares) = queue::channel(1 << 16);
    let handle = pool();
    let mut device = Device::working(&handle, sender.into(), ROOM);
    let fill = |device: &mut Device| {
        for _ in 0..32 {
            while device.submit() {}
            device.listen();
        }
    };
    fill(&mut device);
    // With their headers; some more wait in the device.
    let arrived = ROOM / 30 - 1;
    device.signal.shut_down();
    let mut stored = 0;
    for _ in 0..100 {
        // There is always something to read.
        fill(&mut device);
        device.serve();
        while let Some(share) = shares.try_recv() {
            stored = share.share.ticket;
        }
        handle.stored(stored);
        if device.heard.contains(&Heard::Closed) {
            break;
        }
    }
    let acknowledged: u32 =
        device.heard.iter().map(|heard| if let Heard::Acknowledged(count) = heard { *count } else { 0 }).sum();
    assert!(device.heard.contains(&Heard::Closed), "{acknowledged} acknowledged and no end");
    assert!(arrived <= acknowledged as usize, "{acknowledged} of {arrived}");
    assert_eq!(u64::from(acknowledged), stored);
}

/// News keep nobody from sending, however many there are: a device that sends all that it has before it reads anything finds it taken, whether
/// or not the store takes time.
#[test]
fn news_do_not_keep_a_device_from_sending() {
    const SHARES: u32 = 4_000;
    for at_once in [true, false] {
        let handle = pool();
        let (sender, mut shares) = queue::channel(SHARES as usize);
        let store =
            if at_once { Store::AtOnce(Arc::new(move |share| sender.try_send(share).unwrap())) } else { sender.into() };
        let mut device = Device::working(&handle, store, 64);
        device.link.stop_listening();
        let mut stored = 0;
        for _ in 0..SHARES {
            while device.sent < SHARES && device.submit() {}
            device.link.want_room();
            device.listen();
            device.serve();
            while let Some(share) = shares.try_recv() {
                stored = share.share.ticket;
                if !at_once {
                    handle.stored(stored);
                }
            }
        }
        assert_eq!((stored, at_once), (SHARES.into(), at_once));
        device.link.listen_again();
        for _ in 0..SHARES {
            device.listen();
            device.serve();
        }
        let acknowledged: u32 =
            device.heard.iter().map(|heard| if let Heard::Acknowledged(count) = heard { *count } else { 0 }).sum();
        assert_eq!((acknowledged, at_once), (SHARES, at_once));
    }
}

/// What came behind a share that waited for the store is as late as the share: a channel that is opened then has not been silent meanwhile.
#[test]
fn what_comes_behind_a_share_that_waited_for_the_store_comes_after_the_wait() {
    let handle = pool();
    let (sender, mut shares) = queue::channel(2);
    let mut device = Device::working(&handle, sender.into(), 4_096);
    let first = device.channel_id;
    assert!(device.submit() && device.submit());
    device.listen();
    device.serve();
    // The queue is full: this one waits, and the channel behind it.
    assert!(device.submit());
    device.open_channel();
    device.listen();
    device.serve();
    device.listen();
    assert!(!device.heard.contains(&Heard::Channel));
    pass(Duration::from_secs(120));
    // Both places, so that it is looked for what comes behind the share.
    let mut stored = Vec::new();
    assert_eq!(block_on(shares.recv_many(&mut stored, 2)), 2);
    device.serve();
    device.listen();
    assert!(device.heard.contains(&Heard::Channel) && device.channel_id != first);
    handle.with(|pool| {
        let (_, server) = pool.connections().next().unwrap();
        let rate = server.channel(device.channel_id).unwrap().hash_rate(Still.now());
        assert_eq!(rate, None, "no time has passed for it");
    });
}

/// Counts how often a task is woken.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

/// A task that was woken to acknowledge has asked its stream without room to read to, and still hears of what comes.
#[test]
fn who_was_woken_to_write_is_woken_by_what_comes_next() {
    let handle = pool();
    let (sender, mut shares) = queue::channel(16);
    let mut device = Device::working(&handle, sender.into(), 4_096);
    let woken = Arc::<Woken>::default();
    let waker = Waker::from(Arc::clone(&woken));
    let serve = |device: &mut Device| {
        let before = woken.0.swap(0, SeqCst);
        assert!(device.server.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        before
    };
    serve(&mut device);
    for n in 1..4 {
        assert!(device.submit());
        device.listen();
        assert!(serve(&mut device) > 0, "share {n} came");
        handle.stored(shares.try_recv().unwrap().share.ticket);
        assert!(serve(&mut device) > 0, "share {n} is stored");
        device.listen();
        assert_eq!(device.heard.pop(), Some(Heard::Acknowledged(1)));
    }
}
