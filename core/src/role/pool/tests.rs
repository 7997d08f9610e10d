//! The pool as a whole.

mod provider;

use core::num::NonZeroU32;
use core::time::Duration;
use std::vec;
use std::vec::Vec;

use super::testing::{Bench, Heard, config, open};
use super::*;
use crate::hash::sha256d_header;
use crate::message::mining::{
    OpenExtendedMiningChannel, OpenStandardMiningChannel, SetCustomMiningJob, SubmitSharesStandard, ToClient,
    UpdateChannel,
};
use crate::message::{ChannelKind, CoinbaseOutputs, template};
use crate::mining::target::Target;
use crate::protocol::{Initiator, Mining, Responder};
use crate::role::Provider;
use crate::storage::Inline;
use crate::template::book::Basis;
use crate::template::coinbase::{CoinbaseError, Payout};
use crate::template::testing::{Wire, tip};
use crate::wire::{B064K, B0255, Seq0255, U256};

/// D-MIN-4: channels open without a template; the first job comes as a future one with the prevhash behind it.
fn jobs_come_when_templates_do<S: Storage>() {
    let mut bench = Bench::<S>::new(&config());
    let id = bench.connect();
    let event = bench.open(id, "worker").unwrap();
    let PoolEvent::Opened { channel_id, account, .. } = event else { panic!("{event:?}") };
    assert_eq!(bench.heard(id), [Heard::Opened(channel_id)]);
    assert_eq!(bench.pool.user(account).unwrap().name(), b"worker");

    bench.pool.provider_connected();
    assert_eq!(bench.sync().0, Vec::<&str>::new());
    bench.new_block(1, Target::MAX);
    assert_eq!(bench.sync().0, ["future job", "tip"]);
    assert_eq!(bench.pool.poll_dirty(), Some(id));
    assert_eq!(
        bench.heard(id),
        [Heard::Job { channel: channel_id, job: 1, future: true }, Heard::PrevHash { job: 1, prev: 1 }]
    );

    bench.template(Basis::Tip);
    assert_eq!(bench.sync().0, ["job"]);
    assert_eq!(bench.heard(id), [Heard::Job { channel: channel_id, job: 2, future: false }]);

    // D-TDP-11: the next block's template is there before the block.
    let next = bench.template(Basis::Next);
    assert_eq!(bench.sync().0, ["future job"]);
    assert_eq!(bench.heard(id), [Heard::Job { channel: channel_id, job: 3, future: true }]);
    bench.provider.new_tip(bench.now, next, tip(2)).unwrap();
    assert_eq!(bench.sync().0, ["tip"]);
    assert_eq!(bench.heard(id), [Heard::PrevHash { job: 3, prev: 2 }]);
    // D-MIN-6
    let event = bench.share(id, channel_id, 2).unwrap();
    let PoolEvent::Rejected { rejection, .. } = event else { panic!("{event:?}") };
    assert_eq!(rejection.reason, crate::mining::server::Reason::Stale);
}

/// D-SHARE-4, D-TDP-17, D-NET-2: a share is acknowledged when it is stored; a block goes to the provider at once and keeps all rules there.
fn shares_are_stored_first_and_blocks_go_up_at_once<S: Storage>() {
    let mut bench = Bench::<S>::running(&config());
    let (id, channel, job) = bench.working();
    let event = bench.share(id, channel, job).unwrap();
    let PoolEvent::Share(share) = event else { panic!("{event:?}") };
    assert_eq!((share.connection, share.channel_id, share.job_id, share.ticket), (id, channel, job, 1));
    assert_eq!(share.hash, share.header.hash());
    assert_eq!(share.extranonce.as_slice().len(), 20);
    assert_eq!(share.block, Some(Block { submitted: true }), "every hash is a block here");
    assert!(bench.pool.provider_wants_outbound());
    assert_eq!(bench.sync().1, [true]);

    assert_eq!(bench.heard(id), [], "not stored yet");
    let event = bench.share(id, channel, job).unwrap();
    assert!(matches!(event, PoolEvent::Share(Share { ticket: 2, .. })), "{event:?}");
    bench.pool.stored(1);
    assert_eq!(bench.heard(id), [Heard::Acknowledged { last: 1, count: 1 }]);
    bench.pool.stored(2);
    assert_eq!(bench.pool.poll_dirty(), Some(id));
    assert_eq!(bench.heard(id), [Heard::Acknowledged { last: 2, count: 1 }]);
    bench.pool.stored(2);
    assert_eq!(bench.pool.poll_dirty(), None, "nothing waits any more");

    let statistics = bench.pool.statistics(bench.now);
    assert_eq!((statistics.accepted, statistics.rejected, statistics.blocks, statistics.users), (2, 0, 2, 1));
    assert!(statistics.hash_rate > 0.0);
    assert_eq!(bench.pool.user(share.account).unwrap().accepted(), 2);
}

