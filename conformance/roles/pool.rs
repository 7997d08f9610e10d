//! A provider, a pool and devices over loopback and Noise. One text for all runtimes of computers, which include it as their tests: what they
//! differ in is their `testing` module.

use std::{
    net::SocketAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use adit::{
    connection::{Event, State as Phase},
    crypto::RustCrypto,
    message::mining::{OpenStandardMiningChannel, SubmitSharesStandard, ToClient},
    mining::target::Target,
    protocol::{Initiator, Mining},
    role::pool::Pool,
    storage::Heap,
    wire::U256,
};

use super::{AcceptedShare, PoolNews, PoolServeError};
use crate::{
    link::{Link, LinkError, Turn},
    provider::ProviderEvent,
    testing::{
        Lab, Stream, WALL,
        house::{HARD, House, Options},
        join, or, run, run_on_threads, run_still, setup, tcp, yield_now, zip,
    },
    upstream::UpstreamState,
};

/// A device with one standard channel, for which every hash is a share.
struct Device {
    link: Link<Initiator, Mining, RustCrypto, Stream>,
    channel_id: u32,
    job_id: u32,
    nonce: u32,
    sent: u32,
    /// Sequence numbers of rejected shares.
    errors: Vec<u32>,
    acknowledged: u32,
    rejected: u32,
    sent_elsewhere: Option<u16>,
}

/// What a device can wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Opened,
    Channel,
    PrevHash([u8; 32]),
    Acknowledged(u32),
    Rejected,
    Elsewhere,
    Other,
    Closed,
}

impl Device {
    async fn connect(lab: &Lab, address: SocketAddr) -> Self {
        let link = lab.connect(address, lab.settings()).await;
        let mut device = Self {
            link,
            channel_id: 0,
            job_id: 0,
            nonce: 0,
            sent: 0,
            errors: Vec::new(),
            acknowledged: 0,
            rejected: 0,
            sent_elsewhere: None,
        };
        while device.step().await.unwrap() != Seen::Opened {}
        device
    }

    /// With a channel and a job to work on.
    async fn working(lab: &Lab, address: SocketAddr) -> Self {
        let mut device = Self::connect(lab, address).await;
        device.open();
        while !matches!(device.step().await.unwrap(), Seen::PrevHash(_)) {}
        device
    }

    fn open(&mut self) {
        let open = OpenStandardMiningChannel {
            request_id: 7,
            user_identity: "account.worker".into(),
            nominal_hash_rate: 0.0,
            max_target: U256::MAX,
        };
        self.link.outbound().unwrap().send(&open).unwrap();
    }

    fn submit(&mut self) -> bool {
        let share = SubmitSharesStandard {
            channel_id: self.channel_id,
            sequence_number: self.sent,
            job_id: self.job_id,
            nonce: self.nonce,
            ntime: WALL.as_secs(),
            version: 0x2000_0000,
        };
        let sent = self.link.outbound().is_some_and(|mut out| out.send(&share).is_ok());
        self.sent += u32::from(sent);
        self.nonce = self.sent;
        sent
    }

    /// Everything that was sent is on its way.
    async fn flush(&mut self) {
        self.link.want_room();
        while self.step().await.unwrap() != Seen::Other {}
    }

    async fn step(&mut self) -> Result<Seen, LinkError> {
        let token = match self.link.next().await? {
            Turn::Event(token) => token,
            Turn::Room => return Ok(Seen::Other),
            Turn::Closed => return Ok(Seen::Closed),
        };
        Ok(match self.link.event(token)? {
            (Event::Secured(_), mut out) => {
                out.send(&setup::<Mining>()).unwrap();
                Seen::Other
            }
            (Event::Opened(_), _) => Seen::Opened,
            (Event::Message(message), _) => match message {
                ToClient::OpenStandardMiningChannelSuccess(success) => {
                    assert_eq!((success.request_id, success.target.0[31]), (7, 0xff), "every hash is a share");
                    self.channel_id = success.channel_id;
                    Seen::Channel
                }
                ToClient::SetNewPrevHash(message) => {
                    self.job_id = message.job_id;
                    Seen::PrevHash(message.prev_hash.0)
                }
                ToClient::SubmitSharesSuccess(success) => {
                    self.acknowledged += success.new_submits_accepted_count;
                    Seen::Acknowledged(success.new_submits_accepted_count)
                }
                ToClient::SubmitSharesError(error) => {
                    self.errors.push(error.sequence_number);
                    self.rejected += 1;
                    Seen::Rejected
                }
                _ => Seen::Other,
            },
            (Event::Reconnect(message), _) => {
                self.sent_elsewhere = Some(message.new_port);
                Seen::Elsewhere
            }
            _ => panic!("unexpected event"),
        })
    }

