//! What a client makes of single messages, right and wrong ones.

use core::time::Duration;
use std::vec::Vec;

use super::testing::*;
use super::*;
use crate::message::mining::*;
use crate::message::{CurrentOnly, JobStart};
use crate::mining::merkle;
use crate::mining::server::ServerConfig;
use crate::time::Instant;
use crate::wire::{Seq064K, Seq0255, U256};

pub(super) const NOW: JobStart = JobStart::Now { min_ntime: None };
pub(super) const GROUP: u32 = 100;

/// Leaked: messages borrow, and a test is short.
fn leaked(bytes: &[u8]) -> &'static [u8] {
    bytes.to_vec().leak()
}

pub(super) fn opened(request_id: u32, channel_id: u32) -> ToClient<'static> {
    ToClient::OpenStandardMiningChannelSuccess(OpenStandardMiningChannelSuccess {
        request_id,
        channel_id,
        target: U256::MAX,
        extranonce_prefix: leaked(&[7, channel_id as u8]).into(),
        group_channel_id: GROUP,
    })
}

/// In a group as the current revision has it, or as the draft's message reads.
pub(super) fn opened_extended(
    request_id: u32,
    channel_id: u32,
    extranonce_size: u16,
    grouped: bool,
) -> ToClient<'static> {
    ToClient::OpenExtendedMiningChannelSuccess(OpenExtendedMiningChannelSuccess {
        request_id,
        channel_id,
        target: U256::MAX,
        extranonce_size,
        extranonce_prefix: [8].as_slice().into(),
        group_channel_id: if grouped { CurrentOnly::new(GROUP) } else { CurrentOnly::absent() },
    })
}

pub(super) fn job(channel_id: u32, job_id: u32, start: JobStart) -> ToClient<'static> {
    let merkle_root = U256([job_id as u8; 32]);
    ToClient::NewMiningJob(NewMiningJob { channel_id, job_id, start, version: 0x2000_0000, merkle_root })
}

pub(super) fn extended_job(channel_id: u32, job_id: u32, start: JobStart) -> ToClient<'static> {
    ToClient::NewExtendedMiningJob(NewExtendedMiningJob {
        channel_id,
        job_id,
        start,
        version: 0x2000_0000,
        version_rolling_allowed: true,
        merkle_path: Seq0255::new(&[U256([3; 32])]),
        coinbase_tx_prefix: b"prefix".as_slice().into(),
        coinbase_tx_suffix: b"suffix".as_slice().into(),
    })
}

pub(super) fn prev_hash(channel_id: u32, job_id: u32, n: u8) -> ToClient<'static> {
    let (prev_hash, min_ntime, nbits) = (U256([n; 32]), 1_000 * u32::from(n), 0x1703_a30c);
    ToClient::SetNewPrevHash(SetNewPrevHash { channel_id, job_id, prev_hash, min_ntime, nbits })
}

pub(super) fn target(channel_id: u32, top: u8) -> ToClient<'static> {
    let mut maximum_target = U256::MAX;
    maximum_target.0[31] = top;
    ToClient::SetTarget(SetTarget { channel_id, maximum_target })
}

pub(super) fn prefix(channel_id: u32, byte: u8) -> ToClient<'static> {
    let extranonce_prefix = if byte < 128 { [1].as_slice() } else { [2, 2, 2].as_slice() }.into();
    ToClient::SetExtranoncePrefix(SetExtranoncePrefix { channel_id, extranonce_prefix })
}

pub(super) fn success(channel_id: u32, count: u32) -> ToClient<'static> {
    ToClient::SubmitSharesSuccess(SubmitSharesSuccess {
        channel_id,
        last_sequence_number: 1,
        new_submits_accepted_count: count,
        new_shares_sum: u64::MAX / 2,
    })
}

pub(super) fn error(channel_id: u32, error_code: &'static str) -> ToClient<'static> {
    ToClient::SubmitSharesError(SubmitSharesError { channel_id, sequence_number: 1, error_code: error_code.into() })
}

pub(super) fn close(channel_id: u32) -> ToClient<'static> {
    ToClient::CloseChannel(CloseChannel { channel_id, reason_code: "bye".into() })
}