#[test]
fn jobs_come_when_templates_do_inline() {
    jobs_come_when_templates_do::<Inline>();
}

#[test]
fn shares_and_blocks_inline() {
    shares_are_stored_first_and_blocks_go_up_at_once::<Inline>();
}

#[cfg(feature = "alloc")]
#[test]
fn jobs_come_when_templates_do_on_the_heap() {
    jobs_come_when_templates_do::<crate::storage::Heap>();
}

#[cfg(feature = "alloc")]
#[test]
fn shares_and_blocks_on_the_heap() {
    shares_are_stored_first_and_blocks_go_up_at_once::<crate::storage::Heap>();
}

#[test]
fn a_share_below_the_networks_target_is_no_block() {
    let mut bench = Bench::<Inline>::running(&config());
    bench.new_block(2, Target::ZERO);
    bench.sync();
    let (id, channel, job) = bench.working();
    let PoolEvent::Share(share) = bench.share(id, channel, job).unwrap() else { panic!() };
    assert_eq!(share.block, None);
    assert!(!bench.pool.provider_wants_outbound());
}

/// The two halves do what `handle` does; what happened in between counts.
#[test]
fn shares_can_be_hashed_by_the_owner() {
    let mut bench = Bench::<Inline>::running(&config());
    let (id, channel_id, job_id) = bench.working();
    let mut begin = |nonce| {
        let share = SubmitSharesStandard {
            channel_id,
            sequence_number: nonce,
            job_id,
            nonce,
            ntime: 1_000_000,
            version: 0x2000_0000,
        };
        let message = ToServer::SubmitSharesStandard(share);
        match bench.pool.begin(bench.now, id, &message, &mut AcceptAll, &mut bench.down.out()).unwrap() {
            Begun::Share(share) => share,
            Begun::Done(event) => panic!("{event:?}"),
        }
    };
    let (first, second, third) = (begin(1), begin(2), begin(3));
    assert_eq!(first.connection(), id);
    let mut small = Wire::<Mining>::new(ANSWER_LEN - 1, Revision::Draft);
    let hash = first.hash();
    let full = bench.pool.conclude(bench.now, &first, &hash, &mut small.out());
    assert_eq!(full, Err(PoolError::Send(Error::Full)), "a bad share's answer would not fit");
    let event = bench.pool.conclude(bench.now, &first, &hash, &mut bench.down.out()).unwrap();
    assert!(matches!(event, PoolEvent::Share(Share { ticket: 1, .. })), "{event:?}");

    bench.new_block(2, Target::MAX);
    bench.sync();
    let event = bench.pool.conclude(bench.now, &second, &second.hash(), &mut bench.down.out()).unwrap();
    assert!(matches!(event, PoolEvent::Rejected { .. }), "{event:?}");
    assert_eq!(bench.pool.statistics(bench.now).rejected, 1);

    bench.pool.disconnect(id);
    let late = bench.pool.conclude(bench.now, &third, &third.hash(), &mut bench.down.out());
    assert_eq!(late, Err(PoolError::UnknownConnection));
}