    async fn prev_hash(&mut self) -> [u8; 32] {
        loop {
            if let Seen::PrevHash(prev_hash) = self.step().await.unwrap() {
                return prev_hash;
            }
        }
    }

    async fn closed(&mut self) {
        while self.step().await.unwrap() != Seen::Closed {}
    }

    /// Nothing comes for a moment.
    async fn is_quiet(&mut self, lab: &Lab) -> bool {
        lab.timeout(Duration::from_millis(50), self.step()).await.is_none()
    }
}

#[test]
fn shares_are_acknowledged_when_they_are_stored_and_not_before() {
    run_still(async |lab| {
        let mut house = lab.house(Options::default());
        house.node.new_tip(1, HARD);
        let mut devices = [Device::working(&lab, house.address).await, Device::working(&lab, house.address).await];
        for device in &mut devices {
            for _ in 0..5 {
                assert!(device.submit());
            }
            device.flush().await;
        }
        for ticket in 1..=10 {
            let stored = house.share().await;
            assert_eq!((stored.share.ticket, &*stored.user), (ticket, &b"account.worker"[..]));
        }
        assert!(devices[0].is_quiet(&lab).await && devices[1].is_quiet(&lab).await);
        house.handle.stored(10);
        for device in &mut devices {
            while device.acknowledged < 5 {
                device.step().await.unwrap();
            }
        }
        // The same share again, and one of another job.
        (devices[0].sent, devices[0].nonce) = (0, 0);
        assert!(devices[0].submit());
        devices[1].job_id += 100;
        assert!(devices[1].submit());
        for device in &mut devices {
            while device.rejected < 1 {
                device.step().await.unwrap();
            }
        }
        let statistics = house.handle.statistics(lab.now());
        assert_eq!((statistics.accepted, statistics.rejected, statistics.connections), (10, 2, 2));
    });
}

/// D-SHARE-6: shares that arrive together are checked together; each is answered as if it had come alone, in their order, and what came behind
/// them is not forgotten.
#[test]
fn a_burst_is_answered_in_order() {
    run(async |lab| {
        let mut house = lab.house(Options::default());
        house.node.new_tip(1, HARD);
        let mut device = Device::working(&lab, house.address).await;
        let job = device.job_id;
        for n in 0..30 {
            // Every third share is for a job that there is not, every tenth is the first one again.
            device.job_id = if n % 3 == 1 { job + 100 } else { job };
            device.nonce = if n % 10 == 9 { 0 } else { n };
            assert!(device.submit());
        }
        device.open();
        device.job_id = job;
        assert!(device.submit());
        let mut tickets = Vec::new();
        while tickets.len() < 19 {
            let stored = async { Some(house.shares.recv().await.unwrap().share) };
            let seen = async {
                assert_ne!(device.step().await.unwrap(), Seen::Closed);
                None
            };
            tickets.extend(or(stored, seen).await);
        }
        let accepted: Vec<_> = (0..30).filter(|n| n % 3 != 1 && n % 10 != 9).chain([30]).collect();
        assert_eq!(tickets.iter().map(|share| share.sequence_number).collect::<Vec<_>>(), accepted);
        assert_eq!(tickets.iter().map(|share| share.ticket).collect::<Vec<_>>(), (1..=19).collect::<Vec<_>>());
        house.handle.stored(19);
        while device.acknowledged < 19 || device.rejected < 12 {
            device.step().await.unwrap();
        }
        assert_eq!(device.errors, (0..30).filter(|n| n % 3 == 1 || n % 10 == 9).collect::<Vec<_>>());
        assert_eq!(house.handle.statistics(lab.now()).channels, 2);
    });
}

