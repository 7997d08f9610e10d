//! A hostile pool before a device: jobs for channels that there are not, jobs without end.

use adit::connection::Event;
use adit::message::JobStart;
use adit::message::common::SetupConnectionSuccess;
use adit::message::mining::{
    CloseChannel, NewMiningJob, OpenStandardMiningChannelSuccess, SetExtranoncePrefix, SetNewPrevHash, SetTarget,
    SubmitSharesSuccess, ToClient,
};
use adit::protocol::{Initiator, Mining};
use adit::role::Device;
use adit::role::device::{DeviceConfig, Endpoint, Fatal, Outcome};
use adit::time::Instant;
use adit::wire::U256;

use crate::allocator::allocations;
use crate::house::{TIME, Wire};

const NOW: Instant = Instant::from_secs(1_000);

struct Bench {
    device: Device,
    wire: Wire,
}

impl Bench {
    /// A device with channel 1 and job 1 in work.
    fn ready() -> Self {
        let mut device = Device::new(DeviceConfig::new("worker", "adit", "test", "1", ""));
        device.connecting(Endpoint::new("pool.example", 34_254).expect("a short name"));
        let mut bench = Self { device, wire: Wire::new(4_096) };
        assert_eq!(bench.event(&Event::Secured(None)), Outcome::Done);
        let success = SetupConnectionSuccess { used_version: 2, flags: 0 };
        assert_eq!(bench.event(&Event::Opened(success)), Outcome::Ready);
        let opened = OpenStandardMiningChannelSuccess {
            request_id: 1,
            channel_id: 1,
            target: U256::MAX,
            extranonce_prefix: (&[1; 20]).into(),
            group_channel_id: 9,
        };
        let outcome = bench.tell(ToClient::OpenStandardMiningChannelSuccess(opened));
        assert_eq!(outcome, Outcome::ChannelOpened { channel_id: 1 });
        assert_eq!(bench.tell(job(1, 1, JobStart::Future)), Outcome::Done);
        assert_eq!(bench.tell(prev_hash(1, 1)), Outcome::NewWork);
        bench
    }

    fn event<'m>(&mut self, event: &Event<'m, Initiator, Mining>) -> Outcome<'m> {
        self.device.handle(NOW, event, &mut self.wire.out()).expect("room")
    }

    fn tell<'m>(&mut self, message: ToClient<'m>) -> Outcome<'m> {
        self.event(&Event::Message(message))
    }
}

fn job(channel_id: u32, job_id: u32, start: JobStart) -> ToClient<'static> {
    ToClient::NewMiningJob(NewMiningJob {
        channel_id,
        job_id,
        start,
        version: 0x2000_0000,
        merkle_root: U256([job_id as u8; 32]),
    })
}

fn prev_hash(channel_id: u32, job_id: u32) -> ToClient<'static> {
    ToClient::SetNewPrevHash(SetNewPrevHash {
        channel_id,
        job_id,
        prev_hash: U256([6; 32]),
        min_ntime: TIME,
        nbits: 0x1703_a30c,
    })
}

/// Everything about channels that there are not means nothing: the work goes on.
#[test]
fn news_of_unknown_channels_change_nothing() {
    let mut bench = Bench::ready();
    let (work, changes) = (bench.device.work(), bench.device.changes());
    for channel_id in [0, 2, 8, u32::MAX] {
        let news = [
            job(channel_id, 5, JobStart::Future),
            job(channel_id, 6, JobStart::Now { min_ntime: None }),
            prev_hash(channel_id, 5),
            ToClient::SetTarget(SetTarget { channel_id, maximum_target: U256::ZERO }),
            ToClient::SetExtranoncePrefix(SetExtranoncePrefix { channel_id, extranonce_prefix: (&[9; 4]).into() }),
            ToClient::CloseChannel(CloseChannel { channel_id, reason_code: "".into() }),
            ToClient::SubmitSharesSuccess(SubmitSharesSuccess {
                channel_id,
                last_sequence_number: 9,
                new_submits_accepted_count: 9,
                new_shares_sum: 9,
            }),
        ];
        for message in news {
            let text = format!("{message:?}");
            let outcome = bench.tell(message);
            assert!(!matches!(outcome, Outcome::Fatal(_) | Outcome::NewWork | Outcome::NoWork), "{text}: {outcome:?}");
            assert_eq!((bench.device.work(), bench.device.changes()), (work, changes), "{text}");
        }
    }
    assert_eq!(bench.device.statistics().accepted, 0, "shares that were never sent");
}

/// D-MIN-3: jobs without end: the device has places for a few and allocates nothing; the newest work is the one in work.
#[test]
fn jobs_without_end_cost_nothing() {
    let mut bench = Bench::ready();
    let (count, ()) = allocations(|| {
        for n in 2..10_000 {
            assert_ne!(bench.tell(job(1, n, JobStart::Future)), Outcome::Fatal(Fatal::NoAnswer));
            if n % 3 == 0 {
                assert_eq!(bench.tell(job(1, n, JobStart::Now { min_ntime: None })), Outcome::NewWork);
                assert_eq!(bench.device.work().map(|work| work.job_id), Some(n));
            }
        }
    });
    assert_eq!(count, 0);
    assert!(bench.device.client().channel(1).is_some_and(|channel| channel.waiting_jobs() <= 4));
}

/// D-OPEN-3: a channel that nobody asked for, or one more of those that were, ends the connection with the rule's name.
#[test]
fn channels_that_nobody_asked_for_are_fatal() {
    for request_id in [1, 2, 77] {
        let mut bench = Bench::ready();
        let opened = OpenStandardMiningChannelSuccess {
            request_id,
            channel_id: 2,
            target: U256::MAX,
            extranonce_prefix: (&[1; 20]).into(),
            group_channel_id: 9,
        };
        let outcome = bench.tell(ToClient::OpenStandardMiningChannelSuccess(opened));
        assert!(matches!(outcome, Outcome::Fatal(Fatal::Server(_))), "{outcome:?}");
        assert_eq!(bench.device.work(), None);
    }
}