#[test]
fn connections_channels_and_shares_are_limited() {
    let limits = PoolLimits {
        connections: 2,
        channels: 2,
        shares_per_second: NonZeroU32::new(10),
        share_burst: 5,
        ..PoolLimits::default()
    };
    let mut bench = Bench::<Inline>::running(&PoolConfig { limits, ..config() });
    let (id, channel, job) = bench.working();
    let other = bench.connect();
    let third = bench.pool.connect(bench.now, Revision::Draft, SetupFlags::NONE);
    assert_eq!(third, Err(PoolError::TooManyConnections));
    assert!(matches!(bench.open(other, "a"), Ok(PoolEvent::Opened { .. })));
    let refused = PoolEvent::Refused { connection: other, why: Refusal::TooManyChannels };
    assert_eq!(bench.open(other, "b"), Ok(refused));
    assert_eq!(bench.pool.statistics(bench.now).channels, 2);

    let flood = (0..20).map(|_| bench.share(id, channel, job).map(|_| ())).collect::<Vec<_>>();
    assert_eq!(flood.iter().filter(|outcome| outcome.is_ok()).count(), 6, "the burst and the one that is due");
    assert_eq!(flood.last(), Some(&Err(PoolError::TooManyShares)));
    bench.now = bench.now.saturating_add(Duration::from_millis(150));
    assert!(bench.share(id, channel, job).is_ok());

    bench.pool.disconnect(other);
    bench.pool.disconnect(other);
    assert_eq!(bench.pool.statistics(bench.now).channels, 1);
    let again = bench.connect();
    assert!(matches!(bench.open(again, "b"), Ok(PoolEvent::Opened { .. })));
    assert_eq!(bench.open(other, "gone"), Err(PoolError::UnknownConnection));
}

/// The same of shares that come together: those within the limit count.
#[test]
fn shares_that_come_together_are_limited() {
    let limits = PoolLimits { shares_per_second: NonZeroU32::new(10), share_burst: 5, ..PoolLimits::default() };
    let mut bench = Bench::<Inline>::running(&PoolConfig { limits, ..config() });
    let (id, channel_id, job_id) = bench.working();
    let mut batch = ShareBatch::<Inline>::default();
    for nonce in 0..16 {
        let (ntime, version) = (1_000_000, 0x2000_0000);
        let share = SubmitSharesStandard { channel_id, sequence_number: nonce, job_id, nonce, ntime, version };
        batch.push(Submitted::of(&ToServer::SubmitSharesStandard(share)).unwrap()).unwrap();
    }
    let begun = bench.pool.begin_batch(bench.now, id, &mut batch);
    assert_eq!((begun, batch.len()), (Err(PoolError::TooManyShares), 6), "the burst and the one that is due");
    batch.hash(
        |_, _| (),
        |headers, hashes| hashes.iter_mut().zip(headers).for_each(|(hash, header)| *hash = sha256d_header(header)),
    );
    let mut accepted = 0;
    while let Some(outcome) = bench.pool.conclude_next(bench.now, id, &mut batch, &mut bench.down.out()) {
        assert!(matches!(outcome, Ok(PoolEvent::Share(_))), "{outcome:?}");
        accepted += 1;
    }
    assert_eq!(accepted, 6);
}

/// Asking for channels too fast is refused, asking later is not; who asked in time keeps what it has.
#[test]
fn channels_are_given_at_a_pace() {
    let limits = PoolLimits { opens_per_second: NonZeroU32::new(2), open_burst: 1, ..PoolLimits::default() };
    let mut bench = Bench::<Inline>::running(&PoolConfig { limits, ..config() });
    let (id, other) = (bench.connect(), bench.connect());
    let refused = Ok(PoolEvent::Refused { connection: id, why: Refusal::TooManyRequests });
    for _ in 0..2 {
        assert!(matches!(bench.open(id, "a"), Ok(PoolEvent::Opened { .. })));
    }
    assert_eq!(bench.open(id, "a"), refused);
    assert!(matches!(bench.open(other, "b"), Ok(PoolEvent::Opened { .. })), "each connection has its own");
    bench.now = bench.now.saturating_add(Duration::from_millis(500));
    assert!(matches!(bench.open(id, "a"), Ok(PoolEvent::Opened { .. })));
    assert_eq!(bench.open(id, "a"), refused);
    assert_eq!(bench.pool.statistics(bench.now).channels, 4);
}