/// Channel 1 open, with nothing to do.
fn open_one<S: Storage, const CHANNELS: usize, const COINBASE: usize, const PATH: usize>(
    bench: &mut Bench<S, CHANNELS, COINBASE, PATH>,
) {
    let request_id = bench.ask_standard();
    assert_eq!(bench.handle(&opened(request_id, 1)), Ok(ClientEvent::Opened { request_id, channel_id: 1 }));
}

fn small() -> Small {
    let mut bench = Small::draft();
    open_one(&mut bench);
    bench
}

/// The standard channels 1 and 2 in the group, the extended channel 3.
fn large(revision: Revision) -> Large {
    let mut bench = Large::new(terms(revision, SetupFlags::NONE), ServerConfig::default());
    open_one(&mut bench);
    let request_id = bench.ask_standard();
    bench.handle(&opened(request_id, 2)).unwrap();
    let request_id = bench.ask_extended();
    bench.handle(&opened_extended(request_id, 3, 4, revision == Revision::Current)).unwrap();
    bench
}

/// The default client stays small: this is what firmware pays for the mining protocol.
#[test]
fn the_default_client_is_about_a_kilobyte() {
    let size = size_of::<MiningClient>();
    std::println!("MiningClient<Inline, 1, 0, 0>: {size} bytes");
    assert!(size <= 1_280, "{size}");
}

/// D-OPEN-3: numbers of requests are unique, and only what was asked for is opened, once, of its kind.
#[test]
fn only_channels_that_were_asked_for_are_opened() {
    let mut bench = Large::draft();
    let ids = [bench.ask_standard(), bench.ask_extended(), bench.ask_standard()];
    assert_eq!(ids, [1, 2, 3]);
    assert_eq!(bench.handle(&opened(9, 1)), Err(ServerViolation::Request));
    assert_eq!(bench.handle(&opened(2, 1)), Err(ServerViolation::Request), "of the other kind");
    assert_eq!(bench.handle(&opened_extended(1, 1, 4, false)), Err(ServerViolation::Request));
    assert!(bench.handle(&opened(3, 1)).is_ok());
    assert_eq!(bench.handle(&opened(3, 4)), Err(ServerViolation::Request), "once");
    let refused = ToClient::OpenMiningChannelError(OpenMiningChannelError {
        kind: ChannelKind::Extended,
        request_id: 1,
        error_code: "unknown-user".into(),
    });
    // D-OPEN-6, draft open question 9: the request was for a standard channel.
    let event = ClientEvent::OpenRefused { request_id: 1, error_code: "unknown-user".into() };
    assert_eq!(bench.handle(&refused), Ok(event));
    assert_eq!(bench.handle(&refused), Ok(ClientEvent::Ignored(Ignored::UnknownRequest(1))));
    assert_eq!(bench.ask_standard(), 4);
}

/// D-CHAN-1, D-GRP-1: ids of channels and groups are unique among each other.
#[test]
fn an_id_that_is_in_use_is_a_violation() {
    let mut bench = Large::draft();
    open_one(&mut bench);
    let request_id = bench.ask_standard();
    for id in [1, GROUP] {
        assert_eq!(bench.handle(&opened(request_id, id)), Err(ServerViolation::ChannelId));
    }
    let regroup = |group_channel_id, channel_ids| {
        ToClient::SetGroupChannel(SetGroupChannel { group_channel_id, channel_ids: Seq064K::new(channel_ids) })
    };
    assert_eq!(bench.handle(&regroup(1, &[1])), Err(ServerViolation::ChannelId));
    for (channel_id, group_channel_id) in [(5, 1), (GROUP, GROUP + 1)] {
        let standard = bench.handle(&ToClient::OpenStandardMiningChannelSuccess(OpenStandardMiningChannelSuccess {
            request_id,
            channel_id,
            target: U256::MAX,
            extranonce_prefix: [].as_slice().into(),
            group_channel_id,
        }));
        assert_eq!(standard, Err(ServerViolation::ChannelId), "a group with the id of a channel, or the reverse");
    }
    assert!(bench.handle(&opened(request_id, 5)).is_ok(), "a violation changes nothing");
}