/// A store that takes no time: nobody has to confirm anything, and what came behind the shares is not forgotten either.
#[test]
fn shares_that_are_stored_at_once_are_acknowledged_at_once() {
    run(async |lab| {
        let mut house = lab.house(Options { at_once: true, ..Options::default() });
        house.node.new_tip(1, HARD);
        let mut device = Device::working(&lab, house.address).await;
        for n in 1..=3 {
            assert!(device.submit());
            while device.acknowledged < n {
                device.step().await.unwrap();
            }
            assert_eq!(house.share().await.share.ticket, u64::from(n));
        }
        for n in 0..40 {
            device.nonce = if n % 10 == 9 { 0 } else { device.nonce };
            assert!(device.submit());
        }
        device.open();
        assert!(device.submit());
        while device.acknowledged < 40 || device.rejected < 4 {
            device.step().await.unwrap();
        }
        house.shutdown.start(Duration::from_secs(60));
        device.closed().await;
        join(house.server).await.unwrap();
        let mut tickets = Vec::new();
        while let Some(stored) = house.shares.try_recv() {
            tickets.push(stored.share.ticket);
        }
        assert_eq!(tickets, (4..=40).collect::<Vec<_>>());
        assert_eq!((device.acknowledged, device.rejected, house.handle.statistics(lab.now()).channels), (40, 4, 0));
    });
}

#[test]
fn a_new_tip_reaches_every_device() {
    run(async |lab| {
        let house = lab.house(Options::default());
        house.node.new_tip(1, HARD);
        let mut devices = Vec::new();
        for _ in 0..4 {
            devices.push(Device::working(&lab, house.address).await);
        }
        for n in 2..5 {
            house.node.new_tip(n, HARD);
            for device in &mut devices {
                assert_eq!(device.prev_hash().await, [n; 32]);
            }
        }
    });
}

/// And its share to the store.
#[test]
fn a_block_reaches_the_provider() {
    run(async |lab| {
        let mut house = lab.house(Options::default());
        house.node.new_tip(1, Target::MAX);
        let mut news = house.handle.subscribe();
        let mut device = Device::working(&lab, house.address).await;
        assert!(device.submit());
        device.flush().await;
        assert!(matches!(house.node.event().await, ProviderEvent::Connected(_)));
        let ProviderEvent::Solution(found) = house.node.event().await else { panic!("a solution") };
        let stored = house.share().await;
        assert_eq!((found.hash, found.breach), (stored.share.hash, None));
        assert!(stored.share.block.is_some_and(|block| block.submitted));
        assert_eq!(stored.block.as_ref().map(|block| &block.coinbase_tx), Some(&found.coinbase_tx));
        loop {
            if let PoolNews::Share(AcceptedShare { share, .. }) = news.recv().await.unwrap() {
                assert_eq!(share, stored.share);
                break;
            }
        }
        // The same again is none, and it is told whose it was.
        (device.sent, device.nonce) = (0, 0);
        assert!(device.submit());
        device.flush().await;
        loop {
            if let PoolNews::Rejected { user, .. } = news.recv().await.unwrap() {
                assert_eq!(&*user, b"account.worker");
                break;
            }
        }
    });
}

/// Tickets rise by one in the store's queue whichever threads accept shares, every share has one answer, and the books of devices, pool
/// and store agree.
#[test]
fn many_devices_on_several_threads_keep_the_books_balanced() {
    run_on_threads(4, async |lab| {
        const SHARES: u32 = 200;
        let mut house = lab.house(Options { queue: 8, ..Options::default() });
        house.node.new_tip(1, HARD);
        let mut devices = Vec::new();
        for _ in 0..16 {
            let mut device = Device::working(&lab, house.address).await;
            devices.push(lab.spawn(async move {
                while device.acknowledged + device.rejected < SHARES {
                    while device.sent < SHARES && device.submit() {}
                    if device.sent < SHARES {
                        device.link.want_room();
                    }
                    device.step().await.unwrap();
                }
                (device.acknowledged, device.rejected)
            }));
        }
        let store = async {
            let mut stored = 0;
            while let Some(accepted) = house.shares.recv().await {
                assert_eq!(accepted.share.ticket, stored + 1);
                stored = accepted.share.ticket;
                house.handle.stored(stored);
                if stored % 50 == 0 {
                    // Jobs go stale in between.
                    house.node.new_tip(u8::try_from(stored / 50 % 200).unwrap() + 2, HARD);
                }
            }
        };
        let answers = async {
            let (mut acknowledged, mut rejected) = (0, 0);
            for device in devices {
                let (yes, no) = join(device).await;
                assert_eq!(yes + no, SHARES);
                (acknowledged, rejected) = (acknowledged + u64::from(yes), rejected + u64::from(no));
            }
            (acknowledged, rejected)
        };
        let ended = async {
            store.await;
            panic!("the pool ended")
        };
        let (acknowledged, rejected) = or(ended, answers).await;
        let statistics = house.handle.statistics(lab.now());
        assert_eq!((statistics.accepted, statistics.rejected), (acknowledged, rejected));
    });
}

