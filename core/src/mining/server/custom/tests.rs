//! Custom jobs from the request to the last share, with the pool's own jobs beside them.

use std::vec::Vec;

use super::super::testing::*;
use super::super::{Reason, ServerConfig, SolutionSource};
use super::*;
use crate::hash::sha256d;
use crate::message::mining::{ToClient, ToServer};
use crate::message::{CoinbaseOutputs, TxOut};
use crate::wire::{Seq0255, U256};

fn request(channel_id: u32) -> SetCustomMiningJob<'static> {
    static OUTPUTS: [TxOut<'static>; 2] =
        [TxOut { value: 5_000_000_000, script_pubkey: &[0x51] }, TxOut { value: 0, script_pubkey: &[0x6a, 0x24] }];
    static PATH: [U256; 1] = [U256([7; 32])];
    SetCustomMiningJob {
        channel_id,
        request_id: 31,
        mining_job_token: (&[1, 2, 3]).into(),
        version: 0x2000_0000,
        prev_hash: U256([1; 32]),
        min_ntime: 1_700_000_001,
        nbits: 0x207f_ffff,
        coinbase_tx_version: 2,
        coinbase_prefix: (&[3, 1, 2, 3]).into(),
        coinbase_tx_input_n_sequence: 0xffff_fffe,
        coinbase_tx_value_remaining: 5.into(),
        coinbase_tx_outputs: CoinbaseOutputs::new(&OUTPUTS),
        coinbase_tx_locktime: 99,
        merkle_path: Seq0255::new(&PATH),
        extranonce_size: 5.into(),
        future_job: false.into(),
    }
}

fn bench(revision: Revision) -> (Bench, u32) {
    let config = ServerConfig { custom_jobs: true, ..config() };
    let mut bench = Bench::new(revision, SetupFlags::REQUIRES_WORK_SELECTION, config);
    bench.block(1);
    let (channel, _) = bench.ready(ChannelKind::Extended);
    (bench, channel)
}

fn accept(bench: &mut Bench, request: &SetCustomMiningJob<'static>, coinbase: CustomCoinbase<'_>) -> Option<u32> {
    let received = bench.receive(&ToServer::SetCustomMiningJob(*request)).unwrap();
    let Received::Custom(request) = received else { panic!("{received:?}") };
    assert_eq!((request.token(), request.account), (&[1, 2, 3][..], 77));
    let mut out = Out::plain(&mut bench.output, bench.revision);
    bench.server.accept_custom(bench.now, &mut bench.shared, &request, coinbase, &mut out).unwrap()
}

fn error(bench: &mut Bench) -> &'static str {
    let sent = bench.taken();
    let [ToClient::SetCustomMiningJobError(error)] = sent[..] else { panic!("{sent:?}") };
    assert_eq!(error.request_id, 31, "D-CUST-2");
    core::str::from_utf8(error.error_code.as_bytes()).unwrap()
}

/// D-CUST-2, D-CUST-3, C-CUST-5: the job gets a number, its coinbase is as described, its shares and blocks count.
#[test]
fn a_job_as_given_can_be_mined() {
    for revision in [Revision::Draft, Revision::Current] {
        let (mut bench, channel) = bench(revision);
        let id = accept(&mut bench, &request(channel), CustomCoinbase::AsGiven).unwrap();
        let sent = bench.taken();
        let [ToClient::SetCustomMiningJobSuccess(success)] = sent[..] else { panic!("{sent:?}") };
        assert_eq!((success.channel_id, success.request_id, success.job_id), (channel, 31, id));
        assert_eq!(success.coinbase_tx_prefix.get().is_some(), revision == Revision::Draft, "D-CUST-4");

        let mut coinbase = Vec::from([2, 0, 0, 0, 1]);
        coinbase.extend([0; 32]);
        coinbase.extend([0xff; 4]);
        coinbase.push(12);
        coinbase.extend([3, 1, 2, 3]);
        coinbase.extend([0xab, 0, 0, 1, 2, 3, 4, 5]);
        coinbase.extend([0xfe, 0xff, 0xff, 0xff, 2]);
        coinbase.extend(5_000_000_000_u64.to_le_bytes());
        coinbase.extend([1, 0x51]);
        coinbase.extend(0_u64.to_le_bytes());
        coinbase.extend([2, 0x6a, 0x24]);
        coinbase.extend([99, 0, 0, 0]);
        let root = sha256d(&[&sha256d(&[&coinbase]), &[7; 32]]);
        let mut blocks = 0;
        for n in 0..5 {
            let (accepted, share) = bench.submit_and_keep(&extended(channel, id, n, &[1, 2, 3, 4, 5])).unwrap();
            let Some(block) = accepted.block else { continue };
            assert_eq!((share.header().merkle_root, block), (root, SolutionSource::Custom(id)));
            blocks += 1;
        }
        assert!(blocks > 0);
    }
}