/// D-OPEN-7, D-SHARE-3
#[test]
fn the_granted_extranonce_is_what_was_asked_for_and_fits_a_share() {
    let mut bench = Large::draft();
    let request_id = bench.ask_extended();
    for size in [0, 3, 33, 256, u16::MAX] {
        assert_eq!(
            bench.handle(&opened_extended(request_id, 1, size, false)),
            Err(ServerViolation::ExtranonceSize),
            "{size}"
        );
    }
    assert!(bench.handle(&opened_extended(request_id, 1, 32, false)).is_ok());
    assert_eq!(bench.client.channel(1).unwrap().extranonce_size(), 32);
    assert_eq!(bench.client.channel(1).unwrap().group(), None, "D-CHAN-4: in the draft");
}

#[test]
fn what_cannot_be_asked_for_is_not_sent() {
    let mut bench = Small::draft();
    let mut out = Out::plain(&mut bench.output, Revision::Draft);
    for rate in [f32::NAN, f32::INFINITY, -1.0] {
        let open = Open { nominal_hash_rate: rate, ..OPEN };
        assert_eq!(bench.client.open_standard(&open, &mut out), Err(RequestError::HashRate));
    }
    assert_eq!(bench.client.open_extended(&OPEN, 4, &mut out), Err(RequestError::NoExtendedJobs), "no room for jobs");
    assert_eq!(bench.client.update(bench.now, 1, 0.0, Target::MAX), Err(RequestError::UnknownChannel));
    assert_eq!(bench.client.close(1, "", &mut out), Err(RequestError::UnknownChannel));
    assert_eq!(bench.client.open_standard(&OPEN, &mut out), Ok(1));
    assert_eq!(bench.client.open_standard(&OPEN, &mut out), Err(RequestError::NoRoom));
    assert_eq!(bench.taken().len(), 1);

    // D-FLAG-6
    let imposed = SuccessFlags::REQUIRES_EXTENDED_CHANNELS;
    bench.client.reset(Terms { imposed, ..Terms::default() });
    let mut out = Out::plain(&mut bench.output, Revision::Draft);
    assert_eq!(bench.client.open_standard(&OPEN, &mut out), Err(RequestError::StandardRefused));
    // D-FLAG-1
    let mut bench = Large::draft();
    bench.client.reset(terms(Revision::Draft, SetupFlags::REQUIRES_STANDARD_JOBS));
    let mut out = Out::plain(&mut bench.output, Revision::Draft);
    assert_eq!(bench.client.open_extended(&OPEN, 4, &mut out), Err(RequestError::NoExtendedJobs));
    assert!(bench.taken().is_empty());
}

/// D-MIN-2, D-MIN-5, D-MIN-6: future jobs wait, the named one starts, all others are void.
#[test]
fn a_prevhash_starts_its_job_and_voids_the_others() {
    let mut bench = small();
    assert_eq!(bench.handle(&job(1, 10, JobStart::Future)), Ok(ClientEvent::Queued { to: 1 }));
    bench.handle(&job(1, 11, JobStart::Future)).unwrap();
    assert!(bench.client.work(1).is_none());
    assert_eq!(bench.client.channel(1).unwrap().waiting_jobs(), 2);
    assert_eq!(bench.handle(&prev_hash(1, 10, 1)), Ok(ClientEvent::Work { to: 1 }));
    let work = bench.client.work(1).unwrap();
    assert_eq!((work.job_id, work.prev_hash, work.min_ntime, work.since), (10, [1; 32], 1_000, bench.now));
    assert_eq!(bench.client.channel(1).unwrap().waiting_jobs(), 0);
    assert_eq!(bench.handle(&prev_hash(1, 11, 2)), Ok(ClientEvent::Work { to: 1 }));
    assert!(bench.client.work(1).is_none(), "11 was void, and 10 belongs to the old prevhash");
    assert_eq!(bench.submit(&mine(&work, 0)), Err(NotSent::Stale));
    // D-MIN-1: a job to start at once builds on the last prevhash.
    assert_eq!(bench.handle(&job(1, 12, NOW)), Ok(ClientEvent::Work { to: 1 }));
    assert_eq!(bench.client.work(1).unwrap().prev_hash, [2; 32]);
}