/// D-OPEN-2: who opens nothing for a minute is given up, whatever it says meanwhile; who has a channel is not.
#[test]
fn connections_without_a_channel_are_given_up() {
    let mut bench = Bench::<Inline>::running(&config());
    let (busy, _, _) = bench.working();
    let idle = bench.connect();
    let closes = bench.connect();
    let PoolEvent::Opened { channel_id, .. } = bench.open(closes, "a").unwrap() else { panic!() };
    let close = crate::message::mining::CloseChannel { channel_id, reason_code: "".into() };
    let event = bench.handle(closes, ToServer::CloseChannel(close)).unwrap();
    assert_eq!(event, PoolEvent::Closed { connection: closes, channel_id });
    let mut given_up = Vec::new();
    for _ in 0..300 {
        bench.now = bench.now.saturating_add(Duration::from_secs(1));
        let (nominal_hash_rate, maximum_target) = (1.0, U256::MAX);
        let chatter = UpdateChannel { channel_id: 4_711, nominal_hash_rate, maximum_target };
        let _ = bench.handle(idle, ToServer::UpdateChannel(chatter));
        if bench.pool.poll_timeout().is_some_and(|at| at <= bench.now) {
            while let Some(id) = bench.pool.handle_timeout(bench.now) {
                given_up.push((id, bench.now));
                bench.pool.disconnect(id);
            }
        }
        assert!(
            bench.pool.poll_timeout().is_none_or(|at| at > bench.now),
            "a deadline that fired is never handed out again"
        );
    }
    given_up.sort();
    assert_eq!(given_up, [(idle, Instant::from_secs(160)), (closes, Instant::from_secs(160))]);
    assert!(bench.pool.connection(busy).is_some());
}

/// Variable difficulty works by deadlines: a channel that is too fast or silent hears of another target.
#[test]
fn a_silent_channel_gets_an_easier_target() {
    let mut bench = Bench::<Inline>::running(&config());
    // On a network whose blocks are far off: no target is harder than a block's.
    bench.new_block(2, Target::from_difficulty(1.0e12).unwrap());
    bench.sync();
    let id = bench.connect();
    let open = OpenStandardMiningChannel {
        request_id: 1,
        user_identity: "fast".into(),
        nominal_hash_rate: 1.0e12,
        max_target: U256::MAX,
    };
    assert!(matches!(bench.handle(id, ToServer::OpenStandardMiningChannel(open)), Ok(PoolEvent::Opened { .. })));
    bench.heard(id);
    let mut heard = Vec::new();
    for _ in 0..600 {
        bench.now = bench.now.saturating_add(Duration::from_secs(1));
        assert_eq!(bench.pool.handle_timeout(bench.now), None);
        while let Some(dirty) = bench.pool.poll_dirty() {
            heard.extend(bench.heard(dirty));
        }
    }
    assert!(heard.contains(&Heard::Other("SetTarget")), "{heard:?}");
}

/// D-RECON-2, D-RECON-3
#[test]
fn everybody_is_asked_to_leave_once() {
    let mut bench = Bench::<Inline>::new(&config());
    let (a, b) = (bench.connect(), bench.connect());
    assert!(bench.pool.reconnect_all("other.example", 3333));
    let late = bench.connect();
    assert!(!bench.pool.reconnect_all(&"x".repeat(256), 1));
    let mut asked = Vec::new();
    while let Some(id) = bench.pool.poll_dirty() {
        bench.pool.poll_outbound(id, &mut bench.down.out()).unwrap();
        asked.push((id, bench.down.bytes()));
    }
    // 0x25 without the channel bit, a string, a port.
    let frame = [&[0, 0, 0x25, 16, 0, 0, 13][..], b"other.example", &3333_u16.to_le_bytes()].concat();
    assert_eq!(asked, [(a, frame.clone()), (b, frame)]);
    for id in [a, b, late] {
        bench.pool.poll_outbound(id, &mut bench.down.out()).unwrap();
        assert_eq!(bench.down.bytes(), []);
    }
}

#[test]
fn policies_decide_who_mines() {
    let mut bench = Bench::<Inline>::running(&config());
    let id = bench.connect();
    let mut known = Known(|name: &[u8]| name == b"alice");
    let event = bench.handle_by(id, open("bob"), &mut known).unwrap();
    assert_eq!(event, PoolEvent::Refused { connection: id, why: Refusal::UnknownUser });
    assert_eq!(bench.heard(id), [Heard::Error("open", b"unknown-user".to_vec())]);
    assert!(matches!(bench.handle_by(id, open("alice"), &mut known), Ok(PoolEvent::Opened { .. })));
    for name in ["", "tab\there"] {
        let event = bench.open(id, name).unwrap();
        assert_eq!(event, PoolEvent::Refused { connection: id, why: Refusal::InvalidUser });
    }
}

