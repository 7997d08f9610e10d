//! Hostile mining clients: floods of requests and shares, numbers used again, ears that never open.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::time::Duration;

use adit::message::mining::ToClient;
use adit::message::mining::{CloseChannel, SetCustomMiningJob, ToServer, UpdateChannel};
use adit::message::{CoinbaseOutputs, JobStart};
use adit::mining::server::Refusal;
use adit::protocol::{Initiator, Mining};
use adit::role::pool::{PoolError, PoolEvent, PoolLimits};
use adit::wire::{Seq0255, U256};

use crate::costs_nothing_in_the_long_run;
use crate::house::{House, Wire, open, share};

/// D-SHARE-6: shares for channels and jobs that there are not, and the same share again and again: one error for each, nothing kept.
#[test]
fn a_flood_of_bad_shares_is_answered_and_forgotten() {
    let mut house = House::new(PoolLimits::default());
    let id = house.connect();
    let Ok(PoolEvent::Opened { channel_id, .. }) = house.handle(id, &open(1, "flood")) else { panic!("refused") };
    let job = house.hear(id).expect("there is a tip");
    assert!(matches!(house.handle(id, &share(channel_id, job, 0)), Ok(PoolEvent::Share(_))));
    house.ignore_answers();
    costs_nothing_in_the_long_run(&mut house, |house, n| {
        let bad = [share(n | 0x8000_0000, job, n), share(channel_id, n | 0x8000_0000, n), share(channel_id, job, 0)];
        for share in bad {
            let event = house.handle(id, &share);
            assert!(matches!(event, Ok(PoolEvent::Rejected { .. })), "{event:?}");
        }
        assert_eq!(house.answers(), ["invalid-channel-id", "invalid-job-id", "duplicate-share"]);
    });
    house.check_honest();
}

/// Good shares that come faster than the limit end their connection; what came before counts.
#[test]
fn a_flood_of_good_shares_meets_the_limit() {
    let limits = PoolLimits { shares_per_second: NonZeroU32::new(10), share_burst: 50, ..PoolLimits::default() };
    let mut house = House::new(limits);
    let id = house.connect();
    let Ok(PoolEvent::Opened { channel_id, .. }) = house.handle(id, &open(1, "flood")) else { panic!("refused") };
    let job = house.hear(id).expect("there is a tip");
    let events: Vec<_> = (0..1_000).map(|n| house.handle(id, &share(channel_id, job, n))).collect();
    let good = events.iter().take_while(|event| matches!(event, Ok(PoolEvent::Share(_) | PoolEvent::Rejected { .. })));
    assert_eq!(good.count(), 51, "the burst and the one that is due");
    assert!(events[51..].iter().all(|event| *event == Err(PoolError::TooManyShares)));
    house.pool.disconnect(id);
    house.check_honest();
}

/// D-OPEN-3: a request number used again is the client's own confusion: each request has its own answer, and the channels are two.
#[test]
fn reused_request_ids_confuse_nobody_else() {
    let mut house = House::new(PoolLimits::default());
    let id = house.connect();
    let mut channels = BTreeSet::new();
    for _ in 0..10 {
        let event = house.handle(id, &open(7, "again"));
        let Ok(PoolEvent::Opened { channel_id, .. }) = event else { panic!("{event:?}") };
        assert!(channels.insert(channel_id));
    }
    let mut echoed = vec![];
    house.wire.drain::<Initiator, Mining>(|message| {
        if let ToClient::OpenStandardMiningChannelSuccess(opened) = message {
            echoed.push((opened.request_id, channels.contains(&opened.channel_id)));
        }
    });
    echoed.dedup();
    assert_eq!(echoed[echoed.len() - 1], (7, true));
    house.check_honest();
}

/// A block now and then: numbers of closed channels rest until the next one, four bytes each, before they are used again.
fn pass_a_block(house: &mut House, n: u32) {
    if n.is_multiple_of(50) {
        house.new_block();
    }
}