/// D-MIN-1, D-MIN-4: before the first prevhash there is nothing to build on, so the job waits for it.
#[test]
fn a_job_to_start_at_once_without_a_prevhash_waits_for_it() {
    let mut bench = small();
    assert_eq!(bench.handle(&job(1, 10, NOW)), Ok(ClientEvent::Queued { to: 1 }));
    assert!(bench.client.work(1).is_none());
    bench.handle(&prev_hash(1, 10, 1)).unwrap();
    assert_eq!(bench.client.work(1).unwrap().job_id, 10);
}

/// Two jobs of one id could not be told apart by their shares: the later one counts, even when it ends the work.
#[test]
fn a_job_replaces_another_one_of_its_id() {
    let mut bench = small();
    bench.handle(&job(1, 10, JobStart::Future)).unwrap();
    bench.handle(&prev_hash(1, 10, 1)).unwrap();
    let before = bench.client.work(1).unwrap();
    assert_eq!(bench.handle(&job(1, 10, NOW)), Ok(ClientEvent::Work { to: 1 }));
    let after = bench.client.work(1).unwrap();
    assert!(after.job_id == before.job_id && after.serial > before.serial);
    assert_eq!(bench.submit(&mine(&before, 0)), Err(NotSent::Stale));
    assert_eq!(bench.handle(&job(1, 10, JobStart::Future)), Ok(ClientEvent::Work { to: 1 }));
    assert!(bench.client.work(1).is_none());
}

/// A prevhash that names the job in work gives it other work: shares of before are not mixed up with those of after.
#[test]
fn the_same_job_on_another_prevhash_is_other_work() {
    let mut bench = small();
    bench.handle(&job(1, 10, JobStart::Future)).unwrap();
    bench.handle(&prev_hash(1, 10, 1)).unwrap();
    let before = bench.client.work(1).unwrap();
    bench.handle(&target(1, 0x7f)).unwrap();
    bench.handle(&prev_hash(1, 10, 2)).unwrap();
    let after = bench.client.work(1).unwrap();
    assert_eq!(
        (after.job_id, after.prev_hash, after.target),
        (10, [2; 32], Target::MAX),
        "D-TGT-1: received long before"
    );
    assert!(after.serial > before.serial);
    assert_eq!(bench.submit(&mine(&before, 0)), Err(NotSent::Stale));
    assert_eq!(bench.submit(&mine(&after, 0)), Ok(1));
}

/// D-MIN-3: however many jobs come, state is bounded; the oldest that waits goes, never the one in work.
#[test]
fn the_queue_of_jobs_is_bounded() {
    let mut bench = small();
    bench.handle(&job(1, 1, JobStart::Future)).unwrap();
    bench.handle(&prev_hash(1, 1, 1)).unwrap();
    for id in 2..100 {
        assert_eq!(bench.handle(&job(1, id, JobStart::Future)), Ok(ClientEvent::Queued { to: 1 }));
    }
    assert_eq!(bench.client.work(1).unwrap().job_id, 1);
    assert_eq!(bench.client.channel(1).unwrap().waiting_jobs(), 3);
    bench.handle(&prev_hash(1, 96, 2)).unwrap();
    assert!(bench.client.work(1).is_none(), "dropped");
    for id in 100..200 {
        bench.handle(&job(1, id, NOW)).unwrap();
        assert_eq!(bench.client.work(1).unwrap().job_id, id);
    }
    bench.handle(&job(1, 200, JobStart::Future)).unwrap();
    for id in 201..300 {
        bench.handle(&job(1, id, NOW)).unwrap();
    }
    bench.handle(&prev_hash(1, 200, 3)).unwrap();
    assert_eq!(bench.client.work(1).unwrap().job_id, 200, "a waiting job outlives replaced ones");
}

