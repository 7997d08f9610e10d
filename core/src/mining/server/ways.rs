//! However a share is checked, the same comes of it: alone with work between its hashes, in two halves, or in batches; whatever happened before and
//! whatever happens next.

use core::time::Duration;
use std::format;
use std::string::String;
use std::vec::Vec;

use proptest::prelude::*;

use super::custom::CustomCoinbase;
use super::testing::*;
use super::*;
use crate::config::SHARE_BATCH_INLINE;
use crate::message::mining::{
    CloseChannel, SetCustomMiningJob, SetupFlags, SubmitSharesExtended, SubmitSharesStandard, ToClient, ToServer,
    UpdateChannel,
};
use crate::message::{ChannelKind, CoinbaseOutputs};
use crate::mining::target::Target;
use crate::wire::{Seq0255, U256};

/// Shares of one channel and job, with nonces from `first` on.
#[derive(Clone, Debug)]
struct Run {
    channel: u8,
    job: u8,
    first: u8,
    count: u8,
    /// What is wrong with one of them, mostly nothing.
    wrong: u8,
}

#[derive(Clone, Debug)]
enum Step {
    Open(bool),
    Close(u8),
    Update(u8, i32),
    /// All at one time.
    Shares(Vec<Run>),
    Job(bool),
    /// On a network where every hash is a block, or some are, or none.
    Block(u8),
    /// On the pool's block or on one that is ahead of it.
    Custom(u8, bool),
    Wait(u16),
    Store,
    Poll,
}

fn run() -> impl Strategy<Value = Run> {
    any::<(u8, u8, u8, u8, u8)>().prop_map(|(channel, job, first, count, wrong)| Run {
        channel,
        job,
        first,
        count: count % 40 + 1,
        wrong,
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => any::<bool>().prop_map(Step::Open),
        1 => any::<u8>().prop_map(Step::Close),
        1 => (any::<u8>(), -8_i32..40).prop_map(|(channel, power)| Step::Update(channel, power)),
        12 => proptest::collection::vec(run(), 1..4).prop_map(Step::Shares),
        2 => any::<bool>().prop_map(Step::Job),
        1 => any::<u8>().prop_map(Step::Block),
        1 => any::<(u8, bool)>().prop_map(|(channel, ahead)| Step::Custom(channel, ahead)),
        3 => any::<u16>().prop_map(Step::Wait),
        2 => Just(Step::Store),
        6 => Just(Step::Poll),
    ]
}

fn pick<T: Copy>(from: &[T], which: u8) -> Option<T> {
    from.get(usize::from(which) % from.len().max(1)).copied()
}

fn channel(bench: &Bench, which: u8) -> (u32, ChannelKind) {
    let open: Vec<_> = bench.server.channels().map(|channel| (channel.id(), channel.kind())).collect();
    pick(&open, which).unwrap_or((9, ChannelKind::Standard))
}

fn shares(bench: &Bench, run: &Run) -> Vec<ToServer<'static>> {
    static EXTRANONCE: [u8; 5] = [4; 5];
    let (channel_id, kind) = channel(bench, run.channel);
    let jobs = bench.server.slots.get(channel_id).map(|channel| &channel.jobs[..]).unwrap_or_default();
    let all: Vec<_> = jobs.iter().map(|job| job.id).collect();
    // Mostly the one in work.
    let active = jobs.iter().rev().find(|job| !job.future).map(|job| job.id);
    let job_id = if run.job < 200 { active } else { pick(&all, run.job) }.unwrap_or(1);
    let share = |n: u8| {
        let at = run.first.wrapping_add(n);
        let wrong = if n == run.wrong % 8 { run.wrong / 8 } else { 0 };
        let mut share = SubmitSharesStandard { ntime: 1_700_000_205, ..share(channel_id, job_id, at.into()) };
        let (mut kind, mut extranonce) = (kind, &EXTRANONCE[..]);
        match wrong {
            20 => share.version ^= 0x8000_0000,
            21 => share.version ^= 0x0000_2000,
            22 => share.ntime = 1_600_000_000,
            23 => share.ntime += 1_000,
            24 => extranonce = &EXTRANONCE[..4],
            25 if kind == ChannelKind::Standard => kind = ChannelKind::Extended,
            25 => kind = ChannelKind::Standard,
            26 => share.job_id = 4_711,
            27 => share.job_id = 0,
            28 => share.channel_id ^= 1 << 16,
            _ => {}
        }
        let SubmitSharesStandard { channel_id, sequence_number, job_id, nonce, ntime, version } = share;
        match kind {
            ChannelKind::Standard => ToServer::SubmitSharesStandard(share),
            ChannelKind::Extended => ToServer::SubmitSharesExtended(SubmitSharesExtended {
                channel_id,
                sequence_number,
                job_id,
                nonce,
                ntime,
                version,
                extranonce: extranonce.into(),
            }),
        }
    };
    (0..run.count).map(share).collect()
}

