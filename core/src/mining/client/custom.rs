//! Jobs of the client's own making (`SetCustomMiningJob`).
//!
//! What such a job is made of stays with its owner until the server has said yes: the client asks for it, and is handed it once more to begin work.
//! From then on it is a job like any other, and a later job or prevhash of the server ends it as it would any other.

use super::channel::Custom;
use super::{MiningClient, Out, RequestError};
use crate::message::mining::{SetCustomMiningJob, SetCustomMiningJobSuccess, SetupFlags};
use crate::mining::custom::MAX_SCRIPT_PREFIX;
use crate::storage::Storage;
use crate::time::Instant;

/// Why work on a custom job does not begin. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotStarted {
    /// The answer is to another request, or for another channel.
    NotItsAnswer,
    /// The channel was closed meanwhile.
    UnknownChannel,
    /// Coinbase or path do not fit into this client, or the outputs do not parse.
    Unusable,
}

impl<S: Storage, const CHANNELS: usize, const COINBASE: usize, const PATH: usize>
    MiningClient<S, CHANNELS, COINBASE, PATH>
{
    /// Asks for a job of the owner's own making on an extended channel (D-FLAG-2, D-CUST-1), and gives the request's number, which takes the place of the
    /// one in `job`. The answer is [`Custom`](super::ClientEvent::Custom) or [`CustomRefused`](super::ClientEvent::CustomRefused).
    pub fn ask_custom(&mut self, job: &SetCustomMiningJob<'_>, out: &mut Out<'_>) -> Result<u32, RequestError> {
        if !self.terms.required.contains(SetupFlags::REQUIRES_WORK_SELECTION) {
            return Err(RequestError::NoCustomJobs);
        }
        if !self.find(job.channel_id).ok_or(RequestError::UnknownChannel)?.is_extended() {
            return Err(RequestError::NoCustomJobs);
        }
        // C-CUST-4
        if job.coinbase_prefix.len() > MAX_SCRIPT_PREFIX {
            return Err(RequestError::CoinbasePrefix);
        }
        let request_id = self.last_request.wrapping_add(1);
        out.send(&SetCustomMiningJob { request_id, ..*job })?;
        self.last_request = request_id;
        Ok(request_id)
    }

    /// D-CUST-3: work on a custom job begins with the server's answer. `job` is what was asked for, with its request's number. On the block that
    /// the channel builds on it takes the place of the job in work, whose shares still count; on another one it ends all jobs, as a prevhash does.
    ///
    /// In the draft the answer says what the coinbase is, and this mines it as it is: the server may have put another one, with other outputs, in the
    /// place of that which was asked for (D-CUST-4). An owner who cares compares `coinbase_tx_prefix` and `coinbase_tx_suffix` first.
    ///
    /// Call it only while its block is still the one to build on: whether a prevhash that came meanwhile is newer, only the owner can know.
    pub fn start_custom(
        &mut self,
        now: Instant,
        job: &SetCustomMiningJob<'_>,
        answer: &SetCustomMiningJobSuccess<'_>,
    ) -> Result<(), NotStarted> {
        if (job.request_id, job.channel_id) != (answer.request_id, answer.channel_id) {
            return Err(NotStarted::NotItsAnswer);
        }
        let serial = self.next_serial();
        let channel = self.find_mut(job.channel_id).ok_or(NotStarted::UnknownChannel)?;
        if !channel.is_extended() {
            return Err(NotStarted::UnknownChannel);
        }
        // D-CUST-4: in the draft the server says what the coinbase is.
        let coinbase = answer.coinbase_tx_prefix.get().zip(answer.coinbase_tx_suffix.get());
        let coinbase = coinbase.map(|(prefix, suffix)| (prefix.as_bytes(), suffix.as_bytes()));
        let custom = Custom { id: answer.job_id, job, coinbase };
        channel.start_custom(now, serial, &custom).map_err(|_| NotStarted::Unusable)
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::super::testing::*;
    use super::super::*;
    use super::*;
    use crate::message::{CoinbaseOutputs, TxOut};
    use crate::mining::server::{CustomCoinbase, Reason, ServerConfig};
    use crate::wire::{Revision, Seq0255, U256};

    fn job(channel_id: u32) -> SetCustomMiningJob<'static> {
        static OUTPUTS: [TxOut<'static>; 1] = [TxOut { value: 5_000_000_000, script_pubkey: &[0x51] }];
        static PATH: [U256; 1] = [U256([7; 32])];
        SetCustomMiningJob {
            channel_id,
            request_id: 0,
            mining_job_token: (&[1, 2, 3]).into(),
            version: 0x2000_0000,
            prev_hash: U256([1; 32]),
            min_ntime: 1_700_000_001,
            nbits: 0x1703_a30c,
            coinbase_tx_version: 2,
            coinbase_prefix: (&[3, 1, 2, 3]).into(),
            coinbase_tx_input_n_sequence: u32::MAX,
            coinbase_tx_value_remaining: 0.into(),
            coinbase_tx_outputs: CoinbaseOutputs::new(&OUTPUTS),
            coinbase_tx_locktime: 99,
            merkle_path: Seq0255::new(&PATH),
            extranonce_size: 5.into(),
            future_job: false.into(),
        }
    }

    fn bench(revision: Revision) -> (Large, u32) {
        let config = ServerConfig { custom_jobs: true, ..ServerConfig::default() };
        let mut bench = Large::new(terms(revision, SetupFlags::REQUIRES_WORK_SELECTION), config);
        bench.ask_extended();
        let channel = bench.opened();
        (bench, channel)
    }

    /// Asks for the job and takes the answer.
    fn asked(
        bench: &mut Large,
        job: &SetCustomMiningJob<'static>,
    ) -> (SetCustomMiningJob<'static>, SetCustomMiningJobSuccess<'static>) {
        let mut out = Out::plain(&mut bench.output, bench.client.terms().revision);
        let request_id = bench.client.ask_custom(job, &mut out).unwrap();
        let answer = bench.exchange().into_iter().find_map(|event| match event {
            ClientEvent::Custom(answer) => Some(answer),
            _ => None,
        });
        (SetCustomMiningJob { request_id, ..*job }, answer.unwrap())
    }

    fn share(bench: &Large, channel: u32, from: u32) -> Solution {
        mine(&bench.client.extended_work(channel).unwrap().work(&[9; 5]).unwrap(), from)
    }

    /// D-CUST-3, D-CUST-4, C-CUST-5, D-MIN-6: both sides mine the same job in either revision, whoever makes the coinbase; the pool's next block ends it,
    /// and the pool's own job follows.
    #[test]
    fn a_custom_job_is_mined_until_the_next_block() {
        for (revision, made_by_pool) in [(Revision::Draft, false), (Revision::Draft, true), (Revision::Current, false)]
        {
            let (mut bench, channel) = bench(revision);
            if made_by_pool {
                bench.pool.custom = CustomCoinbase::Parts { prefix: b"head", suffix: b"tail" };
            }
            let before = bench.client.extended_work(channel).unwrap().serial();
            let late = share(&bench, channel, 0);
            let (job, answer) = asked(&mut bench, &job(channel));
            assert_eq!(bench.client.extended_work(channel).unwrap().serial(), before, "not before it is said");
            bench.client.start_custom(bench.now, &job, &answer).unwrap();
            let work = bench.client.extended_work(channel).unwrap().work(&[9; 5]).unwrap();
            assert_eq!((work.job_id, work.prev_hash, work.min_ntime), (answer.job_id, [1; 32], 1_700_000_001));
            let found = share(&bench, channel, 10);
            assert!(bench.submit(&found).is_ok() && bench.submit(&late).is_ok());
            bench.exchange();
            assert_eq!((bench.pool.accepted.len(), bench.pool.rejected.len()), (2, 0), "{revision:?}");
            assert_eq!(bench.pool.hashes[0], work.header(work.version, found.ntime, found.nonce).hash());

            bench.pool.job(false);
            assert!(bench.exchange().is_empty(), "its own job has precedence");
            bench.pool.block(bench.now, 2);
            let events = bench.exchange();
            assert!(events.contains(&ClientEvent::Work { to: channel }), "{events:?}");
            let work = bench.client.extended_work(channel).unwrap().work(&[9; 5]).unwrap();
            assert!(work.prev_hash == [2; 32] && work.job_id != answer.job_id);
            assert_eq!(bench.submit(&found), Err(NotSent::Stale));
            let of_the_pool = share(&bench, channel, 0);
            assert!(bench.submit(&of_the_pool).is_ok());
            bench.exchange();
            assert_eq!(bench.pool.accepted.len(), 3);
        }
    }

    /// D-MIN-6: a job ahead of the pool ends all others, and the pool's catching up does not end it.
    #[test]
    fn a_custom_job_may_be_ahead_of_the_pool() {
        let (mut bench, channel) = bench(Revision::Current);
        let late = share(&bench, channel, 0);
        let ahead = SetCustomMiningJob { prev_hash: U256([2; 32]), min_ntime: 1_700_000_002, ..job(channel) };
        let (job, answer) = asked(&mut bench, &ahead);
        bench.client.start_custom(bench.now, &job, &answer).unwrap();
        assert_eq!(bench.submit(&late), Err(NotSent::Stale));
        bench.pool.block(bench.now, 2);
        assert!(bench.exchange().is_empty());
        let found = share(&bench, channel, 0);
        assert!(bench.submit(&found).is_ok());
        bench.exchange();
        let reasons: Vec<Reason> = bench.pool.rejected.iter().map(|rejection| rejection.reason).collect();
        assert_eq!((bench.pool.accepted.len(), reasons), (1, Vec::new()));
    }

    /// D-FLAG-2, D-CUST-1, C-CUST-4: who did not say so in the setup, and on channels that are not extended, asks for nothing; an answer to something else starts
    /// nothing, nor does a job that does not fit.
    #[test]
    fn what_can_not_be_is_refused_before_it_is_sent() {
        static LONG: [U256; 9] = [U256([1; 32]); 9];
        let mut bench = Large::draft();
        bench.ask_extended();
        let channel = bench.opened();
        let mut out = Out::plain(&mut bench.output, Revision::Draft);
        assert_eq!(bench.client.ask_custom(&job(channel), &mut out), Err(RequestError::NoCustomJobs));

        let (mut bench, channel) = self::bench(Revision::Draft);
        bench.ask_standard();
        let standard = bench.opened();
        let mut out = Out::plain(&mut bench.output, Revision::Draft);
        assert_eq!(bench.client.ask_custom(&job(standard), &mut out), Err(RequestError::NoCustomJobs));
        assert_eq!(bench.client.ask_custom(&job(4_711), &mut out), Err(RequestError::UnknownChannel));
        let long = SetCustomMiningJob { coinbase_prefix: (&[0; 9]).into(), ..job(channel) };
        assert_eq!(bench.client.ask_custom(&long, &mut out), Err(RequestError::CoinbasePrefix));
        assert!(bench.taken().is_empty());

        let before = bench.client.extended_work(channel).unwrap().serial();
        let (good, answer) = asked(&mut bench, &job(channel));
        let now = bench.now;
        let other = SetCustomMiningJob { request_id: good.request_id + 1, ..good };
        assert_eq!(bench.client.start_custom(now, &other, &answer), Err(NotStarted::NotItsAnswer));
        let long = SetCustomMiningJob { merkle_path: Seq0255::new(&LONG), ..good };
        assert_eq!(bench.client.start_custom(now, &long, &answer), Err(NotStarted::Unusable));
        assert_eq!(bench.client.extended_work(channel).unwrap().serial(), before);
        let close = crate::message::mining::CloseChannel { channel_id: channel, reason_code: "".into() };
        bench.handle(&crate::message::mining::ToClient::CloseChannel(close)).unwrap();
        assert_eq!(bench.client.start_custom(now, &good, &answer), Err(NotStarted::UnknownChannel));
    }
}