/// D-TGT-1, D-TGT-2: queued future jobs take the new target when they start, jobs in work keep theirs; a group's target is for all members.
#[test]
fn a_target_counts_from_the_start_of_a_job() {
    let mut bench = large(Revision::Draft);
    for id in [1, 2] {
        bench.handle(&job(id, 10, JobStart::Future)).unwrap();
        bench.handle(&prev_hash(id, 10, 1)).unwrap();
        bench.handle(&job(id, 11, JobStart::Future)).unwrap();
    }
    assert_eq!(bench.handle(&target(GROUP, 0x7f)), Ok(ClientEvent::Target { to: GROUP }));
    let top = |bench: &Large, id| bench.client.work(id).unwrap().target.to_le_bytes()[31];
    assert_eq!((top(&bench, 1), top(&bench, 2)), (0xff, 0xff));
    bench.handle(&prev_hash(1, 11, 2)).unwrap();
    bench.handle(&job(2, 12, NOW)).unwrap();
    assert_eq!((top(&bench, 1), top(&bench, 2)), (0x7f, 0x7f));
    bench.handle(&target(2, 0x3f)).unwrap();
    bench.handle(&job(1, 13, NOW)).unwrap();
    bench.handle(&job(2, 13, NOW)).unwrap();
    assert_eq!((top(&bench, 1), top(&bench, 2)), (0x7f, 0x3f));
    assert_eq!(bench.client.channel(3).unwrap().target(), Target::MAX, "not of the group in the draft");
}

/// D-EXN-1, D-EXN-2, D-ALG-1: a prefix counts for group jobs behind it, and is no group's.
#[test]
fn a_prefix_counts_for_jobs_that_come_after_it() {
    let mut bench = large(Revision::Draft);
    bench.handle(&extended_job(GROUP, 10, JobStart::Future)).unwrap();
    bench.handle(&prefix(1, 0)).unwrap();
    bench.handle(&prev_hash(GROUP, 10, 1)).unwrap();
    let root = |prefix: &[u8]| merkle::merkle_root(merkle::coinbase_txid(b"prefix", prefix, &[], b"suffix"), [[3; 32]]);
    assert_eq!(bench.client.work(1).unwrap().merkle_root, root(&[7, 1]), "the job came before");
    assert_eq!(bench.client.work(2).unwrap().merkle_root, root(&[7, 2]));
    bench.handle(&extended_job(GROUP, 11, NOW)).unwrap();
    assert_eq!(bench.client.work(1).unwrap().merkle_root, root(&[1]));

    bench.handle(&extended_job(3, 12, JobStart::Future)).unwrap();
    bench.handle(&prefix(3, 200)).unwrap();
    bench.handle(&prev_hash(3, 12, 1)).unwrap();
    let extended = |bench: &Large| bench.client.extended_work(3).unwrap().root(&[5; 4]).unwrap();
    assert_eq!(extended(&bench), root(&[8, 5, 5, 5, 5]));
    bench.handle(&extended_job(3, 13, NOW)).unwrap();
    assert_eq!(extended(&bench), root(&[2, 2, 2, 5, 5, 5, 5]));
    assert_eq!(bench.handle(&prefix(GROUP, 0)), Err(ServerViolation::GroupPrefix));
}

/// D-GRP-2, D-GRP-3, D-FLAG-1: moving between groups, and nothing of the kind for a client of standard jobs.
#[test]
fn channels_move_between_groups() {
    let regroup =
        ToClient::SetGroupChannel(SetGroupChannel { group_channel_id: 101, channel_ids: Seq064K::new(&[2, 3, 77]) });
    for (revision, extended) in [(Revision::Draft, None), (Revision::Current, Some(101))] {
        let mut bench = large(revision);
        assert_eq!(bench.handle(&regroup), Ok(ClientEvent::Grouped { group: 101 }));
        let group = |id| bench.client.channel(id).unwrap().group();
        assert_eq!([group(1), group(2), group(3)], [Some(GROUP), Some(101), extended]);
    }
    let mut bench = Small::new(terms(Revision::Draft, SetupFlags::REQUIRES_STANDARD_JOBS), ServerConfig::default());
    open_one(&mut bench);
    assert_eq!(bench.client.channel(1).unwrap().group(), None, "whatever the server said");
    assert_eq!(bench.handle(&regroup), Ok(ClientEvent::Ignored(Ignored::Group)));
    let unknown = Ok(ClientEvent::Ignored(Ignored::UnknownChannel(GROUP)));
    assert_eq!(bench.handle(&extended_job(GROUP, 1, NOW)), unknown);
}