/// D-CHAN-1: opening and closing for ever: no id comes back, nothing piles up, and the extranonce space is not used up.
#[test]
fn channels_opened_and_closed_for_ever_leave_nothing() {
    let mut house = House::new(PoolLimits::default());
    let id = house.connect();
    let mut last = 0;
    costs_nothing_in_the_long_run(&mut house, |house, n| {
        pass_a_block(house, n);
        let event = house.handle(id, &open(n, "churn"));
        let Ok(PoolEvent::Opened { channel_id, .. }) = event else { panic!("{event:?}") };
        assert_ne!(channel_id, last);
        last = channel_id;
        assert!(house.pool.poll_outbound(id, &mut house.wire.out()).is_ok());
        let close = ToServer::CloseChannel(CloseChannel { channel_id, reason_code: "".into() });
        assert!(matches!(house.handle(id, &close), Ok(PoolEvent::Closed { .. })));
        house.ignore_answers();
    });
    house.check_honest();
}

/// D-OPEN-5: opening, mining and closing as fast as a peer can, to use up the extranonce numbers, which rest once a share was accepted under
/// them: what is above the limit is refused by name, and what is taken is bounded by time.
#[test]
fn extranonce_churn_is_held_to_a_pace() {
    let limits = PoolLimits { opens_per_second: NonZeroU32::new(10), open_burst: 100, ..PoolLimits::default() };
    let mut house = House::new(limits);
    let id = house.connect();
    let (mut given, mut refused) = (0, 0);
    let begin = house.now;
    for n in 0..100_000 {
        house.now = house.now.saturating_add(Duration::from_micros(100));
        match house.handle(id, &open(n, "churn")) {
            Ok(PoolEvent::Opened { channel_id, .. }) => {
                given += 1;
                let job = house.hear(id).expect("there is a tip");
                assert!(matches!(house.handle(id, &share(channel_id, job, n)), Ok(PoolEvent::Share(_))));
                let close = ToServer::CloseChannel(CloseChannel { channel_id, reason_code: "".into() });
                assert!(matches!(house.handle(id, &close), Ok(PoolEvent::Closed { .. })));
                house.ignore_answers();
            }
            event => {
                assert_eq!(event, Ok(PoolEvent::Refused { connection: id, why: Refusal::TooManyRequests }));
                assert_eq!(house.answers(), ["too-many-requests"]);
                refused += 1;
            }
        }
    }
    assert_eq!(house.now.saturating_since(begin), Duration::from_secs(10));
    assert_eq!(
        (given, refused),
        (200, 99_800),
        "the one that is due, a hundred at once, and ten a second since the first"
    );
    house.check_honest();
}

/// More channels than are allowed are refused by name, for as long as somebody asks.
#[test]
fn a_flood_of_channels_is_refused() {
    let mut house = House::new(PoolLimits { channels: 20, ..PoolLimits::default() });
    let id = house.connect();
    for n in 0..19 {
        assert!(matches!(house.handle(id, &open(n, "many")), Ok(PoolEvent::Opened { .. })));
    }
    house.ignore_answers();
    costs_nothing_in_the_long_run(&mut house, |house, n| {
        // Another name each time: a refused stranger leaves no account.
        let name = format!("stranger-{n}");
        let refused = PoolEvent::Refused { connection: id, why: Refusal::TooManyChannels };
        assert_eq!(house.handle(id, &open(n, &name)), Ok(refused));
        assert_eq!(house.answers().len(), 1);
    });
    assert_eq!(house.pool.statistics(house.now).users, 2);
    house.check_honest();
}

/// Connections that come and go, with and without channels, leave nothing.
#[test]
fn connections_that_come_and_go_leave_nothing() {
    let mut house = House::new(PoolLimits::default());
    costs_nothing_in_the_long_run(&mut house, |house, n| {
        pass_a_block(house, n);
        let id = house.connect();
        if n % 2 == 0 {
            assert!(matches!(house.handle(id, &open(n, "passing")), Ok(PoolEvent::Opened { .. })));
        }
        house.pool.disconnect(id);
        assert_eq!(house.handle(id, &open(n, "late")), Err(PoolError::UnknownConnection));
        house.ignore_answers();
    });
    assert_eq!(house.pool.statistics(house.now).connections, 1);
    house.check_honest();
}