/// D-CUST-4: what the pool makes of the coinbase is what the client of the draft is told, and what shares are checked with.
#[test]
fn a_job_with_the_pools_coinbase_is_answered_with_it() {
    let (mut bench, channel) = bench(Revision::Draft);
    let coinbase = CustomCoinbase::Parts { prefix: b"head", suffix: b"tail" };
    let id = accept(&mut bench, &request(channel), coinbase).unwrap();
    let sent = bench.taken();
    let [ToClient::SetCustomMiningJobSuccess(success)] = sent[..] else { panic!("{sent:?}") };
    assert_eq!(success.coinbase_tx_prefix.get().unwrap().as_bytes(), b"head");
    assert_eq!(success.coinbase_tx_suffix.get().unwrap().as_bytes(), b"tail");
    let ToServer::SubmitSharesExtended(share) = extended(channel, id, 1, &[9; 5]) else { unreachable!() };
    let prepared = bench.server.prepare(bench.now, &bench.shared, &(&share).into()).unwrap();
    let txid = sha256d(&[b"head", &[0xab, 0, 0], &[9; 5], b"tail"]);
    assert_eq!(prepared.header().merkle_root, sha256d(&[&txid, &[7; 32]]));
}

/// D-FLAG-2, D-CUST-1, D-CUST-5, C-CUST-4: what is wrong whatever the token says.
#[test]
fn bad_requests_are_refused() {
    let (mut bench, channel) = bench(Revision::Draft);
    let standard = bench.open(ChannelKind::Standard);
    bench.sent();
    let good = request(channel);
    let cases = [
        (SetCustomMiningJob { channel_id: standard, ..good }, "invalid-channel-id"),
        (SetCustomMiningJob { channel_id: 4_711, ..good }, "invalid-channel-id"),
        (SetCustomMiningJob { coinbase_prefix: (&[0; 9]).into(), ..good }, "invalid-job-param-value-coinbase_prefix"),
        (SetCustomMiningJob { nbits: 0, ..good }, "invalid-job-param-value-nbits"),
        (SetCustomMiningJob { extranonce_size: 4.into(), ..good }, "invalid-job-param-value-extranonce_size"),
        (SetCustomMiningJob { future_job: true.into(), ..good }, "invalid-job-param-value-future_job"),
    ];
    for (message, code) in cases {
        assert!(matches!(bench.receive(&ToServer::SetCustomMiningJob(message)), Ok(Received::Done)));
        assert_eq!(error(&mut bench), code);
    }
    let Ok(Received::Custom(received)) = bench.receive(&ToServer::SetCustomMiningJob(good)) else { panic!() };
    let mut out = Out::plain(&mut bench.output, Revision::Draft);
    let code = SetCustomMiningJobError::INVALID_MINING_JOB_TOKEN;
    bench.server.refuse_custom(&received, code, &mut out).unwrap();
    assert_eq!(error(&mut bench), "invalid-mining-job-token");

    let mut bench = Bench::draft();
    let (channel, _) = bench.ready(ChannelKind::Extended);
    assert!(matches!(bench.receive(&ToServer::SetCustomMiningJob(request(channel))), Ok(Received::Done)));
    assert_eq!(error(&mut bench), "jd-not-supported");

    // The pool takes custom jobs, but this client did not say that it brings any.
    let allowing = ServerConfig { custom_jobs: true, ..config() };
    let mut bench = Bench::new(Revision::Draft, SetupFlags::from_bits(0), allowing);
    bench.block(1);
    let (channel, _) = bench.ready(ChannelKind::Extended);
    assert!(matches!(bench.receive(&ToServer::SetCustomMiningJob(request(channel))), Ok(Received::Done)));
    assert_eq!(error(&mut bench), "jd-not-supported");
}