/// D-MIN-10
#[test]
fn a_job_of_the_wrong_kind_is_a_violation() {
    let mut bench = large(Revision::Draft);
    for wrong in [job(3, 1, NOW), job(GROUP, 1, NOW), extended_job(1, 1, NOW)] {
        assert_eq!(bench.handle(&wrong), Err(ServerViolation::JobKind));
    }
}

/// D-ALG-8, D-ALG-9, D-FLAG-3, D-FLAG-5: what may be rolled, by job, by server, and when that is not enough.
#[test]
fn version_bits_roll_where_job_and_server_allow_it() {
    let fixed = |message| match message {
        ToClient::NewExtendedMiningJob(job) => {
            ToClient::NewExtendedMiningJob(NewExtendedMiningJob { version_rolling_allowed: false, ..job })
        }
        other => other,
    };
    let mut bench = large(Revision::Draft);
    bench.handle(&extended_job(GROUP, 10, JobStart::Future)).unwrap();
    bench.handle(&prev_hash(GROUP, 10, 1)).unwrap();
    let work = bench.client.work(1).unwrap();
    assert_eq!(work.version_mask, VERSION_MASK_BIP320);
    for bit in 0..32 {
        let sent = bench.submit(&work.solution(work.version ^ (1 << bit), work.min_ntime, 0));
        assert_eq!(sent.is_ok(), VERSION_MASK_BIP320 & (1 << bit) != 0, "bit {bit}: {sent:?}");
    }
    bench.handle(&fixed(extended_job(GROUP, 11, NOW))).unwrap();
    let work = bench.client.work(1).unwrap();
    assert_eq!(work.version_mask, 0);
    let rolled = work.solution(work.version ^ 0x2000, work.min_ntime, 0);
    assert_eq!(bench.submit(&rolled), Err(NotSent::VersionBits));

    let imposed = SuccessFlags::REQUIRES_FIXED_VERSION;
    assert_eq!(Terms { imposed, ..Terms::default() }.version_mask(true), 0);
    let terms = terms(Revision::Current, SetupFlags::REQUIRES_VERSION_ROLLING);
    assert_eq!(terms.version_mask(true), VERSION_MASK_BIP323);
    let mut bench = Large::new(terms, ServerConfig::default());
    open_one(&mut bench);
    assert_eq!(bench.handle(&fixed(extended_job(GROUP, 1, NOW))), Err(ServerViolation::FixedVersion));
}

/// D-ALG-7: bits for general purposes that a job comes with set are free like the others: any value of them may be sent, and those outside the
/// mask are as given.
#[test]
fn no_value_of_the_rollable_bits_counts_as_given() {
    let mut bench = large(Revision::Draft);
    bench.handle(&extended_job(GROUP, 10, JobStart::Future)).unwrap();
    bench.handle(&prev_hash(GROUP, 10, 1)).unwrap();
    let work = bench.client.work(1).unwrap();
    for bits in [0, VERSION_MASK_BIP320, 0x0000_2000, 0x1000_0000, 0x0aaa_a000] {
        let version = work.version & !work.version_mask | bits;
        assert!(bench.submit(&work.solution(version, work.min_ntime, bits)).is_ok(), "{version:08x}");
        let outside = work.solution(version ^ 0x8000_0000, work.min_ntime, bits);
        assert_eq!(bench.submit(&outside), Err(NotSent::VersionBits));
    }
}