/// D-CUST-5: without job negotiation every token is unknown.
#[test]
fn custom_jobs_are_denied_unless_a_policy_allows_them() {
    let config = PoolConfig { server: ServerConfig { custom_jobs: true, ..config().server }, ..config() };
    let mut bench = Bench::<Inline>::running(&config);
    let id = bench.pool.connect(bench.now, Revision::Draft, SetupFlags::REQUIRES_WORK_SELECTION).unwrap();
    let open = OpenExtendedMiningChannel {
        request_id: 1,
        user_identity: "a".into(),
        nominal_hash_rate: 0.0,
        max_target: U256::MAX,
        min_extranonce_size: 8,
    };
    let event = bench.handle(id, ToServer::OpenExtendedMiningChannel(open)).unwrap();
    let PoolEvent::Opened { channel_id, .. } = event else { panic!("{event:?}") };
    assert_eq!(bench.pool.connection(id).unwrap().channel(channel_id).unwrap().kind(), ChannelKind::Extended);
    bench.heard(id);
    let custom = SetCustomMiningJob {
        channel_id,
        request_id: 4,
        mining_job_token: B0255::new(b"token"),
        version: 0x2000_0000,
        prev_hash: U256([1; 32]),
        min_ntime: 1_000_000,
        nbits: 0x207f_ffff,
        coinbase_tx_version: 2,
        coinbase_prefix: B0255::new(&[1, 7]),
        coinbase_tx_input_n_sequence: 0,
        coinbase_tx_value_remaining: 0.into(),
        coinbase_tx_outputs: CoinbaseOutputs::default(),
        coinbase_tx_locktime: 0,
        merkle_path: Seq0255::default(),
        extranonce_size: 16.into(),
        future_job: false.into(),
    };
    assert_eq!(bench.handle(id, ToServer::SetCustomMiningJob(custom)), Ok(PoolEvent::Nothing));
    assert_eq!(bench.heard(id), [Heard::Error("custom", b"invalid-mining-job-token".to_vec())]);
}

#[test]
fn other_rewards_make_new_jobs() {
    let mut bench = Bench::<Inline>::running(&config());
    let (id, channel, job) = bench.working();
    let before = bench.pool.shared().book().current().unwrap().coinbase_suffix().to_vec();
    let payouts = [Payout { script_pubkey: &[0x52; 30], weight: 3 }, Payout { script_pubkey: &[0x53], weight: 1 }];
    bench.pool.set_rewards(&payouts, b"/new/").unwrap();
    let current = bench.pool.shared().book().current().unwrap();
    assert!(current.coinbase_suffix() != before && current.coinbase_prefix().windows(5).any(|part| part == b"/new/"));
    assert!(bench.pool.provider_wants_outbound(), "the provider hears of the larger outputs (D-TDP-5)");
    bench.sync();
    let heard = bench.heard(id);
    assert!(matches!(heard[..], [Heard::Job { future: false, .. }]), "{heard:?}");
    assert!(matches!(bench.share(id, channel, job), Ok(PoolEvent::Share(_))), "the job before lives on");
    assert_eq!(bench.sync().1.len(), 1);
    let outcome = bench.pool.set_rewards(&[], b"");
    assert_eq!(outcome, Err(JobError::Coinbase(CoinbaseError::NoPayout)));
}

/// D-CHAN-2, D-CHAN-6: both kinds of channel on one connection, and a job has the template's transactions in the template's order: its
/// merkle path is the provider's.
#[test]
fn both_kinds_of_channel_get_the_templates_transactions() {
    let mut bench = Bench::<Inline>::running(&config());
    let id = bench.pool.connect(bench.now, Revision::Draft, SetupFlags::NONE).unwrap();
    assert!(matches!(bench.open(id, "standard"), Ok(PoolEvent::Opened { .. })));
    let extended = ToServer::OpenExtendedMiningChannel(OpenExtendedMiningChannel {
        request_id: 2,
        user_identity: "extended".into(),
        nominal_hash_rate: 0.0,
        max_target: U256::MAX,
        min_extranonce_size: 4,
    });
    let Ok(PoolEvent::Opened { channel_id, .. }) = bench.handle(id, extended) else { panic!("refused") };
    bench.pool.poll_outbound(id, &mut bench.down.out()).unwrap();
    let (mut standard, mut paths) = (0, Vec::new());
    bench.down.drain::<Initiator>(|message| match message {
        ToClient::NewMiningJob(_) => standard += 1,
        ToClient::NewExtendedMiningJob(job) if job.channel_id == channel_id => {
            paths.push(job.merkle_path.iter().collect::<Vec<_>>());
        }
        _ => {}
    });
    assert_eq!((standard, paths), (1, [[U256([3; 32])].to_vec()].to_vec()));
}