/// Devices keep their channels while the provider is away, and get its news when it is back.
#[test]
fn the_pool_finds_its_provider_again() {
    run(async |lab| {
        let mut house = lab.house(Options::default());
        house.node.new_tip(1, HARD);
        let mut device = Device::working(&lab, house.address).await;
        house.node.shutdown.start(Duration::from_secs(1));
        join(&mut house.node.server).await.unwrap();
        house.provider.wait_for(|state| matches!(state, UpstreamState::Waiting { .. })).await.unwrap();
        assert!(device.submit());
        device.flush().await;
        assert_eq!(house.share().await.share.ticket, 1, "shares count meanwhile");
        house.node = lab.node(house.node.address.port(), 1_000);
        house.node.new_tip(2, HARD);
        assert_eq!(device.prev_hash().await, [2; 32]);
    });
}

/// A house whose device has found a block while the provider was away.
async fn with_a_block_that_waits(lab: &Lab) -> (House, Device) {
    let mut house = lab.house(Options::default());
    house.node.new_tip(1, Target::MAX);
    let mut device = Device::working(lab, house.address).await;
    house.node.shutdown.start(Duration::from_secs(1));
    join(&mut house.node.server).await.unwrap();
    house.provider.wait_for(|state| matches!(state, UpstreamState::Waiting { .. })).await.unwrap();
    assert!(device.submit());
    device.flush().await;
    let found = house.share().await;
    house.handle.stored(found.share.ticket);
    (house, device)
}

/// D-TDP-17: the pool ends when the block has left, not before.
#[test]
fn a_shutdown_hands_a_block_over_to_a_provider_that_comes_back() {
    run(async |lab| {
        let (mut house, mut device) = with_a_block_that_waits(&lab).await;
        house.shutdown.start(Duration::from_secs(60));
        device.closed().await;
        house.node = lab.node(house.node.address.port(), 1);
        house.node.new_tip(1, Target::MAX);
        while !matches!(house.node.event().await, ProviderEvent::Solution(_)) {}
        join(house.server).await.unwrap();
        assert!(house.handle.with(|pool| pool.unsent_blocks().next().is_none()));
    });
}

/// Nobody takes it: the pool ends all the same, and the block is its owner's to keep.
#[test]
fn a_block_that_nobody_takes_is_left_to_the_owner() {
    run(async |lab| {
        let (house, mut device) = with_a_block_that_waits(&lab).await;
        house.shutdown.start(Duration::from_millis(200));
        device.closed().await;
        join(house.server).await.unwrap();
        let told =
            |pool: &mut Pool<Heap>| pool.unsent_blocks().map(|block| (block.template_id, block.prev_hash)).collect();
        let unsent: Vec<_> = house.handle.with(told);
        assert_eq!(unsent, [(1, [1; 32])]);
        assert_eq!(*house.provider.borrow(), UpstreamState::Stopped);
    });
}

/// A slow store: nothing that a device was promised is lost, and it is told where to go.
#[test]
fn a_shutdown_waits_for_the_store_and_acknowledges_everything() {
    run_still(async |lab| {
        let mut house = lab.house(Options { reconnect: Some(4_444), ..Options::default() });
        house.node.new_tip(1, HARD);
        let mut devices = [Device::working(&lab, house.address).await, Device::working(&lab, house.address).await];
        for device in &mut devices {
            for _ in 0..40 {
                assert!(device.submit());
            }
            device.flush().await;
        }
        house.shutdown.start(Duration::from_secs(60));
        let mut last = 0;
        let store = async {
            while let Some(stored) = house.shares.recv().await {
                last = stored.share.ticket;
                if last % 10 == 0 {
                    lab.sleep(Duration::from_secs(1)).await;
                    house.handle.stored(last);
                }
            }
        };
        let [a, b] = &mut devices;
        zip(store, zip(a.closed(), b.closed())).await;
        for device in &devices {
            assert_eq!((device.acknowledged, device.rejected, device.sent_elsewhere), (40, 0, Some(4_444)));
            assert_eq!(device.link.connection().state(), Phase::Closed);
        }
        assert_eq!(last, 80);
        join(house.server).await.unwrap();
    });
}