/// D-SHARE-2: from the prevhash's time to that plus the seconds since it came, by the caller's clock.
#[test]
fn time_rolls_with_the_clock() {
    let mut bench = small();
    bench.handle(&job(1, 10, JobStart::Future)).unwrap();
    bench.handle(&prev_hash(1, 10, 1)).unwrap();
    bench.now = bench.now.saturating_add(Duration::from_millis(2_999));
    bench.handle(&job(1, 11, NOW)).unwrap();
    let work = bench.client.work(1).unwrap();
    assert_eq!(work.max_ntime(bench.now), 1_002, "since the prevhash, not since the job");
    assert_eq!(work.max_ntime(Instant::ORIGIN), 1_000, "a clock that goes back");
    for (ntime, ok) in [(999, false), (1_000, true), (1_002, true), (1_003, false)] {
        let sent = bench.submit(&work.solution(work.version, ntime, 0));
        assert_eq!(sent.is_ok(), ok, "{ntime}: {sent:?}");
        assert!(ok || sent == Err(NotSent::Time));
    }
    let endless = Instant::from_micros(u64::MAX);
    assert_eq!(Work { min_ntime: u32::MAX, ..work }.max_ntime(endless), u32::MAX);

    // The current revision's jobs bring their own lowest time; its seconds count from then on.
    let mut bench = large(Revision::Current);
    bench.handle(&job(1, 10, JobStart::Future)).unwrap();
    bench.handle(&prev_hash(1, 10, 1)).unwrap();
    bench.now = bench.now.saturating_add(Duration::from_secs(10));
    bench.handle(&job(1, 11, JobStart::Now { min_ntime: Some(1_005) })).unwrap();
    let work = bench.client.work(1).unwrap();
    assert_eq!((work.min_ntime, work.max_ntime(bench.now)), (1_005, 1_005));
}

/// D-SHARE-1: counted for each channel by itself; a share that does not fit into the buffer takes no number.
#[test]
fn sequence_numbers_count_sent_shares() {
    let mut bench = large(Revision::Draft);
    for id in [1, 2] {
        bench.handle(&job(id, 10, JobStart::Future)).unwrap();
        bench.handle(&prev_hash(id, 10, 1)).unwrap();
    }
    let works = [bench.client.work(1).unwrap(), bench.client.work(2).unwrap()];
    assert_eq!([0, 1, 0, 0, 1].map(|at: usize| bench.submit(&mine(&works[at], 0)).unwrap()), [1, 1, 2, 3, 2]);
    let mut tiny = crate::buffer::Output::new([0; 40]);
    let mut out = Out::plain(&mut tiny, Revision::Draft);
    let solution = mine(&works[0], 0);
    assert_eq!(bench.client.submit(bench.now, &solution, &mut out), Ok(4));
    let full = Err(NotSent::Send(crate::error::Error::Full));
    assert_eq!(bench.client.submit(bench.now, &solution, &mut out), full);
    assert_eq!(bench.submit(&solution), Ok(5));
    let statistics = bench.client.statistics();
    assert_eq!((statistics.submitted, statistics.not_sent), (7, 0));
}

/// D-ERR-1, draft open question 22: rejections are counted, whatever the code; none of them changes the work.
#[test]
fn error_codes_change_nothing_but_counts() {
    let mut bench = small();
    bench.handle(&job(1, 10, JobStart::Future)).unwrap();
    bench.handle(&prev_hash(1, 10, 1)).unwrap();
    let work = bench.client.work(1).unwrap();
    let codes = ["difficulty-too-low", "too-low-difficulty", "stale-share", "invalid-channel-id", "whatever", ""];
    for code in codes {
        bench.submit(&mine(&work, 0)).unwrap();
        let rejected = ClientEvent::Rejected { channel_id: 1, sequence_number: 1, error_code: code.into() };
        assert_eq!(bench.handle(&error(1, code)), Ok(rejected));
        assert_eq!(bench.client.work(1), Some(work));
    }
    assert_eq!(bench.client.statistics().rejected, 6);
    let refused = ToClient::UpdateChannelError(UpdateChannelError { channel_id: 1, error_code: "x".into() });
    let event = ClientEvent::UpdateRefused { channel_id: 1, error_code: "x".into() };
    assert_eq!(bench.handle(&refused), Ok(event));
}