/// D-UPD-4: updates good and bad, in any number.
#[test]
fn a_flood_of_updates_costs_nothing() {
    let mut house = House::new(PoolLimits::default());
    let id = house.connect();
    let Ok(PoolEvent::Opened { channel_id, .. }) = house.handle(id, &open(1, "update")) else { panic!("refused") };
    house.ignore_answers();
    costs_nothing_in_the_long_run(&mut house, |house, n| {
        for channel_id in [channel_id, n | 0x8000_0000] {
            let update =
                UpdateChannel { channel_id, nominal_hash_rate: f32::from(n as u16), maximum_target: U256::MAX };
            assert_eq!(house.handle(id, &ToServer::UpdateChannel(update)), Ok(PoolEvent::Nothing));
        }
        assert!(house.pool.poll_outbound(id, &mut house.wire.out()).is_ok());
        let answers = house.answers();
        assert_eq!(answers.iter().filter(|name| *name == "UpdateChannel.Error").count(), 1, "{answers:?}");
    });
    house.check_honest();
}

/// Custom jobs of the greatest length, which nobody allowed: refused, and not kept.
#[test]
fn a_flood_of_custom_jobs_is_denied() {
    let mut house = House::new(PoolLimits::default());
    let id = house.connect();
    house.ignore_answers();
    let prefix = vec![0; 255];
    let path = vec![U256([3; 32]); 255];
    costs_nothing_in_the_long_run(&mut house, |house, request_id| {
        let custom = ToServer::SetCustomMiningJob(SetCustomMiningJob {
            channel_id: 1,
            request_id,
            mining_job_token: (&[7; 255]).into(),
            version: 0x2000_0000,
            prev_hash: U256([1; 32]),
            min_ntime: 0,
            nbits: 0,
            coinbase_tx_version: 2,
            coinbase_prefix: (&prefix[..]).into(),
            coinbase_tx_input_n_sequence: 0,
            coinbase_tx_value_remaining: 0.into(),
            coinbase_tx_outputs: CoinbaseOutputs::new(&[]),
            coinbase_tx_locktime: 0,
            merkle_path: Seq0255::new(&path),
            extranonce_size: 16.into(),
            future_job: false.into(),
        });
        assert_eq!(house.handle(id, &custom), Ok(PoolEvent::Nothing));
        assert_eq!(house.answers(), ["SetCustomMiningJob.Error"]);
    });
    house.check_honest();
}

/// A client that never reads: what it is to be told is state, no queue. However many templates and blocks come, it costs its two buffers, and when it
/// reads at last it hears of the newest only.
#[test]
fn a_client_that_never_reads_costs_its_buffer() {
    let mut house = House::new(PoolLimits::default());
    let id = house.connect();
    assert!(matches!(house.handle(id, &open(1, "deaf")), Ok(PoolEvent::Opened { .. })));
    house.ignore_answers();
    let mut full = Wire::new(100);
    costs_nothing_in_the_long_run(&mut house, |house, n| {
        if n % 5 == 0 {
            house.new_block();
        } else {
            house.template(n % 3 == 0);
        }
        let _ = house.pool.poll_outbound(id, &mut full.out());
    });
    let (mut jobs, mut prev_hashes) = (0, 0);
    assert!(house.pool.poll_outbound(id, &mut house.wire.out()).is_ok());
    house.wire.drain::<Initiator, Mining>(|message| match message {
        ToClient::NewMiningJob(job) => jobs += u32::from(job.start == JobStart::Future) + 1,
        ToClient::SetNewPrevHash(_) => prev_hashes += 1,
        _ => {}
    });
    assert!(jobs <= 8 && prev_hashes <= 1, "{jobs} {prev_hashes}");
    house.check_honest();
}