/// Checks a share alone, and that the rate of shares is judged as it is without looking ahead.
fn check_alone(bench: &mut Bench, share: &ToServer<'static>) -> Result<Accepted, Rejection> {
    let vardiff = |bench: &Bench, id| bench.server.slots.get(id).map(|channel| (channel.vardiff, channel.target));
    let channel_id = Submitted::of(share).unwrap().channel_id;
    let before = vardiff(bench, channel_id);
    let checked = check(bench, core::slice::from_ref(share), Some(0)).remove(0);
    let Some((mut judged, target)) = before else { return checked };
    let mut is_changed = false;
    if let Ok(accepted) = &checked {
        judged.record(accepted.target.expected_hashes());
        let config = bench.shared.config().vardiff;
        is_changed = judged.evaluate(bench.now, target.expected_hashes(), &config).is_some();
    }
    let (vardiff, now) = vardiff(bench, channel_id).unwrap();
    assert_eq!(format!("{vardiff:?}"), format!("{judged:?}"));
    assert!(is_changed || now == target);
    checked
}

fn request(channel_id: u32, prev: u8) -> SetCustomMiningJob<'static> {
    static PATH: [U256; 1] = [U256([7; 32])];
    SetCustomMiningJob {
        channel_id,
        request_id: 31,
        mining_job_token: (&[1, 2, 3]).into(),
        version: 0x2000_0000,
        prev_hash: U256([prev; 32]),
        min_ntime: 1_700_000_001,
        nbits: 0x207f_ffff,
        coinbase_tx_version: 2,
        coinbase_prefix: (&[3, 1, 2, 3]).into(),
        coinbase_tx_input_n_sequence: 0xffff_fffe,
        coinbase_tx_value_remaining: 5.into(),
        coinbase_tx_outputs: CoinbaseOutputs::new(&[]),
        coinbase_tx_locktime: 99,
        merkle_path: Seq0255::new(&PATH),
        extranonce_size: 5.into(),
        future_job: false.into(),
    }
}