/// Nothing is owed to someone who has not finished handshake and setup.
#[test]
fn a_shutdown_does_not_wait_for_strangers() {
    run_still(async |lab| {
        let house = lab.house(Options::default());
        house.node.new_tip(1, HARD);
        let mut device = Device::working(&lab, house.address).await;
        let stranger = tcp(house.address).await.unwrap();
        lab.sleep(Duration::from_millis(10)).await;
        let begin = lab.now();
        house.shutdown.start(Duration::from_secs(3_600));
        device.closed().await;
        drop((device, stranger));
        join(house.server).await.unwrap();
        assert!(lab.since(begin) < Duration::from_secs(10), "{:?}", lab.since(begin));
    });
}

/// The store does not come back: the grace ends the wait, and nothing unstored is acknowledged.
#[test]
fn the_end_of_the_grace_ends_a_stuck_shutdown() {
    run_still(async |lab| {
        let house = lab.house(Options::default());
        house.node.new_tip(1, HARD);
        let mut device = Device::working(&lab, house.address).await;
        assert!(device.submit());
        device.flush().await;
        house.shutdown.start(Duration::from_secs(5));
        join(house.server).await.unwrap();
        let end = async { while !matches!(device.step().await, Ok(Seen::Closed) | Err(_)) {} };
        end.await;
        assert_eq!(device.acknowledged, 0);
    });
}

/// The queue to the store is bounded: devices wait, and all is acknowledged in the end.
#[test]
fn a_full_queue_holds_devices_back_and_loses_nothing() {
    run_still(async |lab| {
        const SHARES: u32 = 5_000;
        let mut house = lab.house(Options { queue: 2, ..Options::default() });
        house.node.new_tip(1, HARD);
        let mut device = Device::working(&lab, house.address).await;
        let flood = lab.spawn(async move {
            while device.acknowledged < SHARES {
                while device.sent < SHARES && device.submit() {}
                if device.sent < SHARES {
                    device.link.want_room();
                }
                device.step().await.unwrap();
            }
            device
        });
        // Nobody takes shares until nothing moves any more: the device is stopped by its socket, not by the pool's memory; others come and go.
        lab.sleep(Duration::from_millis(100)).await;
        let _other = Device::working(&lab, house.address).await;
        let taken = house.handle.statistics(lab.now()).accepted;
        assert!(taken <= 2, "{taken}");
        let store = async {
            while let Some(stored) = house.shares.recv().await {
                house.handle.stored(stored.share.ticket);
            }
        };
        let ended = async {
            store.await;
            panic!("the pool ended")
        };
        let device = or(ended, join(flood)).await;
        assert_eq!((device.acknowledged, device.rejected), (SHARES, 0));
    });
}

#[test]
fn a_pool_without_a_store_ends() {
    run(async |lab| {
        let house = lab.house(Options::default());
        house.node.new_tip(1, HARD);
        let _device = Device::working(&lab, house.address).await;
        drop(house.shares);
        assert!(matches!(join(house.server).await, Err(PoolServeError::StoreGone)));
    });
}

/// D-OPEN-2
#[test]
fn a_client_without_a_channel_is_closed_after_a_while() {
    run_still(async |lab| {
        let house = lab.house(Options::default());
        house.node.new_tip(1, HARD);
        let mut working = Device::working(&lab, house.address).await;
        let begin = lab.now();
        let mut idle = Device::connect(&lab, house.address).await;
        idle.closed().await;
        let after = lab.since(begin);
        assert!(Duration::from_secs(59) <= after && after <= Duration::from_secs(63), "{after:?}");
        while house.handle.statistics(lab.now()).connections > 1 {
            yield_now().await;
        }
        assert!(working.submit());
        working.flush().await;
    });
}

/// Whoever comes upon it first, a device's task or what serves all of them: the pool's provider is connected.
#[test]
fn a_panic_under_the_lock_ends_the_pool_with_an_error() {
    for device_first in [true, false] {
        run(async |lab| {
            let house = lab.house(Options::default());
            house.node.new_tip(1, HARD);
            let mut device = Device::working(&lab, house.address).await;
            let change = AssertUnwindSafe(|| house.handle.with(|_| panic!("in the middle of a change")));
            assert!(catch_unwind(change).is_err());
            if device_first {
                assert!(device.submit());
            } else {
                house.node.new_tip(2, HARD);
            }
            while !matches!(device.step().await, Ok(Seen::Closed) | Err(_)) {}
            assert!(matches!(join(house.server).await, Err(PoolServeError::Serve(_))), "{device_first}");
        });
    }
}