/// Storage is bounded: another channel's live job is not pushed out, a coinbase that does not fit is refused, and both cleanly.
#[test]
fn no_room_is_an_answer() {
    let (mut bench, channel) = bench(Revision::Draft);
    let long = [0; crate::config::COINBASE_INLINE];
    let coinbase = CustomCoinbase::Parts { prefix: &long, suffix: b"tail" };
    assert_eq!(accept(&mut bench, &request(channel), coinbase), None);
    assert_eq!(error(&mut bench), "invalid-job-param-value-coinbase_tx_outputs");
    let first = accept(&mut bench, &request(channel), CustomCoinbase::AsGiven).unwrap();
    bench.taken();
    let (other, _) = bench.ready(ChannelKind::Extended);
    assert_eq!(accept(&mut bench, &request(other), CustomCoinbase::AsGiven), None);
    assert_eq!(error(&mut bench), "too-many-custom-jobs");
    assert!(bench.submit(&extended(channel, first, 1, &[0; 5])).is_ok());
    let second = accept(&mut bench, &request(channel), CustomCoinbase::AsGiven).unwrap();
    assert!(bench.submit(&extended(channel, second, 2, &[0; 5])).is_ok(), "its own oldest job makes room");
    bench.taken();
    assert_eq!(accept(&mut bench, &request(channel), CustomCoinbase::Parts { prefix: &long, suffix: b"tail" }), None);
    assert_eq!(error(&mut bench), "invalid-job-param-value-coinbase_tx_outputs");
    assert!(bench.submit(&extended(channel, second, 3, &[0; 5])).is_ok(), "but not for one that is refused");
    assert_eq!(bench.submit(&extended(channel, first, 3, &[0; 5])).unwrap_err().reason, Reason::Stale);
    bench.server.close(&mut bench.shared, channel, "", &mut Out::plain(&mut bench.output, Revision::Draft)).unwrap();
    bench.taken();
    assert!(accept(&mut bench, &request(other), CustomCoinbase::AsGiven).is_some(), "what closes makes room");
}

/// A job may run ahead of the pool's own prevhash, survives it, and its shares are not forgotten then; its channel hears of no other jobs. The
/// next prevhash ends it (D-MIN-6), and the channel is told the pool's own job (D-MIN-4) until its client brings another one.
#[test]
fn a_job_may_be_ahead_of_the_pool_and_ends_with_its_block() {
    let (mut bench, channel) = bench(Revision::Current);
    let ahead = SetCustomMiningJob { prev_hash: U256([2; 32]), min_ntime: 1_700_000_002, ..request(channel) };
    let id = accept(&mut bench, &ahead, CustomCoinbase::AsGiven).unwrap();
    bench.taken();
    bench.submit(&extended(channel, id, 1, &[0; 5])).unwrap();
    bench.block(2);
    assert!(bench.sent().is_empty(), "the pool has caught up");
    bench.job(false);
    assert!(bench.sent().is_empty(), "better templates are the client's own affair");
    assert_eq!(bench.submit(&extended(channel, id, 1, &[0; 5])).unwrap_err().reason, Reason::Duplicate);
    assert!(bench.submit(&extended(channel, id, 2, &[0; 5])).is_ok());
    bench.taken();

    bench.block(3);
    let sent = bench.sent();
    let [ToClient::NewExtendedMiningJob(job), ToClient::SetNewPrevHash(prev)] = sent[..] else { panic!("{sent:?}") };
    assert_eq!(
        (job.channel_id, prev.channel_id, prev.job_id, prev.prev_hash),
        (channel, channel, job.job_id, U256([3; 32]))
    );
    assert_eq!(bench.submit(&extended(channel, id, 3, &[0; 5])).unwrap_err().reason, Reason::Stale);
    assert_eq!(bench.server.slots.get(channel).unwrap().duplicates.len(), 2, "the block may be brought again");
    assert!(bench.submit(&extended(channel, job.job_id, 1, &[0; 5])).is_ok());
    bench.taken();

    let next = SetCustomMiningJob { prev_hash: U256([3; 32]), ..request(channel) };
    let next = accept(&mut bench, &next, CustomCoinbase::AsGiven).unwrap();
    assert!(bench.submit(&extended(channel, next, 1, &[0; 5])).is_ok());
    assert!(bench.submit(&extended(channel, job.job_id, 2, &[0; 5])).is_ok(), "late shares of the pool's job count");
    bench.taken();
    bench.job(false);
    assert!(bench.sent().is_empty(), "its own job has precedence again");
    bench.block(4);
    assert!(matches!(bench.sent()[..], [ToClient::NewExtendedMiningJob(_), ToClient::SetNewPrevHash(_)]));
}