/// All that is seen of a server, step by step.
fn play(flags: SetupFlags, config: ServerConfig, steps: &[Step], at_once: Option<usize>) -> Vec<String> {
    let mut bench = Bench::new(Revision::Draft, flags, config);
    bench.block(1);
    let (mut prev, mut future) = (1, false);
    let mut log = Vec::new();
    bench.ready(ChannelKind::Extended);
    bench.ready(ChannelKind::Standard);
    for (n, step) in (1_u32..).zip(steps) {
        let mut seen = String::new();
        match step {
            Step::Open(standard) => {
                bench.try_open(&if *standard { open_standard(n, 0.0) } else { open_extended(n, RATE, 5) });
            }
            Step::Close(which) => {
                let (channel_id, _) = channel(&bench, *which);
                let close = CloseChannel { channel_id, reason_code: "".into() };
                seen = format!("{:?}", bench.receive(&ToServer::CloseChannel(close)));
            }
            Step::Update(which, power) => {
                let (channel_id, _) = channel(&bench, *which);
                let maximum_target = Target::from_difficulty(2_f64.powi(power - 32)).unwrap().into();
                let update = UpdateChannel { channel_id, nominal_hash_rate: RATE, maximum_target };
                seen = format!("{:?}", bench.receive(&ToServer::UpdateChannel(update)));
            }
            Step::Shares(runs) => {
                let shares: Vec<_> = runs.iter().flat_map(|run| shares(&bench, run)).collect();
                let checked = match at_once {
                    Some(0) => shares.iter().map(|share| check_alone(&mut bench, share)).collect(),
                    _ => check(&mut bench, &shares, at_once),
                };
                seen = format!("{checked:?}");
                // In halves some rejections were answered already.
                let told = bench.taken();
                assert!(told.iter().all(|message| matches!(message, ToClient::SubmitSharesError(_))));
            }
            Step::Job(wait) => {
                bench.job(*wait);
                future = *wait;
            }
            Step::Block(kind) => {
                if !core::mem::take(&mut future) {
                    bench.job(true);
                }
                prev = prev % 200 + 1;
                match kind % 3 {
                    0 => bench.prev_hash(prev),
                    1 => bench.block_of(prev, Target::from_nbits(0x207f_ffff).unwrap()),
                    _ => bench.block_of(prev, Target::from_nbits(0x201f_ffff).unwrap()),
                }
            }
            Step::Custom(which, ahead) => {
                let (channel_id, _) = channel(&bench, *which);
                let request = request(channel_id, prev + u8::from(*ahead));
                match bench.receive(&ToServer::SetCustomMiningJob(request)).unwrap() {
                    Received::Custom(request) => {
                        let mut out = Out::plain(&mut bench.output, bench.revision);
                        let accepted = bench.server.accept_custom(
                            bench.now,
                            &mut bench.shared,
                            &request,
                            CustomCoinbase::AsGiven,
                            &mut out,
                        );
                        seen = format!("{accepted:?}");
                    }
                    other => seen = format!("{other:?}"),
                }
            }
            Step::Wait(millis) => {
                bench.now = bench.now.saturating_add(Duration::from_millis(u64::from(*millis)));
                bench.server.handle_timeout(bench.now, &bench.shared);
            }
            Step::Store => bench.server.stored(bench.shared.last_ticket()),
            Step::Poll => seen = format!("{:?}", bench.sent()),
        }
        let told = bench.taken();
        let channels: Vec<_> =
            bench.server.channels().map(|channel| (channel.target(), *channel.statistics())).collect();
        let server = &bench.server;
        let wants = (server.wants_outbound(&bench.shared), server.poll_timeout(), server.urgent, server.slots.queued());
        log.push(format!("{step:?}: {seen} {told:?} {channels:?} {wants:?}"));
    }
    log
}

/// A share of the old target is judged by what the new one takes: of seven expected shares only a sixteenth of one has come.
#[test]
fn a_share_of_the_old_target_does_not_hide_that_the_new_one_is_too_hard() {
    let mut config = config();
    config.vardiff.shares_per_minute = 3_000.0;
    let mut bench = Bench::new(Revision::Draft, SetupFlags::from_bits(0), config);
    bench.block(1);
    let (channel, job) = bench.ready(ChannelKind::Standard);
    let target = |bench: &Bench| bench.server.slots.get(channel).unwrap().target;
    let easy = target(&bench);
    for n in 1..=7 {
        check_alone(&mut bench, &standard(channel, job, n)).unwrap();
    }
    let hard = target(&bench);
    assert!(hard.expected_hashes() > 15.0 * easy.expected_hashes());
    bench.now = bench.now.saturating_add(Duration::from_millis(140));
    let late = check_alone(&mut bench, &standard(channel, job, 8)).unwrap();
    assert_eq!(late.target, easy, "D-TGT-1");
    assert!(target(&bench) > hard);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// D-SHARE-2, D-SHARE-3, D-SHARE-4, D-SHARE-6, D-MIN-6, D-TGT-1, D-TGT-3: under moves, changed targets, jobs that go and custom ones.
    #[test]
    fn the_same_comes_of_a_share_however_it_is_checked(
        steps in proptest::collection::vec(step(), 1..120), at_once in 1_usize..=SHARE_BATCH_INLINE, pace in 0_usize..3, custom: bool,
    ) {
        let mut config = ServerConfig { custom_jobs: custom, group_jobs_from: 3, ntime_slack: 210, ..config() };
        config.vardiff.shares_per_minute = [6.0, 3_000.0, 1e12][pace];
        let flags = if custom { SetupFlags::REQUIRES_WORK_SELECTION } else { SetupFlags::from_bits(0) };
        let alone = play(flags, config, &steps, Some(0));
        for other in [None, Some(at_once)] {
            for (alone, other) in alone.iter().zip(play(flags, config, &steps, other)) {
                prop_assert_eq!(alone, &other);
            }
        }
    }
}