/// D-SHARE-4: a server that answers more than was asked is believed as far as something was sent.
#[test]
fn answers_are_counted_as_far_as_there_are_shares() {
    let mut bench = small();
    assert_eq!(bench.handle(&success(1, 5)), Ok(ClientEvent::Ignored(Ignored::NothingUnanswered)));
    assert_eq!(bench.handle(&error(1, "x")), Ok(ClientEvent::Ignored(Ignored::NothingUnanswered)));
    assert_eq!(bench.handle(&success(2, 5)), Ok(ClientEvent::Ignored(Ignored::UnknownChannel(2))));
    bench.handle(&job(1, 10, JobStart::Future)).unwrap();
    bench.handle(&prev_hash(1, 10, 1)).unwrap();
    let work = bench.client.work(1).unwrap();
    for _ in 0..3 {
        bench.submit(&mine(&work, 0)).unwrap();
    }
    assert!(matches!(bench.handle(&success(1, 2)), Ok(ClientEvent::Accepted { count: 2, .. })));
    assert!(matches!(bench.handle(&success(1, u32::MAX)), Ok(ClientEvent::Accepted { count: 1, .. })));
    let statistics = *bench.client.statistics();
    assert_eq!((statistics.accepted, statistics.unanswered(), statistics.difficulty), (3, 0, u64::MAX - 1));
}

/// A job that is too long for this client's storage leaves the work as it was; a standard channel stores none.
#[test]
fn a_job_that_does_not_fit_is_passed_over() {
    let mut bench = large(Revision::Current);
    let too_long = |to, id| match extended_job(to, id, NOW) {
        ToClient::NewExtendedMiningJob(job) => {
            ToClient::NewExtendedMiningJob(NewExtendedMiningJob { coinbase_tx_suffix: leaked(&[5; 300]).into(), ..job })
        }
        other => other,
    };
    bench.handle(&extended_job(GROUP, 10, JobStart::Future)).unwrap();
    bench.handle(&prev_hash(GROUP, 10, 1)).unwrap();
    let extended = bench.client.extended_work(3).unwrap().serial();
    assert_eq!(bench.handle(&too_long(3, 11)), Ok(ClientEvent::Unusable { to: 3, job_id: 11 }));
    assert_eq!(bench.handle(&too_long(GROUP, 12)), Ok(ClientEvent::Work { to: GROUP }));
    assert_eq!(bench.client.extended_work(3).unwrap().serial(), extended);
    assert_eq!(bench.client.work(1).unwrap().job_id, 12);
}

/// D-CLOSE-1, C-CLOSE-6: a closed group takes its members along in the current revision, and means nothing in the draft.
#[test]
fn closing_a_group_closes_its_members() {
    let mut bench = large(Revision::Draft);
    assert_eq!(bench.handle(&close(GROUP)), Ok(ClientEvent::Ignored(Ignored::UnknownChannel(GROUP))));
    assert_eq!(bench.client.len(), 3);
    assert!(matches!(bench.handle(&close(2)), Ok(ClientEvent::Closed { id: 2, .. })));
    assert_eq!(bench.client.channels().map(|channel| channel.id()).collect::<Vec<_>>(), [1, 3]);
    let mut bench = large(Revision::Current);
    bench.client.update(bench.now, 2, 1.0, Target::MAX).unwrap();
    assert!(matches!(bench.handle(&close(GROUP)), Ok(ClientEvent::Closed { id: GROUP, .. })));
    assert!(bench.client.is_empty() && !bench.client.wants_outbound());
}

/// Channels stay in order whatever ids a server picks.
#[test]
fn channels_are_found_whatever_their_ids() {
    let mut bench = Large::draft();
    for id in [70, u32::MAX, 3] {
        let request_id = bench.ask_standard();
        bench.handle(&opened(request_id, id)).unwrap();
    }
    assert_eq!(bench.client.channels().map(|channel| channel.id()).collect::<Vec<_>>(), [3, 70, u32::MAX]);
    for id in [3, 70, u32::MAX] {
        assert_eq!(bench.client.channel(id).unwrap().extranonce_prefix().as_slice(), [7, id as u8]);
    }
    bench.handle(&close(70)).unwrap();
    assert!(bench.client.channel(70).is_none() && bench.client.channel(u32::MAX).is_some());
}

/// Custom jobs are the owner's: their answers are passed on as they are (D-CUST-3, D-CUST-5).
#[test]
fn answers_to_custom_jobs_are_passed_on() {
    let mut bench = small();
    let refused = SetCustomMiningJobError { channel_id: 1, request_id: 2, error_code: "x".into() };
    let message = ToClient::SetCustomMiningJobError(refused);
    assert_eq!(bench.handle(&message), Ok(ClientEvent::CustomRefused(refused)));
}
