//! Shares: every fault, every bound, and the verdict of a plain computation.

use std::vec::Vec;

use super::super::testing::*;
use super::*;
use crate::hash::sha256d;
use crate::message::JobStart;
use crate::message::mining::{SetExtranoncePrefix, SetTarget, SetupFlags, ToClient, ToServer};
use crate::mining::job::PrevHash;
use crate::mining::server::ServerConfig;
use crate::mining::target::Target;
use crate::wire::Revision;
use proptest::prelude::*;

fn changed(message: ToServer<'static>, change: impl FnOnce(&mut SubmitSharesStandard)) -> ToServer<'static> {
    let ToServer::SubmitSharesStandard(mut share) = message else { unreachable!() };
    change(&mut share);
    ToServer::SubmitSharesStandard(share)
}

fn reason(outcome: Result<Accepted, Rejection>) -> Option<Reason> {
    outcome.err().map(|rejection| rejection.reason)
}

/// D-SHARE-6: one error for each bad share, at once, with its own sequence number and the listed code.
#[test]
fn every_fault_has_its_code() {
    let mut bench = Bench::draft();
    let (channel, job) = bench.ready(ChannelKind::Standard);
    let (other, other_job) = bench.ready(ChannelKind::Extended);
    bench.job(true);
    let future = bench.sent().iter().find_map(|message| match message {
        ToClient::NewMiningJob(job) if job.channel_id == channel => Some(job.job_id),
        _ => None,
    });
    let good = |n| standard(channel, job, n);
    let rolled = &[1, 2, 3, 4, 5];
    let cases = [
        (changed(good(2), |share| share.channel_id = 99), "invalid-channel-id"),
        (changed(good(3), |share| share.channel_id = other), "invalid-channel-id"),
        (extended(channel, job, 4, rolled), "invalid-channel-id"),
        (changed(good(5), |share| share.job_id = 0), "invalid-job-id"),
        (changed(good(6), |share| share.job_id = 999), "invalid-job-id"),
        (changed(good(7), |share| share.job_id = future.unwrap()), "invalid-job-id"),
        (changed(good(8), |share| share.ntime = 1_700_000_000), "invalid-share"),
        (changed(good(9), |share| share.ntime = 1_700_000_012), "invalid-share"),
        (changed(good(10), |share| share.version ^= 1 << 12), "invalid-non-rollable-version-bit"),
        (changed(good(11), |share| share.version ^= 1 << 29), "invalid-non-rollable-version-bit"),
        (extended(other, other_job, 12, &rolled[..4]), "bad-extranonce-size"),
        (extended(other, other_job, 13, &[0; 6]), "bad-extranonce-size"),
        (good(1), "duplicate-share"),
    ];
    assert_eq!(bench.submit(&good(1)).map(|share| share.ticket), Ok(1));
    bench.taken();
    for (message, code) in cases {
        assert!(bench.submit(&message).is_err(), "{message:?}");
        let sent = bench.taken();
        let [ToClient::SubmitSharesError(error)] = sent[..] else { panic!("{message:?}: {sent:?}") };
        let (channel_id, sequence) = match message {
            ToServer::SubmitSharesStandard(share) => (share.channel_id, share.sequence_number),
            ToServer::SubmitSharesExtended(share) => (share.channel_id, share.sequence_number),
            _ => unreachable!(),
        };
        assert_eq!((error.channel_id, error.sequence_number), (channel_id, sequence));
        assert_eq!(error.error_code, code);
    }
    let statistics = *bench.server.channel(channel).unwrap().statistics();
    assert_eq!((statistics.accepted, statistics.rejected(Reason::Time)), (1, 2));
    assert_eq!((statistics.rejected(Reason::InvalidJob), statistics.rejected(Reason::Duplicate)), (3, 1));
    assert_eq!(statistics.rejected_in_all(), 9);
    assert_eq!(Reason::ALL.map(|reason| reason as usize), [0, 1, 2, 3, 4, 5, 6, 7, 8]);
}

/// D-SHARE-1, D-SHARE-5: sequence numbers are the client's affair; they are echoed, and nothing depends on them.
#[test]
fn sequence_numbers_are_not_trusted() {
    let mut bench = Bench::draft();
    let (channel, job) = bench.ready(ChannelKind::Standard);
    let numbered = |nonce, sequence| changed(standard(channel, job, nonce), |share| share.sequence_number = sequence);
    for (nonce, sequence) in [(1, 7), (2, 7), (3, 0), (4, u32::MAX)] {
        assert_eq!(bench.submit(&numbered(nonce, sequence)).unwrap().sequence_number, sequence);
    }
    let rejection = bench.submit(&numbered(1, 8)).unwrap_err();
    assert_eq!((rejection.reason, rejection.sequence_number), (Reason::Duplicate, 8));
}

/// D-SHARE-2: the upper bound moves with the time since the prevhash came, plus the slack that is configured.
#[test]
fn time_may_be_rolled_as_far_as_time_passed() {
    let mut bench = Bench::draft();
    let (channel, job) = bench.ready(ChannelKind::Standard);
    let at = |n: u32, ntime| changed(standard(channel, job, n), |share| share.ntime = ntime);
    assert!(bench.submit(&at(1, 1_700_000_001)).is_ok(), "the bound itself");
    assert!(bench.submit(&at(2, 1_700_000_011)).is_ok());
    assert_eq!(reason(bench.submit(&at(3, 1_700_000_012))), Some(Reason::Time));
    bench.now = bench.now.saturating_add(core::time::Duration::from_secs(5));
    assert!(bench.submit(&at(4, 1_700_000_016)).is_ok());
    assert_eq!(reason(bench.submit(&at(5, 1_700_000_017))), Some(Reason::Time));
    assert_eq!(reason(bench.submit(&at(6, u32::MAX))), Some(Reason::Time));
}

/// D-ALG-9, D-CHAN-8: the revision's mask; D-ALG-8, D-FLAG-5: nothing at all with a fixed version, and jobs say so.
#[test]
fn versions_roll_within_the_mask() {
    for (revision, mask) in [(Revision::Draft, 0x1fff_e000_u32), (Revision::Current, 0x1fff_ffe0)] {
        let mut bench = Bench::new(revision, SetupFlags::from_bits(0), config());
        bench.block(1);
        let (channel, job) = bench.ready(ChannelKind::Standard);
        for bit in 0..32 {
            let share = changed(standard(channel, job, bit), |share| share.version ^= 1 << bit);
            let expected = (mask >> bit & 1 == 0).then_some(Reason::VersionBits);
            assert_eq!(reason(bench.submit(&share)), expected, "{revision:?} bit {bit}");
        }
    }
    let fixed = ServerConfig { fixed_version: true, ..config() };
    let mut bench = Bench::new(Revision::Draft, SetupFlags::from_bits(0), fixed);
    bench.block(1);
    bench.open(ChannelKind::Extended);
    let sent = bench.sent();
    assert!(sent.iter().any(|m| matches!(m, ToClient::NewExtendedMiningJob(job) if !job.version_rolling_allowed)));
    let (channel, job) = bench.ready(ChannelKind::Standard);
    let share = changed(standard(channel, job, 1), |share| share.version ^= 1 << 20);
    assert_eq!(reason(bench.submit(&share)), Some(Reason::VersionFixed));
    assert!(bench.submit(&standard(channel, job, 1)).is_ok());
}

/// D-MIN-6: a prevhash ends older jobs at once, also for a client that has not heard of it; later jobs of one prevhash do not.
#[test]
fn stale_jobs_are_told_from_unknown_ones() {
    let mut bench = Bench::draft();
    let (channel, job) = bench.ready(ChannelKind::Standard);
    bench.job(false);
    bench.sent();
    assert!(bench.submit(&standard(channel, job, 1)).is_ok(), "the job before still counts");
    bench.block(2);
    assert_eq!(reason(bench.submit(&standard(channel, job, 2))), Some(Reason::Stale));
    bench.sent();
    assert_eq!(reason(bench.submit(&standard(channel, job, 3))), Some(Reason::Stale));
    assert_eq!(reason(bench.submit(&standard(channel, 50, 4))), Some(Reason::InvalidJob));
}

/// A prevhash, or the end of the channel, may come while headers are being hashed.
#[test]
fn what_happens_between_the_halves_counts() {
    let mut bench = Bench::draft();
    let (channel, job) = bench.ready(ChannelKind::Standard);
    let prepare = |bench: &mut Bench, n| {
        bench.server.prepare(bench.now, &bench.shared, &(&share(channel, job, n)).into()).unwrap()
    };
    let (a, b) = (prepare(&mut bench, 1), prepare(&mut bench, 1));
    let conclude = |bench: &mut Bench, share: &Prepared| {
        reason(bench.server.conclude(bench.now, &mut bench.shared, share, &share.hash()))
    };
    assert_eq!(conclude(&mut bench, &a), None);
    assert_eq!(conclude(&mut bench, &b), Some(Reason::Duplicate), "the same share twice in one batch");
    let (a, b) = (prepare(&mut bench, 2), prepare(&mut bench, 3));
    bench.block(2);
    assert_eq!(conclude(&mut bench, &a), Some(Reason::Stale));
    bench.server.shut_down(&mut bench.shared);
    assert_eq!(conclude(&mut bench, &b), Some(Reason::InvalidChannel));
}

/// D-TDP-17, D-ALG-2: a share at or below the network's target is a block, with all that is needed to submit it.
#[test]
fn blocks_are_recognised() {
    let mut bench = Bench::draft();
    let network_target = Target::from_nbits(0x207f_ffff).unwrap();
    bench.job(true);
    let easy = PrevHash { network_target, ..prev(2) };
    bench.shared.set_prev_hash(bench.now, easy, 2).unwrap();
    let (channel, job) = bench.ready(ChannelKind::Extended);
    let (mut blocks, mut shares) = (0, 0);
    for n in 0..40 {
        let (accepted, share) = bench.submit_and_keep(&extended(channel, job, n, &[9, 8, 7, 6, 5])).unwrap();
        assert_eq!(accepted.block.is_some(), network_target.is_met_by(&share.hash()));
        shares += 1;
        let Some(block) = accepted.block else { continue };
        blocks += 1;
        let SolutionSource::Job(job) = block else { panic!("{block:?}") };
        assert_eq!(bench.shared.book().live(job).unwrap().template_id(), 2);
        assert_eq!(share.extranonce().as_slice(), [0xab, 0, 0, 9, 8, 7, 6, 5]);
        assert_eq!(share.header().prev_hash, [2; 32]);
    }
    assert!(blocks > 5 && shares > blocks, "{blocks} of {shares}");
}

/// The bound on remembered shares: the channel moves at three quarters of it, an honest client is never refused, and the old prefix
/// comes back to the pool.
#[test]
fn a_busy_channel_moves_and_never_stops() {
    let mut bench = Bench::new(Revision::Draft, SetupFlags::from_bits(0), frozen());
    bench.block(1);
    let (channel, mut job) = bench.ready(ChannelKind::Standard);
    let (mut moves, mut old) = (0, job);
    for n in 0..5_000 {
        // This client notices new jobs only every 40 shares.
        if n % 40 == 0 {
            old = job;
            for message in bench.sent() {
                match message {
                    ToClient::SetExtranoncePrefix(SetExtranoncePrefix { channel_id, .. }) => {
                        assert_eq!(channel_id, channel, "D-EXN-2");
                        moves += 1;
                    }
                    ToClient::NewMiningJob(new) => job = new.job_id,
                    _ => {}
                }
            }
        }
        assert_eq!(reason(bench.submit(&standard(channel, job, n))), None, "share {n}");
        if old != job {
            assert_eq!(reason(bench.submit(&standard(channel, old, n))), Some(Reason::Stale), "share {n}");
            bench.taken();
        }
    }
    assert!((20..35).contains(&moves), "{moves} moves");
    assert!(bench.shared.space().in_use() <= 2);
    let accepted = bench.server.channel(channel).unwrap().statistics().accepted;
    assert_eq!(accepted, 5_000);
}

/// D-CHAN-7: opening and closing in a loop costs no prefixes: only that of a channel with accepted shares rests.
#[test]
fn channels_without_shares_use_up_no_prefix() {
    let mut bench = Bench::draft();
    for kind in [ChannelKind::Standard, ChannelKind::Extended] {
        for _ in 0..10 * crate::config::CHANNEL_NUMBERS_INLINE {
            let (channel, _) = bench.ready(kind);
            bench.server.forget(&mut bench.shared, channel);
        }
    }
    let (channel, job) = bench.ready(ChannelKind::Standard);
    let prefix = |bench: &Bench, channel| bench.server.channel(channel).unwrap().extranonce_prefix(&bench.shared);
    let worked = prefix(&bench, channel);
    assert_eq!(reason(bench.submit(&standard(channel, job, 1))), None);
    bench.server.forget(&mut bench.shared, channel);
    for n in 1..crate::config::CHANNELS_INLINE {
        let (channel, _) = bench.ready(ChannelKind::Standard);
        assert_ne!(prefix(&bench, channel), worked, "channel {n}");
    }
}

/// When no prefix is left the channel can't move: what does not fit is refused until the prevhash changes, nothing is forgotten.
#[test]
fn without_a_free_prefix_the_bound_refuses() {
    let mut bench = Bench::new(Revision::Draft, SetupFlags::from_bits(0), frozen());
    bench.block(1);
    let (channel, job) = bench.ready(ChannelKind::Standard);
    while bench.shared.space.allocate().is_ok() {}
    for n in 0..crate::config::SHARES_INLINE as u32 {
        assert_eq!(reason(bench.submit(&standard(channel, job, n))), None);
        bench.sent();
    }
    assert_eq!(reason(bench.submit(&standard(channel, job, 9_999))), Some(Reason::Stale));
    assert_eq!(reason(bench.submit(&standard(channel, job, 0))), Some(Reason::Duplicate));
    bench.block(2);
    let job = bench.sent().iter().rev().find_map(|message| match message {
        ToClient::SetNewPrevHash(prev) => Some(prev.job_id),
        _ => None,
    });
    assert_eq!(reason(bench.submit(&standard(channel, job.unwrap(), 9_999))), None);
}

/// Vardiff never changes anything: it aims at more shares than there can be, and the target is as easy as it can be.
fn frozen() -> ServerConfig {
    let mut config = config();
    config.vardiff.shares_per_minute = 1e18;
    config
}

/// D-TGT-1: a running job keeps its target; a flood is stopped by a harder target, told before a job with which it counts.
#[test]
fn a_flood_makes_shares_harder() {
    let mut bench = Bench::draft();
    let (channel, job) = bench.ready(ChannelKind::Standard);
    let mut n = 0;
    let sent = loop {
        assert_eq!(reason(bench.submit(&standard(channel, job, n))), None);
        n += 1;
        let sent = bench.sent();
        if !sent.is_empty() {
            break sent;
        }
        assert!(n < 20);
    };
    let [
        ToClient::SetExtranoncePrefix(_),
        ToClient::SetTarget(SetTarget { maximum_target, .. }),
        ToClient::NewMiningJob(new),
    ] = sent[..]
    else {
        panic!("{sent:?}")
    };
    assert!(!new.start.is_future());
    assert_eq!(reason(bench.submit(&standard(channel, job, n))), None, "the old job at its old target");
    let target = Target::from(maximum_target);
    assert_eq!(bench.server.channel(channel).unwrap().target(), target);
    let (mut good, mut bad) = (0, 0);
    for n in 100..300 {
        let share = share(channel, new.job_id, n);
        let prepared = bench.server.prepare(bench.now, &bench.shared, &(&share).into()).unwrap();
        let hash = prepared.hash();
        let outcome = reason(bench.server.conclude(bench.now, &mut bench.shared, &prepared, &hash));
        assert_eq!(outcome, (!target.is_met_by(&hash)).then_some(Reason::Difficulty));
        good += u32::from(outcome.is_none());
        bad += u32::from(outcome.is_some());
    }
    assert!(good > 0 && bad > 0);
}

/// Silence makes shares easier, down to what the pool allows, and the job is issued anew so that it takes effect.
#[test]
fn silence_makes_shares_easier() {
    let mut bench = Bench::draft();
    let id = bench.try_open(&open_standard(1, RATE * 1_000.0)).unwrap();
    bench.sent();
    let mut targets = Vec::new();
    for _ in 0..80 {
        bench.poll_timeout();
        let mut told = None;
        for message in bench.sent() {
            match message {
                ToClient::SetTarget(set) => told = Some(Target::from(set.maximum_target)),
                ToClient::NewMiningJob(job) => {
                    assert!(matches!(job.start, JobStart::Now { .. }));
                    targets.extend(told.take());
                }
                _ => {}
            }
        }
    }
    assert!(targets.len() >= 3 && targets.is_sorted(), "{targets:?}");
    assert!(bench.server.channel(id).unwrap().target() > Target::from_difficulty(0.1).unwrap());
    assert!(bench.shared.space().in_use() <= 2, "silence does not eat the extranonce space");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// D-ALG-1 to D-ALG-6, D-TGT-3: for any job, prefix, header fields and targets the verdict is that of a plain computation over the
    /// messages that the client saw.
    #[test]
    fn the_verdict_is_that_of_a_plain_check(
        kind in prop_oneof![Just(ChannelKind::Standard), Just(ChannelKind::Extended)],
        difficulty in 1e-10_f64..1e-7,
        skip in 0_usize..4,
        shares in proptest::collection::vec((any::<u32>(), 0_u32..14, any::<u32>(), any::<[u8; 5]>()), 1..40),
    ) {
        let easiest_target = Target::from_difficulty(difficulty).unwrap();
        let mut config = frozen();
        config.easiest_target = easiest_target;
        let mut bench = Bench::new(Revision::Draft, SetupFlags::from_bits(0), config);
        bench.block(1);
        for _ in 0..skip {
            bench.open(ChannelKind::Extended);
            let id = bench.server.channels().next().unwrap().id();
            bench.server.forget(&mut bench.shared, id);
        }
        bench.taken();
        let channel = bench.open(kind);
        let sent = bench.sent();
        // Everything from the messages, as a client has it.
        let (mut target, mut granted, mut root_of) = (None, Vec::new(), None);
        let mut network = None;
        for message in sent {
            match message {
                ToClient::OpenStandardMiningChannelSuccess(opened) => target = Some(opened.target),
                ToClient::OpenExtendedMiningChannelSuccess(opened) => {
                    target = Some(opened.target);
                    granted = opened.extranonce_prefix.as_bytes().to_vec();
                }
                ToClient::NewMiningJob(job) => root_of = Some((job.job_id, Ok(job.merkle_root.0))),
                ToClient::NewExtendedMiningJob(job) => root_of = Some((job.job_id, Err(job))),
                ToClient::SetNewPrevHash(prev) => network = Some(prev),
                other => panic!("{other:?}"),
            }
        }
        let ((job_id, root), prev) = (root_of.unwrap(), network.unwrap());
        let mut seen = std::collections::BTreeSet::new();
        for (n, (nonce, time, bits, extranonce)) in (0_u32..).zip(shares) {
            let ntime = 1_700_000_000 + time;
            let version = 0x2000_0000 | (bits & 0x1fff_e000);
            let extranonce: &'static [u8] = std::boxed::Box::leak(std::boxed::Box::new(extranonce));
            let message = match kind {
                ChannelKind::Standard => changed(standard(channel, job_id, n), |share| {
                    (share.nonce, share.ntime, share.version) = (nonce, ntime, version);
                }),
                ChannelKind::Extended => {
                    let ToServer::SubmitSharesExtended(mut share) = extended(channel, job_id, n, extranonce) else { unreachable!() };
                    (share.nonce, share.ntime, share.version) = (nonce, ntime, version);
                    ToServer::SubmitSharesExtended(share)
                }
            };
            let root = match root {
                Ok(root) => root,
                Err(job) => {
                    let coinbase = [job.coinbase_tx_prefix.as_bytes(), &granted, extranonce, job.coinbase_tx_suffix.as_bytes()].concat();
                    let mut root = sha256d(&[&coinbase]);
                    for sibling in &job.merkle_path {
                        root = sha256d(&[&[root, sibling.0].concat()]);
                    }
                    root
                }
            };
            let mut header = Vec::new();
            header.extend(version.to_le_bytes());
            header.extend(prev.prev_hash.0);
            header.extend(root);
            header.extend(ntime.to_le_bytes());
            header.extend(prev.nbits.to_le_bytes());
            header.extend(nonce.to_le_bytes());
            let mut hash = sha256d(&[&header]);
            hash.reverse();
            let expected = if !(1..=11).contains(&time) {
                Some(Reason::Time)
            } else if hash > target.unwrap().to_be_bytes() {
                Some(Reason::Difficulty)
            } else if !seen.insert(hash) {
                Some(Reason::Duplicate)
            } else {
                None
            };
            prop_assert_eq!(reason(bench.submit(&message)), expected);
        }
    }
}

/// Another hash rate begins the measuring anew, the same one does not: what was measured since says more.
#[test]
fn an_update_begins_the_measuring_anew() {
    let mut bench = Bench::draft();
    let (channel, job) = bench.ready(ChannelKind::Standard);
    bench.submit(&standard(channel, job, 1)).unwrap();
    bench.now = bench.now.saturating_add(core::time::Duration::from_secs(5));
    let measured = |bench: &Bench| bench.server.channel(channel).unwrap().hash_rate(bench.now);
    let before = measured(&bench);
    assert!(before.is_some_and(|rate| rate > 0.0), "{before:?}");
    let nominal = bench.server.channel(channel).unwrap().nominal_hash_rate();
    for (rate, expected) in [(nominal, before), (2.0 * nominal + 1.0, None)] {
        let update = crate::message::mining::UpdateChannel {
            channel_id: channel,
            nominal_hash_rate: rate,
            maximum_target: Target::MAX.into(),
        };
        assert!(matches!(bench.receive(&ToServer::UpdateChannel(update)), Ok(crate::mining::server::Received::Done)));
        assert_eq!(measured(&bench), expected, "{rate}");
    }
}