/// A client may name a block that is over, or was never the best: what it found there counts once however often it brings it.
#[test]
fn a_block_that_is_brought_again_pays_no_share_twice() {
    for ahead in [1, 9] {
        let (mut bench, channel) = bench(Revision::Draft);
        let request = SetCustomMiningJob { prev_hash: U256([ahead; 32]), ..request(channel) };
        let first = accept(&mut bench, &request, CustomCoinbase::AsGiven).unwrap();
        bench.taken();
        bench.submit(&extended(channel, first, 1, &[0; 5])).unwrap();
        for n in 2..5 {
            bench.block(n);
            bench.sent();
            let again = accept(&mut bench, &request, CustomCoinbase::AsGiven).unwrap();
            bench.taken();
            let twice = bench.submit(&extended(channel, again, 1, &[0; 5]));
            assert_eq!(twice.map(|_| ()).unwrap_err().reason, Reason::Duplicate, "{ahead} after {n}");
            assert!(bench.submit(&extended(channel, again, u32::from(n), &[0; 5])).is_ok());
        }
    }
}

/// The same where an operator allowed custom jobs when the channel was open already.
#[test]
fn a_channel_from_before_custom_jobs_were_allowed_pays_no_share_twice() {
    let mut bench = Bench::new(Revision::Draft, SetupFlags::REQUIRES_WORK_SELECTION, config());
    bench.block(1);
    let (channel, _) = bench.ready(ChannelKind::Extended);
    bench.shared.set_config(ServerConfig { custom_jobs: true, ..config() });
    let request = request(channel);
    let first = accept(&mut bench, &request, CustomCoinbase::AsGiven).unwrap();
    bench.taken();
    bench.submit(&extended(channel, first, 1, &[0; 5])).unwrap();
    bench.block(2);
    bench.sent();
    let again = accept(&mut bench, &request, CustomCoinbase::AsGiven).unwrap();
    bench.taken();
    let twice = bench.submit(&extended(channel, again, 1, &[0; 5]));
    assert_eq!(twice.map(|_| ()).unwrap_err().reason, Reason::Duplicate);
}

/// D-MIN-6: a prevhash ends a custom job before its client has heard of it.
#[test]
fn shares_of_a_block_that_is_over_are_stale_at_once() {
    let (mut bench, channel) = bench(Revision::Draft);
    let id = accept(&mut bench, &request(channel), CustomCoinbase::AsGiven).unwrap();
    bench.taken();
    assert!(bench.submit(&extended(channel, id, 1, &[0; 5])).is_ok());
    bench.block(2);
    assert_eq!(bench.submit(&extended(channel, id, 2, &[0; 5])).unwrap_err().reason, Reason::Stale);
}

/// D-CUST-1: what one channel brings for itself does not concern the others of its connection.
#[test]
fn other_channels_go_on_with_the_pools_jobs() {
    let (mut bench, channel) = bench(Revision::Draft);
    let (other, _) = bench.ready(ChannelKind::Extended);
    accept(&mut bench, &request(channel), CustomCoinbase::AsGiven).unwrap();
    bench.taken();
    bench.job(false);
    let sent = bench.sent();
    assert!(matches!(sent[..], [ToClient::NewExtendedMiningJob(job)] if job.channel_id == other), "{sent:?}");
}