#[test]
fn only_those_with_news_are_dirty() {
    let mut bench = Bench::<Inline>::running(&config());
    let all = [bench.working(), bench.working(), bench.working()];
    assert_eq!(bench.serve(), [], "each was told all when it opened its channel");
    let (id, channel, job) = all[1];
    assert!(matches!(bench.share(id, channel, job), Ok(PoolEvent::Share(_))));
    assert_eq!(bench.serve(), [], "nothing to say before the share is stored");
    bench.pool.stored(1);
    assert_eq!(bench.serve(), [id]);
    bench.template(Basis::Tip);
    bench.sync();
    assert_eq!(bench.serve(), all.map(|(id, _, _)| id));
}

#[test]
fn channels_are_closed_from_this_side() {
    let mut bench = Bench::<Inline>::running(&config());
    let (id, channel, job) = bench.working();
    bench.pool.close_channel(id, channel, "banned", &mut bench.down.out()).unwrap();
    assert_eq!(bench.heard(id), [Heard::Other("CloseChannel")]);
    assert_eq!(bench.pool.statistics(bench.now).channels, 0);
    assert!(matches!(bench.share(id, channel, job), Ok(PoolEvent::Rejected { .. })));
    bench.pool.disconnect(id);
    let gone = bench.pool.close_channel(id, channel, "banned", &mut bench.down.out());
    assert_eq!(gone, Err(PoolError::UnknownConnection));
}

#[test]
fn what_an_earlier_run_stored_counts() {
    let mut bench = Bench::<Inline>::running(&PoolConfig { last_ticket: 41, ..config() });
    let account = bench.pool.restore_user(b"worker", 7, 70.0).unwrap();
    let (id, channel, job) = bench.working();
    let PoolEvent::Share(share) = bench.share(id, channel, job).unwrap() else { panic!() };
    assert_eq!((share.ticket, share.account), (42, account));
    assert_eq!(bench.pool.user(account).unwrap().accepted(), 8);
    assert_eq!(bench.pool.account_of(b"worker"), Some(account));
}

#[test]
fn names_that_never_earned_make_room_for_others() {
    let mut bench = Bench::<Inline>::running(&config());
    let (id, _, _) = bench.working();
    for n in 0..40_u32 {
        let other = bench.connect();
        let event = bench.open(other, &std::format!("user {n}")).unwrap();
        assert!(matches!(event, PoolEvent::Opened { .. }), "{event:?}");
        bench.pool.disconnect(other);
    }
    assert!(bench.pool.account_of(b"worker").is_some(), "has a channel");
    assert!(bench.pool.connection(id).is_some());
}

#[test]
fn configurations_that_can_not_work_are_refused() {
    let error = |config: PoolConfig<'_>| Pool::<Inline>::new(&config).err();
    assert_eq!(error(PoolConfig { payouts: &[], ..config() }), Some(ConfigError::Rewards(CoinbaseError::NoPayout)));
    assert_eq!(
        error(PoolConfig { tag: &[0; 70], ..config() }),
        Some(ConfigError::Rewards(CoinbaseError::TagTooLong(70)))
    );
    assert!(matches!(error(PoolConfig { extranonce_len: 33, ..config() }), Some(ConfigError::Extranonce(_))));
}

#[test]
fn only_the_deadline_that_is_due_costs_anything() {
    let mut bench = Bench::<Inline>::running(&config());
    let ids = [bench.working().0, bench.working().0];
    let at = bench.pool.poll_timeout().unwrap();
    assert!(at > bench.now);
    assert_eq!(bench.pool.handle_timeout(bench.now), None);
    assert_eq!(bench.pool.poll_timeout(), Some(at));
    for id in ids {
        bench.pool.disconnect(id);
    }
    assert_eq!(bench.pool.poll_timeout(), None);
}
